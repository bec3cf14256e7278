"""The schema number of a queue: programs of another one do nothing to it, and others get along."""
from __future__ import annotations

import threading
import time
import unittest
from typing import Callable
from unittest import mock

import redis as client

import worq
from test import support
from test.pool import tasks as pool_tasks
from test.queue.contract import held, message, outcome
from test.support import eq_, eventually
from worq import QueueError, const
from worq.pool import base as pools
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.queue import base
from worq.queue.redis import TaskQueue, script

BOTH = 'schema number 2, and this program works with 1'
MARK = b'a newer program knows'


class Case(unittest.TestCase):

    def setUp(self) -> None:
        self.name, self.url = support.unique(), support.redis_url()
        self.client = client.Redis.from_url(self.url)
        self.addCleanup(self.client.close)
        self.addCleanup(support.clean, self.url, self.name)
        self.q = self.queue()

    def queue(self, schema: int = 1, revision: int = 0) -> TaskQueue:
        """A queue as a program sees it whose scripts have these numbers."""
        queue = TaskQueue(self.url, self.name, retry_for=60)
        with mock.patch.dict(script.CONSTANTS, SCHEMA=schema, REVISION=revision):
            queue._scripts = script.load()
        self.addCleanup(queue.close)
        return queue

    def key(self, rest: str) -> str:
        return f'worq:{{{self.name}}}:{rest}'

    @property
    def version(self) -> bytes | None:
        found: bytes | None = self.client.hget(self.key('m'), 'version')
        return found

    def all(self) -> dict[bytes, bytes]:
        """All that is stored."""
        return {name: self.client.dump(name) for name in self.client.scan_iter(self.key('*'))}

    def fill(self, q: TaskQueue) -> base.Delivery:
        """Tasks in all states; what is processed."""
        q.join('p', {'host': 'h', 'boot': 'b'})
        q.put([message('done'), message('held'), message('waits', 'held'),
               message('later', delay=900_000), message('gate', flags=base.GATE)][:4])
        q.put([message('gate', flags=base.GATE)])
        done, taken = q.take('p', 2)
        eq_(q.settle('p', [outcome(done)]), ['ok'])
        q.put([message('plain')])
        q.watch('client', ['plain'])
        return taken


class Other(Case):
    """A program of another schema."""

    def verbs(self, q: TaskQueue, taken: base.Delivery) -> dict[str, Callable[[], object]]:
        """Each verb of the contract, of tasks that there are."""
        return {
            'put': lambda: q.put([message('new')]),
            'put that watches': lambda: q.put([message('new')], '', 'client'),
            'put of many': lambda: q.put([message('new'), message('new2')]),
            'put with an argument': lambda: q.put([message('new', 'held')]),
            'put of what there is': lambda: q.put([message('plain')]),
            'begin_put': lambda: q.begin_put([message('new')])(),
            'edges': lambda: q.edges('gate', 'waits', 'n' * 12, 0, [base.Argument('done', '')]),
            'cancel': lambda: q.cancel(['plain']), 'purge': q.purge,
            'revive': lambda: q.revive([base.Revival('done')]),
            'withdraw': lambda: q.withdraw(['plain'], 'moved'),
            'status': lambda: q.status(['plain']), 'inspect': lambda: q.inspect(['plain']),
            'message': lambda: q.message(['plain']), 'scan': lambda: q.scan('enqueued'),
            'family': lambda: q.family('plain'),
            'verify': lambda: q.verify(['plain']), 'results': lambda: q.results(['done']),
            'watch': lambda: q.watch('other', ['plain']),
            'watch of what is done': lambda: q.watch('other', ['done']),
            'ring': lambda: q.ring('client'), 'forget': lambda: q.forget(['done']),
            'join': lambda: q.join('p2', {'host': 'h'}), 'leave': lambda: q.leave('p'),
            'tell': lambda: q.tell('p', {'kind': 'x'}),
            'pools': q.pools, 'pools beside': lambda: q.pools('p'),
            'take': lambda: q.take('p', 9), 'take and wait': lambda: q.take('p', 9, 60),
            'beat': lambda: q.beat('p', held(taken)),
            'settle': lambda: q.settle('p', [outcome(taken)]),
            'turn': lambda: q.turn('p', [outcome(taken)], [], 1),
            'turn with nothing': lambda: q.turn('p', [], None, 1),
            'reconcile': lambda: q.reconcile('p', []), 'abandon': lambda: q.abandon('p', 'dead'),
            'ping': q.ping, 'size': q.size, 'stats': q.stats, 'oldest': q.oldest, 'audit': q.audit,
            'repair': lambda: q.audit(repair=True),
            'note': lambda: q.note('a', b'1'), 'notes': q.notes,
            'put_noted': lambda: q.put([message('noted')], note=base.Note('a', b'2', b'1')),
            'tally': lambda: q.tally('p', 1, {'a': 'v:1'}), 'totals': q.totals,
            'minutes': q.minutes,
            'patrol': lambda: q._run('patrol', 0, 500),
        }

    def refused(self, q: TaskQueue, numbers: tuple[int, int], taken: base.Delivery) -> None:
        before = self.all()
        for name, verb in self.verbs(q, taken).items():
            with self.subTest(name):
                begin = time.monotonic()
                with self.assertRaises(QueueError) as caught:
                    verb()
                eq_(caught.exception.schemas, numbers)
                self.assertRegex(str(caught.exception), 'number {}.* {},'.format(*numbers))
                self.assertLess(time.monotonic() - begin, 30)   # it would try for 60 seconds
                eq_(q._repairer._running, False)
                eq_(self.all(), before)

    def test_newer(self) -> None:
        """A program that is older than the data is refused each verb, and changes nothing."""
        self.refused(self.q, (2, 1), self.fill(self.queue(2)))

    def test_older(self) -> None:
        """So is one that is newer than the data."""
        self.refused(self.queue(2, 7), (1, 2), self.fill(self.q))
        eq_(self.q.status(['plain']), [const.ENQUEUED])

    def test_all_verbs(self) -> None:
        """No script but the one that tells of rights is without a look at the number."""
        for name, verb in script.load().items():
            eq_('OTHERSCHEMA' in verb.source, True, name)
        verbs = {name.split()[0] for name in self.verbs(self.q, None)}   # type: ignore[arg-type]
        eq_(set(script.load()) - verbs, {'rights'})

    def test_junk_stays(self) -> None:
        """A repair by a program of another schema does not begin: it knows no key of these."""
        self.client.hset(self.key('m'), mapping={'version': 2, 'new': MARK})
        self.client.set(self.key('new:thing'), MARK)
        before = self.all()
        with self.assertRaisesRegex(QueueError, BOTH):
            self.q.audit(repair=True)
        eq_(self.all(), before)

    def test_caller_and_waiter(self) -> None:
        """Who waits, without end or with, hears of it as who calls does."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        deferred = broker.queue().some.task()
        self.client.hset(self.key('m'), 'version', 2)
        with self.assertRaisesRegex(QueueError, BOTH):
            broker.queue().some.task()
        for timeout in None, 60:
            begin = time.monotonic()
            with self.assertRaisesRegex(QueueError, BOTH):
                deferred.wait(timeout)
            self.assertLess(time.monotonic() - begin, 30)
        with self.assertRaisesRegex(QueueError, BOTH):
            deferred.explain()

    def test_waiting(self) -> None:
        """Who waits while the number changes hears of it with the next look."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        deferred = broker.queue().some.task()
        found: list[Exception] = []

        def wait() -> None:
            try:
                deferred.wait(60)
            except QueueError as error:
                found.append(error)
        waiter = threading.Thread(target=wait)
        with mock.patch('worq.inbox.REWATCH', 0.1):
            waiter.start()
            self.addCleanup(waiter.join)
            eventually(lambda: bool(self.client.hget(self.key(f't:{deferred.id}'), 'w')))
            self.client.hset(self.key('m'), 'version', 2)
            eventually(lambda: bool(found))
        self.assertIn(BOTH, str(found[0]))


class Pools(Case):
    """A pool on a queue of another schema."""

    def broker(self) -> worq.Broker:
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        broker.expose(len)
        return broker

    def work(self, broker: worq.Broker) -> None:
        """A task is run by the pool that there is."""
        deferred = broker.queue().len([1, 2])
        deferred.wait(20)
        eq_(deferred.value, 2)

    def test_start(self) -> None:
        """To start is an error, and leaves nothing that runs; it can be started later."""
        broker = self.broker()
        self.client.hset(self.key('m'), 'version', 2)
        threads = thread.WorkerPool(broker)
        children = process.WorkerPool(broker, pool_tasks.init, (self.url, self.name), workers=1)
        before = threading.active_count()
        with self.assertRaisesRegex(QueueError, BOTH):
            threads.start()
        with self.assertRaisesRegex(QueueError, BOTH):
            children.start(handle_sigterm=False)
        eq_(threading.active_count(), before)
        self.client.hset(self.key('m'), 'version', 1)
        threads.start()
        self.addCleanup(threads.stop)
        self.work(broker)

    def test_running(self) -> None:
        """A pool that runs takes nothing more, says so once, and goes on when it may."""
        broker = self.broker()
        pool = thread.WorkerPool(broker)
        pool.start()
        self.addCleanup(pool.stop)
        newer = self.queue(2)
        with self.assertLogs('worq', 'ERROR') as logs:
            self.client.hset(self.key('m'), 'version', 2)
            newer.put([message('theirs')])
            eventually(lambda: len(logs.output) > 0)
            eventually(lambda: pool._desk._pause > 4 * pools.PAUSE[0])   # it has tried some times
        eq_(len(logs.output), 1)
        self.assertIn('take nothing', logs.output[0])
        self.assertIn(BOTH, logs.output[0])
        eq_(newer.status(['theirs']), [const.ENQUEUED])
        self.client.hset(self.key('m'), 'version', 1)
        self.work(broker)

    def test_said(self) -> None:
        """It is said at intervals that grow, and of what is only away, at equal ones."""
        now = time.monotonic()
        for schemas, times in [((2, 1), [0, 30, 90, 210]), (None, [*range(0, 211, 30)])]:
            desk = pools.Desk(self.q, 15_000)
            error = QueueError('no')
            error.schemas = schemas
            said = []
            with mock.patch.object(pools.log, 'error') as log:
                for second in range(215):
                    with mock.patch.object(pools.time, 'monotonic', return_value=now + second):
                        desk._gone(error)
                    if log.call_count > len(said):
                        said.append(second)
            eq_(said, times)


class Beside(Case):
    """Programs of one schema, old and new, side by side."""

    def test_work(self) -> None:
        """Each takes, settles and waits for what the other has put, whoever came first."""
        for first, second in [(self.queue(1, 3), self.q), (self.q, self.queue(1, 3))]:
            support.clean(self.url, self.name)
            for n, (one, other) in enumerate([(first, second), (second, first)] * 2):
                one.put([message(f'a{n}')])
                one.put([message(f'b{n}', f'a{n}'), message(f'c{n}', delay=900_000)])
                one.watch('client', [f'b{n}'])
                other.join('p', {'host': 'h'})
                for _ in 'ab':
                    [taken] = other.turn('p', [], [], 1).deliveries
                    eq_(one.turn('p', [outcome(taken)], None, 0).settled, ['ok'])
                eq_([id for id, _ in one.wait('client', 1)], [f'b{n}'])
                eq_(other.cancel([f'c{n}']), ['cancelled'])
                for q in one, other:
                    eq_(q.status([f'a{n}', f'b{n}']), [const.SUCCESS] * 2)
                    eq_(q.audit(), [])
            eq_(self.version, b'1.3')   # whoever was the newest; the older one leaves it

    def junk(self) -> dict[str, bytes]:
        """What a newer revision may have, as it is stored now."""
        found = {name: self.client.get(self.key(name)) for name in ('new', 'new:thing')}
        found['m'] = self.client.hget(self.key('m'), 'new')
        found['t'] = self.client.hget(self.key('t:done'), 'N')
        return {name: value for name, value in found.items() if value is not None}

    def damage(self) -> None:
        """Something that is to be repaired, beside what is not known here."""
        self.client.delete(self.key('q:1'))
        self.client.hset(self.key('t:done'), mapping={'N': MARK, 'j': b'x'})
        self.client.hset(self.key('m'), 'new', MARK)
        for name in 'new', 'new:thing':
            self.client.set(self.key(name), MARK)

    def test_repair(self) -> None:
        """A repair by the older program keeps what it does not know, and does all else."""
        self.queue(1, 1).join('newer', {})
        self.fill(self.q)
        self.damage()
        kept = self.junk()
        eq_(len(kept), 4)
        told = self.q.audit(repair=True)
        eq_([line for line in told if not line.startswith('task ')], [], str(told))
        self.assertGreater(len(told), 0)
        eq_(self.junk(), kept)
        eq_(self.q.audit(), [])
        eq_(self.client.hget(self.key('t:done'), 'j'), None)
        eq_(self.q.status(['plain']), [const.ENQUEUED])

    def test_repair_alone(self) -> None:
        """Where no program is newer, it is none of ours and goes."""
        self.fill(self.q)
        self.damage()
        self.q.audit(repair=True)
        eq_(self.junk(), {})
        eq_(self.q.audit(), [])


class Number(Case):
    """Where the number comes from."""

    def test_first_put(self) -> None:
        """The first put of a queue writes it, also one of a plain task, and so does a join."""
        for begin in [lambda q: q.put([message('a')]), lambda q: q.put([message('a', delay=9)]),
                      lambda q: q.put([message('a'), message('b')]), lambda q: q.join('p', {})]:
            support.clean(self.url, self.name)
            eq_(self.version, None)
            begin(self.q)
            eq_(self.version, b'1')

    def test_anew(self) -> None:
        """A queue whose keys are gone begins anew, and another schema may have it."""
        self.q.put([message('a')])
        newer = self.queue(2)
        with self.assertRaises(QueueError):
            newer.put([message('b')])
        support.clean(self.url, self.name)
        newer.put([message('b')])
        eq_(self.version, b'2')
        with self.assertRaisesRegex(QueueError, BOTH):
            self.q.put([message('c')])

    def test_none_yet(self) -> None:
        """A queue that has tasks and no number is worked off; the next put gives it one."""
        taken = self.fill(self.q)
        self.client.hdel(self.key('m'), 'version')
        eq_(self.q.beat('p', held(taken)), [])
        eq_(self.q.turn('p', [outcome(taken)], [], 0).settled, ['ok'])
        eq_(self.q.watch('other', ['plain']), [])
        eq_(self.version, None)
        self.q.put([message('next')])
        eq_(self.version, b'1')
        eq_(self.q.audit(), [])

    def test_damaged(self) -> None:
        """What is no number is damage: all goes on, and the next put or a repair sets it right."""
        for value in b'', b'x', b'-1', b'1.5.2', b'9' * 15, b'\xff', b'1 ':
            support.clean(self.url, self.name)
            taken = self.fill(self.q)
            self.client.hset(self.key('m'), 'version', value)
            eq_(len(self.q.audit()), 1)
            eq_(self.q.settle('p', [outcome(taken)]), ['ok'])
            self.q.put([message('next')])
            eq_(self.version, b'1')
            self.client.hset(self.key('m'), 'version', value)
            eq_(len(self.q.audit(repair=True)), 1)
            eq_(self.version, None)
