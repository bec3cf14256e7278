"""The threads of a pool, as it sees them."""
from __future__ import annotations

from collections import deque
import time
from typing import Any, Callable

from worq import pools
from worq.printable import logger
from worq.pool.interrupt import GRACE
from worq.pool.thread.interrupt import ThreadInterrupter
from worq.queue.base import Delivery, Outcome

__all__ = ['GivenUp', 'Worker', 'wait_for', 'why']

log = logger(__name__)

LOOK = 0.1   # seconds between two looks at whom `wait_for` waits for ...
LOST = 1000  # threads that have been given up, and still run: there must be some end to it
SOON = 0.01  # ... when it must not join


class Worker:
    """A thread of the pool, with what it has before it and behind it.

    :param wake: see `ThreadInterrupter`.
    """

    def __init__(self, number: int, wake: Callable[[float], None]) -> None:
        self.number = number
        self.interrupter = ThreadInterrupter(wake)
        self.thread: Any = None
        self.buffer: deque[Delivery] = deque()   # taken, not begun
        self.done: deque[Outcome] = deque()      # run, not settled
        self.since: float | None = None          # monotonic: when the running task began

    def __repr__(self) -> str:
        return f'<Worker {self.number}, {len(self.buffer)} before it, {len(self.done)} behind>'

    def live(self, work: Callable[[Worker], None]) -> None:
        """All that its thread does."""
        try:
            work(self)
        finally:
            self.interrupter.close()

    def grab(self) -> list[Outcome]:
        """Take all of its outcomes; the keeper may do so at the same time."""
        outcomes: list[Outcome] = []
        while self.done:
            try:
                outcomes.append(self.done.popleft())
            except IndexError:
                break
        return outcomes

    def back(self) -> list[Outcome]:
        """Take from it what it has not begun, to be released; it may go on at the same time."""
        outcomes: list[Outcome] = []
        while self.buffer:
            try:
                delivery = self.buffer.popleft()
            except IndexError:
                break
            outcomes.append(Outcome(delivery.id, delivery.token, 'release'))
        return outcomes

    def doing(self, now: float) -> pools.Worker:
        """What it does, for people; from any thread."""
        task, since = self.interrupter.task, self.since
        if task is None:
            return pools.Worker(self.number, pools.IDLE)
        return pools.Worker(
            self.number, pools.WAITING if task.waits_for else pools.RUNNING, task.id, task.name,
            0.0 if since is None else now - since, task.waits_for,
            tuple(one.id for one in list(self.buffer)))

    def waits(self, now: float) -> list[float]:
        """Seconds until the keeper has to look at it: a limit ends, or its patience does."""
        found, due, until = [], self.interrupter.due, self.interrupter.patience
        if due is not None:
            found.append(max(due - now if now < due else due + GRACE - now, 0.001))
        if until is not None and until > now:
            found.append(until - now)
        return found

    def abandon(self) -> list[Outcome]:
        """What gives back the task that it runs, if any, since the program ends."""
        task = self.interrupter.task
        if task is None:
            return []
        log.warning('%s [%s] had to end, since the program does', task.name, task.id)
        return [Outcome(task.id, task.token.encode('ascii'), 'release')]


class GivenUp:
    """Threads that were given up."""

    def __init__(self) -> None:
        self.threads: list[Any] = []
        self._said = False

    def __repr__(self) -> str:
        return f'<GivenUp: {len(self.threads)}>'

    @property
    def crowded(self) -> bool:
        """Whether too many of them still run."""
        self.threads = [thread for thread in self.threads if thread.is_alive()]
        if len(self.threads) < LOST:
            self._said = False
        elif not self._said:
            self._said = True
            log.critical('%d threads do not let go of their tasks: no more are given up', LOST)
        return self._said


def wait_for(threads: list[Any], seconds: float | None = None) -> None:
    """Wait until all have ended that are in the list: who is given up is taken out meanwhile.

    :param seconds: at most. An interrupt leaves no thread as ended that has not; in Python 3.11
        one of `join` does.
    """
    begin = time.monotonic()
    while alive := [thread for thread in threads if thread.is_alive()]:
        if seconds is None:
            alive[0].join(LOOK)
        elif time.monotonic() - begin < seconds:
            time.sleep(SOON)
        else:
            break


def why(word: str) -> str:
    """Why a task was to let go."""
    return {'cancelled': 'was cancelled', 'timeout': 'is beyond its time limit'}.get(
        word, 'is not ours any more')
