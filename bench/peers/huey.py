"""Huey: ``RedisHuey`` with its low-latency results, four threads in each consumer."""
from __future__ import annotations

import os

from huey import RedisHuey, chord
from redis import ConnectionPool

from bench.peers.base import LIMIT
from bench.peers.consumer import Consumed
from bench.peers.tasks import TASKS

pool = ConnectionPool.from_url(
    os.environ['BENCH_REDIS_URL'], socket_timeout=None)  # who waits for a result blocks
huey = RedisHuey('bench', connection_pool=pool, notify_result=True)


class Adapter(Consumed):
    pace = 1500
    application = 'bench.peers.huey.huey'
    functions = {name: huey.task()(task) for name, task in TASKS.items()}

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        echo, total = self.functions['echo'], self.functions['total']
        result = huey.enqueue(chord([echo.s(n) for n in range(number)], total))
        return self.get(getattr(result, 'callback', result), timeout)
