"""``worq metrics``."""
from __future__ import annotations

import sys
from unittest import mock

from prometheus_client.openmetrics.parser import text_string_to_metric_families

from test import broker_case
from test.cli.support import CommandCase
from test.support import eq_
import worq
from worq import metrics
from worq.cli.usage import NOTHING, OK, USAGE, Usage, place


class Metrics(broker_case.MemoryMixin, CommandCase):

    __test__ = True

    def test_text(self):
        """What Prometheus would read, printed once."""
        self.broker().queue().shop.add(1)
        done = self.worq('metrics')
        eq_((done.status, done.err), (OK, ''))
        found = {family.name: family for family in text_string_to_metric_families(done.out)}
        ready, = (sample.value for sample in found['worq_tasks'].samples
                  if sample.labels['state'] == 'enqueued')
        eq_(ready, 1)

    def test_json(self):
        """How many workers are wanted, an object a line."""
        self.broker().queue().shop.add(1)
        found, = self.worq('metrics', '--json').objects
        eq_((found['queue'], found['wanted'], found['ready']), (self.name, 1, 1))

    def test_serve(self):
        """It serves until it is interrupted, and then lets go of the port."""
        served = []

        def run(server):
            served.append(server)
            raise KeyboardInterrupt
        with mock.patch.object(metrics.Server, 'run', run):
            done = self.worq('metrics', '--serve', '127.0.0.1:0')
        server, = served
        self.assertIn(f':{server.port}/metrics', done.err)
        with metrics.Server(self.broker(), port=server.port):
            done = self.worq('metrics', '--serve', server.port)
        eq_(done.status, NOTHING)
        self.assertIn(f'cannot listen on 127.0.0.1:{server.port}', done.err)

    def test_place(self):
        eq_([place(text) for text in ('9100', ':9100', '0.0.0.0:80', '[::1]:80', 'host:0')],
            [('127.0.0.1', 9100), ('0.0.0.0', 9100), ('0.0.0.0', 80), ('::1', 80), ('host', 0)])
        for text in ('', 'x', ':', 'h:', 'h:x', '70000', '-1'):
            with self.assertRaises(Usage):
                place(text)
        done = self.worq('metrics', '--serve', 'x')
        eq_(done.status, USAGE)
        self.assertIn('as in 9100', done.err)

    def test_missing(self):
        """Without prometheus-client it says what to install."""
        loaded = [name for name in sys.modules if name.startswith(('prometheus', 'worq.metrics'))]
        with mock.patch.dict(sys.modules, dict.fromkeys(loaded)):
            for name in loaded:
                if name.startswith('worq.metrics'):
                    del sys.modules[name]
            kept = worq.__dict__.pop('metrics')
            try:
                done = self.worq('metrics')
            finally:
                worq.metrics = kept
        eq_(done.status, NOTHING)
        self.assertIn("pip install 'WorQ[prometheus]'", done.err)
