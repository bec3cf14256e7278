"""What wakes a pool that waits in a select loop: a pipe, and one thread for all of them."""
from __future__ import annotations

import os
import threading
import time
from typing import Any, Callable

from worq.latch import Latch
from worq.streams import pipe

__all__ = ['Bell', 'Bells']

SILENT = b'.'  # a ring for nothing but time
PAUSE = 2.0   # seconds after which an armed bell rings by itself


class Bells:
    """All bells of one queue.

    ``ring`` costs nothing while no bell is armed. A thread runs while there are bells, for
    what comes due without anybody calling the queue; it sleeps until then.

    :param lock: the queue's, an RLock. ``ring`` is called with it.
    :param next_due: answers, with the lock, in how many seconds something may come due;
        None: never.
    """

    def __init__(self, lock: Any, next_due: Callable[[], float | None]) -> None:
        self._lock = lock
        self._next_due = next_due
        self._open: set[Bell] = set()
        self._armed: set[Bell] = set()
        self._thread: threading.Thread | None = None
        self._wakes = 0.0   # when the thread looks again, at the latest
        self._sooner = Latch()

    def bell(self) -> Bell:
        bell = Bell(self)
        with self._lock:
            self._open.add(bell)
        return bell

    def ring(self) -> None:
        """Ring all that are armed."""
        if self._armed:
            for bell in self._armed:
                bell.strike()
            self._armed.clear()   # the last, for what is interrupted before rings again

    def arm(self, bell: Bell) -> None:
        with self._lock:
            if bell in self._armed or bell not in self._open:
                return
            due = self._next_due()
            bell.until = time.monotonic() + (PAUSE if due is None else min(due, PAUSE))
            self._armed.add(bell)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=self._run, name='worq-memory-bell', daemon=True)
                self._thread.start()
            elif bell.until < self._wakes:   # a wake-up costs more than all of the rest
                self._sooner.set()

    def close(self, bell: Bell) -> bool:
        """Take the bell out; False if that has been done."""
        with self._lock:
            if bell not in self._open:
                return False
            self._armed.discard(bell)
            self._open.discard(bell)
            thread = None if self._open else self._thread
        self._sooner.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(PAUSE)
        return True

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._open:
                    self._thread = None
                    return
                now = time.monotonic()
                for bell in [bell for bell in self._armed if bell.until <= now]:
                    self._armed.discard(bell)
                    bell.strike(SILENT)
                self._wakes = min((bell.until for bell in self._armed), default=now + PAUSE)
            self._sooner.wait(self._wakes - now)


class Bell:
    """See `worq.queue.base.Bell`."""

    keeps = False
    prompt = False

    def __init__(self, bells: Bells) -> None:
        self._bells = bells
        self._out, self._in = pipe()
        os.set_blocking(self._out, False)
        os.set_blocking(self._in, False)
        self.until = 0.0

    def fileno(self) -> int:
        return self._out

    def arm(self) -> None:
        self._bells.arm(self)

    def strike(self, sign: bytes = b'!') -> None:
        """Make the descriptor readable. Only `Bells` does so, under the lock."""
        try:
            os.write(self._in, sign)
        except BlockingIOError:   # it is readable more than enough
            pass

    def clear(self) -> bool:
        try:
            return os.read(self._out, 4096) != SILENT
        except BlockingIOError:
            return False

    def due(self) -> bool:
        return True

    def close(self) -> None:
        if self._bells.close(self):
            os.close(self._out)
            os.close(self._in)
