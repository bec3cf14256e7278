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

LONG = 3 * WAIT   # seconds, for ten thousand tasks one after the other on a busy machine


class Calls(PoolCase):
    """Where a task calls another one, through ``current_task().queue``."""

    def test_recursion(self):
        """A recursive Fibonacci comes to its value with one worker."""
        self.start(1)
        self.assertEqual(self.q.fib(13).result(LONG), 233)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_ten_thousand_returns(self):
        """A chain of ten thousand returns ends, with one worker and flat memory."""
        self.start(1)
        self.assertEqual(self.q.down(500).result(LONG), 'bottom')    # what it takes anyway
        pid, before = self.q.memory().result(WAIT)
        self.assertEqual(self.q.down(10_000).result(LONG), 'bottom')
        after = self.q.memory().result(WAIT)
        self.assertEqual(after[0], pid)
        self.assertLess(after[1] - before, self.growth)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

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
    """Children ask for the queue in the manager's process."""

    def test_memory_of_the_manager(self):
        """The process that has the queue keeps no more of a chain than of ten thousand results."""
        self.start(1)
        self.q.down(500).result(LONG)
        before = own_memory()
        self.assertEqual(self.q.down(10_000).result(LONG), 'bottom')
        self.assertLess(own_memory() - before, 64 << 20)

    def test_call_in_a_fork(self):
        """A fork of a child has no part in its pipes, and is told so."""
        self.start(1)
        self.assertEqual(self.q.call_in_a_fork().result(WAIT), 3)
        self.assertEqual(self.q.fib(5).result(WAIT), 5)


class CallsInProcessesOnRedis(RedisMixin, CallsInProcesses):
    """Children call as everybody does."""


class CallsInThreadsOnMemory(MemoryMixin, CallsInThreads):
    """Threads have the queue in their own process: what it keeps is their memory too."""

    growth = 64 << 20


class CallsInThreadsOnRedis(RedisMixin, CallsInThreads):
    """Threads, with Redis."""


def own_memory():
    """Bytes that this process has in use."""
    with open('/proc/self/statm') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
