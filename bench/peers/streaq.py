"""streaQ: ``streaq run`` with its defaults: sixteen tasks at a time in each process."""
from __future__ import annotations

import asyncio
import os
from typing import Any

from streaq import Worker

from bench.peers.base import LIMIT, AsyncPeer, Calls, script
from bench.peers.coroutines import COROUTINES

worker = Worker(redis_url=os.environ['BENCH_REDIS_URL'], queue_name='bench',
                anyio_backend='asyncio', concurrency=int(os.environ.get('BENCH_SLOTS', 16)))
TASKS = {name: worker.task(task) for name, task in COROUTINES.items()}


@worker.task
async def gather(ids: list[str]) -> int:
    """The end of a fan-in: the sum of what the tasks of these ids returned."""
    values: list[int] = []
    for start in range(0, len(ids), 50):  # each of them waits on a connection of its own
        values += [one.result for one in await asyncio.gather(
            *(worker.result_by_id(id) for id in ids[start:start + 50]))]
    return await COROUTINES['total'](values)


class Adapter(AsyncPeer):
    bulk = True
    pace = 600

    async def open(self) -> None:
        opened, self.closing = asyncio.Event(), asyncio.Event()

        async def keep() -> None:
            async with worker:  # it has to be left by the coroutine that has entered it
                opened.set()
                await self.closing.wait()

        self.keeper = asyncio.create_task(keep())
        await opened.wait()

    async def shut(self) -> None:
        self.closing.set()
        await self.keeper

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        self.slots = slots
        return [[script('streaq'), 'run', 'bench.peers.streaq:worker',
                 '--workers', str(processes)]]

    def environment(self) -> dict[str, str]:
        more = {'BENCH_SLOTS': str(self.slots)} if self.slots else {}
        return {**super().environment(), **more}

    async def aput(self, task: str, *args: Any) -> Any:
        return await TASKS[task].enqueue(*args)

    async def aput_bulk(self, task: str, calls: Calls) -> list[Any]:
        tasks = [TASKS[task].enqueue(*args) for args in calls]
        await worker.enqueue_many(tasks)
        return tasks

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        return (await handle.result(timeout)).result

    async def afan_in(self, number: int, timeout: float = LIMIT) -> Any:
        leaves = await self.aput_bulk('echo', [(n,) for n in range(number)])
        ids = [leaf.id for leaf in leaves]
        return await self.aget(await gather.enqueue(ids).start(after=ids), timeout)
