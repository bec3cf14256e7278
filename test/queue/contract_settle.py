"""The contract of a task queue as tests: what the outcomes of a delivery lead to."""
from __future__ import annotations

from typing import Any

from test.queue.contract import Contract, held, message, nonce, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Held, Lost, Message, Outcome, unpack


class Settle(Contract):

    def test_value(self) -> None:
        """A value completes the task; told again by the same pool it is 'again'."""
        a = message('a')
        self.put(a)
        value = outcome(self.take_one('a'), data=b'x')
        self.assertEqual(self.settle(value), ['ok'])
        self.assertEqual(self.settle(value, value), ['again', 'again'])
        self.assertEqual(self.settle(value._replace(data=b'y')), ['again'])
        self.assertEqual(self.q.results(['a']), [a.nonce.encode() + b'vx'])

    def test_twice_in_one(self) -> None:
        """Of two outcomes for one delivery the first one counts."""
        self.put(message('a'))
        delivery = self.take_one('a')
        words = self.settle(outcome(delivery, data=b'1'), outcome(delivery, 'failure', b'2'))
        self.assertEqual(words, ['ok', 'again'])
        self.assertEqual(self.outcome_of('a'), (b'v', b'1'))

    def test_failure(self) -> None:
        """A failure completes the task, and its dependents in turn."""
        self.put(message('a'), message('b', 'a'), message('p', 'a', flags=base.PASS))
        self.complete('a', b'because', 'failure')
        self.assertEqual(self.status('a', 'b', 'p'), ['completed', 'completed', 'enqueued'])
        self.assertEqual(self.outcome_of('a'), (b'f', b'because'))
        self.assertEqual((self.outcome_of('b'), self.origin_of('b')), ((b'f', b'because'), 'a'))
        self.assertEqual(self.q.stats()['failed'], 2)

    def test_fenced(self) -> None:
        """An outcome with a wrong token, or by another pool, is stale and changes nothing."""
        self.put(message('a'))
        delivery = self.take_one('a')
        other = nonce().encode()
        self.assertEqual(self.settle(outcome(delivery), pool='p2'), ['stale'])
        self.assertEqual(self.settle(outcome(delivery._replace(token=other + b'1'))), ['stale'])
        self.assertEqual(
            self.settle(outcome(delivery._replace(token=delivery.token + b'0'))), ['stale'])
        self.assertEqual(self.status('a'), ['processing'])
        self.assertEqual(self.settle(outcome(delivery)), ['ok'])
        self.assertEqual(self.settle(outcome(delivery), pool='p2'), ['stale'])
        self.assertEqual(self.q.stats()['stale'], 4)

    def test_gone(self) -> None:
        """An outcome of a task that is unknown is gone."""
        self.put(message('a'), message('b', flags=base.IGNORE_RESULT))
        a, b = self.take(2)
        self.assertEqual(self.settle(outcome(a), outcome(b)), ['ok', 'ok'])
        self.q.forget(['a'])
        self.assertEqual(self.settle(outcome(a), outcome(b)), ['gone', 'gone'])

    def test_old_life(self) -> None:
        """An outcome of an old life does not touch the new one."""
        self.put(message('a'))
        old = self.take_one('a')
        self.q.cancel(['a'])
        self.put(message('a'))
        self.assertEqual(self.settle(outcome(old)), ['stale'])
        new = self.take_one('a')
        self.assertEqual(self.settle(outcome(old)), ['stale'])
        self.assertEqual(self.settle(outcome(new)), ['ok'])

    def test_retry(self) -> None:
        """A retry is scheduled, and its deliveries count anew; the epoch goes on."""
        self.put(message('a'))
        self.take_one('a')
        self.lose()
        retry = outcome(self.take_one('a'), 'retry', delay=3_000)
        self.assertEqual(self.settle(retry), ['ok'])
        self.assertEqual(self.settle(retry), ['again'])
        self.assertEqual(self.status('a'), ['scheduled'])
        self.tick(4_000)
        self.assertEqual(self.settle(retry), ['again'])
        delivery = self.take_one('a')
        self.assertEqual((delivery.number, delivery.token[const.NONCE:]), (1, b'3'))
        self.assertEqual(self.settle(retry), ['stale'])

    def test_retry_at_once(self) -> None:
        """A retry without a delay goes to the back."""
        self.put(message('a'), message('b'))
        self.settle(outcome(self.take_one('a'), 'retry'))
        self.assertEqual(self.ids(), ['b', 'a'])

    def test_release(self) -> None:
        """Released tasks are at the front again in their order, and this did not count."""
        self.put(*[message(f'a{i}') for i in range(4)], message('high', priority=0))
        self.take_one('high')
        taken = self.take(3)
        releases = [outcome(d, 'release') for d in taken]
        self.assertEqual(self.settle(*releases), ['ok'] * 3)
        self.assertEqual(self.settle(*releases), ['again'] * 3)
        again = self.take(9)
        self.assertEqual([(d.id, d.number) for d in again],
                         [('a0', 1), ('a1', 1), ('a2', 1), ('a3', 1)])
        self.assertEqual(again[0].token[const.NONCE:], b'2')
        self.assertEqual(self.settle(*releases), ['stale'] * 3)

    def test_lost(self) -> None:
        """A worker that died: at the front, then scheduled, then expired with the cause."""
        self.put(message('a'), message('b', priority=2))
        for state in ['enqueued', 'scheduled', 'completed']:
            lost = outcome(self.take_one('a'), 'lost', b'killed by signal 11')
            self.assertEqual(self.settle(lost), ['ok'])
            self.assertEqual(self.settle(lost), ['again'])
            self.assertEqual(self.status('a'), [state])
            self.tick(2 * const.TICK)
            self.assertEqual(self.settle(lost), ['again'])
        self.assertEqual(self.outcome_of('a'),
                         (b'x', b'mod.func\nkilled by signal 11 (delivery 3 of 3)'))

    def test_expire(self) -> None:
        """A task without an outcome has expired at once, whatever deliveries are left."""
        self.put(message('a', header=b'mod.f\nlease 9000'), message('b', 'a'),
                 message('i', flags=base.IGNORE_RESULT))
        ends = outcome(self.take_one('a'), 'expire', b'its result is too long \xff')
        self.assertEqual(self.settle(ends), ['ok'])
        self.assertEqual(self.settle(ends), ['again'])
        self.assertEqual(self.status('a', 'b'), ['completed', 'completed'])
        for id in 'a', 'b':
            kind, data = self.outcome_of(id)
            self.assertEqual(kind, b'x')
            self.assertTrue(data.startswith(b'mod.f\nits result is too long '), data)
        self.assertEqual(self.settle(outcome(self.take_one('i'), 'expire', b'x')), ['ok'])
        self.assertEqual(self.status('i'), [None])
        stats = self.q.stats()
        self.assertEqual((stats['expired'], stats['redelivered']), (3, 0))

    def test_lost_in_order(self) -> None:
        """What was lost for the first time stands before what was not taken, in its order."""
        self.put(*[message(f'a{i}') for i in range(4)])
        self.settle(*[outcome(d, word) for d, word in
                      zip(self.take(3), ['lost', 'release', 'lost'], strict=True)])
        self.assertEqual(self.ids(), ['a0', 'a1', 'a2', 'a3'])

    def test_refuse(self) -> None:
        """A refused task waits for another pool, if one is alive and deliveries are left."""
        info = {'host': 'h', 'pid': '1'}
        self.q.join('p1', info)
        self.put(message('alone'))
        self.complete('alone', b'no such task', 'refuse')
        self.assertEqual(self.outcome_of('alone'), (b'f', b'no such task'))

        self.q.join('p2', info)
        self.put(message('a'))
        for number in [1, 2]:
            delivery = self.take_one('a')
            self.assertEqual(delivery.number, number)
            refuse = outcome(delivery, 'refuse', b'no such task')
            self.assertEqual(self.settle(refuse), ['ok'])
            self.assertEqual(self.settle(refuse), ['again'])
            self.assertEqual(self.status('a'), ['scheduled'])
            self.tick(2 * const.TICK)
        self.complete('a', b'no such task', 'refuse')
        self.assertEqual(self.outcome_of('a'), (b'f', b'no such task'))

    def test_refuse_with_dead_pool(self) -> None:
        """A pool that has been silent for 15 seconds does not count as another pool."""
        self.q.join('p2', {})
        self.tick(16_000)
        self.put(message('a'))
        self.complete('a', b'no such task', 'refuse')
        self.assertEqual(self.status('a'), ['completed'])
        self.q.beat('p2')
        self.put(message('b'))
        self.complete('b', b'no such task', 'refuse')
        self.assertEqual(self.status('b'), ['scheduled'])

    def test_nonsense(self) -> None:
        """What no pool should send raises ValueError."""
        self.put(message('a'))
        delivery = self.take_one('a')
        for wrong in [outcome(delivery, 'nonsense'), outcome(delivery, 'delegate')]:
            with self.assertRaises(ValueError):
                self.settle(outcome(delivery), wrong)
        self.assertEqual(self.status('a'), ['processing'])

    def test_turn(self) -> None:
        """A turn settles, beats and takes, in this order."""
        self.put(message('a'), message('b', 'a'), message('c'), message('d'))
        a, c = self.take(2)
        turn = self.q.turn('p1', [outcome(a, data=b'x')], [*held(c), Held('x', a.token)], 2)
        self.assertEqual(turn.settled, ['ok'])
        self.assertEqual(turn.lost, [Lost('x', a.token, 'cancelled')])
        self.assertEqual([d.id for d in turn.deliveries], ['b', 'd'])
        self.assertEqual(unpack(turn.deliveries[0].arguments[0][1]).data, b'x')
        self.assertEqual(self.q.turn('p1'), base.Turn([], [], []))

    def test_turn_gets_what_it_gives(self) -> None:
        """A turn that releases may take the same task again."""
        self.put(message('a'), message('b'))
        turn = self.q.turn('p1', [outcome(self.take_one('a'), 'release')], limit=1)
        self.assertEqual([(d.id, d.number) for d in turn.deliveries], [('a', 1)])


class Delegate(Contract):

    def delegate(self, id: str, target: str, life: str = '') -> Outcome:
        delivery = self.take_one(id)
        it = outcome(delivery, 'delegate', target=Argument(target, life))
        self.assertEqual(self.settle(it), ['ok'])
        return it

    def test_delegate(self) -> None:
        """A tail call is pending until its target completes, and then has its outcome."""
        inner = message('inner')
        self.put(message('outer'), message('after', 'outer'), inner)
        it = self.delegate('outer', 'inner', inner.nonce)
        self.assertEqual(self.status('outer', 'after'), ['pending', 'pending'])
        self.assertEqual(self.settle(it), ['again'])
        self.complete('inner', b'x')
        self.assertEqual(self.status('outer', 'after'), ['completed', 'enqueued'])
        self.assertEqual((self.outcome_of('outer'), self.origin_of('outer')),
                         ((b'v', b'x'), 'inner'))
        self.assertEqual(self.settle(it), ['again'])
        (_, raw), = self.take_one('after').arguments
        self.assertEqual(unpack(raw).data, b'x')
        self.assertEqual(self.q.forget(['inner']), ['forgotten'])

    def test_delegate_chain(self) -> None:
        """A tail call of a tail call ends with the first origin named."""
        self.put(message('o1'), message('o2'), message('i'))
        self.delegate('o1', 'o2')
        self.delegate('o2', 'i')
        self.complete('i', b'because', 'failure')
        for id in ['o1', 'o2']:
            self.assertEqual((self.outcome_of(id), self.origin_of(id)),
                             ((b'f', b'because'), 'i'))

    def test_delegate_to_completed(self) -> None:
        """A tail call to what has completed is completed at once."""
        self.put(message('i'), message('o'))
        self.complete('i', b'x')
        self.delegate('o', 'i')
        self.assertEqual((self.outcome_of('o'), self.origin_of('o')), ((b'v', b'x'), 'i'))

    def test_delegate_to_unknown(self) -> None:
        """A tail call to what is unknown, of another life or without a result, expires."""
        self.put(message('o1'), message('o2'), message('o3'),
                 message('i'), message('ignored', flags=base.IGNORE_RESULT))
        self.delegate('o1', 'none')
        self.delegate('o2', 'i', nonce())
        self.delegate('o3', 'ignored')
        for id in ['o1', 'o2', 'o3']:
            self.assertEqual(self.outcome_of(id),
                             (b'x', b'mod.func\nthe Deferred it returned is unknown'))

    def test_delegate_to_itself(self) -> None:
        """A tail call that would wait for itself expires: directly, by arguments, by calls."""
        why = (b'x', b'mod.func\nit returned a Deferred that waits for itself')
        self.put(message('o'))
        self.delegate('o', 'o')
        self.assertEqual(self.outcome_of('o'), why)
        self.put(message('a'), message('b', 'a'), message('c', 'b'), message('o2'))
        self.delegate('a', 'c')
        self.assertEqual(self.outcome_of('a'), why)
        self.assertEqual(self.outcome_of('c'), why)
        self.put(message('o3'))
        self.delegate('o2', 'o3')
        self.delegate('o3', 'o2')
        self.assertEqual((self.outcome_of('o3'), self.outcome_of('o2')), (why, why))

    def test_delegate_to_itself_after_a_purge(self) -> None:
        """A task that was taken before a purge leaves nothing behind when it waits for itself."""
        self.put(message('o'))
        delivery = self.take_one('o')
        self.put(message('purged'))
        self.assertEqual(self.q.purge(), 1)
        self.put(message('waits', 'o'))
        self.settle(outcome(delivery, 'delegate', target=Argument('waits', '')))
        why = (b'x', b'mod.func\nit returned a Deferred that waits for itself')
        self.assertEqual((self.outcome_of('o'), self.outcome_of('waits')), (why, why))
        self.assertEqual(self.q.audit(), [])

    def test_delegate_in_a_wide_circle(self) -> None:
        """A circle of thousands of tail calls is seen, and all of it expires."""
        self.chain(4_000, back=True)
        for id in ['t0', 't2000', 't3999']:
            self.assertEqual(self.outcome_of(id), (
                b'x', b'mod.func\nit returned a Deferred that waits for itself'))

    def wide(self, close: bool) -> None:
        """A tail call to something wide, and much waits for the one that makes it."""
        self.put(message('o'), message('n', delay=9_000_000))
        for name in 'abcd':   # each is long before the other ends, in either direction
            self.put(*(message(f'{name}{n}', 'o' if name in 'ab' else 'n') for n in range(400)))
        self.put(message('middle', *(f'c{n}' for n in range(400)), *['o'] * close))
        self.put(message('target', *(f'd{n}' for n in range(400)), 'middle'))
        self.delegate('o', 'target')
        self.drain()

    def test_delegate_in_a_long_circle(self) -> None:
        """A circle is seen also where it takes many steps to search for it."""
        self.wide(close=True)
        why = (b'x', b'mod.func\nit returned a Deferred that waits for itself')
        for id in ['o', 'a399', 'middle', 'target']:
            self.assertEqual(self.outcome_of(id), why)
        self.assertEqual(self.status('c0', 'd399'), ['pending', 'pending'])
        self.assertEqual(self.q.cancel(['n']), ['cancelled'])

    def test_delegate_in_no_circle(self) -> None:
        """Where there is none, it waits, however long the search is."""
        self.wide(close=False)
        self.assertEqual(self.status('o', 'a399', 'target'), ['pending'] * 3)
        self.assertEqual(self.q.cancel(['n']), ['cancelled'])
        self.drain()
        self.assertEqual([self.outcome_of(id)[0] for id in ['o', 'a399', 'target']], [b'c'] * 3)

    def test_delegate_ends_while_searched(self) -> None:
        """A tail call that ends before the search for it does ends as it should; and the search
        for the next one begins anew."""
        self.put(message('o2'), message('after', 'o2'))
        delivery = self.take_one('o2')
        self.wide(close=False)
        self.q.cancel(['o'])
        self.settle(outcome(delivery, 'delegate', target=Argument('a0', '')))
        self.drain()
        for id in ['o', 'a399', 'o2', 'after']:
            self.assertEqual(self.outcome_of(id)[0], b'c')
        self.q.cancel(['n'])

    def test_wide_failure(self) -> None:
        """A failure reaches all that depend on it, however many they are; so does a cancel."""
        for id in 'ab':
            self.put(message(id))
            self.put(*(message(f'{id}{n}', id) for n in range(150)))
            self.put(*(message(f'{id}{id}{n}', id, f'{id}{n}') for n in range(120)))
            self.put(message(f'p{id}', id, flags=base.PASS))
        self.complete('a', b'because', 'failure')
        self.q.cancel(['b'])
        self.drain()
        self.assertEqual(self.status('pa', 'pb'), ['enqueued'] * 2)
        self.assertEqual(self.q.size(), 2)
        self.assertEqual([self.outcome_of(id)[0] for id in ['a149', 'aa119', 'b149', 'bb119']],
                         [b'f', b'f', b'c', b'c'])

    def test_delegate_ten_thousand(self) -> None:
        """Ten thousand tail calls, each of the next one, end with the last one's value."""
        self.chain(10_000, back=False)
        for id in ['t0', 't5000', 't9998']:
            self.assertEqual((self.outcome_of(id), self.origin_of(id)), ((b'v', b'x'), 't9999'))

    def chain(self, n: int, back: bool) -> None:
        """Tasks of which each one returns the next; the last one a value, or the first."""
        ids = [f't{i}' for i in range(n)]
        for start in range(0, n, 1_000):
            self.put(*map(message, ids[start:start + 1_000]))
        for start in range(0, n, 1_000):
            outcomes = [outcome(d, 'delegate', target=Argument(next, '')) for d, next in
                        zip(self.take(1_000), [*ids[1:], ids[0]][start:], strict=False)]
            if start + 1_000 == n and not back:
                outcomes[-1] = outcomes[-1]._replace(word='value', data=b'x')
            self.assertEqual(self.settle(*outcomes), ['ok'] * len(outcomes))
        self.tick(2 * n // const.BUDGET * const.TICK)
        self.assertEqual(self.q.size(), 0)

    def kept(self, outer: Message, inner: Message, life: str | None = None,
             first: bool = False) -> bool:
        """Whether the outcome of `inner` stays for longer than that of `outer`, which returns it.

        :param first: it has completed before.
        """
        self.put(outer._replace(priority=0))
        delivery = self.take_one(outer.id)
        self.put(inner)
        if first:
            self.complete(inner.id, b'x')
        target = Argument(inner.id, inner.nonce if life is None else life)
        self.assertEqual(self.settle(outcome(delivery, 'delegate', target=target)), ['ok'])
        if not first:
            self.complete(inner.id, b'x')
        if not outer.flags:
            self.assertEqual(self.outcome_of(outer.id), (b'v', b'x'))
        self.tick(2_500)
        self.assertEqual(self.q.results([outer.id]), [None])
        return self.q.results([inner.id]) != [None]

    def test_delegate_keeps_as_long(self) -> None:
        """What a task has made to return it is kept no longer than what it comes to, if no
        time was asked for."""
        def inner(**options: Any) -> Message:
            life = nonce()
            return message(life, nonce=life, priority=0, **options)
        for first in False, True:
            brief, none = {'ttl': 1_500}, {'flags': base.IGNORE_RESULT}
            self.assertFalse(self.kept(message('o', **brief), inner(), first=first))
            self.assertFalse(self.kept(message('i', **none), inner(), first=first))
            self.assertTrue(self.kept(message('o', **brief), inner(ttl=9_000), first=first))
            self.assertTrue(self.kept(message('o', **brief), inner(), '', first=first))
            self.assertTrue(self.kept(message('o', **brief),
                                      message(f'own {first}', priority=0), first=first))

    def test_delegate_keeps_for_others(self) -> None:
        """But it is kept for whoever has asked for it as well."""
        for n, ask in enumerate([
                lambda id: self.put(message('after', id)),
                lambda id: self.assertEqual(self.q.watch('c', [id]), []),
                lambda id: self.delegate('other', id)]):
            self.put(message('o', ttl=1_000), message('other', ttl=900_000))
            delivery = self.take_one('o')
            life = nonce()
            self.put(message(life, nonce=life))
            ask(life)
            self.settle(outcome(delivery, 'delegate', target=Argument(life, life)))
            while taken := self.take(9):
                self.settle(*map(outcome, taken))
            self.tick(2_500)
            self.assertNotEqual(self.q.results([life]), [None], n)
            self.assertEqual(self.q.results(['o']), [None])
            self.q.forget(['other', 'after'])

    def test_delegate_chain_keeps_as_long(self) -> None:
        """So it is along a chain, whichever tail call is told first."""
        for order in [0, 1, 2], [2, 1, 0], [1, 2, 0]:
            ids = [nonce() for _ in range(4)]
            taken = []
            for id in ids:
                self.put(message(id, nonce=id, ttl=1_000 if id == ids[0] else 3_600_000))
                taken.append(self.take_one(id))
            for n in order:
                self.settle(outcome(taken[n], 'delegate', target=Argument(ids[n + 1], ids[n + 1])))
            self.settle(outcome(taken[3]))
            self.assertNotIn(None, self.q.results(ids))
            self.tick(2_500)
            self.assertEqual(self.q.results(ids), [None] * 4)

    def test_delegate_and_cancel(self) -> None:
        """A tail call may be cancelled, and so may its target."""
        self.put(message('o1'), message('o2'), message('i'))
        self.delegate('o1', 'i')
        self.delegate('o2', 'i')
        self.assertEqual(self.q.cancel(['o1']), ['cancelled'])
        self.assertEqual(self.q.cancel(['i']), ['cancelled'])
        self.assertEqual((self.outcome_of('o1')[0], self.origin_of('o1')), (b'c', None))
        self.assertEqual((self.outcome_of('o2')[0], self.origin_of('o2')), (b'c', 'i'))

    def test_fails_after_it_was_let_go(self) -> None:
        """A task that got a value, lost its only dependent and then fails, all by outcomes of one
        step, ends when its time is over."""
        self.put(message('a'), message('b'), message('c'), message('fails', 'a', 'c'),
                 message('dependent', 'b', 'fails'))
        a, b, c = self.q.take('p1', 3)
        self.settle(outcome(a), outcome(b, 'failure', b'no'), outcome(c, 'failure', b'no'))
        self.drain()
        self.assertEqual(self.q.status(['fails', 'dependent']), ['failed', 'failed'])
        self.assertEqual(self.q.audit(), [])

    def test_settle_nothing(self) -> None:
        """To settle nothing changes nothing, also if there is work left over."""
        self.put(message('a', expires=700), message('b', 'a'))
        self.advance(1_100)
        self.q.status(['a'])   # this ends it, and leaves to others what follows
        before = self.q.stats()
        self.assertEqual((before['expired'], before['pending']), (1, 1))
        self.assertEqual(self.q.settle('p1', []), [])
        self.assertEqual(self.q.stats(), before)
