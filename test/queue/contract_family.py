"""The contract of a task queue as tests: the graph around a task."""
from __future__ import annotations

from test.queue.contract import held, message, outcome
from test.queue.contract_scan import Scan
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Node, Revival


class Family(Scan):
    """What people see: pages of tasks, and the graph around one."""

    def relatives(self, id: str, *bounds: int) -> dict[str, Node]:
        found = self.q.family(id, *bounds)
        self.assertEqual(len({node.id for node in found}), len(found))
        levels = [abs(node.level) for node in found]
        self.assertEqual(levels, sorted(levels))
        return {node.id: node for node in found}

    def kin(self, id: str, *bounds: int) -> dict[str, tuple[str, str]]:
        """By id: its arguments, its dependents."""
        return {id: (' '.join(node.arguments), ' '.join(node.dependents))
                for id, node in self.relatives(id, *bounds).items()}

    def diamond(self) -> None:
        self.put(message('a'), message('b', 'a'), message('c', 'a'), message('d', 'b', 'c'),
                 message('e', 'd'))

    def test_levels(self) -> None:
        """What a task waits for, and what waits for it, so many levels of each."""
        self.diamond()
        eq = self.assertEqual
        told = {'a': ('', 'b c'), 'b': ('a', 'd'), 'c': ('a', 'd'), 'd': ('b c', 'e'),
                'e': ('d', '')}
        eq({id: node.level for id, node in self.relatives('d').items()},
           {'d': 0, 'b': -1, 'c': -1, 'e': 1, 'a': -2})
        eq(self.kin('d'), told)
        eq(self.kin('a'), told)
        eq([*self.kin('a', 0, 1)], ['a', 'b', 'c'])
        eq([*self.kin('d', 1, 0)], ['d', 'b', 'c'])
        eq([*self.kin('b', 3, 3)], ['b', 'a', 'd', 'e'])   # not what else waits for a
        eq([*self.kin('d', 9, 9, 3)], ['d', 'b', 'c'])
        eq([(node.id, node.level) for node in self.q.family('b', 1, 0, 9, ['e', 'none', 'b'])],
           [('b', 0), ('e', 0), ('a', -1), ('d', -1)])
        eq([node.id for node in self.q.family('none', 0, 0, 2, ['c', 'a', 'b'])], ['c', 'a'])
        eq(self.q.family('none'), [])
        for wrong in [(-1, 0, 9), (0, -1, 9), (0, 0, 0), (0, 0, const.NODES + 1)]:
            with self.assertRaises(ValueError):
                self.q.family('a', *wrong)
        with self.assertRaises(ValueError):
            self.q.family('a', 0, 0, 9, ['b'] * (const.NODES + 1))

    def test_nodes(self) -> None:
        """A node tells what it is, and how many edges it has."""
        one = message('a', header=b'x.y\nmore')
        self.put(one, message('b', 'a'))
        delivery = self.take_one('a')
        self.q.beat('p1', held(delivery, progress=b'half'))
        start = self.q.inspect(['a'])[0].times.put   # type: ignore[union-attr]
        node = self.relatives('a')['a']
        self.assertEqual(node, Node('a', one.nonce, 'x.y', 'processing', 0, 0, (), '', 1, ('b',),
                                    '', b'half', start, 'p1'))
        self.settle(outcome(delivery, 'failure', b'no'))
        self.assertEqual([(node.id, node.state, node.width, node.arguments, node.fan,
                           node.dependents, node.progress, node.pool)
                          for node in self.q.family('a')],
                         [('a', 'failed', 0, (), 1, ('b',), b'', 'p1'),
                          ('b', 'failed', 1, ('a',), 0, (), b'', '')])
        self.assertEqual([*self.relatives('b')], ['b', 'a'])

    def test_behind_a_result(self) -> None:
        """A graph that is done can be seen as long as it is kept."""
        self.diamond()
        for id in 'abcde':
            self.assertEqual(self.kin('d')['d'], ('b c', 'e'))
            self.complete(id)
        told = {'e': ('d', ''), 'd': ('b c', 'e'), 'b': ('a', 'd'), 'c': ('a', 'd'),
                'a': ('', 'b c')}
        self.assertEqual(self.kin('e'), told)
        self.assertEqual(self.kin('a'), told)
        self.q.forget(['b'])
        self.assertEqual(self.kin('e'), {id: told[id] for id in 'edca'})   # it is named still
        self.put(message('b'))
        self.assertEqual(self.kin('e')['d'], ('c', 'e'))   # that is another one
        self.assertEqual(self.kin('a')['a'], ('', 'c'))
        self.q.forget([*'aced'])

    def test_failed_at_once(self) -> None:
        """What is put with a failed argument tells which one it was."""
        self.put(message('a'))
        self.complete('a', b'no', 'failure')
        self.put(message('b'))
        self.put(message('c', 'b', 'a'), message('d', 'c'))
        self.assertEqual(self.kin('d', 2, 0), {'d': ('c', ''), 'c': ('b a', ''), 'a': ('', ''),
                                               'b': ('', '')})

    def test_run_again(self) -> None:
        """What is run again has forgotten what it was to earlier."""
        self.put(message('a'), message('b', 'a'))
        self.complete('a', b'no', 'failure')
        self.tick(3 * const.TICK)
        self.assertEqual(self.kin('a')['a'], ('', 'b'))
        self.assertEqual(self.q.revive([Revival('a')]), ['revived'])
        self.assertEqual(self.kin('a'), {'a': ('', '')})
        self.complete('a', b'yes')
        self.assertEqual(self.kin('a'), {'a': ('', '')})

    def test_some_of_many(self) -> None:
        """Of many edges the first are told, and how many there are."""
        many = [f'{i}' for i in range(400)]
        self.put(message('root'), *[message(id, 'root') for id in many])
        self.put(message('all', *many))
        nodes = self.relatives('all', 1, 1, 10)
        self.assertEqual((len(nodes), nodes['all'].width), (10, 400))
        self.assertEqual(nodes['all'].arguments, tuple(many[:const.NODES]))
        nodes = self.relatives('root', 0, 9, 300)
        self.assertEqual((len(nodes), nodes['root'].fan), (300, 400))
        self.assertEqual(nodes['root'].dependents, tuple(many[:const.NODES]))
        self.assertLessEqual(sum(len(node.arguments + node.dependents) for node in nodes.values()),
                             const.FAMILY_EDGES + 2 * const.NODES)
        self.complete('root')
        self.tick(3 * const.TICK)
        while (taken := self.take(200)) and taken[0].id != 'all':
            self.settle(*[outcome(one) for one in taken])
            self.tick()
        self.settle(outcome(taken[0]))
        self.tick(3 * const.TICK)
        nodes = self.relatives('all', 2, 0)
        self.assertEqual((nodes['all'].width, nodes['all'].arguments),
                         (400, tuple(many[:const.KIN])))
        self.assertEqual((nodes['root'].fan, nodes['root'].dependents),
                         (400, tuple(many[:const.KIN])))

    def test_tail_call(self) -> None:
        """What a tail call waits for is above it, also when both are over."""
        self.put(message('outer'), message('last', 'outer'))
        delivery = self.take_one('outer')
        self.put(message('inner'))
        self.settle(outcome(delivery, 'delegate', target=Argument('inner', '')))
        for _ in range(2):
            self.assertEqual([(node.id, node.target, node.level) for node in
                              self.q.family('last')],
                             [('last', '', 0), ('outer', 'inner', -1), ('inner', '', -2)])
            self.assertEqual(self.relatives('inner')['inner'].dependents, ('outer',))
            if self.status('inner') == ['enqueued']:
                self.complete('inner', b'x')

    def hands_over(self, id: str, target: str) -> None:
        self.settle(outcome(self.take_one(id), 'delegate', target=Argument(target, '')))

    def test_tail_call_that_ends_at_once(self) -> None:
        """What a tail call was to is named, also if it was over, or closed a circle."""
        self.put(message('done'))
        self.complete('done', b'x')
        self.put(message('late'))
        self.hands_over('late', 'done')
        self.put(message('a'), message('b', 'a'))
        self.hands_over('a', 'b')
        self.put(message('self'))
        self.hands_over('self', 'self')
        self.assertEqual([self.relatives(id)[id].target for id in ('late', 'a', 'self')],
                         ['done', 'b', 'self'])
        self.assertEqual(self.relatives('b')['b'].fan, 0)

    def test_purged_tail_call(self) -> None:
        """A purge writes nothing of what it cancels, so no target is named."""
        self.put(message('outer'))
        delivery = self.take_one('outer')
        self.put(message('inner', delay=60_000))
        self.settle(outcome(delivery, 'delegate', target=Argument('inner', '')))
        self.q.purge()
        self.tick(3 * const.TICK)
        node = self.relatives('outer')['outer']
        self.assertEqual((node.state, node.target), ('cancelled', ''))

    def test_gate_and_ignored(self) -> None:
        """A gate is named; of what ignores its result nothing is left."""
        self.put(message('gate', flags=base.GATE))
        self.put(message('a'))
        self.assertEqual(self.q.put([message('b', 'a', flags=base.IGNORE_RESULT)], 'gate'), [])
        self.assertEqual(self.relatives('b')['b'].gate, 'gate')
        self.assertEqual([*self.relatives('a')], ['a', 'b'])
        self.q.cancel(['gate'])
        self.tick()
        self.assertEqual(self.q.family('b'), [])
        self.assertEqual([*self.relatives('a')], ['a'])
        self.complete('a')

    def test_late(self) -> None:
        """What is too late to begin has ended when it is seen in a graph."""
        self.put(message('a', expires=500), message('b', 'a'))
        self.advance(500)
        self.assertEqual(self.relatives('b')['a'].state, 'expired')
        self.tick()
        self.assertEqual([node.state for node in self.q.family('b')], ['expired', 'expired'])
