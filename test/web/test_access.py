"""The page for people who see little, use no mouse, or have a small screen: axe finds nothing
serious, in any view, light or dark."""
from __future__ import annotations

import importlib.util
from pathlib import Path

from test.queue.contract import message
from test.support import eq_
from test.web.browser import BrowserCase
from test.web.test_mounts import need
from worq import pools
from worq.queue.base import Held
from worq.progress import Progress

VIEWS = ['', 'tasks?state=processing', 'tasks?state=enqueued', 'tasks?state=failed', 'task?id=run',
         'task?id=wait', 'task', 'task?id=none', 'failed', 'pools', 'schedules', 'log',
         'graph?id=wait']


class Axe(BrowserCase):

    __test__ = True

    def setUp(self):
        need('axe_playwright_python')
        super().setUp()
        self.fill()

    def fill(self):
        """Some of everything."""
        q = self.broker.backend
        worker = pools.told([pools.Worker(1, 'running', 'run', 'mail.send', 2.0),
                             pools.Worker(2, 'waiting', 'two', 'mail.send', 2.0, 'wait')])
        q.join('host:1:p', {'host': 'host', 'pid': '1', 'kind': 'process', 'size': '2',
                            'workers': worker, 'tasks': 'mail.send\nmail.read'})
        q.join('host:2:q', {'host': 'host', 'kind': 'thread', 'size': '1', 'broken': 'no module'})
        q.put([message(id, header=b'mail.send') for id in ('run', 'two')])
        taken = q.take('host:1:p', 2)
        q.put([message('wait', 'run', header=b'mail.send\nretries 3'), message('due', delay=9_000),
               message('ready', header=b'mail.send'), message('x' * 300)])
        q.beat('host:1:p', [Held(taken[0].id, taken[0].token,
                                 Progress(3, 4, 'nearly').encode())])
        q.tally('host:1:p', 1, {'mail.send': 'v:30 f:2 a5:32 t:90000 b3:32 u:100'})
        self.broker.cancel('due', by='ann')
        self.broker.schedules.set('hourly', self.q.report.make, every=3600)

    def shown(self, page):
        """Each view, one after the other."""
        for path in VIEWS:
            self.open(path, page)
            page.wait_for_function(
                '() => !document.querySelector("main").innerText.includes("Looking")')
            yield path

    def check(self, rules='', **look):
        page = self.tab(bypass_csp=True, **look)
        place = importlib.util.find_spec('axe_playwright_python').submodule_search_locations[0]
        axe = Path(place, 'axe.min.js').read_text()
        for path in self.shown(page):
            page.evaluate(axe)
            found = page.evaluate(f"""axe.run({rules}).then((found) => found.violations.map(
                (one) => `${{one.impact}} ${{one.id}}: ` + one.nodes.map(
                    (node) => node.html + ' ' + node.failureSummary).join('; ')))""")
            eq_([line for line in found if not line.startswith('minor')], [], f'{path} {look}')

    def test_light(self):
        """All rules."""
        self.check(color_scheme='light')

    def test_dark(self):
        """What differs: the colours."""
        self.check("{runOnly: ['color-contrast']}", color_scheme='dark')

    def test_phone(self):
        """Nothing is wider than a phone."""
        page = self.tab(viewport={'width': 390, 'height': 844}, has_touch=True)
        for path in self.shown(page):
            self.assertLessEqual(page.evaluate('document.documentElement.scrollWidth'), 390, path)
            small = page.evaluate('''[...document.querySelectorAll('button, nav a')].filter((one) =>
                one.checkVisibility() && one.getBoundingClientRect().height < 24).length''')
            eq_(small, 0, path)
