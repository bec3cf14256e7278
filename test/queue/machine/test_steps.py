"""What follows from an end, in bounded steps: where a verb is long, others would wait for it."""
from __future__ import annotations

import unittest

from test.queue.contract import message, outcome
from test.queue.rows import RowQueue
from test.support import eq_
from worq import const
from worq.queue.base import IGNORE_RESULT, PASS, Argument, Held, Message, Outcome, unpack

BUDGET = 10


class Queue(RowQueue):

    budget = BUDGET


class StepsTest(unittest.TestCase):

    def setUp(self) -> None:
        self.now = 1_000_000
        self.q = Queue('memory://', 'steps', clock=lambda: self.now)

    def put(self, *messages: Message) -> None:
        eq_(self.q.put(messages), [])

    def settle(self, word: str = 'value', limit: int = 1_000) -> list[str]:
        """Take what is ready and settle it; its ids."""
        deliveries = self.q.take('p', limit)
        words = self.q.settle('p', [outcome(one, word) for one in deliveries])
        eq_(words, ['ok'] * len(deliveries))
        return [one.id for one in deliveries]

    def step(self) -> None:
        """A verb of somebody else; the queue is sound before and after."""
        eq_(self.q.audit(), [])
        self.q.reconcile('other', [])
        eq_(self.q.audit(), [])

    def test_fan_out(self) -> None:
        """Dependents are told some at a time, in order; all count meanwhile as what they are."""
        ids = [f'x{n}' for n in range(35)]
        self.put(message('a'), *[message(id, 'a') for id in ids])
        self.settle()
        for told in (10, 20, 30, 35, 35):
            stats = self.q.stats()
            eq_((stats['enqueued'], stats['pending'], self.q.size()), (told, 35 - told, 35))
            eq_(self.q.forget(['a']), ['pinned'])
            self.step()
        eq_(self.settle(), ids)

    def test_when_a_tick_is_due(self) -> None:
        """It is known when a tick will find something: nothing, a lease that ends, what is due."""
        store = self.q._store
        self.put(message('a', lease=5_000))
        self.q.beat('p')
        eq_(store.next_tick(), None)
        delivery, = self.q.take('p', 1)
        eq_(store.next_tick(), self.now + 5_000)
        self.put(message('b', delay=3_000))
        eq_(store.next_tick(), self.now + 3_000)
        self.put(message('c', 'a', expires=2_000))
        eq_(store.next_tick(), self.now + 2_000)
        self.put(message('d', delay=1))
        eq_(store.next_tick(), self.now + const.TICK)   # there has just been one
        self.q.settle('p', [outcome(delivery)])

    def test_one_budget_for_a_verb(self) -> None:
        """However many outcomes a verb settles, their dependents share its budget."""
        sources = [f'a{n}' for n in range(5)]
        dependents = [message(f'{a}x{n}', a) for a in sources for n in range(6)]
        self.put(*map(message, sources), *dependents)
        self.settle()
        eq_(self.q.stats()['enqueued'], BUDGET)

    def test_order(self) -> None:
        """What one verb has left over comes before what ended later."""
        ids = [f'{a}x{n}' for a in 'ab' for n in range(25)]
        self.put(message('a'), message('b'), *[message(id, id[0]) for id in ids])
        self.settle()
        for _ in range(5):
            self.step()
        eq_(self.settle(), ids)

    def test_fan_in(self) -> None:
        """Arguments are let go some at a time, also of a life that is over and forgotten."""
        ids = [f'a{n}' for n in range(35)]
        for wide in (message('x', *ids), message('x', *ids, flags=IGNORE_RESULT)):
            self.put(*map(message, ids), wide)
            while self.settle() != ['x']:
                self.step()
            self.q.forget(['x'])
            self.put(message('x'))   # which pins none of them
            for freed in (10, 20, 30, 35):
                lives = self.q._store.lives
                eq_([lives[id].pins for id in ids], [0] * freed + [1] * (35 - freed))
                self.step()
            eq_(self.q.forget(ids), ['forgotten'] * 35)
            eq_((self.settle(), self.q.forget(['x'])), (['x'], ['forgotten']))

    def test_failure_travels(self) -> None:
        """A failure goes down a chain some at a time (each is told, and lets its argument go), and
        arrives as the one that it was."""
        chain = [f'x{n}' for n in range(35)]
        self.put(message('x0'), *[message(b, a) for a, b in zip(chain, chain[1:])])
        self.settle('failure')
        for failed in (5, 9, 13, 17, 21, 25, 29, 33, 35):   # to fail costs two
            eq_(self.q.stats()['failed'], failed)
            self.step()
        record = unpack(self.q.results(['x34'])[0] or b'')
        eq_((record.kind, record.origin and record.origin[0]), (b'f', 'x0'))

    def test_what_failed_is_let_go(self) -> None:
        """Of a failure that is forgotten nothing is kept for who asks what failed."""
        self.put(message('x'), message('y', 'x'))
        self.settle('failure')
        eq_(sum(map(len, self.q._store.failures.values())), 2)
        eq_(self.q.forget(['y', 'x']), ['forgotten'] * 2)
        eq_(sum(map(len, self.q._store.failures.values())), 0)

    def test_cancel_travels(self) -> None:
        """So does the end of a task that is cancelled."""
        chain = [f'x{n}' for n in range(35)]
        self.put(message('x0'), *[message(b, a) for a, b in zip(chain, chain[1:])])
        eq_(self.q.cancel(['x0', 'x34']), ['cancelled'] * 2)
        for ended in (6, 10, 14, 18, 22, 26, 30, 34, 35):
            eq_(self.q.stats()['cancelled'], ended)
            self.step()

    def test_purge(self) -> None:
        """After a purge nothing of it is taken or counted, and each task that is met has been
        cancelled. What runs goes on, and so does what is put since."""
        self.put(message('run'))
        run, = self.q.take('p', 1)
        ids = [f'x{n}' for n in range(35)]
        self.put(*map(message, ids), *[message(f'd{id}', id, 'run') for id in ids],
                 *[message(f's{id}', delay=500, expires=700) for id in ids])
        self.put(message('tail', priority=0))
        tail, = self.q.take('p', 1)
        call = Outcome('tail', tail.token, 'delegate', target=Argument('run', ''))
        eq_(self.q.settle('p', [call]), ['ok'])
        self.q.watch('c', ['x34'])
        eq_((self.q.purge(), self.q.purge()), (106, 0))
        stats = self.q.stats()
        eq_([stats[state] for state in ('pending', 'scheduled', 'enqueued', 'processing')],
            [0, 0, 0, 1])
        eq_((self.q.size(), self.q.take('p', 10)), (1, []))
        self.assertLessEqual(stats['cancelled'], 2 * BUDGET)
        eq_(self.q.beat('p', [Held('tail', tail.token)])[0].word, 'cancelled')
        eq_(self.q.settle('p', [call]), ['stale'])
        eq_(self.q.cancel(['x33', 'dx33']), ['completed'] * 2)
        eq_(self.q.status(['tail', 'dx32', 'sx32']), ['cancelled'] * 3)
        eq_(unpack(self.q.results(['dx31'])[0] or b'').data,
            b'mod.func\ncancelled: the queue was purged')
        self.put(message('sx30'), message('dx30', 'sx30'))
        self.now += 600   # what was scheduled would be due now
        for _ in range(60):
            self.step()
        self.now += const.TICK
        eq_(self.q.beat('p', []), [])
        eq_((self.settle(), self.settle()), (['sx30'], ['dx30']))
        eq_(self.q.settle('p', [outcome(run)]), ['ok'])
        eq_((self.q.stats()['cancelled'], self.q.size()), (106, 0))
        eq_([id for id, _ in self.q.wait('c', 0)], ['x34'])
        eq_(self.q.audit(), [])

    def test_who_waits_goes_on(self) -> None:
        """Who waits for something to take does what is left over until there is some, and one who
        listens to a bell is told that there is work."""
        chain = [f'x{n}' for n in range(35)]
        self.put(message('x0'), *[message(b, a) for a, b in zip(chain, chain[1:])],
                 message('last', 'x34', flags=PASS))
        delivery, = self.q.take('p', 1)
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        bell.arm()
        self.q._store.budget = 1
        self.q.settle('p', [outcome(delivery, 'failure')])
        self.assertTrue(bell.clear())
        eq_([one.id for one in self.q.take('p', 1, 30)], ['last'])   # 35 naps would be 70 s
