"""How fast: enqueue, drain, round trip, payloads, and how evenly work is spread."""
from __future__ import annotations

import time
from typing import Any

from bench.figures import MIX, NotApplicable, Run, percentile

WARM = [(0,)] * 20
TRIPS_LIMIT = 8.0  # seconds for all round trips of one measurement


def enqueue(run: Run) -> dict[str, float]:
    """Calls one at a time, each acknowledged before the next; nobody works on them."""
    run.peer.put_each('now', WARM)
    calls = [(n,) for n in range(run.count(2000, 200))]
    begin = time.perf_counter()
    run.peer.put_each('now', calls)
    return {'rate': len(calls) / (time.perf_counter() - begin)}


def bulk(run: Run) -> dict[str, float]:
    """The same with the library's call for many."""
    if not run.peer.bulk:
        raise NotApplicable('it has no call for many')
    run.peer.put_bulk('now', WARM)
    calls = [(n,) for n in range(run.count(10_000, 500))]
    begin = time.perf_counter()
    run.peer.put_bulk('now', calls)
    return {'rate': len(calls) / (time.perf_counter() - begin)}


def drain(run: Run) -> dict[str, float]:
    return _drain(run, 1)


def drain2(run: Run) -> dict[str, float]:
    return _drain(run, 2)


def _drain(run: Run, processes: int) -> dict[str, float]:
    """Queued no-ops are worked off, results stored.

    Each says when it ran, so nothing but the workers is measured, and the client only waits
    for the last one meanwhile. The first fifth is left out: workers do not begin at once.
    """
    calls = run.no_ops(3 * processes, 300)
    handles = run.peer.put_bulk('now', calls)
    run.peer.start(processes, wait=False)
    run.peer.get(handles[-1])
    times = sorted(run.peer.get_all(handles))
    if len(times) != len(calls):
        raise RuntimeError(f'{len(times)} results of {len(calls)} tasks')
    skip = len(times) // 5
    return {'rate': (len(times) - 1 - skip) / (times[-1] - times[skip])}


def round_trip(run: Run) -> dict[str, float]:
    """One call and its result, again and again, on a worker that has nothing else to do."""
    if not run.peer.single:
        raise NotApplicable('it has no single calls')
    run.peer.start()
    run.peer.round_trips('now', WARM)
    times: list[float] = []
    begin = time.perf_counter()
    while len(times) < run.count(1000, 40) and time.perf_counter() - begin < TRIPS_LIMIT:
        times += run.peer.round_trips('now', [(n,) for n in range(20)])
    return {'p50': 1e3 * percentile(times, 0.5), 'p99': 1e3 * percentile(times, 0.99)}


def throughput(run: Run) -> dict[str, float]:
    """No-ops called one at a time and all results collected, by the clock of the caller."""
    if not run.peer.single:
        raise NotApplicable('it has no single calls')
    run.peer.start(2)
    calls = run.no_ops(2, 300)
    begin = time.perf_counter()
    handles = run.peer.put_each('now', calls)
    values = run.peer.get_all(handles)
    elapsed = time.perf_counter() - begin
    if len(values) != len(calls):
        raise RuntimeError(f'{len(values)} results of {len(calls)} tasks')
    return {'rate': len(calls) / elapsed}


def chunks(run: Run) -> dict[str, float]:
    """A task for each item, a hundred items in one message."""
    if not hasattr(run.peer, 'map_chunks'):
        raise NotApplicable('it has no chunks')
    run.peer.start(2)
    items = list(range(run.count(2000 if run.peer.pace < 1000 else 200_000, 1000)))
    begin = time.perf_counter()
    values = run.peer.map_chunks('echo', items, 100)
    elapsed = time.perf_counter() - begin
    if values != items:
        raise RuntimeError('the results are not those of the items')
    return {'rate': len(items) / elapsed}


def payload(run: Run) -> dict[str, float]:
    """Texts there and back, by their size in bytes."""
    run.peer.start()
    rates = {}
    for size, number, quick in [(100, 200, 10), (10_000, 200, 10), (1_000_000, 20, 2)]:
        text = run.random.randbytes(size // 2).hex()
        calls = [(text,)] * run.count(number, quick)
        begin = time.perf_counter()
        values: list[Any] = run.peer.get_all(run.peer.put_bulk('echo', calls))
        rates[f'{size} B'] = len(calls) / (time.perf_counter() - begin)
        if any(value != text for value in values):
            raise RuntimeError(f'a text of {size} bytes came back as another one')
    return rates


def even(run: Run) -> dict[str, float]:
    """Tasks that sleep for 1, 10 and 100 ms, in random order, on four workers: the seconds
    slept, over the time that took and the number of workers."""
    run.peer.start_slots(4)
    lengths = [length for length in MIX for _ in range(run.count(150, 10))]
    run.random.shuffle(lengths)
    spans = run.peer.get_all(run.peer.put_bulk('work', [(length,) for length in lengths]))
    elapsed = max(end for _, end in spans) - min(begin for begin, _ in spans)
    return {'share': sum(lengths) / (4 * elapsed)}
