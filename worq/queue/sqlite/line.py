"""The line in which those who write to a file wait for each other.

SQLite has a lock, and lets a process that finds it taken sleep and look again: of two that are busy
one may get nothing for a second. The kernel (``flock``) wakes all who wait; but whoever is awake
already, since he has just let go of the lock, takes it again before they are. So there is a second
lock, which one has while he waits for the first: who has it is the next, and nobody gets past him.
"""
from __future__ import annotations

import fcntl
import os
import struct
import sys
import threading
from contextlib import suppress

from worq.latch import Latch

__all__ = ['Line']

# A lock of a byte that belongs to the open file, as `flock` does, and is none of those.
GET, SET, WAIT = (getattr(fcntl, f'F_OFD_{name}', 0) for name in ('GETLK', 'SETLK', 'SETLKW'))
HAS_NEXT = GET != 0 and sys.maxsize > 1 << 32
TAKE, DROP = (struct.pack('hhqqi4x', kind, os.SEEK_SET, 0, 1, 0)
              for kind in (fcntl.F_WRLCK, fcntl.F_UNLCK))
FREE = DROP   # what is told of a lock that nobody has


def enter(fd: int, wait: bool) -> None:
    """Become the next, and then the one; BlockingIOError if there are others, and one shall not
    wait for them."""
    if not wait:
        if HAS_NEXT and fcntl.fcntl(fd, GET, TAKE) != FREE:
            raise BlockingIOError
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return
    if HAS_NEXT:
        fcntl.fcntl(fd, WAIT, TAKE)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    finally:
        if HAS_NEXT:
            fcntl.fcntl(fd, SET, DROP)


class Line:
    """A place in it, of one descriptor.

    It is for fairness alone: that two do not write at a time is SQLite's affair.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def enter(self, timeout: float) -> bool:
        """Wait until it is our turn, for so many seconds; whether it is."""
        try:
            enter(self._fd, wait=False)
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
            enter(self._fd, wait=True)
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
