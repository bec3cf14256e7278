"""Seals of edges: kept, and told with the outcomes that came along them."""
from __future__ import annotations

from test.queue.contract import Contract, message, nonce, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Hop, Message, path, unpack


class Seals(Contract):

    def path_of(self, id: str) -> list[Hop]:
        raw, = self.q.results([id])
        assert raw is not None
        return path(raw)

    def hop(self, one: Message, seal: bytes) -> Hop:
        return Hop(one.id, one.nonce, seal)

    def returns(self, id: str, target: str, seal: bytes = b'seal', life: str = '') -> Delivery:
        """Take the task, which must be next, and let it return another."""
        delivery = self.take_one(id)
        it = outcome(delivery, 'delegate', seal, target=Argument(target, life))
        self.assertEqual(self.settle(it), ['ok'])
        return delivery

    def fails(self, id: str) -> None:
        self.complete(id, b'because', 'failure')

    def sealed_chain(self, n: int, word: str = 'value') -> list[Message]:
        """Tasks t0, t1, ... each of which returns the next; the last one ends."""
        made = [message(f't{i}') for i in range(n)]
        self.put(*made)
        deliveries = self.take(n)
        self.assertEqual(self.settle(*(
            outcome(d, 'delegate', b'seal of ' + d.id.encode(), target=Argument(f't{i}', ''))
            for i, d in enumerate(deliveries[:-1], 1))), ['ok'] * (n - 1))
        self.assertEqual(self.settle(outcome(deliveries[-1], word, b'x')), ['ok'])
        self.tick()
        return made

    def test_seal_of_a_tail_call(self) -> None:
        """A record tells the seal of a tail call, to what is open or done; byte for byte."""
        outer, late, inner = message('öuter'), message('late'), message('ïnner')
        self.put(outer, inner, late)
        self.returns('öuter', 'ïnner', b'\xff:9:seal', inner.nonce)
        self.complete('ïnner', b'1:x')
        raw, = self.q.results(['öuter'])
        self.assertEqual(raw, b'%bV1:%b6:\xc3\xafnner8:\xff:9:seal1:x' % (
            outer.nonce.encode(), inner.nonce.encode()))
        self.assertEqual(unpack(raw), (outer.nonce, b'v', b'1:x', ('ïnner', inner.nonce)))
        self.assertEqual(path(raw), [Hop('ïnner', inner.nonce, b'\xff:9:seal')])
        self.returns('late', 'öuter', b'other')
        self.assertEqual(self.path_of('late'), [
            self.hop(outer, b'other'), self.hop(inner, b'\xff:9:seal')])
        self.assertEqual(self.outcome_of('late'), (b'v', b'1:x'))

    def test_seal_of_an_argument(self) -> None:
        """A record tells the seal of the argument that failed: before or after the put, in an
        earlier message of the same put, or when another argument was open."""
        a, other = message('a'), message('other')
        early = message('early', Argument('other', '', b's0'), Argument('a', a.nonce, b's1'))
        self.put(a, other, early, message('on', Argument('early', '', b's2')),
                 message('plain', 'a'))
        self.fails('a')
        late = message('late', Argument('other', '', b's3'), Argument('a', '', b's4'))
        self.put(late, message('later', Argument('late', '', b's5')))
        here, way = self.hop(a, b's1'), self.hop(early, b's2')
        for id, hops in [
                ('early', [here]), ('on', [way, here]), ('plain', [self.hop(a, b'')]),
                ('late', [self.hop(a, b's4')]),
                ('later', [self.hop(late, b's5'), self.hop(a, b's4')])]:
            self.assertEqual((self.path_of(id), self.outcome_of(id)), (hops, (b'f', b'because')))

    def test_seal_that_is_missing(self) -> None:
        """Without a seal, or behind an edge without one, the origin alone is told."""
        a, b, c = message('a'), message('b', 'a'), message('c', Argument('b', '', b'seal'))
        d = message('d', Argument('c', '', b'seal'))
        e = message('e', Argument('a', '', b'seal'))
        self.put(a, b, c, d, e, message('f', 'e'))
        self.fails('a')
        for id in 'bcd':
            self.assertEqual(self.path_of(id), [self.hop(a, b'')])
        self.assertEqual(self.path_of('e'), self.path_of('f'))   # its origin is 'a' at any rate

    def test_seal_and_verdict(self) -> None:
        """Of what the queue made itself the origin alone is told."""
        a = message('a')
        self.put(a, message('b', Argument('a', '', b's')), message('c', Argument('b', '', b's')))
        self.q.cancel(['a'])
        for id in 'bc':
            self.assertEqual(self.path_of(id), [self.hop(a, b'')])
        self.assertEqual(self.path_of('a'), [])

    def test_seal_behind_a_gate(self) -> None:
        """What is added to a task behind a gate may be sealed too; a gate itself is not."""
        self.q.put([message('gate', flags=base.GATE)])
        a, b, wide, more = message('a'), message('b'), message('wide'), message('more')
        for each in a, b, wide, more:
            self.assertEqual(self.q.put([each], 'gate'), [])
        for one in wide, more:
            self.assertEqual(self.q.edges('gate', one.id, one.nonce, 0, [
                Argument('a', '', b's1'), Argument('b', b.nonce, b's2')]), [])
        self.settle(outcome(Delivery('gate', self.gate_token(), 1, b'', b'')), pool='gate')
        self.complete('a')
        self.fails('b')
        self.assertEqual(self.path_of('wide'), [self.hop(b, b's2')])
        self.q.put([message('gate', flags=base.GATE)])
        late = message('late')
        self.q.put([late], 'gate')
        self.assertEqual(self.q.edges('gate', 'late', late.nonce, 0, [
            Argument('b', b.nonce, b's3')]), [])
        self.assertEqual(self.path_of('late'), [self.hop(b, b's3')])
        held, = self.q.inspect(['gate'])
        assert held is not None
        self.q.put([message('last')], 'gate')
        self.q.cancel(['gate'])
        self.assertEqual(self.path_of('last'), [Hop('gate', held.nonce, b'')])

    def gate_token(self) -> bytes:
        held, = self.q.inspect(['gate'])
        assert held is not None
        return held.nonce.encode() + b'1'

    def test_seals_of_many(self) -> None:
        """A failed task that many wait for tells each its own seal, in bounded steps."""
        a = message('a')
        self.put(a, *(message(f'{n}', Argument('a', '', b'%d' % n)) for n in range(700)))
        self.fails('a')
        self.tick(10 * const.TICK)
        for n in range(0, 700, 99):
            self.assertEqual(self.path_of(f'{n}'), [self.hop(a, b'%d' % n)])

    def test_seals_are_bounded(self) -> None:
        """A failure that came along many edges keeps the nearest, and its origin."""
        ids = [f'c{n}' for n in range(3 * const.LINKS)]
        made = [message(id, *([Argument(before, '', b'to ' + id.encode())] if before else []))
                for before, id in zip(['', *ids], ids)]
        self.put(*made)
        self.fails('c0')
        self.tick()
        for n in range(1, len(ids)):
            way = [self.hop(made[i - 1], b'to c%d' % i) for i in range(n, 0, -1)]
            if n > const.LINKS:
                way = [*way[:const.LINKS - 1], self.hop(made[0], b'')]
            self.assertEqual(self.path_of(ids[n]), way, n)

    def test_seals_of_failed_tail_calls(self) -> None:
        """A failure that came along many tail calls is bounded like that too."""
        made = self.sealed_chain(const.LINKS + 9, 'failure')
        way = [self.hop(one, b'seal of t%d' % n) for n, one in enumerate(made[1:const.LINKS])]
        self.assertEqual(self.path_of('t0'), [*way, self.hop(made[-1], b'')])

    def test_signed_anew(self) -> None:
        """A value that came along many tail calls is brought to a worker, to be signed anew."""
        n = const.LINKS + 1
        made = self.sealed_chain(n + 1)
        self.assertEqual(len(self.path_of('t1')), const.LINKS)
        self.assertEqual(self.status('t0', 't1'), ['enqueued', 'completed'])
        self.assertEqual(self.q.forget(['t1', 't2']), ['pinned', 'forgotten'])
        seen, = self.q.inspect(['t0'])
        assert seen is not None
        self.assertEqual((seen.target, seen.memo, seen.deliveries), ('t1', b'seal of t0', 0))
        raw = self.q.results(['t1'])[0]
        self.put(message('first'))   # which is behind it
        delivery = self.take_one('t0')
        self.assertEqual(delivery, Delivery(
            't0', made[0].nonce.encode() + b'2', 1, made[0].header, made[0].body, (('t1', raw),),
            b'seal of t0', const.TICK))
        self.assertEqual(self.settle(outcome(delivery, data=b'mine')), ['ok'])
        self.assertEqual((self.outcome_of('t0'), self.path_of('t0')), ((b'v', b'mine'), []))
        self.assertEqual(self.q.forget(['t1']), ['forgotten'])
        self.assertEqual(self.q.audit(), [])

    def test_signed_anew_at_once(self) -> None:
        """And so is one that is there already when it is asked for."""
        self.put(message('a'), message('x', 'a'))
        self.complete('a', b'1')
        x = self.take_one('x')
        self.chain_done()
        self.assertEqual(self.settle(
            outcome(x, 'delegate', b'seal', target=Argument('t0', ''))), ['ok'])
        self.assertEqual(self.settle(
            outcome(x, 'delegate', b'seal', target=Argument('t0', ''))), ['again'])
        self.assertEqual(self.status('x'), ['enqueued'])
        delivery = self.take_one('x')
        self.assertEqual([id for id, _ in delivery.arguments], ['a', 't0'])
        self.assertEqual((delivery.memo, delivery.number), (b'seal', 1))
        self.assertEqual(self.settle(outcome(x)), ['stale'])
        self.assertEqual(self.settle(outcome(delivery, data=b'mine')), ['ok'])
        self.assertEqual(self.q.forget(['a', 't0']), ['forgotten', 'forgotten'])

    def chain_done(self) -> None:
        """The value of t0 has come along as many tail calls as a record tells."""
        self.sealed_chain(const.LINKS + 1)
        self.assertEqual(len(self.path_of('t0')), const.LINKS)

    def anew(self, *others: Message, **options: object) -> Delivery:
        """A task 'x' that is being signed anew."""
        self.put(message('x', **options), *others)
        x = self.take_one('x')
        self.chain_done()
        self.settle(outcome(x, 'delegate', b'seal', target=Argument('t0', '')))
        return self.take_one('x')

    def test_signed_anew_is_lost(self) -> None:
        """To sign it may be tried as often as it may be delivered, and then it has expired."""
        delivery = self.anew(max_deliveries=2)
        self.lose()
        again = self.take_one('x')
        self.assertEqual((again.number, again[3:7]), (2, delivery[3:7]))
        self.settle(outcome(again, 'release'))
        again = self.take_one('x')
        self.assertEqual((again.number, again[3:7]), (2, delivery[3:7]))
        self.lose()
        self.assertEqual(self.outcome_of('x')[0], b'x')
        self.assertEqual(self.q.forget(['t0']), ['forgotten'])

    def test_signed_anew_and_cancelled(self) -> None:
        """It may be cancelled and purged meanwhile, and then needs nothing any more."""
        self.anew()
        self.assertEqual(self.q.cancel(['x']), ['cancelled'])
        self.assertEqual(self.q.forget(['t0', 'x']), ['forgotten'] * 2)
        self.settle(outcome(self.anew(), 'release'))
        self.assertEqual(self.q.purge(), 1)
        self.tick()
        self.assertEqual(self.outcome_of('x')[0], b'c')
        self.assertEqual(self.q.forget(['t0']), ['forgotten'])

    def test_signed_anew_in_time(self) -> None:
        """It has begun, so it is never too late to."""
        self.settle(outcome(self.anew(expires=2_000), 'release'))
        self.tick(9_000)
        self.assertEqual(self.status('x'), ['enqueued'])
        self.complete('x', b'mine')

    def test_signed_anew_for_none(self) -> None:
        """Where nothing is kept nothing is signed."""
        self.put(message('x', flags=base.IGNORE_RESULT), message('y'))
        x, y = self.take(2)
        self.chain_done()
        for one, seal in [(x, b'seal'), (y, b'')]:
            self.settle(outcome(one, 'delegate', seal, target=Argument('t0', '')))
        self.assertEqual(self.status('x', 'y'), [None, 'completed'])

    def test_long_seals(self) -> None:
        """A seal has 64 bytes at most."""
        seal = bytes(const.SEAL + 1)
        self.put(message('a'), message('b', Argument('a', '', seal[1:])))
        with self.assertRaises(ValueError):
            self.q.put([message('c', Argument('a', '', seal))])
        with self.assertRaises(ValueError):
            self.q.edges('gate', 'c', nonce(), 0, [Argument('a', '', seal)])
        delivery = self.take_one('a')
        with self.assertRaises(ValueError):
            self.settle(outcome(delivery, 'delegate', seal, target=Argument('b', '')))
        self.settle(outcome(delivery))

    def test_ten_thousand_sealed(self) -> None:
        """Ten thousand tail calls end with the last one's value; no record grows with them."""
        n, ends = 2_000, 0
        ids = [f't{i}' for i in range(n)]
        for start in range(0, n, 1_000):
            self.put(*map(message, ids[start:start + 1_000]))
        for start in range(0, n, 1_000):
            outcomes = [outcome(d, 'delegate', b'seal', target=Argument(next, '')) for d, next in
                        zip(self.take(1_000), [*ids[1:], ''][start:], strict=False)]
            if start + 1_000 == n:
                outcomes[-1] = outcomes[-1]._replace(word='value', data=b'x')
            self.settle(*outcomes)
        while self.q.size():
            self.tick()
            for delivery in self.take(100):
                ends += 1
                (_, raw), = delivery.arguments
                self.settle(outcome(delivery, data=unpack(raw).data))
        self.assertEqual(ends, (n - 2) // (const.LINKS + 1))
        records = [raw or b'' for raw in self.q.results(ids)]
        self.assertEqual({unpack(raw).data for raw in records}, {b'x'})
        self.assertLess(max(map(len, records)), 30 * const.LINKS)
