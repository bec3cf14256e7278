"""Huey in a file: ``SqliteHuey`` as it comes, but that it syncs what it commits; four threads."""
from __future__ import annotations

import os

from huey import SqliteHuey

from bench.peers.consumer import Consumed
from bench.peers.tasks import TASKS

huey = SqliteHuey('bench', filename=os.environ['BENCH_FILE'], fsync=True)


class Adapter(Consumed):
    pace = 400
    application = 'bench.peers.huey_file.huey'
    functions = {name: huey.task()(task) for name, task in TASKS.items()}
