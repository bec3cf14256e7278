"""Huey: ``RedisHuey`` with its low-latency results, four threads in each consumer."""
from __future__ import annotations

import os
from typing import Any

from huey import RedisHuey, chord
from redis import ConnectionPool

from bench.peers.base import LIMIT, Peer, script
from bench.peers.tasks import TASKS

pool = ConnectionPool.from_url(
    os.environ['BENCH_REDIS_URL'], socket_timeout=None)  # who waits for a result blocks
huey = RedisHuey('bench', connection_pool=pool, notify_result=True)
FUNCTIONS = {name: huey.task()(task) for name, task in TASKS.items()}


class Adapter(Peer):
    pace = 1500

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('huey_consumer'), 'bench.peers.huey.huey', '--quiet', '--no-periodic',
                   '--workers', str(slots or 4), '--worker-type', 'thread',
                   '--graceful-signal', 'TERM']
        return [command] * processes

    def put(self, task: str, *args: Any) -> Any:
        return FUNCTIONS[task](*args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.get(blocking=True, timeout=timeout)

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        echo, total = FUNCTIONS['echo'], FUNCTIONS['total']
        result = huey.enqueue(chord([echo.s(n) for n in range(number)], total))
        return self.get(getattr(result, 'callback', result), timeout)
