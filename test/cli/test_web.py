"""``worq web``."""
from __future__ import annotations

import sys
from unittest import mock

from test import broker_case
from test.cli.support import CommandCase
from test.support import eq_
from worq import web
from worq.cli.usage import NOTHING, USAGE

TOKEN = 'a-token-of-enough-letters'


class Web(broker_case.MemoryMixin, CommandCase):

    __test__ = True

    def serve(self, *words, **environ):
        """What `worq web` would serve, and what it did."""
        served = []

        def run(server):
            served.append(server)
            raise KeyboardInterrupt
        with mock.patch.object(web.Server, 'run', run), \
                mock.patch.object(web, 'app', wraps=web.app) as app:
            done = self.worq('web', '--listen', '127.0.0.1:0', *words, **environ)
        self.app = app
        return served, done

    def test_serve(self):
        """It serves until it is interrupted, and says where; whoever is there may act."""
        (server,), done = self.serve()
        self.assertIn(f'http://127.0.0.1:{server.port}/', done.err)
        eq_(self.app.call_args.kwargs['allow'](None), 'act')
        self.serve('--read-only')
        eq_(self.app.call_args.kwargs['allow'](None), 'read')

    def test_token(self):
        """A token is asked for; it listens for others only with one."""
        (server,), done = self.serve(WORQ_WEB_TOKEN=TOKEN)
        self.assertIn('WORQ_WEB_TOKEN', done.err)
        self.assertNotIn(TOKEN, done.err)
        request = mock.Mock(scope={'worq.who': 'ann'}, client=mock.Mock(host='127.0.0.1'))
        eq_(self.app.call_args.kwargs['who'](request), 'ann at 127.0.0.1')
        served, done = self.serve('--listen', '0.0.0.0:0')
        eq_((served, done.status), ([], NOTHING))
        self.assertIn('Set WORQ_WEB_TOKEN', done.err)

    def test_mistakes(self):
        """Ports that are none, or taken."""
        eq_(self.worq('web', '--listen', 'x').status, USAGE)
        with web.Server(web.app(self.broker(), allow=lambda request: 'none')) as server:
            done = self.worq('web', '--listen', server.port)
        eq_(done.status, NOTHING)
        self.assertIn('cannot listen on', done.err)

    def test_missing(self):
        """Without starlette it says what to install."""
        loaded = [name for name in sys.modules if name.startswith(('starlette', 'worq.web'))]
        import worq as package
        with mock.patch.dict(sys.modules, {name: None for name in loaded
                                           if name.startswith('starlette')}), \
                mock.patch.object(package, 'web', package.web):
            for name in loaded:
                if name.startswith('worq.web'):
                    del sys.modules[name]
            del package.web
            done = self.worq('web')
        eq_(done.status, NOTHING)
        self.assertIn("pip install 'WorQ[web]'", done.err)
