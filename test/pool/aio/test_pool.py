"""The pool of event loops, on each queue: the contract, with functions that run in its threads."""
from __future__ import annotations

from test.broker_case import MemoryMixin, RedisMixin, SqliteMixin
from test.pool.contract import WAIT, PoolContract
from test.pool.process.test_pool import Processes
from test.pool.tasks import init
from worq.pool.aio import WorkerPool

__all__ = ['Loops', 'LoopsOnMemory', 'LoopsOnRedis', 'LoopsOnSqlite']


class Loops(Processes):
    """Pools whose children run one task at a time, unless a test says otherwise."""

    def pool(self, workers=1, init=init, more=(), concurrency=1, **options):
        return WorkerPool(self.broker, init, (self.name, *more), workers=workers,
                          concurrency=concurrency, **options)


class LoopsOnMemory(MemoryMixin, Loops, PoolContract):
    """The contract, with event loops and the queue in memory."""

    steps = 20


class LoopsOnRedis(RedisMixin, Loops, PoolContract):
    """The contract, with event loops and Redis."""

    steps = 20


class LoopsOnSqlite(SqliteMixin, Loops):

    def test_work(self):
        """Children open the file themselves: functions and coroutines put others and wait for
        them."""
        self.start(2, concurrency=20)
        sums = [self.q.add(n, self.q.add(n, 1)) for n in range(20)]
        self.assertEqual([one.result(WAIT) for one in sums], [2 * n + 1 for n in range(20)])
        inner = self.q.enqueue(self.url(), self.name).result(WAIT)
        self.assertEqual(self.broker.deferred(inner).result(WAIT), 'inner')
