"""worq.batch: the calls of a block are put together, or not at all."""
from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
import threading
import time
from unittest import mock

from hypothesis import HealthCheck, given, settings, strategies as st

import worq
from test.broker_case import BrokerCase, MemoryMixin, RedisMixin, on_every_queue
from test.pool.contract import WAIT
from test.pool.process.test_pool import Processes
from test.support import eventually
from test.test_inbox import Counting
from worq import Task, TaskSpace, const, current_task, builder
from worq.errors import QueueError
from worq.queue.base import Argument, Held, Refusal


def add(*numbers):
    return sum(numbers)


def total(numbers):
    return sum(numbers)


def double(n):
    return 2 * n


def fail():
    raise ValueError('no')


def count(numbers):
    return sum(isinstance(number, worq.TaskFailure) for number in numbers)


def small(**limits):
    """Smaller limits, so that small graphs take several steps."""
    return mock.patch.multiple(builder, **{'TASKS': 20, 'STEP': 10, 'WIDE': 10, **limits})


class BatchContract(BrokerCase):
    """Batches of any size, on any queue."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [add, total, double, fail, count]:
            self.b.expose(function)
        self.q = self.b.queue()

    def counted(self):
        counting = self.b.backend = Counting(self.b.backend)
        return counting.calls

    # -- what one put can take ------------------------------------------------

    def test_one_put(self):
        """All calls of the block are put in one step, when it ends; their Deferreds are
        arguments of one another, and results like any afterwards."""
        calls = self.counted()
        with worq.batch(self.q) as batch:
            first = [self.q.double(n) for n in range(10)]
            middle = worq.map(self.q.add, first, first)
            chunks = worq.map(self.q.add, range(4), range(4), chunksize=2)
            top = worq.reduce(self.q.add, middle)
            Task(self.q.double, ignore_result=True)(1)
            self.assertEqual(len(batch), 10 + 10 + 2 + 9 + 1)
            self.assertEqual(calls, [])
        self.assertEqual(calls, ['put'])
        self.work(self.b)
        self.assertEqual([top.result(30), [c.result(30) for c in chunks]],
                         [4 * 45, [[0, 2], [4, 6]]])
        self.assertEqual(len(self.q), 0)

    def test_a_block_that_raises(self):
        """Nothing is put if the block raises, and its Deferreds say so."""
        with self.assertRaises(ZeroDivisionError), worq.batch(self.q):
            d = self.q.double(1)
            self.q.double(1 / 0)
        self.assertEqual(len(self.q), 0)
        self.assertIn('never put', repr(d))
        for ask in [d.wait, d.result, lambda: d.value, d.cancel]:
            with self.assertRaisesRegex(RuntimeError, 'never put'):
                ask()
        with self.assertRaisesRegex(worq.EncodeError, 'never put'):
            self.q.double(d)
        self.q.double(2)    # calls go on as ever
        self.assertEqual(len(self.q), 1)

    def test_waiting_inside(self):
        """Who asks for an outcome inside the block is told why there can be none."""
        async def wait_for(d):
            await d
        with worq.batch(self.q):
            d = self.q.double(1)
            for ask in [d.wait, lambda: d.wait(0), d.result, d.exception, lambda: d.value,
                        d.cancel, lambda: worq.wait([d]), lambda: list(worq.as_completed([d])),
                        lambda: asyncio.run(wait_for(d))]:
                with self.assertRaisesRegex(RuntimeError, 'before its batch ends'):
                    ask()
            self.assertEqual((bool(d), d.has_value(), d.status), (False, False, None))
            self.assertRegex(repr(d), r'<Deferred double \[.*\] not put yet>')
        self.work(self.b)
        self.assertEqual(d.result(30), 2)

    def test_errors(self):
        """What is refused is named at the end of the block, as for a single call; nothing is
        put. Mistakes in arguments are told at their call."""
        for bad, error, text in [
                (lambda: (Task(self.q.double, id='a')(1), Task(self.q.add, id='a')(1)),
                 worq.DuplicateTask, r'add \[.*:a\]'),
                (lambda: self.q.add(self.b.deferred('nobody')), worq.TaskFailure,
                 r'add \[.*\] task \[.*nobody\] result is not available')]:
            with self.assertRaisesRegex(error, text), worq.batch(self.q):
                d = self.q.double(1)
                bad()
            self.assertIn('never put', repr(d))
            self.assertEqual(len(self.q), 0)
        with worq.batch(self.q) as batch:
            with self.assertRaises(worq.EncodeError):
                self.q.double(threading.Lock())
            self.q.double(3)
            self.assertEqual(len(batch), 1)
        self.assertEqual(len(self.q), 1)

    def test_results_from_outside(self):
        """Deferreds from before the block are arguments in it, also one whose result
        only this process still knows."""
        before, kept = self.q.double(1), self.q.double(2)
        self.work(self.b)
        self.assertEqual(kept.result(30), 4)
        self.b.backend.forget([kept.id])
        with worq.batch(self.q):
            inner = self.q.double(5)
            d = self.q.add(before, kept, inner)
            other = self.q.add(kept)
        self.work(self.b)
        self.assertEqual((d.result(30), other.result(30)), (16, 4))

    def test_nested(self):
        """A batch inside a batch joins it; if its block raises, only its own calls are dropped."""
        calls = self.counted()
        with worq.batch(self.q) as outer:
            a = self.q.double(1)
            with worq.batch(self.q.some.other.target):
                b = self.q.add(a, 1)
            with self.assertRaises(KeyError), worq.batch(self.q):
                c = self.q.add(b)
                raise KeyError
            d = self.q.add(a, b)
            self.assertEqual((calls, len(outer)), ([], 3))
        self.assertEqual(calls, ['put'])
        self.work(self.b)
        self.assertEqual((b.result(30), d.result(30)), (3, 5))
        with self.assertRaisesRegex(RuntimeError, 'never put'):
            c.wait()

    def test_two_brokers(self):
        """Batches of two brokers are independent, and a call through another broker is put
        at once; a Deferred that is not put yet is no argument there."""
        other = self.broker()
        q = other.queue()
        with worq.batch(self.q):
            a = self.q.double(1)
            q.double(5)
            self.assertEqual(len(q), 1)
            with self.assertRaisesRegex(worq.EncodeError, 'before its batch ends'):
                q.add(a)
            with worq.batch(q):
                b = q.double(2)
                c = self.q.double(a)
                self.assertEqual(len(q), 1)
            self.assertEqual(len(q), 2)
        self.work(self.b)
        self.assertEqual((b.result(30), c.result(30)), (4, 4))

    def test_eta(self):
        """An eta is a moment, however long the block takes."""
        with worq.batch(self.q):
            eta = datetime.now(UTC) + timedelta(seconds=0.2)
            d = Task(self.q.double, eta=eta)(1)
            later = Task(self.q.double, eta=eta + timedelta(hours=1))(1)
            time.sleep(0.3)
        self.assertEqual((d.status, later.status), (const.ENQUEUED, const.SCHEDULED))

    def test_waiting_for_many(self):
        """Who waits for the Deferreds of a batch, one after the other, makes few round trips."""
        with worq.batch(self.q):
            made = worq.map(self.q.double, range(500))
        self.work(self.b)
        counting = self.b.inbox.backend = Counting(self.b.backend)
        self.assertEqual(sum(d.result(30) for d in made), 2 * sum(range(500)))
        self.assertLessEqual(counting.calls.count('watch'), 15)

    def test_threads(self):
        """Another thread's calls are its own, even with the same context."""
        async def main():
            with worq.batch(self.q) as batch:
                self.q.double(1)
                await asyncio.to_thread(self.q.double, 2)
                return len(batch), len(self.q)
        self.assertEqual(asyncio.run(main()), (1, 1))
        self.assertEqual(len(self.q), 2)

    def test_coroutines(self):
        """Coroutines that the block starts are part of it, others of the thread are not."""
        async def call(*events):
            for event in events:
                await event.wait()
            self.q.double(1)

        async def main():
            begun = asyncio.Event()
            other = asyncio.create_task(call(begun))
            with worq.batch(self.q) as batch:
                begun.set()
                await asyncio.gather(call(), call(), other)
                return len(batch), len(self.q)
        self.assertEqual(asyncio.run(main()), (2, 1))

    def test_once(self):
        """A batch is used once, and an empty one puts nothing."""
        calls = self.counted()
        with worq.batch(self.q) as batch:
            pass
        with self.assertRaisesRegex(RuntimeError, 'once'), batch:
            pass
        self.assertEqual(calls, [])
        with self.assertRaisesRegex(TypeError, 'q.module.function'):
            worq.batch('q')

    # -- what takes several steps ---------------------------------------------

    def test_steps(self):
        """A graph of any shape is put in bounded steps; nothing runs before the last one."""
        held = []

        def look(messages, gate=''):
            held.append(len(self.b.backend.take('early', 10)))
            return put(messages, gate)
        put = self.b.backend.put
        with small(), mock.patch.object(self.b.backend, 'put', look):
            with worq.batch(self.q):
                leaves = [self.q.double(n) for n in range(95)]
                wide = self.q.total(leaves)
                pairs = [self.q.add(d, wide) for d in leaves]
                last = self.q.total(pairs)
        self.assertGreater(len(held), 15)
        self.assertEqual(set(held), {0})
        self.work(self.b)
        self.assertEqual(last.result(30), 96 * 2 * sum(range(95)))

    def test_refused_late(self):
        """If a late step is refused, nothing of the earlier ones runs, ever."""
        with small(), self.assertRaisesRegex(worq.DuplicateTask, 'taken'), worq.batch(self.q):
            made = [Task(self.q.double, id=f'n-{n}')(n) for n in range(30)]
            Task(self.q.add, id='taken')()
            Task(self.q.add, id='taken')()
        self.assertEqual((self.work(self.b), len(self.q)), (0, 0))
        self.assertIn('never put', repr(made[0]))
        self.assertEqual(Task(self.q.double, id='n-1')(1).status, const.ENQUEUED)   # it is free

    def test_unknown_late(self):
        """An argument that is gone, beyond those that are put with a wide task, is sent by value
        if it is known here; else the call's failure names both."""
        kept = [self.q.double(n) for n in range(40)]
        self.work(self.b)
        self.assertEqual(sum(d.result(30) for d in kept), 2 * sum(range(40)))
        self.b.backend.forget([d.id for d in kept[5::7]])
        with small():
            self.assertEqual(self.work_for(self.q.total(kept)), 2 * sum(range(40)))
            unknown = [*kept[:30], self.b.deferred('nobody')]
            with self.assertRaisesRegex(worq.TaskFailure, r'total \[.*nobody'):
                self.q.total(unknown)
        self.assertEqual(len(self.q), 0)

    def work_for(self, deferred):
        self.work(self.b)
        return deferred.result(30)

    def test_wide(self):
        """A single call with more arguments than one step takes is put in several."""
        leaves = worq.map(self.q.double, range(60))
        calls = self.counted()
        with small():
            d = self.q.total(leaves)
        self.assertEqual(calls.count('edges'), 5)
        self.assertEqual(self.work_for(d), 2 * sum(range(60)))
        with small():   # among others of a map
            sums = worq.map(self.q.total, [leaves[:2], leaves, leaves[3:5]])
            worq.map(self.q.total, [leaves[:2], leaves[:30]])
        self.assertEqual(calls.count('edges'), 12)
        self.assertEqual(self.work_for(sums[1]), 2 * sum(range(60)))
        self.assertEqual(sums[2].result(30), 14)

    def test_wide_refused(self):
        """A wide call that is refused leaves nothing that counts as put."""
        leaves = [*worq.map(self.q.double, range(60)), self.b.deferred('nobody')]
        for call in [lambda: self.q.total(leaves), lambda: worq.map(self.q.total, [leaves])]:
            with small(), self.assertRaisesRegex(worq.TaskFailure, 'nobody'):
                call()
        self.assertEqual(self.work(self.b), 60)

    def test_wide_with_a_failure(self):
        """A failed argument, wherever it stands, fails a wide task; and one that has failed
        before it is put, too."""
        for early in False, True:
            leaves = worq.map(self.q.double, range(60))
            leaves[50] = self.q.fail()
            if early:
                self.work(self.b)
            with small():
                d = self.q.total(leaves)
            self.work(self.b)
            self.assertIn('ValueError: no', d.exception(30).error)

    def test_nobody_opens(self):
        """If the connection is lost while a batch is built, nothing of it runs: the gate ends
        when it is not heard of."""
        def put(messages, gate=''):
            if next(steps, None) is None:
                raise QueueError('cut')
            return real(messages, gate)
        steps = iter(range(2))
        backend, real = self.b.backend, self.b.backend.put
        with small(LEASE=1_000), mock.patch.object(backend, 'put', put), \
                mock.patch.object(backend, 'cancel', side_effect=QueueError('cut')), \
                mock.patch.object(backend, 'within', wraps=backend.within) as within, \
                self.assertRaisesRegex(QueueError, 'cut'), worq.batch(self.q):
            worq.map(self.q.double, range(40))
        within.assert_called_once_with(0)   # who has waited once is told now
        self.assertEqual(len(self.q), 11)   # a gate, and one step
        eventually(lambda: (backend.beat('other', []), len(self.q))[1], 0, 30)
        self.assertEqual(self.work(self.b), 0)

    def test_too_slow(self):
        """A builder that is not heard of for too long is told that nothing was put."""
        backend, real = self.b.backend, self.b.backend.put

        def put(messages, gate=''):
            if gate:
                backend.cancel([gate])   # as if its lease were over
            return real(messages, gate)
        with small(), mock.patch.object(backend, 'put', put), \
                self.assertRaisesRegex(QueueError, 'gave a batch up'), worq.batch(self.q):
            worq.map(self.q.double, range(40))
        self.assertEqual(len(self.q), 0)
        widen = backend.edges

        def edges(gate, *more):
            backend.cancel([gate])
            return widen(gate, *more)
        leaves = worq.map(self.q.double, range(60))
        with small(), mock.patch.object(backend, 'edges', edges), \
                self.assertRaisesRegex(QueueError, 'nothing has been put'):
            self.q.total(leaves)
        self.assertEqual(len(self.q), 60)

    def test_too_late_to_open(self):
        """So is one that is given up just before it would have opened the gate."""
        backend, real = self.b.backend, self.b.backend.settle

        def settle(pool, outcomes):
            backend.cancel([pool])
            return real(pool, outcomes)
        with small(), mock.patch.object(backend, 'settle', settle), \
                self.assertRaisesRegex(QueueError, 'cannot be opened'), worq.batch(self.q):
            d = worq.map(self.q.double, range(40))[0]
        self.assertIn('never put', repr(d))
        self.assertEqual(len(self.q), 0)

    def test_beats(self):
        """The gate is kept alive while a batch is built."""
        held = []

        def beat(pool, each, lease):
            held.extend(each)
            return real(pool, each, lease)
        backend, real = self.b.backend, self.b.backend.beat
        with small(BEAT=0), mock.patch.object(backend, 'beat', beat), worq.batch(self.q):
            worq.map(self.q.double, range(40))
        self.assertEqual(len(held), 4)
        self.assertIsInstance(held[0], Held)
        self.assertEqual(self.work(self.b), 40)

    @settings(max_examples=15, deadline=None, database=None,
              suppress_health_check=list(HealthCheck))
    @given(st.data())
    def check_graphs(self, data):
        """Any graph comes to what it comes to without a queue."""
        sizes = data.draw(st.lists(st.integers(0, 30), min_size=1, max_size=60))
        values: list[int | None] = []    # None: it fails
        made = []
        with small(), worq.batch(self.q):
            for size in sizes:
                near = st.integers(max(0, len(made) - 40), len(made) - 1)
                picks = data.draw(st.lists(near, max_size=size)) if made else []
                kind = data.draw(st.sampled_from(['total'] * 8 + ['fail', 'count']))
                given_ = [values[n] for n in picks]
                args = [made[n] for n in picks]
                if kind == 'fail':
                    made.append(self.q.fail())
                    values.append(None)
                elif kind == 'count':
                    made.append(Task(self.q.count, on_error=Task.PASS)(args))
                    values.append(given_.count(None))
                else:
                    made.append(self.q.total([1, *args]))
                    values.append(None if None in given_ else 1 + sum(given_))
        self.work(self.b)
        for deferred, value in zip(made, values):
            if value is None:
                self.assertIn('ValueError: no', deferred.exception(30).error)
            else:
                self.assertEqual(deferred.result(30), value)

    def test_graphs(self):
        """Any graph, put in steps, comes to what it comes to without a queue."""
        self.check_graphs()

    def test_real_limits(self):
        """More than a thousand calls, and a fan-in of thousands, with the limits as they are."""
        with worq.batch(self.q):
            leaves = worq.map(self.q.double, range(3000))
            d = self.q.total(leaves)
        while deliveries := self.b.backend.take('pool', 500):
            from worq.pool.run import run
            self.b.backend.settle('pool', [run(self.b, each) for each in deliveries])
        self.assertEqual(d.result(30), 2 * sum(range(3000)))


def test_steps_of_a_graph():
    """Steps keep the order, and the bounds of tasks, arguments and bytes; a wide task has one."""
    def entry(arguments, body=b''):
        made = builder.Entry(None, b'')
        made.message = mock.Mock(header=b'', body=body, arguments=[None] * arguments)
        return made
    entries = [*[entry(0)] * 12, *[entry(1)] * 12, entry(49), entry(30), *[entry(0)] * 3,
               *[entry(0, bytes(30_000))] * 2]
    with small(), mock.patch.multiple(const, PUT_BYTES=40_000, EDGE=2):
        ends = [0]
        while ends[-1] < len(entries):
            ends.append(builder.step_end(entries, ends[-1]))
    assert ends == [0, 10, 18, 24, 25, 26, 30, 31], ends


def test_refusals_are_mended():
    """Those that are refused for one argument are mended together, and all are tried again; what
    has become too large for one put is put in steps."""
    def mend(entry, refusal):
        mended.append((entry.message.id, refusal))
        entry.message.body = bytes(30_000)
    arguments = {'a': [], 'b': [Argument('x', 'n')], 'c': [Argument('x', 'n')],
                 'd': [Argument('x', '')]}
    entries, mended, steps = [], [], []
    answers = [[Refusal('b', 'unknown', 'x')], [], [], [], []]

    def put(messages, gate=''):
        steps.append([message.id for message in messages])
        return answers.pop(0)
    for id, used in arguments.items():
        entries.append(builder.Entry(None, b''))
        entries[-1].message = mock.Mock(id=id, arguments=used, header=b'', body=b'')
    queue = mock.Mock(put=put, settle=lambda gate, outcomes: ['ok'])
    with mock.patch.object(const, 'PUT_BYTES', 40_000):
        builder.put_all(queue, entries, mend, lambda gate: b'')
    assert mended == [(id, Refusal(id, 'unknown', 'x')) for id in 'bc'], mended
    gate, = steps.pop(1)
    assert steps == [['a', 'b', 'c', 'd'], ['a', 'b'], ['c', 'd']], steps


on_every_queue(globals(), BatchContract)

inner = TaskSpace()
inner.task(total)
inner.task(double)


@inner.task
def fan(n):
    """Put a graph that takes several steps, and leave it to others."""
    with worq.batch(current_task().queue) as batch:
        top = batch.broker.queue().total(worq.map(current_task().queue.double, range(n)))
    return top


def init(url, name):
    """The broker of a child."""
    broker = worq.get_broker(url, name)
    broker.expose(inner)
    return broker


class InAChild(Processes):
    """Tasks put graphs themselves."""

    def test_from_a_task(self):
        """A task in a child process puts a graph of any size, on whatever queue it came from."""
        pool = self.pool(1, init=init)
        self.begin(pool)
        self.addCleanup(pool.stop)
        self.assertEqual(self.q.fan(2500).result(WAIT), 2500 * 2499)
        self.assertEqual(self.broker.backend.stats()['succeeded'], 2502)


class InAChildOnMemory(MemoryMixin, InAChild):
    """Where the queue is in the parent."""


class InAChildOnRedis(RedisMixin, InAChild):
    """Where the queue is a server."""
