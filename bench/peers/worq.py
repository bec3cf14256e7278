"""WorQ: on Redis with a pool as a program of its own, or in memory with a pool in this process.

As a program it is that pool: ``python -m bench.peers.worq URL WORKERS [threads [POOLS]]``.
"""
from __future__ import annotations

from contextlib import ExitStack
import signal
import sys
from typing import Any, Sequence

import worq
from worq.pool.process import WorkerPool as ProcessPool, start_pools
from worq.pool.thread import WorkerPool as ThreadPool

from bench.peers.base import LIMIT, Calls, Peer
from bench.peers.tasks import TASKS

NAME = 'bench'


def make_broker(url: str) -> worq.Broker:
    """A broker with all tasks, for pools and their children."""
    broker = worq.get_broker(url, NAME)
    for task in TASKS.values():
        broker.expose(task)
    return broker


class Adapter(Peer):
    """WorQ as it comes, with nothing set but the number of workers."""

    bulk = True
    graphs = True
    pace = 15_000

    def __init__(self, name: str, url: str, threads: bool = False) -> None:
        super().__init__(name, url)
        self.threads = threads
        self.one_each = not threads
        self.broker = make_broker(url)
        self.queue = self.broker.queue()
        self.pool: ProcessPool | ThreadPool | None = None
        self.pools = 0    # of threads, in one program, in place of one pool

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [sys.executable, '-m', 'bench.peers.worq', self.url]
        if self.pools:
            return [[*command, '1', 'threads', str(self.pools)]]
        if self.threads:
            return [[*command, str(slots or 1), 'threads'] for _ in range(processes)]
        return [[*command, str(processes)]]

    def start(self, processes: int = 1, slots: int | None = None, mixed: bool = False,
              wait: bool = True) -> None:
        if self.url != 'memory://':
            super().start(processes, slots, mixed, wait)
            return
        # threads of one process cannot be processes: there, more of one are more of the other
        self.pool = ThreadPool(self.broker, workers=slots or processes) if self.threads else \
            ProcessPool(self.broker, make_broker, workers=processes)
        self.pool.__enter__()
        if wait:
            self._see_all(1 if self.threads else processes)

    def stop(self) -> None:
        if self.pool is not None:
            self.pool.stop()
            self.pool = None
        super().stop()

    def disconnect(self) -> None:
        self.broker.close()

    def put(self, task: str, *args: Any) -> Any:
        return getattr(self.queue, task)(*args)

    def put_each(self, task: str, calls: Calls) -> list[Any]:
        function = getattr(self.queue, task)
        return [function(*args) for args in calls]

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        return worq.map(getattr(self.queue, task), *zip(*calls))

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.result(timeout)

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        worq.wait(handles, timeout)
        return [handle.value for handle in handles]

    def map_chunks(self, task: str, items: Sequence[Any], size: int) -> list[Any]:
        """The results of a task for each item, so many of them in one task."""
        parts = worq.map(getattr(self.queue, task), items, chunksize=size)
        return [value for part in self.get_all(parts) for value in part]

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        result: int = self.queue.total(self.put_bulk(
            'echo', [(n,) for n in range(number)])).result(timeout)
        return result

    def reduction(self, number: int, timeout: float = LIMIT) -> int:
        """The sum of 0 .. number - 1, by a balanced tree of tasks of two arguments."""
        leaves = self.put_bulk('echo', [(n,) for n in range(number)])
        result: int = worq.reduce(self.queue.add, leaves).result(timeout)
        return result


def main() -> None:
    url, workers, *threads = sys.argv[1:]
    if not threads:
        broker = make_broker(url)
        start_pools(ProcessPool(broker, make_broker, workers=int(workers)))
        return
    ends = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # before there are other threads
    with ExitStack() as pools:
        for _ in range(int(threads[1]) if threads[1:] else 1):
            pools.enter_context(ThreadPool(make_broker(url), workers=int(workers)))
        signal.sigwait(ends)


if __name__ == '__main__':
    main()
