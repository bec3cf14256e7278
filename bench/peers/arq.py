"""arq: ``arq`` with its defaults, but that it looks for work, and for results, every 10 ms and
not every half second: it has no other way to learn of them."""
from __future__ import annotations

import os
from typing import Any, Callable

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import func

from bench.peers.base import LIMIT, AsyncPeer, script
from bench.peers.coroutines import COROUTINES

POLL = 0.01  # seconds

settings = RedisSettings.from_dsn(os.environ['BENCH_REDIS_URL'])


def with_context(task: Callable[..., Any]) -> Callable[..., Any]:
    async def run(ctx: dict[str, Any], *args: Any) -> Any:
        return await task(*args)
    return run


class WorkerSettings:
    """What ``arq`` reads."""

    functions = [func(with_context(task), name=name) for name, task in COROUTINES.items()]
    redis_settings = settings
    poll_delay = POLL
    log_results = False
    max_jobs = int(os.environ.get('BENCH_SLOTS', 10))


class Adapter(AsyncPeer):
    pace = 700

    async def open(self) -> None:
        self.pool = await create_pool(settings)

    async def shut(self) -> None:
        await self.pool.aclose()

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        self.slots = slots
        return [[script('arq'), 'bench.peers.arq.WorkerSettings']] * processes

    def environment(self) -> dict[str, str]:
        more = {'BENCH_SLOTS': str(self.slots)} if self.slots else {}
        return {**super().environment(), **more}

    async def aput(self, task: str, *args: Any) -> Any:
        return await self.pool.enqueue_job(task, *args)

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        return await handle.result(timeout, poll_delay=POLL)
