"""What it costs: memory of Redis, traffic with it, an idle pool, a cold start."""
from __future__ import annotations

from pathlib import Path
import subprocess
import sys
import time
from typing import Any

import redis

from bench.figures import Run
from bench.peers import PEERS
from bench.peers.base import ROOT, children

OURS = {'config|resetstat', 'info', 'client|setinfo', 'hello'}


def memory(run: Run) -> dict[str, float]:
    """Bytes of Redis for one no-op that is queued, among others. Buffers are left out: they
    are of connections and of the append-only file, not of tasks."""
    number = run.count(5000, 1000)
    with connect(run.url) as client:
        run.peer.put_bulk('now', [(0,)] * 20)
        before = used(client)
        run.peer.put_bulk('now', [(n,) for n in range(number)])
        return {'bytes': (used(client) - before) / number}


def used(client: Any) -> int:
    """Bytes that Redis uses for data, once it has nothing else to do."""
    time.sleep(0.3)  # it looks at the buffers of its clients ten times a second
    info = client.info('memory')
    buffers = info['mem_clients_normal'] + info.get('mem_aof_buffer', 0)
    return int(info['used_memory'] - buffers)


def traffic(run: Run) -> dict[str, float]:
    """Commands (those within scripts too) and round trips of everybody, over the number of
    tasks: they are enqueued, in bulk where there is a way, then worked off by one worker
    process that is started for it, and their results are collected."""
    calls = [(n,) for n in range(max(10, run.count(min(run.peer.pace, 5000), 100)))]
    with connect(run.url) as client:
        client.config_resetstat()
        before = run.proxy.trips
        handles = run.peer.put_bulk('now', calls)
        run.peer.start(wait=False)
        run.peer.get(handles[-1])
        run.peer.get_all(handles)
        trips, commands = run.proxy.trips - before, executed(client)
    return {'round trips': trips / len(calls), 'commands': commands / len(calls)}


def executed(client: Any) -> int:
    """Commands since the last reset, but for those that count them."""
    found = client.info('commandstats')
    return sum(stat['calls'] for name, stat in found.items()
               if name.removeprefix('cmdstat_') not in OURS)


def idle(run: Run) -> dict[str, float]:
    """A pool of one worker process that has worked and waits for more, while nobody else is
    connected: commands that it sends in a second, and all that are executed then (those
    within scripts too); MiB of memory that belong to its processes alone, and to the first
    of them."""
    run.peer.start()
    run.peer.get_all(run.peer.put_bulk('now', [(n,) for n in range(100)]))
    run.peer.disconnect()
    time.sleep(1)  # so that it is at rest
    seconds = run.count(10, 2)
    with connect(run.url) as client:
        client.config_resetstat()
        before = run.proxy.trips
        time.sleep(seconds)
        trips, commands = run.proxy.trips - before, executed(client)
    family = {pid for process in run.peer.processes for pid in children(process.pid)}
    return {'sent': trips / seconds, 'executed': commands / seconds,
            'memory': sum(map(private, family)), 'manager': private(run.peer.processes[0].pid)}


def private(pid: int) -> float:
    """MiB that a process shares with no other."""
    lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith('Private_')) / 1024


def cold(run: Run) -> dict[str, float]:
    """From the start of the workers, in a new process, to the first result.

    The task is queued before. In memory it is called by the same program, so that is timed
    from the start of its interpreter.
    """
    begin = time.perf_counter()
    if PEERS[run.name].kind == 'redis':
        handle = run.peer.put('echo', 1)
        begin = time.perf_counter()
        run.peer.start(wait=False)
        run.peer.get(handle)
        return {'seconds': time.perf_counter() - begin}
    program = subprocess.Popen([sys.executable, '-m', 'bench.first', run.name], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    with program:
        line = program.stdout.readline()
        elapsed = time.perf_counter() - begin
    if line != 'done\n':
        raise RuntimeError(f'the program of {run.name} printed {line!r}')
    return {'seconds': elapsed}


def connect(url: str) -> Any:
    """A client that looks at the server."""
    return redis.Redis.from_url(url, protocol=2)
