"""What a queue in a file costs, and whether those who write to it get their share."""
from __future__ import annotations

import gc
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from typing import Any

import worq
from worq.pool.run import run as run_task
from worq.queue.base import Outcome
from worq.queue.sqlite.file import File

from bench.figures import Run, percentile
from bench.peers.base import ROOT, children

WRITERS = 2
CALM = 1.0        # seconds until a pool is at rest
TICKS = os.sysconf('SC_CLK_TCK')


def append(run: Run) -> dict[str, float]:
    """Queued tasks that each append two lines to a file of their process are worked off."""
    calls = run.no_ops(1.5, 100)
    with tempfile.TemporaryDirectory() as folder:
        handles = run.peer.put_bulk('journal', [(folder, str(n)) for n, in calls])
        run.peer.start(wait=False)
        run.peer.get_all(handles)
        times = sorted(float(line.split()[3]) for name in os.listdir(folder)
                       for line in open(os.path.join(folder, name)) if line.startswith('end'))
    if len(times) != len(calls):
        raise RuntimeError(f'{len(times)} of {len(calls)} tasks have run')
    skip = len(times) // 5
    return {'rate': (len(times) - 1 - skip) / (times[-1] - times[skip])}


def taken(run: Run) -> dict[str, float]:
    """From just before a call until its task begins, in an idle pool of another process."""
    run.peer.start()
    times = []
    for n in range(run.count(300, 20)):
        time.sleep(0.005)   # it is idle again
        begin = time.time()
        times.append(run.peer.get(run.peer.put('now', n)) - begin)
    return {'p50': 1e3 * percentile(times, 0.5), 'p99': 1e3 * percentile(times, 0.99)}


def bytes(run: Run) -> dict[str, float]:
    """Of the file, for one no-op that is queued, among others."""
    path = os.environ['BENCH_FILE']
    number = run.count(5000, 500)
    # One by one, and kept: each is ready, and none is cancelled.
    first = run.peer.put_each('now', [(n,) for n in range(100)])
    before = size(path)
    handles = run.peer.put_each('now', [(n,) for n in range(number)])
    grown = size(path) - before
    if len(first) + len(handles) != 100 + number:
        raise RuntimeError('not all of them are queued')
    return {'bytes': grown / number}


def size(path: str) -> int:
    """Of a database, with what is in its log."""
    with sqlite3.connect(path) as db:
        pages, = db.execute('PRAGMA page_count').fetchone()
        each, = db.execute('PRAGMA page_size').fetchone()
    db.close()
    return int(pages * each)


def rest(run: Run) -> dict[str, float]:
    """The processor time of an idle pool of one worker process, of all its processes."""
    run.peer.start()
    run.peer.get_all(run.peer.put_bulk('now', [(n,) for n in range(100)]))
    time.sleep(CALM)
    seconds = run.count(20, 2)
    before = used(run)
    time.sleep(seconds)
    return {'% of a core': 100 * max(used(run) - before, 0.5 / TICKS) / seconds}


def used(run: Run) -> float:
    """Seconds of a processor that its processes have had."""
    total = 0
    for process in run.peer.processes:
        for pid in children(process.pid):
            with open(f'/proc/{pid}/stat') as stat:
                fields = stat.read().rpartition(')')[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / TICKS


WRITER = """
import sys, time
url, until = sys.argv[1], float(sys.argv[2])
if url.startswith('sqlite:'):
    from bench.peers.worq import make_broker
    queue = make_broker(url).queue()
    write = lambda: queue.now(1)
else:
    import sqlite3
    db = sqlite3.connect(url, timeout=5, isolation_level=None)
    db.execute('PRAGMA journal_mode=WAL')
    db.execute('PRAGMA synchronous=FULL')
    db.execute('CREATE TABLE IF NOT EXISTS t(n)')
    def write():
        db.execute('BEGIN IMMEDIATE')
        db.executemany('INSERT INTO t VALUES(?)', [(n,) for n in range(5)])
        db.execute('COMMIT')
write()
while time.time() < until - %s:
    time.sleep(0.001)
count = longest = 0
while (begin := time.time()) < until:
    write()
    count += 1
    longest = max(longest, time.time() - begin)
print(count, longest)
"""


def writers(run: Run) -> dict[str, float]:
    """Two processes put without a pause: the least share, of 1, and the ms that one waited for the
    longest; and the same of bare transactions that SQLite's own busy handler orders."""
    seconds, start = (0.5, 1.0) if run.quick else (3.0, 2.0)
    values = {}
    for mark, url in [('', run.peer.url), ('bare: ', os.environ['BENCH_FILE'] + '-bare')]:
        until = time.time() + start + seconds
        programs = [subprocess.Popen(
            [sys.executable, '-c', WRITER % seconds, url, str(until)], cwd=ROOT,
            stdout=subprocess.PIPE, text=True) for _ in range(WRITERS)]
        told = [program.communicate()[0].split() for program in programs]
        counts = [int(count) for count, _ in told]
        values[f'{mark}least share'] = min(counts) / max(sum(counts), 1)
        values[f'{mark}longest wait'] = 1e3 * max(float(longest) for _, longest in told)
    return values


class Watch:
    """Notes how long transactions that write take, of this process: those of its processor, for
    other programs of this machine lengthen what the clock says."""

    def __init__(self) -> None:
        self.slowest = self.slowest_wall = 0.0
        self._real: Any = None

    def __enter__(self) -> Watch:
        gc.disable()   # this process has far more objects than a pool has
        real = self._real = File._transact

        def timed(*args: Any) -> Any:
            begin, wall = resource.getrusage(resource.RUSAGE_THREAD), time.perf_counter()
            try:
                return real(*args)
            finally:
                end = resource.getrusage(resource.RUSAGE_THREAD)
                self.slowest = max(self.slowest, end.ru_utime + end.ru_stime
                                   - begin.ru_utime - begin.ru_stime)
                self.slowest_wall = max(self.slowest_wall, time.perf_counter() - wall)
        File._transact = timed   # type: ignore[assignment, method-assign]
        return self

    def __exit__(self, *exc_info: object) -> None:
        File._transact = self._real   # type: ignore[method-assign]
        gc.enable()


def steps(run: Run) -> dict[str, float]:
    """The longest transaction: while a task ends that very many wait for, with a value and by a
    failure, while one of as many arguments is put behind a gate and its gate opens, while many
    plain tasks are put at once, and while a long queue is purged."""
    queue, broker = run.peer.queue, run.peer.broker
    many, more = run.count(100_000, 500), run.count(1_000_000, 1000)
    broker.backend.join('bench', {})
    values: dict[str, float] = {}

    def note(what: str, watch: Watch) -> None:
        values[what] = 1e3 * watch.slowest
        values[f'{what}, by the clock'] = 1e3 * watch.slowest_wall

    def work_off(most: int) -> None:
        """Take and settle, so many a turn, until nothing comes."""
        outcomes: list[Any] = []
        for _ in range(most):
            turn = broker.backend.turn('bench', outcomes, [], 64)
            taken = [*turn.deliveries, *(late.fetch() for late in turn.late)]
            outcomes = [run_task(broker, delivery) for delivery in taken if delivery]
            if not outcomes and not broker.backend._store.left_over:
                return

    with Watch() as watch:
        source = queue.echo(1)
        worq.map(queue.echo, [source] * many)
        work_off(100 * many)
    note('100,000 dependents', watch)
    with Watch() as watch:
        source = queue.echo(1)
        handles = worq.map(queue.echo, [source] * many)
        for one in broker.backend.turn('bench', [], [], 1).deliveries:
            broker.backend.settle('bench', [Outcome(one.id, one.token, 'failure', b'x' * 500)])
        while broker.backend._store.left_over:
            broker.backend.beat('bench')
    if handles[-1].status != 'failed':
        raise RuntimeError('a failure has not reached all that wait for it')
    del handles
    note('100,000 that fail', watch)
    with Watch() as watch:
        for _ in range(run.count(20, 3)):
            worq.map(queue.echo, range(1_000))
    note('a put of 1,000', watch)
    broker.backend.purge()
    with Watch() as watch:
        leaves = worq.map(queue.echo, range(many))
        whole = queue.total(leaves)   # more than one put can have: it stands behind a gate
        work_off(100 * many)
    if whole.result(60) != sum(range(many)):
        raise RuntimeError('a fan-in came out wrong')
    note('a gate of 100,000', watch)
    del leaves
    worq.map(queue.echo, range(more))
    with Watch() as watch:
        broker.backend.purge()
        while broker.backend._store.purged:
            broker.backend.turn('bench', [], [], 1)
    note('a purge of 1,000,000', watch)
    return values
