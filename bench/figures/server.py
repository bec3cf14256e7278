"""What a task costs the Redis server: the time of its processor, which is one core's at most.

By `getrusage` of the server, so that neither the callers nor the workers count; but who else works
on the machine makes it dearer, for then its caches are cold.
"""
from __future__ import annotations

import time
from typing import Any

from bench.figures import Run
from bench.figures.cost import connect

WARM = [(0,)] * 20
CROWD = (1, 10, 50)    # pools


def server(run: Run) -> dict[str, float]:
    """Microseconds for a task: enqueued by a call of its own, drained with many others by one
    worker process, its result stored; and called and waited for alone, on an idle worker."""
    found = {}
    calls = [(n,) for n in range(run.count(2000, 100))]
    with connect(run.url) as client:
        run.peer.put_each('now', WARM)
        begin = spent(client)
        run.peer.put_each('now', calls)
        found['enqueue'] = (spent(client) - begin) / len(calls)
        client.flushall()

        calls = [(n,) for n in range(run.count(min(run.peer.pace, 3000) * 3, 100))]
        handles = run.peer.put_bulk('now', calls)
        begin = spent(client)
        run.peer.start(wait=False)
        run.peer.get(handles[-1])
        found['drain'] = (spent(client) - begin) / len(calls)
        run.peer.get_all(handles)
        if run.peer.single:
            found['call'] = alone(run, client)
    return found


def crowd(run: Run) -> dict[str, float]:
    """By how many pools there are, all of them idle: microseconds for a call that is waited for
    alone, and microseconds a second while there is nothing to do."""
    found = {}
    with connect(run.url) as client:
        for n in CROWD if not run.quick else CROWD[:1]:
            run.peer.pools = n
            run.peer.start()
            for _ in range(n):   # so that each pool has had some
                run.peer.round_trips('now', WARM[:2])
            found[f'a call, {n} pool{"s" * (n > 1)}'] = alone(run, client)
            begin, seconds = spent(client), run.count(20, 1)
            time.sleep(seconds)
            found[f'an idle second, {n} pool{"s" * (n > 1)}'] = (spent(client) - begin) / seconds
            run.peer.stop()
    return found


def alone(run: Run, client: Any) -> float:
    """Microseconds for a call that is waited for, one after the other."""
    calls = [(n,) for n in range(run.count(min(run.peer.pace, 500), 20))]
    run.peer.round_trips('now', WARM)
    begin = spent(client)
    run.peer.round_trips('now', calls)
    return (spent(client) - begin) / len(calls)


def spent(client: Any) -> float:
    """Microseconds of processor that the server has had."""
    found = client.info('cpu')
    return 1e6 * (float(found['used_cpu_user']) + float(found['used_cpu_sys']))
