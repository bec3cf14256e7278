"""Outcomes that only other calls need: how long they are kept, and what is said of those gone."""
from __future__ import annotations

import redis

import worq
from test.broker_case import BrokerCase, MemoryMixin, RedisMixin
from worq import Task, TaskExpired, TaskFailure, const
from worq.deferred import GONE, LET_GO
from worq.queue.redis.queue import scripts

SIZE = 20_000   # bytes of what a pipeline makes on its way


def load(n):
    return bytes(SIZE) + b'%d' % n


def length(*parts):
    return sum(len(part) if isinstance(part, bytes) else part for part in parts)


def total(numbers):
    return length(*numbers)


def fail():
    raise ValueError('no')


class LifetimesContract(BrokerCase):
    """What a program sees of it, on any queue."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [load, length, total, fail]:
            self.b.expose(function)
        self.q = self.b.queue()
        self.now = 1_700_000_000_000
        self.set_clock()

    def kept(self, *deferreds):
        """Whether the queue knows them; nobody is told of it."""
        return [state is not None for state in self.b.backend.status([d.id for d in deferreds])]

    def advance(self):
        """Let time pass until the next tick."""
        self.now += const.TICK
        self.set_clock()
        self.b.backend.beat('test-pool')   # as a pool does; in memory some are forgotten with it

    def gone(self, *deferreds):
        """They are there, and then they go; it happens once in a test that time passes."""
        self.advance()
        self.assertFalse(any(self.kept(*deferreds)))

    def pipeline(self):
        """Loads, sums of two, and a report; together."""
        with worq.batch(self.q):
            loads = worq.map(self.q.load, range(4))
            top = worq.reduce(self.q.length, loads)
            return [*loads, *top.task.args], self.q.total([top, self.q.load(5)])

    def test_what_was_made_together_goes(self):
        """Of a batch the last result is kept; of what it was made of nothing, though all is looked
        at, and asked about."""
        steps, report = self.pipeline()
        self.assertFalse(report)   # a look, and it asks for others along with it
        self.work(self.b)
        report.explain()
        steps[0].explain()
        self.gone(*steps)
        self.assertEqual(self.kept(report), [True])
        self.assertEqual(report.result(0), 5 * (SIZE + 1))
        with self.assertRaises(TaskExpired) as caught:
            steps[0].result(0)
        self.assertEqual(caught.exception.error, LET_GO)
        self.assertEqual(steps[0].status, 'unknown')
        with self.assertRaisesRegex(TaskFailure, "let go when none of them needed.*keep='timeout'"):
            self.q.length(steps[1])
        self.assertEqual(self.b.deferred(steps[2].id).exception(0).error, GONE)

    def test_what_is_asked_for_stays(self):
        """Who waits for a result on the way, before or after it is there, keeps it."""
        loads = worq.map(self.q.load, range(4))
        top = self.q.length(*loads)
        loads[1].wait(0)
        self.work(self.b)
        self.gone(loads[0], *loads[2:])
        self.assertEqual(self.kept(loads[1], top), [True] * 2)
        self.assertEqual(len(loads[1].result(0)), SIZE + 1)
        late = self.q.load(1), Task(self.q.load, keep='needed')(2)
        self.q.length(*late)
        self.work(self.b)
        self.assertEqual(len(late[1].result(0)), SIZE + 1)
        self.b.backend.beat('test-pool')
        self.assertEqual(self.kept(*late), [True] * 2)

    def test_what_is_asked_for_along(self):
        """Who reads all results, one after the other, asks for many at a time, also for those that
        are arguments as well."""
        loads = worq.map(self.q.total, [[n] for n in range(40)])
        self.q.total(loads)
        self.work(self.b)
        asked = []
        watch = self.b.backend.watch
        self.b.backend.watch = lambda client, ids: asked.append(list(ids)) or watch(client, ids)
        try:
            self.assertEqual([one.result(0) for one in loads], list(range(40)))
        finally:
            del self.b.backend.watch
        self.assertLess(len(asked), 12)
        self.assertTrue(all(self.kept(*loads)))

    def test_who_says_how_long(self):
        """An id, or a time of the caller's own, also of the queue, is as good as keep='timeout';
        and keep='needed' holds for a single call, too."""
        q = self.q
        named = Task(q.load, id=lambda n: f'{self.name} {n}')
        with worq.batch(q):
            kept = [*worq.map(named, range(2)), *worq.map(Task(q.load, result_timeout=60), [1]),
                    *worq.map(Task(q.load, keep='timeout'), [1]),
                    self.b.queue('load', result_timeout=3600)(1), Task(q.load, id='one')(1)]
        kept.append(q.load(1))
        needed = [Task(q.load, keep='needed')(1), Task(q.load, id='two', keep='needed')(1),
                  self.b.queue('load', keep='needed')(1),
                  Task(self.b.queue('load', keep='needed'), result_timeout=60)(1)]
        last = q.length(*kept, *needed[:-1], self.b.deferred(needed[-1].id))
        self.work(self.b)
        self.gone(*needed)
        self.assertTrue(all(self.kept(*kept, last)))
        self.assertEqual(last.result(0), 11 * (SIZE + 1))

    def test_one_call_after_the_other(self):
        """Who waits for each of his calls does not ask for what is needed by others only."""
        steps = []
        for _ in range(6):
            steps.append(Task(self.q.load, keep='needed')(1))
            last = self.q.length(steps[-1])
            self.work(self.b)
            self.assertEqual(last.result(10), SIZE + 1)
        self.gone(*steps)

    def test_failures_can_be_asked_for(self):
        """What a failure names is there as long as any result, and so is what it came through."""
        with worq.batch(self.q):
            first, fine = self.q.fail(), self.q.load(1)
            second = self.q.length(first, fine)
            last = self.q.length(second)
        self.work(self.b)
        self.gone(fine)
        failure = last.exception(0)
        self.assertEqual(failure.task_id, first.id)
        for one in first, second:
            self.assertEqual(self.b.deferred(one.id).exception(0), failure)

    def test_results_that_nothing_takes_stay(self):
        """What map and batch make and nothing takes is kept as any other."""
        loads = worq.map(self.q.load, range(2))
        with worq.batch(self.q):
            one = self.q.load(1)
        self.work(self.b)
        self.q.length(*worq.map(self.q.load, [3]))
        self.work(self.b)
        with self.b.backend.within(5):
            self.assertEqual(self.kept(*loads, one), [True] * 3)
        self.assertEqual(one.task.options.keep, 'needed')

    def test_options(self):
        """What makes no sense is refused."""
        for wrong in [{'keep': 'hour'}, {'keep': True}, {'keep': 'needed', 'ignore_result': True}]:
            with self.assertRaises(ValueError):
                Task(self.q.load, **wrong)
        self.assertEqual(Task(self.q.load).keep, 'timeout')
        self.assertEqual(Task(self.q.load, keep='needed').keep, 'needed')
        self.assertIsNone(Task(self.b.queue('load', ignore_result=True), keep='needed')(1))
        self.work(self.b)

    def test_soak(self):
        """Pipelines leave their last result, and nothing else that grows."""
        def run(count):
            reports = [self.pipeline()[1] for _ in range(count)]
            self.work(self.b)
            for report in reports:
                self.assertEqual(report.result(5), 5 * (SIZE + 1))
                self.b.backend.forget([report.id])
            del reports
            for _ in range(12):   # ten with each of them
                self.advance()
            self.assertEqual(self.size(), before)
        before = self.size()
        for _ in range(2):
            run(10)


class MemoryLifetimes(MemoryMixin, LifetimesContract):

    def set_clock(self):
        self.b.backend.clock = lambda: self.now

    def size(self):
        """Lives that are kept."""
        store = self.b.backend._store
        return len(store.lives), sum(len(life.data) for life in store.lives.values())


class RedisLifetimes(RedisMixin, LifetimesContract):

    def set_clock(self):
        self.b.backend._scripts = scripts(True)
        with redis.Redis.from_url(self.url()) as client:
            client.set(f'worq:{{{self.name}}}:clock', self.now)

    def size(self):
        """Keys of tasks that are kept."""
        with redis.Redis.from_url(self.url()) as client:
            prefix = f'worq:{{{self.name}}}:'
            return len([*client.scan_iter(match=f'{prefix}[a-z]:*', count=1000)])
