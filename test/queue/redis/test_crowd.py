"""What many idle pools cost a queue on Redis, and how one task, or ten thousand, wake them."""
from __future__ import annotations

import unittest
from unittest import mock

import redis as client

from test import support
from test.queue.contract import message
from test.support import eq_
from worq.pool.base import Desk
from worq.queue.base import Outcome
from worq.queue.redis import queue as redis

NAMES = [f'package.module.task_{n}' for n in range(100)]
SECONDS = 12


class Crowd(unittest.TestCase):
    """Pools that exist only as desks, one after the other, on a server of their own."""

    server: support.Server

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = support.start_redis()
        cls.addClassCleanup(cls.server.close)

    def setUp(self) -> None:
        self.now = 1_000.0
        self.client = client.Redis.from_url(self.server.url)
        self.addCleanup(self.client.close)
        self.client.flushall()
        self.enterContext(mock.patch('worq.pool.base.time.monotonic', lambda: self.now))
        self.enterContext(mock.patch('worq.queue.redis.listen.time.monotonic', lambda: self.now))
        self.q = redis.TaskQueue(self.server.url, 'crowd', clock_key=True)
        self.addCleanup(self.q.close)
        self.tell()

    def tell(self) -> None:
        self.client.set(f'{self.q.prefix}clock', int(self.now * 1000))

    def join(self, n: int) -> list[Desk]:
        """So many pools, which come one after the other within a second."""
        desks = [Desk(self.q, 15_000) for _ in range(n)]
        self.bells = {desk: self.q.bell(desk.pool) for desk in desks}
        for bell in self.bells.values():
            self.addCleanup(bell.close)
        start = self.now
        for i, desk in enumerate(desks):
            self.now = start + i / n
            self.tell()
            desk.tell_names(NAMES)
            eq_(desk.turn([], 1), ([], []))
        return desks

    def idle(self, desks: list[Desk], until: float) -> None:
        """What managers do in this time while nothing rings: a bell that gives up is armed again,
        and they look if they are to, or have to beat."""
        gives_up = {desk: self.now + self.bells[desk]._patience() for desk in desks}
        while True:
            desk = min(desks, key=lambda desk: min(desk.beat_at, gives_up[desk]))
            moment = min(desk.beat_at, gives_up[desk])
            if moment > until:
                return
            self.now = max(moment, self.now)
            self.tell()
            bell = self.bells[desk]
            if desk.beat_at <= self.now or bell.due():
                eq_(desk.turn([], 1), ([], []))
            if gives_up[desk] <= self.now:
                self.blocked += 1
                gives_up[desk] = self.now + bell._patience()

    def cost(self, n: int) -> tuple[float, float]:
        """Scripts and blocking commands a second of one of n pools that are idle, and bytes."""
        self.client.flushall()
        desks = self.join(n)
        self.idle(desks, self.now + 7)   # so that it is at rest
        self.blocked = 0
        before, scripts = self.moved(), self.calls('evalsha')
        self.idle(desks, self.now + SECONDS)
        scripts, moved = self.calls('evalsha') - scripts, self.moved() - before
        for desk in desks:
            desk.leave()
        share = n * SECONDS
        return (scripts + self.blocked) / share, moved / share

    blocked = 0

    def calls(self, name: str) -> int:
        found = self.client.info('commandstats')
        return int(found.get(f'cmdstat_{name}', {}).get('calls', 0))

    def moved(self) -> int:
        """Bytes that the server has read and written, but for the commands of this test."""
        found = self.client.info('stats')
        return int(found['total_net_input_bytes'] + found['total_net_output_bytes'])

    def test_idle(self) -> None:
        """A pool that has nothing to do costs no more for being one of many: about one command a
        second, and less than a kilobyte."""
        costs = {n: self.cost(n) for n in (1, 10, 60)}
        for n, (commands, moved) in costs.items():
            self.assertLessEqual(commands, 1.6 if n == 1 else 1.2, costs)
            self.assertLessEqual(moved, 1000, costs)
        self.assertLessEqual(costs[60][1], costs[10][1], costs)
        self.assertLessEqual(costs[60][0], costs[10][0], costs)

    def test_walks(self) -> None:
        """One step of a walk through all keys is due for all pools together, and the more there
        are, the less often each of them asks for it."""
        for n, pause in [(1, 4_000), (4, 4_000), (8, 10_000), (60, 60_000)]:
            self.client.flushall()
            self.join(n)
            self.q._run('patrol', 5_000, 500)
            self.now += 1
            self.tell()
            eq_(self.q._run('patrol', 5_000, 500), [pause])

    def test_ten_thousand(self) -> None:
        """Each of 150 pools gets some of ten thousand tasks, before any of them is done: who takes
        wakes another. And one task wakes one pool."""
        idle = self.join(150)
        self.q.put([message('alone')])
        eq_(self.woken(idle), 1)
        busy = idle.pop(0)
        busy.settle([Outcome(one.id, token, 'value', b'') for token, one in busy.held.items()])
        idle.append(busy)
        for start in range(0, 10_000, 1_000):
            self.q.put([message(f't{start + n}') for n in range(1_000)])
        eq_(self.woken(list(idle)), 150)
        self.assertTrue(all(desk.held for desk in idle))

    def woken(self, idle: list[Desk]) -> int:
        """How many of those that wait, in this order, are woken by tokens and take something."""
        count = 0
        while count < len(idle) and self.client.lpop(f'{self.q.prefix}wake') is not None:
            self.assertTrue(idle[count].turn([], self.q.handful)[0])
            count += 1
        return count

    def test_a_call_costs_two_turns(self) -> None:
        """A pool that has done the only task there was hears so along with its outcome, and has
        nothing to ask until its bell rings; and such turns are short ones. Nor has who calls and
        waits anything to ask: it has said so with the put."""
        desk, = self.join(1)
        self.client.script_load(self.q._scripts['put'].source)   # a first call would be two
        scripts, looks = self.calls('evalsha'), self.calls('lrange')
        self.q.put([message('a')], '', 'client')
        taken, _ = desk.turn([], 1)
        eq_([one.id for one in taken], ['a'])
        eq_(desk.turn([Outcome('a', taken[0].token, 'value', b'x')], 1), ([], []))
        bell = self.bells[desk]
        self.assertTrue(bell.keeps)
        eq_(bell._patience(), 2.0)
        eq_(self.client.llen(f'{self.q.prefix}wake'), 0)
        eq_([id for id, _ in self.q.wait('client', 1)], ['a'])
        eq_(self.calls('evalsha') - scripts, 3)
        eq_(self.calls('lrange') - looks, 2)   # one that were not short would look into each lane
