#!/usr/bin/env python
"""What many schedules cost many pools, on Redis: while nothing is due, and at one moment.

    python bench/schedules.py [--pools 100] [--schedules 1000]

The pools' parts in schedules are threads of this process, with a server of their own; they run no
tasks. Printed are calls, and bytes that the server received and sent: for all that is read once
in a quarter of an hour, for a minute in which nothing is due, and for one slot of each schedule,
all of them due at the same moment.
"""
from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path
import sys
from threading import Barrier, Thread
import time
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

import redis  # noqa: E402

import worq  # noqa: E402
from test import support  # noqa: E402
from worq.schedules.firing import LOOK, Firing  # noqa: E402

__all__ = ['Cost', 'measure']

LOOKS = round(60 / LOOK)   # of a pool in a minute
SECRET = 'of a bench, and no other'


class Cost(NamedTuple):
    """What all pools together have done."""

    calls: Counter[str]    #: by verb
    refused: int           #: puts of a slot that another pool had put
    received: int          #: bytes, by the server
    sent: int              #: bytes, by the server
    cpu: float             #: seconds of the server
    seconds: float


class Counted:
    """A queue whose calls are counted."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue
        self.calls: Counter[str] = Counter()
        self.refused = 0

    def __getattr__(self, verb: str) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            self.calls[verb] += 1
            answer = getattr(self._queue, verb)(*args, **options)
            self.refused += verb == 'put' and bool(answer)
            return answer
        return call


def measure(pools: int, schedules: int) -> dict[str, Cost]:
    """What it costs: 'all read', 'a minute of nothing', 'one slot of each'."""
    with support.start_redis() as server, redis.Redis.from_url(server.url) as client, \
            worq.get_broker(server.url, 'schedules', secret=SECRET) as broker:
        q = broker.queue()
        for number in range(schedules):
            broker.schedules.set(f'schedule-{number:05}', q.reports.make, args=[number],
                                 every=36_000, grace=36_000)
        now = [broker.backend.totals().now]
        queues = [Counted(broker.backend) for _ in range(pools)]
        parts = [Firing(queue, broker.codec, lambda: now[0]) for queue in queues]   # type: ignore

        def all_look(times: int) -> Cost:
            """Each as a thread of its own, at the same moment."""
            before = client.info()
            for queue in queues:
                queue.calls.clear()
                queue.refused = 0
            barrier = Barrier(pools)

            def look(part: Firing) -> None:
                barrier.wait()
                for _ in range(times):
                    part.look()
            threads = [Thread(target=look, args=[part]) for part in parts]
            begin = time.monotonic()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            after = client.info()

            def more(name: str) -> Any:
                return after[name] - before[name]
            return Cost(sum((queue.calls for queue in queues), Counter()),
                        sum(queue.refused for queue in queues), more('total_net_input_bytes'),
                        more('total_net_output_bytes'),
                        more('used_cpu_user') + more('used_cpu_sys'), time.monotonic() - begin)
        found = {'all read': all_look(1), 'a minute of nothing': all_look(LOOKS)}
        now[0] += 36_000_000
        found['one slot of each'] = all_look(1)
        fired = sum(one.fired for one in broker.schedules.list())
        if fired != schedules or broker.backend.stats()['enqueued'] != schedules:
            raise RuntimeError(f'{fired} runs for {schedules} slots')
        return found


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--pools', type=int, default=100)
    parser.add_argument('--schedules', type=int, default=1_000)
    options = parser.parse_args(argv)
    for what, cost in measure(options.pools, options.schedules).items():
        calls = ', '.join(f'{count:,} {verb}' for verb, count in cost.calls.most_common())
        print(f'{what}: {calls}; {cost.refused:,} refused; received {cost.received / 1e6:.2f} MB, '
              f'sent {cost.sent / 1e6:.2f} MB; {cost.cpu:.2f} s of the server, '
              f'{cost.seconds:.2f} s in all')


if __name__ == '__main__':
    main(sys.argv[1:])
