"""Dramatiq: its Redis broker and its recommended result backend; ``dramatiq`` runs it, with
eight threads a process unless told otherwise."""
from __future__ import annotations

import os
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from redis import Redis

from bench.peers.base import LIMIT, Peer, script
from bench.peers.tasks import TASKS

url = os.environ['BENCH_REDIS_URL']
broker = RedisBroker(url=url)
results = Redis.from_url(url, socket_timeout=None)  # who waits for a result blocks
broker.add_middleware(Results(backend=RedisBackend(client=results), store_results=True))
dramatiq.set_broker(broker)
ACTORS = {name: dramatiq.actor(task, actor_name=name) for name, task in TASKS.items()}


class Adapter(Peer):
    pace = 1500

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('dramatiq'), 'bench.peers.dramatiq', '--processes', str(processes)]
        return [command + ['--threads', str(slots)] * bool(slots)]

    def put(self, task: str, *args: Any) -> Any:
        return ACTORS[task].send(*args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.get_result(block=True, timeout=max(1000, int(1000 * timeout)))
