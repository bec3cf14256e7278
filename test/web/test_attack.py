"""What somebody tries who may look, or gets at the port: each of these has a bound."""
from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
import json
import logging
import socket
import tracemalloc
from unittest import mock

import httpx

from test import leaks
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from test.web.support import OURS, PageCase
from worq import Task, TaskSpace, const, web
from worq.pool.run import run
from worq.web import application, feed
from worq.web.access import foreign
from worq.web.server import host_of, named

BIDI = '\u202egpj.exe\u2066\x00\x1b]0;x\x07\r\n\ufeff'
TOKEN = 'a-token-of-enough-letters'


class Addresses(PageCase):

    def test_long(self):
        """What is longer than anything that there is, is not looked for, nor remembered."""
        for path in (f'task?id={"x" * 20_000}', f'live?watch={"task%3Fid%3D" + "x" * 20_000}',
                     f'graph?id=a&open={"x" * 60_000}'):
            self.get(f'/api/{path}', 404)
        eq_(self.app.state.feed._watched, {})
        id = '\U0001f600' * 128   # the longest there may be, of what is written at most length
        Task(self.broker.queue('x'), id=id)()
        eq_(self.client.get('/api/task', params={'id': id}).json()['value']['id'], id)

    def test_static(self):
        """No way leads out of the folder of files."""
        for path in ('..%2f..%2f__init__.py', '%2e%2e/%2e%2e/__init__.py', '....//__init__.py',
                     '%2fetc/passwd', '/etc/passwd', '..\\..\\__init__.py', '%00', 'vendor',
                     'vendor/..%2f..%2fserver.py'):
            self.assertIn(self.client.get(f'/static/{path}').status_code, (404, 405), path)

    def test_odd(self):
        """Ids, names and cursors of any characters are questions like others."""
        for text in (BIDI, '%', '"><script>', "' OR 1=1", '\ud7ff', '${x}', '../', '\x7f' * 500):
            for kind, name in [('task', 'id'), ('graph', 'id'), ('tasks', 'name'),
                               ('tasks', 'cursor'), ('minutes', 'name'), ('failed', 'name')]:
                found = self.client.get(f'/api/{kind}', params={name: text})
                self.assertIn(found.status_code, (200, 400), (kind, text))
                self.assertNotIn('\x1b', json.dumps(found.json(), ensure_ascii=False))


class Contents(PageCase):

    def test_long_names(self):
        """A name of a megabyte is cut wherever it is shown, and so is each line of its options."""
        header = b'n' * (1 << 20) + b'\nretries ' + b'3' * (1 << 20)
        backend = self.broker.backend
        backend.put([message('a', header=header)])
        backend.put([message('b', 'a', header=header)])
        for path in ('tasks?state=enqueued', 'tasks?state=pending', 'task?id=a', 'graph?id=b',
                     'overview'):
            self.assertLess(len(self.client.get(f'/api/{path}').content), 10_000, path)
        taken, = backend.take('p', 1)
        backend.settle('p', [outcome(taken, 'failure', b'x')])
        for path in ('failed', 'tasks?state=failed', 'task?id=a', 'minutes', 'names'):
            self.assertLess(len(self.client.get(f'/api/{path}').content), 10_000, path)

    def test_long_contents(self):
        """Errors, arguments and values of ten megabytes are cut; what cannot be printed is
        escaped."""
        space = TaskSpace('big')
        big = BIDI + 'x' * 10_000_000

        @space.task
        def fail(text):
            raise ValueError(text)

        @space.task
        def echo(text):
            return text
        self.broker.expose(space)
        tasks = [self.q.big.fail(big), self.q.big.echo(big), self.q.big.echo(BIDI)]
        for show in range(2):
            for task in tasks:
                found = self.client.get('/api/task', params={'id': task.id, 'arguments': '1'})
                eq_(found.status_code, 200)
                self.assertLess(len(found.content), 500_000)
                for letter in BIDI.rstrip('\r\n')[0], '\x00', '\x1b', '\u2066':
                    self.assertNotIn(json.dumps(letter), found.text)
                    self.assertNotIn(letter, found.text)
            backend = self.broker.backend
            backend.settle('p', [run(self.broker, one) for one in backend.take('p', 9)])
        self.assertLess(len(self.client.get('/api/failed').content), 20_000)

    def test_who(self):
        """The name of who acts has a length, too; and there always is one."""
        for said in BIDI, 'x' * 100_000, '', None:
            app = web.app(self.broker, allow=self.allow, who=lambda request, said=said: said)
            client = type(self.client)(app)
            self.q.mail()
            client.post('/api/act/cancel', json={'state': 'enqueued', 'seen': 1}, headers=OURS)
            self.assertTrue(0 < len(client.get('/api/me').json()['who']) < 300)
        eq_([act.what for act in self.broker.acts()], ['cancel'] * 4)
        self.assertTrue(all(act.who.isprintable() and act.who for act in self.broker.acts()))


class Crowds(PageCase):

    def setUp(self):
        leaks.watch(self)
        super().setUp()

    def test_asking_is_shared(self):
        """Those who ask share looks, and few of these are under way at a time."""
        looks, now, most = [], [], []
        backend = self.broker.backend
        real = backend.totals

        def totals():
            now.append(1)
            most.append(len(now))
            looks.append(1)
            try:
                return real()
            finally:
                now.pop()
        page = self.app.state.feed
        with mock.patch.object(backend, 'totals', totals), ThreadPoolExecutor(20) as many:
            topics = [feed.Topic(self.name, 'overview', (('n', f'{n % 4}'),)) for n in range(200)]
            found = list(many.map(page.ask, topics))
            eq_(len(looks), 4)
            self.assertLessEqual(max(most), feed.ASKING)
            eq_({look.status for look in found}, {200})
            page.hurry(self.name)   # something was done to it
            page.ask(topics[0])
            eq_(len(looks), 5)

    def test_too_many_ask(self):
        """Who would have to wait for long is told so."""
        page = self.app.state.feed
        with mock.patch.object(feed, 'QUEUE', 0.01):
            for _ in range(feed.ASKING):
                page._asking.acquire()
            self.get('/api/overview', 503)
            for _ in range(feed.ASKING):
                page._asking.release()
        self.get('/api/overview', 200)

    def test_coming_and_going(self):
        """Tabs that come and go for an hour, each with something else, leave nothing behind."""
        page = self.app.state.feed
        look = feed.Look('"value":"' + 'x' * 1_000 + '"')

        async def tabs(count):
            for n in range(count):
                topic = feed.Topic(self.name, 'task', (('id', f'{n}'),))
                tab = page.open({'a': topic})
                page._watched[topic].last = look._replace(text=f'{look.text} ')
                tab.close()
        with mock.patch.object(page, '_look', return_value=look), \
                mock.patch.object(page, '_every', return_value=60.0):
            asyncio.run(tabs(500))
            tracemalloc.start()
            self.addCleanup(tracemalloc.stop)
            before, _ = tracemalloc.get_traced_memory()
            asyncio.run(tabs(5_000))
            after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 2_000_000)
        self.assertLessEqual(len(page._watched), feed.IDLE + 1)
        eq_(page._tabs, set())

    def test_reads_nothing(self):
        """A client that reads none of its news holds its place for a while only."""
        async def live():
            sent = []

            async def send(message):
                sent.append(message)
                if len(sent) > 1:
                    await asyncio.Event().wait()   # as a server does whose buffers are full

            async def receive():
                await asyncio.Event().wait()
            scope = {'type': 'http', 'method': 'GET', 'path': '/api/live', 'headers': [],
                     'query_string': b'watch=overview', 'root_path': '', 'scheme': 'http',
                     'server': ('page', 80), 'client': ('1.2.3.4', 5), 'http_version': '1.1',
                     'raw_path': b'/api/live', 'asgi': {'version': '3.0', 'spec_version': '2.3'}}
            await self.app(scope, receive, send)
            return sent
        with mock.patch.multiple(application, LIFE=0.1, BEAT=0.1), \
                self.assertLogs('worq.web', logging.INFO):
            sent = asyncio.run(asyncio.wait_for(live(), 10))
        eq_(sent[0]['status'], 200)
        eq_(self.app.state.feed._tabs, set())

    def test_hundred_tabs(self):
        """Of a hundred tabs some get no live news, and are told so; the server answers meanwhile,
        and ends at once."""
        with web.Server(self.app) as server:
            tabs = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(100)]
            for tab in tabs:
                self.addCleanup(tab.close)
                tab.sendall(b'GET /api/live?watch=overview HTTP/1.1\r\nHost: localhost\r\n\r\n')
            said = [int(tab.recv(1 << 16).split()[1]) for tab in tabs]
            most = application.STREAMS
            eq_((said.count(200), said.count(503)), (most, 100 - most))
            eq_(httpx.get(f'{server.url}api/overview').status_code, 200)
        eventually(lambda: len(self.app.state.feed._tabs), 0)

    def test_clients(self):
        """There are so many connections at a time."""
        with mock.patch.object(web.server, 'CLIENTS', 3), web.Server(self.app) as server:
            others = [socket.create_connection(('127.0.0.1', server.port)) for _ in range(3)]
            eventually(lambda: httpx.get(f'{server.url}api/me').status_code, 503)
            for other in others:
                other.close()
            eventually(lambda: httpx.get(f'{server.url}api/me').status_code, 200)


class Strangers(PageCase):

    def test_origin_of_looks(self):
        """A browser that tells no Sec-Fetch-Site tells an Origin, where another page asks."""
        eq_([foreign({'host': 'h:1', **more}) for more in (
            {}, {'origin': 'http://h:1'}, {'origin': 'https://H:1'}, {'origin': 'null'},
            {'origin': 'http://evil'}, {'origin': 'http://h'},
            {'origin': 'http://evil', 'sec-fetch-site': 'same-origin'},
            {'origin': 'http://h:1', 'sec-fetch-site': 'cross-site'})],
            [False, False, False, True, True, True, False, True])
        self.get('/api/overview', 403, Origin='http://evil.example')
        self.get('/api/live?watch=overview', 403, Origin='null')

    def test_hosts(self):
        """What only begins like a name of this machine is none."""
        eq_([host_of(text) for text in ('[::1].evil', '[::1', '[::1]:x', 'localhost:80:evil',
                                        'localhost@evil', '[::1]evil:80', 'localhost:', '::1')],
            ['', '', '', '', 'localhost@evil', '', 'localhost', ''])

    def test_tokens(self):
        """A token may have any characters; what is not it is refused, whatever it is made of."""
        odd = 'ünïcode-tökén-of-letters'
        raw = f'Bearer {odd}'.encode().decode('latin-1')   # as a server reads it
        eq_((named(raw, odd.encode()), named(raw + 'x', odd.encode())), ('', None))
        for header in ('Bearer ' + '\xff' * 70_000, 'Basic ' + '=' * 999, 'Basic /////w==',
                       'Bearer\x00', '\xff'):
            eq_(named(header, TOKEN.encode()), None)
        with mock.patch('worq.web.server.compare_digest', return_value=False) as compared:
            eq_(named(f'Bearer {TOKEN}', TOKEN.encode()), None)
        compared.assert_called_once()   # which takes as long, whatever is right of it

    def test_token_is_not_told(self):
        """Neither a log nor an answer has it, and it is not taken from an address."""
        with web.Server(self.app, token=TOKEN) as server, \
                self.assertNoLogs('worq', logging.INFO), \
                self.assertNoLogs('uvicorn', logging.INFO):
            for path in (f'?token={TOKEN}', f'api/me?token={TOKEN}', f'api/me?password={TOKEN}'):
                found = httpx.get(server.url + path)
                eq_((found.status_code, TOKEN in found.text), (401, False))
            found = httpx.get(f'{server.url}api/me', auth=('ann', TOKEN))
            eq_((found.status_code, TOKEN in found.text), (200, False))
            self.assertNotIn(TOKEN, repr(server) + server.url)

    def test_upgrade(self):
        """There are no web sockets."""
        with web.Server(self.app) as server:
            found = httpx.get(f'{server.url}api/live?watch=none', headers={
                'Connection': 'Upgrade', 'Upgrade': 'websocket', 'Sec-WebSocket-Version': '13',
                'Sec-WebSocket-Key': 'x' * 22 + '=='})
            eq_(found.status_code, 404)

    def test_reader(self):
        """Who may only look does nothing, by whatever is sent."""
        self.rights = 'read'
        task = self.q.mail()
        for kind in 'application/json', 'text/plain', 'application/x-www-form-urlencoded', \
                'multipart/form-data; boundary=x':
            for what in 'cancel', 'purge', 'pause', 'revive', 'schedule-run', 'none':
                found = self.client.post(f'/api/act/{what}', headers={**OURS, 'Content-Type': kind},
                                         content=json.dumps({'ids': [task.id], 'seen': 1}))
                eq_(found.status_code, 403)
        eq_((task.status, self.broker.pauses()), (const.ENQUEUED, []))
