"""Celery: Redis as broker and as result backend; child processes (its default) or threads.

For short tasks its guide to optimizing advises to prefetch 64 or more, for tasks of mixed
lengths one."""
from __future__ import annotations

import os
from typing import Any, Sequence

from celery import Celery, chord, group
from celery.result import ResultSet

from bench.peers.base import LIMIT, Peer, script
from bench.peers.tasks import TASKS

url = os.environ['BENCH_REDIS_URL']
app = Celery('bench', broker=url, backend=url)
app.conf.worker_prefetch_multiplier = int(os.environ.get('BENCH_PREFETCH', 64))
app.conf.broker_connection_retry_on_startup = True
FUNCTIONS = {name: app.task(name=name)(task) for name, task in TASKS.items()}


class Adapter(Peer):
    pace = 500

    def __init__(self, name: str, url: str, threads: bool = False) -> None:
        super().__init__(name, url)
        self.threads = threads
        self.one_each = not threads
        self.mixed = False

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        self.mixed = mixed
        command = [script('celery'), '--app', 'bench.peers.celery', '--quiet', 'worker',
                   '--loglevel', 'WARNING']
        if not self.threads:
            return [[*command, '--pool', 'prefork', '--concurrency', str(processes)]]
        return [[*command, '--pool', 'threads', '--concurrency', str(slots or 4),
                 '--hostname', f'{number}@%h'] for number in range(processes)]

    def environment(self) -> dict[str, str]:
        more = {'BENCH_PREFETCH': '1'} if self.mixed else {}
        return {**super().environment(), **more}

    def disconnect(self) -> None:
        app.close()

    def put(self, task: str, *args: Any) -> Any:
        return FUNCTIONS[task].delay(*args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.get(timeout=timeout)

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        return ResultSet(handles, app=app).get(timeout=timeout)

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        echo, total = FUNCTIONS['echo'], FUNCTIONS['total']
        return self.get(chord(group(echo.s(n) for n in range(number)))(total.s()), timeout)
