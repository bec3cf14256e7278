"""SAQ: ``saq`` with its defaults: ten jobs at a time in each process."""
from __future__ import annotations

import asyncio
import inspect
import os
import time
from typing import Any, Callable, Sequence

from saq import Queue, Status

from bench.peers.base import LIMIT, AsyncPeer, script
from bench.peers.coroutines import COROUTINES

POLL = 0.002  # seconds; `apply` and `map` ask for results that often, and not every 0.5 s

# a worker that starts may abort what it has just taken, see Queue.sweep
RETRIES = {'retries': 5}


def with_context(task: Callable[..., Any]) -> Callable[..., Any]:
    async def run(ctx: dict[str, Any], **kw: Any) -> Any:
        return await task(**kw)
    return run


NAMES = {name: list(inspect.signature(task).parameters) for name, task in COROUTINES.items()}
# each job that runs may need a connection, of which its pool has 100 by itself
queue = Queue.from_url(os.environ['BENCH_REDIS_URL'] + '?max_connections=1000', name='bench')
settings = {
    'queue': queue,
    'functions': [(name, with_context(task)) for name, task in COROUTINES.items()],
    'concurrency': int(os.environ.get('BENCH_SLOTS', 10)),
}


class Adapter(AsyncPeer):
    pace = 1000

    async def open(self) -> None:
        await queue.connect()

    async def shut(self) -> None:
        await queue.disconnect()

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        self.slots = slots
        return [[script('saq'), 'bench.peers.saq.settings', '--quiet',
                 '--workers', str(processes)]]

    def environment(self) -> dict[str, str]:
        more = {'BENCH_SLOTS': str(self.slots)} if self.slots else {}
        return {**super().environment(), **more}

    async def aput(self, task: str, *args: Any) -> Any:
        return await queue.enqueue(task, **RETRIES, **dict(zip(NAMES[task], args)))

    async def acall(self, task: str, *args: Any) -> Any:
        kw = dict(zip(NAMES[task], args))
        return await queue.apply(task, poll_interval=POLL, **RETRIES, **kw)

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        return (await self.aget_all([handle], timeout))[0]

    async def aget_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        # Job.refresh(until_complete) would miss a job that ends before it listens
        limit = time.monotonic() + timeout
        values: dict[str, Any] = {}
        missing = [handle.key for handle in handles]
        while missing:
            for job in await queue.jobs(missing[:500]):
                if job is not None and job.status == Status.COMPLETE:
                    values[job.key] = job.result
                elif job is not None and job.completed:
                    raise RuntimeError(job.error)
            before, missing = missing, [key for key in missing if key not in values]
            if missing == before:
                if time.monotonic() > limit:
                    raise TimeoutError(f'{len(missing)} jobs are not done')
                await asyncio.sleep(POLL)
        return [values[handle.key] for handle in handles]

    async def afan_in(self, number: int, timeout: float = LIMIT) -> Any:
        values = await queue.map('echo', [{'payload': n} for n in range(number)],
                                 timeout=timeout, poll_interval=POLL, **RETRIES)
        return await self.acall('total', values)
