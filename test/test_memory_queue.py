"""The memory queue obeys the contract."""
from __future__ import annotations

import unittest

from test.contract_pools import QueueContract
from worq.queue import memory


class MemoryQueueTest(QueueContract, unittest.TestCase):

    now = 1_000_000

    def open(self, name: str) -> memory.TaskQueue:
        queue = memory.TaskQueue.open('memory://', name)
        queue.clock = lambda: self.now
        return queue

    def advance(self, ms: int) -> None:
        self.now += ms
