"""What goes to the queue alone: what is long, and what has failed in company.

Nobody waits for it, so a pool goes on to take, to beat and to settle what is short.
"""
from __future__ import annotations

from collections import deque
import logging
from threading import Condition, Thread
import time
from typing import Callable, Iterable

from worq.errors import TooLarge
from worq.queue.base import Outcome, TaskQueue

__all__ = ['Courier', 'settle_alone']

log = logging.getLogger(__name__)

PAUSE = 0.05, 2.0   # seconds between tries while nothing gets through: first and last
FULL = 64 << 20     # bytes under way, after which a pool should take no more
PARTS = {'value': 'its result', 'failure': 'the report of its failure',
         'retry': 'the memo of its retry'}


def settle_alone(backend: TaskQueue, pool: str, outcome: Outcome) -> list[str]:
    """Settle one outcome; if it does not get through, its task ends and says so.

    :raises QueueError: if the queue cannot be reached, or refuses for another reason.
    """
    try:
        return backend.settle(pool, [outcome])
    except TooLarge as error:
        text = f'{PARTS.get(outcome.word, "what came of it")}, {len(outcome.data):,} bytes, ' \
               f'cannot be stored: {error}'
        log.error('%s: %s', outcome.id, text)
        return backend.settle(pool, [Outcome(outcome.id, outcome.token, 'expire', text.encode())])


class Courier:
    """Tells outcomes one by one, in a thread that lives as long as there are some.

    :param tell: settles one; whether it is done with. Else it is tried again, after the others.
    """

    def __init__(self, tell: Callable[[Outcome], bool]) -> None:
        self._tell = tell
        self._changed = Condition()
        self._waiting: deque[Outcome] = deque()   # the first is under way
        self._thread: Thread | None = None
        self._closed = False
        self._size = 0          # bytes of those
        self._failing = False   # the last one did not get through

    def __repr__(self) -> str:
        return f'<Courier with {len(self._waiting)} outcomes, {self._size} bytes>'

    @property
    def busy(self) -> bool:
        """Whether there is something yet to be told."""
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether more comes than goes."""
        return self._size > FULL

    def add(self, outcomes: Iterable[Outcome]) -> None:
        """Have these told, some time soon."""
        with self._changed:
            for outcome in outcomes:
                self._waiting.append(outcome)
                self._size += len(outcome.data)
            if self._thread is None and self._waiting and not self._closed:
                self._thread = Thread(target=self._run, name='worq-courier', daemon=True)
                self._thread.start()

    def wait(self, patience: float) -> bool:
        """Wait for all to be told, for so long while nothing gets through; whether it is."""
        limit = time.monotonic() + patience
        with self._changed:
            while self._waiting and self._thread is not None:
                if patience and not self._failing:
                    limit = time.monotonic() + patience
                left = limit - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))
            return not self._waiting

    def close(self) -> int:
        """Begin with no other one; how many have not been told."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            return len(self._waiting)

    def _run(self) -> None:
        pause, last = PAUSE
        while True:
            with self._changed:
                if self._closed or not self._waiting:
                    self._thread = None
                    self._changed.notify_all()
                    return
                outcome = self._waiting[0]
            try:
                done = self._tell(outcome)
            except Exception:   # a fault of ours: its task is lost with its lease
                log.exception('could not settle %s', outcome.id)
                done = True
            with self._changed:
                self._waiting.popleft()
                self._failing = not done
                if done:
                    self._size -= len(outcome.data)
                    pause = PAUSE[0]
                else:
                    self._waiting.append(outcome)
                    self._changed.wait(pause)
                    pause = min(2 * pause, last)
                self._changed.notify_all()
