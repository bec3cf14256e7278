"""Outcomes that only other calls need: how long they are kept, and what is said of those gone."""
from __future__ import annotations

import threading

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
        with self.b.backend.within(5):   # for a person may have `second` run again
            self.assertEqual(self.kept(fine), [True])
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


class UpstreamContract(BrokerCase):
    """What is cancelled against the arrows, and of batches as a whole."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [length, total, fail]:
            self.b.expose(function)
        self.q = self.b.queue()

    def states(self, *deferreds):
        """The first letter of how each of them stands; nobody is told of it."""
        return ''.join((self.b.status(one) or '?')[0] for one in deferreds)

    def test_plain_cancel(self):
        """A cancel goes along the arrows, and not against them."""
        first = self.q.length(1)
        second = self.q.length(first)
        third = self.q.length(second)
        self.assertTrue(second.cancel())
        self.assertEqual(self.states(first, second, third), 'ecc')
        self.assertIsNone(first.exception(self.work(self.b)))

    def test_upstream(self):
        """All that only this task needs goes, at any depth; a diamond too, and wide ones."""
        root = self.q.length(1)
        wide = worq.map(self.q.length, [root] * 30, range(30))
        high = self.q.length(root, self.q.length(*wide[:10]))
        top = self.q.total([high, *wide])
        last = self.q.length(top)
        self.assertTrue(top.cancel(upstream=True))
        self.assertEqual(set(self.states(root, *wide, high, top, last)), {'c'})
        self.assertFalse(top.cancel(upstream=True))
        self.assertEqual(len(self.b), 0)

    def test_upstream_of_very_many(self):
        """More arguments than one step tells of, all of which have one themselves."""
        root = self.q.length(1)
        wide = worq.map(self.q.length, [root] * 1_100)
        top = self.q.total(wide)
        self.assertTrue(self.b.cancel(top.id, upstream=True))
        self.assertEqual(len(self.b), 0)

    def test_what_others_need(self):
        """Another dependent, by an argument or a tail call, and one who waits elsewhere, keep a
        task and what it waits for. What was looked at here does not, unless it is waited for."""
        base = [self.q.length(n) for n in range(5)]
        steps = [self.q.length(one) for one in base]
        other = self.q.length(steps[0])
        top = self.q.total(steps)
        elsewhere = self.broker()
        self.assertFalse(elsewhere.deferred(steps[1].id).wait(0))
        self.assertFalse(steps[2].wait(0))
        announce = threading.Event().set
        self.b.inbox.subscribe(steps[3], announce)
        try:
            self.assertTrue(top.cancel(upstream=True))
        finally:
            self.b.inbox.unsubscribe(steps[3], announce)
        self.assertEqual(self.states(*steps), 'ppcpc')
        self.assertEqual(self.states(*base), 'eecec')
        self.assertEqual(self.states(other), 'p')

    def test_upstream_of_a_tail_call(self):
        """What a task has returned is upstream of it."""
        made = []

        def ahead():
            made.append(self.q.length(self.q.length(1)))
            return made[0]

        self.b.expose(ahead)
        top = self.q.ahead()
        self.work(self.b, 1)
        self.assertEqual(self.states(top, *made), 'pp')
        self.assertTrue(top.cancel(upstream=True))
        self.assertEqual(len(self.b), 0)

    def test_batch_before_its_end(self):
        """A batch that has put nothing says so."""
        with worq.batch(self.q) as batch:
            self.q.length(1)
            with worq.batch(self.q) as inner:
                self.q.length(2)
            for act in batch.cancel, batch.wait, batch.explain, inner.cancel, inner.explain:
                with self.assertRaisesRegex(RuntimeError, 'not put before its with block'):
                    act()
        self.assertEqual((inner.cancel(), len(inner), len(batch)), (1, 1, 2))
        self.assertEqual(batch.cancel(), 1)
        with self.assertRaises(ZeroDivisionError):
            with worq.batch(self.q) as batch:
                self.q.length(1 / 0)
        for act in batch.cancel, batch.wait, batch.explain:
            with self.assertRaisesRegex(RuntimeError, 'never put'):
                act()

    def test_cancel_a_batch(self):
        """All of it is cancelled, each in its own name, and what it waits for if that is wanted."""
        outside = self.q.length(1)
        for upstream in False, True:
            with worq.batch(self.q) as batch:
                many = worq.map(self.q.length, [outside] * 600)
                top = self.q.total(many)
                Task(self.q.length, ignore_result=True)(top)
            self.assertEqual(batch.cancel(upstream), 602)
            self.assertEqual(batch.cancel(upstream), 0)
            self.assertEqual(top.exception(0).task_id, top.id)
            self.assertEqual(self.states(outside), 'c' if upstream else 'e')
        self.assertEqual(len(self.b), 0)

    def test_wait_for_a_batch(self):
        """It waits for all: what is taken by nobody, keeps nothing, and what a failure overtook."""
        with worq.batch(self.q) as batch:
            bad, slow = self.q.fail(), Task(self.q.length, priority='low')(1)
            worq.map(self.q.length, range(5))
            Task(self.q.length, ignore_result=True)(1)
            top = self.q.total([bad, slow])
        self.assertFalse(batch.wait(0))
        self.work(self.b, 7)
        self.assertEqual(self.states(bad, top, slow), 'ffe')
        self.assertFalse(batch.wait(0))
        threading.Timer(0.05, self.work, [self.b]).start()
        self.assertTrue(batch.wait(10))
        self.assertTrue(batch.wait())
        with self.assertRaises(ValueError):
            batch.wait(-1)

    def test_explain_a_batch(self):
        """It counts, and tells of the first ones that are not over, or have failed."""
        with worq.batch(self.q) as batch:
            top = self.q.total(worq.map(self.q.length, range(5)))
        text = batch.explain()
        self.assertIn(f'6 tasks of a batch [{self.name}]: 1 pending, 5 enqueued', text)
        self.assertIn(f'total [{self.name}:{top.id}]', text)
        self.work(self.b, 2)
        self.assertIn('1 pending, 3 enqueued, 2 success', batch.explain())
        self.work(self.b)
        self.assertRegex(batch.explain(), r'success(, \d unknown)?$')
        with worq.batch(self.q) as batch:
            self.q.length(self.q.fail())
        self.work(self.b)
        self.assertRegex(batch.explain(), '2 failed\n.*ValueError: no')


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


class MemoryUpstream(MemoryMixin, UpstreamContract):
    pass


class RedisUpstream(RedisMixin, UpstreamContract):
    pass
