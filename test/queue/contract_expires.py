"""The contract of a task queue as tests: tasks that are not worth to be begun too late."""
from __future__ import annotations

from typing import Any

from test.queue.contract import Contract, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, unpack

TOO_LATE = b'x', b'mod.func\nexpired before it was begun'
AGAIN = b'x', TOO_LATE[1] + b' again'


class Expires(Contract):

    def put_late(self, *ids: str, **options: Any) -> None:
        """Put tasks for which it is too late by now, and no tick has noticed."""
        self.q.beat('ticker')
        self.put(*[message(id, expires=500, **options) for id in ids])
        self.advance(500)

    def test_expires_each_state(self) -> None:
        """What has not begun in time is completed as expired by a tick, whatever its state."""
        self.put(message('run'), message('wait', 'run', expires=3_000),
                 message('later', delay=9_000, expires=3_000),
                 message('passes', 'run', flags=base.PASS, expires=3_000))
        delivery = self.take_one('run')
        self.put(message('ready', expires=3_000), message('other', expires=4_000))
        ids = ['wait', 'later', 'passes', 'ready']
        self.tick(2_000)
        self.assertEqual(self.status(*ids), ['pending', 'scheduled', 'pending', 'enqueued'])
        self.tick(1_000)
        self.assertEqual(self.q.stats(), {
            'pending': 0, 'scheduled': 0, 'enqueued': 1, 'processing': 1, 'succeeded': 0,
            'failed': 0, 'expired': 4, 'cancelled': 0, 'redelivered': 0, 'stale': 0})
        for id in ids:
            self.assertEqual((self.outcome_of(id), self.origin_of(id)), (TOO_LATE, None))
        self.assertEqual(self.ids(), ['other'])
        self.settle(outcome(delivery))
        self.assertEqual(self.ids(), [])

    def test_expires_never_taken_late(self) -> None:
        """From that moment on it is not taken, though no tick has come yet."""
        self.put_late('a', 'b')
        self.put(message('c'))
        self.assertEqual(self.ids(2), ['c'])
        self.assertEqual(self.outcome_of('a'), TOO_LATE)
        self.put_late('d')
        self.assertEqual(self.q.turn('p1', limit=1).deliveries, [])
        self.assertEqual(self.q.stats()['expired'], 3)

    def test_expires_never_taken_late_and_what_follows(self) -> None:
        """If all that a take finds has expired, it takes what becomes ready by that."""
        self.put(message('a', expires=500), message('b', 'a', flags=base.PASS))
        self.q.beat('ticker')
        self.advance(500)
        self.assertEqual(self.ids(), ['b'])

    def test_expires_in_time(self) -> None:
        """A task that is taken in time goes on for as long as it takes, and so does a tail call."""
        self.put(message('a', expires=500), message('o', expires=500), message('i'))
        self.advance(499)
        a, o = self.take(2)
        self.settle(outcome(o, 'delegate', target=Argument('i', '')))
        self.tick(9_000)
        self.assertEqual(self.status('a', 'o'), ['processing', 'pending'])
        self.assertEqual(self.settle(outcome(a, data=b'x')), ['ok'])
        self.put(message('b', expires=500, priority=0))
        self.complete('b')
        self.assertEqual(self.q.audit(), [])
        self.assertEqual(self.outcome_of('a'), (b'v', b'x'))
        self.complete('i', b'y')
        self.assertEqual(self.outcome_of('o'), (b'v', b'y'))

    def test_expires_after_it_came_back(self) -> None:
        """What came back from a pool in time, and waits, expires by a tick though meanwhile others
        have expired."""
        self.put(message('x', expires=9_000))
        delivery = self.take_one('x')
        self.put(message('first', expires=1_000))
        self.tick(2_000)   # nothing else is left that may expire
        self.settle(outcome(delivery, 'release'))
        self.tick(2_000)
        self.assertEqual(self.q.stats()['expired'], 1)
        self.tick(6_000)
        self.assertEqual(self.q.stats()['expired'], 2)

    def test_expires_not_begun_again(self) -> None:
        """What was begun in time is not begun again too late, however the delivery ended."""
        for n, (word, options) in enumerate([
                ('release', {}), ('lost', {}), ('retry', {}), ('retry', {'delay': 700})]):
            id = f'{word} {n}'
            self.put(message(id, expires=2_000))
            delivery = self.take_one(id)
            self.tick(3_000)
            self.assertEqual(self.status(id), ['processing'])
            again = outcome(delivery, word, **options)
            self.assertEqual(self.settle(again), ['ok'])
            self.assertEqual(self.settle(again), ['again'])
            self.assertEqual(self.status(id), ['completed'])
            self.assertEqual(self.outcome_of(id), AGAIN)
            self.assertEqual(self.settle(again), ['again'])
        self.assertEqual(self.ids(), [])

    def test_expires_not_begun_again_by_tick(self) -> None:
        """The same by ticks alone: after a retry in time, and after a lease that ran out."""
        self.put(message('a', expires=4_000), message('b', expires=4_000))
        a, b = self.take(2)
        self.settle(outcome(a, 'retry', b'memo', delay=9_000))
        self.lose()
        self.tick(2 * const.TICK)
        self.assertEqual(self.q.stats()['expired'], 2)
        self.assertEqual((self.outcome_of('a'), self.outcome_of('b')), (AGAIN, AGAIN))
        self.assertEqual(self.settle(outcome(a), outcome(b)), ['again', 'stale'])

    def test_expires_met_by_readers(self) -> None:
        """Whoever meets such a task before a tick does finds it completed."""
        for n, meet in enumerate([
                lambda id: self.assertEqual(self.status(id), ['completed']),
                lambda id: self.assertEqual(self.outcome_of(id), TOO_LATE),
                lambda id: self.assertEqual(
                    self.q.watch('c', [id]), [(id, *self.q.results([id]))]),
                lambda id: self.assertEqual(self.q.inspect([id])[0].state, 'expired'),
                lambda id: self.assertEqual(self.q.cancel([id]), ['completed']),
                lambda id: self.assertEqual(self.q.forget([id]), ['forgotten'])]):
            for delay in [0, 9_000]:
                id = f'{n} {delay}'
                self.put_late(id, delay=delay)
                meet(id)
                self.assertEqual(self.q.size(), 0)
        self.assertEqual(self.ids(), [])

    def test_expires_met_by_put(self) -> None:
        """It fails a task that names it as argument, and gives its id to a new life."""
        self.put_late('a', 'b')
        self.put(message('c', 'a'), message('d', 'a', flags=base.PASS), message('b'))
        self.assertEqual((self.outcome_of('c'), self.origin_of('c')), (TOO_LATE, 'a'))
        d, b = self.take(3)
        self.assertEqual((b.id, unpack(d.arguments[0][1]).kind), ('b', b'x'))

    def test_expires_met_by_tail_call(self) -> None:
        """A tail call to it comes to the same."""
        self.put(message('o'))
        delivery = self.take_one('o')
        self.put_late('a')
        self.settle(outcome(delivery, 'delegate', target=Argument('a', '')))
        self.assertEqual((self.outcome_of('o'), self.origin_of('o')), (TOO_LATE, 'a'))

    def test_expires_met_by_argument(self) -> None:
        """A task whose last argument comes too late is not made ready."""
        self.put(message('a'), message('b', 'a', expires=500))
        a = self.take_one('a')
        self.q.beat('ticker')
        self.advance(500)
        self.settle(outcome(a))
        self.assertEqual(self.q.stats()['expired'], 1)
        self.assertEqual(self.outcome_of('b'), TOO_LATE)

    def test_expires_put_again(self) -> None:
        """A put that is sent again when it is too late changes nothing."""
        one = message('a', expires=500)
        self.put(one)
        self.tick(2_000)
        self.put(one)
        self.assertEqual(self.outcome_of('a'), TOO_LATE)

    def test_expires_dependents(self) -> None:
        """Its dependents fail with it or take it for a value, also if a reader met it first."""
        self.put_late('a')
        self.put_late('b')
        self.assertEqual(self.status('b'), ['completed'])
        self.put(message('a', expires=500), message('c', 'a'),
                 message('p', 'a', flags=base.PASS))
        self.q.watch('c', ['a', 'c'])
        self.advance(500)
        self.assertEqual(self.status('a'), ['completed'])
        self.assertEqual(self.q.forget(['a']), ['pinned'])
        self.q.beat('ticker')
        self.assertEqual(self.status('c', 'p'), ['completed', 'enqueued'])
        self.assertEqual((self.outcome_of('c'), self.origin_of('c')), (TOO_LATE, 'a'))
        self.assertEqual(sorted(id for id, _ in self.q.wait('c', 0.5)), ['a', 'c'])

    def test_expires_before_tail_call_is_told(self) -> None:
        """Met by a reader, it keeps its id and outcome until a tail call to it was told."""
        self.put(message('o'), message('a', expires=500, delay=9_000))
        self.settle(outcome(self.take_one('o'), 'delegate', target=Argument('a', '')))
        self.advance(500)
        self.assertEqual(self.status('a'), ['completed'])
        self.assertEqual(self.q.forget(['a']), ['pinned'])
        self.assertEqual(self.q.put([message('a')])[0].word, 'pinned')
        self.q.beat('ticker')
        self.assertEqual((self.outcome_of('o'), self.origin_of('o')), (TOO_LATE, 'a'))
        self.assertEqual(self.q.forget(['a']), ['forgotten'])

    def test_expires_ignored(self) -> None:
        """One that ignores its result is forgotten, and who waits for it is told."""
        self.put(message('a', flags=base.IGNORE_RESULT, expires=500))
        self.q.watch('c', ['a'])
        self.advance(500)
        self.assertEqual(self.status('a'), [None])
        self.assertEqual(self.q.wait('c', 0.5), [('a', None)])

    def test_expires_lets_go(self) -> None:
        """It lets go of its arguments."""
        self.put(message('a'))
        self.complete('a')
        self.put(message('b', 'a', expires=500))
        self.advance(500)
        self.assertEqual(self.status('b'), ['completed'])
        self.assertEqual(self.q.forget(['a']), ['forgotten'])

    def test_expires_purged(self) -> None:
        """What was purged before was cancelled, even if it is too late by now."""
        self.put(*[message(f'a{i}', expires=500) for i in range(const.BUDGET * 2)])
        self.q.purge()
        self.advance(500)
        self.assertEqual(self.q.stats()['enqueued'], 0)
        self.assertEqual(self.outcome_of(f'a{const.BUDGET * 2 - 1}')[0], b'c')
        self.drain()
        self.assertEqual(self.q.stats()['cancelled'], const.BUDGET * 2)

    def test_expires_many(self) -> None:
        """A tick ends so many at most; the next verb goes on."""
        many = 2 * const.TICK_LIMIT + 50
        self.q.beat('ticker')
        self.put(*(message(f'd{n}', expires=100, delay=900_000) for n in range(many)))
        self.advance(2_000)
        left = []
        for _ in range(4):
            left.append(self.q.stats()['scheduled'])
            self.q.beat('ticker')
        self.assertEqual(left, [250, 150, 50, 0])

    def test_expires_beside_what_runs(self) -> None:
        """However many run that were begun in time, the ticks end one that waits."""
        many = const.TICK_LIMIT
        self.put(*(message(f'r{n}', expires=500) for n in range(many)))
        self.assertEqual(sum(len(self.take(10)) for _ in range(many // 10)), many)
        self.put(message('late', delay=9_000, expires=1_500))
        self.tick(3_000)
        self.assertEqual(self.q.stats()['expired'], 1)

    def test_expires_seen(self) -> None:
        """How long it is until then can be seen."""
        self.put(message('a', expires=9_000))
        self.advance(500)
        self.assertEqual(self.q.inspect(['a'])[0].expires, 8_500)
        self.take_one('a')
        self.tick(10_000)
        self.assertEqual(self.q.inspect(['a'])[0].expires, 0)

    def test_expires_nonsense(self) -> None:
        """A span cannot be negative."""
        with self.assertRaises(ValueError):
            self.q.put([message('a', expires=-1)])

    def test_released_and_met_at_once(self) -> None:
        """A task given back too late, and met by the next outcome of the same call, is over
        and stands in no list."""
        self.put(message('a', expires=500), message('b'))
        a, b = self.take(2)
        self.advance(600)
        eq = self.assertEqual
        eq(self.settle(outcome(a, 'release'),
                       outcome(b, 'delegate', target=Argument('a', ''))), ['ok', 'ok'])
        eq(self.status('a', 'b'), ['completed', 'completed'])
        eq((self.q.audit(), self.take(5)), ([], []))
