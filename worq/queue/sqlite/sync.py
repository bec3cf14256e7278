"""What was committed, brought to the disk within a second."""
from __future__ import annotations

import atexit
import fcntl
import os
import threading
import time
import weakref
from contextlib import suppress

from worq.latch import JoinableThread, Latch
from worq.printable import logger

__all__ = ['Syncer']

SECOND = 1.0
IDLE = 10.0   # seconds without a commit after which the thread ends

log = logger(__name__)


class Syncer:
    """Writes the log of a database (``-wal``) to the disk, at most once a second.

    SQLite does so before it moves what the log has into the database; so what a loss of power can
    undo is what was committed since, and nothing is damaged by it.

    :param fd: of the log.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.dirty = False
        self._mutex = threading.Lock()
        self._thread: JoinableThread | None = None
        self._wake = Latch()
        self._closing = False
        self._resting = False    # the thread waits for a commit, and not for the second to end
        _all.add(self)

    def wrote(self) -> None:
        """Something was committed. Whoever calls it has the lock of the file."""
        if self.dirty:
            return
        self.dirty = True
        if self._thread is not None and not self._resting:
            return   # it looks again before it rests
        with self._mutex:
            if self._thread is not None and self._thread.is_alive():
                self._wake.set()
            elif not self._closing:
                self._resting = False
                self._thread = JoinableThread(
                    target=self._run, name='worq-sqlite-sync', daemon=True)
                self._thread.start()

    def _run(self) -> None:
        """Write, and then not again for a second, however much is committed."""
        while True:
            self.sync()
            self._sleep(SECOND)
            self._resting = True    # first: who commits after this look wakes it
            if not self.dirty and not self._closing:
                self._wake.wait(IDLE)
            with self._mutex:
                if self._closing or not self.dirty:
                    self._thread = None
                    return
                self._resting = False   # last: until here whoever commits asks for the mutex

    def _sleep(self, seconds: float) -> None:
        """Let the time pass, unless this is to end."""
        until = time.monotonic() + seconds
        while not self._closing and (left := until - time.monotonic()) > 0:
            self._wake.wait(left)

    def sync(self) -> None:
        """Write what there is."""
        if not self.dirty:
            return
        self.dirty = False   # first: what is committed meanwhile needs another one
        try:
            if hasattr(fcntl, 'F_FULLFSYNC'):   # on macOS the other one is no promise
                fcntl.fcntl(self.fd, fcntl.F_FULLFSYNC)
            else:
                os.fdatasync(self.fd)
        except OSError as error:
            log.warning('could not write a queue to its disk: %s', error)

    def close(self) -> None:
        """Write the rest, and end."""
        self._closing = True
        self._wake.set()
        thread = self._thread
        if thread is not None:
            thread.join()
        self.sync()
        with suppress(OSError):
            os.close(self.fd)
        self.fd = -1


_all: weakref.WeakSet[Syncer] = weakref.WeakSet()


@atexit.register
def _last() -> None:
    """Nobody else writes what a program that ends has committed last."""
    for syncer in list(_all):
        if syncer.fd >= 0:
            syncer.sync()
