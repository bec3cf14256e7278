"""Deferred.explain and .progress: what is told of a task in each state, on every queue."""
from __future__ import annotations

import json
import re
import sys
import threading
from datetime import UTC, datetime, timedelta
from unittest import mock

import worq
from test.broker_case import BrokerCase, on_every_queue
from test.support import eventually
from worq import Progress, Task, const, current_task, pools
from worq.codec import Codec, Keyring
from worq.explain import explain, moment, report, span
from worq.pool.run import run
from worq.pool.thread import WorkerPool
from worq.queue.base import Held, Inspection


def double(n):
    return 2 * n


def total(numbers):
    return sum(numbers)


def fail():
    raise ValueError('too low')


class ExplainContract(BrokerCase):
    """Each state has its words."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        self.b.backend.queues = lambda: []   # those of other tests, whose pools live
        self.addCleanup(self.b.backend.__dict__.pop, 'queues')
        for function in [double, total, fail]:
            self.b.expose(function)
        self.q = self.b.queue()

    def said(self, deferred, *lines):
        """It says these lines, patterns in which ID stands for the task's own label."""
        label = re.escape(f'{deferred.name} [{self.name}:{deferred.id}]')
        pattern = '\n'.join(lines).replace('ID', label).replace(r'\[NAME:', rf'\[{self.name}:')
        self.assertRegex(deferred.explain(), f'^{pattern}$')

    def test_enqueued(self):
        """A ready task has a place in the queue, and pools that know it or do not."""
        made = [self.q.double(n) for n in range(3)]
        high = Task(self.q.double, priority='high')(1)
        self.said(high, r'ID is enqueued, and waits for a worker: it is the next to be taken\.',
                  r'  No pool works on this queue\.')
        self.said(made[0], r'ID is .*: 1 task is to be taken before it\.', '.*')
        self.said(made[2], r'ID is .*: 3 tasks are to be taken before it\.', '.*')
        backend = self.b.backend
        for infos, says in [
                ([{}], r'1 pool works on this queue\.'),
                ([{'tasks': 'double\nx'}], '1 pool .*; it knows a task of this name'),
                ([{'tasks': 'x\ndoublet'}], '1 pool .*; it does not know a task of this name'),
                ([{'tasks': 'x'}, {'tasks': ''}], '2 pools .*; none of them knows a task'),
                ([{'tasks': 'x'}, {}], r'2 pools work on this queue\.'),
                ([{'tasks': 'double'}, {'tasks': 'x'}, {}], '3 pools .*; 1 of them knows a task'),
                ([{'tasks': 'double'}, {'tasks': 'double'}], '2 of them know a task'),
                ([{'broken': 'E: a\tb' + 'x' * 999}],
                 r'1 pool works on this queue, but none of its workers could begin: E: a bx{294}'
                 r'\.\.\.$'),
                ([{'tasks': 'double'}, {'broken': 'E: x'}],
                 r'2 pools .*; 1 of them knows a task of this name\. None of the workers of 1 of '
                 'them could begin: E: x$'),
                ([{'broken': 'E: x'}, {'broken': 'E: x'}],
                 '2 pools work on this queue, but none of their workers could begin: E: x$')]:
            for number, info in enumerate(infos):
                backend.join(f'pool-{number}', info)
            self.assertRegex(made[0].explain().splitlines()[1], says)
            for number in range(3):
                backend.leave(f'pool-{number}')

    def test_expires(self):
        """Of a task that expires it is told how long there is."""
        d = Task(self.q.double, expires=7200)(1)
        self.said(d, 'ID is enqueued.*', r'  It will be too late to begin in (2 h|1 h 59 min), and '
                                      r'then it will fail\.', '.*')

    def test_scheduled(self):
        """A delay says until when; a retry says after which error too."""
        d = Task(self.q.double, delay=3600)(1)
        self.said(d, r'ID is scheduled, and due in (1 h|59 min( \d+ s)?) \(at [-\d: ]+\)\.')
        for options, of in [({'retries': 3}, ' of 4'), ({}, '')]:
            bad = Task(self.q.fail, backoff=50, **options)() if options else self.q.later()
            self.b.tasks['later'] = self.ask
            self.work(self.b)
            error = 'ValueError: too low' if options else 'Retry: it asked to be run again'
            self.said(bad, r'ID is scheduled, and due in (50|49|9\d*)[. \d]*s \(at .*\)\.',
                      f'  Attempt 1{of} ended with {error}')
            bad.cancel()

    def test_defined(self):
        """Retries that the definition grants are counted, where it is known."""
        self.b.expose(fail, replace=True, retries=7, backoff=50)
        d = self.q.fail()
        self.work(self.b)
        self.assertIn('Attempt 1 of 8 ended with ValueError', d.explain())
        other = self.broker().deferred(d.id)
        self.assertIn('Attempt 1 ended with ValueError', other.explain())
        d.cancel()

    @staticmethod
    def ask():
        raise worq.Retry(delay=50)

    def test_pending(self):
        """What is open among the arguments is told, and why; bounded, and each task once."""
        late = Task(self.q.double, delay=3600)(1)
        a, b = self.q.double(late), self.q.total([late])
        top = self.q.total([a, b, 5, self.q.double(6)])
        self.said(
            top, 'ID is pending: it waits for 3 arguments:',
            r'  double \[NAME:.*\] is pending: it waits for an argument:',
            r'    double \[NAME:.*\] is scheduled, and due in .*',
            r'  total \[NAME:.*\] is pending: it waits for an argument:',
            r'    \[NAME:.*\], see above\.',
            r'  double \[NAME:.*\] is enqueued, .*', r'    No pool works .*')
        both = Task(self.q.double, delay=7200)(late)
        self.said(both, 'ID is pending: it waits for an argument:',
                  r'  double \[NAME:.*\] is scheduled, .*',
                  r'  And it is due in (2 h|1 h 59 min) \(at .*\), at the earliest\.')
        wide = self.q.total(worq.map(self.q.double, [late] * 1500))
        self.assertRegex(wide.explain(), r'it waits for 1,500 arguments:\n')
        self.assertRegex(wide.explain(), r'\n  \.\.\. and 1,496 more\.$')
        level = [late]
        for _ in range(4):
            level = [self.q.total(level[n:] + level[:n]) for n in range(4)]
        for _ in range(40):
            level = [self.q.total(level)]
        text = level[0].explain()
        self.assertLess(len(text.splitlines()), 100)
        self.assertTrue(text.rstrip().endswith('...'), text)

    def test_tail_call(self):
        """A task that has returned another one waits for that."""
        self.b.tasks['tail'] = lambda: Task(current_task().queue.double, delay=3600)(1)
        d = self.q.tail()
        self.work(self.b)
        self.said(d, 'ID is pending: it has returned another task, and waits for .* comes to:',
                  r'  double \[NAME:.*\] is scheduled, and due .*')

    def test_running(self):
        """What runs is told with its pool, since when, how far it is, and in which attempt."""
        backend = self.b.backend
        backend.join('pool-1', {'host': 'earth', 'pid': '42'})
        d = Task(self.q.fail, retries=5, backoff=0)()
        self.work(self.b, limit=1)
        eventually(lambda: self.take(), True)
        delivery = self.taken
        self.assertIsNone(d.progress)
        progress = Progress(30, 1200, 'in the hall')
        backend.beat('pool-1', [Held(d.id, delivery.token, progress.encode())])
        self.assertEqual(d.progress, progress)
        self.said(d, r'ID is processing: it runs, and was taken \d\.\d s ago\.',
                  r'  Pool pool-1 has it, which is process 42 on earth\.',
                  r'  It is at 30 of 1,200 \(2 %\): in the hall',
                  '  This is attempt 2; the one before ended with ValueError: too low')
        backend.settle('pool-1', [run(self.b, delivery)._replace(word='failure')])
        self.assertIsNone(d.progress)
        backend.leave('pool-1')

    def take(self):
        taken = self.b.backend.take('pool-1', 1)
        self.taken = taken[0] if taken else None
        return bool(taken)

    def test_ended(self):
        """How it ended is told, and by whose fault."""
        good, bad, gone = self.q.double(1), self.q.fail(), self.q.double(1)
        after = self.q.double(bad)
        self.b.tasks['tail'] = lambda: current_task().queue.fail()
        tail = self.q.tail()
        gone.cancel()
        never = self.q.total([gone])
        self.work(self.b)
        self.said(good, r'ID ended with success: it has its value\.')
        self.said(bad, 'ID failed: ValueError: too low')
        self.said(after, r'ID failed, since fail \[NAME:.*\], which it depended on, failed: '
                         'ValueError: too low')
        self.said(tail, r'ID failed, since fail \[NAME:.*\], which it depended on, failed: '
                        'ValueError: too low')
        self.said(gone, 'ID was cancelled')
        self.said(never, 'ID was cancelled, since double .*, which it depended on, was cancelled')
        again = self.b.deferred(bad.id)
        self.assertIn('failed: ValueError', again.explain())

    def test_unknown(self):
        """An id that nobody knows is told of; but not of what has arrived here before."""
        self.assertRegex(self.b.deferred('nobody').explain(),
                         r'\[.*:nobody\] is unknown to the queue: it was never put, or')
        d = self.q.double(1)
        self.work(self.b)
        self.assertEqual(d.result(30), 2)
        self.b.backend.forget([d.id])
        self.said(d, r'ID ended with success: it has its value\.')
        self.assertIsNone(d.progress)

    def test_in_a_batch(self):
        """A task that is not put yet says so."""
        with worq.batch(self.q):
            d = self.q.double(1)
            self.assertRegex(d.explain(), 'is not put before its batch ends')

    def test_another_secret(self):
        """The errors of earlier attempts are not told to who cannot verify them."""
        d = Task(self.q.fail, retries=5, backoff=3600)()
        self.work(self.b)
        other = self.broker()
        other.codec = Codec(self.name, keys=Keyring(['another secret, long enough']))
        self.assertIn('is to be run again', other.deferred(d.id).explain())
        d.cancel()

    def test_in_a_pool(self):
        """Progress comes from a pool by itself, and its tasks are known by their names."""
        go = threading.Event()

        def sweep():
            for n in range(100_000):
                current_task().progress(n, 100_000)
            go.wait(90)
        self.b.expose(sweep)
        with WorkerPool(self.b, workers=1):
            try:
                d, waiting, unknown = self.q.sweep(), self.q.double(1), self.q.nobody()
                eventually(lambda: d.progress, Progress(99_999, 100_000, ''), timeout=60)
                self.assertIn('1 pool works on this queue; it knows a task', waiting.explain())
                self.assertIn('it does not know a task of this name', unknown.explain())
                self.assertRegex(d.explain(), 'which is process .*\n(  Worker 0 .*\n)?'
                                              '  It is at 99,999 of 100,000')
            finally:
                go.set()
            d.result(30)


def told(inspections, here=None, others=()):
    """What is said of task a, of a queue that answers so.

    :param others: the pools of each queue, if there are others.
    """
    backend = mock.Mock(inspect=lambda ids: [inspections.get(id) for id in ids],
                        pools=lambda: here or {}, queues=lambda: list(others), options={},
                        notes=lambda prefix, limit: [])
    backend.open = lambda url, name: mock.Mock(pools=lambda: others[name])
    broker = mock.Mock(backend=backend, codec=Codec('q'))
    broker.name = 'q'
    return explain(broker, 'a', 'f').splitlines()


def test_aside():
    """Of what no pool knows it is told what each has, the nearest names, and how long it waits."""
    pools = {'p1': {'seen': '0', 'tasks': 'a\nff\nfg\nz'}, 'p2': {'seen': '0', 'tasks': 'z'},
             'p3': {'seen': '0'}, 'p4': {'seen': '999999', 'tasks': 'f'}}
    seen = Inspection('enqueued', b'f', ahead=0, aside=2000, grace=3000)
    assert told({'a': seen}, pools)[1:] == [
        '  3 pools work on this queue.',
        '  Pool p1 has 4 tasks, as fg, ff.',
        '  Pool p2 has 1 task, z.',
        '  Pool p3 has not told yet which tasks it has, or they are too many to tell.',
        '  It has stood aside for 2.0 s, for a pool that has it.',
        '  If none comes in the next 3.0 s it will fail, see `unknown_grace`.']
    pools['p3']['tasks'] = 'f'
    assert told({'a': seen._replace(grace=None)}, pools)[1:] == [
        '  3 pools work on this queue; 1 of them knows a task of this name.',
        '  It has stood aside for 2.0 s, for a pool that has it.']


def test_lost():
    """Of a task that came back from a worker it is told, and of pools that are silent."""
    silent = {'seen': '180000', 'host': 'earth', 'pid': '42'}
    assert told({'a': Inspection('scheduled', b'f', due=4000, deliveries=2)})[1:] == [
        '  It was taken, and came back without having been done (delivery 2): its worker died, or '
        'its pool does not know it.']
    assert told({'a': Inspection('enqueued', b'f', ahead=0, deliveries=1)},
                {'p': silent})[1:] == [
        '  No pool works on this queue.',
        '  It came back from a worker that was lost, or from a pool that does not know it '
        '(delivery 1).']
    assert told({'a': Inspection('processing', b'f', pool='p', taken=200_000, deliveries=2)},
                {'p': silent}) == [
        'f [q:a] is processing: it runs, or is about to, and was taken 3 min 20 s ago.',
        '  Pool p has it, which is process 42 on earth; this is delivery 2.',
        '  That pool was last heard of 3 min ago.']
    assert 'more than 10,000 tasks' in told({'a': Inspection('enqueued', b'f')})[0]


def test_pools_that_do_nothing():
    """Pools that are still starting, or all of whose workers wait, are told of; so are others."""
    ready = {'a': Inspection('enqueued', b'f', ahead=0)}
    starting = pools.told([pools.Worker(n, pools.STARTING) for n in (1, 2)])
    waiting = pools.told([pools.Worker(1, pools.WAITING, 'w', 'g', 2.0, 'a')])
    known = {'seen': '0', 'tasks': 'f', 'size': '1'}
    for found, says in [
            ({'p': {'seen': '0', 'workers': starting}},
             '1 pool works on this queue, and is still starting.'),
            ({'p': {'seen': '0', 'workers': starting}, 'q': known},
             '2 pools work on this queue; 1 of them knows a task of this name.'),
            ({'p': {**known, 'workers': waiting}},
             '1 pool works on this queue; it knows a task of this name. But all of its workers run '
             'tasks that wait for others, as g [q:w] does: let a task return the Deferred, or take '
             'it as an argument.'),
            ({'p': {**known, 'size': '2', 'workers': waiting}},
             '1 pool works on this queue; it knows a task of this name.')]:
        assert told(ready, found)[1] == '  ' + says, told(ready, found)
    others = {'q': {}, 'x': {'p': known}, 'y': {'p': {'seen': '99999'}}, 'z': {'p': known}}
    for names, says in [('q', ''), ('qx', "; there are pools on 'x'"), ('qy', ''),
                        ('qxyz', "; there are pools on 'x' and 'z'")]:
        assert told(ready, {}, {name: others[name] for name in names})[1] == \
            f'  No pool works on this queue{says}.'


def test_behind_another():
    """What waits behind another task that its worker runs is told of; and if that waits too."""
    def of(state, waits_for=''):
        worker = pools.Worker(7, state, 'b', 'g', 2.0, waits_for, ('x', 'a'))
        seen = {'a': Inspection('processing', b'f', pool='p', taken=3000),
                'c': Inspection('scheduled', b'h', due=5000)}
        return told(seen, {'p': {'seen': '500', 'workers': pools.told([worker])}})
    lines = ['f [q:a] is processing: it waits behind another task that its worker runs, and was '
             'taken 3.0 s ago.', '  Pool p has it.',
             '  Worker 7 has run g [q:b] for 2.5 s, and 1 more are before it.']
    assert of(pools.RUNNING) == lines, of(pools.RUNNING)
    assert of(pools.WAITING, 'c')[:-1] == [
        *lines, '  That one waits for another task, and holds its worker meanwhile:']
    assert of(pools.WAITING, 'c')[-1].startswith('    h [q:c] is scheduled')


def test_what_pools_tell():
    """What a pool tells of its workers comes back; it has its bounds, and nonsense is nothing."""
    workers = [pools.Worker(1, pools.IDLE),
               pools.Worker(2, pools.RUNNING, 'a', 'é', 1.5, '', ('b',)),
               pools.Worker(3, pools.WAITING, 'c', 'f', 0.25, 'd')]
    info = {'workers': pools.told(workers), 'seen': '500', 'pid': '7', 'tasks': 'f\ng', 'size': '3'}
    pool = pools.read('p', info, 'redis+sentinel://h')
    assert pool.workers == (workers[2]._replace(seconds=0.75), workers[1]._replace(seconds=2.0),
                            workers[0])
    assert (pool.pid, pool.tasks, pool.engine, pool.seen) == (7, ('f', 'g'), 'redis', 0.5)
    many = [pools.Worker(n, pools.RUNNING, f'{n}', 'x' * 500) for n in range(9999)]
    text = pools.told(many)
    assert len(text) < 33 << 10 and len(pools.read('p', {'workers': text}).workers) > 50
    for text in ['', '7', '[[]]', '[[1]]', '[["x", 1]]', '[[1, 9]]', '[[1, 1, "a"]]', '{', 'null',
                 '[[1, 1, "a", "b", "c", "d"]]', '[[1, [], 2]]']:
        assert pools.read('p', {'workers': text}).workers == (), text
    assert pools.read('p', {'seen': 'x', 'pid': '-'}).pid == 0
    assert pools.told([]) == ''


def test_behind_a_gate():
    """What is held back by a batch is told of, with what it waits for besides."""
    held = '  It is part of a batch that is not complete yet, which holds it back.'
    assert told({'a': Inspection('pending', b'f', gate='g')}) == [
        'f [q:a] is pending: it is held back.', held]
    lines = told({'a': Inspection('pending', b'f', gate='g', open=1, arguments=('b',)),
                  'b': Inspection('pending', b'g', gate='g')})
    assert lines == ['f [q:a] is pending: it waits for an argument:', held,
                     '  g [q:b] is pending: it is held back.', '  ' + held]


def test_spans():
    """Durations are told by their two largest units."""
    for ms, text in [(0, '0.0 s'), (1234, '1.2 s'), (9_999, '10.0 s'), (59_999, '59 s'),
                     (60_000, '1 min'), (200_000, '3 min 20 s'), (3_600_000, '1 h'),
                     (3_661_000, '1 h 1 min'), (3_601_000, '1 h'), (90_000_000, '1 d 1 h')]:
        assert span(ms) == text, (span(ms), text)


def test_moments():
    """A moment of today has a time, another one a date too."""
    soon = datetime.now() + timedelta(seconds=1)
    said = moment(1000)
    assert said.startswith('in 1.0 s (at '), said
    if soon.hour < 23:   # else it may be tomorrow already
        assert '-' not in said, said
    day = (datetime.now(UTC).astimezone() + timedelta(days=2)).strftime('%Y-%m-%d')
    assert f'in 2 d (at {day} ' in moment(2 * const.DAY * 1000), moment(2 * const.DAY * 1000)


def test_reports():
    """Progress is told with a share where there is a total."""
    for progress, text in [
            (Progress(3), 'It is at 3.'), (Progress(3, 4), 'It is at 3 of 4 (75 %).'),
            (Progress(1.5, 0, 'x'), 'It is at 1.5 of 0: x'),
            (Progress(1, None, 'x'), 'It is at 1: x')]:
        assert report(progress) == text, report(progress)


def test_progress_too_long():
    """A long text is cut; what is too long otherwise cannot be told, and that is found at once."""
    tries = iter(range(30))

    def dumps(value):
        if next(tries, None) is None:
            raise AssertionError('it goes on for ever')
        return json.dumps(value)

    with mock.patch.object(sys.modules['worq.progress'], 'json', mock.Mock(dumps=dumps)):
        assert len(Progress(1, 2, 'x' * 10_000).encode()) <= const.PROGRESS
        for progress in [Progress('x' * 5_000), Progress(10 ** 2_000), Progress(1, 2, ['x'] * 999)]:
            try:
                raise AssertionError(progress.encode())
            except ValueError as error:
                assert str(const.PROGRESS) in str(error), error


on_every_queue(globals(), ExplainContract)
