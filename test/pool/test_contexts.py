"""Each task runs in a context of its own: it sees what its worker began with, and no other task."""
from __future__ import annotations

from contextvars import copy_context
from decimal import getcontext
import threading
import unittest

from test.broker_case import MemoryMixin, RedisMixin
from test.pool.contract import WAIT, PoolCase
from test.pool.process.test_pool import Processes
from test.pool.tasks import init_with_a_context, leave_traces, tasks, trace
from test.pool.thread.test_pool import Threads
from worq.testing import Bench

__all__ = ['ContextsOfProcesses', 'ContextsOfThreads', 'ContextsOfThreadsOnRedis',
           'ContextsOfABench']

CLEAN = 'nothing', 28, False   # what a ContextVar has, the precision, whether a batch is open


class Contexts(PoolCase):
    """What holds in each kind of pool."""

    def found(self):
        """What tasks find that run one after the other."""
        one, other = self.q.leave_traces, self.q.leave_traces_in_a_loop
        return {call().result(WAIT) for call in (one, other, one, one, other)}

    def test_nothing_is_left(self):
        """A task finds no trace of the tasks before it, be they functions or coroutines."""
        self.start()
        self.assertEqual(self.found(), {CLEAN})


class ContextsOfProcesses(MemoryMixin, Contexts, Processes):

    def test_what_init_left(self):
        """What init_func has set is there for each task, and as it was."""
        self.start(init=init_with_a_context)
        self.assertEqual(self.found(), {('of init_func', 33, False)})


class ContextsOfThreads(MemoryMixin, Contexts, Threads):

    def test_what_the_thread_has(self):
        """What a thread of the program's own has set is there for each task, and as it was."""
        def play(target, args):
            trace.set('of the thread')
            getcontext().prec = 34
            target(*args)
            self.assertEqual(trace.get(), 'of the thread')

        def factory(target, args):
            return threading.Thread(target=play, args=(target, args))
        self.start(thread_factory=factory)
        self.assertEqual(self.found(), {('of the thread', 34, False)})

    def test_one_by_one(self):
        """So it is where a program has replaced next_task."""
        next_task = self.broker.next_task
        self.broker.next_task = lambda timeout=None: next_task(timeout=timeout)
        self.start()
        self.assertEqual(self.found(), {CLEAN})


class ContextsOfThreadsOnRedis(RedisMixin, Contexts, Threads):
    pass


class ContextsOfABench(unittest.TestCase):

    def test_nothing_is_left(self):
        """On a bench tasks find what the test has set, and leave nothing to it."""
        with Bench(tasks) as bench:
            def play():
                trace.set('of the test')
                getcontext().prec = 35
                for call in (bench.queue.leave_traces, bench.queue.leave_traces_in_a_loop) * 2:
                    deferred = call()
                    bench.run()
                    self.assertEqual(deferred.value, ('of the test', 35, False))
                self.assertEqual((trace.get(), getcontext().prec), ('of the test', 35))
            copy_context().run(play)

    def test_they_leave_traces(self):
        """Where there is one context they do."""
        with Bench(tasks) as bench:
            bench.broker.expose(both)
            deferred = bench.queue.both()
            bench.run()
            self.assertEqual(deferred.value, ('of another task', 5))


def both():
    leave_traces()
    return trace.get(), getcontext().prec


