"""The contract of what is ready: in which order it is taken, and who may take it."""
from __future__ import annotations

from typing import Any

from test.queue.contract import Contract, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Message

__all__ = ['Lanes', 'Names']


class Lanes(Contract):
    """What has been begun goes first, and nobody starves."""

    def complete_all(self, *ids: str) -> None:
        self.put(*[message(id, priority=0) for id in ids])
        for id in ids:
            self.complete(id)

    def test_depth_first(self) -> None:
        """What became ready by an argument goes before what never had any, also one whose argument
        was complete when it was put; within each, first in, first out."""
        self.put(message('a'), message('b', 'a'), message('f1'), message('c', 'a'))
        self.complete('a')
        self.put(message('f2'), message('d', 'a'), message('e'), message('high', priority=0),
                 message('low', 'a', priority=2))
        self.assertEqual(self.ids(4), ['high', 'b', 'c', 'd'])
        self.assertEqual(self.ids(), ['f1', 'f2', 'e', 'low'])

    def test_one_at_a_time(self) -> None:
        """The order is the same for who takes few at a time."""
        self.complete_all('x')
        self.put(message('f1'), message('b1', 'x'), message('f2'), message('b2', 'x'))
        self.assertEqual([self.ids(1) for _ in range(4)], [['b1'], ['b2'], ['f1'], ['f2']])

    def test_depth_first_in_a_pipeline(self) -> None:
        """A worker finishes each thing before it begins the next."""
        stages = 3
        for n in range(4):
            self.put(message(f'0.{n}'))
            self.put(*[message(f'{s}.{n}', f'{s - 1}.{n}') for s in range(1, stages)])
        order = []
        while deliveries := self.take(1):
            order += [d.id for d in deliveries]
            self.settle(*map(outcome, deliveries))
        self.assertEqual(order, [f'{s}.{n}' for n in range(4) for s in range(stages)])

    def test_a_fresh_one_is_overtaken_so_often(self) -> None:
        """No more than so many go before the first fresh one, then it goes, and the next waits
        as long; whatever pool takes them, and however many it takes."""
        most = const.OVERTAKEN
        self.complete_all('x')
        self.put(message('f1'), message('f2'))
        self.put(*[message(f'b{n}', 'x') for n in range(3 * most)])
        order = []
        for n in [1, 7, most, 3, 2 * most, 1, 1, most]:
            order += self.ids(n, f'pool {n}')
        begun = [f'b{n}' for n in range(3 * most)]
        self.assertEqual(order, [*begun[:most], 'f1', *begun[most:2 * most], 'f2',
                                 *begun[2 * most:]])

    def test_endless_chain(self) -> None:
        """A chain without an end, each link ready by the one before, starves nothing."""
        self.put(message('c0'))
        self.put(message('fresh'))
        seen: list[str] = []
        for n in range(3 * const.OVERTAKEN):
            self.put(message(f'c{n + 1}', f'c{n}'))
            delivery, = self.take(1)
            seen.append(delivery.id)
            if delivery.id == 'fresh':
                break
            self.settle(outcome(delivery))
        self.assertEqual((seen[-1], len(seen)), ('fresh', const.OVERTAKEN + 2))

    def test_counted_anew(self) -> None:
        """What has overtaken one that is cancelled, or taken, does not count for the next."""
        most = const.OVERTAKEN
        self.complete_all('x')
        self.put(message('f1'), message('f2'), *[message(f'b{n}', 'x') for n in range(2 * most)])
        self.assertEqual(len(self.ids(most - 1)), most - 1)
        self.q.cancel(['f1'])
        self.assertEqual(self.ids(most), [f'b{n}' for n in range(most - 1, 2 * most - 1)])
        self.assertEqual(self.ids(2), ['f2', f'b{2 * most - 1}'])

    def test_over_ones_count_not(self) -> None:
        """A fresh one that is too late to begin is overtaken by nobody, and neither does one of
        the others that is over overtake anybody."""
        most = const.OVERTAKEN
        self.complete_all('x')
        self.put(message('f0', expires=100), *[message(f'b{n}', 'x') for n in range(2 * most)],
                 *[message(f'e{n}', 'x', expires=100) for n in range(3)])
        self.assertEqual(len(self.ids(most - 1)), most - 1)
        self.advance(200)
        self.put(message('f1'))
        self.assertNotIn('f1', self.ids(most))
        self.assertEqual(self.ids(1), ['f1'])
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual(self.q.stats()['expired'], 4)

    def test_back_to_the_front(self) -> None:
        """What was given back goes before all others of its lane."""
        self.complete_all('x')
        self.put(message('f1'), message('f2'))
        f1 = self.take_one('f1')
        self.put(message('b1', 'x'), message('b2', 'x'))
        self.settle(outcome(self.take_one('b1'), 'release'), outcome(f1, 'release'))
        self.assertEqual(self.q.audit(), [])
        ids = ['b1', 'b2', 'f1', 'f2']
        self.assertEqual([one and one.ahead for one in self.q.inspect(ids)], [0, 1, 2, 3])
        self.assertEqual(self.ids(), ids)

    def test_gate_makes_nothing_begun(self) -> None:
        """What a gate held back is fresh; with an argument it is not."""
        gate = message('gate', flags=base.GATE)
        self.put(gate)
        self.complete_all('x')
        self.assertEqual(self.q.put([message('a'), message('b', 'x')], 'gate'), [])
        self.put(message('f'), message('c', 'x'))
        self.q.settle('gate', [base.Outcome('gate', f'{gate.nonce}1'.encode(), 'value', b'')])
        self.assertEqual(self.ids(), ['c', 'b', 'f', 'a'])

    def test_due_and_retried(self) -> None:
        """What becomes due, or is tried again, goes to the back of its lane."""
        self.complete_all('x')
        self.put(message('late', 'x', delay=500), message('f1'), message('soon', delay=500))
        self.settle(outcome(self.take_one('f1'), 'retry'))
        self.put(message('f2'), message('b', 'x'))
        self.tick()
        self.assertEqual(self.ids(), ['b', 'late', 'f1', 'f2', 'soon'])

    def test_ahead(self) -> None:
        """How many go before a task is told by the lanes; counts and purge know all of them."""
        self.complete_all('x')
        self.put(message('f'), message('b', 'x'), message('low', 'x', priority=2),
                 message('high', 'x', priority=0), message('lowest', priority=2))
        ids = ['high', 'b', 'f', 'low', 'lowest']
        seen = self.q.inspect(ids)
        self.assertEqual([one and one.ahead for one in seen], list(range(5)))
        self.q.verify(ids)
        self.assertEqual(self.q.stats()['enqueued'], 5)
        self.q.cancel(['b'])
        self.assertEqual(self.q.stats()['enqueued'], 4)
        self.assertEqual(self.q.audit(), [])
        self.assertEqual((self.q.purge(), self.q.stats()['enqueued'], self.ids()), (4, 0, []))
        self.tick()
        self.assertEqual(self.status(*ids), ['completed'] * 5)


class Names(Contract):
    """A call reaches a pool that knows its name."""

    def named(self, id: str, name: str, *arguments: str, **options: Any) -> Message:
        return message(id, *arguments, header=name.encode(), **options)

    def two(self, **more: str) -> None:
        self.q.join('a', {'tasks': 'a\nboth', **more})
        self.q.join('b', {'tasks': 'b\nboth', **more})

    def test_who_knows_it_gets_it(self) -> None:
        """Each pool gets what it knows, in the order of the lanes, and what it does not know
        neither comes to it nor holds up what is behind it."""
        self.two()
        self.put(*[self.named(f'{n}{name}', name) for n in range(3) for name in ['a', 'b', 'both']])
        self.assertEqual(self.ids(4, 'b'), ['0b', '0both', '1b', '1both'])
        self.assertEqual(self.ids(9, 'a'), ['0a', '1a', '2a', '2both'])
        self.assertEqual((self.ids(9, 'b'), self.ids(9, 'b'), self.ids(9, 'a')), (['2b'], [], []))

    def test_aside_keeps_its_order(self) -> None:
        """What stood aside goes before what is behind it, of several names in the order in which
        they stood; but a higher priority first, and depth first."""
        self.q.join('a', {'tasks': 'a\nx\ny'})
        self.q.join('b', {'tasks': 'b'})
        self.put(self.named('done', 'b'))
        self.settle(*map(outcome, self.take(1, 'b')), pool='b')
        self.put(self.named('1', 'a'), self.named('2', 'x'), self.named('3', 'y'),
                 self.named('4', 'a'), self.named('b', 'b'))
        self.assertEqual(self.ids(9, 'b'), ['b'])
        self.put(self.named('5', 'x'), self.named('deep', 'y', 'done'),
                 self.named('high', 'a', priority=0))
        self.assertEqual([one and one.ahead for one in self.q.inspect(['1', '4', '2'])], [0, 1, 0])
        self.assertEqual(self.q.audit(), [])
        self.q.verify(['1', '2', '3', '4'])
        self.assertEqual(self.ids(3, 'a'), ['high', 'deep', '1'])
        self.assertEqual(self.ids(9, 'a'), ['2', '3', '4', '5'])

    def test_aside_in_each_priority(self) -> None:
        """Each priority has lines of its own."""
        self.two()
        self.put(*[self.named(f'{p}{n}', 'a', priority=p) for p in (2, 0, 1) for n in range(2)])
        self.assertEqual(self.ids(9, 'b'), [])
        self.assertEqual(self.ids(9, 'a'), ['00', '01', '10', '11', '20', '21'])

    def test_too_late_aside(self) -> None:
        """What is too late holds up nothing that is behind it, in the lane or beside it."""
        self.two()
        for took in 'a', 'ba':
            self.q.beat('ticker')
            self.put(self.named('late', 'a', expires=90), self.named(f'in time {took}', 'a'))
            self.assertEqual(self.ids(9, 'b') if took == 'ba' else [], [])
            self.advance(100)
            self.assertEqual(self.ids(1, 'a'), [f'in time {took}'])
            self.assertEqual(self.outcome_of('late')[0], b'x')
            self.q.forget(['late'])

    def test_aside_is_enqueued(self) -> None:
        """What stands aside is counted, cancelled, purged and expires as any that is enqueued."""
        self.two()
        self.put(*[self.named(f'a{n}', 'a') for n in range(4)], self.named('late', 'a', expires=90))
        self.assertEqual(self.ids(9, 'b'), [])
        self.assertEqual((self.q.stats()['enqueued'], self.q.size()), (5, 5))
        self.assertEqual(self.q.cancel(['a1']), ['cancelled'])
        self.advance(100)
        self.assertEqual(self.status('a0'), ['enqueued'])
        self.assertEqual([self.outcome_of(id)[0] for id in ('a1', 'late')], [b'c', b'x'])
        self.assertEqual(self.q.stats()['enqueued'], 3)
        self.assertEqual(self.ids(1, 'a'), ['a0'])
        self.assertEqual((self.q.audit(), self.q.purge()), ([], 2))
        self.assertEqual((self.ids(9, 'a'), self.q.stats()['enqueued']), ([], 0))
        self.put(self.named('a9', 'a'))
        self.assertEqual((self.ids(9, 'b'), self.ids(9, 'a')), ([], ['a9']))
        self.tick()
        self.assertEqual([self.outcome_of(id)[0] for id in ('a2', 'a3')], [b'c'] * 2)

    def test_unknown_waits(self) -> None:
        """What no live pool knows is kept for a time, then anybody gets it, and ends it."""
        self.two(unknown_grace='3000')
        self.put(self.named('x', 'x'), self.named('b', 'b'))
        self.assertEqual((self.ids(9, 'b'), self.ids(9, 'a')), (['b'], []))
        self.tick(2_000)
        self.assertEqual((self.ids(9, 'b'), self.ids(9, 'a')), ([], []))
        self.tick(2_000)
        delivery, = self.take(1, 'a')
        self.assertEqual((delivery.id, delivery.number), ('x', 1))
        unknown = outcome(delivery, 'unknown', b'no such task')
        self.assertEqual(self.settle(unknown, pool='a'), ['ok'])
        self.assertEqual(self.settle(unknown, pool='a'), ['again'])
        self.assertEqual(self.outcome_of('x'), (b'f', b'no such task'))

    def test_one_that_knows_it_comes(self) -> None:
        """A pool that joins in time, or tells that it knows it, gets what waited."""
        self.two()
        self.put(self.named('x', 'x'), self.named('y', 'y'))
        self.assertEqual(self.ids(9, 'b'), [])
        self.tick(3_000)
        self.q.join('c', {'tasks': 'x'})
        self.assertEqual((self.ids(9, 'a'), self.ids(9, 'c')), ([], ['x']))
        self.q.tell('c', {'tasks': 'x\ny'})
        self.assertEqual(self.ids(9, 'c'), ['y'])

    def test_refused(self) -> None:
        """Where all have told the same, or nothing, it is found out by a refusal: it does not
        count, and the time begins with it."""
        for tasks in {}, {'tasks': 'a'}:
            self.q.join('p1', {**tasks, 'unknown_grace': '2000'})
            self.put(self.named('x', 'x', max_deliveries=1))
            unknown = outcome(self.take_one('x'), 'unknown', b'no')
            self.assertEqual(self.settle(unknown), ['aside'])
            self.assertEqual(self.settle(unknown), ['again'])
            self.assertEqual((self.ids(), self.status('x')), ([], ['enqueued']))
            self.tick(3_000)
            delivery = self.take_one('x')
            self.assertEqual(delivery.number, 1)
            self.settle(outcome(delivery, 'unknown', b'no'))
            self.assertEqual(self.outcome_of('x'), (b'f', b'no'))
            self.q.forget(['x'])
            self.q.leave('p1')

    def test_no_time_at_all(self) -> None:
        """With no time to wait the first refusal ends it."""
        self.two(unknown_grace='0')
        self.put(self.named('x', 'x'))
        self.settle(outcome(self.take_one('x', 'a'), 'unknown', b'no'), pool='a')
        self.assertEqual(self.outcome_of('x'), (b'f', b'no'))

    def test_a_worker_does_not_know(self) -> None:
        """What a pool has told that it knows, and one of its workers does not, is tried again."""
        self.two()
        self.put(self.named('a', 'a', max_deliveries=1))
        for _ in range(3):
            self.settle(outcome(self.take_one('a', 'a'), 'unknown', b'no'), pool='a')
            self.assertEqual(self.status('a'), ['scheduled'])
            self.q.beat('b')
            self.q.beat('a')
            self.tick(1_000)
        self.settle(outcome(self.take_one('a', 'a')), pool='a')

    def test_who_knew_it_has_gone(self) -> None:
        """The time begins when the last one that knew it leaves, dies or is silent for long."""
        for end in 'leave', 'abandon', 'silent':
            self.two(unknown_grace='3000')
            self.put(self.named('a', 'a'))
            for _ in range(8):   # longer than the time
                self.assertEqual(self.ids(9, 'b'), [])
                self.q.beat('a')
                self.q.beat('b')
                self.tick(1_000)
            if end == 'leave':
                self.q.leave('a')
            elif end == 'abandon':
                self.q.abandon('a', 'killed')
            seconds = 0
            while not (found := self.take(9, 'b')):
                self.q.beat('b')
                self.tick(1_000)
                seconds += 1
            self.assertEqual(seconds, 18 if end == 'silent' else 4, end)
            self.settle(*map(outcome, found), pool='b')
            self.q.forget(['a'])

    def test_grace_is_a_number(self) -> None:
        """What is no number of ms, or more than any span, is told in vain."""
        self.two(unknown_grace='2000')
        for grace in ['x', '-1', '1e3', '1.5', '\u0663', '', '9' * 16, '9' * 99,
                      str(const.SPAN * 1000 + 1)]:
            self.q.tell('a', {'unknown_grace': grace})
            self.q.join('b', {'tasks': 'b\nboth', 'unknown_grace': grace})
        self.put(self.named('x', 'x'))
        self.assertEqual(self.ids(9, 'a'), [])
        seen, = self.q.inspect(['x'])
        self.assertEqual(seen and seen.grace, 2_000)
        self.q.tell('a', {'unknown_grace': str(const.SPAN * 1000)})

    def test_seen_aside(self) -> None:
        """Of what stands aside it is told for how long, and how long it will if nobody comes."""
        self.two(unknown_grace='3000')
        self.put(self.named('a', 'a'), self.named('x', 'x'))

        def seen() -> list[tuple[int | None, int | None]]:
            return [(one.aside, one.grace) for one in self.q.inspect(['a', 'x']) if one]
        self.assertEqual(seen(), [(None, None)] * 2)
        self.assertEqual(self.ids(9, 'b'), [])
        self.assertEqual(seen(), [(0, None), (0, 3_000)])
        self.tick(1_000)
        self.assertEqual(seen(), [(1_000, None), (1_000, 2_000)])
        self.q.leave('a')
        self.tick(1_000)
        self.assertEqual(seen(), [(2_000, 3_000), (2_000, 1_000)])
        self.tick(1_500)   # x is in its lane again, for anybody
        self.assertEqual(seen(), [(3_500, 1_500), (None, None)])

    def test_since_when_ready(self) -> None:
        """What stands aside keeps the moment at which it became ready, also back in its lane; what
        was given back became so when it was."""
        self.two(unknown_grace='2000')

        def ready(id: str) -> int:
            return next(one.times.ready for one in self.q.inspect([id]) if one)
        self.put(self.named('x', 'x'))
        at = ready('x')
        self.tick(500)
        self.assertEqual((self.ids(9, 'a'), ready('x')), ([], at))
        self.tick(2_500)
        self.assertEqual(ready('x'), at)
        delivery, = self.take(1, 'a')
        self.q.tell('b', {'tasks': 'x'})
        self.assertEqual(self.settle(outcome(delivery, 'unknown'), pool='a'), ['aside'])
        self.assertEqual(ready('x'), at + 3_000)
        self.assertEqual(self.ids(9, 'b'), ['x'])
        self.assertEqual(ready('x'), at + 3_000)
