"""Bells of a queue in a file: doorbells for a select loop, and one thread that rings in time."""
from __future__ import annotations

import threading
import time
from collections.abc import Callable

from worq.latch import Latch
from worq.queue.sqlite.doorbell import SILENT, Doorbell, ring

__all__ = ['Bell', 'Alarm']

IDLE = 2.5   # seconds without a bell to ring after which the thread ends


class Bell:
    """See `worq.queue.base.Bell`.

    :param arm: is called with it to have it entered, and again, `disarm`, when it listens no more.
    """

    keeps = True     # it is entered by the very verb that finds nothing ...
    prompt = False   # ... or too little, where that is wanted

    def __init__(self, pool: str, arm: Callable[[Bell], None],
                 disarm: Callable[[Bell], None]) -> None:
        self.pool = pool
        self.doorbell = Doorbell()
        self.expected = False    # it is entered in the file ...
        self.known = 0.0         # ... until then ...
        self.until = 0.0         # ... and rings by itself at this time
        self.armed = False
        self._arm = arm
        self._disarm = disarm
        self._closed = False

    def fileno(self) -> int:
        return self.doorbell.fileno()

    def expects(self, pause: float) -> bool:
        """Whether it is entered for so many seconds already."""
        return self.expected and time.monotonic() + pause < self.known

    def entered(self, seconds: float) -> None:
        """It is entered for so long."""
        self.known = time.monotonic() + seconds
        self.expected = True

    def expect(self, pause: float) -> None:
        """Ring by itself in so many seconds."""
        self.until = time.monotonic() + pause

    def arm(self) -> None:
        if not self.armed:
            self._arm(self)
            self.armed = True

    def clear(self) -> bool:
        self.armed = self.expected = False
        return self.doorbell.clear()

    def due(self) -> bool:
        return True

    def strike(self) -> None:
        """Ring for nothing but time."""
        ring([self.doorbell.address], SILENT)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._disarm(self)
            self.doorbell.close()


class Alarm:
    """Rings bells at their times. A thread does so while there are some; it sleeps meanwhile."""

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._bells: set[Bell] = set()
        self._thread: threading.Thread | None = None
        self._wakes = 0.0
        self._sooner = Latch()

    def set(self, bell: Bell) -> None:
        """Ring this one at its time."""
        with self._mutex:
            self._bells.add(bell)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name='worq-sqlite-bell',
                                                daemon=True)
                self._thread.start()
            elif bell.until < self._wakes:
                self._sooner.set()

    def drop(self, bell: Bell) -> None:
        """Never again. The thread ends with the last one."""
        with self._mutex:
            self._bells.discard(bell)
            thread = None if self._bells else self._thread
        if thread is not None:
            self._sooner.set()
            if thread is not threading.current_thread():
                thread.join(IDLE)

    def _run(self) -> None:
        while True:
            with self._mutex:
                if not self._bells:
                    self._thread = None
                    return
                now = time.monotonic()
                self._wakes = now + IDLE
                for bell in self._bells:
                    if bell.until > now:
                        self._wakes = min(self._wakes, bell.until)
                    elif bell.armed:
                        bell.strike()
            self._sooner.wait(max(self._wakes - now, 0.001))
