"""``broker.view()``: what is shown of a queue and its tasks, on every queue."""
from __future__ import annotations

import json
from unittest import TestCase, mock

from test.broker_case import BrokerCase, on_every_queue
from test.support import eq_
from worq import QueueError, Task, current_task, pools
from worq.explain import explain
from worq.queue.base import Held, Minute, Outcome
from worq.view import View, model, plain
from worq.view.lately import samples
from worq.view.pace import Pace, Sample, noted, pace
from worq.view.records import Arguments, Details, Page, Running

EVIL = 'a\x1b[2Jb\nc'
SHOWN = r'a\x1b[2Jb\nc'


class Loaded:
    """Whoever loads it is noticed."""

    def __init__(self):
        self.a = 1

    def __setstate__(self, state):
        raise AssertionError('it was loaded')


def value():
    return Loaded()


def fail():
    raise ValueError('too \x1b low')


class ViewContract(BrokerCase):
    """What is there is shown, in texts that can be printed."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        self.b.backend.queues = lambda: ['z', self.name]   # those of other tests
        self.addCleanup(self.b.backend.__dict__.pop, 'queues')
        for function in [value, fail]:
            self.b.expose(function)
        self.q = self.b.queue()
        self.v = self.b.view()

    def test_overview(self):
        """Sizes, the oldest, what has ended, pools and what they run."""
        later = Task(self.q.value, delay=3600)()
        self.q.value(later)
        self.q.value()
        backend = self.b.backend
        workers = [pools.Worker(1, pools.RUNNING, EVIL, 'slow', 70.0, '', (EVIL,)),
                   pools.Worker(2, pools.RUNNING, 'x', 'quick', 1.0), pools.Worker(3, pools.IDLE)]
        backend.join('p1', {'kind': 'thread', 'size': '3', 'pid': '7', 'host': 'h',
                            'workers': pools.told(workers)})
        backend.join('p2', {'broken': EVIL, 'size': '2', 'tasks': 'value\nfail'})
        found = self.v.overview()
        eq_(found.sizes, {'pending': 1, 'scheduled': 1, 'enqueued': 1, 'processing': 0})
        eq_((found.queue, found.engine), (self.name, self.url().partition(':')[0]))
        self.assertNotIn('@', found.url)
        eq_((found.oldest['high'], found.oldest['low']), (None, None))
        self.assertGreaterEqual(found.oldest['normal'], 0)
        eq_((found.pools, found.workers, found.busy), (2, 5, 2))
        eq_(found.longest._replace(seconds=70), Running(SHOWN, 'slow', 70, 'p1', 1))
        self.assertGreaterEqual(found.longest.seconds, 70)
        self.work(self.b)
        eq_(self.v.overview().totals['success'], 1)
        one, other = self.v.pools()
        eq_((one.id, one.broken, one.tasks, one.busy), ('p2', SHOWN, ('value', 'fail'), 0))
        eq_((other.id, other.kind, other.pid, other.busy, other.alive, other.tasks),
            ('p1', 'thread', 7, 2, True, None))
        eq_(other.workers[0][:4], (1, 'running', SHOWN, 'slow'))
        eq_(other.workers[0].behind, (SHOWN,))
        eq_(self.v.queues(), sorted(['z', self.name]))
        self.assertIn(self.name, repr(self.v))

    def test_hour(self):
        """What ended in the last hour, and how many were ready, as pools have told."""
        for _ in range(3):
            self.q.value()
        backend = self.b.backend
        now = self.v.overview()
        eq_((now.ended, now.drain, now.grows), (
            {'success': 0, 'failed': 0, 'expired': 0, 'cancelled': 0}, None, None))
        backend.tally('p1', 1, {
            'value': 'v:5 f:1 t:6000000 a12:6 e12=1500000,a\x1b u:60 b4:6', 'mail.send': 'c:2'})
        view = self.b.view()
        eq_(view.overview().ended, {'success': 5, 'failed': 1, 'expired': 0, 'cancelled': 2})
        eq_(self.v.overview().ended['success'], 0)   # it has asked a moment ago
        eq_(view.totals().cells.keys(), {'value', 'mail.send'})
        first, second = view.names()
        eq_((first.name, second.name, second.work.cancelled), ('value', 'mail.send', 2))
        eq_(first.work[:8], (5, 1, 0, 0, 0, 6, 6.0, 1.0))
        self.assertTrue(0.6 < first.work.run_median < first.work.run_95 <= 1)
        eq_((first.work.wait_mean, first.work.slow, first.work.slow_seconds),
            (0.01, r'a\x1b', 1.5))
        eq_([row.name for row in view.names(8, 'mail.*')], ['mail.send'])
        eq_([row.name for row in view.names(1, 'x, value')], ['value'])
        eq_(view.names(1, 'mail'), ())
        minute, = view.minutes()
        eq_((minute.sizes['enqueued'], minute.work.success, minute.work.cancelled), (3, 5, 2))
        minute, = view.minutes(name='mail.*')
        eq_((minute.work.success, minute.work.cancelled, minute.work.run_mean), (0, 2, None))
        json.dumps(plain([view.minutes(), view.names()]))

    def test_tasks(self):
        """Tasks of a state come in pages, filtered by name."""
        made = [self.q.value() for _ in range(5)]
        bad = Task(self.q.fail, id=EVIL)()
        eq_([row.id for row in self.v.tasks('enqueued', newest=False).rows],
            [*(d.id for d in made), SHOWN])
        page = self.v.tasks('enqueued', 'value', newest=False, count=3)
        eq_([row.id for row in page.rows], [d.id for d in made[:3]])
        page = self.v.tasks('enqueued', 'value', newest=False, cursor=page.cursor, count=3)
        eq_(([row.id for row in page.rows], page.cursor), ([d.id for d in made[3:]], ''))
        eq_(self.v.tasks('enqueued', 'va.*').rows, ())
        later = Task(self.q.value, delay=3600)()
        row, = self.v.tasks('scheduled').rows
        eq_((row.id, row.name, row.state, row.attempt), (later.id, 'value', 'scheduled', 1))
        self.assertTrue(row.since and row.due > row.since + 3000)
        self.assertTrue(3500 < self.v.overview().due <= 3600)
        bad.cancel()
        row, = self.v.tasks('cancelled').rows
        eq_((row.id, row.state, row.due), (SHOWN, 'cancelled', None))
        with self.assertRaises(ValueError):
            self.v.tasks('nonsense')

    def test_steps(self):
        """Where many are looked through the page comes when it must, with what there is."""
        with mock.patch.object(self.b.backend, 'scan', return_value=([], 'on')) as scan:
            eq_(self.v.tasks('enqueued', 'rare', cursor='x', count=500), Page((), 'on'))
        eq_([call[0][3] for call in scan.call_args_list], ['x'] + ['on'] * (model.STEPS - 1))
        eq_(scan.call_args[0], ('enqueued', ['rare'], True, 'on', 200))

    def test_arguments(self):
        """Arguments are shown without being loaded, as long as the task is not completed."""
        first = self.q.value()
        d = self.q.fail(Loaded(), first, password='x')
        found = self.v.task(d.id)
        text = f'{__name__}.Loaded(a=1)'
        eq_(found.arguments, Arguments((text, f'<Deferred {first.id}>'), {'password': "'x'"}))
        eq_(found.sources, (first.id,))
        self.assertGreater(found.size, 50)
        eq_(self.v.task(d.id, arguments=False).arguments, None)
        hidden = self.b.view(lambda task, key, text: '*' if task == 'fail' else text).task(d.id)
        eq_(hidden.arguments, Arguments(('*', '*'), {'password': '*'}))
        big = self.q.value('x' * 2_000_000)
        found = self.v.task(big.id)
        eq_(found.arguments[:2], ((), {}))
        self.assertRegex(found.arguments.note, r'2,000,\d\d\d bytes are too many')
        d.cancel()
        found = self.v.task(d.id)
        eq_((found.state, found.arguments, found.size), ('cancelled', None, None))

    def test_deaths(self):
        """How deliveries were lost is told, and by which pools they were had."""
        self.q.value()
        backend = self.b.backend
        delivery, = backend.take('p\x1b', 1)
        backend.settle('p\x1b', [Outcome(delivery.id, delivery.token, 'lost', EVIL.encode())])
        found = self.v.task(delivery.id)
        eq_([death[1:] for death in found.deaths], [(r'p\x1b', SHOWN, None)])
        self.assertGreaterEqual(found.deaths[0].moment, found.put)

    def test_live(self):
        """A task in each state that is no end."""
        high = Task(self.q.value, priority='high', expires=600, retries=3)()
        then = Task(self.q.value, id=EVIL)(high)
        later = Task(self.q.value, delay=3600)()
        found = self.v.task(high.id)
        eq_((found.name, found.state, found.open, found.options),
            ('value', 'enqueued', 0, ('retries 3',)))
        self.assertTrue(0 < found.put <= found.ready)
        self.assertTrue(590 < found.expires <= 600)
        for id in [EVIL, SHOWN]:   # as it is shown it can be asked for, too
            found = self.v.task(id)
            eq_((found.id, found.state, found.open, found.waits_for),
                (SHOWN, 'pending', 1, (high.id,)))
            self.assertIn('\n  value [', found.explain)
            eq_(self.v.explain(id).partition('\n')[0], found.explain.partition('\n')[0])
        found = self.v.task(later.id)
        self.assertTrue(found.state == 'scheduled' and 3500 < found.due <= 3600)
        eq_(self.v.task('unknown'), None)
        eq_(self.v.task('un\\known'), None)
        eq_(self.v.task('un\\x20known'), None)
        self.assertIn('unknown', self.v.explain('unknown'))
        then.cancel()

    def test_running(self):
        """What runs: where, since when, and how far it has come."""
        self.q.value()
        backend = self.b.backend
        delivery, = backend.take('p1', 1)
        backend.join('p1', {'workers': pools.told([
            pools.Worker(5, pools.RUNNING, delivery.id, 'value', 70.0)])})
        backend.beat('p1', [Held(delivery.id, delivery.token, json.dumps([1, 2, EVIL]).encode())])
        found = self.v.task(delivery.id)
        eq_((found.state, found.pool, found.worker, found.deliveries), ('processing', 'p1', 5, 1))
        self.assertGreaterEqual(found.running, 70)
        self.assertGreaterEqual(found.begun, found.ready)
        eq_(found.progress, {'done': 1, 'total': 2, 'text': SHOWN})
        backend.join('p1', {'workers': pools.told([
            pools.Worker(5, pools.RUNNING, 'x', 'value', 70.0, '', (delivery.id,))])})
        found = self.v.task(delivery.id)
        eq_((found.worker, found.running, found.begun), (5, None, None))
        backend.leave('p1')
        eq_(self.v.task(delivery.id).worker, None)
        backend.settle('p1', [Outcome(delivery.id, delivery.token, 'release')])

    def test_retries(self):
        """Errors of earlier attempts are told."""
        d = Task(self.q.fail, retries=3, backoff=900)()
        self.work(self.b)
        found = self.v.task(d.id)
        eq_((found.state, found.attempt, found.errors),
            ('scheduled', 2, (r'ValueError: too \x1b low',)))

    def test_ended(self):
        """A value is shown without loading it; a failure with its traceback, and whose it is."""
        good, bad = self.q.value(), Task(self.q.fail, id=EVIL)()
        then = self.q.value(bad)
        self.b.tasks['tail'] = lambda: current_task().queue.value()
        tail = self.q.tail()
        self.work(self.b)
        text = f'{__name__}.Loaded(a=1)'
        found = self.v.task(good.id)
        eq_((found.state, found.result, found.error, found.origin), ('success', text, '', ''))
        self.assertTrue(found.put <= found.ready <= found.ended)
        eq_(self.v.task(good.id, arguments=False).result, '')
        hidden = self.b.view(lambda task, key, text: f'{task}/{key}' if key == 'a' else text)
        eq_(hidden.task(good.id).result, text.replace('1', 'value/a'))
        found = self.v.task(tail.id)
        eq_((found.result, found.origin != ''), (text, True))
        found = self.v.task(EVIL)
        eq_((found.state, found.result, found.error), ('failed', '', r'ValueError: too \x1b low'))
        self.assertIn('in fail\n', found.traceback)
        self.assertNotIn('\x1b', found.traceback)
        found = self.v.task(then.id)
        eq_((found.state, found.origin), ('failed', SHOWN))
        self.assertIn(f'since fail [{self.name}:{SHOWN}]', found.explain)
        # nor does explain() load what it tells of
        self.assertIn('ended with success', good.explain())
        gone = Task(self.q.value, ignore_result=True)
        gone()
        eq_(self.v.overview().sizes['enqueued'], 1)

    def test_long_value(self):
        """Of a value that is long it is said that it is there."""
        self.b.tasks['long'] = lambda: 'x' * 10_000_000
        d = self.q.long()
        self.work(self.b)
        result = self.v.task(d.id).result
        self.assertTrue(result.startswith(("'xxx", '(it is long')) and len(result) < 500)

    def test_other_secret(self):
        """Without the secret nothing is shown of values, and it is said why."""
        good, bad = self.q.value(), self.q.fail()
        self.work(self.b)
        if self.b.codec.keys is None:
            return
        other = self.broker(secret='another secret of some length').view()
        for d in [good, bad]:
            found = other.task(d.id)
            eq_(found.result, '')
            self.assertRegex(found.error, r'^\(.* is signed with a key .*\)$')

    def test_plain(self):
        """Each record is JSON, once it is plain."""
        d = self.q.value()
        self.b.backend.join('p1', {'workers': pools.told([pools.Worker(1, pools.IDLE)])})
        for record in [self.v.overview(), self.v.pools(), self.v.task(d.id), self.v.queues()]:
            made = plain(record)
            eq_(json.loads(json.dumps(made)), made)

    def test_damaged(self):
        """A task whose record others have damaged is told of as such."""
        damage = QueueError('it is damaged \x1b')
        damage.damaged = True
        with mock.patch.object(self.b.backend, 'inspect', side_effect=damage):
            eq_(self.v.task('x'), Details('x', note=r'it is damaged \x1b'))
        with mock.patch.object(self.b.backend, 'inspect', side_effect=QueueError('away')), \
                self.assertRaises(QueueError):
            self.v.task('x')


on_every_queue(globals(), ViewContract, file=True)


class Numbers(TestCase):

    def test_pace(self):
        """It drains, grows, stays, or nothing is known yet."""
        then, now = Sample(0, 100), Sample(60, 40)
        eq_(pace([then], now), Pace(drain=40.0))
        eq_(pace([then], Sample(60, 140)), Pace(grows=40.0))
        eq_(pace([then], Sample(60, 100)), Pace())
        eq_(pace([then], Sample(60, 0)), Pace(drain=0.0))
        eq_(pace([then], Sample(0.1, 40)), Pace())
        eq_(pace([], now), Pace())
        eq_(samples([Minute(0, {}, (1, 2, 3, 4)), Minute(60_000, {}, (0, 0, 5, 0))], 119_999),
            [Sample(60, 3)])
        eq_(pace([then, Sample(200, 100)], Sample(320, 80)), Pace(drain=480.0))
        kept = ()
        for second in range(1000):
            kept = noted(kept, Sample(second, second))
        eq_(list(kept), [Sample(at, at) for at in range(695, 1000, 5)])

    def test_explain_is_there(self):
        """One function says why, for Deferreds and views alike."""
        broker = mock.Mock()
        broker.backend.inspect.return_value = [None]
        broker.backend.results.return_value = [None]
        broker.name = 'q'
        eq_(View(broker).explain('x'), explain(broker, 'x', 'the task'))
