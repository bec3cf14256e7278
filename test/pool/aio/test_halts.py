"""Coroutines of a pool of event loops that are interrupted: cancelled, or beyond their limit."""
from __future__ import annotations

from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin
from test.pool.aio import tasks as aio_tasks
from test.pool.aio.test_pool import Loops
from test.pool.contract import WAIT
from test.pool.tasks import lines
from test.pool.test_halts import SOON, Halts, Ways, words
from test.support import eventually
from worq import Task, TaskCancelled, TaskTimeout, wait

__all__ = ['HaltsInLoopsOnMemory', 'HaltsInLoopsOnRedis']


class LoopHalts(Loops, Halts):
    """What holds on each queue. Functions are not interrupted here, so they are replaced."""

    def setUp(self):
        super().setUp()
        self.grace(WAIT)

    def grace(self, seconds):
        self.enterContext(mock.patch('worq.pool.aio.worker.GRACE', seconds))

    def pool(self, workers=1, init=aio_tasks.init, more=(), concurrency=50, **options):
        return super().pool(workers, init, more, concurrency, **options)

    def cancelled(self, target, *more):
        super().cancelled(target, *more)   # which does not wait for it, as many run at a time
        eventually(lambda: len(words(self.path('seen'))), 2, timeout=SOON)

    def workers(self, pool):
        return sorted(pool.pids)

    def desk(self, pool):
        return pool._manager.desk

    def test_a_crowd(self):
        """Of many that wait at the same time those are hit that are meant, and nobody else; limits
        and cancels cost no child."""
        pool = self.start(concurrency=200)
        nap = self.q.loop.nap
        before = self.q.loop.pid().result(WAIT)
        gone = [nap(WAIT, n) for n in range(40)]
        late = [Task(nap, timeout=0.2)(WAIT, n) for n in range(40)]
        short = [nap(0.2, n) for n in range(80)]
        eventually(lambda: self.broker.backend.stats()['enqueued'], 0, timeout=WAIT)
        for deferred in gone:
            deferred.cancel()
        for deferred in gone:
            self.assertIsInstance(deferred.exception(SOON), TaskCancelled)
        for deferred in late:
            self.assertIsInstance(deferred.exception(SOON), TaskTimeout)
        self.assertEqual([d.result(WAIT) for d in short], list(range(80)))
        eventually(lambda: len(self.desk(pool).held), 0, timeout=SOON)
        self.assertEqual(self.q.loop.pid().result(WAIT), before)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)


# What is about functions that are to be interrupted. In threads of a child nothing can stop them.
for name in ['test_cancel_while_it_computes', 'test_cancel_what_nobody_waits_for',
             'test_what_a_cancelled_task_returns', 'test_limit_while_it_computes',
             'test_nobody_else_is_hit', 'test_those_who_call', 'test_cancel_what_waits_behind',
             'test_limit_counts_from_the_beginning']:
    setattr(LoopHalts, name, None)


class HaltsInLoopsOnRedis(RedisMixin, LoopHalts):
    pass


class HaltsInLoopsOnMemory(MemoryMixin, LoopHalts, Ways):
    """And what has nothing to do with the queue."""

    test_limit_swallowed = None   # of a function; see below

    def test_cancel_while_it_computes(self):
        """A coroutine that blocks the loop is hit in its own code; and nobody else is."""
        self.start()
        beside = self.q.loop.hold(self.path('beside'), self.path('go'), 'beside')
        eventually(lambda: len(lines(self.path('beside'))), 1, timeout=WAIT)
        self.cancelled(self.q.wait_for, True)
        self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])
        self.open('go')
        self.assertEqual(beside.result(WAIT), 'beside')
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_limit_while_it_computes(self):
        """So it is at its limit."""
        self.start()
        self.late(self.q.wait_for, True)
        self.assertEqual(words(self.path('seen')), ['TaskTimeout', 'False'])

    def test_swallowed(self):
        """One that swallows it is told again once, then it fails all the same, or is gone, and
        is left to run: it costs no child, and what it comes to is for nobody."""
        self.grace(1.5)
        pool = self.start()
        before = self.q.loop.pid().result(WAIT)
        swallow = self.q.loop.swallow
        late = Task(swallow, timeout=0.2)(self.path('a'), self.path('saw-a'), self.path('go'))
        gone = swallow(self.path('b'), self.path('saw-b'), self.path('go'))
        eventually(lambda: len(lines(self.path('b'))), 1, timeout=WAIT)
        gone.cancel()
        self.assertIsInstance(late.exception(WAIT), TaskTimeout)
        worker, = pool._manager.workers
        eventually(lambda: len(worker.abandoned), 2, timeout=WAIT)
        self.assertEqual(words(self.path('saw-a'))[::2], ['CancelledError'] * 2)
        self.assertEqual(words(self.path('saw-b'))[::2], ['CancelledError'] * 2)
        self.open('go')
        eventually(lambda: len(worker.abandoned), 0, timeout=WAIT)
        self.assertEqual(self.q.loop.pid().result(WAIT), before)

    def test_many_that_swallow(self):
        """After some that do not let go their child is replaced, and ends without them."""
        self.grace(0.2)
        self.enterContext(mock.patch('worq.pool.aio.manager.LEAKS', 3))
        self.start()
        before = self.q.loop.pid().result(WAIT)
        swallow = Task(self.q.loop.swallow, timeout=0.1)
        late = [swallow(self.path('a'), self.path('seen'), self.path('never')) for _ in range(3)]
        for deferred in late:
            self.assertIsInstance(deferred.exception(WAIT), TaskTimeout)
        eventually(lambda: self.q.loop.pid().result(WAIT) != before, timeout=WAIT)

    def test_limit_of_one_that_blocks_in_c(self):
        """One that cannot even be hit has its child killed, fails with its limit, and nobody else
        pays for it."""
        self.grace(0.2)
        self.start()
        held = [self.q.loop.count_deliveries(self.path('held'), self.path('go')) for _ in range(5)]
        eventually(lambda: len(lines(self.path('held'))), 5, timeout=WAIT)
        late = Task(self.q.loop.block_in_c, timeout=0.3)(self.path('c'))
        self.assertIsInstance(late.exception(WAIT), TaskTimeout)
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in held], [1] * 5)
        self.assertEqual(len(lines(self.path('c'))), 1)

    def test_cancel_of_one_that_blocks_in_c(self):
        """So it is with one that was cancelled."""
        self.grace(0.2)
        self.start()
        gone = self.q.loop.block_in_c(self.path('c'))
        eventually(lambda: len(lines(self.path('c'))), 1, timeout=WAIT)
        gone.cancel()
        self.assertEqual(self.q.loop.same(1).result(WAIT), 1)
        self.assertEqual(len(lines(self.path('c'))), 1)

    def test_made_by_functions(self):
        """A coroutine that a function returns, as one with a decorator does, is cancelled, at its
        limit too, and waited for while it cleans up."""
        self.start()
        gone = self.q.loop.made_nap(self.path('a'), self.path('saw-a'))
        eventually(lambda: len(lines(self.path('a'))), 1, timeout=WAIT)
        gone.cancel()
        eventually(lambda: words(self.path('saw-a')), ['CancelledError', 'True'], timeout=WAIT)
        late = Task(self.q.loop.made_nap, timeout=3)(self.path('b'), self.path('saw-b'))
        self.assertIsInstance(late.exception(WAIT), TaskTimeout)
        self.assertEqual(words(self.path('saw-b')), ['CancelledError', 'False'])

    def test_functions(self):
        """A function in a thread is not stopped; its limit is told all the same."""
        self.start()
        late = Task(self.q.loop.function, timeout=0.2)(self.path('f'), self.path('go'))
        self.assertIsInstance(late.exception(WAIT), TaskTimeout)
        self.open('go')
        wait([late])
