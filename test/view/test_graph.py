"""Graphs of tasks, folded and drawn."""
from __future__ import annotations

import re
import shutil
import subprocess
from unittest import TestCase, mock, skipUnless

from test.support import eq_
from worq.queue.base import Node as Task
from worq.view import View
from worq.view.drawing import Edge, Graph, Node
from worq.view.folding import LEAST, OPENED, fold, missing

STATES = ['success', 'processing', 'enqueued', 'enqueued']
EVIL = 'a"]\x1b<b>\\'


def task(id, name='f', state='pending', level=0, arguments=(), dependents=(), **more):
    more.setdefault('width', len(arguments))
    more.setdefault('fan', len(dependents))
    return Task(id, '', name, state, level, arguments=tuple(arguments),
                dependents=tuple(dependents), **more)


def fan(count, source='load'):
    """A task, many that depend on one, and one that depends on them."""
    middle = [f'm{n}' for n in range(count)]
    return [task('sum', 'sum', level=0, arguments=middle),
            *(task(id, 'resize', STATES[n % 4], -1, [source], ['sum'])
              for n, id in enumerate(middle)),
            task(source, 'load', 'success', -2, (), middle)]


class Folding(TestCase):

    def test_stack(self):
        """A thousand of one name that the same task waits for are one, with their states."""
        graph = fold(fan(1000))
        root, stack, source = graph.nodes
        eq_((root.key, stack.size, source.key, graph.left_out), ('sum', 1000, 'load', 0))
        eq_(list(stack.states.items()), [('enqueued', 500), ('processing', 250), ('success', 250)])
        eq_(graph.edges, (Edge(stack.key, 'sum', 'argument'), Edge('load', stack.key, 'argument')))
        eq_((stack.name, stack.state, stack.level), ('resize', '', -1))
        eq_(fold(fan(LEAST - 1)).nodes[1].size, 1)
        eq_(fold(fan(LEAST)).nodes[1].size, LEAST)

    def test_key(self):
        """The key of a stack does not depend on how its tasks stand, nor on which are told."""
        found = fan(20)
        later = [each._replace(state='success') for each in found]
        eq_(fold(found).nodes[1].key, fold(later).nodes[1].key)
        eq_(fold(found).nodes[1].key, fold(fan(10)).nodes[1].key)
        self.assertNotEqual(fold(found).nodes[1].key,
                            fold([each._replace(name='g') for each in found]).nodes[1].key)

    def test_open(self):
        """A stack is opened a hundred at a time, those told first; the rest is the stack."""
        found = fan(2 * OPENED + 1)
        key = fold(found).nodes[1].key
        for times, counts in [(1, OPENED + 1), (2, 1), (3, 1)]:
            graph = fold(found, [key] * times)
            stacks = [node for node in graph.nodes if node.size > 1]
            eq_([node.size for node in stacks], [] if counts == 1 else [counts])
            eq_([node.key for node in stacks], [] if counts == 1 else [key])
            single = [node.key for node in graph.nodes if node.key.startswith('m')]
            eq_(single[:3], ['m0', 'm1', 'm2'])
            eq_(len(single) + sum(node.size for node in stacks), len(found) - 2)
            self.assertIn(Edge('load', 'm5', 'argument'), graph.edges)
            eq_(fold(found, ['unknown']), fold(found))

    def test_chains(self):
        """What stacks wait for is a stack; with other consumers, or names, it is none."""
        found = [task('top', arguments=[f'b{n}' for n in range(9)])]
        for n in range(9):
            found.append(task(f'b{n}', 'b', level=-1, arguments=[f'a{n}'], dependents=['top']))
            found.append(task(f'a{n}', 'a' if n else 'z', level=-2, dependents=[f'b{n}']))
        graph = fold(found)
        eq_([(node.name, node.size) for node in graph.nodes],
            [('f', 1), ('b', 9), ('z', 1), ('a', 8)])
        key = graph.nodes[1].key
        graph = fold(found, [key])
        eq_({node.size for node in graph.nodes}, {1})

    def test_below(self):
        """Those that wait for one fold, too, if the same wait for them."""
        many = [f'd{n}' for n in range(9)]
        found = [task('top', dependents=[*many, 'e'], fan=30),
                 *(task(id, 'd', level=1, arguments=['top', 'x'], width=2) for id in many),
                 task('e', 'd', level=1, arguments=['top'], dependents=['g']),
                 task('g', 'g', level=2, arguments=['e'])]
        graph = fold(found)
        eq_([(node.name, node.size, node.level, node.above, node.below) for node in graph.nodes],
            [('f', 1, 0, 0, 20), ('d', 9, 1, 9, 0), ('d', 1, 1, 0, 0), ('g', 1, 2, 0, 0)])

    def test_edges(self):
        """Tail calls and gates have kinds of their own, whoever tells of them."""
        found = [task('a', target='b', gate='c'), task('b', level=-1, dependents=['a']),
                 task('c', level=-1), task('d', level=1, target='a'),
                 task('e', level=1, arguments=['a', 'e'])]
        eq_(fold(found).edges, (
            Edge('a', 'd', 'tail'), Edge('a', 'e', 'argument'), Edge('b', 'a', 'tail'),
            Edge('c', 'a', 'gate')))
        found[0] = found[0]._replace(dependents=('d', 'e'))
        eq_(len(fold(found).edges), 4)

    def test_failed(self):
        """What failed stands apart from its like: it is what is looked for."""
        states = ['success'] * 6 + ['failed']
        parts = [task(f'p{n}', 'load', state=state) for n, state in enumerate(states)]
        found = [task('sum', arguments=[each.id for each in parts]), *parts]
        eq_([(node.key[0], node.size, node.states) for node in fold(found).nodes[1:]],
            [('+', 6, {'success': 6}), ('p', 1, {'failed': 1})])

    def test_bound(self):
        """Of too many the farthest are left out, and how many is told."""
        chain = [task(f't{n}', level=-n, arguments=[f't{n + 1}']) for n in range(50)]
        graph = fold(chain, most=10)
        eq_([node.key for node in graph.nodes], [f't{n}' for n in range(10)])
        eq_((len(graph.edges), graph.left_out), (9, 40))
        self.assertIn('... and 40 more tasks', graph.text())

    def test_hostile(self):
        """Circles end, and what looks the same is kept apart."""
        found = [task('a', arguments=['b']), task('b', arguments=['c']), task('c', arguments=['a'])]
        graph = fold(found)
        eq_(len(graph.edges), 3)
        self.assertEqual(graph.text().count('(see there)'), 2)
        found = [task('a', EVIL, arguments=['x\x1b', 'x\\x1b']), task('x\x1b'), task('x\\x1b')]
        eq_([node.key for node in fold(found).nodes], ['a', 'x\\x1b', "x\\x1b'"])
        eq_(fold(found).nodes[0].name, r'a"]\x1b<b>\\'.replace('\\\\', '\\'))
        node = fold([task('a', state='processing', progress=b'[3, 4, "x\\u001b"]')]).nodes[0]
        eq_(node.progress, {'done': 3, 'total': 4, 'text': r'x\x1b'})
        eq_(fold([task('a', progress=b'rubbish')]).nodes[0].progress, None)

    def test_missing(self):
        """Which tasks are named by others, within the levels, and not told."""
        found = [task('a', arguments=['b', 'c'], dependents=['d'], target='t'),
                 task('b', level=-1, arguments=['e'], dependents=['a', 'z']),
                 task('d', level=1, arguments=['a', 'y'], dependents=['x'])]
        eq_(missing(found, 1, 1), [('c', -1), ('t', -1)])
        eq_(missing(found, 2, 2), [('c', -1), ('t', -1), ('e', -2), ('x', 2)])
        eq_(missing(found, 0, 0), [])


class Asking(TestCase):
    """What does not fit into one step is asked for in others."""

    def view(self, found, room):
        """A view of a queue with these tasks, of which a step tells so many."""
        tasks = {each.id: each for each in found}
        self.asked = []

        def family(id, up, down, limit, also=()):
            if (up, down) == (0, 0):
                self.asked.append([id, *also])
                return [tasks[id] for id in (id, *also) if id in tasks]
            told = [tasks[id]] if id in tasks else []
            for each in told:   # it grows meanwhile
                around = [tasks[id] for id in each.arguments if id in tasks]
                told += [other for other in around if other not in told][:room - len(told)]
            return told

        broker = mock.Mock()
        broker.backend.family = family
        return View(broker)

    def test_wide(self):
        """Each of a thousand arguments is counted, though a step tells of fifty."""
        graph = self.view(fan(1000), 50).graph('sum')
        eq_([node.size for node in graph.nodes], [1, 1000, 1])
        eq_([node.level for node in graph.nodes], [0, -1, -2])
        eq_(len(self.asked), 20)
        eq_(sum(graph.nodes[1].states.values()), 1000)

    def test_bound(self):
        """There is an end to it, also if what is named is not there."""
        view = self.view(fan(5_000), 300)
        graph = view.graph('sum')
        eq_({len(ids) for ids in self.asked}, {50})
        self.assertLess(len(self.asked), 40)
        eq_(graph.nodes[1].size + graph.nodes[0].above, 5_000)
        gone = [task('a', arguments=[f'x{n}' for n in range(1000)])]
        graph = self.view(gone, 300).graph('a')
        eq_((len(graph.nodes), graph.nodes[0].above, len(self.asked)), (1, 1000, 20))

    def test_unknown(self):
        """Of an unknown task there is no graph; as it is shown an id is found, too."""
        view = self.view([task('x\x1b')], 300)
        eq_(view.graph('y'), None)
        eq_(view.graph('y\\x1b'), None)
        eq_(view.graph('x\\x1b').root, 'x\\x1b')


class Drawing(TestCase):

    graph = Graph('r', (
        Node('r', 'report', 'pending', below=3), Node('+1', 'resize', '', 1000, {
            'success': 640, 'processing': 12, 'enqueued': 348}, -1, above=7),
        Node('l', 'load', 'processing', 1, progress={'done': 1, 'total': 4, 'text': ''}),
        Node('t', EVIL, 'failed'), Node('u', 'up', 'enqueued')), (
            Edge('+1', 'r', 'argument'), Edge('l', '+1', 'argument'), Edge('t', 'r', 'tail'),
            Edge('l', 'r', 'gate'), Edge('r', 'u', 'argument')))

    def test_text(self):
        """As a tree: what it waits for, then what waits for it."""
        eq_(self.graph.text(), f'''\
report [r] pending
├─ resize ×1,000 [+1] 640 success, 12 processing, 348 enqueued
│  ├─ load [l] processing 25 %
│  └─ ... 7 more
├─ returned {EVIL} [t] failed
└─ held back by load [l] processing 25 % (see there)
is waited for by
├─ up [u] enqueued
└─ ... 3 more''')
        eq_(str(self.graph), self.graph.text())
        chain = tuple(Node(f'n{n}', '', 'pending') for n in range(1_500))
        edges = tuple(Edge(f'n{n + 1}', f'n{n}', 'argument') for n in range(1_499))
        eq_(len(Graph('n0', chain, edges).text().splitlines()), 1000)

    def test_dot(self):
        """Graphviz can read it, whatever is in names."""
        text = self.graph.dot()
        for part in ['n1 [label="resize ×1,000\\n640 success, 12 processing, 348 enqueued", '
                     'fillcolor="#fff2cc", peripheries=2];', 'n1 -> n0;',
                     'n3 -> n0 [style=dashed];',
                     'n2 -> n0 [style=dotted];', r'label="a\"]' + '\x1b' + r'<b>\\ [t]\nfailed"',
                     'n0 [label="report [r]\\npending", fillcolor="#e8e8e8", penwidth=2];']:
            self.assertIn(part, text)
        quotes = re.sub(r'\\.', '', text)
        eq_({line.count('"') % 2 for line in quotes.splitlines()}, {0})

    @skipUnless(shutil.which('dot'), 'Graphviz is not installed')
    def test_graphviz(self):
        done = subprocess.run(['dot', '-Tplain'], input=self.graph.dot(), text=True,
                              capture_output=True, check=True)
        self.assertIn('node n4', done.stdout)

    def test_mermaid(self):
        """Mermaid can read it: nothing in a name means something there."""
        text = self.graph.mermaid()
        for part in ['n1[["resize ×1,000<br>640 success, 12 processing, 348 enqueued"]]',
                     'n1 --> n0', 'n3 -.-> n0', 'n2 -.- n0',
                     'n3["a#34;#93;#27;#60;b#62;#92; #91;t#93;<br>failed"]',
                     'style n0 fill:#e8e8e8,color:#000,stroke-width:3px']:
            self.assertIn(part, text)
        labels = re.findall(r'"(.*)"', text)
        eq_((len(labels), [label for label in labels if re.search('["<>\\[\\]\x1b]', label.replace(
            '<br>', ''))]), (5, []))
