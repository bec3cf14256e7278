"""A queue moved to another one: each task is in one of them, and runs once, wherever it dies."""
from __future__ import annotations

from collections import Counter
import logging
from types import SimpleNamespace
import unittest
from unittest import mock

import worq
from worq import Task, TaskCancelled, TaskSpace, const, current_task, moving
from worq.errors import QueueError
from worq.moving import REGISTER, move
from worq.pool.run import run
from worq.queue.registers import held

from test import support
from test.support import eq_

RUNS: list[str] = []
space, slow = TaskSpace('moved'), TaskSpace('slow')


@space.task
def note(label, *others):
    RUNS.append(label)
    return label


@space.task
def fail(label):
    RUNS.append(label)
    raise ValueError(label)


@space.task
def calls(label, *others):
    """Returns the Deferred of another task, which may do so in turn."""
    RUNS.append(label)
    q = current_task().queue
    return q.moved.calls(*others) if len(others) > 1 else q.slow.join(*others)


@slow.task
def join(label, *others):
    RUNS.append(label)
    return '+'.join([label, *map(str, others)])


class Dead(BaseException):
    """The process has died."""


class Mortal:
    """A queue; the process that uses it dies at a certain call, before or after that is done."""

    def __init__(self, queue, life):
        self.queue = queue
        self.life = life

    def __getattr__(self, name):
        found = getattr(self.queue, name)
        if not callable(found) or name in ('within', 'close'):
            return found

        def call(*args, **kw):
            life = self.life
            life.calls += 1
            if life.calls > life.last or life.calls == life.last and not life.after:
                raise Dead
            answer = found(*args, **kw)
            if life.calls == life.last:
                raise Dead
            return answer
        return call


class Moves(unittest.TestCase):
    """From one queue to another; a subclass says of which engines they are."""

    __test__ = False
    secrets: tuple = ('a secret of sixteen', 'another of sixteen')
    every = 1    # which calls it dies at: one of so many

    def urls(self):
        raise NotImplementedError

    def setUp(self):
        RUNS.clear()
        self.enterContext(mock.patch.object(logging.getLogger('worq'), 'disabled', True))
        self.enterContext(mock.patch.object(logging.getLogger('worq.pool.run'), 'disabled', True))
        self.folder = support.folder(self)
        for name, value in {'LEASE': 100, 'SHORTEST': 0.002, 'LONGEST': 0.05}.items():
            self.enterContext(mock.patch.object(moving, name, value))
        self.brokers = [self.open(n) for n in (0, 1)]

    def open(self, n):
        url = self.urls()[n]
        broker = worq.get_broker(url, support.unique(), secret=self.secrets[n])
        broker.expose(space)
        broker.expose(slow)
        self.addCleanup(self.close, broker)
        return broker

    def close(self, broker):
        broker.resume(force=True)
        broker.backend.purge()
        broker.backend.beat('ticker')
        broker.backend.delete()
        broker.close()

    def work(self, broker):
        """Run what is ready."""
        while deliveries := broker.backend.take('p', 50):
            outcomes = [run(broker, delivery) for delivery in deliveries]
            eq_(set(broker.backend.settle('p', outcomes)), {'ok'})

    def graph(self, broker):
        """Tasks of all kinds, some of which have run; what those come to that can be asked for."""
        q = broker.queue()
        broker.pause('slow.*')
        broker.backend.join('p', {'tasks': '\n'.join(broker.tasks)})
        done, failed = q.moved.note('done'), q.moved.fail('failed')
        first = Task(q.slow.join, id='first')('first')
        last = Task(q.slow.join, priority='low', id='last')('last')
        caller = q.moved.calls('caller', 'inner')
        outer = q.moved.calls('outer', 'middle', 'deep')
        pair = q.slow.join('pair', done, first)
        passes = Task(q.slow.join, on_error=Task.PASS)('passes', first, failed)
        end = Task(q.slow.join, id='end')('end', pair, caller, last)
        Task(q.slow.join, ignore_result=True)('ignored')
        Task(q.slow.join, delay=9_000, expires=99_000, id='later')('later')
        Task(q.slow.join, priority='high', id='high')('high')
        fan = [q.slow.join(f'fan {n}') for n in range(30)]
        wide = q.slow.join('wide', *fan)
        self.work(broker)
        broker.resume('slow.*')
        broker.backend.leave('p')
        eq_(sorted(RUNS), ['caller', 'done', 'failed', 'middle', 'outer'])
        RUNS.clear()
        self.count = broker.backend.stats()
        return {
            first: 'first', last: 'last', pair: 'pair+done+first', caller: 'inner', outer: 'deep',
            end: 'end+pair+done+first+inner+last',
            wide: 'wide+' + '+'.join(f'fan {n}' for n in range(30)), passes: None}

    def check(self, expected):
        """All of it has come, runs once, and comes to what it would have come to."""
        source, target = self.brokers
        eq_(source.backend.size(), 0)
        eq_((source.pauses(), held(source.backend, REGISTER)), ([], b''))
        eq_(source.backend.audit(), [])
        eq_(target.backend.audit(), [])
        seen, = target.backend.inspect(['later'])
        eq_(seen.state, 'scheduled')
        self.assertTrue(8_000_000 < seen.due <= 9_000_000 < seen.expires <= 99_000_000)
        for _ in range(30):
            target.backend.beat('ticker')   # goes on with what is left over
        self.work(target)
        eq_(Counter(RUNS), Counter(
            ['first', 'last', 'inner', 'deep', 'pair', 'passes', 'end', 'ignored', 'high', 'wide',
             *(f'fan {n}' for n in range(30))]))
        self.assertLess(RUNS.index('high'), RUNS.index('first'))
        self.assertGreater(RUNS.index('last'), RUNS.index('fan 29'))
        eq_([one for one in RUNS if one[:3] == 'fan'], [f'fan {n}' for n in range(30)])
        for deferred, value in expected.items():
            found = target.deferred(deferred.id).result(timeout=9)
            if value is None:
                self.assertRegex(found, r'^passes\+first\+.*ValueError: failed')
            else:
                eq_(found, value)
        eq_(target.backend.audit(), [])

    def test_move(self):
        """All goes along: edges, tail calls, results that are needed, priorities, delays."""
        source, target = self.brokers
        expected = self.graph(source)
        waiting = source.deferred('end')
        moved = source.move_tasks(target, by='ann')
        eq_(moved, (self.count['pending'] + self.count['enqueued'] + 1, 2, 0))
        with self.assertRaisesRegex(TaskCancelled, f'moved to {target.name} at '):
            waiting.result(timeout=9)
        self.check(expected)
        eq_([(act.what, act.who, act.tasks) for broker in self.brokers for act in broker.acts()],
            [('move', 'ann', moved.tasks)] * 2)
        eq_(source.move_tasks(target), (0, 0, 0))

    def test_killed_at_any_call(self):
        """Wherever it dies, done again it goes on: nothing is lost, and nothing is there twice."""
        calls = self.calls()
        self.assertGreater(calls, 20)
        for after in False, True:
            for last in range(1, calls + 1, self.every):
                with self.subTest(call=last, after=after):
                    self.doCleanups()
                    self.setUp()
                    self.die(last, after)

    def calls(self):
        """How many calls of the queues it takes."""
        self.graph(self.brokers[0])
        return self.mortal(1 << 30).calls

    def mortal(self, last, after=False):
        life = SimpleNamespace(calls=0, last=last, after=after)
        source, target = (SimpleNamespace(backend=Mortal(broker.backend, life), codec=broker.codec)
                          for broker in self.brokers)
        try:
            move(source, target, 5)
        except Dead:
            life.dead = True
        return life

    def die(self, last, after):
        source, target = self.brokers
        expected = self.graph(source)
        self.mortal(last, after)
        eq_(source.backend.audit(), [])
        eq_(target.backend.audit(), [])
        before = len(RUNS)
        self.work(target)    # a pool there takes what may be taken
        seen = RUNS[before:]
        left = self.live(source)
        eq_([one for one in seen if one in left], [])
        source.backend.cancel([moving.MOVER])   # as it ends by itself, when nobody beats for it
        source.move_tasks(target)
        self.check(expected)

    def test_somebody_else_moves(self):
        """One at a time moves a queue; but one that has died is found to be so."""
        source, target = self.brokers
        source.queue().slow.join('a')
        for _ in range(2):   # the first time it takes no tick to see it
            self.mortal(9)
            with mock.patch.object(moving, 'AFTER', 0), \
                    self.assertRaisesRegex(QueueError, 'somebody else moves'):
                source.move_tasks(target)
            eq_(source.move_tasks(target).tasks, 1)
            target.move_tasks(source)

    def test_overtaken(self):
        """Who has not been heard of for too long does nothing more."""
        source, target = self.brokers
        source.queue().slow.join('a')
        withdraw = source.backend.withdraw

        def sleep_then_withdraw(ids, reason):
            source.backend.cancel([moving.MOVER])
            eq_(self.other(withdraw).tasks, 1)
            return withdraw(ids, reason)
        with mock.patch.object(source.backend, 'withdraw', sleep_then_withdraw):
            with self.assertRaisesRegex(QueueError, 'is moved by somebody else'):
                move(source, target, 5)
        self.work(target)
        eq_(RUNS, ['a'])
        eq_(held(source.backend, REGISTER), b'')

    def other(self, withdraw):
        """Somebody else who moves it."""
        source, target = self.brokers
        with mock.patch.object(source.backend, 'withdraw', withdraw):
            return move(source, target, 5)

    def live(self, broker):
        return {row.id: row for state in const.LIVE[:3]
                for row in broker.backend.scan(state, count=200)[0]}

    def test_there_and_back(self):
        """What was moved may be moved back."""
        source, target = self.brokers
        expected = self.graph(source)
        count = source.move_tasks(target).tasks
        eq_(target.move_tasks(source).tasks, count)
        eq_(source.move_tasks(target).tasks, count)
        self.check(expected)

    def test_id_is_taken(self):
        """If a task of the other queue has an id that is to be moved, all is as it was."""
        source, target = self.brokers
        Task(source.queue().slow.join, id='a')('mine')
        Task(source.queue().slow.join, id='b')('other', source.deferred('a'))
        Task(target.queue().slow.join, id='a')('theirs')
        with self.assertRaisesRegex(QueueError, r"a task 'a' is in .* already"):
            source.move_tasks(target)
        eq_((source.pauses(), held(source.backend, REGISTER)), ([], b''))
        eq_((source.backend.size(), target.backend.size()), (2, 1))
        self.work(target)
        eq_((RUNS, source.move_tasks(target).tasks), (['theirs'], 2))
        self.work(target)
        eq_(target.deferred('b').result(timeout=9), 'other+mine')

    def test_what_runs_is_waited_for(self):
        """What runs ends where it is; if that takes too long nothing has been moved."""
        source, target = self.brokers
        q = source.queue()
        Task(q.slow.join, id='b')('b', Task(q.slow.join, id='a')('a'))
        delivery, = source.backend.take('p', 1)
        with self.assertRaisesRegex(QueueError, r"cannot be moved: 1 tasks still run, as 'a'"):
            source.move_tasks(target, timeout=0.05)
        eq_((source.pauses(), held(source.backend, REGISTER)), ([], b''))
        looks = []
        scan = source.backend.scan

        def settle_then_scan(state, *args, **kw):
            if state == 'processing':
                looks.append(state)
                if len(looks) == 3:
                    source.backend.settle('p', [run(source, delivery)])
            return scan(state, *args, **kw)
        with mock.patch.object(source.backend, 'scan', settle_then_scan):
            eq_(source.move_tasks(target)[:2], (1, 1))
        self.work(target)
        eq_((RUNS, target.deferred('b').result(timeout=9)), (['a', 'b'], 'b+a'))

    def test_not_resumed_meanwhile(self):
        """While it is moved, or that was interrupted, it is not resumed, unless by force."""
        source, target = self.brokers
        self.graph(source)
        self.mortal(30)
        with self.assertRaisesRegex(QueueError, f'is being moved to {target.name} at '):
            source.resume()
        eq_(source.resume('other'), [])
        eq_(source.resume(force=True), ['*'])

    def test_paused_before(self):
        """A queue that was paused before stays so."""
        source, target = self.brokers
        source.pause(by='ann')
        source.queue().slow.join('a')
        eq_(source.move_tasks(target).tasks, 1)
        eq_([one.who for one in source.pauses()], ['ann'])

    def test_itself(self):
        """A queue is not moved to itself, however it is called."""
        source, _ = self.brokers
        source.queue().slow.join('a')
        with self.assertRaises(ValueError):
            source.move_tasks(source)
        other = SimpleNamespace(codec=source.codec, backend=Alias(source.backend))
        with self.assertRaisesRegex(ValueError, 'one and the same'):
            source.move_tasks(other)
        eq_((source.backend.size(), held(source.backend, REGISTER)), (1, b''))
        source.resume()

    def test_put_meanwhile(self):
        """What is put while it is moved comes along, also what depends on what was there."""
        source, target = self.brokers
        q = source.queue()
        first = Task(q.slow.join, id='first')('first')
        withdraw = source.backend.withdraw

        def put_then_withdraw(ids, reason):
            if len(late) < 3:
                late.append(q.slow.join(f'late {len(late)}', first))
            return withdraw(ids, reason)
        late: list = []
        with mock.patch.object(source.backend, 'withdraw', put_then_withdraw):
            eq_(source.move_tasks(target).tasks, 4)
        self.work(target)
        eq_(sorted(RUNS), ['first', 'late 0', 'late 1', 'late 2'])

    def test_cancelled_meanwhile(self):
        """What is cancelled at the source after it was put into the target ends there, too."""
        source, target = self.brokers
        q = source.queue()
        Task(q.slow.join, id='a')('a')
        Task(q.slow.join, id='b')('b')
        withdraw = source.backend.withdraw

        def cancel_then_withdraw(ids, reason):
            source.cancel('a')
            return withdraw(ids, reason)
        with mock.patch.object(source.backend, 'withdraw', cancel_then_withdraw):
            eq_(source.move_tasks(target).tasks, 1)
        self.work(target)
        eq_(RUNS, ['b'])

    def test_cancelled_after_an_interruption(self):
        """What is cancelled at the source before an interrupted move goes on ends there, too."""
        source, target = self.brokers
        for id in 'ab':
            Task(source.queue().slow.join, id=id)(id)
        with mock.patch.object(source.backend, 'withdraw', side_effect=Dead), \
                self.assertRaises(Dead):
            move(source, target, 5)
        source.cancel('a')
        eq_(source.move_tasks(target).tasks, 1)
        self.work(target)
        eq_(RUNS, ['b'])

    def test_gate_is_ended(self):
        """If somebody ends the gate, nothing is withdrawn of what has ended with it."""
        source, target = self.brokers
        Task(source.queue().slow.join, id='a')('a')
        note = source.backend.note

        def note_then_cancel(name, value, *args):
            if b'"phase": "take"' in value:
                target.backend.cancel([moving.register(value)['gate']])
            return note(name, value, *args)
        with mock.patch.object(source.backend, 'note', note_then_cancel), \
                self.assertRaisesRegex(QueueError, 'was ended by somebody: do it again'):
            source.move_tasks(target)
        eq_(source.move_tasks(target).tasks, 1)
        self.work(target)
        eq_(RUNS, ['a'])

    def test_many(self):
        """Ten thousand, in steps that are bounded."""
        source, target = self.brokers
        q = source.queue()
        with worq.batch(q):
            firsts = [q.slow.join(f'{n}') for n in range(400)]
            for n in range(1_600):
                q.slow.join(f'next {n}', firsts[n % 400])
            Task(q.slow.join, id='all')('all', *firsts)
        sizes = []
        put = target.backend.put

        def seen_put(messages, gate='', *args, **kw):
            sizes.append(sum(1 + const.EDGE * len(one.arguments) for one in messages))
            return put(messages, gate, *args, **kw)
        with mock.patch.object(target.backend, 'put', seen_put):
            eq_(source.move_tasks(target).tasks, 2_001)
        self.assertLess(max(sizes), const.PUT_LIMIT)
        for _ in range(60):
            target.backend.beat('ticker')
        self.work(target)
        eq_(len(RUNS), 2_001)
        eq_(target.backend.size(), 0)


class Alias:
    """The same queue by another address."""

    url = 'other://'

    def __init__(self, queue):
        self.queue = queue

    def __getattr__(self, name):
        return getattr(self.queue, name)


class MemoryToFile(Moves):

    __test__ = True

    def urls(self):
        return 'memory://', f'sqlite:///{self.folder}/to.db?sync=off'


class FileToRedis(Moves):

    __test__ = True
    every = 4

    def urls(self):
        return f'sqlite:///{self.folder}/from.db?sync=off', support.redis_url()


class RedisToMemory(Moves):

    __test__ = True
    every = 4

    def urls(self):
        return support.redis_url(), 'memory://'


class RedisToRedis(Moves):

    __test__ = True
    every = 7
    secrets = 'a secret of sixteen', 'a secret of sixteen'

    def urls(self):
        return support.redis_url(), support.redis_url()
