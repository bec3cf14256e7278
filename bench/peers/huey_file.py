"""Huey in a file: ``SqliteHuey`` as it comes, but that it syncs what it commits; four threads."""
from __future__ import annotations

import os
from typing import Any

from huey import SqliteHuey

from bench.peers.base import LIMIT, Peer, script
from bench.peers.tasks import TASKS

huey = SqliteHuey('bench', filename=os.environ['BENCH_FILE'], fsync=True)
FUNCTIONS = {name: huey.task()(task) for name, task in TASKS.items()}


class Adapter(Peer):
    pace = 400

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('huey_consumer'), 'bench.peers.huey_file.huey', '--quiet',
                   '--no-periodic', '--workers', str(slots or 4), '--worker-type', 'thread',
                   '--graceful-signal', 'TERM']
        return [command] * processes

    def put(self, task: str, *args: Any) -> Any:
        return FUNCTIONS[task](*args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.get(blocking=True, timeout=timeout)
