"""The memory queue, and the queue on Redis beside it, under random use."""
from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

from test import support
from test.model import Sides, Users

#: More of them find more: WORQ_MODEL_EXAMPLES=5000.
EXAMPLES = int(os.environ.get('WORQ_MODEL_EXAMPLES', 60))
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None, database=None,
    print_blob=True, suppress_health_check=list(HealthCheck))


class BothSides(Sides):
    """Memory, and Redis beside it."""

    def __init__(self) -> None:
        super().__init__()
        import redis as client

        from worq.queue import redis
        url = support.redis_url()
        self.client = client.Redis.from_url(url)
        self.advance(0)
        self.queues.append(redis.TaskQueue(url, self.name, clock_key=True))

    def advance(self, ms: int) -> None:
        super().advance(ms)
        self.client.set(f'worq:{{{self.name}}}:clock', self.now)

    def close(self) -> None:
        super().close()
        keys = list(self.client.scan_iter(match=f'worq:{{{self.name}}}:*', count=1_000))
        self.client.delete(*keys)
        self.client.close()


class MemoryUsers(Users):
    """Random use of the memory queue alone."""


class BothUsers(Users):
    """Random use of memory and Redis, which must answer alike."""

    def sides(self) -> Sides:
        return BothSides()


class MemoryModelTest(MemoryUsers.TestCase):
    settings = SETTINGS


class BothModelTest(BothUsers.TestCase):
    settings = SETTINGS

    @classmethod
    def setUpClass(cls) -> None:
        support.redis_url()


