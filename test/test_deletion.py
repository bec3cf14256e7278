"""What is forgotten before its time, and queues that are deleted."""
from __future__ import annotations

from unittest import mock

from worq import Task
from worq.errors import QueueError
from worq.queue.redis import deletion as redis_deletion
from worq.queue.sqlite import deletion as file_deletion

from test import leaks
from test.broker_case import BrokerCase, on_every_queue
from test.queue.contract import message, outcome
from test.support import eq_


class DeletionContract(BrokerCase):
    """On any engine."""

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.backend

    def fill(self):
        """Some of everything."""
        q = self.q
        q.join('p', {'host': 'h', 'boot': 'b', 'tasks': 'mod.func'})
        q.put([message('a'), message('b'), message('long', body=bytes(50_000)), message('f'),
               message('paused', header=b'other')])
        q.watch('c', ['a', 'b', 'long'])
        self.mine.pause('other', by='ann')
        for d, word in zip(q.take('p', 4), ['value', 'failure', 'lost', 'value']):
            q.settle('p', [outcome(d, word, bytes(20_000))])
        q.put([message('later', delay=9_000), message('waits', 'long', 'a'),
               message('dead', expires=1)])
        q.tally('p', 1, {'mod.func': 'v:1'})

    def test_forgotten(self):
        """What is over is forgotten, and who did so is noted."""
        self.fill()
        eq_(self.mine.forget_all(['f', 'a', 'later', 'none', 'f']),
            ['forgotten', 'pinned', 'live', 'unknown', 'unknown'])
        eq_(self.mine.forget_all(['b'], by='ann'), ['forgotten'])
        act = self.mine.acts()[0]
        eq_((act.who, act.what, act.tasks, act.about), ('ann', 'forget', 1, 'b'))
        eq_(self.q.audit(), [])

    def test_deleted(self):
        """Nothing is left, in however many steps; other queues stay, and it may be used again."""
        other = self.broker('other')
        other.queue().x()
        with mock.patch.object(redis_deletion, 'COUNT', 2), \
                mock.patch.object(file_deletion, 'STEP', 2):
            for _ in range(2):
                self.fill()
                with self.assertRaisesRegex(QueueError, '1 pools work on .*, as p: stop'):
                    self.mine.delete()
                self.assertTrue(self.mine.acts())
                self.mine.delete(force=True)
                eq_(self.left(), [])
                self.mine.delete()
                eq_((self.q.size(), self.mine.acts(), self.mine.pauses(), self.q.pools()),
                    (0, [], [], {}))
                eq_((self.q.audit(), len(other)), ([], 1))
        Task(self.mine.queue().x, id='a')()
        eq_([d.id for d in self.q.take('p', 9)], ['a'])

    def left(self):
        """What is stored of it, as the engine has it."""
        if self.url().startswith('redis'):
            return sorted(leaks.keys(self.url(), self.q.name)())
        if self.url().startswith('sqlite'):
            import sqlite3
            db = sqlite3.connect(self.q._file.path)
            self.addCleanup(db.close)
            own, = db.execute('SELECT ifnull(max(q), -1) FROM worq_queue WHERE name=?',
                              (self.q.name.encode(),)).fetchone()
            eq_(own, -1)
            rest = [(table, n) for table, in db.execute(
                "SELECT name FROM sqlite_master WHERE type='table' AND name LIKE 'worq%'")
                for n, in db.execute(f'SELECT count(*) FROM {table}') if n]
            return [(table, n) for table, n in rest if (table, n) not in [
                ('worq_schema', 1), ('worq_queue', 1), ('worq_task', 1)]]   # of the other one
        return []


on_every_queue(globals(), DeletionContract, file=True)
