"""joblib: one ``Parallel`` with its default backend, kept open. It has no single calls."""
from __future__ import annotations

from typing import Any, Sequence

from joblib import Parallel, delayed

from bench.peers.base import LIMIT, Calls, Peer
from bench.peers.tasks import TASKS


class Adapter(Peer):
    bulk = True
    single = False
    one_each = True
    pace = 10_000

    def __init__(self, name: str, url: str) -> None:
        super().__init__(name, url)
        self.parallel: Any = None

    def start(self, processes: int = 1, slots: int | None = None, mixed: bool = False,
              wait: bool = True) -> None:
        # with one it would make the calls in this process
        self.parallel = Parallel(n_jobs=max(2, slots or processes))
        self.parallel.__enter__()
        self.get_all(self.put_bulk('who', [(0.02,)] * 4 * processes))

    def stop(self) -> None:
        if self.parallel is not None:
            self.parallel.__exit__(None, None, None)
            self.parallel = None

    def put(self, task: str, *args: Any) -> Any:
        return delayed(TASKS[task])(*args)

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        """The calls; they are made when their results are asked for."""
        function = delayed(TASKS[task])
        return [function(*args) for args in calls]

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return self.get_all([handle], timeout)[0]

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        return self.parallel(handles)

    def map_chunks(self, task: str, items: Sequence[Any], size: int) -> list[Any]:
        """The results of a task for each item; joblib chooses the batches itself."""
        return self.get_all(self.put_bulk(task, [(item,) for item in items]))
