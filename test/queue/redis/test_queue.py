"""The Redis queue obeys the contract."""
from __future__ import annotations

import unittest

from test import support
from test.queue.contract_pools import QueueContract
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
