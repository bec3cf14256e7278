"""The web server for metrics, and how many workers it says are wanted."""
from __future__ import annotations

import json
from unittest import mock
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from test.metrics.test_collector import Case
from test.queue.contract import message
from test.support import eq_
from worq import QueueError, get_broker, metrics
from worq.queue.memory import TaskQueue

ACCEPT = 'application/openmetrics-text; version=1.0.0'


class ServerTest(Case):

    def setUp(self):
        super().setUp()
        self.other = get_broker('memory://', f'{self.broker.name}-2')
        self.addCleanup(TaskQueue._opened.pop, ('memory://', self.other.name), None)
        self.server = self.enterContext(metrics.Server(self.broker, self.other, port=0))

    def get(self, path, method='GET', **headers):
        request = Request(f'http://127.0.0.1:{self.server.port}{path}', headers=headers,
                          method=method)
        try:
            with urlopen(request) as answer:
                return answer.status, answer.headers['Content-Type'], answer.read().decode()
        except HTTPError as error:
            with error:
                return error.status, error.headers['Content-Type'], error.read().decode()

    def test_metrics(self):
        """In the format that is asked for; the newer one has examples."""
        self.fill()
        status, kind, text = self.get('/metrics', Accept=ACCEPT)
        eq_(status, 200)
        self.assertTrue(kind.startswith('application/openmetrics-text'), kind)
        self.assertIn('# {task_id="m-1"} 1.5', text)
        eq_(len({sample.labels['queue'] for family in text_string_to_metric_families(text)
                 for sample in family.samples}), 2)
        status, kind, text = self.get('/metrics')
        eq_(status, 200)
        self.assertTrue(kind.startswith('text/plain'), kind)
        self.assertIn('worq_run_seconds_bucket', text)
        eq_(self.get('/metrics', 'HEAD')[2], '')

    def test_healthz(self):
        eq_(self.get('/healthz')[0], 200)
        with mock.patch.object(self.q, 'ping', side_effect=QueueError('it is away')):
            eq_(self.get('/healthz')[::2], (503, 'it is away\n'))

    def test_unknown(self):
        eq_(self.get('/')[0], 404)
        eq_(self.get('/etc/passwd')[0], 404)
        eq_(self.get('/metrics', 'POST')[0], 501)

    def test_scale(self):
        self.q.tally('p', 1, {'mod.func': 'a20:4 t:400000000'})
        self.q.put([message(f'{n}') for n in range(6)])
        status, kind, text = self.get('/scale.json?target=60')
        eq_((status, kind), (200, 'application/json'))
        eq_(json.loads(text), {'queue': self.broker.name, 'wanted': 10, 'work_seconds': 600.0,
                               'target': 60.0, 'ready': 6, 'soon': 0, 'running': 0})
        eq_(json.loads(self.get(f'/scale.json?queue={self.other.name}')[2])['wanted'], 0)
        eq_(self.get('/scale.json?queue=none')[0], 404)
        for target in ('0', '-1', 'x', 'nan', 'inf'):
            eq_(self.get(f'/scale.json?target={target}')[0], 400, target)


class ScaleTest(Case):

    def wanted(self, target=60.0):
        return metrics.scale(self.broker, target)

    def test_names(self):
        """Each task counts as its name: ten that take an hour are not as ten that take a second."""
        self.q.tally('p', 1, {'long': 'a26:1 t:3600000000', 'short': 'a12:10 t:10000000'})
        self.q.put([message(f's{n}', header=b'short') for n in range(10)])
        eq_(self.wanted()[1:3], (1, 10.0))
        self.q.put([message(f'l{n}', header=b'long') for n in range(10)])
        eq_(self.wanted()[1:3], (601, 36_010.0))
        self.q.take('p', 20)
        found = self.wanted(3_600)
        eq_((found.wanted, found.ready, found.running), (11, 0, 20))

    def test_lately(self):
        """What tasks took in the last minutes counts; if there were none, what they ever did."""
        self.q.tally('p', 1, {'mod.func': 'a15:1 t:6000000'})
        self.q.put([message('a')])
        self.now += 11 * 60_000
        eq_(self.wanted().work_seconds, 6.0)
        self.q.tally('p', 2, {'mod.func': 'a12:1 t:1000000'})
        eq_(self.wanted().work_seconds, 1.0)
        self.q.put([message('b', header=b'new')])
        eq_(self.wanted().work_seconds, 2.0)   # of which nothing is known: as the others

    def test_soon(self):
        """What is due within a minute counts; what is later, or waits, does not."""
        self.q.tally('p', 1, {'mod.func': 'a15:1 t:6000000'})
        self.q.put([message('a', delay=59_000), message('b', 'a'), message('c', delay=61_000)])
        eq_(self.wanted()[1:], (1, 6.0, 60.0, 0, 1, 0))

    def test_nothing(self):
        eq_(self.wanted()[1:], (0, 0.0, 60.0, 0, 0, 0))
        self.q.put([message('a'), message('b')])
        eq_(self.wanted()[1:3], (1, 2.0))   # nothing is known of any: a second each
