"""The graph of a task in a browser, and when it will be done."""
from __future__ import annotations

from test.queue.contract import outcome
from test.support import eq_
from test.web.browser import BrowserCase
from worq import Task

HOSTILE = '<img src=x onerror="document.title=1">'


class Graph(BrowserCase):

    __test__ = True

    def task(self, name, *args, id=None, **options):
        return Task(self.broker.queue(name), **({'id': id} if id else {}), **options)(*args)

    def nodes(self):
        """What is drawn, by the labels."""
        return self.page.eval_on_selector_all(
            '.canvas .node', 'nodes => nodes.map((node) => node.getAttribute("aria-label"))')

    def drawn(self, count):
        self.page.wait_for_function(
            'count => document.querySelectorAll(".canvas .node").length === count', arg=count)
        return self.nodes()

    def test_graph(self):
        """It is drawn, a click tells of a task, and it is live."""
        load = self.task('load', id='load-1')
        fit = self.task('fit', load, id='fit-1')
        self.task('report', fit, id='report-1')
        page = self.open('task?id=fit-1')
        page.click('text=Graph')
        self.drawn(3)
        eq_(page.locator('.edge').count(), 2)
        self.sees('it waits for an argument', '.panel')
        page.click('.node >> text=load')
        self.sees('No pool works on this queue', '.panel')
        taken, = self.broker.backend.take('p', 1)
        page.wait_for_selector('.node.s-processing')
        self.broker.backend.settle('p', [outcome(taken)])
        page.wait_for_selector('.node.s-success')
        page.click('.panel >> text=All of it')
        page.wait_for_url('**/task?id=load-1')

    def test_stacks(self):
        """Many alike are one, which opens by a hundred, and folds."""
        parts = [self.task('resize', n) for n in range(250)]
        self.task('fit', parts, id='fit-1')
        page = self.open('graph?id=fit-1')
        self.assertIn('resize ×250, 250 ready', self.drawn(2))
        page.click('.node >> text=×250')
        self.assertIn('resize ×150, 150 ready', self.drawn(102))
        page.click('text=fold all')
        self.drawn(2)

    def test_keys(self):
        """A keyboard goes from node to node, and opens one."""
        self.task('fit', self.task('load', id='load-1'), id='fit-1')
        page = self.open('graph?id=fit-1')
        self.drawn(2)
        page.focus('.node:has-text("load")')
        page.keyboard.press('Enter')
        self.sees('load-1', '.panel h2')
        for label in ('Closer', 'Farther', 'Whole', 'Follow'):
            page.click(f'role=button[name="{label}"]')
        page.wait_for_selector('role=button[name="Follow"][pressed=true]')

    def test_hostile(self):
        """Names and ids are texts here, too."""
        first = self.task(HOSTILE, id=HOSTILE)
        self.task('fit', first, id='__proto__')
        page = self.open('graph?id=__proto__')
        self.drawn(2)
        page.click('.node[aria-label*="img"]')
        self.sees(HOSTILE, '.panel h2')
        self.assertNotEqual(page.title(), '1')
        self.open('graph?id=none')
        self.sees('does not know this task')
        self.open('graph')
        self.sees('Of which task?')

    def test_smooth(self):
        """Three hundred nodes are drawn, and drawn anew, within the time of a blink."""
        last = [self.task(f'load{n}') for n in range(100)]
        for layer in range(2):   # of names of their own, or they would be stacks
            last = [self.task(f'step{layer}.{n}', last[n]) for n in range(100)]
        self.task('fit', last, id='fit-1')
        page = self.open('graph?id=fit-1')
        for kind in ('node', 'edge'):
            page.wait_for_function(
                'kind => document.querySelectorAll(`.canvas .${kind}`).length >= 290', arg=kind)
        spent = page.evaluate('''async () => {
          const { morph, s } = await import('./static/dom.js');
          const svg = document.querySelector('.canvas svg');
          const began = performance.now();
          for (let n = 0; n < 5; n += 1) morph(svg, svg.cloneNode(true));
          return (performance.now() - began) / 5;
        }''')
        self.assertLess(spent, 250)   # some 20 ms, where nothing else runs

    def test_eta(self):
        """By the chain, or by the workers, whichever takes longer."""
        self.open()

        def node(key, state='enqueued', size=1, **more):
            return {'key': key, 'name': key, 'state': state, 'size': size, 'states': {state: size},
                    'above': 0, 'below': 0, 'since': None, 'progress': None, **more}

        def eta(nodes, edges, workers, means, now=0.0):
            graph = {'root': nodes[0]['key'], 'nodes': nodes, 'left_out': 0,
                     'edges': [{'source': one, 'target': two} for one, two in edges]}
            return self.page.evaluate('''async ([graph, means, workers, now]) => {
              const { eta } = await import('./static/eta.js');
              return eta(graph, new Map(Object.entries(means)), workers, now);
            }''', [graph, means, workers, now])
        chain = [node('report', 'pending'), node('fit', 'pending'), node('load')]
        edges = [('fit', 'report'), ('load', 'fit')]
        means = {'load': 1, 'fit': 10, 'report': 2}
        eq_(eta(chain, edges, 4, means),
            {'seconds': 13, 'by': 'chain', 'chain': ['load', 'fit', 'report'], 'unknown': False})
        wide = [node('report', 'pending'), node('load', size=100)]
        eq_(eta(wide, [('load', 'report')], 4, means),
            {'seconds': 25.5, 'by': 'workers', 'chain': ['load', 'report'], 'unknown': False})
        eq_(eta(wide, [('load', 'report')], 4, {'load': 1})['unknown'], True)
        eq_(eta([node('x', 'success')], [], 4, {'x': 1}), None)
        eq_(eta([node('x')], [], 4, {}), None)
        runs = node('x', 'processing', since=0.0, progress={'done': 1, 'total': 4, 'text': ''})
        eq_(eta([runs], [], 1, {'x': 100}, now=10.0)['seconds'], 30)
        runs = node('x', 'processing', since=0.0)
        eq_(eta([runs], [], 1, {'x': 100}, now=10.0)['seconds'], 90)
        circle = [node('a', 'pending'), node('b', 'pending')]
        self.assertEqual(eta(circle, [('a', 'b'), ('b', 'a')], 1, {'a': 1, 'b': 1})['seconds'], 2)

