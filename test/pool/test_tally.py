"""What a pool counts, and how it gets to its queue."""
from __future__ import annotations

from itertools import count
import unittest
from unittest import mock

from test.pool.test_desk import Faulty
from test.queue.contract import message, outcome
from test.support import eq_
from worq import const
from worq.errors import QueueError
from worq.pool import base
from worq.pool.base import Desk
from worq.pool.tally import HEADERS, Counts
from worq.queue.base import Argument, Delivery, Outcome
from worq.queue.memory import TaskQueue
from worq.queue.records import now
from worq.tally import OTHER, Tally


class CountsTest(unittest.TestCase):

    def setUp(self):
        self.clock = 1_000_000
        self.queue = TaskQueue('memory://', 'counts', clock=lambda: self.clock)
        self.faulty = Faulty(self.queue)
        self.desk = Desk(self.faulty, 15_000)
        self.time = 100.0   # of the desk
        self.ids = count()
        self.enterContext(mock.patch.object(base.time, 'monotonic', lambda: self.time))

    def take(self, *names, limit=100, **options):
        self.queue.put([message(f'{name.split()[0]}-{next(self.ids)}', header=name.encode(),
                                **options) for name in names])
        self.clock += 7
        return self.desk.turn([], limit)[0]

    def tally(self, name):
        return Tally.read(self.queue.totals().cells.get(name, ''))

    def later(self, seconds=1.0):
        """A beat that is due by then."""
        self.time += seconds
        self.desk.beat()

    def test_counted(self):
        """Each that was settled, with the time that it took, and had waited."""
        a, b, c = self.take('mail\nretries 3', 'mail', 'log')
        self.desk.settle([outcome(a, begun=5, ended=2_000_005), outcome(b, 'failure', begun=5,
                                                                        ended=45)])
        self.desk.settle([outcome(c, 'retry', begun=5, ended=5_000_005)])
        self.later()
        mail, log = self.tally('mail'), self.tally('log')
        eq_((mail.success, mail.failed, mail.attempts, mail.run_seconds), (1, 1, 2, 2.00004))
        eq_((mail.wait_seconds, mail.waits[4], sum(mail.waits)), (0.014, 2, 2))
        eq_(mail.exemplars, {0: (b.id, 0.00004), 14: (a.id, 2.0)})
        eq_((log.retried, log.runs[15], log.ended), (1, 1, dict.fromkeys(log.ended, 0)))
        recent, = self.queue._store.book.recent(self.clock)
        eq_((recent.id, recent.nonce.encode(), recent.name), (a.id, a.token[:12], 'mail'))

    def test_not_counted(self):
        """What the queue has not taken, or ends itself, or what has not ended, is not counted."""
        a, b, c, d, e = self.take('a', 'b', 'c', 'd', 'e')
        self.queue.cancel([a.id])
        with self.assertLogs('worq', 'WARNING'):
            self.desk.settle([outcome(a), outcome(b, 'release'), outcome(c, 'lost', b'gone'),
                              outcome(d, 'expire', b'no')])
        target = message('t')
        self.queue.put([target])
        self.desk.settle([outcome(e, 'delegate', target=Argument('t', target.nonce))])
        self.later()
        eq_(self.queue.totals().cells, {'a': 'c:1', 'd': 'x:1', 'e': 'd:1'})

    def test_once_a_second(self):
        """It is told with a beat, at most once a second, and never later than after one."""
        for n in range(3):
            a, = self.take('mail')
            self.desk.settle([outcome(a)])
        with mock.patch.object(self.queue, 'tally', wraps=self.queue.tally) as told:
            self.later(1.0)
            eq_((told.call_count, self.tally('mail').success), (1, 3))
            a, = self.take('mail')
            self.desk.settle([outcome(a)])
            self.desk.beat_at = 0.0
            self.later(0.2)
            eq_((told.call_count, self.tally('mail').success), (1, 3))
            self.assertLessEqual(self.desk.beat_in, base.BEAT)   # though nothing is held any more
            self.later(1.0)
            eq_((told.call_count, self.tally('mail').success), (2, 4))
            for _ in range(9):
                self.later(1.0)
            eq_(told.call_count, 2)   # an idle pool tells nothing

    def test_lost_reply(self):
        """A tally whose reply was lost is told again, and counts once."""
        a, = self.take('mail')
        self.desk.settle([outcome(a)])

        def lost(*args):
            TaskQueue.tally(self.queue, *args)
            raise QueueError('the reply was lost')
        with mock.patch.object(self.queue, 'tally', lost):
            self.later()
        b, = self.take('mail')
        self.desk.settle([outcome(b)])
        self.later()
        eq_(self.tally('mail').success, 2)
        eq_(self.desk.away, 0)

    def test_refused(self):
        """While nothing can be told it is kept, in few bytes, and the queue does not count as away.
        """
        self.faulty.faults['tally'] = [QueueError('full')] * 30
        for _ in range(30):
            a, = self.take('mail')
            self.desk.settle([outcome(a)])
            self.later()
        eq_((self.tally('mail').success, self.desk.away), (0, 0))
        self.assertLessEqual(len(self.desk.counts._told), 1)
        self.later()
        eq_(self.tally('mail').success, 30)

    def test_settled_again(self):
        """An outcome whose reply was lost is counted when the queue says that it has it."""
        a, = self.take('mail')
        turn = self.queue.turn

        def lost(*args):
            turn(*args)
            raise QueueError('the reply was lost')
        with mock.patch.object(self.queue, 'turn', lost), self.assertLogs('worq', 'WARNING'):
            self.desk.turn([outcome(a)], 0)
        self.time += 5
        with self.assertLogs('worq', 'WARNING'):
            self.desk.turn([], 0)
        self.later()
        eq_(self.tally('mail').success, 1)

    def test_leave(self):
        """A pool that stops tells the rest."""
        a, = self.take('mail')
        self.desk.settle([outcome(a)])
        self.desk.leave()
        eq_(self.tally('mail').success, 1)

    def test_many_names(self):
        """More names than one tally may have take several; more headers than that are one."""
        counts = Counts()
        for n in range(HEADERS + 50):
            delivery = Delivery(f'{n}', b'n' * 12 + b'1', 1, b'name %d' % n, b'')
            done = Outcome(f'{n}', delivery.token, 'value', b'', begun=1, ended=9)
            counts.add([(delivery, done)])
        eq_(len(counts._counts), HEADERS + 1)
        base.tell_counts(self.queue, 'p', counts)
        cells = [cell for minute in self.queue.minutes() for cell in minute.cells.values()]
        eq_(Tally.read(*cells).success, HEADERS + 50)
        self.assertFalse(counts)
        eq_(len(self.queue.totals().cells), const.TALLIED + 1)

    def test_odd_ones(self):
        """No id breaks a cell, nor does a name that is very long."""
        counts = Counts()
        for id in ('a b', 'a=1', 'v:9', '\n', 'ü', 'x' * 500):
            delivery = Delivery(id, b'n' * 12 + b'1', 1, b'f', b'')
            counts.add([(delivery, Outcome(id, delivery.token, 'value', b'', begun=1, ended=9))])
        odd = Delivery('i', b'n' * 12 + b'1', 1, b'x' * 5000 + b'\xff', b'')
        counts.add([(odd, Outcome('i', odd.token, 'failure'))])
        base.tell_counts(self.queue, 'p', counts)
        found = self.tally('f')
        eq_((found.success, found.attempts, found.exemplars), (6, 6, {}))
        eq_(self.queue.totals().cells[OTHER], 'f:1')

    def test_how_long_ago(self):
        """What has succeeded lately is told with how long ago that was."""
        a, = self.take('mail')
        self.desk.settle([outcome(a, begun=now() - 3_000_000, ended=now() - 2_000_000)])
        self.later()
        recent, = self.queue._store.book.recent(self.clock)
        self.assertTrue(2_000 <= self.clock - recent.ended < 60_000, recent)
