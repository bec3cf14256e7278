"""The queue in a file obeys the contract."""
from __future__ import annotations

import unittest

from test import support
from test.queue.contract_pools import QueueContract
from worq.queue.sqlite import queue as sqlite


class SqliteQueueTest(QueueContract, unittest.TestCase):

    now = 1_700_000_000_000

    def setUp(self) -> None:
        self.folder = support.folder(self)
        super().setUp()

    def open(self, name: str) -> sqlite.TaskQueue:
        return sqlite.TaskQueue(f'sqlite:///{self.folder}/queue.db?sync=off', name,
                                clock=lambda: self.now)

    def advance(self, ms: int) -> None:
        self.now += ms
