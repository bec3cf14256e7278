"""The memory queue, and those on Redis and in a file beside it, under random use."""
from __future__ import annotations

import os
import shutil
import tempfile
from unittest import mock

from hypothesis import HealthCheck, Phase, settings
import redis as client

from test import support
from test.queue.model import LINKS, OVERTAKEN
from test.queue.model_failed import Mourners
from test.queue.rows import RowQueue
from test.queue.sides import Sides
from worq.queue.base import TaskQueue
from worq.queue.redis import queue as redis, script
from worq.queue.sqlite import queue as sqlite

#: More of them find more: WORQ_MODEL_EXAMPLES=5000.
EXAMPLES = int(os.environ.get('WORQ_MODEL_EXAMPLES', 60))
#: To make a failure small takes minutes, which is for those who look for it.
PHASES = list(Phase) if 'WORQ_MODEL_EXAMPLES' in os.environ else [Phase.generate]
SETTINGS = settings(
    max_examples=EXAMPLES, stateful_step_count=60, deadline=None, database=None,
    phases=PHASES, print_blob=True, suppress_health_check=list(HealthCheck))


def few_links(**others: int) -> dict[str, script.Script]:
    """Scripts for which a few edges are many."""
    with mock.patch.dict(script.CONSTANTS, LINKS=LINKS, OVERTAKEN=OVERTAKEN, **others):
        return script.verbs(script.prelude(test_clock=True))


class FileSides(Sides):
    """Memory, and a file beside it."""

    def open(self) -> list[TaskQueue]:
        return [*super().open(), self.open_file()]

    def open_file(self) -> sqlite.TaskQueue:
        self.folder = tempfile.mkdtemp(dir=support.FAST)
        return sqlite.TaskQueue(f'sqlite:///{self.folder}/queue.db?sync=off', self.name,
                                clock=lambda: self.now)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.folder)


class FileSlowly(FileSides):
    """A file alone, in small steps."""

    def open(self) -> list[TaskQueue]:
        queue = self.open_file()
        queue._store.budget = queue._looker.budget = 2
        return [queue]


class RedisSides(Sides):
    """Memory, and Redis beside it."""

    scripts = few_links()

    def open(self) -> list[TaskQueue]:
        return [*super().open(), self.open_redis()]

    def open_redis(self) -> redis.TaskQueue:
        url = support.redis_url()
        self.client = client.Redis.from_url(url)
        self.advance(0)
        queue = redis.TaskQueue(url, self.name, clock_key=True)
        queue._scripts = self.scripts
        return queue

    def advance(self, ms: int) -> None:
        super().advance(ms)
        self.client.set(f'worq:{{{self.name}}}:clock', self.now)

    def close(self) -> None:
        super().close()
        keys = list(self.client.scan_iter(match=f'worq:{{{self.name}}}:*', count=1_000))
        self.client.delete(*keys)
        self.client.close()


class RedisSlowly(RedisSides):
    """Redis alone, in small steps: scripts leave nearly all work over for the next ones."""

    scripts = few_links(BUDGET=2, TICK_LIMIT=2, EDGES=1)

    def open(self) -> list[TaskQueue]:
        return [self.open_redis()]


class AllSides(RedisSides, FileSides):
    """Memory, and beside it Redis and a file."""


class MachineSlowly(Sides):
    """The machine over lives that are as rows, in small steps."""

    def open(self) -> list[TaskQueue]:
        return [SmallSteps('memory://', self.name, clock=lambda: self.now)]


class SmallSteps(RowQueue):

    budget = 2


class MemoryUsers(Mourners):
    """Random use of the memory queue alone."""


class AllUsers(Mourners):
    """Random use of memory, a file and Redis, which must answer alike."""

    def sides(self) -> Sides:
        return AllSides()


class SlowUsers(Mourners):
    """Random use of Redis while work is left over all the time."""

    lagging = True

    def sides(self) -> Sides:
        return RedisSlowly()


class SlowMachineUsers(Mourners):
    """Random use of the machine while work is left over all the time."""

    lagging = True

    def sides(self) -> Sides:
        return MachineSlowly()


class SlowFileUsers(Mourners):
    """Random use of a file while work is left over all the time."""

    lagging = True

    def sides(self) -> Sides:
        return FileSlowly()


class WithRedis:

    @classmethod
    def setUpClass(cls) -> None:
        support.redis_url()


class MemoryModelTest(MemoryUsers.TestCase):
    settings = SETTINGS


class SlowMachineModelTest(SlowMachineUsers.TestCase):
    settings = settings(SETTINGS, max_examples=EXAMPLES // 2)


class SlowFileModelTest(SlowFileUsers.TestCase):
    settings = settings(SETTINGS, max_examples=EXAMPLES // 3)


class AllModelTest(WithRedis, AllUsers.TestCase):
    settings = settings(SETTINGS, max_examples=EXAMPLES * 2 // 3)


class SlowModelTest(WithRedis, SlowUsers.TestCase):
    settings = SETTINGS
