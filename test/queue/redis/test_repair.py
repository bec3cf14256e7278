"""What others have written into the keys of a queue: each kind of damage, and its end."""
from __future__ import annotations

import threading
import time
import unittest
from typing import Any, Callable
from unittest import mock


import worq
from test import leaks, support
from test.queue.contract import message, outcome
from test.queue.redis import test_details
from test.support import eq_, eventually
from worq import QueueError, TaskExpired, const
from worq.pool import base as pools
from worq.pool.thread import pool as thread
from worq.queue import base
from worq.queue.redis import repair, queue as redis

GRAPH = ['done', 'long', 'enqueued', 'scheduled', 'held', 'waits', 'twice', 'tail']


class Case(test_details.Case):
    """A queue with a task of every state."""

    def setUp(self) -> None:
        support.redis_url()   # the server that is started for it is no leak
        leaks.watch(self)
        super().setUp()

    def fill(self) -> None:
        q = self.q
        q.join('p', {'host': 'h'})
        q.put([message('done'), message('long'), message('tail')])
        done, long, tail = q.take('p', 3)
        q.settle('p', [outcome(done), outcome(long, 'value', bytes(9000))])
        q.put([message('held')])
        self.held, = q.take('p', 1)
        q.put([message('enqueued', 'done', body=bytes(500))])
        q.settle('p', [outcome(tail, 'delegate', b'seal', target=base.Argument('held', ''))])
        q.put([message('scheduled', delay=3_600_000),
               message('waits', base.Argument('held', '', b'seal'), 'long'),
               message('twice', 'waits', 'held')])
        for client_ in 'c', 'c2':
            q.watch(client_, GRAPH)
        q.ring('c')
        eq_(q.audit(), [])

    def mend(self) -> list[str]:
        """Repair until nothing is left; what there was."""
        found = self.q.audit(repair=True)
        eventually(lambda: self.q.audit(repair=True), [])
        return found

    def work_some(self) -> None:
        """Work off what can be taken, when all that is scheduled is due and all leases are lost."""
        self.client.hdel(self.key('m'), 'tick')
        self.client.zadd(self.key('sched'), {'scheduled': 0}, xx=True)
        for name in self.client.zrange(self.key('lease'), 0, -1):
            self.client.zadd(self.key('lease'), {name: 0})
        for held in self.q.take('p', 10):
            self.q.settle('p', [outcome(held)])

    def finish(self) -> dict[str, str]:
        """Work off what is left; how each came out: the letter of its outcome, or nothing."""
        def step() -> bool:
            self.work_some()
            return self.q.size() == 0
        eventually(step)
        eventually(lambda: self.q.audit(), [])
        return {id: record[12:13].decode().lower() if record else ''
                for id, record in zip(GRAPH, self.q.results(GRAPH))}


class Repair(Case):

    def test_swollen(self) -> None:
        """A task whose hash has thousands of fields ends when it is met, be its entry in a list or
        purged, and how many are ready is right afterwards."""
        for purges in 0, 1:
            self.q.put([message('first'), message('second')])
            self.client.hset(self.key('t:first'), mapping={f'x{n}': n for n in range(10_000)})
            if purges:
                eq_(self.q.purge(), 2)
            eq_([one.id for one in self.q.take('p', 1)], ['second'] * (not purges))
            eventually(lambda: self.q.take('p', 1) or self.q.audit(), [])
            self.q.cancel(['second'])
            eq_((self.q.stats()['enqueued'], self.q.audit()), (0, []))

    def test_sound(self) -> None:
        """A repair of what is sound changes nothing."""
        self.fill()
        everything = {key: self.client.dump(key) for key in self.client.keys(self.key('*'))}
        eq_(self.q.audit(repair=True), [])
        eq_({key: self.client.dump(key) for key in self.client.keys(self.key('*'))}, everything)
        eq_(self.finish(), dict.fromkeys(GRAPH, 'v'))

    def test_seats(self) -> None:
        """A repair looks again: what it is told of sound tasks does nothing to them."""
        self.fill()
        pins = {'done': 1, 'long': 1, 'held': 2, 'waits': 1}
        argv: list[Any] = []
        for id in GRAPH:
            argv += ('t', id, '', 'pins', id, pins.get(id, 0))
            for kind in 'abdrsw':
                argv += (kind, id, '')
        self.q._run('repair', *argv)
        eq_(self.q.audit(), [])
        eq_(self.finish(), dict.fromkeys(GRAPH, 'v'))

    def test_undone(self) -> None:
        """What ended, and is told to be in hand again, ends as damaged, and the key of its long
        outcome goes with it."""
        self.fill()
        self.client.hset(self.key('t:long'), 's', b'p')
        self.assertTrue(self.mend())
        eq_(self.client.exists(self.key('r:long')), 0)
        eq_(self.finish()['long'], 'x')

    def test_any_key(self) -> None:
        """Each key deleted, and made another type: a repair reports it, and then all is as it
        should be, and every task comes to an end."""
        self.fill()
        names = sorted(key.decode() for key in self.client.keys(self.key('*')))
        self.assertGreater(len(names), 20)
        for name in names:
            for damage in (self.client.delete, lambda key: self.client.delete(key)
                           and self.client.geoadd(key, (1, 1, 'x')) if ':t:' in key
                           else self.client.delete(key) and self.client.hset(key, 'x', 'y')):
                with self.subTest(name.partition('}:')[2], damage=damage):
                    support.clean(self.url, self.name)
                    self.fill()
                    damage(name)
                    audit = self.q.audit()
                    found = self.mend()
                    eq_(bool(found), bool(audit))
                    came = self.finish()
                    eq_({id for id, letter in came.items() if letter not in ('v', 'x', '')}, set())
                    lost = {id for id, letter in came.items() if letter != 'v'}
                    self.assertFalse(lost and not found and ':t:' not in name, (lost, found))

    def test_any_field(self) -> None:
        """Each field of each task, and of the queue itself, deleted and made nonsense: so too."""
        for value in None, b'9' * 30, b'\xff':
            self.fill()
            keys = [self.key('m'), *(self.key(f't:{id}') for id in GRAPH)]
            places = [(key, field) for key in keys for field in self.client.hkeys(key)]
            for key, field in places:
                with self.subTest(key.partition('}:')[2], field=field, value=value):
                    support.clean(self.url, self.name)
                    self.fill()
                    if value is None:
                        self.client.hdel(key, field)
                    else:
                        self.client.hset(key, field, value)
                    self.mend()
                    self.finish()
            support.clean(self.url, self.name)

    def test_members(self) -> None:
        """Members that are no tasks, in every index and list, are thrown away, or passed over."""
        self.fill()
        for junk in b'', b'\xff\xfe', b'x' * 12 + b'nobody', b'99999':
            for name in 'sched', 'lease', 'wait', 'pools':
                self.client.zadd(self.key(name), {junk: 1e18})
            for name in ('q:0', 'q:1', 'q:c1', 'rel', 'unpin', 'trash', 'wake', 'in:c', 'a:waits',
                         'd:held'):
                self.client.lpush(self.key(name), junk)
            for name in 'other', 'q', 'q:', 'm:', 'a', 'a:', 'x:1:wait', 'x:z':
                self.client.set(self.key(name), junk)
        self.client.hset(self.key('m'), 'more', 1)
        self.mend()
        came = self.finish()
        eq_({id for id, letter in came.items() if letter not in 'vx'}, set())

    def test_never(self) -> None:
        """A delay for a time that never comes is over, and so is a pause of the reaper. A lease
        gets the usual time, in which a pool that lives renews it."""
        self.fill()
        self.client.zadd(self.key('sched'), {'scheduled': float('inf')})
        self.client.zadd(self.key('lease'), {'held': 1e18})
        self.client.hset(self.key('m'), 'calm', 10 ** 14)
        eq_(len(self.mend()), 3)
        self.client.hdel(self.key('m'), 'tick')
        self.assertEqual({d.id for d in self.q.take('p', 9)}, {'scheduled', 'enqueued'})
        seconds, _ = self.client.time()
        self.assertLess(self.client.zscore(self.key('lease'), 'held') / 1000, seconds + 17)
        eq_(self.q.beat('p', [base.Held('held', self.held.token)]), [])

    def test_calm(self) -> None:
        """Reaping pauses for no longer than a tick asks for, without a repair."""
        for calm in time.time() * 1000 + 10 ** 11, 'nan', 'inf':
            with self.subTest(calm):
                support.clean(self.url, self.name)
                self.fill()
                self.client.hset(self.key('m'), 'calm', calm)
                self.client.zadd(self.key('lease'), {'held': 0})
                self.client.hdel(self.key('m'), 'tick')
                self.q.turn('other')
                eq_(self.q.status(['held']), ['enqueued'])

    def test_long_meta(self) -> None:
        """What is long, where every verb reads a number, is gone after one of them."""
        for field in 'purges', 'skew':
            self.fill()
            self.client.hset(self.key('m'), field, bytes(1_000_000))
            self.q.turn('other')
            eq_(self.client.hget(self.key('m'), field), None)
            support.clean(self.url, self.name)

    def test_search(self) -> None:
        """What others wrote among the searches for circles fails no verb."""
        self.fill()
        nonce = {id: self.client.hget(self.key(f't:{id}'), 'n').decode() for id in GRAPH}
        self.client.rpush(self.key('loops'), nonce['tail'] + 'tail')
        self.client.sadd(self.key('seen0'), 'x')
        for side in 'loop0', 'loop1':
            for start in '9' * 30, '9' * 16, '':
                self.client.rpush(self.key(side), f'{start}:{nonce["twice"]}twice', 'x')
        self.client.hset(self.key('m'), 'more', 1)
        for _ in range(9):
            self.q.beat('p')
        eq_(set(self.finish().values()), {'v'})

    def test_circle(self) -> None:
        """A task that a repair makes wait for what waits for it ends, and so do the others."""
        for id, target, end in [('held', 'twice', 'x'), ('held', 'held', 'x'),
                                ('scheduled', 'twice', 'v')]:
            with self.subTest(id, target=target):
                support.clean(self.url, self.name)
                self.fill()
                self.client.hset(self.key(f't:{id}'), mapping={'s': 'p', 'x': target})
                self.mend()
                eq_(self.finish()[id], end)

    def test_registers(self) -> None:
        """A repair makes the order of registers anew from what they hold; they are kept."""
        def sound() -> None:
            eq_(self.q.notes(), [('a', b'1'), ('b', b'2')])
            eq_(self.q.audit(), [])
        for damage in [lambda key: self.client.delete(key('noted')),
                       lambda key: self.client.zadd(key('noted'), {'none': 0}),
                       lambda key: self.client.zrem(key('noted'), 'a'),
                       lambda key: self.client.set(key('noted'), 'x')]:
            self.q.note('a', b'1')
            self.q.note('b', b'2')
            sound()
            damage(self.key)
            assert self.mend()
            eventually(lambda: self.q.audit(), [])
            sound()
        self.client.hset(self.key('note'), 'a', 'x' * (const.NOTE + 1))   # by nobody of ours
        eq_(self.q.notes(), [('b', b'2')])
        eq_(self.q.note('a', b'3', b''), b'3')

    def test_said(self) -> None:
        """What was repaired is said in the log."""
        self.fill()
        self.client.delete(self.key('q:c1'))
        with self.assertLogs('worq', 'WARNING') as logs:
            eq_(self.mend(), ["task 'enqueued': enqueued, but in no ready list"])
        self.assertIn('no ready list', logs.output[0])


class MenderTest(unittest.TestCase):

    def mender(self, *claims: str) -> repair.Repairer:
        """One whose claims are answered so; what it does is in `done`."""
        self.enterContext(mock.patch.object(repair, 'AGAIN', 0.01))
        self.done: list[str] = []
        answers = list(claims)

        def claim() -> str:
            self.done.append('claim')
            return answers.pop(0)
        return repair.Repairer(lambda: self.done.append('repair'), claim)

    def test_after_another(self) -> None:
        """A repair that another process had begun before is waited for, and then it is ours."""
        self.mender('one', 'one', '').alarm()
        eventually(lambda: self.done, ['claim', 'claim', 'claim', 'repair'])

    def test_by_another(self) -> None:
        """A repair that another process has begun since is as good as ours."""
        mender = self.mender('one', 'two')
        mender.alarm()
        eventually(lambda: mender._running, False)
        self.assertEqual(self.done, ['claim', 'claim'])

    def test_alarm_meanwhile(self) -> None:
        """What is met during a repair, however often, is answered by one more."""
        mender = self.mender('', '')
        begun, go_on = threading.Event(), threading.Event()
        repairs = []

        def repair() -> None:
            repairs.append(1)
            begun.set()
            go_on.wait(30)
        mender._repair = repair
        mender.alarm()
        self.assertTrue(begun.wait(30))
        for _ in range(5):
            mender.alarm()
        go_on.set()
        eventually(lambda: mender._running, False)
        self.assertEqual(len(repairs), 2)

    def test_close(self) -> None:
        """Who waits for another's repair does so no longer once the queue is closed; the next
        alarm counts again."""
        mender = self.mender('one', '')
        with mock.patch.object(repair, 'AGAIN', 60):
            mender.alarm()
            eventually(lambda: self.done, ['claim'])
            mender.close()
            eventually(lambda: mender._running, False)
        mender.alarm()
        eventually(lambda: self.done, ['claim', 'claim', 'repair'])

    def test_failing(self) -> None:
        """A repair that fails is tried three times, and again after the next alarm."""
        mender = self.mender(*[''] * 6)
        mender._repair = mock.Mock(side_effect=QueueError('no'))
        for times in 3, 6:
            with self.assertLogs('worq', 'WARNING'):
                mender.alarm()
                eventually(lambda: mender._running, False)
            self.assertEqual(mender._repair.call_count, times)


class Alarm(Case):

    def test_pool_goes_on(self) -> None:
        """A key that makes every turn fail is found by who meets it, and repaired in the
        background; the pool goes on, and so do producers and those who wait."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        broker.expose(len)
        q = broker.queue()
        poisons: list[Callable[[], Any]] = [
            lambda: self.replace('q:1'), lambda: self.replace('lease'), lambda: self.replace('m'),
            lambda: self.replace('sched'), lambda: self.replace('rel'),
            lambda: self.client.hset(self.key('m'), 'purges', 'x'),
            lambda: self.client.rpush(self.key('q:1'), 'n' * 12 + 'bad') and
            self.client.hset(self.key('t:bad'), mapping={'s': 'e', 'n': 'n' * 12, 'e': 'x'}),
            lambda: self.client.rpush(self.key('q:1'), 'n' * 12 + 'text') and
            self.client.set(self.key('t:text'), 'x')]
        with mock.patch.object(repair, 'AGAIN', 0.05), mock.patch.object(redis, 'MENDING', 50), \
                thread.WorkerPool(broker, workers=2):
            for poison in poisons:
                eq_(q.len('x').result(timeout=30), 1)
                poison()
                deferred, limit = None, time.monotonic() + 20
                while deferred is None:
                    self.assertLess(time.monotonic(), limit)
                    try:
                        deferred = q.len('four')
                    except QueueError as error:
                        self.assertIn('repaired', str(error))
                self.ends(deferred)
        eventually(lambda: self.q.audit(repair=True), [])

    def replace(self, name: str) -> None:
        with self.client.pipeline() as pipe:
            pipe.delete(self.key(name)).geoadd(self.key(name), (1, 1, 'x'))
            if name in ('lease', 'sched'):
                pipe.delete(self.key(name)).set(self.key(name), 'x')
            pipe.execute()

    def ends(self, deferred: worq.Deferred) -> None:
        """It has a value, or has expired, if it was under way when the key was replaced."""
        try:
            eq_(deferred.result(timeout=60), 4)
        except TaskExpired:
            pass

    def test_lease_of_nothing(self) -> None:
        """A lease whose task somebody has deleted does not stop the ticks."""
        self.fill()
        self.client.delete(self.key('t:held'))
        self.client.zadd(self.key('lease'), {'held': 1})
        self.client.hdel(self.key('m'), 'tick')
        self.q.beat('p')
        eq_(self.client.zcard(self.key('lease')), 0)

    def test_strange_pools(self) -> None:
        """What a pool tells of itself may be anything: nobody stumbles over it."""
        ours = pools.describe()
        for pid in '9' * 30, '\u00b2', '', '-1', 'x':
            self.q.join('other', {**ours, 'pid': pid})
            eq_(pools.cause_of_death(self.q.pools()['other'], ours), '')
        self.client.zadd(self.key('pools'), {b'\xff': 1e18})
        self.client.hset(self.key('pool:other'), b'\xff', b'\xff')
        eq_(len(self.q.pools()), 2)

    def test_strange_news(self) -> None:
        """An inbox may hold anything: what makes no sense is no news."""
        self.q.put([message('a')])
        self.q.watch('c', ['a'])
        self.client.rpush(self.key('in:c'), b'\xff', b'r', b'rx:y', b'r1:\xff', b'')
        self.q.cancel(['a'])
        eq_([id for id, _ in self.q.wait('c', 1)], ['a'])

    def test_strange_numbers(self) -> None:
        """Sizes are numbers from 0, whatever is counted."""
        for number in 'nan', 'inf', '9' * 30, 'x', '':
            self.client.hset(self.key('m'), 'dead', number)
            eq_(self.q.size(), 0)

    def test_strange_arguments(self) -> None:
        """A task whose arguments have no names is not delivered, and others are."""
        self.q.put([message('a'), message('b', 'a')])
        held, = self.q.take('p', 2)
        self.q.settle('p', [outcome(held)])
        self.client.lset(self.key('a:b'), 0, b'\xff')
        self.q.put([message('c')])
        eq_([d.id for d in self.q.take('p', 5)], ['c'])

    def test_damaged_outcome(self) -> None:
        """An outcome that is none is a failure, by all ways to ask for it."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        deferred = broker.queue().len('x')
        held, = self.q.take('p', 1)
        self.q.settle('p', [outcome(held)])
        self.client.hset(self.key(f't:{deferred.id}'), 'r', f'{deferred._nonce}?')
        eq_(deferred.status, 'failed')
        self.assertIn('failed', repr(deferred))
        self.assertIn('DecodeError', str(deferred.exception()))
