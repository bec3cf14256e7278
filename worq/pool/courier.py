"""What goes to the queue, and comes from it, alone: what is long, and what has failed in company.

Nobody waits for it, so a pool goes on to take, to beat and to settle what is short.
"""
from __future__ import annotations

from collections import deque
from threading import Condition, Thread
import time
from typing import Callable, Generic, Iterable, TypeVar

from worq.errors import TooLarge
from worq.printable import logger
from worq.queue.base import Outcome, TaskQueue

__all__ = ['Courier', 'settle_alone']

log = logger(__name__)

PAUSE = 0.05, 2.0   # seconds between tries while nothing gets through: first and last
PARTS = {'value': 'its result', 'failure': 'the report of its failure',
         'retry': 'the memo of its retry'}

T = TypeVar('T')


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


class Courier(Generic[T]):
    """Carries things one by one, in a thread that lives as long as there are some.

    :param carry: carries one; whether it is done with. Else it is tried again, after the others.
    :param name: of the thread.
    """

    def __init__(self, carry: Callable[[T], bool], name: str) -> None:
        self._carry = carry
        self._name = name
        self._changed = Condition()
        self._waiting: deque[T] = deque()   # the first is under way
        self._thread: Thread | None = None
        self._closed = False
        self._failing = False   # the last one did not get through

    def __repr__(self) -> str:
        return f'<Courier {self._name} with {len(self._waiting)}>'

    def __len__(self) -> int:
        return len(self._waiting)

    def all(self) -> list[T]:
        """What is under way, and waits."""
        return list(self._waiting)

    def add(self, things: Iterable[T]) -> None:
        """Have these carried, some time soon."""
        with self._changed:
            self._waiting.extend(things)
            if self._thread is None and self._waiting and not self._closed:
                self._thread = Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def take_back(self) -> list[T]:
        """Those that are not under way: they are not carried any more."""
        with self._changed:
            rest = list(self._waiting)[1:]
            while len(self._waiting) > 1:
                self._waiting.pop()
            return rest

    def wait(self, patience: float) -> None:
        """Wait for all to be carried, but no longer than this while nothing gets through."""
        limit = time.monotonic() + patience
        with self._changed:
            while self._waiting and self._thread is not None:
                if patience and not self._failing:
                    limit = time.monotonic() + patience
                left = limit - time.monotonic()
                if left <= 0:
                    break
                self._changed.wait(min(left, 1.0))

    def close(self) -> int:
        """Begin with no other one; how many are left."""
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
                thing = self._waiting[0]
            try:
                done = self._carry(thing)
            except Exception:   # a fault of ours: its task is lost with its lease
                log.exception('%s failed, and goes on', self._name)
                done = True
            with self._changed:
                self._waiting.popleft()
                self._failing = not done
                if done:
                    pause = PAUSE[0]
                else:
                    self._waiting.append(thing)
                    self._changed.wait(pause)
                    pause = min(2 * pause, last)
                self._changed.notify_all()
