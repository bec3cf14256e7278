"""Forks: of a task, of a program with pools, and the signal handlers that are not theirs."""
from __future__ import annotations

import logging
import os
import select
import signal
import threading
import unittest
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin
from test.pool import tasks as pool_tasks
from test.pool.contract import WAIT, PoolCase
from test.pool.process.test_pool import Processes
from test.pool.tasks import init_forks, lines
from test.pool.thread.test_pool import Threads
from test.support import forked
from worq import map
from worq.pool import forks
from worq.pool.forks import Handlers
from worq.pool.process import start_pools
from worq.testing import Bench

__all__ = ['ForksOfProcesses', 'ForksOfThreads', 'ForksOnRedis', 'ForksOfABench', 'ForkedHandlers']


class Forks(PoolCase):
    """What holds in each kind of pool."""

    def setUp(self):
        super().setUp()
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_copy_of_a_task(self):
        """A copy that comes back from a task ends there, as if the task were its whole program;
        only the worker answers."""
        self.start()
        for how, status in [('value', 0), ('error', 1), ('exit', 3), ('text', 1),
                            ('interrupt', 1)]:
            self.assertEqual(self.q.fork(how).result(WAIT), ('worker', status))
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_copy_of_a_coroutine(self):
        """So does the copy of a coroutine, and leaves the worker's event loop alone."""
        self.start()
        for _ in range(3):
            self.assertEqual(self.q.fork_in_a_loop().result(WAIT), ('worker', 0))

    def test_copy_in_threads(self):
        """A copy that a thread of a task has made ends with what that thread runs, and does nothing
        of what the thread was to do next."""
        self.start()
        came = self.q.fork_in_threads(self.path('begun')).result(WAIT)
        self.assertEqual(came, 3 * [('worker', 0)])
        self.assertEqual(len(lines(self.path('begun'))), 3)

    def test_copy_in_a_chunk(self):
        """A copy that comes back from one call of several does not go on with the others."""
        self.start()
        chunk, = map(self.q.fork, ['value'] * 3, [self.path('begun')] * 3, chunksize=3)
        self.assertEqual(chunk.result(WAIT), [('worker', 0)] * 3)
        self.assertEqual(len(lines(self.path('begun'))), 3)


class ForksOfProcesses(MemoryMixin, Forks, Processes):
    """And what a child's forks have of its signals."""

    def test_signals(self):
        """A fork of a child has the handlers that a program has which is not WorQ's; no program
        inherits that signals are ignored."""
        default = signal.SIG_DFL   # the runner of the tests may have been started with others
        for number, handler in [(signal.SIGTERM, default), (signal.SIGHUP, default),
                                (signal.SIGINT, signal.default_int_handler)]:
            self.addCleanup(signal.signal, number, signal.signal(number, handler))
        self.start()
        told, ignored = self.q.signals_of_a_fork().result(WAIT)
        self.assertEqual(told, repr([default, signal.default_int_handler, default, default]))
        for number in signal.SIGTERM, signal.SIGINT, signal.SIGHUP:
            self.assertFalse(ignored >> number - 1 & 1)

    def test_a_signal_at_once(self):
        """A fork can be ended from its first moment on, and the worker's signals are as before."""
        self.start()
        self.assertEqual(self.q.end_forks(20).result(WAIT), (True, []))

    def test_what_is_ignored_stays_so(self):
        """What is ignored where the pool was started (nohup) is so in its tasks' programs."""
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        self.start()
        told, ignored = self.q.signals_of_a_fork().result(WAIT)
        self.assertIn(repr(signal.SIG_IGN), told)
        self.assertTrue(ignored >> signal.SIGHUP - 1 & 1)

    def test_copy_of_init(self):
        """A copy that comes back from init_func ends too."""
        self.start(init=init_forks, more=(self.path('begun'),))
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(len(lines(self.path('begun'))), 1)

    def test_fork_of_a_program(self):
        """SIGTERM to a fork of a program under start_pools ends the fork, and no pool."""
        pool = self.pool()
        ended = []

        def act():
            self.q.same(1).result(WAIT)
            ended.append(forked(lambda: os.kill(os.getpid(), signal.SIGTERM)))
            with pool._changing:
                ended.append(forked(pool.stop))     # nor does it stop what is not its own
            ended.append(self.q.same(2).result(WAIT))
            os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=act)
        thread.start()
        start_pools(pool)
        thread.join()
        self.assertEqual(ended, [-signal.SIGTERM, 0, 2])


class ForksOfThreads(MemoryMixin, Forks, Threads):
    """And what a fork has of a pool of threads."""

    def test_stop_in_a_fork(self):
        """A fork has no pool to stop or to join, whatever its locks were: the pool goes on."""
        pool = self.start(2)
        self.assertEqual(self.q.same(1).result(WAIT), 1)

        def stop():
            pool.stop()
            pool.join()
            assert 'stopped' in repr(pool)
        with pool._changing:
            self.assertEqual(forked(stop), 0)
        # what is in there has the workers look again and again
        self.assertEqual(select.select([pool._wake[0]], [], [], 0)[0], [])
        self.assertEqual(self.q.same(2).result(WAIT), 2)

    def test_start_in_a_fork(self):
        """A fork can have a pool of its own, by the same object."""
        pool = self.start()
        self.assertEqual(self.q.same(1).result(WAIT), 1)

        def work():
            pool.broker.backend = type(self.broker.backend)('memory://', 'of the fork')
            pool.broker.inbox = type(self.broker.inbox)(pool.broker.backend)
            with pool:
                assert self.q.same(3).result(WAIT) == 3
        self.assertEqual(forked(work), 0)
        self.assertEqual(self.q.same(2).result(WAIT), 2)


class ForksOnRedis(RedisMixin, Threads):
    """A fork could reach that queue."""

    def test_stop_in_a_fork(self):
        """A fork that stops a pool of threads does not take leave for it."""
        pool = self.start()
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(forked(pool.stop), 0)
        self.assertEqual(len(self.broker.backend.pools()), 1)
        self.assertEqual(self.q.fork().result(WAIT), ('worker', 0))


class ForksOfABench(unittest.TestCase):

    def test_copy_of_a_task(self):
        """On a bench a copy that comes back from a task ends too."""
        with Bench(pool_tasks.fork, pool_tasks.fork_in_a_loop) as bench:
            for task in bench.queue.fork, bench.queue.fork_in_a_loop:
                deferred = task()
                bench.run()
                self.assertEqual(deferred.value, ('worker', 0))


class ForkedHandlers(unittest.TestCase):
    """Whose handlers they are."""

    def setUp(self):
        for number in signal.SIGTERM, signal.SIGHUP:
            self.addCleanup(signal.signal, number, signal.getsignal(number))

    def handlers(self, *handlers):
        """Ours, one on top of the other; restored in the end."""
        for handler in handlers:
            ours = Handlers()
            self.addCleanup(ours.restore)
            ours.set(signal.SIGTERM, handler)

    def test_one_on_top_of_the_other(self):
        """A fork has what was before all of ours, and each end restores what it found."""
        def first(*args): pass
        def second(*args): pass
        signal.signal(signal.SIGTERM, first)
        self.handlers(second, lambda *args: None)

        def look():
            assert signal.getsignal(signal.SIGTERM) is first
        self.assertEqual(forked(look), 0)
        self.doCleanups()
        self.assertEqual(forks._in_force, [])

    def test_a_handler_on_top_of_ours(self):
        """What the program itself has set since then, its forks inherit."""
        def theirs(*args): pass
        self.handlers(lambda *args: None)
        signal.signal(signal.SIGTERM, theirs)

        def look():
            assert signal.getsignal(signal.SIGTERM) is theirs
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        self.assertEqual(forked(look), 0)

    def test_nothing_is_blocked_without_need(self):
        """Where we have no handler a fork costs no system call, and a mask stays what it is."""
        with mock.patch.object(signal, 'pthread_sigmask') as mask:
            self.assertEqual(forked(lambda: None), 0)
        mask.assert_not_called()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGHUP])
        self.addCleanup(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        self.handlers(lambda *args: None)

        def look():
            assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == {signal.SIGHUP}
        self.assertEqual(forked(look), 0)
        look()
