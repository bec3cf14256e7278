"""The line in which those who write to a file wait for each other.

SQLite has a lock, and lets a process that finds it taken sleep and look again: of two that are busy
one may get nothing for a second. The kernel hands a lock on in the order in which it was asked for.
"""
from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress

from worq.latch import Latch

__all__ = ['Line']


class Line:
    """A place in it, of one descriptor.

    It is for fairness alone: that two do not write at a time is SQLite's affair.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def enter(self, timeout: float) -> bool:
        """Wait until it is our turn, for so many seconds; whether it is."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if timeout <= 0:
                return False
        # To wait in the kernel knows no time-out. So a thread stands in line for us.
        place = Place(os.dup(self._fd))
        threading.Thread(target=place.stand, name='worq-sqlite-line', daemon=True).start()
        try:
            return place.wait(timeout)
        except BaseException:
            place.wait(0)
            raise

    def leave(self) -> None:
        """Let the next one have its turn."""
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_UN)


class Place:
    """One thread that stands in line for another."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._mutex = threading.Lock()
        self._reached = Latch()
        self._got = self._left = False

    def stand(self) -> None:
        with suppress(OSError):
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            with self._mutex:
                self._got = True
                if self._left:
                    fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._reached.set()
        os.close(self._fd)

    def wait(self, timeout: float) -> bool:
        self._reached.wait(timeout)
        with self._mutex:
            self._left = not self._got
        return self._got
