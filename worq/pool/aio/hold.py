"""A pool's hold on one of the deliveries that run in an event loop."""
from __future__ import annotations

import asyncio
from contextlib import suppress
import time
from types import FrameType
from typing import Protocol

from worq.current import CurrentTask
from worq.pool.interrupt import OWN, Interrupter
from worq.progress import Progress
from worq.queue.base import Outcome

__all__ = ['Hold', 'Owner', 'of_this_code']

AGAIN = 1.0   # seconds after which a coroutine is cancelled once more that has swallowed it


class Owner(Protocol):
    """The child, as its holds see it."""

    loop: asyncio.AbstractEventLoop

    def say_limit(self, limit: float, will: Outcome) -> None:
        """Let the manager know of a time limit that counts from now on."""


class Hold(Interrupter):
    """Of one delivery; all but `order` is for the thread of the loop.

    A limit is a timer of the loop. It cancels the coroutine where it waits, and a second one does
    so again. What blocks the loop is hit in its own code, by a signal; see ``Child``.

    :param number: of the delivery, as on the page.
    """

    exposes = '; in a pool of event loops they are exposed by init_func, which each child calls'

    def __init__(self, owner: Owner, number: int) -> None:
        super().__init__()
        self.number = number
        self.main: asyncio.Task[None] | None = None
        self.ordered = ''                  # why it is to be interrupted: the manager has said so
        self.abandoned = False             # nobody waits for it any more
        self.told: Progress | None = None  # the last progress that was sent
        self.waits_for = ''                # the id that it was last said to wait for
        self._owner = owner
        self._timer: asyncio.TimerHandle | None = None

    @property
    def due(self) -> str:
        """Why it is to be interrupted, though it has not been yet; empty: it is not."""
        task = self.task
        if task is None or self._error is not None:
            return ''
        if self.ordered:
            return self.ordered
        late = task.deadline is not None and time.monotonic() >= task.deadline
        return 'timeout' if late else ''

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        if limit is not None and will is not None:
            self._owner.say_limit(limit, will)
            self._timer = self._owner.loop.call_later(limit, self._late)
        super().begin(task, limit, will)
        self.obey()   # the order may have come before

    def end(self) -> None:
        super().end()
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def obey(self) -> None:
        """Interrupt it, if there is a reason."""
        word = self.due
        if word:
            self.interrupt(word)

    def order(self, word: str) -> None:
        """The manager wants it to be interrupted; said twice, if it swallows that."""
        again = self._error is not None
        self.ordered = word
        with suppress(RuntimeError):   # the loop is closed
            self._owner.loop.call_soon_threadsafe(self._again if again else self.obey)

    def _late(self) -> None:
        self._timer = self._owner.loop.call_later(AGAIN, self._again)
        self.interrupt('timeout')

    def _again(self) -> None:
        if self._main is not None and self._error is not None:
            self._main.cancel()


def of_this_code(frame: FrameType | None) -> Hold | None:
    """Of the delivery whose own code this is, in the stack of the loop's thread."""
    while frame is not None:
        if frame.f_code is OWN:
            found = frame.f_locals.get('self')
            return found if isinstance(found, Hold) else None
        frame = frame.f_back
    return None
