"""The log of a pool's work: at INFO a line when a task begins, and one when it has ended."""
from __future__ import annotations

import logging
import time
from typing import Callable

from worq import const
from worq.codec import Codec
from worq.printable import line, logger
from worq.queue.records import Delivery, Outcome
from worq.retry import Memo

__all__ = ['WorkLog', 'named']

log = logger(__name__)

#: What a delivery came to, by the word of its outcome, in the words that a task's status has.
ENDS: dict[str, Callable[[Outcome], str]] = {
    'value': lambda outcome: const.SUCCESS,
    'failure': lambda outcome: const.FAILED,
    'retry': lambda outcome: f'{const.SCHEDULED}, to run again in {outcome.delay / 1000:g} s',
    'delegate': lambda outcome: f'{const.PENDING}, on the task '
                                f'{outcome.target.id if outcome.target else ""} that it returned',
    'unknown': lambda outcome: 'not known here, and another worker or pool may know it',
    'refuse': lambda outcome: 'refused, and another pool may know it',
}


class WorkLog:
    """What a pool says of the tasks that it runs. Nothing is formatted unless it is `on`.

    :param codec: reads in which attempt a task is.
    :param pool: its name in the log.
    """

    def __init__(self, codec: Codec, pool: str) -> None:
        self._codec = codec
        self._pool = pool

    def __repr__(self) -> str:
        return f'<WorkLog of {self._pool}>'

    @property
    def on(self) -> bool:
        """Whether anybody wants to know."""
        return log.isEnabledFor(logging.INFO)

    def around(self, run_one: Callable[[Delivery], Outcome], worker: int,
               dropped: Callable[[Delivery], bool]) -> Callable[[Delivery], Outcome]:
        """What a worker runs its tasks by, so that it tells of them.

        :param dropped: whether nobody wants to know any more what a delivery came to.
        """
        def run(delivery: Delivery) -> Outcome:
            if not log.isEnabledFor(logging.INFO):   # as `on`; for each task
                return run_one(delivery)
            self.begun(delivery, worker)
            begin = time.monotonic()
            outcome = run_one(delivery)
            self.ended(delivery, worker, time.monotonic() - begin,
                       None if dropped(delivery) else outcome)
            return outcome
        return run

    def begun(self, delivery: Delivery, worker: int) -> None:
        """A worker has begun a task."""
        log.info('%s begins: %s, worker %d, attempt %s', self._named(delivery), self._pool, worker,
                 self._attempt(delivery))

    def ended(self, delivery: Delivery, worker: int, seconds: float, outcome: Outcome | None,
              ) -> None:
        """What it came to; None: it had been cancelled."""
        end = const.CANCELLED if outcome is None else ENDS[outcome.word](outcome) \
            if outcome.word in ENDS else outcome.word
        log.info('%s ended: %s, after %.3f s; %s, worker %d, attempt %s', self._named(delivery),
                 end, seconds, self._pool, worker, self._attempt(delivery))

    def _named(self, delivery: Delivery) -> str:
        return named(delivery.header, delivery.id, self._codec.queue)

    def _attempt(self, delivery: Delivery) -> str:
        if not delivery.memo:
            return '1'
        try:
            nonce = delivery.token[:const.NONCE].decode('ascii')
            text = self._codec.decode_memo(delivery.id, nonce, delivery.memo)
            return str(Memo.decode(text).attempts + 1)
        except Exception:   # the worker cannot read it either
            return '?'


def named(header: bytes, id: str, queue: str = '') -> str:
    """A task as the log has it."""
    name, _, _ = header.partition(b'\n')
    return line(f'{name.decode("utf-8", "replace")} [{queue + ":" if queue else ""}{id}]')
