#!/usr/bin/env python
"""Many short tasks whose results are kept for a second: does memory stay flat?

    python bench/soak.py [--tasks 1000000] [--url memory://] [--seconds N] [--pipelines BYTES]
                         [--publish]

With --pipelines it is batches of five tasks in place of these, which pass on so many bytes to each
other; only the length at their end is kept, for a second. A pool of threads in this process runs
them. Memory is printed at each twentieth. It ends with status 1 if this process has more at the end
than after the first quarter, by more than a tenth and 4 MiB. --publish adds the figures, with their
date, to soak.json, from which soak.rst is made.
"""
from __future__ import annotations

import argparse
from datetime import date
import json
import os
from pathlib import Path
import platform
import sys
import time

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import worq  # noqa: E402
from worq.pool.thread import WorkerPool  # noqa: E402

RESULTS = Path(__file__).with_suffix('.json')
STEPS = 20
SLACK = 4 << 20    # bytes
PACE = 0.1         # seconds between two pipelines: what has ended within the last two is there yet


def resident() -> int:
    """Bytes of memory that this process has."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def zeros(size: int) -> bytes:
    return bytes(size)


def joined(parts: list[bytes]) -> bytes:
    return b''.join(parts)


def soak(url: str, tasks: int, seconds: float, pipelines: int = 0) -> list[int]:
    """Run them; the bytes at each step.

    :param seconds: after which no other step is begun.
    :param pipelines: bytes that tasks pass on to each other; 0: they are alone.
    """
    sizes = []
    begin = time.monotonic()
    with worq.get_broker(url, f'soak-{os.getpid()}', secret='of a soak, and no other') as broker:
        for function in len, zeros, joined:
            broker.expose(function)
        q = broker.queue()
        short = worq.Task(q.len, result_timeout=1)

        def pipeline() -> worq.Deferred:
            with worq.batch(q):
                length: worq.Deferred = short(q.joined(worq.map(q.zeros, [pipelines] * 3)))
            return length
        with WorkerPool(broker):
            for step in range(1, STEPS + 1):
                for _ in range(tasks // STEPS // 5 if pipelines else 0):
                    pipeline().wait()
                    time.sleep(PACE)
                for _ in range(0, 0 if pipelines else tasks // STEPS, 1000):
                    for deferred in worq.map(short, ['a'] * min(1000, tasks // STEPS)):
                        deferred.wait()
                sizes.append(resident())
                spent = time.monotonic() - begin
                print(f'{spent:6.0f} s {tasks // STEPS * step:12,} tasks {sizes[-1] >> 20:6} MiB, '
                      f'{broker.backend.stats()["succeeded"]:,} succeeded', flush=True)
                if spent > seconds:
                    break
    return sizes


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', type=int, default=1_000_000)
    parser.add_argument('--url', default='memory://')
    parser.add_argument('--seconds', type=float, default=float('inf'))
    parser.add_argument('--pipelines', type=int, default=0)
    parser.add_argument('--publish', action='store_true')
    options = parser.parse_args(argv)
    begin = time.monotonic()
    sizes = soak(options.url, options.tasks, options.seconds, options.pipelines)
    before, after = sizes[len(sizes) // 4], sizes[-1]
    print(f'{before >> 20} MiB after a quarter, {after >> 20} MiB at the end')
    grown = after > 1.1 * before + SLACK
    if options.publish:
        what = f'batches that pass on {options.pipelines:,} bytes' if options.pipelines \
            else 'short tasks'
        publish({'queue': options.url.partition('://')[0], 'what': what, 'tasks': options.tasks,
                 'date': str(date.today()), 'python': platform.python_version(),
                 'seconds': round(time.monotonic() - begin), 'quarter': before >> 20,
                 'end': after >> 20, 'verdict': 'grows' if grown else 'flat'})
    return int(grown)


def publish(found: dict[str, object]) -> None:
    """Keep the figures in the place of earlier ones of the same queue and tasks."""
    rows = json.loads(RESULTS.read_text('utf-8')) if RESULTS.exists() else []
    same = [row for row in rows if (row['queue'], row['what']) == (found['queue'], found['what'])]
    rows = [row for row in rows if row not in same] + [found]
    RESULTS.write_text(json.dumps(rows, indent=1) + '\n', 'utf-8')
    cells = [['queue', 'what runs', 'tasks', 'seconds', 'MiB after a quarter', 'MiB at the end',
              'memory is', 'date', 'Python']]
    cells += [[str(row[word]) for word in ('queue', 'what', 'tasks', 'seconds', 'quarter', 'end',
                                           'verdict', 'date', 'python')] for row in rows]
    lines = ['.. Made by bench/soak.py --publish: do not edit.', '', '.. list-table::',
             '   :header-rows: 1', '']
    for row in cells:
        lines += [f'   * - {row[0]}', *(f'     - {cell}' for cell in row[1:])]
    RESULTS.with_suffix('.rst').write_text('\n'.join(lines) + '\n', 'utf-8')


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
