#!/usr/bin/env python
"""Break everything, and see what holds.

    python bench/faults/run.py 1 [--seed N] [--seconds S] [--quick] [--json FILE]
    python bench/faults/run.py all
    python bench/faults/run.py list

A run needs nothing but loopback and a redis-server, as the tests do. Its seed is printed, and
accepted. It ends with status 1 if something that must hold did not.
"""
from __future__ import annotations

import argparse
import json
from pathlib import Path
import random
import sys
import time
from typing import Any, Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
# this folder's modules have plain names, which must not hide others
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]

from bench.faults.record import Record, versions  # noqa: E402
from bench.faults.runs import links, others, outages, sizes, workers  # noqa: E402


class Run(NamedTuple):
    """A run: what does it, and how many seconds its middle part takes, long and short."""

    function: Callable[[int, float, bool], Record]
    seconds: float
    short: float


RUNS: dict[int, Run] = {
    1: Run(workers.children_killed, 120, 8),
    2: Run(workers.managers_killed, 120, 9),
    3: Run(workers.terminated, 120, 12),
    4: Run(outages.redis_killed, 120, 12),
    5: Run(outages.aof_cut, 20, 4),
    6: Run(outages.redis_away, 300, 10),
    7: Run(outages.failovers, 120, 20),
    8: Run(links.links_broken, 30, 8),
    9: Run(workers.pool_stopped, 60, 12),
    10: Run(sizes.server_full, 10, 2),
    11: Run(sizes.deep_queue, 60, 10),
    12: Run(sizes.large_graphs, 60, 10),
    13: Run(workers.poison, 60, 6),
    14: Run(others.model, 0, 0),
    15: Run(sizes.idle_pool, 20, 4),
    16: Run(others.servers, 20, 5),
}


def execute(number: int, seed: int | None = None, seconds: float | None = None,
            quick: bool = False) -> Record:
    """Make a run; returns what it found.

    :param seed: None: a new one.
    :param seconds: how long; None: as long as it should be.
    """
    run = RUNS[number]
    seed = random.SystemRandom().randrange(10**6) if seed is None else seed
    print(f'run {number}, seed {seed}: {title(run)}', flush=True)
    begin = time.monotonic()
    if seconds is None:
        seconds = run.short if quick else run.seconds
    record = run.function(seed, seconds, quick)
    record.seconds = time.monotonic() - begin
    return record


def title(run: Run) -> str:
    """The first sentence of a run's docstring."""
    text = (run.function.__doc__ or '').split('\n')[0]
    return text.partition(': ')[2]


def show(record: Record) -> None:
    """Print what a run found."""
    for name, value in record.figures.items():
        print(f'  {name}: {value}')
    for text in record.broken:
        print(f'  BROKEN {text}')
    print(f'run {record.number}, seed {record.seed}: {record.verdict}', flush=True)


def save(path: Path, records: list[Record]) -> None:
    """Put records into a file, in place of older ones of the same runs."""
    stored: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    for record in records:
        stored[str(record.number)] = {**record.plain(), **versions()}
    ordered = dict(sorted(stored.items(), key=lambda item: int(item[0])))
    path.write_text(json.dumps(ordered, indent=1) + '\n')


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('run', help='a number, several with commas, `all` or `list`')
    parser.add_argument('--seed', type=int, help='of what is left to chance')
    parser.add_argument('--seconds', type=float, help='how long the middle part of a run takes')
    parser.add_argument('--quick', action='store_true', help='the short variant')
    parser.add_argument('--json', type=Path, metavar='FILE', help='where to keep the figures')
    options = parser.parse_args(argv)
    if options.run == 'list':
        for number, run in RUNS.items():
            print(f'{number:3} {title(run)}')
        return 0
    try:
        numbers = list(RUNS) if options.run == 'all' else [
            int(number) for number in options.run.split(',')]
    except ValueError:
        numbers = [-1]
    if unknown := set(numbers) - set(RUNS):
        parser.error(f'there is no run {min(unknown)}; there are {", ".join(map(str, RUNS))}')
    records = []
    for number in numbers:
        record = execute(number, options.seed, options.seconds, options.quick)
        show(record)
        records.append(record)
        if options.json:
            save(options.json, [record])
    return int(any(record.broken for record in records))


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
