"""Tasks that are interrupted: cancelled while they run, or beyond their time limit."""
from __future__ import annotations

import logging
import os
from pathlib import Path
import random
import threading
import time
import warnings
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin
from test.pool import halts as pool_halts
from test.pool.contract import WAIT, PoolCase
from test.pool.process.test_pool import Processes
from test.pool.tasks import lines
from test.pool.thread.test_pool import Threads
from test.support import eventually
from worq import Task, TaskCancelled, TaskTimeout

__all__ = ['HaltsInProcessesOnMemory', 'HaltsInProcessesOnRedis', 'HaltsInThreadsOnMemory',
           'HaltsInThreadsOnRedis']

SOON = 30   # seconds, on a busy machine; what is meant is one, and no task goes on for as long


def words(path):
    """What a task has noted of its exception."""
    try:
        return Path(path).read_text().split()
    except FileNotFoundError:
        return []


class Halts(PoolCase):
    """What both pools can interrupt, and what the queue has to do with it."""

    def setUp(self):
        super().setUp()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.1))   # a cancel is noticed soon
        self.grace(WAIT)   # a busy machine is no reason to give up a task that lets go

    def grace(self, seconds):
        """Tasks have so many seconds to let go."""
        for module in 'children.worker', 'thread.workers', 'thread.interrupt':
            self.enterContext(mock.patch(f'worq.pool.{module}.GRACE', seconds))

    def begun(self, target, *args, **options):
        """A call of a task that has begun, and notes what is raised in it in 'seen'."""
        deferred = Task(target, **options)(self.path('begun'), *args)
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        return deferred

    def cancelled(self, target, *more):
        """Cancel such a task: its waiter has it at once, the task soon, and the worker goes on."""
        deferred = self.begun(target, self.path('seen'), *more)
        self.assertTrue(deferred.cancel())
        self.assertIsInstance(deferred.exception(SOON), TaskCancelled)
        self.assertEqual(self.q.same(1).result(SOON), 1)
        self.assertEqual(self.broker.backend.stats()['stale'], 0)

    # -- cancel -----------------------------------------------------------------

    def test_cancel_while_it_computes(self):
        """A task that computes gets a Cancelled, and the worker goes on."""
        self.start()
        self.cancelled(self.q.spin)
        self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])

    def test_cancel_what_nobody_waits_for(self):
        """A task that keeps no result is interrupted too, though no record of it is left."""
        self.start()
        call = Task(self.q.spin, id='ignored', ignore_result=True)
        call(self.path('begun'), self.path('seen'))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        self.assertTrue(self.broker.cancel('ignored'))
        eventually(lambda: words(self.path('seen')), ['Cancelled', 'True'], timeout=SOON)
        self.assertEqual(self.q.same(1).result(SOON), 1)

    def test_what_a_cancelled_task_returns(self):
        """A value that a cancelled task returns all the same is dropped."""
        self.start()
        self.cancelled(self.q.let_go)
        self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])
        self.assertEqual(self.broker.backend.stats()['cancelled'], 1)

    def test_cancel_what_waits_behind(self):
        """A task that was taken, but had not begun, does not begin once it is cancelled."""
        self.take_many()
        pool = self.start()
        first = self.q.hold(self.path('begun'), self.path('go'))
        behind = [self.q.hold(self.path('never'), self.path('go')) for _ in range(20)]
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        for deferred in behind:
            self.assertTrue(deferred.cancel())
        eventually(lambda: len(self.desk(pool).held), 1, timeout=SOON)   # it has noticed
        self.open('go')
        self.assertTrue(first.wait(WAIT))
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(lines(self.path('never')), [])

    # -- time limits ------------------------------------------------------------

    def late(self, target, *more, limit=0.3):
        """Overrun the limit with such a task; returns its failure."""
        deferred = Task(target, timeout=limit)(self.path('begun'), self.path('seen'), *more)
        failure = deferred.exception(WAIT)
        self.assertIsInstance(failure, TaskTimeout)
        self.assertIn(f'{limit:g} second', failure.error)
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(len(lines(self.path('begun'))), 1)
        return failure

    def test_limit_while_it_computes(self):
        """A task that computes for too long gets a TaskTimeout, and fails with it."""
        self.start()
        self.late(self.q.spin)
        self.assertEqual(words(self.path('seen')), ['TaskTimeout', 'False'])

    def test_within_the_limit(self):
        """A task that is done in time has its value, and the next ones theirs."""
        self.start()
        quick = Task(self.q.same, timeout=60)
        self.assertEqual([d.result(WAIT) for d in [quick(n) for n in range(50)]],
                         list(range(50)))

    def test_limit_counts_from_the_beginning(self):
        """What a task waits for its turn, in the queue or behind another, does not count."""
        self.take_many()
        self.start()
        first = self.q.hold(self.path('begun'), self.path('go'))
        behind = [Task(self.q.same, timeout=1)(n) for n in range(20)]
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        time.sleep(1.5)    # longer than the limit of those that wait
        self.open('go')
        self.assertTrue(first.wait(WAIT))
        self.assertEqual([d.result(WAIT) for d in behind], list(range(20)))

    # -- neighbours -------------------------------------------------------------

    count = 1500

    def test_nobody_else_is_hit(self):
        """Of many short tasks, exactly those that are meant are interrupted.

        Each one sleeps for a moment, or for ever: these are cancelled at random moments or have
        a limit. Cancels hit short ones too, when they run, just end, or have ended.
        """
        pool = self.start(2)
        rand = random.Random(5)
        self.q.same(1).result(WAIT)
        before = self.workers(pool)
        short, long, limited = {}, [], []
        doomed = []
        for n in range(self.count):
            kind = rand.random()
            if kind < 0.02:
                long.append(self.q.nap(PATIENCE, n))
            elif kind < 0.03:
                limited.append(Task(self.q.nap, timeout=0.01)(PATIENCE, n))
            else:
                short[n] = self.q.nap(rand.choice([0, 0, 0, 0.001, 0.003]), n)
                if kind > 0.8:
                    doomed.append(short[n])
        stop = threading.Event()

        def cancel_some():
            for deferred in doomed:
                if stop.wait(rand.random() * 0.01):
                    return
                deferred.cancel()
            while not stop.wait(0.05):   # those that never end, whichever have begun
                for deferred in long:
                    if deferred.status == 'processing':
                        deferred.cancel()
        thread = threading.Thread(target=cancel_some, daemon=True)
        thread.start()
        try:
            for deferred in limited:
                self.assertIsInstance(deferred.exception(2 * WAIT), TaskTimeout)
            for deferred in long:
                self.assertIsInstance(deferred.exception(2 * WAIT), TaskCancelled)
            for n, deferred in short.items():
                failure = deferred.exception(2 * WAIT)
                if failure is None:
                    self.assertEqual(deferred.value, n)
                else:
                    self.assertIn(deferred, doomed)
                    self.assertIsInstance(failure, TaskCancelled)
        finally:
            stop.set()
            thread.join()
        self.assertEqual(self.workers(pool), before, 'a worker has died that need not')
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_those_who_call(self):
        """Tasks that call others and wait for them, cancelled at random moments, break nothing.

        Neither the queue, which a thread pool shares with them, nor their wait for others: of
        those who wait in a process, one listens for all.
        """
        with mock.patch('worq.pool.base.BEAT', 0.02), warnings.catch_warnings():
            # Who is interrupted just as redis-py opens a socket leaves it to the collector of
            # garbage, which closes it, and says so.
            warnings.simplefilter('ignore', ResourceWarning)
            pool = self.start(3)
            rand = random.Random(6)
            self.q.same(1).result(WAIT)
            before = self.workers(pool)
            for n in range(self.rounds):
                path = self.path(f'begun {n}')
                callers = [self.q.call_on(path), self.q.call_on(path)]
                eventually(lambda path=path: len(lines(path)), 2, timeout=WAIT)
                for deferred in callers:
                    time.sleep(rand.random() * 0.02)
                    self.assertTrue(deferred.cancel())
                    self.assertIsInstance(deferred.exception(WAIT), TaskCancelled)
            for _ in before:   # each worker can still wait
                self.assertEqual(self.q.ask_and_wait(50).result(WAIT)[0], list(range(50)))
            self.assertEqual(self.workers(pool), before)
        eventually(lambda: len(self.broker), 0, timeout=WAIT)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    rounds = 40

    def workers(self, pool):
        """What must be the same before and after: who works."""
        raise NotImplementedError

    def desk(self, pool):
        """Its side of the queue."""
        raise NotImplementedError


class Ways:
    """How what runs is interrupted, whatever queue it is of."""

    def test_cancel_a_coroutine(self):
        """A coroutine that waits is cancelled as coroutines are."""
        self.start()
        self.cancelled(self.q.wait_for)
        self.assertEqual(words(self.path('seen')), ['CancelledError', 'True'])

    def test_cancel_a_busy_loop(self):
        """So is one whose event loop is never at rest, and nothing else of the loop is hit."""
        self.start()
        self.cancelled(self.q.wait_for_many)
        self.assertEqual(words(self.path('seen')), ['CancelledError', 'True'])

    def test_limit_of_a_coroutine(self):
        """A coroutine that waits for too long is cancelled, and fails with a TaskTimeout."""
        self.start()
        self.late(self.q.wait_for)
        self.assertEqual(words(self.path('seen')), ['CancelledError', 'False'])

    def test_limit_in_a_group(self):
        """What comes out of a TaskGroup at the limit is a TaskTimeout; its text has the rest."""
        self.start()
        self.late(self.q.wait_in_group)
        os.unlink(self.path('begun'))
        failure = self.late(self.q.wait_in_group, True)
        self.assertRegex(failure.error, r'in a group with ValueError: could not clean up\)$')

    def test_limit_in_a_stiff_group(self):
        """Also out of a group whose class makes no other of it, as derive() should."""
        self.start()
        failure = self.late(self.q.wait_for_stiff_group)
        self.assertRegex(failure.error, r'in a group with ValueError: could not clean up\)$')

    def test_limit_in_a_group_and_again(self):
        """It is retried as any other TaskTimeout."""
        self.start()
        task = Task(self.q.wait_in_group, timeout=0.3, retries=1, backoff=0, retry_on=TaskTimeout)
        failure = task(self.path('begun'), self.path('seen'), True).exception(WAIT)
        self.assertIsInstance(failure, TaskTimeout)
        self.assertTrue(failure.error.endswith('(attempt 2 of 2)'), failure)

    def test_cancel_in_a_group(self):
        """A cancel that comes out of a TaskGroup with the error of another is a cancel."""
        self.start()
        self.cancelled(self.q.wait_in_group, True)

    def test_limit_swallowed(self):
        """A task that swallows the exception fails with it all the same."""
        self.grace(1.0)
        self.start()
        task = Task(self.q.stubborn, timeout=0.3)
        deferred = task(self.path('begun'), self.path('seen'), self.path('go'))
        self.assertIsInstance(deferred.exception(WAIT), TaskTimeout)
        self.open('go')
        self.assertEqual(words(self.path('seen')), ['TaskTimeout', 'False'])


PATIENCE = 60


class HaltsInProcesses(Processes, Halts):
    """What only the pool of processes can interrupt, and that it kills what does not let go."""

    def pool(self, workers=1, **options):
        return super().pool(workers, init=pool_halts.init, **options)

    def workers(self, pool):
        return sorted(pool.pids)

    def desk(self, pool):
        return pool._manager.desk

    def child(self):
        pid, = lines(self.path('begun'))
        return pid

    def test_cancel_keeps_the_child(self):
        """A child whose task lets go is not killed."""
        pool = self.start()
        self.cancelled(self.q.spin)
        self.assertEqual(pool.pids, [self.child()])

    def test_cancel_swallowed(self):
        """A task that goes on after the exception is killed, and nobody runs it again."""
        self.grace(1.0)
        pool = self.start()
        self.cancelled(self.q.stubborn)
        self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])
        self.assertNotIn(self.child(), pool.pids)

    def test_killed_at_the_limit_and_run_again(self):
        """A task that is killed at its limit has its retries like any other."""
        self.grace(0.2)
        self.start()
        task = Task(self.q.slow_at_first, timeout=0.3, retries=1, backoff=0)
        self.assertEqual(task(self.path('begun')).result(WAIT), 2)


class WaysInProcesses(Ways):
    """The same, where there are signals, and the last of them kills."""

    def test_cancel_in_system_calls(self):
        """A task that sleeps, or waits for a socket, is interrupted there."""
        pool = self.start()
        for how in ('sleep', 'read', 'select'):
            with self.subTest(how):
                self.cancelled(self.q.block, how)
                self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])
                self.assertEqual(pool.pids, [self.child()])
                os.unlink(self.path('seen'))
                os.unlink(self.path('begun'))

    def test_cancel_a_coroutine_that_computes(self):
        """A coroutine that does not await is hit in its own code."""
        self.start()
        self.cancelled(self.q.wait_for, True)
        self.assertEqual(words(self.path('seen')), ['Cancelled', 'True'])

    def test_limit_of_a_group_that_computes(self):
        """A limit that hits the body of a TaskGroup is raised there, and is a TaskTimeout."""
        self.start()
        self.late(self.q.spin_in_group)
        self.assertEqual(words(self.path('seen')), ['ExceptionGroup', 'False'])

    def test_limit_keeps_the_child(self):
        """A child whose task lets go at its limit is not killed; also in system calls."""
        pool = self.start()
        for how in ('sleep', 'read', 'select'):
            with self.subTest(how):
                self.late(self.q.block, how)
                self.assertEqual(words(self.path('seen')), ['TaskTimeout', 'False'])
                self.assertEqual(pool.pids, [self.child()])
                os.unlink(self.path('seen'))
                os.unlink(self.path('begun'))

    def test_limit_in_c(self):
        """A task in C code beyond its limit runs once, and fails with a TaskTimeout.

        It is killed if that code never looks for signals, as `sum` does not.
        """
        self.grace(0.2)
        pool = self.start()
        for how in ('sum', 're'):
            with self.subTest(how):
                deferred = Task(self.q.busy_in_c, timeout=0.3)(self.path('begun'), how)
                failure = deferred.exception(WAIT)
                self.assertIsInstance(failure, TaskTimeout)
                self.assertIn('0.3 seconds', failure.error)
                self.assertEqual(self.q.same(1).result(WAIT), 1)
                if how == 'sum':
                    self.assertNotIn(self.child(), pool.pids)
                os.unlink(self.path('begun'))

    def test_cancel_in_c(self):
        """A task in C code that looks at no signal is killed."""
        self.grace(0.2)
        pool = self.start()
        self.begun(self.q.busy_in_c, 'sum').cancel()
        self.assertEqual(self.q.same(1).result(SOON), 1)
        self.assertNotIn(self.child(), pool.pids)


class HaltsInThreads(Threads, Halts):
    """Threads cannot be killed, but who waits for their tasks hears of the limit."""

    def workers(self, pool):
        return [thread.ident for thread in pool.threads]

    def desk(self, pool):
        return pool._desk

    def test_limit_not_let_go(self):
        """A task that is not to be interrupted fails all the same, and others run meanwhile."""
        self.grace(0.2)
        self.start()
        go = threading.Event()
        self.addCleanup(go.set)
        self.broker.expose(go.wait)
        deferred = Task(self.q.wait, timeout=0.3)(WAIT)
        failure = deferred.exception(WAIT)
        self.assertIsInstance(failure, TaskTimeout)
        self.assertIn('0.3 seconds', failure.error)
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        go.set()
        self.assertEqual(self.q.same(2).result(WAIT), 2)
        self.assertIsInstance(self.broker.deferred(deferred.id).exception(WAIT), TaskTimeout)


class HaltsInProcessesOnMemory(MemoryMixin, WaysInProcesses, HaltsInProcesses):
    """Children, with the queue in memory."""


class HaltsInProcessesOnRedis(RedisMixin, HaltsInProcesses):
    """Children, with Redis."""

    count = 500


class HaltsInThreadsOnMemory(MemoryMixin, Ways, HaltsInThreads):
    """Threads, with the queue in memory."""


class HaltsInThreadsOnRedis(RedisMixin, HaltsInThreads):
    """Threads, with Redis."""

    count = 500
