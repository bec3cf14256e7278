"""The Redis queue obeys the contract."""
from __future__ import annotations

import unittest
from collections.abc import Iterator
from contextlib import contextmanager

from test import support
from test.queue.contract_pools import QueueContract
from worq import const
from worq.queue.redis import queue as redis


class RedisQueueTest(QueueContract, unittest.TestCase):

    now = 1_700_000_000_000   # as of a server: no span is as long

    @classmethod
    def setUpClass(cls) -> None:
        cls.url = support.redis_url()
        import redis as client
        cls.client = client.Redis.from_url(cls.url)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.client.close()

    def open(self, name: str) -> redis.TaskQueue:
        self.addCleanup(self.remove, name)
        self.client.set(f'worq:{{{name}}}:clock', self.now)
        return redis.TaskQueue(self.url, name, clock_key=True)

    def remove(self, name: str) -> None:
        support.clean(self.url, name)

    def advance(self, ms: int) -> None:
        self.now += ms
        self.client.set(f'worq:{{{self.q.name}}}:clock', self.now)

    @contextmanager
    def full(self) -> Iterator[None]:
        """With as many registers as there may be beside two: scripts know their number by heart."""
        prefix = f'worq:{{{self.q.name}}}:'
        names = [f'more {n}' for n in range(const.NOTES - 2)]
        self.client.hset(prefix + 'note', mapping=dict.fromkeys(names, '1'))
        self.client.zadd(prefix + 'noted', dict.fromkeys(names, 0))
        self.assertEqual(self.q.audit(), [])
        yield
