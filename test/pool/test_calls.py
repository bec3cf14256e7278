"""Tasks that call others: by tail calls, and by waiting, in each pool on each queue."""
from __future__ import annotations

import os

from test.broker_case import MemoryMixin, RedisMixin
from test.pool import calls as pool_calls
from test.pool.contract import WAIT, PoolCase
from test.pool.process.test_pool import Processes
from test.pool.thread.test_pool import Threads
from test.support import eventually
from worq import TaskCancelled

__all__ = ['CallsInProcessesOnMemory', 'CallsInProcessesOnRedis', 'CallsInThreadsOnMemory',
           'CallsInThreadsOnRedis']

LONG = 5 * WAIT   # seconds, for ten thousand tasks one after the other on a busy machine


class Calls(PoolCase):
    """Where a task calls another one, through ``current_task().queue``."""

    def test_recursion(self):
        """A recursive Fibonacci comes to its value with one worker."""
        self.start(1)
        self.assertEqual(self.q.fib(13).result(LONG), 233)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_thousands_of_returns(self):
        """A chain of thousands of returns ends, with one worker and flat memory."""
        self.start(1)
        self.assertEqual(self.q.down(500).result(LONG), 'bottom')    # what it takes anyway
        pid, before = self.q.memory().result(WAIT)
        own = own_memory()
        self.assertEqual(self.q.down(self.deep).result(LONG), 'bottom')
        after = self.q.memory().result(WAIT)
        self.assertEqual(after[0], pid)
        self.assertLess(after[1] - before, self.growth)
        self.assertLess(own_memory() - own, 64 << 20)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    deep = 10_000
    growth = 8 << 20   # bytes, where the queue is elsewhere: a leak of 1 KB in each would be more

    def test_wait_in_a_task(self):
        """A task may wait for others while a worker is free for them."""
        self.start(2)
        self.assertEqual(self.q.ask_and_wait(300).result(WAIT), (list(range(300)), 'success', True))

    def test_large_graph(self):
        """A task may put a graph that is more than one step, and return its end."""
        self.start(1)
        self.assertEqual(self.q.large_graph(2500).result(LONG), sum(range(2500)))

    def test_cancel_in_a_task(self):
        """A task may cancel what it has called."""
        self.start(1)
        self.assertEqual(self.q.call_and_cancel().result(WAIT), (True, False, 'TaskCancelled'))


class CallsInProcesses(Processes, Calls):

    def pool(self, workers=1, **options):
        return super().pool(workers, init=pool_calls.init, **options)

    def test_cancel_what_waits(self):
        """A task that waits for another one is interrupted there, and its child can ask again."""
        pool = self.start(1)
        self.q.same(1).result(WAIT)
        pids = pool.pids
        waits = self.q.wait_for_ever()
        eventually(lambda: waits.status, 'processing', timeout=WAIT)
        eventually(lambda: len(self.broker), 2, timeout=WAIT)
        self.assertTrue(waits.cancel())
        self.assertIsInstance(waits.exception(WAIT), TaskCancelled)
        self.assertEqual(self.q.fib(7).result(WAIT), 13)
        self.assertEqual(pool.pids, pids)


class CallsInThreads(Threads, Calls):
    pass


class CallsInProcessesOnMemory(MemoryMixin, CallsInProcesses):
    """Children ask for the queue in the manager's process.

    It keeps no more of a chain than of ten thousand results.
    """

    def test_call_in_a_fork(self):
        """A fork of a child has no part in its pipes, and is told so."""
        self.start(1)
        self.assertEqual(self.q.call_in_a_fork().result(WAIT), 3)
        self.assertEqual(self.q.fib(5).result(WAIT), 5)


class CallsInProcessesOnRedis(RedisMixin, CallsInProcesses):
    """Children call as everybody does."""

    deep = 4_000        # each is a round trip or two ...
    growth = 4 << 20    # ... and this is 1 KB for each


class CallsInThreadsOnMemory(MemoryMixin, CallsInThreads):
    """Threads have the queue in their own process: what it keeps is their memory too."""

    growth = 64 << 20


class CallsInThreadsOnRedis(RedisMixin, CallsInThreads):
    """Threads, with Redis."""

    deep = 2_000        # the chain is as in children; what keeps it, as in memory


def own_memory():
    """Bytes that this process has in use."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
