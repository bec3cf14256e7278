"""Every field of every key of a queue, one at a time, made what no put would have written.

Whatever it is: other tasks are served within seconds, and who waits comes to an end, though
nobody has asked for a repair. A few of all cases are tried, by a seed that is printed; to try all,
or some again::

    WORQ_FUZZ_ROUNDS=100000 pytest -s test/queue/redis/test_fuzz_fields.py
    WORQ_FUZZ_SEED=7 pytest -s test/queue/redis/test_fuzz_fields.py
"""
from __future__ import annotations

import logging
import random
import time
from typing import Any, Callable

import worq
from test import support
from test.queue.contract import message, outcome
from test.queue.redis import test_lost_keys
from test.queue.redis.test_fuzz import SEED, rounds
from test.queue.redis.test_repair import GRAPH
from test.support import eq_, eventually
from worq import QueueError, TaskExpired, const
from worq.pool.thread import pool as thread
from worq.progress import Progress
from worq.queue.base import Revival

LETTERS = 'snfhcbptlmzvgauGedoqjyxikwr'
META = ['version', 'tick', 'skew', 'calm', 'purges', 'more', 'dead', 'redelivered', 'stale', 'v',
        'looked', 'cursor', 'unknown']
VALUES = [None, b'', b'x', b'p', b'c', b'-1', b'0', b'7', b'1.5', b'nan', b'inf', b'1e300', b'0x10',
          b'9' * 15, b'9' * 30, b'\xff\xfe', b'n' * 12, b'line\nfeed\x1b[31m', bytes(100_000)]
OTHERS = [('version', b'0'), ('version', b'7')]   # of other schemas: that is no damage
SCORES = [float('-inf'), float('inf'), -1, 0, 1e18]
MANY = 10_000
SECONDS = 8   # a lease that a repair gives may have to run out

Blow = tuple[str, str, Any]   # which key, how, and with what


class Case(test_lost_keys.Case):

    def blows(self) -> list[Blow]:
        """All that can be done to one place of the queue as `fill` makes it."""
        found: list[Blow] = []
        for name in sorted(self.client.keys(self.key('*'))):
            key = name.decode()
            rest = key.partition('}:')[2]
            kind = self.client.type(key).decode()
            found += [(rest, 'become', other) for other in
                      ('string', 'list', 'set', 'zset', 'hash') if other != kind]
            found += [(rest, 'swell', MANY)]
            if kind == 'hash':
                fields = LETTERS if rest.startswith('t:') else META if rest == 'm' else ['host']
                found += [(rest, field, value) for field in fields for value in VALUES
                          if (field, value) not in OTHERS]
            elif kind == 'zset':
                found += [(rest, 'score', score) for score in SCORES]
            if kind in ('zset', 'list', 'set'):
                found += [(rest, 'member', value) for value in VALUES if value is not None]
            if kind in ('zset', 'list'):
                found += [(rest, 'pop', 1)]
        return found

    def strike(self, rest: str, how: str, what: Any) -> None:
        send, key = self.client, self.key(rest)
        kind = send.type(key).decode()
        add: dict[str, Callable[[list[bytes]], Any]] = {
            'string': lambda values: send.append(key, b''.join(values)),
            'list': lambda values: send.lpush(key, *values),
            'set': lambda values: send.sadd(key, *values),
            'zset': lambda values: send.zadd(key, dict.fromkeys(values, 1)),
            'hash': lambda values: send.hset(key, mapping=dict.fromkeys(values, b'1'))}
        if how == 'become':
            send.delete(key)
            add[what]([b'x'])
        elif how == 'swell':
            add[kind]([b'n' * 12 + b'%d' % n for n in range(what)])
        elif how == 'score':
            send.zadd(key, dict.fromkeys(send.zrange(key, 0, -1), what))
        elif how == 'member':
            add[kind]([what])
        elif how == 'pop':
            send.lpop(key) if kind == 'list' else send.zpopmin(key)
        elif what is None:
            send.hdel(key, how)
        else:
            send.hset(key, how, what)


class Fields(Case):

    def test_each(self) -> None:
        print(f'WORQ_FUZZ_SEED={SEED}')
        self.fill()
        blows = self.blows()
        self.assertGreater(len(blows), 3000)
        named: list[Blow] = [('t:enqueued', 'swell', MANY), ('t:enqueued', 'a', b'9' * 15),
                             ('t:waits', 'u', b'9' * 15), ('t:enqueued', 'p', b'7')]
        wanted, rand = rounds(25), random.Random(SEED)
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        for blow in [*named, *rand.sample(blows, min(wanted, len(blows)))]:
            with self.subTest(f'{blow!r:.200}'):
                support.clean(self.url, self.name)
                self.fill()
                self.strike(*blow)
                if rand.random() < 0.5:
                    self.readers(broker)
                self.served()
                self.ends()

    def test_kept_failures(self) -> None:
        """Of what is kept of a failure no more is read than a put could have left there."""
        def calls() -> int:
            stats: dict[str, Any] = self.client.info('commandstats')
            found: int = stats['cmdstat_hgetall']['calls']
            return found
        self.q.put([message('done'), message('f', body=bytes(9000))])
        done, failed = self.q.take('p', 2)
        self.q.settle('p', [outcome(done), outcome(failed, 'failure')])
        entry = self.client.hget(self.key('t:done'), 'n') + b'done'
        self.client.rpush(self.key('fa:1'), *[entry] * MANY)
        self.client.hset(self.key('fh:1'), 'a', MANY)
        before = calls()
        eq_(self.q.revive([Revival('f')]), ['arguments'])
        self.assertLess(calls() - before, 100)
        self.client.hset(self.key('fh:1'), mapping={f'x{n}': n for n in range(MANY)})
        eq_((self.q.message(['f']), self.q.revive([Revival('f')])), ([None], ['gone']))

    def readers(self, broker: worq.Broker) -> None:
        """Who only asks is told something that can be printed, whatever there is."""
        for id in GRAPH:
            one = broker.deferred(id)
            for told in one.explain().split('\n'):
                self.assertTrue(told.isprintable(), told)
            self.assertTrue(repr(one).isprintable())
            self.assertIsInstance(one.progress, Progress | None)
        eventually(lambda: broker.backend._repairer._running, False)

    def served(self) -> None:
        """Another task is put, taken and settled within seconds."""
        limit = time.monotonic() + SECONDS
        done, untold = False, []
        while not done:
            self.assertLess(time.monotonic(), limit)
            try:
                if self.q.status(['other']) == [None]:
                    self.q.put([message('other')])
                untold += [outcome(held) for held in self.q.turn('p2', (), (), 10).deliveries]
                for one in list(untold):   # as a pool, which tells it again after an error
                    self.q.settle('p2', [one])
                    untold.remove(one)
                done = self.q.status(['other'])[0] in const.ENDS.values()
            except QueueError as error:
                self.assertIn('repaired', str(error))
                time.sleep(0.002)

    def ends(self) -> None:
        """Every task comes to an end, by those who wait and those who come by; then all is well."""
        def step() -> bool:
            try:
                self.q.verify(GRAPH)
                self.q._patrol()
                self.mended()
                self.client.hdel(self.key('m'), 'tick', 'calm')
                self.client.zadd(self.key('sched'), {'scheduled': 0}, xx=True)
                for name in self.client.zrange(self.key('lease'), 0, 20):
                    self.client.zadd(self.key('lease'), {name: 0})
                for held in self.q.take('p', 10):
                    self.q.settle('p', [outcome(held)])
                return {None, *const.ENDS.values()}.issuperset(self.q.status(GRAPH))
            except QueueError as error:
                self.assertIn('repaired', str(error))
                return False
        eventually(step)
        self.mended()
        eventually(lambda: self.q.audit(repair=True), [])


class Pool(Case):

    def test_goes_on(self) -> None:
        """A pool meets tasks whose records no put has written: each ends, the others are served,
        and the log does not say it time and again."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        broker.expose(len)
        q = broker.queue()
        lines = Lines()
        logger = logging.getLogger('worq')
        logger.addHandler(lines)
        self.addCleanup(logger.removeHandler, lines)
        poisons: list[tuple[str, Any]] = [
            ('swell', MANY), ('a', b'9' * 15), ('a', b'300'), ('d', b'-9'), ('d', b'1e300'),
            ('e', b'9' * 15), ('p', b'7'), ('c', b'9' * 15), ('l', b'9' * 15), ('o', bytes(99_999)),
            ('x', b'?'), ('G', b'?'), ('unknown', b'9' * 30)]
        waits = []
        for how, what in poisons:
            one = q.len('x')
            self.strike(f't:{one.id}', how, what)
            waits += [one, q.len([one])]
        with thread.WorkerPool(broker, workers=1):
            eq_(q.len('four').result(timeout=SECONDS), 4)
            for one in waits:
                error = one.exception(timeout=20)
                self.assertIn(type(error), (type(None), TaskExpired), (one.name, error))
            eq_(type(waits[0].exception()), TaskExpired)
            eq_(type(waits[2].exception()), TaskExpired)
            eq_(q.len('four').result(timeout=SECONDS), 4)
        self.assertLess(len(lines.lines), 30, lines.lines)
        eq_(broker.backend.audit(), [])


class Lines(logging.Handler):

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))
