"""A latch: what one thread waits for, and others set."""
from __future__ import annotations

from threading import TIMEOUT_MAX, Lock

__all__ = ['Latch']


class Latch:
    """An Event for a single waiter, whose wait unsets it.

    It is one lock. An Event has two and a Condition, which makes a third one for each wait: where
    somebody waits for each task, that is felt.
    """

    __slots__ = ('_lock', '__weakref__')

    def __init__(self) -> None:
        self._lock = Lock()
        self._lock.acquire()

    def set(self) -> None:
        """Wake the one who waits, or who waits next; also from a signal handler."""
        try:
            self._lock.release()
        except RuntimeError:
            pass   # it is set already

    __call__ = set

    def clear(self) -> None:
        """Unset it."""
        self._lock.acquire(False)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, and unset it.

        :param timeout: seconds; None: as long as it takes.
        :returns: False if it was not set in time.
        """
        return self._lock.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX))
