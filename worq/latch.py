"""What threads wait for, and others set: a latch, a flag, the end of a thread.

A signal handler may interrupt each of them anywhere, and raise, and may call it: unlike what
`threading` has of the kind, they are locks of one step each, and leave nothing half-done.
"""
from __future__ import annotations

from contextlib import suppress
import os
import sys
from threading import TIMEOUT_MAX, Lock, Thread, current_thread
import time
from typing import Any

__all__ = ['Flag', 'JoinableThread', 'Latch']

LOOK = 1.0   # seconds between two looks at a thread that is joined


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


class Flag:
    """An Event: any number of threads may wait for it."""

    __slots__ = ('_lock', '_raised')

    def __init__(self, raised: bool = False) -> None:
        self._lock = Lock()
        self._raised = raised
        if not raised:
            self._lock.acquire()

    def is_set(self) -> bool:
        return self._raised

    def set(self) -> None:
        self._raised = True
        with suppress(RuntimeError):   # it is set already
            self._lock.release()

    def clear(self) -> None:
        self._raised = False
        self._lock.acquire(False)

    def wait(self, timeout: float) -> bool:
        """Whether it is set, within so many seconds. For threads that no signal interrupts."""
        if self._lock.acquire(timeout=timeout):
            self._lock.release()   # one lets the other through
        return self._raised


class JoinableThread(Thread):
    """A thread that ends when it ends: before Python 3.13 one whose ``join`` was interrupted by a
    signal counts as ended from then on, and all who join it later return at once."""

    def __init__(self, *args: Any, **kw: Any) -> None:
        super().__init__(*args, **kw)
        self._runs = Lock()   # taken until it has ended
        self._runs.acquire()
        self._over = False
        self._here = os.getpid()

    def run(self) -> None:
        try:
            super().run()
        finally:
            self._over = True
            self._runs.release()

    def is_alive(self) -> bool:
        return self.ident is not None and not self._over and self._here == os.getpid()

    def join(self, timeout: float | None = None) -> None:
        end = None if timeout is None else time.monotonic() + timeout
        while self.is_alive() and self is not current_thread():
            if sys.is_finalizing():
                return   # by what is collected at last: a daemon has stopped, and never ends
            left = LOOK if end is None else min(end - time.monotonic(), LOOK)
            if left <= 0:
                return
            if self._runs.acquire(timeout=left):
                self._runs.release()   # one lets the other through; what is interrupted looks again
        super().join(timeout)
