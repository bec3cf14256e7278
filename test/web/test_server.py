"""The page served: to this machine alone, or to who has the token; and live news of it."""
from __future__ import annotations

import socket

import httpx

from test import leaks
from test.support import eq_
from test.web.support import PageCase
from worq import web
from worq.web.server import host_of, is_loopback, named

TOKEN = 'a-token-of-enough-letters'


class ServerTest(PageCase):

    def setUp(self):
        leaks.watch(self)
        super().setUp()

    def serve(self, *args, **options):
        return self.enterContext(web.Server(self.app, *args, **options))

    def test_host(self):
        """Another name than this machine's own gets nothing: a page that was made to lead here."""
        server = self.serve()
        for host, status in [('evil.example', 421), (f'evil.example:{server.port}', 421),
                             ('', 421), ('127.0.0.1.evil.example', 421), ('localhost', 200),
                             (f'LOCALHOST:{server.port}', 200), ('[::1]:80', 200)]:
            found = httpx.get(f'{server.url}api/overview', headers={'Host': host})
            eq_(found.status_code, status, host)

    def test_token(self):
        """With a token nobody gets in without it; its user name is who did something."""
        server = self.serve(token=TOKEN)
        url = f'{server.url}api/overview'
        found = httpx.get(url)
        eq_(found.status_code, 401)
        self.assertIn('Basic', found.headers['www-authenticate'])
        eq_(httpx.get(url, auth=('ann', 'wrong')).status_code, 401)
        eq_(httpx.get(url, auth=('ann', TOKEN)).status_code, 200)
        eq_(httpx.get(url, headers={'Authorization': f'Bearer {TOKEN}'}).status_code, 200)
        for header in ('Basic', 'Basic !!!', 'Bearer', 'Digest x', f'Basic {TOKEN}'):
            eq_(httpx.get(url, headers={'Authorization': header}).status_code, 401, header)

    def test_refuses_to_start(self):
        """It listens for others only with a token, of some length."""
        for host, token in [('0.0.0.0', ''), ('::', ''), ('192.168.1.1', ''), ('0.0.0.0', 'short'),
                            ('127.0.0.1', 'short')]:
            with self.assertRaises(ValueError):
                web.Server(self.app, host, 0, token)
        with socket.create_server(('127.0.0.1', 0)) as taken:
            with self.assertRaises(OSError):
                web.Server(self.app, port=taken.getsockname()[1])

    def test_functions(self):
        eq_([is_loopback(host) for host in ('127.0.0.1', '127.1.2.3', '::1', 'localhost', '0.0.0.0',
                                            '::', '10.0.0.1', 'example.org', '')],
            [True] * 4 + [False] * 5)
        eq_([host_of(text) for text in ('a:1', 'A', '[::1]:1', '[::1]', '', ':1')],
            ['a', 'a', '::1', '::1', '', ''])
        eq_(named('basic YW5uOng=', b'x'), 'ann')
        eq_(named('Bearer x', b'x'), '')
        eq_(named('Bearer y', b'x'), None)

    def test_live(self):
        """A tab is told what there is, and what changes; closing it ends the looks."""
        server = self.serve()
        with httpx.stream('GET', f'{server.url}api/live?watch=overview') as answer:
            eq_(answer.headers['content-type'].partition(';')[0], 'text/event-stream')
            lines = answer.iter_lines()
            first = next(line for line in lines if line.startswith('data'))
            self.assertIn('"enqueued":0', first)
            self.q.mail()
            second = next(line for line in lines if line.startswith('data'))
            self.assertIn('"enqueued":1', second)

    def test_stops_with_open_tabs(self):
        """A tab that is open does not keep the server from ending."""
        server = web.Server(self.app)
        with server:
            stream = httpx.Client()
            self.addCleanup(stream.close)
            with stream.stream('GET', f'{server.url}api/live?watch=overview') as answer:
                lines = answer.iter_lines()
                next(line for line in lines if line.startswith('data'))
                server.close()
                eq_([line for line in lines if 'error' in line], [])
        self.assertIn('Server at http://127.0.0.1', repr(server))
