"""A pool's thread that puts what is due of the schedules of its queue."""
from __future__ import annotations

from threading import Thread
from typing import Mapping

from worq.codec import Codec
from worq.errors import QueueError
from worq.latch import Latch
from worq.printable import logger
from worq.queue.base import TaskQueue
from worq.schedules.firing import LOOK, Firing
from worq.timing import Timing

__all__ = ['Scheduler']

log = logger(__name__)

PATIENCE = 1.0   # seconds in which a queue that is away is tried to be reached


class Scheduler:
    """Looks for what is due, at its moment, and every few seconds for what has changed.

    It is a thread of its own: nothing that it waits for may hold up a heartbeat. It begins when
    it is known what the code of the pool declares.

    :param on: if not, it does nothing.
    """

    def __init__(self, queue: TaskQueue, codec: Codec, on: bool = True) -> None:
        self._queue = queue
        self._firing = Firing(queue, codec)
        self._on = on
        self._wake = Latch()
        self._stopping = False
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        return f'<Scheduler of {self._queue!r}>'

    def declare(self, timings: Mapping[str, Timing]) -> None:
        """Say what the code of the pool declares, also anew."""
        if not self._on:
            return
        self._firing.declare(timings)
        if self._thread is None:
            self._thread = Thread(target=self._run, name='worq-schedules', daemon=True)
            self._thread.start()
        self._wake.set()

    def stop(self) -> None:
        """Put nothing more, and wait until the thread has ended."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            try:
                with self._queue.within(PATIENCE):
                    pause = self._firing.look(lambda: self._stopping)
            except QueueError as error:   # the pool says so in its log
                log.debug('no look at schedules: %s', error)
                pause = LOOK
            except Exception:
                log.exception('the schedules failed, and go on')
                pause = LOOK
            if not self._stopping:
                self._wake.wait(pause)
