"""A thread that asks a queue for coroutines, so that no event loop ever waits for it."""
from __future__ import annotations

import os
from threading import Thread
from typing import Any, Callable, NamedTuple

from worq.latch import Latch
from worq.lock import Lock
from worq.printable import logger

__all__ = ['Background']

log = logger(__name__)

LINGER = 1.0   # seconds that the thread waits for more before it ends
CLOSE = 10.0   # seconds that a queue out of reach may hold up its end


class Job(NamedTuple):
    """Something to be asked."""

    act: Callable[[list[Any]], list[Any]]
    items: list[Any]
    tell: Callable[[list[Any]], object]


class Background:
    """What has gathered while it asked goes together.

    There is a thread while there is something to do, and a little longer. It keeps nothing of
    what is done.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        # Also in a forked child, where the parent's thread is not, and does the parent's jobs.
        self._pid = os.getpid()
        self._lock = Lock()
        self._jobs: list[Job] = []
        self._more = Latch()       # there are more
        self._linger = LINGER
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        return f'<Background {len(self._jobs)} jobs>'

    def ask(self, act: Callable[[list[Any]], list[Any]], items: list[Any],
            tell: Callable[[list[Any]], object]) -> None:
        """Have something asked; does not wait.

        :param act: called in the thread with `items`, among those of others that ask the same; it
            returns as many answers, in order. If it raises, that is the answer to each.
        :param tell: called in the thread with the answers to these items.
        """
        if self._pid != os.getpid():
            self._begin()
        with self._lock:
            self._jobs.append(Job(act, items, tell))
            self._linger = LINGER
            if self._thread is None or not self._thread.is_alive():
                self._thread = Thread(target=self._work, name='worq-background', daemon=True)
                self._thread.start()
        self._more.set()

    def _work(self) -> None:
        self._more.wait(self._linger)
        while self._round():
            self._more.wait(self._linger)   # and keep nothing of it meanwhile

    def _round(self) -> bool:
        """Do what has gathered; False at the end, for there was nothing."""
        with self._lock:
            jobs, self._jobs = self._jobs, []
            if not jobs:
                self._thread = None
                return False
        together: dict[Callable[[list[Any]], list[Any]], list[Job]] = {}
        for job in jobs:
            together.setdefault(job.act, []).append(job)
        for act, those in together.items():
            items = [item for job in those for item in job.items]
            try:
                answers = act(items)
            except BaseException as error:   # whatever it is, somebody waits for an answer
                answers = [error] * len(items)
            for job in those:
                count = len(job.items)
                job.tell(answers[:count])
                del answers[:count]
        return True

    def close(self) -> None:
        """End the thread, when what it has to do is done."""
        if self._pid != os.getpid():   # a fork has not got it, and somebody may have had the lock
            return
        with self._lock:
            thread, self._linger = self._thread, 0.0
        if thread is not None:
            self._more.set()
            thread.join(CLOSE)
