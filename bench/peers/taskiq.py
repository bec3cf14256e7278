"""taskiq with taskiq-redis: the stream broker, which acknowledges, and its result backend.

Results can only be asked for again and again; every 2 ms here, and not every 0.2 s."""
from __future__ import annotations

import os
from typing import Any

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from bench.peers.base import LIMIT, AsyncPeer, script
from bench.peers.coroutines import COROUTINES

POLL = 0.002  # seconds

url = os.environ['BENCH_REDIS_URL']
broker = RedisStreamBroker(url, unacknowledged_lock_timeout=10).with_result_backend(
    RedisAsyncResultBackend(url, result_ex_time=3600))
TASKS = {name: broker.register_task(task, task_name=name) for name, task in COROUTINES.items()}


class Adapter(AsyncPeer):
    pace = 1000
    farewell = 1.0  # an idle one takes no notice of SIGTERM until it gets a message

    async def open(self) -> None:
        await broker.startup()

    async def shut(self) -> None:
        await broker.shutdown()

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('taskiq'), 'worker', 'bench.peers.taskiq:broker', '--workers',
                   str(processes), '--log-level', 'WARNING']
        return [command + ['--max-async-tasks', str(slots)] * bool(slots)]

    async def aput(self, task: str, *args: Any) -> Any:
        return await TASKS[task].kiq(*args)

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        result = await handle.wait_result(check_interval=POLL, timeout=timeout)
        result.raise_for_error()
        return result.return_value
