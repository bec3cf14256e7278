"""Runs with much in the queue: a full server, a million tasks, large graphs; and with nothing."""
from __future__ import annotations

import time

from bench.faults import journal
from bench.faults.record import Record
from bench.faults.rig import EVERYSEC, Rig
from worq import QueueError, Task, get_broker

__all__ = ['server_full']


def server_full(seed: int, seconds: float, quick: bool) -> Record:
    """Run 10: Redis reaches its maxmemory with thousands queued.

    The producer is told within 100 ms, with a QueueError, and nothing of what it was told of is
    stored; all that was acknowledged is run, its results are kept.
    """
    record = Record(10, 'maxmemory reached with thousands queued', seed)
    count = 1_000 if quick else 5_000
    refused = []
    with Rig(seed, [*EVERYSEC, '--maxmemory-policy', 'noeviction']) as rig:
        broker = get_broker(rig.url, rig.name)
        q = broker.queue()
        made = {}

        def put(key: str, ballast: bytes = b'') -> None:
            rig.journal.write(journal.TRY, key)
            begin = time.monotonic()
            try:
                made[key] = Task(q.work, id=key)(key, 0.001, ballast)
            except QueueError as error:
                refused.append((time.monotonic() - begin, str(error)))
                rig.journal.write(journal.UNSURE, key, error)
            else:
                rig.journal.write(journal.PUT, key)

        for n in range(count):
            put(f'n{n}')
        used = int(rig.server.cli('INFO', 'memory')['used_memory'])
        rig.server.cli('CONFIG', 'SET', 'maxmemory', used + (256 << 10))
        rig.fault('full')
        for n in range(100):
            put(f'more{n}', bytes(16 << 10))
        states = dict(zip(
            [f'more{n}' for n in range(100)],
            broker.backend.status([f'more{n}' for n in range(100)])))
        half_stored = [key for key, state in states.items() if state and key not in made]
        pool = rig.pool(workers=2)
        limit = time.monotonic() + 300
        for key, deferred in made.items():
            try:
                value = deferred.result(max(0.0, limit - time.monotonic()))
                rig.journal.write(journal.RESULT, key, value['run'])
            except TimeoutError:
                rig.journal.write(journal.NOTHING, key)
        figures = record.add({
            **rig.figures(), 'refused': len(refused), 'half stored': len(half_stored),
            'slowest refusal': round(max((took for took, _ in refused), default=0.0), 4)})
        broker.close()
        record.demand(pool.stop() == 0, 'the pool did not end well')
    record.safe(figures)
    record.demand(len(refused) > 0, 'nothing was refused')
    record.demand(not half_stored, f'refused and yet stored: {half_stored[:3]}')
    record.demand(figures['slowest refusal'] < 0.1,
                  f'a refusal took {figures["slowest refusal"]} s')
    record.demand(all('full' in text for _, text in refused),
                  f'not told why: {[text for _, text in refused][:1]}')
    record.demand(figures['results'] == len(made), 'not all that were queued came to a result')
    return record
