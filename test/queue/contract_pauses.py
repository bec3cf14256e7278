"""The contract of pauses: what is paused stands aside until it is resumed."""
from __future__ import annotations

from typing import Any

from test.queue.contract import Contract, held, message, outcome
from worq import const
from worq.queue.base import Message, Note

__all__ = ['Pauses']


class Pauses(Contract):

    def named(self, id: str, name: str, *arguments: str, **options: Any) -> Message:
        return message(id, *arguments, header=name.encode(), **options)

    def paused(self, *patterns: str) -> None:
        """Have these be paused, and nothing else."""
        value = ''.join(f'{pattern}\t1\tann\n' for pattern in patterns).encode()
        self.assertEqual(self.q.note(const.PAUSES, value), value)

    def join(self, *pools: str, tasks: str = 'a\na.x\na.y\nb') -> None:
        for pool in pools:
            self.q.join(pool, {'tasks': tasks, 'unknown_grace': '3000'})

    def test_paused_names(self) -> None:
        """What is paused is not taken, also by pools that have told nothing; all else is, and in
        the end what was paused is, before all that came later."""
        for tasks in 'a\na.x\na.y\nb', '':
            self.join('p1', 'p2', tasks=tasks)
            self.paused('a.*')
            self.put(self.named('1', 'a.x'), self.named('2', 'b'), self.named('3', 'a.y'),
                     self.named('4', 'a'), self.named('5', 'a.x'))
            self.assertEqual(self.ids(), ['2', '4'])
            self.put(self.named('6', 'a.y'), self.named('7', 'b'))
            self.assertEqual(self.ids(9, 'p2'), ['7'])
            self.assertEqual((self.q.stats()['enqueued'], self.q.audit()), (4, []))
            self.paused('a.y')
            self.put(self.named('8', 'b'))
            self.assertEqual(self.ids(), ['1', '5', '8'])
            self.paused()
            self.put(self.named('9', 'b'))
            self.assertEqual(self.ids(), ['3', '6', '9'])
            for pool in 'p1', 'p2':
                self.q.reconcile(pool, [])
            self.q.purge()
            self.drain()
            self.q.forget([str(n) for n in range(1, 10)])

    def test_the_whole_queue(self) -> None:
        """While the whole queue is paused nothing is taken, and all stays in its order."""
        self.put(self.named('1', 'a'), self.named('2', 'b'), self.named('high', 'a', priority=0))
        self.paused('*')
        self.assertEqual((self.ids(), self.take(1, timeout=0.01)), ([], []))
        self.assertEqual(self.q.turn('p1', limit=9).deliveries, [])
        self.tick(3_000)
        self.assertEqual((self.ids(), self.q.stats()['enqueued'], self.q.audit()), ([], 3, []))
        self.paused('b')
        self.assertEqual(self.ids(), ['high', '1'])
        self.paused()
        self.assertEqual(self.ids(), ['2'])

    def test_what_runs_goes_on(self) -> None:
        """What is being processed is renewed and settled as ever; what it releases, loses or tries
        again, and what depends on it, waits."""
        self.put(*[self.named(f'{n}', 'a') for n in range(4)], self.named('after', 'a', '0'))
        found = self.take(4)
        self.paused('a')
        self.assertEqual(self.q.beat('p1', held(*found)), [])
        words = ['value', 'release', 'lost', 'retry']
        self.assertEqual(self.settle(*[outcome(d, w) for d, w in zip(found, words)]), ['ok'] * 4)
        self.assertEqual((self.ids(), self.status('after', '1', '2', '3')), ([], ['enqueued'] * 4))
        self.paused()
        self.assertEqual(sorted(self.ids()), ['1', '2', '3', 'after'])

    def test_no_grace_runs(self) -> None:
        """What no pool knows waits for the whole grace once it is resumed."""
        self.join('p1')
        self.join('p2', tasks='c')
        self.put(self.named('x', 'x'))
        self.assertEqual(self.ids(), [])

        def grace() -> int | None:
            seen, = self.q.inspect(['x'])
            return seen and seen.grace
        self.tick(2_000)
        self.assertEqual(grace(), 1_000)
        self.paused('x')
        self.assertEqual(grace(), None)
        self.put(self.named('y', 'x'))
        for _ in range(9):
            self.assertEqual(self.ids(), [])
            self.q.beat('p1')
            self.tick(1_000)
        self.paused()
        self.tick(1_000)
        self.assertEqual((self.ids(), grace()), ([], 3_000))
        self.tick(2_000)
        self.assertEqual(self.ids(), [])
        self.tick(1_000)
        self.assertEqual(self.ids(), ['x', 'y'])

    def test_in_vain_and_paused(self) -> None:
        """What has waited for its grace, and is paused before anybody has taken it, waits anew."""
        self.join('p1')
        self.join('p2', tasks='c')
        self.put(self.named('x', 'x'))
        self.assertEqual(self.ids(), [])
        self.tick(4_000)
        self.paused('x')
        self.assertEqual(self.ids(), [])
        self.paused()
        self.tick(1_000)
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.q.audit(), [])
        self.tick(3_000)
        delivery = self.take_one('x')
        self.assertEqual(self.settle(outcome(delivery, 'unknown', b'no')), ['ok'])

    def test_refused_while_paused(self) -> None:
        """What a pool gives back, since it does not know it, waits until it is resumed."""
        self.put(self.named('x', 'x'))
        delivery = self.take_one('x')
        self.paused('x')
        self.assertEqual(self.settle(outcome(delivery, 'unknown', b'no')), ['aside'])
        self.tick(9_000)
        self.assertEqual((self.ids(), self.status('x')), ([], ['enqueued']))
        self.paused()
        self.assertEqual(self.ids(), ['x'])

    def test_counted_as_enqueued(self) -> None:
        """It is cancelled, expires and is purged as any that is enqueued; and scheduled ones become
        due."""
        self.paused('a', 'b')
        self.put(self.named('1', 'a'), self.named('2', 'a'), self.named('3', 'a'),
                 self.named('late', 'a', expires=1_500), self.named('due', 'b', delay=1_500))
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.q.cancel(['1']), ['cancelled'])
        self.tick(2_000)
        self.assertEqual(self.status('due', 'late'), ['enqueued', 'completed'])
        self.assertEqual((self.ids(), self.q.stats()['enqueued'], self.q.audit()), ([], 3, []))
        seen, = self.q.inspect(['2'])
        self.assertEqual(seen and seen.aside, 2_000)
        self.assertEqual(self.q.purge(), 3)
        self.paused()
        self.assertEqual(self.ids(), [])

    def test_resumed_for_those_that_know_it(self) -> None:
        """It is taken by those that know it, and by no other, once it is resumed."""
        self.join('p1')
        self.join('p2', tasks='c')
        self.paused('a.x', 'c')
        self.put(self.named('1', 'a.x'), self.named('2', 'c'))
        self.assertEqual(self.ids() + self.ids(9, 'p2'), [])
        self.paused()
        self.assertEqual((self.ids(9, 'p2'), self.ids()), (['2'], ['1']))

    def test_resumed_depth_first(self) -> None:
        """Priorities, and what has arguments, go first when it is resumed."""
        self.put(self.named('0', 'a'))
        self.complete('0')
        self.paused('a')
        self.put(self.named('1', 'a'), self.named('low', 'a', '0', priority=2),
                 self.named('deep', 'a', '0'), self.named('high', 'a', priority=0))
        self.assertEqual(self.ids(), [])
        self.paused()
        self.assertEqual(self.ids(), ['high', 'deep', '1', 'low'])

    def test_with_a_put(self) -> None:
        """A put may pause what it puts, in one step."""
        self.assertEqual(self.q.put([self.named('1', 'a')], '', '',
                                    Note(const.PAUSES, b'a\t1\t\n', b'')), [])
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.q.put([self.named('2', 'a')], '', '',
                                    Note(const.PAUSES, b'', b'a\t1\t\n')), [])
        self.assertEqual(self.ids(), ['1', '2'])

    def test_what_makes_no_sense(self) -> None:
        """A line of another form is passed over, and a star pauses nothing but at its end."""
        self.put(self.named('1', 'a'), self.named('2', 'b'), self.named('3', 'c.d'))
        for value in [b'a', b'a\nb\n', b'\n\n\ta', b'\xff\xfe\0\t', b'*a\t\n', b'c*\t\n',
                      b'.*\t\n', b'**\t\n', b'%w\t', b'c.d.*\t\n', b'c.d.\t', b' a\t']:
            self.q.note(const.PAUSES, value)
            found = self.take(9)
            self.assertEqual(sorted(d.id for d in found), ['1', '2', '3'], value)
            self.settle(*[outcome(d, 'release') for d in found])
        self.q.note(const.PAUSES, b'x\n\tno\na\tb\tc\td\nb\t')
        self.assertEqual(self.ids(), ['3'])

    def test_many_are_paused(self) -> None:
        """What stands behind more than one step may look at is reached."""
        self.paused('a')
        many = [self.named(f'{n}', 'a') for n in range(const.BUDGET + 10)]
        self.put(*many, self.named('b', 'b'))
        found: list[str] = []
        for _ in range(9):
            found += self.ids()
        self.assertEqual(found, ['b'])
        self.paused()
        found = []
        while some := self.ids(50):
            found += some
        self.assertEqual(found, [one.id for one in many])
