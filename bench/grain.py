#!/usr/bin/env python
"""How long must a task be, to be worth being one? By engine and by kind of pool.

    python bench/grain.py [--rounds 5] [--workers 2] [--seconds 2] [--publish]

Tasks that compute for 0.1 to 100 ms are mapped over by `worq.map` and collected, and the same
is done in a loop of this process, right before. Printed are medians of: what a task costs (the
time of a task that does nothing, from call to result, in numbers) and how much faster than the
loop the pool was. --publish writes the table to bench/grain.rst. Nothing else should run on the
machine.
"""
from __future__ import annotations

import argparse
from contextlib import contextmanager
from datetime import date
import os
from pathlib import Path
from statistics import median
import sys
import tempfile
import time
from typing import Any, Iterator

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import worq  # noqa: E402
from bench.report import list_table, plain  # noqa: E402
from test import support  # noqa: E402
from worq.pool import process, thread  # noqa: E402

LENGTHS = [0.1, 1.0, 10.0, 100.0]   # milliseconds
NOTHINGS = 5_000
SECRET = 'of a bench, and no other'


def work(turns: int) -> int:
    """Compute for a while."""
    for turn in range(turns):
        turns ^= turn
    return turns


def turns_a_millisecond() -> int:
    """How long a loop takes a millisecond here."""
    begin = time.perf_counter()
    work(1_000_000)
    return int(1_000_000 / (1000 * (time.perf_counter() - begin)))


def init(url: str, name: str) -> worq.core.Broker:
    broker = worq.get_broker(url, name, secret=SECRET)
    broker.expose(work)
    return broker


@contextmanager
def pool(url: str, kind: str, workers: int) -> Iterator[Any]:
    """A queue with a pool whose workers have started."""
    name = support.unique('grain')
    with init(url, name) as broker:
        with (thread.WorkerPool(broker, workers=workers) if kind == 'threads' else
              process.WorkerPool(broker, init, (name,), workers=workers)):
            q = broker.queue()
            for _ in range(2):
                collect(q, [10_000] * 20 * workers)
            yield q
        broker.discard_pending_tasks()


def collect(q: Any, calls: list[int]) -> float:
    """Seconds until all results are here."""
    begin = time.perf_counter()
    for deferred in worq.map(q.work, calls):
        deferred.result()
    return time.perf_counter() - begin


def measure(q: Any, workers: int, seconds: float) -> list[float]:
    """Milliseconds of a task that does nothing; and by length, the loop's time over the pool's."""
    found = [1000 * collect(q, [0] * NOTHINGS) / NOTHINGS]
    turns = turns_a_millisecond()
    for length in LENGTHS:
        calls = [int(turns * length)] * max(2 * workers, int(1000 * seconds / length))
        begin = time.perf_counter()
        for call in calls:
            work(call)
        found.append((time.perf_counter() - begin) / collect(q, calls))
    return found


def rows(rounds: int, workers: int, seconds: float) -> list[list[str]]:
    """The table, with its head."""
    with tempfile.TemporaryDirectory() as folder:
        urls = {'memory': 'memory://', 'file': f'sqlite:///{folder}/work.db',
                'Redis': support.redis_url()}
        cells: dict[tuple[str, str], list[list[float]]] = {
            (engine, kind): [] for engine in urls for kind in ('threads', 'processes')}
        for round in range(rounds):
            for engine, kind in cells:
                with pool(urls[engine], kind, workers) as q:
                    cells[engine, kind].append(measure(q, workers, seconds))
                print(f'round {round + 1}, {engine}, {kind}', file=sys.stderr)
    table = [['queue', 'pool', 'a task costs', *(f'{length:g} ms' for length in LENGTHS)]]
    for (engine, kind), found in cells.items():
        cost, *ratios = map(median, zip(*found))
        table.append([engine, kind, f'{cost:.2f} ms', *(f'{ratio:.2f} x' for ratio in ratios)])
    return table


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--workers', type=int, default=2)
    parser.add_argument('--seconds', type=float, default=2, help='of computing, for each length')
    parser.add_argument('--publish', action='store_true')
    options = parser.parse_args(argv)
    table = rows(options.rounds, options.workers, options.seconds)
    print('\n'.join(plain(table)))
    if options.publish:
        note = (f'{date.today()}, {os.cpu_count()} cores, {options.workers} workers, medians of '
                f'{options.rounds} rounds.')
        (ROOT / 'bench' / 'grain.rst').write_text(
            '\n'.join([note, '', *list_table(table), '']), 'utf-8')


if __name__ == '__main__':
    main(sys.argv[1:])
