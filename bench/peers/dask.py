"""Dask: a ``LocalCluster`` of processes, or of threads in this one; futures as arguments."""
from __future__ import annotations

from typing import Any, Sequence

from distributed import Client, LocalCluster

from bench.peers.base import LIMIT, Calls, Peer
from bench.peers.tasks import TASKS


class Adapter(Peer):
    bulk = True
    graphs = True
    one_each = True
    pace = 500

    def __init__(self, name: str, url: str, threads: bool = False) -> None:
        super().__init__(name, url)
        self.threads = threads
        self.cluster: Any = None
        self.client: Any = None

    def start(self, processes: int = 1, slots: int | None = None, mixed: bool = False,
              wait: bool = True) -> None:
        workers = slots or processes
        shape = {'n_workers': 1, 'threads_per_worker': workers} if self.threads else \
            {'n_workers': workers, 'threads_per_worker': 1}
        self.cluster = LocalCluster(processes=not self.threads, dashboard_address=None, **shape)
        self.client = Client(self.cluster)
        if wait:
            self._see_all(1 if self.threads else workers)

    def stop(self) -> None:
        if self.client is not None:
            self.client.close()
            self.cluster.close()
            self.client = self.cluster = None

    def put(self, task: str, *args: Any) -> Any:
        return self.client.submit(TASKS[task], *args, pure=False)

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        return self.client.map(TASKS[task], *zip(*calls), pure=False)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.result(timeout)

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        return self.client.gather(list(handles))

    def map_chunks(self, task: str, items: Sequence[Any], size: int) -> list[Any]:
        """The results of a task for each item."""
        return self.get_all(self.client.map(TASKS[task], items, pure=False, batch_size=size))

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        leaves = self.put_bulk('echo', [(n,) for n in range(number)])
        return self.get(self.put('total', leaves), timeout)

    def reduction(self, number: int, timeout: float = LIMIT) -> int:
        """The sum of 0 .. number - 1, by a balanced tree of tasks of two arguments."""
        level = self.put_bulk('echo', [(n,) for n in range(number)])
        while len(level) > 1:
            odd = level[-1:] if len(level) % 2 else []
            level = [*self.put_bulk('add', list(zip(level[::2], level[1::2]))), *odd]
        return self.get(level[0], timeout)
