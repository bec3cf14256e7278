"""Schedules under random use by pools that die, beside others, and by people: on each engine."""
from __future__ import annotations

from hypothesis import settings

from test.queue.test_model import SETTINGS, AllSides, WithRedis
from test.queue.sides import Sides
from test.schedules.model import Schedulers

STEPS = 50


class MemorySchedulers(Schedulers):
    """Over a queue in memory."""


class AllSchedulers(Schedulers):
    """Over memory, a file and Redis, which must answer alike."""

    def sides(self) -> Sides:
        return AllSides()


class MemorySchedulesTest(MemorySchedulers.TestCase):
    settings = settings(SETTINGS, stateful_step_count=STEPS)


class AllSchedulesTest(WithRedis, AllSchedulers.TestCase):
    settings = settings(SETTINGS, stateful_step_count=STEPS,
                        max_examples=SETTINGS.max_examples // 3)
