"""docket: ``docket worker``, fifty tasks at a time in each process. When all slots are taken it
looks again after 100 ms, so that its default of ten would bound it to 100 no-ops a second; a
hundred are more than its client has connections for."""
from __future__ import annotations

from datetime import timedelta
import inspect
from typing import Any

from docket import Docket

from bench.peers.base import LIMIT, AsyncPeer, Calls, script
from bench.peers.coroutines import COROUTINES

#: What ``docket worker --tasks`` reads. It looks at annotations, which have to be types.
for task in COROUTINES.values():
    task.__annotations__ = inspect.get_annotations(task, eval_str=True)
TASKS = list(COROUTINES.values())


class Adapter(AsyncPeer):
    bulk = True
    pace = 500

    async def open(self) -> None:
        self.docket = Docket('bench', self.url)
        await self.docket.__aenter__()
        for task in TASKS:
            self.docket.register(task)

    async def shut(self) -> None:
        await self.docket.__aexit__(None, None, None)

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('docket'), 'worker', '--docket', 'bench', '--url', self.url,
                   '--tasks', 'bench.peers.docket:TASKS', '--logging-level', 'WARNING',
                   '--concurrency', str(slots or 50)]
        return [command] * processes

    async def aput(self, task: str, *args: Any) -> Any:
        return await self.docket.add(COROUTINES[task])(*args)

    async def aput_bulk(self, task: str, calls: Calls) -> list[Any]:
        call, function = self.docket.call, COROUTINES[task]  # each call() is one task's key
        return await self.docket.add_many([call(function)(*args) for args in calls])

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        return await handle.get_result(timeout=timedelta(seconds=timeout))
