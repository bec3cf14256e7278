"""Celery with what its documentation has for tasks that must not be lost with their worker."""
from __future__ import annotations

import os
from typing import Any

os.environ.setdefault('BENCH_PREFETCH', '1')

from bench.peers import celery  # noqa: E402
from bench.peers.base import script  # noqa: E402

app = celery.app
app.conf.task_acks_late = True
app.conf.task_reject_on_worker_lost = True
app.conf.worker_prefetch_multiplier = 1


class Adapter(celery.Adapter):
    """`bench.peers.celery`, acknowledging late."""

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        return [[script('celery'), '--app', 'bench.faults.peer_celery_late', '--quiet', 'worker',
                 '--loglevel', 'WARNING', '--pool', 'prefork', '--concurrency', str(processes)]]

    def get(self, handle: Any, timeout: float = 120) -> Any:
        return handle.get(timeout=timeout)
