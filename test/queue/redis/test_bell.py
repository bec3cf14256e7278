"""How long an idle pool sleeps: until something may be due, or for two seconds."""
from __future__ import annotations

import select
import time
import unittest

import redis as client

from test import support
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from worq import const, get_broker
from worq.pool.thread import pool as thread
from worq.queue.redis import queue as redis


class IdleTest(unittest.TestCase):
    """On a queue whose clock stands still."""

    def setUp(self) -> None:
        url, name = support.redis_url(), support.unique()
        self.client = client.Redis.from_url(url)
        self.addCleanup(self.client.close)
        self.addCleanup(support.clean, url, name)
        self.prefix = f'worq:{{{name}}}:'
        self.advance(1_700_000_000_000)
        self.q = redis.TaskQueue(url, name, clock_key=True)
        self.addCleanup(self.q.close)

    def advance(self, ms: int) -> None:
        self.client.incrby(f'{self.prefix}clock', ms)

    def pause(self) -> int | None:
        """What a turn that takes nothing answers: in how many ms something may be due."""
        _, _, taken, *pause = self.q._run('turn', 'p', const.LEASE, 1, 0)
        eq_(taken, [])
        return pause[0] if pause else None

    def tokens(self) -> int:
        return int(self.client.llen(f'{self.prefix}wake'))

    def test_due(self) -> None:
        """A turn tells when the next task is due, expires, or loses its lease, but not before
        the next tick; and nothing if nothing will be for two seconds."""
        self.q.put([message('long', lease=2_001)])
        eq_(len(self.q.take('other', 1)), 1)
        eq_(self.pause(), None)
        self.advance(1)
        eq_(self.pause(), 2_000)
        self.q.put([message('waits', 'long', expires=1_900)])
        eq_(self.pause(), 1_900)
        self.q.put([message('later', delay=1_800)])
        eq_(self.pause(), 1_800)
        self.q.put([message('soon', delay=300)])
        self.advance(100)
        eq_(self.pause(), const.TICK - 101)   # a tick has been just now
        self.advance(const.TICK)
        eq_([d.id for d in self.q.turn('p', limit=1).deliveries], ['soon'])

    def test_as_told(self) -> None:
        """A bell listens until then, but for two seconds at most, and for one if that is over."""
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        eq_(bell._patience(), 1.0)
        self.q.turn('p', limit=1)
        eq_(bell._patience(), 2.0)
        self.q.put([message('a', delay=1_400)])
        self.q.turn('other', limit=1)
        eq_(bell._patience(), 2.0)   # it was not told
        before = time.monotonic()
        self.q.turn('p', limit=1)
        self.assertTrue(1.4 < bell._due - before < 1.5 + time.monotonic() - before)
        bell.expect(0.0)
        eventually(bell._patience, 1.0)

    def test_busy(self) -> None:
        """What was heard before something was taken holds no more: a task that has been put
        since, and is due soon, would be late by two seconds."""
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        self.q.turn('p', limit=1)
        eq_(bell._patience(), 2.0)
        self.q.put([message('soon', delay=300), message('now')])
        eq_(len(self.q.turn('p', limit=2).deliveries), 1)
        eq_(self.tokens(), 0)   # it will not be woken
        eq_(bell._patience(), 1.0)

    def test_crowd(self) -> None:
        """The more pools there are, the less often each looks; and only some of them are told what
        is due, for if all came at once nobody else would be served."""
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        for n, span in [(4, None), (5, 2_500), (11, 5_500), (12, 6_000), (100, 6_000)]:
            for i in range(n):
                self.q.join(f'p{i}', {})
            eq_(self.pause(), span)
        self.q.turn('p', limit=1)
        eq_(bell._patience(), 2.0)
        self.assertFalse(bell.due())
        self.q.put([message('a', delay=5_900)])
        self.advance(const.TICK)
        eq_([self.pause() for _ in range(6)], 4 * [4_900] + 2 * [6_000])
        self.q.put([message('b', delay=3_000)])
        eq_([self.pause() for _ in range(6)], 4 * [3_000] + 2 * [6_000])
        self.advance(2_500)
        eq_(self.pause(), 1_000)       # that was a tick: there is none when it is due
        self.advance(500)
        eq_([self.pause() for _ in range(5)], 3 * [500] + 2 * [6_000])
        bell.expect(0.0)
        eventually(bell.due)
        bell.expect(None)
        self.assertTrue(bell.due())

    def test_kept(self) -> None:
        """A token that comes between a look that found nothing and a bell that is armed rings."""
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        self.q.turn('p', limit=1)
        self.q.put([message('a')])
        bell.arm()
        self.assertTrue(bell.keeps and bell.clear())

    def test_soon(self) -> None:
        """A pool is woken for what is due before all have looked again anyway, to hear when."""
        self.q.put([message('late', delay=7_000), message('last', 'late', expires=7_000)])
        eq_(self.tokens(), 0)
        self.q.put([message('a', delay=6_999)])
        eq_(self.tokens(), 1)
        self.q.turn('p', limit=1)
        eq_(self.tokens(), 0)   # it has heard
        self.q.put([message('b', 'late', expires=6_999)])
        eq_(self.tokens(), 1)
        self.q.put([message('again')])
        delivery, = self.q.turn('p', limit=1).deliveries
        self.q.turn('p', limit=1)
        # Of the pools only this one hears of it now, and its bell may be listening already.
        self.q.turn('p', [outcome(delivery, 'retry', delay=500)], limit=1)
        eq_(self.tokens(), 1)


    def test_left_over(self) -> None:
        """While work is left over, a client that watches wakes a pool for it: the one that was
        woken before may have died."""
        self.q.put([message('a')])
        self.client.delete(f'{self.prefix}wake')   # a pool took it, and died
        eq_((self.q.watch('c', ['a']), self.tokens()), ([], 0))
        self.client.hset(f'{self.prefix}m', 'more', 1)
        eq_(self.q.watch('c', ['a']), [])
        eq_(self.tokens(), 1)

    def test_baton(self) -> None:
        """However many pools sleep, each task of a put wakes one at once: as many as are woken
        together, and who takes one of more wakes the next."""
        count = 40   # more than there may be tokens
        bells = {}
        for n in range(count):
            bell = self.q.bell(f'p{n}')
            self.addCleanup(bell.close)
            bell.arm()
            bells[bell.fileno()] = f'p{n}', bell
        self.q.put([message(f't{n}') for n in range(count)])
        woken = []
        while bells:   # a bell that is not rung gives up, after a second
            for fd in select.select(list(bells), [], [])[0]:
                pool, bell = bells.pop(fd)
                if bell.clear():
                    woken += [d.id for d in self.q.turn(pool, limit=1).deliveries]
        eq_(len(woken), count)


class AskingTest(unittest.TestCase):

    def test_idle_pool(self) -> None:
        """A pool that has nothing to do looks once each time that its bell gives up."""
        server = self.enterContext(support.start_redis())
        broker = self.enterContext(get_broker(server.url, support.unique()))

        def calls(name: str) -> int:
            with client.Redis.from_url(server.url) as redis:
                return int(redis.info('commandstats').get(f'cmdstat_{name}', {}).get('calls', 0))

        with thread.WorkerPool(broker) as pool:
            # A second after it joined it beats, and looks for the dead once more.
            eventually(lambda: pool._desk.beat_in > 2 and calls('blpop') >= 2)
            scripts, bells = calls('evalsha'), calls('blpop')
            eventually(lambda: calls('blpop') >= bells + 3, timeout=60)
            # one may be a patrol, and one a look at schedules
            self.assertLessEqual(calls('evalsha') - scripts, 3 + 1 + 1 + 1)
