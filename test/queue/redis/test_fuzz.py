"""Garbage in every key of a busy queue, and in every frame between a manager and its children.

No foreign code runs, no pool dies, an audit repairs what can be repaired and says what it was,
and whoever waits comes to an end. The seed is printed; to run one again, or for longer::

    WORQ_FUZZ_SEED=7 WORQ_FUZZ_ROUNDS=5000 pytest -s test/queue/redis/test_fuzz.py
"""
from __future__ import annotations

import logging
import os
import pickle
import random
import tempfile
import threading
import time
import unittest
from pathlib import Path
from typing import Any
from unittest import mock

import redis as client

import worq
from test import leaks, support
from test.pool import tasks as pool_tasks
from test.support import eq_, eventually
from worq import DuplicateTask, QueueError, TaskFailure
from worq.pool.children import manager, respawn, worker
from worq.pool.process import pool as process
from worq.pool.children.frames import pack
from worq.pool.children.protocol import (
    ANSWER, ASK, BROKEN, INIT, LIMIT, OUTCOMES, PROGRESS, READY, TASKS,
)
from worq.pool.thread import pool as thread

KINDS = [ANSWER, ASK, BROKEN, INIT, LIMIT, OUTCOMES, OUTCOMES, PROGRESS, READY, TASKS]
PATIENCE = 90   # seconds; a gap in the ticks makes a queue wait thirty before it reaps
SEED = int(os.environ.get('WORQ_FUZZ_SEED') or random.SystemRandom().randrange(10 ** 6))


def rounds(usual: int) -> int:
    return int(os.environ.get('WORQ_FUZZ_ROUNDS') or usual)


class Canary:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return open, (self.path, 'w')


class Vandal:
    """Writes into the keys of a queue what does not belong there."""

    def __init__(self, url: str, name: str, rand: random.Random, canary: bytes) -> None:
        self.prefix = f'worq:{{{name}}}:'.encode()
        self.client = client.Redis.from_url(url)
        self.rand = rand
        self.canary = canary
        self.done: list[str] = []

    def junk(self) -> bytes:
        rand = self.rand
        return rand.choice([
            b'', self.canary, b'n' * 12 + b'v' + self.canary, rand.randbytes(rand.randint(1, 40)),
            b'%d' % rand.randint(-2, 9), b'9' * 30, b'nan', b'1e300', b'-1', b'x', b'c', b'e',
            b'p', b'a', b's', b'\xff\xfe', b'n' * 12 + b'nobody'])

    def make(self, key: bytes) -> None:
        """A key of any type."""
        send = self.client
        [lambda: send.set(key, self.junk()), lambda: send.rpush(key, self.junk(), self.junk()),
         lambda: send.hset(key, self.junk(), self.junk()), lambda: send.sadd(key, self.junk()),
         lambda: send.zadd(key, {self.junk(): self.rand.choice([-1, 0, 1e18])})][
             self.rand.randrange(5)]()

    def change(self, key: bytes) -> None:
        """Something in a key, whose type it keeps."""
        send, rand = self.client, self.rand
        kind = send.type(key)
        if kind == b'string':
            value = send.get(key) or b''
            at = rand.randrange(len(value) + 1)
            send.set(key, rand.choice([value[:at], value[:at] + self.junk() + value[at:],
                                       value[:at] + b'?' + value[at + 1:], self.junk()]))
        elif kind == b'hash':
            field = rand.choice([*send.hkeys(key), rand.choice(b'snpehodmlfuvxgwakti').to_bytes()])
            if rand.random() < 0.3:
                send.hdel(key, field)
            else:
                send.hset(key, field, self.junk())
        elif kind == b'list':
            if rand.random() < 0.5:
                send.rpop(key)
            else:
                send.lpush(key, self.junk())
        elif kind == b'zset':
            members = send.zrange(key, 0, -1) or [b'']
            if rand.random() < 0.3:
                send.zrem(key, rand.choice(members))
            else:
                score = rand.choice([float('-inf'), float('inf'), 0, -1, 1e18])
                send.zadd(key, {rand.choice([*members, self.junk()]): score})
        elif kind == b'set':
            send.sadd(key, self.junk())

    def strike(self) -> None:
        """Damage one key of a kind that there is."""
        rand = self.rand
        kinds: dict[bytes, list[bytes]] = {}
        for key in self.client.scan_iter(self.prefix + b'*', count=1000):
            kinds.setdefault(key[len(self.prefix):].partition(b':')[0], []).append(key)
        if not kinds:
            return
        key = rand.choice(sorted(kinds[rand.choice(sorted(kinds))]))
        how = rand.choice(['delete', 'replace', 'change', 'change', 'expire', 'invent'])
        self.done.append(f'{how} {key!r}')
        try:
            if how == 'delete':
                self.client.delete(key)
            elif how == 'replace':
                self.client.delete(key)
                self.make(key)
            elif how == 'change':
                self.change(key)
            elif how == 'expire':
                rand.choice([lambda: self.client.pexpire(key, 1),
                             lambda: self.client.persist(key)])()
            else:   # a key that there should not be
                kind = rand.choice([b't:', b'b:', b'r:', b'a:', b'd:', b'w:', b'u:', b'in:',
                                    b'pool:', b'x:1:q:1', b'other', b''])
                self.make(self.prefix + kind + self.junk())
        except client.ResponseError:
            pass   # it has become another type meanwhile


class Load:
    """Calls of several kinds, and one who waits for them."""

    def __init__(self, broker: worq.Broker, rand: random.Random) -> None:
        self.q = broker.queue()
        self.rand = rand
        self.made: list[worq.Deferred] = []
        self.ended: set[str] = set()
        self.unexpected: list[str] = []
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.guard, args=(work,), daemon=True)
                        for work in (self.call, self.wait)]
        for one in self.threads:
            one.start()

    def guard(self, work: Any) -> None:
        try:
            work()
        except Exception as error:
            self.unexpected.append(f'{type(error).__name__}: {error}')
            logging.getLogger('fuzz').exception('unexpected')

    def call(self) -> None:
        rand = self.rand
        while not self.stopped.is_set():
            some = rand.sample(self.made[-20:], min(len(self.made), rand.randint(0, 3)))
            try:
                self.made.append(self.one(some))
                if rand.random() < 0.05:
                    self.made[-1].cancel()
                if rand.random() < 0.05:
                    repr(rand.choice(self.made))
                    len(self.q)
                if rand.random() < 0.005:
                    del self.q[:]
            except (QueueError, TaskFailure, DuplicateTask):
                time.sleep(0.01)
            time.sleep(0.002)

    def one(self, some: list[worq.Deferred]) -> worq.Deferred:
        rand, q = self.rand, self.q
        made: worq.Deferred = rand.choice([
            lambda: q.same(rand.random()), lambda: q.same(bytes(rand.choice([9, 99999]))),
            lambda: q.same(some), lambda: q.same([some, bytes(5000)]),
            lambda: worq.Task(q.same, on_error='pass')(some),
            lambda: worq.Task(q.same, delay=0.5)(some),
            lambda: worq.Task(q.same, priority='high', id=f'id {rand.random()}')(some)])()
        return made

    def wait(self) -> None:
        while not self.stopped.is_set():
            for deferred in self.made[-50:]:
                self.look(deferred, 0.01)
            time.sleep(0.01)

    def look(self, deferred: worq.Deferred, timeout: float) -> None:
        try:
            deferred.result(timeout=timeout)
        except (QueueError, TimeoutError):
            return
        except TaskFailure:
            pass
        self.ended.add(deferred.id)

    def stop(self) -> None:
        self.stopped.set()
        for one in self.threads:
            one.join(PATIENCE)
        assert not any(one.is_alive() for one in self.threads)


class Logs(logging.Handler):
    """Keeps what pools say when something of their own went wrong."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.repaired = 0

    def emit(self, record: logging.LogRecord) -> None:
        self.repaired += record.msg.startswith('repaired')
        ours = not record.name.startswith('worq.pool.run')   # a task that fails is no fault
        if ours and record.exc_info or record.levelno >= logging.CRITICAL:
            self.lines.append(self.format(record))


class Case(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.name = support.unique()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.sang = Path(self.folder.name, 'sang')
        self.canary = pickle.dumps(Canary(str(self.sang)))
        self.logs = Logs()
        root = logging.getLogger('worq')
        root.addHandler(self.logs)
        root.propagate = False
        self.addCleanup(root.removeHandler, self.logs)
        self.addCleanup(setattr, root, 'propagate', True)


class Keys(Case):

    def setUp(self) -> None:
        super().setUp()
        self.server = support.start_redis('--save', '3600', '1')
        self.addCleanup(self.server.close)

    def broker(self) -> worq.Broker:
        broker = worq.get_broker(self.server.url, self.name)
        broker.expose(pool_tasks.tasks)
        self.addCleanup(broker.close)
        return broker

    def test_canary(self) -> None:
        """The canary of these tests does sing when it is loaded."""
        pickle.loads(self.canary).close()
        self.assertTrue(self.sang.exists())

    def test_busy_queue(self) -> None:
        """Whatever is written into the keys of a queue while pools work on it, they live on, and
        after an audit that repairs, all is well again."""
        print(f'WORQ_FUZZ_SEED={SEED}')
        rand = random.Random(SEED)
        broker = self.broker()
        vandal = Vandal(self.server.url, self.name, rand, self.canary)
        self.addCleanup(vandal.client.close)
        for module in thread, manager:   # what loses its pool is found soon
            self.enterContext(mock.patch.object(module, 'LEASE', 3000))
        threads = thread.WorkerPool(broker, workers=2)
        children = process.WorkerPool(self.broker(), pool_tasks.init, (self.name,), workers=1)
        try:
            with threads, children:
                load = Load(broker, random.Random(SEED))
                for _ in range(rounds(100)):
                    vandal.strike()
                    time.sleep(0.02)
                load.stop()
                self.recover(broker, load, vandal)
                self.assertTrue(children.alive)
                self.assertTrue(all(one.is_alive() for one in threads.threads))
                eventually(lambda: threads._desk.held, {}, timeout=PATIENCE)   # all is settled
        except BaseException:
            print(threads._desk.pool, threads._desk.held, children._manager)
            print(children._manager and children._manager.desk.held)
            print('\n'.join([*vandal.done[-40:], *self.logs.lines]))
            raise
        print(f'{len(load.made)} tasks, {len(vandal.done)} blows, {self.logs.repaired} repaired')
        eq_(load.unexpected, [])
        eq_(self.logs.lines, [])
        self.assertFalse(self.sang.exists())

    def recover(self, broker: worq.Broker, load: Load, vandal: Vandal) -> None:
        """Repair; then there is nothing left to complain of, who waits ends, and new calls work."""
        limit = time.monotonic() + PATIENCE
        while found := broker.backend.audit(repair=True):
            self.assertLess(time.monotonic(), limit, found)
            time.sleep(0.2)
        vandal.client.hset(vandal.prefix + b'm', 'calm', 0)   # or nothing is reaped for a while
        for deferred in load.made:
            if deferred.id not in load.ended:
                load.look(deferred, max(1, limit - time.monotonic()))
        open_ones = [d for d in load.made if d.id not in load.ended]
        for one in open_ones:   # what there is to find out why
            print(one, vandal.client.hgetall(vandal.prefix + b't:' + one.id.encode()),
                  vandal.client.zscore(vandal.prefix + b'lease', one.id), vandal.client.time())
        eq_(open_ones, [])
        q = broker.queue()
        eq_([q.same([q.same(n)]).result(timeout=PATIENCE) for n in range(20)],
            [[n] for n in range(20)])
        eventually(lambda: broker.backend.audit(), [], timeout=PATIENCE)


class Frames(Case):
    """Garbage on the pipes between a manager and its children."""

    def setUp(self) -> None:
        super().setUp()
        print(f'WORQ_FUZZ_SEED={SEED}')
        self.rand = random.Random(SEED)
        # On Redis, where messages are signed. Those of a memory queue are not, and a canary that
        # happens to lie where a body was would sing.
        server = support.start_redis()
        self.addCleanup(server.close)
        broker = worq.get_broker(server.url, self.name)
        self.addCleanup(broker.close)
        self.q = broker.queue()
        self.pool = process.WorkerPool(broker, pool_tasks.init, (self.name,), workers=2)

    def garbage(self) -> bytes:
        """What a broken child might write: bytes, or frames with some of them changed or cut."""
        rand = self.rand
        parts = [rand.choice([*KINDS, b'?', b''])]
        for _ in range(rand.randint(0, 11)):
            parts.append(rand.choice([self.canary, b'value', b'delegate', b'retry', b'0', b'',
                                      rand.randbytes(12), rand.randbytes(40), b'9' * 30]))
        data = bytearray(pack(parts))
        for _ in range(rand.choice([0, 0, 1, 5])):
            data[rand.randrange(len(data))] = rand.randrange(256)
        return rand.choice([bytes(data), bytes(data[:rand.randrange(len(data))]),
                            rand.randbytes(rand.randint(1, 200)), self.canary])

    def test_to_the_manager(self) -> None:
        """Whatever a child writes before it dies: the manager runs none of it, and goes on; the
        task is run again."""
        self.enterContext(mock.patch.object(respawn, 'RESPAWN', (0.01, 0.02)))
        with self.pool:
            many = [self.q.garble(f'{self.folder.name}/{n}', self.garbage())
                    for n in range(rounds(20))]
            eq_([d.result(timeout=PATIENCE) for d in many], ['well'] * len(many))
            eq_(self.q.same(1).result(timeout=PATIENCE), 1)
            self.assertTrue(self.pool.alive)
        eq_(self.logs.lines, [])
        self.assertFalse(self.sang.exists())

    def test_to_a_child(self) -> None:
        """Whatever a child is sent in place of a task: it runs none of it, each task comes to an
        end, and the pool goes on."""
        self.enterContext(mock.patch.object(respawn, 'RESPAWN', (0.01, 0.02)))
        rand, damaged = self.rand, 0

        def damage(parts: list[bytes]) -> bytes:
            nonlocal damaged
            content = bytearray(pack(parts))
            if parts[0] == TASKS and rand.random() < 0.5:
                for _ in range(rand.randint(1, 4)):   # not in its length: more would have to come
                    content[rand.randrange(8, len(content))] = rand.randrange(256)
                start = rand.randrange(8, len(content))
                if rand.random() < 0.3 and len(content) - start >= len(self.canary):
                    content[start:start + len(self.canary)] = self.canary
                damaged += 1
            return bytes(content)
        with mock.patch.object(worker, 'pack', damage), self.pool:
            came = []
            for _ in range(rounds(20)):   # a frame for each few
                some = [self.q.same(['x' * rand.randrange(400)]) for _ in range(3)]
                came += [type(deferred.exception(timeout=PATIENCE)) for deferred in some]
        self.assertGreater(damaged, 5)
        self.assertIn(type(None), came)
        eq_(self.logs.lines, [])
        self.assertFalse(self.sang.exists())
