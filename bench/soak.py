#!/usr/bin/env python
"""Many short tasks whose results are kept for a second: does memory stay flat?

    python bench/soak.py [--tasks 1000000] [--url memory://] [--seconds N]

A pool of threads in this process runs them. Memory is printed at each twentieth. It ends with
status 1 if this process has more at the end than after the first quarter, by more than a tenth and
4 MiB.
"""
from __future__ import annotations

import argparse
import os
from pathlib import Path
import sys
import time

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import worq  # noqa: E402
from worq.pool.thread import WorkerPool  # noqa: E402

STEPS = 20
SLACK = 4 << 20    # bytes


def resident() -> int:
    """Bytes of memory that this process has."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def soak(url: str, tasks: int, seconds: float) -> list[int]:
    """Run them; the bytes at each step.

    :param seconds: after which no other step is begun.
    """
    sizes = []
    begin = time.monotonic()
    with worq.get_broker(url, f'soak-{os.getpid()}', secret='of a soak, and no other') as broker:
        broker.expose(len)
        short = worq.Task(broker.queue().len, result_timeout=1)
        with WorkerPool(broker):
            for step in range(1, STEPS + 1):
                for _ in range(0, tasks // STEPS, 1000):
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
    options = parser.parse_args(argv)
    sizes = soak(options.url, options.tasks, options.seconds)
    before, after = sizes[len(sizes) // 4], sizes[-1]
    print(f'{before >> 20} MiB after a quarter, {after >> 20} MiB at the end')
    return int(after > 1.1 * before + SLACK)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
