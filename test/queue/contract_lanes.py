"""The contract of what is ready: in which order it is taken, and who may take it."""
from __future__ import annotations

from test.queue.contract import Contract, message, outcome
from worq import const
from worq.queue import base

__all__ = ['Lanes']


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
