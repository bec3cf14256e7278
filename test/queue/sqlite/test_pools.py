"""Pools on a queue in a file, as on any other."""
from __future__ import annotations

from typing import Any

from test.broker_case import SqliteMixin
from test.pool.process.test_pool import Processes
from test.pool.thread.test_pool import Threads
from test.support import eq_, eventually

__all__ = ['ProcessesOnSqlite', 'ThreadsOnSqlite']


class ProcessesOnSqlite(SqliteMixin, Processes):   # type: ignore[misc]

    def test_work(self) -> None:
        """Children open the file themselves: a task puts others, and one whose child is killed is
        run again."""
        self.start(2)
        q: Any = self.q
        sums = [q.add(n, q.add(n, 1)) for n in range(20)]
        eq_([one.result(timeout=60) for one in sums], [2 * n + 1 for n in range(20)])
        eq_(q.kill_once(self.path('runs')).result(60), 2)
        eq_(self.broker.deferred(q.enqueue(self.url(), self.name).result(60)).result(60), 'inner')


class ThreadsOnSqlite(SqliteMixin, Threads):   # type: ignore[misc]

    def test_work(self) -> None:
        """Threads that wait for others' work, and put more."""
        self.start(2)
        q: Any = self.q
        eq_(q.add(1, q.add(2, q.add(3, 4))).result(timeout=60), 10)
        bad = q.fail('too low')
        eventually(lambda: bad.status, 'failed', timeout=60)
