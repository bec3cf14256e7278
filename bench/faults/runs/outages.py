"""Runs in which Redis itself dies, loses what it had, stands still, or fails over."""
from __future__ import annotations

from collections import deque
from pathlib import Path
import signal
import time
from typing import Any

from bench.faults import journal
from bench.faults.record import Record
from bench.faults.rig import ALWAYS, EVERYSEC, Rig
from test.queue.redis import topology
from test.support import Server
from worq import get_broker
from worq.queue.base import Outcome, TaskQueue

__all__ = ['redis_killed', 'aof_cut', 'redis_away', 'failovers']

KILLS = 20
CUTS = 200
UNSYNCED = 1.0     # seconds of the file that a machine may lose with `appendfsync everysec`
DRAINED = 60.0     # seconds that a queue may take to be worked off
MOST = ['--auto-aof-rewrite-percentage', '0']   # the file only grows


def redis_killed(seed: int, seconds: float, quick: bool) -> Record:
    """Run 4: Redis is killed 20 times and started again, with its file synced in different ways.

    With `always`, and with `everysec` if only the process dies, nothing that was acknowledged is
    lost. With `everysec` a machine that dies may lose its last second: here that second is
    cut off the file, and what is lost is counted; all who wait are told.
    """
    record = Record(4, 'Redis killed and started again', seed)
    for leg, options, power in [('always', ALWAYS, False), ('everysec', EVERYSEC, False),
                                ('everysec, machine dies', EVERYSEC, True)]:
        with Rig(seed, [*options, *MOST]) as rig:
            pool = rig.pool(workers=2)
            producer = rig.producer(int(seconds * 40), seconds, longest=0.05)
            sizes: deque[tuple[float, int]] = deque()
            kills = 3 if quick else KILLS
            for number in range(kills):
                watch(rig.server, sizes, seconds / kills * rig.rand.uniform(0.6, 1.0))
                rig.server.kill()
                rig.fault('Redis')
                if power:
                    lose_last_second(rig.server, sizes)
                time.sleep(rig.rand.uniform(0, 0.5))
                rig.server.start()
            rig.finish(producer)
            figures = record.add(rig.figures(), leg)
            record.demand(pool.stop() == 0, f'{leg}: the pool did not end well')
        record.safe(figures, leg, lossy=power)
        if not power:
            record.demand(figures['duplicates'] == 0,
                          f'{leg}: {figures["duplicates"]} tasks ran twice')
    return record


def aof(server: Server) -> Path:
    """The file to which a server appends."""
    found = [*Path(server.folder).glob('appendonly*/*.incr.aof'),
             *Path(server.folder).glob('*.aof')]
    return max(found, key=lambda path: path.stat().st_mtime)


def watch(server: Server, sizes: deque[tuple[float, int]], seconds: float) -> None:
    """Keep how long the file was, for some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sizes.append((time.monotonic(), aof(server).stat().st_size))
        time.sleep(0.05)


def lose_last_second(server: Server, sizes: deque[tuple[float, int]]) -> None:
    """What the file may be when a machine has lost its power."""
    path = aof(server)
    moment = time.monotonic() - UNSYNCED
    size = max((size for when, size in sizes if when <= moment), default=0)
    with open(path, 'r+b') as file:
        file.truncate(min(size, path.stat().st_size))
    sizes.clear()


def aof_cut(seed: int, seconds: float, quick: bool) -> Record:
    """Run 5: the file of a busy Redis is cut at 200 random bytes.

    A server that starts on what is left has a queue whose audit finds nothing, and in which
    everything comes to its end.
    """
    record = Record(5, 'AOF cut at random bytes', seed)
    cuts = 10 if quick else CUTS
    inconsistent: list[str] = []
    stuck: list[str] = []
    depths = []
    with Rig(seed, [*ALWAYS, *MOST]) as rig:
        pools = [rig.pool(workers=2) for _ in range(2)]
        producer = rig.producer(int(seconds * 100), seconds, longest=0.05, graphs=0.6)
        for _ in range(int(seconds * 2)):
            time.sleep(0.5)
            if workers := rig.rand.choice(pools).children:
                rig.kill(rig.rand.choice(workers), 'child')
        rig.finish(producer)
        for pool in pools:
            pool.kill()
        rig.server.kill()
        path = aof(rig.server)
        whole = path.read_bytes()
        for _ in range(cuts):
            offset = rig.rand.randrange(200, len(whole))
            path.write_bytes(whole[:offset])
            rig.server.start()
            with get_broker(rig.url, rig.name) as broker:
                depths.append(broker.backend.size())
                if found := broker.backend.audit():
                    inconsistent.append(f'at {offset}: {found[0]}')
                if left := drain(broker.backend):
                    stuck.append(f'at {offset}: {left}')
            rig.server.kill()
    record.add({'cuts': cuts, 'bytes': len(whole), 'deepest': max(depths),
                'inconsistent': len(inconsistent), 'stuck': len(stuck)})
    record.demand(not inconsistent, f'inconsistent: {inconsistent[:3]}')
    record.demand(not stuck, f'not drained: {stuck[:3]}')
    record.demand(max(depths) > 0, 'nothing was in the queue at any cut')
    return record


def drain(queue: TaskQueue) -> str:
    """Work a queue off, without pools; returns what is left, in words."""
    for pool in queue.pools():
        queue.reconcile(pool, [])    # it is dead, and the delivery shall not count
    limit = time.monotonic() + DRAINED
    while queue.size():
        found = queue.take('drain', 100, 0.2)
        queue.settle('drain', [Outcome(d.id, d.token, 'value', b'done') for d in found])
        if time.monotonic() > limit:
            return f'{queue.size()} tasks, {queue.stats()}'
    limit = time.monotonic() + 10
    while (wrong := queue.audit()) and time.monotonic() < limit:
        queue.beat('drain')   # what a bounded step has left over goes on with the next
        time.sleep(0.1)
    return wrong[0] if wrong else ''


def redis_away(seed: int, seconds: float, quick: bool) -> Record:
    """Run 6: Redis stops answering, or is down, for a tenth of the time and for all of it.

    No task runs twice, not even one that runs all the time; work resumes within 3 s; a producer is
    told within 5 s that it cannot put.
    """
    record = Record(6, 'Redis away', seed)
    for length in [seconds / 10, seconds]:
        for kind in ['stopped', 'down']:
            leg = f'{kind} for {length:g} s'
            figures = away(record, leg, kind, length, seed)
            record.safe(figures, leg)
            record.demand(figures['duplicates'] == 0,
                          f'{leg}: {figures["duplicates"]} tasks ran twice')
            record.demand(figures['resumes'] < 3, f'{leg}: resumed after {figures["resumes"]} s')
            record.demand(figures['slowest put'] < 5.5,   # and the half is the machine's
                          f'{leg}: a put took {figures["slowest put"]} s')
    return record


def away(record: Record, leg: str, kind: str, length: float, seed: int) -> dict[str, Any]:
    """One outage."""
    with Rig(seed, EVERYSEC) as rig:
        pools = [rig.pool(workers=2) for _ in range(2)]
        # two tasks run all through it, on one worker of four each, or two
        long = rig.producer(2, 0.1, prefix='long', shortest=length + 3, longest=length + 3,
                            graphs=0, patience=length + 120)
        producer = rig.producer(int((length + 6) * 20), length + 6, longest=0.2,
                                patience=length + 120)
        time.sleep(3)
        if kind == 'stopped':
            rig.server.kill(signal.SIGSTOP)
            rig.fault(leg, lambda: rig.server.kill(signal.SIGCONT), length)
        else:
            rig.server.stop()
            rig.fault(leg, rig.server.start, length)
        rig.finish(long, producer, limit=length + 300)
        entries = rig.entries()
        healed = next(e.time for e in entries if e.event == journal.HEALED)
        begun = [e.time for e in entries if e.event == journal.BEGIN and e.time > healed]
        resumes = min(begun, default=float('inf')) - healed
        figures = record.add({**rig.figures(), 'resumes': round(resumes, 3)}, leg)
        record.demand([pool.stop() for pool in pools] == [0, 0], f'{leg}: a pool did not end well')
    return figures


def failovers(seed: int, seconds: float, quick: bool) -> Record:
    """Run 7: the master of a Sentinel service is killed, ten times, under load.

    Nobody hangs, work resumes within 10 s; what a failover has undone is counted, and who
    waits for it is told.
    """
    record = Record(7, 'Sentinel failovers', seed)
    count = 2 if quick else 10
    resumes = []
    with Rig(seed, None) as rig, topology.Watched() as watched:
        rig.url = watched.url
        pool = rig.pool(workers=2)
        producer = rig.producer(int(seconds * 40), seconds, longest=0.05, patience=90)
        servers = [watched.master, watched.replica]
        for number in range(count):
            time.sleep(seconds / count * rig.rand.uniform(0.3, 0.6))
            master, replica = servers[number % 2], servers[(number + 1) % 2]
            master.kill()
            rig.fault('master')
            killed = time.monotonic()
            await_role(replica, 'master')
            resumes.append(resumed(rig, killed))
            rejoin(master, replica)
        rig.finish(producer)
        rig.plain = servers[count % 2].url
        figures = record.add({**rig.figures(), 'resumes': round(max(resumes), 3)})
        record.demand(pool.stop() == 0, 'the pool did not end well')
    record.safe(figures, lossy=True)
    record.demand(figures['resumes'] < 10, f'resumed after {figures["resumes"]} s')
    return record


def resumed(rig: Rig, since: float, limit: float = 60) -> float:
    """Seconds from a moment until some task that was put after it begins."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        entries = rig.entries()
        put = {e.key for e in entries if e.event == journal.PUT and e.time > since}
        for entry in entries:
            if entry.event == journal.BEGIN and entry.key in put:
                return entry.time - since
        time.sleep(0.1)
    return float('inf')


def await_role(server: Server, role: str) -> None:
    limit = time.monotonic() + 60
    while server.replication().get('role') != role:
        if time.monotonic() > limit:
            raise TimeoutError(f'{server.url} does not become {role!r}')
        time.sleep(0.05)


def rejoin(server: Server, master: Server) -> None:
    """Start a server again as the replica of another, and wait until it has all."""
    if '--replicaof' in server.args:
        place = server.args.index('--replicaof')
        server.args = server.args[:place] + server.args[place + 3:]
    server.args = (*server.args, '--replicaof', '127.0.0.1', str(master.port))
    server.start()
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        info = server.replication()
        if info.get('role') == 'slave' and info['master_link_status'] == 'up' \
                and int(info['master_port']) == master.port:
            return
        time.sleep(0.1)
    raise TimeoutError(f'{server.url} does not become a replica')
