"""What the page asks and does, who may, and the headers of each answer."""
from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
import re
from unittest import mock

from starlette.applications import Starlette
from starlette.routing import Mount

from test.support import eq_
from test.web.support import OURS, Client, PageCase
from worq import QueueError, Task, TaskSpace, const, get_broker, web
from worq.pool.run import run
from worq.web.access import not_ours
from worq.web.application import HEADERS, STATIC, VIEWS

HOSTILE = '<script>alert(1)</script>"\'&\x1b[31m\u202e'


class Reads(PageCase):

    def test_overview(self):
        """Sizes, as the view has them."""
        self.q.mail(1)
        found = self.ask('overview')
        eq_(found['sizes']['enqueued'], 1)
        eq_(found['queue'], self.name)

    def test_tasks(self):
        """Pages by state and name, one after the other."""
        ids = [self.q.mail.send(n).id for n in range(5)] + [self.q.other().id]
        found = self.ask('tasks?state=enqueued&order=oldest&count=2&name=mail.*')
        eq_([row['id'] for row in found['rows']], ids[:2])
        found = self.ask(f'tasks?state=enqueued&order=oldest&count=9&name=mail.*'
                         f'&cursor={found["cursor"]}')
        eq_([row['id'] for row in found['rows']], ids[2:5])
        eq_(self.ask('count?state=enqueued&name=mail.*'), {'count': 5, 'more': False})

    def test_task(self):
        """Arguments are told only to who asks for them."""
        task = self.q.mail.send('secret')
        found = self.ask(f'task?id={task.id}')
        eq_((found['name'], found['state'], found['arguments']), ('mail.send', 'enqueued', None))
        self.assertIn('is enqueued', found['explain'])
        found = self.ask(f'task?id={task.id}&arguments=1')
        eq_(found['arguments']['args'], ["'secret'"])
        eq_(self.ask('task?id=none'), None)
        eq_(self.ask('task'), None)

    def test_redacted(self):
        """What is not to be shown is not."""
        task = self.q.mail.send('ann', password='secret')
        app = web.app(self.broker, allow=self.allow,
                      redact=lambda task, key, text: '***' if key == 'password' else text)
        found = Client(app).get(f'/api/task?id={task.id}&arguments=1').json()['value']
        eq_(found['arguments']['kw'], {'password': '***'})

    def test_others(self):
        """Minutes, names, pools and acts are asked without any of them, too."""
        for kind in ('minutes', 'names', 'pools', 'log'):
            eq_(self.ask(kind), [])

    def test_hostile(self):
        """Names and ids of any kind come as they are shown anywhere else."""
        self.q.mail.send(1)
        Task(self.broker.queue('<img src=x>'), id=HOSTILE)(HOSTILE)
        row, = [row for row in self.ask('tasks?state=enqueued')['rows'] if '<' in row['id']]
        self.assertNotIn('\x1b', row['id'])
        found = self.client.get('/api/task', params={'id': row['id'], 'arguments': '1'})
        eq_(found.json()['value']['id'], row['id'])
        eq_(found.headers['content-type'], 'application/json')

    def test_mistakes(self):
        """What makes no sense is told; what is not there is not found."""
        for path in ('tasks?state=none', 'tasks?state=enqueued&count=x', 'minutes?hours=9',
                     'minutes?hours=nan', f'tasks?name={"x" * 3000}'):
            self.get(f'/api/{path}', 400)
        for path in ('/api/secret', '/api/overview?queue=other', '/api/live?watch=secret'):
            self.get(path, 404)
        eq_(self.client.get('/nothing').status_code, 404)
        for path in ('/static/../application.py', '/static/%2e%2e/application.py',
                     '/static/..%2fapplication.py'):
            eq_(self.client.get(path).status_code, 404, path)

    def test_away(self):
        """A queue out of reach is a message; a mistake of ours tells nothing of the inside."""
        with mock.patch.object(self.broker.backend, 'totals', side_effect=QueueError('it is away')):
            found = self.get('/api/overview', 503)
            eq_((found['error'], found['status']), ('it is away', 503))
        with mock.patch.object(self.broker.backend, 'totals', side_effect=KeyError('inside')), \
                self.assertLogs('worq.web', 'ERROR'):
            self.assertNotIn('inside', self.client.get('/api/overview').text)

    def test_several_queues(self):
        """The first one is meant where none is named."""
        second = get_broker('memory://', self.name + '-2')
        self.addCleanup(second.close)
        second.queue().x()
        client = Client(web.app(self.broker, second, allow=self.allow))
        eq_(client.get('/api/me').json()['queues'], [self.name, second.name])
        eq_(client.get('/api/overview').json()['value']['sizes']['enqueued'], 0)
        found = client.get(f'/api/overview?queue={second.name}').json()['value']
        eq_(found['sizes']['enqueued'], 1)


class Rights(PageCase):

    def test_none(self):
        """Nobody sees anything whom the application does not let."""
        self.rights = 'none'
        for view in VIEWS:
            eq_(self.client.get(f'/{view}').status_code, 403)
        for path in ('overview', 'task?id=1', 'me', 'live?watch=overview'):
            self.get(f'/api/{path}', 403)
        self.act('purge', 403, seen=0)

    def test_what_fails_is_none(self):
        """An allow() that raises, or says something else, lets nobody in; the log has why."""
        def fails(request):
            raise LookupError('no user')
        for allow in (fails, lambda request: True, lambda request: None):
            client = Client(web.app(self.broker, allow=allow))
            with self.assertLogs('worq.web', 'ERROR'):
                eq_(client.get('/api/overview').status_code, 403)

    def test_coroutine(self):
        """allow() may be a coroutine function, and so may who()."""
        async def allow(request):
            await asyncio.sleep(0)
            return 'read'
        client = Client(web.app(self.broker, allow=allow))
        eq_(client.get('/api/me').json()['rights'], 'read')

    def test_needed(self):
        """There is no page without somebody saying who may see it."""
        with self.assertRaises(TypeError):
            web.app(self.broker)
        with self.assertRaises(TypeError):
            web.app(allow=self.allow)

    def test_read_only(self):
        """Who may read does nothing."""
        self.rights = 'read'
        task = self.q.mail.send()
        eq_(self.get('/api/me')['acts'], [])
        self.act('cancel', 403, ids=[task.id], seen=1)
        self.act('purge', 403, seen=1)
        eq_(task.status, const.ENQUEUED)

    def test_from_elsewhere(self):
        """The page of another origin gets nothing of what browsers would bring it."""
        self.get('/api/overview', 403, **{'Sec-Fetch-Site': 'cross-site'})
        self.get('/api/live?watch=overview', 403, **{'Sec-Fetch-Site': 'same-site'})
        self.get('/api/overview', 200, **{'Sec-Fetch-Site': 'none'})


class Acts(PageCase):

    def test_cancel(self):
        """Tasks are cancelled by ids; who did it is noted."""
        tasks = [self.q.mail.send(n) for n in range(3)]
        found = self.act('cancel', ids=[tasks[0].id, 'none'], seen=2)
        eq_(found, {'done': 1, 'words': {'cancelled': 1, 'unknown': 1}})
        eq_([task.status for task in tasks], ['cancelled', 'enqueued', 'enqueued'])
        act, = self.ask('log')
        eq_((act['who'], act['what'], act['tasks']), ('ann', 'cancel', 1))

    def test_cancel_by_name(self):
        """... or all in a state, by name."""
        tasks = [self.q.mail.send(n) for n in range(11)]
        self.q.other()
        eq_(self.act('cancel', state='enqueued', name='mail.*', seen=11)['done'], 11)
        eq_(len(self.broker), 1)
        eq_(tasks[0].status, 'cancelled')

    def test_changed(self):
        """Nothing is done when a tenth more, or less, is there than somebody saw."""
        for n in range(12):
            self.q.mail.send(n)
        for seen in (10, 14, 0):
            found = self.act('cancel', 409, state='enqueued', seen=seen)
            eq_(found['count'], 12)
            eq_(self.act('purge', 409, seen=seen)['count'], 12)
        eq_(len(self.broker), 12)
        eq_(self.act('purge', seen=11)['done'], 12)
        eq_(self.ask('log')[0]['what'], 'purge')

    def test_schedules(self):
        """Schedules are shown, run, paused, resumed and forgotten; who did it is noted."""
        self.broker.schedules.set('hourly', self.q.report.make, every=3600)
        one, = self.ask('schedules')
        eq_((one['name'], one['shown'], one['task'], one['paused']),
            ('hourly', 'hourly', 'report.make', ''))
        self.assertGreater(one['next'], 1e9)
        for what in ('run', 'pause'):
            self.act(f'schedule-{what}', name='hourly', seen=1)
        eq_((self.ask('schedules')[0]['paused'], len(self.broker)), ('ann', 1))
        self.act('schedule-resume', name='hourly', seen=1)
        self.act('schedule-forget', name='hourly', seen=1)
        eq_(self.ask('schedules'), [])
        self.act('schedule-run', 400, name='hourly', seen=1)
        eq_({act['who'] for act in self.ask('log')}, {'ann'})

    def test_failed(self):
        """What failed, in groups; it is run again by ids, with what failed because of it."""
        space = TaskSpace('mail')

        @space.task
        def send(number):
            raise ValueError('no')

        self.broker.expose(space)
        first = self.q.mail.send(1)
        last = self.q.mail.send(first)
        backend = self.broker.backend
        backend.settle('p', [run(self.broker, one) for one in backend.take('p', 1)])
        group, = self.ask('failed')
        eq_((group['name'], group['tasks'], group['followers']), ('mail.send', 1, 1))
        eq_(self.act('revive', 409, ids=group['ids'], seen=0)['count'], 1)
        found = self.act('revive', ids=group['ids'], downstream=True, seen=1)
        eq_(found, {'done': 1, 'words': {'revived': 1}})
        eq_((first.status, last.status), ('enqueued', 'pending'))
        eq_(self.ask('log')[0]['what'], 'revive')
        eq_(self.ask('failed'), [])

    def test_pause(self):
        """Tasks of some names, or all, are paused and resumed; who did it is noted."""
        eq_(self.act('pause', name='mail.*', seen=0), {'done': 1})
        eq_(self.act('pause', name='mail.*', seen=0), {'done': 0})
        eq_(self.act('pause', seen=0), {'done': 1})
        eq_([one['names'] for one in self.ask('overview')['paused']], ['mail.*', '*'])
        eq_(self.act('resume', name='*', seen=0), {'done': 1})
        eq_(self.act('resume', name='mail.*', seen=0), {'done': 1})
        eq_([act['what'] for act in self.ask('log')], ['resume', 'resume', 'pause', 'pause'])
        self.act('pause', 400, name='*.x', seen=0)

    def test_only_from_the_page(self):
        """An act needs a header that no form can send, and has to come from this origin."""
        task = self.q.mail.send()
        for headers in ({}, {'X-WorQ': '1'}, {'Sec-Fetch-Site': 'same-origin'},
                        {**OURS, 'Sec-Fetch-Site': 'cross-site'},
                        {**OURS, 'Sec-Fetch-Site': 'same-site'},
                        {**OURS, 'Sec-Fetch-Site': 'none'},
                        {'X-WorQ': '1', 'Origin': 'http://evil.example'},
                        {'X-WorQ': '1', 'Origin': 'null'},
                        {'X-WorQ': '1', 'Origin': 'http://page.evil.example'}):
            self.act('cancel', 403, headers, ids=[task.id], seen=1)
        eq_(task.status, 'enqueued')
        self.act('cancel', 200, {'X-WorQ': '1', 'Origin': 'http://page'}, ids=[task.id],
                 seen=1)
        eq_(task.status, 'cancelled')

    def test_post_only(self):
        """No address does anything by being visited."""
        for method in ('GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'):
            found = self.client.request(method, '/api/act/purge', headers=OURS)
            eq_(found.status_code, 405, method)

    def test_mistakes(self):
        """What makes no sense does nothing."""
        for asked in ({'ids': 'x', 'seen': 1}, {'ids': [1], 'seen': 1}, {'ids': ['x']},
                      {'ids': ['x'], 'seen': True}, {'ids': ['x'], 'seen': -1},
                      {'ids': [''], 'seen': 1}, {'state': 1, 'seen': 1},
                      {'ids': ['x'] * 1001, 'seen': 1001}, {'queue': 'other', 'seen': 0},
                      {'state': 'none', 'seen': 0}):
            self.act('cancel', 400, **asked)
        for text in ('', 'x', '[]', '1', '{"queue": []}', '[' * 100_000, ' ' * (2 << 20)):
            eq_(self.client.post('/api/act/cancel', content=text, headers=OURS).status_code, 400)
        self.act('drop', 404, seen=0)

    def test_origin(self):
        """The rules, as a function."""
        def refused(**headers):
            return bool(not_ours({name.replace('_', '-'): text for name, text in headers.items()}))
        eq_(refused(x_worq='1', origin='https://h:1', host='h:1'), False)
        eq_(refused(x_worq='1', origin='https://h', host='h:1'), True)
        eq_(refused(x_worq='1', origin='https://H', host='h'), False)
        eq_(refused(x_worq='1', origin='', host=''), True)
        eq_(refused(x_worq='1', sec_fetch_site='same-origin', origin='http://e', host='h'), False)
        eq_(refused(x_worq='1', sec_fetch_site='cross-site', origin='http://h', host='h'), True)


class Safety(PageCase):

    def test_headers(self):
        """Each answer has them, also those of mistakes."""
        for path in ('/', '/tasks', '/static/worq.css', '/api/overview', '/api/none', '/none'):
            found = self.client.get(path).headers
            eq_({name: found.get(name) for name in HEADERS}, HEADERS, path)
        policy = HEADERS['content-security-policy']
        self.assertNotIn('unsafe', policy)
        self.assertIn("default-src 'none'", policy)

    def test_mounted(self):
        """It works below any address, and finds its slash."""
        client = Client(Starlette(routes=[Mount('/ops/worq', self.app)]))
        found = client.get('/ops/worq')
        self.assertTrue(found.headers['location'].endswith('/ops/worq/'), found.headers)
        eq_(client.get('/ops/worq/api/overview').status_code, 200)
        self.assertIn('static/main.js', client.get('/ops/worq/tasks').text)

    def test_vendored(self):
        """What others wrote is as they published it, with its licence."""
        sums = dict(reversed(line.split('  ')) for line in
                    (STATIC / 'vendor/SHA256SUMS').read_text().splitlines())
        files = {path.relative_to(STATIC / 'vendor').as_posix(): path
                 for path in (STATIC / 'vendor').glob('*/*')}
        eq_({name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()},
            sums)
        eq_({Path(name).parent.name for name in sums if name.endswith('LICENSE')},
            {path.name for path in (STATIC / 'vendor').iterdir() if path.is_dir()})

    def test_no_text_becomes_code(self):
        """Our own modules use nothing that makes code, or elements, of texts; and load nothing from
        elsewhere."""
        for path in STATIC.rglob('*'):
            if path.suffix not in ('.js', '.html', '.css', '.svg') or 'vendor' in path.parts:
                continue
            text = path.read_text()
            for word in ('innerHTML', 'outerHTML', 'insertAdjacentHTML', 'document.write', 'eval(',
                         'Function(', 'srcdoc', 'javascript:', '<style', 'style=', 'onclick=',
                         "setAttribute('style"):
                self.assertNotIn(word, text, path)
            away = set(re.findall(r'(?:https?:)?//[\w.]+\.\w+', re.sub(r'//.*\n', '\n', text)
                                  if path.suffix == '.js' else text))
            eq_(away - {'http://www.w3.org'}, set(), str(path))
