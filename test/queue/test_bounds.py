"""What a call may ask for has bounds, checked where the caller sees them; and what it has accepted
is never taken for damage."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
import enum
import math
import sys
from typing import Any, Callable
import unittest

from hypothesis import HealthCheck, given, settings, strategies as st
import redis as client

from test import support
from test.queue.contract import message, outcome
from test.support import eq_, unique
import worq
from worq import Task, TaskSpace, const, retry, testing
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.progress import Progress
from worq.queue.base import Argument, Outcome, TaskQueue
from worq.queue.memory import queue as memory
from worq.queue.redis import queue as redis

NUMBERS = [math.nan, math.inf, -math.inf, True, False, 10 ** 400, 1e300, sys.maxsize, '1', [1]]
NONE = ['1', Decimal(1), timedelta(seconds=1), 1j]   # no numbers of seconds
SPANS = [*NUMBERS, *NONE, const.SPAN + 1, 1e10, -1]
COUNTS = [*NUMBERS, *NONE, const.COUNT + 1, 1.0, -1]
FAR = datetime.now(UTC) + timedelta(seconds=const.SPAN + 3_600)


def f() -> None:
    pass


def init(url):
    pass


class Worded(int):
    """Says something else as text."""

    def __str__(self) -> str:
        return 'three'

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return 'three'


class Word(int, enum.Enum):
    """So does this one."""

    THREE = 3


class Narrow:
    """An integer of another library, as numpy has: it compares with others or does not."""

    def __index__(self) -> int:
        return 3


class Half(float):
    """Says something else as text."""

    def __format__(self, spec: str) -> str:
        return 'half'


class Refused(unittest.TestCase):
    """Nonsense is a ValueError in every place that takes a number."""

    def setUp(self) -> None:
        self.broker = worq.get_broker('memory://', unique())
        self.addCleanup(self.broker.close)
        self.q = self.broker.queue()

    def check(self, call: Callable[[Any], Any], values: list[Any], name: str) -> None:
        for value in values:
            with self.subTest(name=name, value=repr(value)[:40]):
                try:
                    call(value)
                except ValueError:
                    continue
                self.fail('it was accepted')

    def test_options(self) -> None:
        """Options of a call, and those of a definition."""
        spans = ['result_timeout', 'heartrate', 'delay', 'expires', 'timeout', 'backoff']
        counts = ['max_deliveries', 'retries']
        for name in spans + counts:
            values = SPANS if name in spans else COUNTS
            if name == 'backoff':
                values = [each for each in values if each != [1]]
                self.check(lambda value: Task(self.q.f, backoff=[1, value]), values, name)
                self.check(lambda value: Task(self.q.f, backoff=lambda n: value)(), values, name)
            self.check(lambda value, name=name: Task(self.q.f, **{name: value}), values, name)
            self.check(lambda value, name=name: worq.get_queue(
                'memory://', 'test', **{name: value}), values, name)
            if name in ('timeout', 'backoff', 'retries'):
                self.check(lambda value, name=name: TaskSpace().task(**{name: value}), values, name)
                self.check(lambda value, name=name: self.broker.expose(
                    f, replace=True, **{name: value}), values, name)
        for name in 'result_timeout', 'heartrate', 'expires', 'timeout', 'max_deliveries':
            self.check(lambda value, name=name: Task(self.q.f, **{name: value}), [0, 0.0], name)

    def test_other_types(self) -> None:
        """A number of any other type counts as Python's own, everywhere."""
        names = ['result_timeout', 'heartrate', 'max_deliveries', 'delay', 'expires', 'timeout',
                 'retries', 'backoff']
        for three in Worded(3), Word.THREE, Narrow():
            for name in names:
                with self.subTest(three=type(three), name=name):
                    task = Task(self.q.f, **{name: three})
                    kept = getattr(task, name)
                    eq_((kept, type(kept)), (3, int))
                    if name in ('timeout', 'retries', 'backoff'):
                        said = retry.parse(task._options.stamp()[0])._asdict()[name]
                        eq_(said, (3.0,) if name == 'backoff' else 3)
                        self.broker.expose(f, replace=True, **{name: three})
                        eq_(type(self.broker.defaults['f']._asdict()[name]), int)
            for backoff in [three], lambda n, three=three: three:
                task = Task(self.q.f, backoff=backoff, retries=1)
                eq_(retry.parse(task._options.stamp()[0]), retry.Policy(1, (3.0,)))
            eq_(type(worq.Retry(three).delay), int)
            eq_(len(worq.map(self.q.f, range(6), chunksize=three)), 2)
            d = self.q.f()
            self.broker.cancel(d.id)
            self.assertIsInstance(d.exception(three), worq.TaskCancelled)
            eq_(len(worq.wait([d], three).done), 1)
        eq_(retry.parse(Task(self.q.f, backoff=Half(0.5))._options.stamp()[0]).backoff, (0.5,))

    def test_eta(self) -> None:
        """A moment that is too far ahead; one in the past is legal, however far."""
        self.check(lambda value: Task(self.q.f, eta=value), [
            FAR, datetime.max.replace(tzinfo=UTC), datetime.max.replace(
                tzinfo=timezone(timedelta(hours=-23)))], 'eta')
        for zone in UTC, timezone(timedelta(hours=23)):
            for past in datetime.min, datetime(1999, 1, 1):
                eq_(Task(self.q.f, eta=past.replace(tzinfo=zone))().status, 'enqueued')

    def test_waiting(self) -> None:
        """Time-outs of whoever waits; None is for ever."""
        d = self.q.f()
        for call in [d.wait, d.result, d.exception, self.broker.next_task,
                     lambda value: worq.wait([d], value),
                     lambda value: worq.as_completed([d], value)]:
            self.check(call, SPANS, repr(call))
        self.broker.cancel(d.id)
        for timeout in 0, 1, const.SPAN, None:
            self.assertTrue(d.wait(timeout))
            self.assertIsInstance(d.exception(timeout), worq.TaskCancelled)
            eq_(len(worq.wait([d], timeout).done), 1)
            eq_(list(worq.as_completed([d], timeout)), [d])

    def test_pools(self) -> None:
        """Pools' parameters."""
        for pool, more in (thread.WorkerPool, ()), (process.WorkerPool, (init,)):
            self.check(lambda value, pool=pool, more=more: pool(
                self.broker, *more, workers=value), [*COUNTS, 0, 20_000], 'workers')
            made = pool(self.broker, *more, workers=1)
            self.check(lambda value, made=made: made.start(timeout=value), SPANS, 'timeout')
        self.check(lambda value: process.WorkerPool(self.broker, init, grace=value), SPANS, 'grace')
        self.check(lambda value: process.WorkerPool(
            self.broker, init, max_worker_tasks=value), [*COUNTS, 0], 'max_worker_tasks')
        stopped = process.WorkerPool(self.broker, init, workers=1)
        self.check(lambda value: stopped.stop(grace=value), SPANS, 'grace')

    def test_others(self) -> None:
        """The clock of a test, chunks of a map, a task that asks to be run again."""
        bench = testing.Bench(f)
        self.addCleanup(bench.close)
        self.check(bench.advance, SPANS, 'seconds')
        self.check(bench.run, COUNTS, 'limit')
        self.check(lambda value: worq.Retry(delay=value), SPANS, 'delay')
        self.check(lambda value: worq.map(self.q.f, [1], chunksize=value), COUNTS, 'chunksize')

    def test_progress(self) -> None:
        """What a task says of how far it has come; it may count beyond ten years."""
        seen: list[Any] = []
        values = [value for value in SPANS if isinstance(value, bool) or value not in (
            sys.maxsize, 1e300, 1e10, const.SPAN + 1)] + ['x' * 10 ** 6, -0.5]

        def report() -> None:
            task = worq.current_task()
            self.check(task.progress, values, 'done')
            self.check(lambda value: task.progress(1, value), values, 'total')
            for text in None, b'x', 1, ['x']:
                with self.assertRaises(TypeError):
                    task.progress(1, 2, text)
            for fine in 0, 0.5, sys.maxsize, 1e300, -0.0, Narrow(), Word.THREE:
                task.progress(fine, fine, 'x' * 10 ** 6)
                seen.append(task.reported)
                eq_(Progress.decode(seen[-1].encode())[:2], seen[-1][:2])
        with testing.Bench(report) as bench:
            d = bench.queue.report()
            bench.run()
            self.assertIsNone(d.exception(0))
        eq_(len(seen), 7)
        eq_({type(number) for told in seen for number in told[:2]}, {int, float})
        for raw in b'[NaN, 1, ""]', b'[1, Infinity, ""]', b'[1, -1, ""]', b'[true, 1, ""]':
            self.assertIsNone(Progress.decode(raw), raw)

    def test_takes(self) -> None:
        """How many tasks are taken, on every engine."""
        for q in memory.TaskQueue('memory://'), redis.TaskQueue('redis://localhost:1'):
            self.addCleanup(q.close)
            for call in [lambda value, q=q: q.take('p', value),
                         lambda value, q=q: q.edges('g', 'a', 'n' * 12, value, [])]:
                self.check(call, [math.nan, -1, True, 1.5, '1'], 'count')

    def test_addresses(self) -> None:
        """Options of a queue, and those of its URL."""
        for name in 'timeout', 'durable', 'db':
            for text in 'nan', 'inf', '-inf', 'True', '1e300', '-1', '9' * 400, '':
                with self.subTest(name=name, text=text), self.assertRaises(ValueError):
                    worq.get_broker(f'unix:///tmp/none.sock?{name}={text}')
        for name, values in [('retry_for', SPANS), ('durable', COUNTS), ('max_payload', COUNTS)]:
            if name == 'max_payload':
                values = [each for each in values if each != const.COUNT + 1]
            self.check(lambda value, name=name: worq.get_broker(
                'redis://localhost', **{name: value}), values, name)

    def test_queues(self) -> None:
        """What the verbs of a queue get, on every engine."""
        for q in memory.TaskQueue('memory://'), redis.TaskQueue('redis://localhost:1'):
            self.addCleanup(q.close)
            for name in 'delay', 'expires', 'ttl', 'lease', 'max_deliveries':
                for value in -1, 1 << 50, const.SPAN * 1000 + 1:
                    with self.subTest(q=q, name=name), self.assertRaises(ValueError):
                        q.put([message('a', **{name: value})])
            for value in -1, const.SPAN * 1000 + 1:
                with self.assertRaises(ValueError):
                    q.settle('p', [Outcome('a', b't', 'retry', b'', value)])
                with self.assertRaises(ValueError):
                    q.beat('p', [], value)
            for value in math.nan, math.inf, 10 ** 20:
                with self.assertRaises(ValueError):
                    q.take('p', 1, value)
                with self.assertRaises(ValueError):
                    q.wait('c', value)


numbers = st.sampled_from([60.5, const.DAY * 366, const.DAY * 400, const.SPAN - 1,
                           const.SPAN]) | st.floats(60, const.SPAN)
counts = st.integers(1, const.COUNT) | st.just(const.COUNT)
options = st.fixed_dictionaries({}, optional={
    'result_timeout': numbers, 'heartrate': numbers, 'delay': numbers, 'timeout': numbers,
    'backoff': numbers, 'retries': counts, 'max_deliveries': counts,
    'priority': st.sampled_from(['high', 'low']), 'on_error': st.sampled_from(['fail', 'pass']),
    'eta': st.datetimes(max_value=FAR.replace(tzinfo=None) - timedelta(days=1)).map(
        lambda at: at.replace(tzinfo=UTC)),
})


class Survives(unittest.TestCase):
    """Whatever a call has accepted is left as it is by a repair, in every state."""

    @classmethod
    def setUpClass(cls) -> None:
        cls.url = support.redis_url()

    def test_memory(self) -> None:
        self.check(worq.get_broker('memory://', unique()))

    def test_redis(self) -> None:
        broker = worq.get_broker(self.url, unique(), secret='a secret of a test')
        self.addCleanup(support.clean, self.url, broker.name)
        with client.Redis.from_url(self.url) as self.client:
            self.check(broker)

    def check(self, broker: worq.Broker) -> None:
        self.addCleanup(broker.close)

        @settings(max_examples=15, deadline=None, database=None,
                  suppress_health_check=list(HealthCheck))
        @given(options=options, late=st.none() | numbers, pause=numbers)
        def live(options: dict[str, Any], late: float | None, pause: float) -> None:
            if 'eta' in options:
                options.pop('delay', None)
            self.live(broker, options, late, pause)
        live()

    def live(self, broker: worq.Broker, options: dict[str, Any], late: float | None,
             pause: float) -> None:
        q: TaskQueue = broker.backend
        open, = worq.map(broker.queue().f, [1])
        try:
            task = Task(broker.queue().f, expires=late, **options)
            waits, d = task(open), task()
        except ValueError as error:   # there is no other reason
            self.assertIn('too late to begin', str(error))
            broker.cancel(open.id)
            return
        self.sound(broker, [waits.id, d.id])
        for held in q.take('p', 9):
            self.sound(broker, [held.id])
            if held.id != open.id:
                q.settle('p', [outcome(held, 'retry', b'memo', delay=int(pause * 1000))])
                self.sound(broker, [held.id])
        q.settle('p', [Outcome(open.id, q.inspect([open.id])[0].nonce.encode() + b'1', 'delegate',
                               target=Argument(d.id, ''))])
        self.sound(broker, [open.id, waits.id, d.id])
        broker.cancel(d.id)
        self.sound(broker, [open.id, waits.id, d.id])
        self.assertIsInstance(d.exception(5), worq.TaskFailure)
        q.forget([d.id, waits.id, open.id])

    def sound(self, broker: worq.Broker, ids: list[str]) -> None:
        """Nothing is wrong, and a repair finds nothing and changes nothing."""
        before = self.look(broker, ids)
        eq_(broker.backend.audit(), [])
        eq_(broker.backend.audit(repair=True), [])
        after = self.look(broker, ids)
        eq_(after, before)
        for id in ids:
            self.assertTrue(broker.deferred(id).explain())

    def look(self, broker: worq.Broker, ids: list[str]) -> Any:
        """All that the queue knows, but for what changes by the clock."""
        if broker.url == 'memory://':
            lives = map(broker.backend._store.find, ids)
            return [life and (life.state, life.due, life.late, life.deadline) for life in lives]
        prefix = f'worq:{{{broker.name}}}:'
        return [self.client.hgetall(f'{prefix}t:{id}') for id in ids], [
            self.client.zrange(prefix + name, 0, -1, withscores=True)
            for name in ('sched', 'lease', 'exp', 'wait')]
