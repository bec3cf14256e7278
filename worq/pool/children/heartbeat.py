"""Beats for a pool whose one thread waits for the queue."""
from __future__ import annotations

from threading import Event, Thread

from worq.printable import logger
from worq.pool.base import Desk

__all__ = ['Heartbeat']

log = logger(__name__)

SLACK = 0.5     # seconds after a beat was due before it is made here: mostly it has been


class Heartbeat:
    """A thread that makes the beats that are overdue, as while a long answer comes slowly.

    :param desk: whose beats they are.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._over = Event()
        self._thread = Thread(target=self._run, name='worq-pacemaker', daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End; a beat that hangs is not waited for."""
        self._over.set()
        self._thread.join(SLACK)

    def _run(self) -> None:
        while not self._over.wait(max(self._desk.beat_in, self._desk.away) + SLACK):
            if self._desk.beat_in or self._desk.away:
                continue
            try:
                self._desk.miss(self._desk.beat())
            except Exception:
                log.exception('the pacemaker failed, and goes on')
