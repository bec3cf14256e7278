"""WorQ with a pool of event loops, called by ``worq.aio``: a hundred tasks at a time in each
process.

As a program it is that pool: ``python -m bench.peers.worq_aio URL WORKERS CONCURRENCY``.
"""
from __future__ import annotations

import asyncio
import sys
from typing import Any, Sequence

import worq
import worq.aio
from worq.pool.aio import WorkerPool, start_pools

from bench.peers.base import LIMIT, AsyncPeer, Calls
from bench.peers.coroutines import COROUTINES

NAME = 'bench'


def make_broker(url: str) -> worq.Broker:
    """A broker with all tasks, for the pool's children."""
    broker = worq.get_broker(url, NAME)
    for task in COROUTINES.values():
        broker.expose(task)
    return broker


class Adapter(AsyncPeer):
    """WorQ as it comes, with nothing set but the numbers of children and of tasks in each."""

    bulk = True
    graphs = True
    pace = 10_000

    async def open(self) -> None:
        self.broker = worq.get_broker(self.url, NAME)
        self.queue = worq.aio.Queue(self.broker.queue())

    async def shut(self) -> None:
        await asyncio.to_thread(self.broker.close)

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        return [[sys.executable, '-m', 'bench.peers.worq_aio', self.url, str(processes),
                 str(slots or 100)]]

    async def aput(self, task: str, *args: Any) -> Any:
        return await getattr(self.queue, task)(*args)

    async def aput_bulk(self, task: str, calls: Calls) -> list[Any]:
        function = getattr(self.queue, task)
        return await asyncio.gather(*[function(*args) for args in calls])

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        async with asyncio.timeout(timeout):
            return await handle

    async def aget_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        async with asyncio.timeout(timeout):
            return await asyncio.gather(*handles)

    async def afan_in(self, number: int, timeout: float = LIMIT) -> Any:
        parts = await self.aput_bulk('echo', [(n,) for n in range(number)])
        return await self.aget(await self.aput('total', parts), timeout)


def main() -> None:
    url, workers, concurrency = sys.argv[1:]
    start_pools(WorkerPool(worq.get_broker(url, NAME), make_broker, workers=int(workers),
                           concurrency=int(concurrency)))


if __name__ == '__main__':
    main()
