"""The standard library: ``concurrent.futures`` and ``multiprocessing.Pool``, with defaults."""
from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
import multiprocessing
from typing import Any, Sequence

from bench.peers.base import LIMIT, Peer
from bench.peers.tasks import TASKS


class Adapter(Peer):
    pace = 15_000   # that of WorQ: the more calls there are, the more garbage is looked for in each

    def __init__(self, name: str, url: str, executor: str) -> None:
        super().__init__(name, url)
        self.one_each = True
        self.executor = executor
        self.pool: Any = None

    def start(self, processes: int = 1, slots: int | None = None, mixed: bool = False,
              wait: bool = True) -> None:
        workers = slots or processes
        if self.executor == 'threads':
            self.pool = ThreadPoolExecutor(workers)
        elif self.executor == 'processes':
            self.pool = ProcessPoolExecutor(workers)
        else:
            self.pool = multiprocessing.Pool(workers)
        if wait:
            self._see_all(1 if self.executor == 'threads' else workers)

    def stop(self) -> None:
        pool, self.pool = self.pool, None
        if isinstance(pool, Executor):
            pool.shutdown()
        elif pool is not None:
            pool.terminate()
            pool.join()

    def put(self, task: str, *args: Any) -> Any:
        if isinstance(self.pool, Executor):
            return self.pool.submit(TASKS[task], *args)
        return self.pool.apply_async(TASKS[task], args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        if isinstance(self.pool, Executor):
            return handle.result(timeout)
        return handle.get(timeout)

    def map_chunks(self, task: str, items: Sequence[Any], size: int) -> list[Any]:
        """The results of a task for each item, so many of them in one message."""
        if isinstance(self.pool, Executor):
            return list(self.pool.map(TASKS[task], items, chunksize=size))
        return self.pool.map(TASKS[task], items, chunksize=size)
