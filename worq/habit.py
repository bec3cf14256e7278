"""Whether the calls of a process are waited for, one after the other, as it went lately.

A call that will be waited for may as well be watched by the put that stores it: that saves the look
with which each wait begins. One that nobody waits for should not be, for its news would lie in
the inbox. Nobody tells us beforehand, so it is guessed.
"""
from __future__ import annotations

from worq.shield import running

__all__ = ['Habit']

MOST = 8      # so many calls in a row that are not waited for, and it is given up
SURE = 3      # ... and two in a row that are, to begin with it
WORTH = 2     # of a wait: who waits for every second call goes on as before
STRAY = 100   # calls that were watched and not waited for, of which we know


class Habit:
    """A score: each wait for a call adds to it, each call takes off it.

    Threads may do both at once. What goes wrong then is that a guess is, and nothing follows from
    that but a look, or news, that was not needed.
    """

    def __init__(self) -> None:
        self.score = 0
        self._watched: set[str] = set()   # and not waited for yet

    def guess(self, id: str) -> bool:
        """Whether a new call should be watched.

        None that a task makes: it may be a tail call, which leaves nothing behind if nobody
        watches it, and tasks should not wait anyway.
        """
        if not self.score:   # it costs nothing where nobody ever waits
            return False
        self.score -= 1
        if self.score < SURE - 1 or running.get(None) is not None:
            return False
        if len(self._watched) >= STRAY:
            self._watched.clear()
        self._watched.add(id)
        return True

    def waited(self, id: str, fresh: bool) -> None:
        """Somebody waits for it.

        :param fresh: it is known to have been called here, and never asked for. A second
            wait for the same call counts no more.
        """
        if fresh or id in self._watched:
            self._watched.discard(id)
            self.score = min(self.score + WORTH, MOST)
