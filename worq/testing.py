"""Run graphs of tasks in a test: in the calling thread, with a clock that the test moves.

A `Bench` is a queue in memory with nobody else at it. Calls go the whole way (encoded, put,
taken, decoded, run, settled), but one after the other, here, and only when the test says so.

>>> from worq import TaskSpace, testing
>>> space = TaskSpace()
>>> @space.task(retries=3, backoff=60)
... def fetch(page, tries=[]):
...     tries.append(page)
...     if len(tries) < 3:
...         raise ConnectionError('try later')
...     return f'text of {page}'
>>> @space.task
... def join(texts):
...     return ', '.join(texts)
>>> bench = testing.Bench(space)
>>> d = bench.queue.join([bench.queue.fetch('home')])
>>> bench.run()            # the first attempt; how many tasks have been run is returned
1
>>> d.status
'pending'
>>> bench.advance(120)     # two minutes go by: two more attempts, and then the other task
3
>>> d.value
'text of home'
>>> bench.close()
"""
from __future__ import annotations

from datetime import datetime
from types import CoroutineType
from typing import Any, Callable, Self
from weakref import finalize

from worq import const
from worq.codec import Codec
from worq.core import Broker
from worq.current import Control, CurrentTask, overtime
from worq.builder import collector_of
from worq.inbox import Inbox
from worq.pool.forks import only_here
from worq.pool.loop import Loop
from worq.pool.run import runner
from worq.queue.base import Delivery, Held, Outcome
from worq.queue.memory import queue as memory
from worq.schedules.firing import Firing
from worq.space import TaskSpace
from worq.task import Deferred, Queue

__all__ = ['Bench']

POOL = 'bench'


class Bench:
    """A queue, a worker and a clock, for a test.

    :param tasks: TaskSpaces and functions to expose.
    :param name: of the queue.
    :param codec: 'pickle', 'json' or 'msgpack'.
    :param start: what its clock shows at first, for schedules: a datetime with a time zone.

    :ivar broker: its `Broker`, to expose more, or to take up a result by its id.
    :ivar queue: its `Queue`, to call tasks: ``bench.queue.module.function(1)``. Tasks find it as
        ``worq.current_task().queue``.
    """

    def __init__(self, *tasks: TaskSpace | Callable[..., Any], name: str = 'bench',
                 codec: str = 'pickle', start: datetime | None = None) -> None:
        self._now = 0.0
        if start is not None and start.utcoffset() is None:
            raise ValueError(f'invalid start: {start!r}; it is a datetime with a time zone')
        begin = EPOCH if start is None else round(start.timestamp() * 1000)
        backend = BenchQueue('memory://', name, clock=lambda: begin + round(self._now * 1000))
        backend.begin = begin
        self.broker = Broker(backend, Codec(name, format=codec))
        self.broker.inbox = BenchInbox(backend)
        self.queue: Queue = self.broker.queue()
        self._backend = backend
        self._firing = Firing(backend, self.broker.codec, lambda: backend.totals().now)
        self._hold: Hold | None = None
        self._loop = Loop()
        finalize(self, self._loop.close)   # of a bench that nobody closes
        for each in tasks:
            self.broker.expose(each)
        backend.join(POOL, {'tasks': '\n'.join(self.broker.tasks), 'unknown_grace': '0'})

    @property
    def now(self) -> float:
        """Seconds since the bench was made, by its own clock."""
        return self._now

    def run(self, limit: int | None = None) -> int:
        """Run what is ready, and what becomes ready by it, until nothing is. No time goes by.

        :param limit: how many tasks to run at most.
        :returns: how many have been run (or attempts of them).
        """
        self._not_in_a_task('run')
        if limit is not None:
            limit = const.check_count('limit', limit, 0)
        if collector_of(self.broker) is not None:
            raise RuntimeError('a batch of this bench is not put yet: run it after the with block')
        ran = 0
        while limit is None or ran < limit:
            self._fire()
            delivery = self._take()
            if delivery is None:
                break
            self._hold = Hold(self, delivery)
            try:
                outcome = runner(self.broker, self._hold)(delivery)
            finally:
                self._hold = None
            self._backend.settle(POOL, [outcome])
            ran += 1
        return ran

    def advance(self, seconds: float) -> int:
        """Let time go by: what comes due meanwhile runs, each at its moment.

        A task may call this itself, to say that it takes so long. Then nothing else runs; if its
        time limit is over, or it has been cancelled, it is told so by `TaskTimeout` or
        `Cancelled` here, as a pool would tell it.

        :returns: how many tasks have been run.
        """
        seconds = const.check_span('seconds', seconds)
        if self._hold is not None:
            self._hold.advance(seconds)
            return 0
        end = self.now + seconds
        ran = self.run()
        while (due := self._due()) is not None and self.now < due <= end:
            self._now = due
            ran += self.run()
        self._now = end
        return ran + self.run()

    def crash(self, cause: str = 'killed by SIGKILL') -> str:
        """Have a worker die with the next task that is ready, as soon as it has taken it.

        :param cause: how it died.
        :returns: the id of the task. It will be delivered again, or has expired.
        :raises LookupError: if nothing is ready.
        """
        self._not_in_a_task('crash')
        delivery = self._take()
        if delivery is None:
            raise LookupError('nothing is ready, so no worker can die of it')
        self._backend.settle(POOL, [Outcome(delivery.id, delivery.token, 'lost', cause.encode())])
        return delivery.id

    def close(self) -> None:
        """Forget everything."""
        self._loop.close()
        self.broker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'<Bench [{self.broker.name}] {len(self.queue)} tasks, at {self.now:g} s>'

    def _fire(self) -> None:
        """Put what is due of schedules, as pools do."""
        self._firing.declare(self.broker.timings)
        while not self._firing.look():
            pass

    def _due(self) -> float | None:
        """When something comes due, in seconds of the bench."""
        dues = [self._backend.due()]
        slot = self._firing.due()
        if slot is not None:
            dues.append(self.now + (slot - self._backend.totals().now) / 1000)
        return min((due for due in dues if due is not None), default=None)

    def _take(self) -> Delivery | None:
        taken = self._backend.take(POOL, 1)
        return taken[0] if taken else None

    def _not_in_a_task(self, what: str) -> None:
        if self._hold is not None:
            raise RuntimeError(f'a task cannot call {what}() of the bench that runs it')


EPOCH = 1_000_000   # ms that the clock of a bench shows at first


class BenchQueue(memory.TaskQueue):
    """A queue in memory whose time stands still between two steps of a test."""

    begin = EPOCH   #: ms that its clock showed at first

    def due(self) -> float | None:
        """When something comes due, in seconds of the bench."""
        # As if there had been no tick in the last second: time stands still in between.
        self._store._ticked = None
        with self._lock:
            at = self._store.next_tick()
        return None if at is None else (at - self._store.date(self.begin)) / 1000


class BenchInbox(Inbox):
    """Where nobody waits, since nothing would come meanwhile."""

    def wait(self, deferred: Deferred, timeout: float | None) -> bool:
        if self.look(deferred) or timeout == 0:
            return deferred.has_value()
        raise self._in_vain(deferred)

    def subscribe(self, deferred: Deferred, announce: Callable[[], None],
                  failed: Callable[[Exception], None] | None = None) -> None:
        if not self.look(deferred):
            raise self._in_vain(deferred)
        announce()

    def _in_vain(self, deferred: Deferred) -> RuntimeError:
        return RuntimeError('on a bench nothing runs while you wait: call run() first, or '
                            f'advance() if it is due later.\n{deferred.explain()}')


class Hold(Control):
    """What the bench has to say to the task that it runs."""

    def __init__(self, bench: Bench, delivery: Delivery) -> None:
        self.bench = bench
        self.delivery = delivery
        self.task: CurrentTask | None = None
        self.limit: float | None = None
        self.end_at: float | None = None

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        self.task = task
        self.limit = limit
        if limit is not None:
            self.end_at = self.bench.now + limit

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        return self.bench._loop.run(only_here(coroutine))

    def end(self) -> None:
        self.task = None

    def advance(self, seconds: float) -> None:
        """Let time go by for the task, but not beyond its limit."""
        bench, task, limit = self.bench, self.task, self.end_at
        end = bench.now + seconds
        late = limit is not None and end > limit and task is not None
        # never backwards: it may go on after its limit, to clean up
        bench._now = max(bench.now, limit) if late and limit is not None else end
        progress = task.reported.encode() if task is not None and task.reported else b''
        lost = bench._backend.beat(
            POOL, [Held(self.delivery.id, self.delivery.token, progress)])
        if task is None:
            return
        if any(each.word == 'cancelled' for each in lost):
            raise task.stop('cancelled')
        if late and self.limit is not None:
            self.end_at = None   # told once
            raise task.stop('timeout', overtime(self.limit))
