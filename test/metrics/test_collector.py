"""What Prometheus reads: by its own parser, in four reads of the queue."""
from __future__ import annotations

import math
import os
import subprocess
import sys
import unittest
from unittest import mock

from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.exposition import generate_latest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.exposition import generate_latest as generate_plain
from prometheus_client.parser import text_string_to_metric_families as parse_plain

from test.queue.contract import message, outcome
from test.support import eq_
from worq import QueueError, const, get_broker, metrics, pools
from worq.metrics import collector
from worq.metrics.schedules import NAMED, Glance
from worq.queue.memory import TaskQueue
from worq.schedules.firing import Firing
from worq.tally import OTHER
from worq.timing import checked

NAME = 'a "b"\\\n{c}'


class Case(unittest.TestCase):

    def setUp(self):
        name = f'metrics-{os.urandom(6).hex()}'
        self.broker = get_broker('memory://', name)
        self.addCleanup(self.broker.close)
        self.addCleanup(TaskQueue._opened.pop, ('memory://', name), None)
        self.now = 1_700_000_000_000
        self.q = self.broker.backend
        self.q.clock = lambda: self.now

    def fill(self):
        """Some of everything."""
        self.q.join('p', {'host': 'h1', 'pid': '1', 'kind': 'process', 'size': '4', 'workers':
                          pools.told([pools.Worker(1, 'running', 'r', 'mail', 2.0),
                                      pools.Worker(2, 'starting')])})
        self.q.join('q', {'host': 'h1', 'kind': 'thread', 'size': '1', 'broken': 'why'})
        self.q.put([message('a'), message('b', 'a'), message('c', delay=9_000), message('d'),
                    message('e', priority=0), message('f', header=b'gone')])
        self.now += 2_500
        self.q.cancel(['f'])
        one, = self.q.take('p', 1)
        self.q.settle('p', [outcome(one)])
        self.q.take('p', 1)
        self.q.tally('p', 1, {'mail': 'v:3 f:1 r:2 a0:4 a13:2 t:3500000 e13=1500000,m-1 b12:6 '
                                      'u:5400', NAME: 'v:1'})

    def families(self, *brokers):
        registry = CollectorRegistry()
        registry.register(metrics.Collector(*brokers or [self.broker]))
        return {one.name: one for one in text_string_to_metric_families(
            generate_latest(registry).decode())}

    def test_paused(self):
        """What is paused is told by its names, as long as it is so."""
        eq_(self.paused(), [])
        self.broker.pause(['mail.*', '*'])
        eq_(self.paused(), ['mail.*', '*'])
        self.broker.resume(['mail.*', '*'])
        eq_(self.paused(), [])

    def paused(self):
        found = self.families().get('worq_paused')
        return [one.labels['names'] for one in found.samples] if found else []

    def values(self, family):
        return {tuple(value for key, value in sorted(sample.labels.items()) if key != 'queue'):
                sample.value for sample in family.samples}


class CollectorTest(Case):

    def test_families(self):
        """All that was announced is there, as the parser of OpenMetrics has it."""
        self.fill()
        found = self.families()
        eq_(set(found), {f'worq_{name}' for name in collector.FAMILIES})
        for family in found.values():
            for sample in family.samples:
                eq_(sample.labels['queue'], self.broker.name)
        eq_(self.values(found['worq_tasks']),
            {('pending',): 1, ('scheduled',): 1, ('enqueued',): 1, ('processing',): 1})
        eq_(self.values(found['worq_oldest_seconds']),
            {('high',): 0, ('normal',): 2.5, ('low',): 0})
        eq_(self.values(found['worq_queue_ended']),
            {('success',): 1, ('failed',): 0, ('expired',): 0, ('cancelled',): 1})
        ended = self.values(found['worq_ended'])
        eq_((ended['success', 'mail'], ended['failed', 'mail'], ended['cancelled', 'gone']),
            (3, 1, 1))
        eq_(self.values(found['worq_retried'])['mail',], 2)
        eq_(self.values(found['worq_pools']),
            {('alive',): 2, ('broken',): 1, ('stuck',): 0, ('silent',): 0})
        eq_(self.values(found['worq_workers']), {
            ('h1', 'process', 'busy'): 1, ('h1', 'process', 'starting'): 1,
            ('h1', 'process', 'idle'): 2, ('h1', 'thread', 'busy'): 0,
            ('h1', 'thread', 'starting'): 0, ('h1', 'thread', 'idle'): 1})
        eq_(self.values(found['worq_up']), {(): 1})

    def test_histograms(self):
        """Buckets add up, and some have a task for an example."""
        self.fill()
        samples = self.families()['worq_run_seconds'].samples
        found = {sample.labels.get('le', sample.name[17:]): sample for sample in samples
                 if sample.labels['task'] == 'mail'}
        eq_([found[le].value for le in ('0.001', '1.0', '1.8', '3600.0', '+Inf', 'count', 'sum')],
            [4, 4, 6, 6, 6, 6, 3.5])
        example = found['1.8'].exemplar
        eq_((example.labels, example.value), ({'task_id': 'm-1'}, 1.5))
        eq_(found['0.001'].exemplar, None)
        waits = {sample.labels.get('le', sample.name[18:]): sample.value for sample in
                 self.families()['worq_wait_seconds'].samples}
        eq_((waits['0.6'], waits['1.0'], waits['sum']), (0, 6, 5.4))

    def test_names(self):
        """A name may be of any characters; and is one label, whoever reads it."""
        self.fill()
        registry = CollectorRegistry()
        registry.register(metrics.Collector(self.broker))
        for text, parse in ((generate_latest, text_string_to_metric_families),
                            (generate_plain, parse_plain)):
            tasks = {sample.labels['task'] for family in parse(text(registry).decode())
                     for sample in family.samples if 'task' in sample.labels}
            eq_(len(tasks), 3)
            self.assertIn('mail', tasks)

    def test_labels_do_not_explode(self):
        """However many names, pools and hosts there are."""
        for number in range(2 * const.TALLIED // const.TELLS):
            self.q.tally('p', number + 1,
                         {f'{number}-{n}': 'v:1 a1:1 t:1' for n in range(const.TELLS)})
        for n in range(3 * collector.HOSTS):
            self.q.join(f'pool-{n}', {'host': f'h{n}', 'kind': 'process', 'size': '1'})
        found = self.families()
        names = {sample.labels['task'] for sample in found['worq_ended'].samples}
        eq_(len(names), const.TALLIED + 1)
        self.assertIn(OTHER, names)
        hosts = self.values(found['worq_pool_silent_seconds'])
        eq_(len(hosts), collector.HOSTS + 1)
        eq_(self.values(found['worq_workers'])[OTHER, 'process', 'idle'], 2 * collector.HOSTS)
        eq_(self.values(found['worq_pools'])['alive',], 3 * collector.HOSTS)

    def test_four_reads(self):
        """A scrape costs a queue four reads; to register costs none."""
        asked = []

        class Spy:
            def __getattr__(self, verb):
                def call(*args, **kw):
                    asked.append(verb)
                    return getattr(queue, verb)(*args, **kw)
                return call
        queue = self.q
        with mock.patch.object(self.broker, 'backend', Spy()):
            registry = CollectorRegistry()
            registry.register(metrics.Collector(self.broker))
            eq_(asked, [])
            for _ in range(3):
                generate_latest(registry)
        eq_(asked, ['totals', 'pools', 'notes', 'notes'] * 3)

    def test_queue_away(self):
        """A queue that is out of reach is told, and harms no other."""
        other = get_broker('memory://', f'{self.broker.name}-2')
        self.addCleanup(TaskQueue._opened.pop, ('memory://', other.name), None)
        with mock.patch.object(self.q, 'totals', side_effect=QueueError('away')), \
                self.assertLogs('worq.metrics', 'WARNING') as logged:
            for _ in range(3):
                found = metrics.Collector(self.broker, other)
                up = {sample.labels['queue']: sample.value
                      for family in found.collect() for sample in family.samples
                      if sample.name == 'worq_up'}
                list(found.collect())
        eq_(up, {self.broker.name: 0, other.name: 1})
        eq_(len(logged.output), 3)   # once a minute of each collector

    def test_pace(self):
        """How long it will take, by what was seen before; NaN while it grows."""
        clock = self.enterContext(mock.patch.object(collector.time, 'monotonic', lambda: now[0]))
        now = [100.0]
        self.q.put([message(f'{n}') for n in range(30)])
        found = metrics.Collector(self.broker)

        def seen(name):
            return next(sample.value for family in found.collect() for sample in family.samples
                        if sample.name == f'worq_{name}')
        self.assertTrue(math.isnan(seen('drain_seconds')))
        eq_(seen('work_seconds'), 0.0)   # nothing is known of how long they take
        now[0] += 10
        self.q.settle('p', [outcome(one) for one in self.q.take('p', 10)])
        self.q.tally('p', 1, {'mail': 'a3:10 t:5000000'})
        eq_(seen('drain_seconds'), 20.0)
        eq_(seen('work_seconds'), 10.0)
        now[0] += 10
        self.q.put([message(f'n{n}') for n in range(30)])
        self.assertTrue(math.isnan(seen('drain_seconds')))
        del clock

    def test_no_broker(self):
        with self.assertRaises(ValueError):
            metrics.Collector()

    def test_missing(self):
        """Without prometheus-client the error says what to install."""
        code = ('import sys; sys.modules["prometheus_client"] = None\n'
                'try: import worq.metrics\n'
                'except ImportError as error: print(error)')
        out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        self.assertIn("pip install 'WorQ[prometheus]'", out.stdout, out.stderr)


class SchedulesTest(Case):

    def setUp(self):
        super().setUp()
        self.task = self.broker.queue().poll

    def look(self):
        """Have a pool put what is due."""
        Firing(self.q, self.broker.codec, lambda: self.now).look()

    def test_slots(self):
        """How late each is, and how many slots had a run, had none, or were skipped."""
        for name in 's', 'u', 'stopped':
            self.broker.schedules.set(name, self.task, every=10)
        self.broker.schedules.pause('stopped')
        found = self.families()
        eq_(self.values(found['worq_schedule_lag_seconds']),
            {('s',): 0, ('u',): 0, ('stopped',): 0})
        eq_(self.values(found['worq_schedules']),
            {('active',): 2, ('paused',): 1, ('orphaned',): 0, ('broken',): 0})
        self.now += 32_000
        eq_(self.values(self.families()['worq_schedule_lag_seconds']),
            {('s',): 22, ('u',): 22, ('stopped',): 0})
        self.look()
        self.now += 10_000
        self.look()
        found = self.families()
        eq_(self.values(found['worq_schedule_lag_seconds'])['s',], 0)
        eq_([self.values(found[f'worq_schedule_{word}'])['s',]
             for word in ('fired', 'missed', 'skipped')], [1, 2, 1])

    def test_states(self):
        """What would not run is told: what is damaged, and what no pool declares any more."""
        pool = Firing(self.q, self.broker.codec, lambda: self.now)
        pool.declare({'poll': checked(every=60)})
        pool.look()
        self.q.note('schedule:bad', b'{')
        self.now += 3_600_001
        eq_(self.values(self.families()['worq_schedules']),
            {('active',): 0, ('paused',): 0, ('orphaned',): 1, ('broken',): 1})

    def test_many(self):
        """A look is one read: of many it sees the next hundred, and forgets what is gone."""
        for number in range(NAMED + 50):
            self.broker.schedules.set(f'{number:03}', self.task, every=10)
        self.q.note('schedulesque', b'by a program')
        self.q.note('schedule', b'by another')
        glance = Glance(self.broker)
        looks = 0
        while len(glance.look(self.now)) < NAMED + 50:
            looks += 1
        self.assertLess(looks, 4)
        self.broker.schedules.forget('007')
        self.broker.schedules.forget(f'{NAMED + 49:03}')
        for _ in range(4):
            known = glance.look(self.now)
        eq_([one.name for one in known],
            [f'{number:03}' for number in range(NAMED + 49) if number != 7])

    def test_name_of_others(self):
        """A schedule that is named as the others are labelled is one of them."""
        for name in OTHER, *(f'a{number}' for number in range(NAMED)):
            self.broker.schedules.set(name, self.task, every=10)
        registry = CollectorRegistry()
        registry.register(metrics.Collector(self.broker))
        for _ in range(4):
            text = generate_latest(registry).decode()
        eq_(text.count(f'worq_schedule_lag_seconds{{queue="{self.broker.name}",'
                       f'schedule="{OTHER}"}}'), 1)

    def test_labels(self):
        """However many there are; of those without labels the one that is late most is told."""
        for number in range(NAMED + 50):
            self.broker.schedules.set(f'{number:03}', self.task, every=10 if number < 240 else 100)
        self.now += 50_000
        registry = CollectorRegistry()
        registry.register(metrics.Collector(self.broker))
        for _ in range(4):
            text = generate_latest(registry).decode()
        found = {one.name: one for one in text_string_to_metric_families(text)}
        lags = self.values(found['worq_schedule_lag_seconds'])
        eq_((len(lags), lags[OTHER,]), (NAMED + 1, 40))
        eq_(len(found['worq_schedule_missed'].samples), NAMED)
        eq_(sum(self.values(found['worq_schedules']).values()), NAMED + 50)
