"""What a child tells of its event loop, in the memory that it shares with its manager."""
from __future__ import annotations

from worq.pool.children.protocol import Page

__all__ = ['LoopPage', 'TOGGLE']

TOGGLE = 1 << 32   # changes from step to step, so that a long step is told from two


class LoopPage(Page):
    """Whose code runs in the loop, when the loop was last at rest, and how many calls run in
    threads.

    It costs no system call, and can be read when the child is dead, or can run nothing.
    """

    AT, TICK, THREADS = 8, 9, 10   # after those of all pages

    @property
    def numbers(self) -> memoryview[int]:
        """For the child, which writes them often."""
        return self._numbers

    @property
    def key(self) -> int:
        """Names the step that runs: its delivery's number, and a bit; 0: none does."""
        return self._numbers[self.AT]

    @property
    def stepping(self) -> int:
        """The number of the delivery whose code runs in the loop just now; 0: none's."""
        return self._numbers[self.AT] % TOGGLE

    @property
    def ticked(self) -> float:
        """When the loop last said that it goes round, on the clock of ``time.monotonic``."""
        return self._numbers[self.TICK] / 1e9

    @property
    def threads(self) -> int:
        """How many calls run in threads of the loop."""
        return self._numbers[self.THREADS]
