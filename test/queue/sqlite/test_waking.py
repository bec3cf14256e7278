"""Processes of one machine wake each other at a queue in a file; nobody polls."""
from __future__ import annotations

import threading
import unittest
from typing import Any, Callable
from unittest import mock

from test import support
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from worq import const
from worq.queue.sqlite import doorbell, queue as sqlite, waiting

LONG = 600.0   # seconds: who is not woken fails the test


class Waking(unittest.TestCase):
    """Two queues of one file, as two processes have them. Nobody looks again by himself."""

    def setUp(self) -> None:
        folder = support.folder(self)
        self.now = 1_000_000
        self.here, self.there = [sqlite.TaskQueue(
            f'sqlite:///{folder}/queue.db?sync=off', clock=lambda: self.now) for _ in '12']
        for queue in self.here, self.there:
            self.addCleanup(queue.close)
        patch = mock.patch.object(sqlite, 'PAUSE', LONG)
        patch.start()
        self.addCleanup(patch.stop)

    def idle(self) -> int:
        """How many are entered as waiting."""
        return self.here._file.read(b'default', lambda db, q, meta: db.execute(
            'SELECT count(*) FROM worq_idle').fetchone()[0])

    def waiting(self, call: Callable[[], Any], n: int = 1) -> Callable[[], Any]:
        """Begin a call that waits; what is returned ends it, with its answer."""
        answers: list[Any] = []
        thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
        thread.start()
        eventually(self.idle, n)

        def end() -> Any:
            thread.join(30)
            return answers[0] if answers else 'nobody has woken it'
        return end

    def ids(self, end: Callable[[], Any]) -> list[str]:
        return [one.id for one in end()]

    def test_take(self) -> None:
        """Who waits for something to take is woken by a put, and by what has become ready."""
        end = self.waiting(lambda: self.here.take('p', 1, LONG))
        eq_(self.there.put([message('a'), message('b', 'a')]), [])
        a, = end()
        eq_(self.idle(), 0)
        end = self.waiting(lambda: self.here.take('p', 1, LONG))
        eq_(self.there.settle('p', [outcome(a)]), ['ok'])
        eq_(self.ids(end), ['b'])

    def test_as_many_as_there_is(self) -> None:
        """One task wakes one of those who wait; and who is busy is not rung at."""
        first = self.waiting(lambda: self.here.take('p', 1, LONG))
        second = self.waiting(lambda: self.there.take('q', 1, LONG), 2)
        with mock.patch.object(sqlite, 'ring', wraps=doorbell.ring) as ring:
            self.there.put([message('a')])
            eq_(self.idle(), 1)
            self.there.put([message('b')])
            eq_(sorted(self.ids(first) + self.ids(second)), ['a', 'b'])
            self.there.put([message('c')])
            rung = [call.args[0] for call in ring.call_args_list]
            eq_([len(addresses) for addresses in rung if addresses], [1, 1])

    def test_gone(self) -> None:
        """Who has gone without a word is passed over: the next one is woken."""
        gone = doorbell.Doorbell()
        self.here._write(lambda store: self.here._waiting.enter(gone.address, LONG))
        end = self.waiting(lambda: self.here.take('p', 1, LONG), 2)
        self.assertLess(gone.address, 'worq')   # so it is the first to be rung at, or the other
        gone.close()
        self.there.put([message('a')])
        eq_(self.ids(end), ['a'])

    def test_over(self) -> None:
        """An entry counts no longer than its owner waits, and is taken out then."""
        bell = doorbell.Doorbell()
        self.addCleanup(bell.close)
        self.here._write(lambda store: self.here._waiting.enter(bell.address, 1))
        self.now += 1_000 + waiting.MARGIN + 1
        self.there.put([message('a')])
        eq_((self.idle(), bell.clear()), (0, False))

    def test_who_gives_up(self) -> None:
        """Who waits no longer is not entered any more."""
        eq_(self.here.take('p', 1, 0.01), [])
        eq_(self.idle(), 0)

    def test_news(self) -> None:
        """Who waits for the end of a task is woken by it, and so by a ring."""
        self.here.put([message('a')])
        eq_(self.here.watch('c', ['a']), [])
        end = self.waiting(lambda: self.here.wait('c', LONG))
        a, = self.there.take('p', 1)
        self.there.settle('p', [outcome(a, data=b'x')])
        eq_([id for id, _ in end()], ['a'])
        end = self.waiting(lambda: self.here.wait('c', LONG))
        self.there.ring('c')
        eq_(end(), [])

    def test_news_again(self) -> None:
        """Who gets news is entered with that for the next ones, and need not write to wait."""
        self.here.put([message('a'), message('b')])
        eq_(self.here.watch('c', ['a', 'b']), [])
        end = self.waiting(lambda: self.here.wait('c', LONG))
        a, b = self.there.take('p', 2)
        self.there.settle('p', [outcome(a)])
        eq_([id for id, _ in end()], ['a'])
        eq_(self.idle(), 1)
        with mock.patch.object(self.here, '_locked', wraps=self.here._locked) as locked:
            end = self.waiting(lambda: self.here.wait('c', LONG))
            self.there.settle('p', [outcome(b)])
            eq_([id for id, _ in end()], ['b'])
            eq_(locked.call_count, 1)

    def test_lost_ring(self) -> None:
        """A ring that is lost costs no more than a pause: the file has changed."""
        self.here.put([message('a')])
        eq_(self.here.watch('c', ['a']), [])
        with mock.patch.object(sqlite, 'PAUSE', 0.02), \
                mock.patch.object(sqlite, 'ring', lambda addresses: 0):
            end = self.waiting(lambda: self.here.wait('c', LONG))
            a, = self.there.take('p', 1)
            self.there.settle('p', [outcome(a)])
            eq_([id for id, _ in end()], ['a'])

    def test_due(self) -> None:
        """Who waits looks again when something may come due."""
        self.here.clock = sqlite.wall
        self.here.put([message('a', delay=50)])
        eq_([one.id for one in self.here.take('p', 1, 30)], ['a'])

    def test_queues_apart(self) -> None:
        """What is put in one queue of a file wakes nobody at another."""
        other = sqlite.TaskQueue(self.here.url, 'other', clock=lambda: self.now)
        self.addCleanup(other.close)
        end = self.waiting(lambda: other.take('p', 1, LONG))
        self.there.put([message('a')])
        eq_(self.idle(), 1)
        other.put([message('b')])
        eq_(self.ids(end), ['b'])

    def test_bell(self) -> None:
        """A bell is entered by the turn that finds nothing, and rings for what comes after it."""
        bell = self.here.bell('p')
        self.addCleanup(bell.close)
        eq_(self.here.turn('p', limit=1).deliveries, [])
        eq_(self.idle(), 1)
        self.there.put([message('a')])
        bell.arm()
        self.assertTrue(bell.doorbell.wait(30))
        self.assertFalse(bell.clear())
        eq_([one.id for one in self.here.turn('p', limit=1).deliveries], ['a'])

    def test_prompt_bell(self) -> None:
        """One whose pool arms it after each turn that took too little is entered by that very turn,
        once for a while, and to arm it takes no transaction; another one is not."""
        self.there.put([message('a')])
        bell = self.here.bell('p')
        self.addCleanup(bell.close)
        eq_(len(self.here.turn('p', limit=2).deliveries), 1)
        eq_(self.idle(), 0)
        self.there.put([message('b')])
        bell.prompt = True
        eq_(len(self.here.turn('p', limit=2).deliveries), 1)
        eq_(self.idle(), 1)
        with mock.patch.object(self.here, '_write', side_effect=AssertionError):
            bell.arm()
        with mock.patch.object(self.here._waiting, 'enter', side_effect=AssertionError):
            eq_(self.here.turn('p', limit=2).deliveries, [])
        self.there.put([message('c')])
        self.assertTrue(bell.doorbell.wait(30))
        eq_(self.idle(), 0)

    def test_bell_sooner(self) -> None:
        """An armed bell rings sooner by itself if something comes due before its time is over."""
        self.there.put([message('a')])
        bell = self.here.bell('p')
        bell.prompt = True
        self.addCleanup(bell.close)
        one, = self.here.turn('p', limit=2).deliveries
        bell.arm()
        until = bell.until
        with mock.patch.object(self.here._alarm, 'set', wraps=self.here._alarm.set) as alarm:
            self.here.turn('p', [outcome(one, 'retry', delay=300)], limit=2)
            alarm.assert_called_once_with(bell)
        self.assertLess(bell.until, until)

    def test_bell_armed_late(self) -> None:
        """A bell that is armed with no turn before it rings at once if there is something."""
        self.there.put([message('a')])
        bell = self.here.bell('p')
        self.addCleanup(bell.close)
        bell.arm()
        self.assertTrue(bell.doorbell.wait(30))

    def test_bell_by_itself(self) -> None:
        """A bell rings for nothing when its time is over, and is no more entered when closed."""
        bell = self.here.bell('p')
        with mock.patch.object(sqlite, 'PAUSE', 0.01):
            bell.arm()
        self.assertFalse(bell.doorbell.wait(30))
        bell.clear()
        bell.arm()
        eq_(self.idle(), 1)
        bell.close()
        bell.close()
        eq_(self.idle(), 0)

    def test_inboxes_end(self) -> None:
        """The inbox of who does not come for it ends when others come, with its news, in steps."""
        self.here.put([message(f'a{n}') for n in range(5)])
        self.here.watch('old', [f'a{n}' for n in range(5)])
        self.here.settle('p', [outcome(one) for one in self.here.take('p', 5)])
        self.now += const.INBOX_TTL * 1_250 + 1   # its use is noted to a quarter of that
        with mock.patch.object(waiting, 'FORGET', 3):
            for left in (2, 0):
                self.there.watch('new', ['a1'])
                eq_(self.here._file.read(b'default', lambda db, q, meta: db.execute(
                    'SELECT count(*) FROM worq_news').fetchone()[0]), left)
        eq_(self.here.wait('old', 0), [])
