"""The page in applications of others, by the recipes of doc/web.rst, run as they are shown."""
from __future__ import annotations

import importlib.util
import os
import re
import socket
from socketserver import ThreadingMixIn
import sys
from textwrap import dedent
from threading import Thread
import unittest
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import httpx
from starlette.responses import PlainTextResponse
from starlette.routing import Route
import uvicorn

from test.programs import ROOT
from test.support import eq_, eventually
from test.web.support import OURS
from worq import get_broker
from worq.queue.memory import TaskQueue

RECIPE = re.compile(r'^\.\. mount: (\w+)\n\n\.\. code-block:: python3\n((?: +.*\n| *\n)+)', re.M)
_told = set()


def recipes():
    """What the document shows, by name."""
    text = (ROOT / 'doc/web.rst').read_text('utf-8')
    return {name: dedent(code) for name, code in RECIPE.findall(text)}


def need(*modules):
    """Skip the test, aloud, without these; with WORQ_REQUIRE_BROWSER it fails."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if not missing:
        return
    reason = f'NO {", ".join(missing)}: the page is not tested there; see requires-ci.txt'
    if os.environ.get('WORQ_REQUIRE_BROWSER'):
        raise RuntimeError(reason)
    if reason not in _told:
        print(f'\n*** {reason}\n', file=sys.stderr)
        _told.add(reason)
    raise unittest.SkipTest(reason)


class Mounts(unittest.TestCase):

    def setUp(self):
        self.broker = get_broker('memory://')
        self.addCleanup(TaskQueue._opened.pop, ('memory://', 'default'), None)
        self.addCleanup(self.broker.close)

    def recipe(self, name):
        """What it defines."""
        found = {'__name__': f'mount_{name}'}
        exec(compile(recipes()[name], f'doc/web.rst: {name}', 'exec'), found)
        return found

    def serve(self, app):
        """An ASGI application; its address."""
        listens = socket.create_server(('127.0.0.1', 0))
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan='off',
                                               timeout_graceful_shutdown=1))
        thread = Thread(target=server.run, kwargs={'sockets': [listens]})
        thread.start()
        self.addCleanup(listens.close)
        self.addCleanup(thread.join)
        self.addCleanup(setattr, server, 'should_exit', True)
        eventually(lambda: server.started)
        return f'http://127.0.0.1:{listens.getsockname()[1]}'

    def check(self, url, cookies, who):
        """Nobody but who has these cookies sees it; they see it live, and act by their name."""
        stranger = httpx.Client(base_url=url)
        self.addCleanup(stranger.close)
        eq_(stranger.get('/worq/').status_code, 403)
        eq_(stranger.post('/worq/api/act/purge', json={'seen': 0}, headers=OURS).status_code, 403)
        client = httpx.Client(base_url=url, cookies=cookies)
        self.addCleanup(client.close)
        moved = client.get('/worq')
        self.assertIn(moved.status_code, (307, 308))
        eq_(moved.headers['location'].rpartition('/worq')[2], '/')
        self.assertIn('static/main.js', client.get('/worq/tasks').text)
        eq_(client.get('/worq/static/main.js').status_code, 200)
        self.broker.queue().mail()
        with client.stream('GET', '/worq/api/live?watch=overview') as answer:
            line = next(line for line in answer.iter_lines() if line.startswith('data'))
            self.assertIn('"enqueued":1', line)
        found = client.post('/worq/api/act/purge', json={'seen': 1}, headers=OURS)
        eq_((found.status_code, found.text), (200, '{"done":1}'))
        eq_([act.who for act in self.broker.acts()], [who])
        return client

    def test_none_is_forgotten(self):
        eq_(sorted(recipes()), ['django', 'fastapi', 'flask'])

    def test_fastapi(self):
        """By one line."""
        need('fastapi', 'itsdangerous')
        found = self.recipe('fastapi')

        def login(request):
            request.session['user'] = 'ann'
            return PlainTextResponse('')
        found['site'].router.routes.insert(0, Route('/login', login))
        url = self.serve(found['site'])
        cookies = httpx.get(f'{url}/login').cookies
        self.check(url, cookies, 'ann')

    def test_flask(self):
        """By a2wsgi, on a WSGI server."""
        need('flask', 'a2wsgi')
        import flask
        found = self.recipe('flask')
        site = found['site']

        @site.get('/login')
        def login():
            flask.session['user'] = 'ann'
            return ''

        class Quiet(WSGIRequestHandler):
            def log_message(self, *args):
                pass

        class Threads(ThreadingMixIn, WSGIServer):
            daemon_threads = True
        server = make_server('127.0.0.1', 0, site, Threads, Quiet)
        self.addCleanup(server.server_close)
        thread = Thread(target=server.serve_forever, args=[0.05])
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        url = f'http://127.0.0.1:{server.server_address[1]}'
        self.check(url, httpx.get(f'{url}/login').cookies, 'ann')

    def test_django(self):
        """In asgi.py, with Django's users."""
        need('django')
        from django.conf import settings
        if not settings.configured:
            settings.configure(
                SECRET_KEY='of the test', ALLOWED_HOSTS=['*'], ROOT_URLCONF=__name__,
                DATABASES={'default': {'ENGINE': 'django.db.backends.sqlite3',
                                       'NAME': 'file:worq-test?mode=memory&cache=shared'}},
                INSTALLED_APPS=['django.contrib.auth', 'django.contrib.contenttypes',
                                'django.contrib.sessions'])
        import django
        django.setup()
        from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
        from django.contrib.auth.models import User
        from django.contrib.sessions.backends.db import SessionStore
        from django.core.management import call_command
        from django.db import connections
        call_command('migrate', verbosity=0)
        self.addCleanup(connections.close_all)

        def session(user):
            made = SessionStore()
            made[SESSION_KEY] = str(user.pk)
            made[BACKEND_SESSION_KEY] = 'django.contrib.auth.backends.ModelBackend'
            made[HASH_SESSION_KEY] = user.get_session_auth_hash()
            made.save()
            return {settings.SESSION_COOKIE_NAME: made.session_key}
        url = self.serve(self.recipe('django')['application'])
        self.check(url, session(User.objects.create_superuser('ann')), 'ann')
        reader = httpx.get(f'{url}/worq/api/me',
                           cookies=session(User.objects.create_user('bob', is_staff=True)))
        eq_(reader.json()['rights'], 'read')
        eq_(httpx.get(f'{url}/other').status_code, 404)   # is Django's


urlpatterns = []   # of Django
