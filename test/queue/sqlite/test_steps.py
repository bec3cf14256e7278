"""What would be long in one transaction is done in several; the file gives back what it frees."""
from __future__ import annotations

import os
import unittest
from unittest import mock

from test import support
from test.queue.contract import message, outcome
from test.support import eq_
from worq import const
from worq.queue.base import Argument, Held, Outcome, unpack
from worq.queue.sqlite import file, queue as sqlite, reading, rows


class Steps(unittest.TestCase):

    def setUp(self) -> None:
        self.folder = support.folder(self)
        self.now = 1_700_000_000_000
        self.q = sqlite.TaskQueue(f'sqlite:///{self.folder}/queue.db?sync=off',
                                  clock=lambda: self.now)
        self.addCleanup(self.q.close)
        patch = mock.patch.object(const, 'LEASES_LIMIT', 3)
        patch.start()
        self.addCleanup(patch.stop)

    def take(self, number: int) -> list[tuple[str, bytes]]:
        """Ten tasks, so many of which are leased, one after the other."""
        self.q.put([message(f'a{n}') for n in range(10)])
        self.q.join('p', {})
        taken = []
        for _ in range(number):
            one, = self.q.take('p', 1)
            taken.append((one.id, one.token))
            self.now += 1
        return taken

    def left(self) -> list[str]:
        return [one.id for one in self.q.take('other', 20)]

    def test_abandon(self) -> None:
        """What a dead pool had is taken from it in steps, and is in front, in its order."""
        self.take(8)
        with mock.patch.object(self.q, '_write', wraps=self.q._write) as write:
            eq_(self.q.abandon('p', 'it died'), 8)
            eq_(write.call_count, 3)
        eq_(self.q.pools(), {})
        eq_(self.left(), [f'a{n}' for n in range(10)])
        eq_(self.q.audit(), [])

    def test_reconcile(self) -> None:
        """So is what a pool knows nothing of; what it knows it keeps."""
        taken = self.take(8)
        known = {token for _, token in taken[2:4]}
        eq_(self.q.reconcile('p', known), 6)
        eq_(self.left(), ['a0', 'a1', *(f'a{n}' for n in range(4, 10))])
        eq_(self.q.beat('p', [Held(*held, b'') for held in taken[2:4]]), [])
        eq_(self.q.audit(), [])

    def test_time_for_leases(self) -> None:
        """After a pause of everybody all leases are given time by one statement, those that the
        verb has met already among them."""
        taken = self.take(5)
        self.q.turn('other')
        self.now += 10 * const.LEASE
        eq_(self.q.beat('p', [Held(*taken[0], b'')]), [])
        self.q.turn('other', limit=10)
        eq_(self.q.beat('p', [Held(*held, b'') for held in taken]), [])
        eq_(self.q.audit(), [])

    def test_circles(self) -> None:
        """A tail call that waits for itself is found however far it is, and from either side; and
        none is found where there is none."""
        with mock.patch.object(const, 'BUDGET', 2):
            for n, wide in enumerate((False, True)):
                first = f'first{n}'
                self.q.put([message(first)])
                one, = self.q.take('p', 1)
                chain = [first]
                for step in range(20):
                    more = [f'{n}-{step}-{i}' for i in range(5 if wide else 1)]
                    self.q.put([message(id, *(Argument(name, '') for name in chain))
                                for id in more])
                    chain = more
                eq_(self.q.settle('p', [Outcome(one.id, one.token, 'delegate', b'',
                                                target=Argument(chain[-1], ''))]), ['ok'])
                eq_(self.q.status([first]), ['expired'])
                record, = self.q.results([first])
                assert record is not None
                self.assertIn(b'waits for itself', record)
            self.q.put([message('x')])
            one, = self.q.take('p', 1)
            self.q.put([message('y', 'x')])
            self.q.put([message('u', delay=10_000)])
            for n in range(20):
                self.q.put([message(f'u{n}', f'u{n - 1}' if n else 'u')])
            self.q.settle('p', [Outcome(one.id, one.token, 'delegate', b'',
                                        target=Argument('u19', ''))])
            eq_(self.q.status(['x', 'y']), ['pending', 'pending'])
        eq_(self.q.audit(), [])

    def rows(self) -> int:
        """How many rows have been written so far."""
        assert self.q._file._writer is not None
        return int(self.q._file._writer.total_changes)

    def steps(self, kind: str) -> list[int]:
        """The rows that each verb writes while one ends that many wait for."""
        number = 6 * const.BUDGET
        self.q.put([message('a')])
        for start in range(0, number, 200):
            self.q.put([message(f'd{n}', 'a') for n in range(start, start + 200)])
        one, = self.q.take('p', 1)
        before, steps = self.rows(), []
        self.q.settle('p', [outcome(one, kind)])
        while self.q._store.left_over:
            steps.append(self.rows() - before)
            before = self.rows()
            self.q.beat('p')
        eq_(self.q.stats()['enqueued' if kind == 'value' else 'failed'],
            number + (kind != 'value'))
        eq_(self.q.audit(), [])
        return steps

    def test_many_dependents(self) -> None:
        """Each step of telling many dependents writes so many rows, and no more."""
        value = self.steps('value')
        self.assertGreaterEqual(len(value), 5)
        self.assertLessEqual(max(value), 3 * const.BUDGET)

    def test_many_that_fail(self) -> None:
        """Those that fail by it cost more each, so they are fewer."""
        failure = self.steps('failure')
        self.assertGreaterEqual(len(failure), 11)
        self.assertLessEqual(max(failure), 3 * const.BUDGET)

    def test_traces_are_read_once(self) -> None:
        """What is kept of a failure is put in words once for each step, however it changes."""
        with mock.patch.object(rows, 'dump', wraps=rows.dump) as dump:
            self.steps('failure')
            self.assertLessEqual(dump.call_count, 6 * const.BUDGET + 20)

    def wide(self, number: int) -> None:
        """A task that is ready, and has so many arguments."""
        ids = [f'a{n}' for n in range(number)]
        for start in range(0, number, 500):
            self.q.put([message(id) for id in ids[start:start + 500]])
        while taken := self.q.take('p', 64):
            self.q.settle('p', [outcome(one, data=one.id.encode()) for one in taken])
        self.q.put([message('wide', *ids)])
        self.q.put([message('thin', 'a0', 'a1')])

    def test_wide_deliveries(self) -> None:
        """What one with many arguments brings is read apart, in pages, while others may write."""
        self.wide(1_000)
        self.q.join('p', {})
        with mock.patch.object(reading, 'PAGE', 300), \
                mock.patch.object(self.q, '_write', wraps=self.q._write) as write:
            turn = self.q.turn('p', limit=5)
            eq_([one.id for one in turn.deliveries], ['thin'])
            late, = turn.late
            self.q.put([message('x')])
            write.reset_mock()
            whole = late.fetch()
            eq_(write.call_count, 0)
        assert whole is not None
        eq_([unpack(raw).data for _, raw in whole.arguments],
            [f'a{n}'.encode() for n in range(1_000)])
        eq_(self.q.settle('p', [Outcome(late.id, late.token, 'release')]), ['ok'])
        eq_(late.fetch(), None)   # it is nobody's now
        again, = self.q.take('p', 1)
        eq_((again.id, again.arguments), ('wide', whole.arguments))
        self.q.cancel(['wide'])
        eq_(self.q.audit(), [])

    def test_forgotten_by_statements(self) -> None:
        """What has expired goes without being read, but for what has left something elsewhere."""
        self.q.put([message(f's{n}', ttl=10) for n in range(50)])
        self.q.put([message(f'l{n}', ttl=10, body=bytes(5_000)) for n in range(3)])
        self.q.put([message('x', 's1', ttl=10_000)])
        taken = self.q.take('p', 60)
        self.q.settle('p', [outcome(one, data=bytes(5_000) if one.id == 's3' else b'v')
                            for one in taken])
        eq_(self.q.status(['s1', 's2', 's3', 'l1', 'x']),
            ['success', 'success', 'success', 'success', 'enqueued'])
        self.now += 5_000
        with mock.patch.object(rows.Row, 'load', wraps=rows.Row.load) as load:
            self.q.beat('p')
            self.assertLess(load.call_count, 10)
        eq_(self.q.status(['s1', 's2', 's3', 'l1', 'x']),
            ['success', None, None, None, 'enqueued'])
        db = self.q._file._writer
        assert db is not None
        eq_(db.execute('SELECT count(*) FROM worq_task').fetchone(), (2,))
        eq_(db.execute('SELECT count(*) FROM worq_long').fetchone(), (0,))
        eq_(self.q.audit(), [])

    def test_file_shrinks(self) -> None:
        """What was freed in the file is given back, some with each verb, but for a reserve."""
        path = f'{self.folder}/queue.db'
        with mock.patch.object(file, 'CARE', 0.0), mock.patch.object(file, 'SPARE', 20), \
                mock.patch.object(file, 'SHRINK', 50):
            for n in range(20):
                self.q.put([message(f'b{n}', body=bytes(50_000), ttl=10)])
            db = self.q._file._writer
            assert db is not None

            def pages() -> int:
                return int(db.execute('PRAGMA page_count').fetchone()[0])
            full = pages()
            self.q.settle('p', [outcome(one) for one in self.q.take('p', 20)])
            for _ in range(20):
                before = pages()
                self.q.turn('p', limit=1)
                self.assertGreaterEqual(pages(), before - 55)
            self.assertLess(pages(), full / 3)
            eq_(self.q.audit(), [])
            self.q.close()
            self.assertLess(os.path.getsize(path), full * 4096 / 3)
