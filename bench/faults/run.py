#!/usr/bin/env python
"""Break everything, and see what holds.

    python bench/faults/run.py 1 [--seed N] [--seconds S] [--quick] [--json FILE]
    python bench/faults/run.py all
    python bench/faults/run.py list
    python bench/faults/run.py peers --json bench/faults/results.json
    python bench/faults/run.py 1,2,3,9,13,18 --file
    python bench/faults/run.py table

A run needs nothing but loopback and a redis-server, as the tests do. Its seed is printed, and
accepted. It ends with status 1 if something that must hold did not.
"""
from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import time
import uuid
from typing import Any, Callable, NamedTuple

ROOT = Path(__file__).resolve().parent.parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
# this folder's modules have plain names, which must not hide others
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(__file__).parent]

from bench.faults import table  # noqa: E402
from bench.faults.record import Record, versions  # noqa: E402
from bench.faults.rig import Rig  # noqa: E402
from bench.faults.runs import (  # noqa: E402
    files, links, others, outages, schedules, sizes, workers,
)
from bench.guard import Guard  # noqa: E402
from test.support import find_binary  # noqa: E402


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
    17: Run(files.programs_killed, 120, 8),
    18: Run(schedules.schedules_put, 120, 10),
}
IN_FILES = 1, 2, 3, 9, 13, 18   # that there are of a queue in a file, too


def execute(number: int, seed: int | None = None, seconds: float | None = None,
            quick: bool = False, file: bool = False) -> Record:
    """Make a run; returns what it found.

    :param seed: None: a new one.
    :param seconds: how long; None: as long as it should be.
    :param file: of a queue in a file, in place of one on Redis.
    """
    run = RUNS[number]
    Rig.file = file or run.function.__module__ == files.__name__
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


def run_peer(name: str, number: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Have another library run, in a program of its own; its figures."""
    seconds = options.seconds or (10 if options.quick else 60)
    patience = options.patience or (10 if options.quick else 120)
    arguments = {'name': name, 'run': number, 'seed': seed, 'seconds': seconds,
                 'patience': patience}
    python = dict(pair.split('=', 1) for pair in options.python).get(name, sys.executable)
    print(f'{name}, run {number}, seed {seed}', flush=True)
    mark = f'faults-{uuid.uuid4().hex}'
    guard = Guard(mark)
    try:
        done = subprocess.run(
            [python, str(Path(__file__).with_name('peer_program.py')), json.dumps(arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, text=True,
            timeout=10 * (seconds + patience) + 300,
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'BENCH_DRIVE': mark})
    finally:
        guard.close()
    for line in done.stdout.splitlines():
        if line.startswith('FIGURES '):
            return {**json.loads(line.removeprefix('FIGURES ')), 'seed': seed}
    raise RuntimeError(f'{name} has no figures:\n{done.stdout[-3000:]}')


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'run', help='a number, several with commas, `all`, `list`, `peers` or `table`')
    parser.add_argument('--seed', type=int, help='of what is left to chance')
    parser.add_argument('--seconds', type=float, help='how long the middle part of a run takes')
    parser.add_argument('--quick', action='store_true', help='the short variant')
    parser.add_argument('--file', action='store_true', help='with a queue in a file; runs '
                        + ', '.join(map(str, IN_FILES)))
    parser.add_argument('--json', type=Path, metavar='FILE', help='where to keep the figures; '
                        f'`table` reads {table.RESULTS.name} beside this program')
    parser.add_argument('--only', default=','.join(table.TITLES), help='peers: which')
    parser.add_argument('--runs', default=','.join(map(str, table.PEER_RUNS)),
                        help='peers: which runs')
    parser.add_argument('--patience', type=float,
                        help='peers: seconds until what is not done counts so')
    parser.add_argument('--python', action='append', default=[], metavar='NAME=PATH',
                        help='peers: the Python of one that is in another environment')
    options = parser.parse_args(argv)
    if options.run == 'list':
        for number, run in RUNS.items():
            print(f'{number:3} {title(run)}')
        return 0
    if options.run == 'table':
        table.write()
        return 0
    if options.run == 'peers':
        seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
        for number in map(int, options.runs.split(',')):
            for name in options.only.split(','):
                figures = run_peer(name, number, seed, options)
                print(f'  {figures}', flush=True)
                if options.json:
                    table.store(options.json, peers={name: {str(number): figures}})
        return 0
    try:
        numbers = list(RUNS) if options.run == 'all' else [
            int(number) for number in options.run.split(',')]
    except ValueError:
        numbers = [-1]
    if unknown := set(numbers) - set(RUNS):
        parser.error(f'there is no run {min(unknown)}; there are {", ".join(map(str, RUNS))}')
    if options.file and (options.json or set(numbers) - set(IN_FILES)):
        parser.error(f'--file is for the runs {", ".join(map(str, IN_FILES))}, without --json')
    broken = False
    for number in numbers:
        record = execute(number, options.seed, options.seconds, options.quick, options.file)
        show(record)
        broken = broken or bool(record.broken)
        if options.json:
            server = others.version(find_binary())
            table.store(options.json, {str(number): {
                **record.plain(), 'quick': options.quick, **versions(server)}})
    return int(broken)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))   # and clean up
    sys.exit(main(sys.argv[1:]))
