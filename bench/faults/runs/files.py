"""Runs of a queue in a file, which needs no server and is shared by programs that die."""
from __future__ import annotations

from collections import Counter
from contextlib import suppress
import os
from pathlib import Path
import subprocess
import time

from bench.faults import journal
from bench.faults.record import Record
from bench.faults.rig import Pool, Rig
from worq import QueueError, TaskFailure, get_broker

__all__ = ['programs_killed']

DISK = 64            # MiB
PROGRAMS = 3         # that put tasks
FULL = 1.0           # seconds that the disk is full
BETWEEN = 8.0        # ... and is not
PATIENCE = 120.0     # seconds for what is left, when nobody is killed any more


def programs_killed(seed: int, seconds: float, quick: bool) -> Record:
    """Run 17: of three programs and two pools at one file something is killed every 200 ms.

    Workers and managers are killed amid a run of a task. Meanwhile the disk is filled to its last
    byte, and freed. Nothing that was acknowledged is lost, no task has two results, and the audit
    of the file finds nothing.
    """
    record = Record(17, 'programs at a file killed every 200 ms, its disk filled', seed)
    with Rig(seed, disk=DISK) as rig:
        pools = [rig.pool(workers=2) for _ in range(2)]
        programs = Programs(rig, seconds)
        killed: Counter[str] = Counter()
        end = time.monotonic() + seconds
        fill_at = time.monotonic() + (1.0 if quick else BETWEEN)
        free_at = float('inf')
        while (now := time.monotonic()) < end or now < end + PATIENCE \
                and not (killed['manager'] and killed['child']):   # on a busy machine
            time.sleep(0.2)
            killed[kill_one(rig, pools, programs)] += 1
            if now >= free_at:
                free(rig)
                fill_at, free_at = now + BETWEEN, float('inf')
            elif now >= fill_at:
                if rig.small:
                    fill(rig)
                fill_at, free_at = float('inf'), now + FULL
        free(rig)
        programs.end()
        for pool in pools:
            if pool.program.poll() is not None:
                pool.start()
        told(rig)
        figures = record.add({**rig.figures(max_deliveries=50), 'programs': programs.started,
                              'killed': dict(killed)})
        ends = [pool.stop() for pool in pools]
    record.safe(figures)
    record.demand(set(ends) == {0}, f'pools ended with {ends}')
    record.demand(quick or rig.small, 'the disk could not be filled: that takes the right to mount')
    record.demand(figures['in flight'] > 0, 'nothing ran when it was killed')
    record.demand(killed['manager'] > 0, 'no manager was killed amid a run')
    return record


class Programs:
    """Three that put graphs of tasks; one that has died is followed by another."""

    def __init__(self, rig: Rig, seconds: float) -> None:
        self.rig = rig
        self.seconds = seconds
        self.started = 0
        self.living: list[subprocess.Popen[bytes]] = []
        self.refill()

    def refill(self) -> None:
        """Have three of them."""
        self.living = [program for program in self.living if program.poll() is None]
        while len(self.living) < PROGRAMS:
            self.started += 1
            self.living.append(self.rig.producer(
                int(40 * self.seconds), self.seconds, prefix=f'p{self.started}-', graphs=0.7,
                seed=self.rig.seed + self.started, longest=0.1, options={'max_deliveries': 50}))

    def end(self) -> None:
        """Kill those that are left: what they have put is taken up here."""
        for program in self.living:
            program.kill()
            program.wait()


def kill_one(rig: Rig, pools: list[Pool], programs: Programs) -> str:
    """Kill a program that has put something, or a worker or a manager amid a run, and start another
    one. What was killed: on a machine that takes longer to start them than we to kill, nothing.
    """
    ready = [pool for pool in pools if len(workers := pool.children) == 2
             and all(last(rig, pid) for pid in workers)]
    busy = [(pool, pid) for pool in ready for pid in pool.children
            if last(rig, pid) == journal.BEGIN]
    putting = [program for program in programs.living if last(rig, program.pid)]
    kinds = ['manager', 'child', 'child'] * bool(busy) + ['producer'] * bool(putting)
    what = rig.rand.choice(kinds or ['nothing'])
    if what == 'producer':
        program = rig.rand.choice(putting)
        rig.kill(program.pid, what)
        program.wait()
        programs.refill()
    elif what != 'nothing':
        pool, pid = rig.rand.choice(busy)
        if what == 'child':
            rig.kill(pid, what)
        else:
            pool.kill()
            pool.start()
    return what


def last(rig: Rig, pid: int) -> str:
    """The last event that a process has written down; '' if it has not begun yet."""
    lines = [line for path in Path(rig.folder).glob(f'{pid}-*.journal')
             for line in path.read_text().splitlines()]
    return lines[-1].split('\t')[1] if lines else ''


def fill(rig: Rig) -> None:
    """Leave nothing free on the disk of the file."""
    rig.fault('full')
    with suppress(OSError), open(os.path.join(rig.disk, 'ballast'), 'wb', buffering=0) as ballast:
        while True:
            ballast.write(bytes(1 << 16))


def free(rig: Rig) -> None:
    """Give it back."""
    with suppress(FileNotFoundError):
        os.unlink(os.path.join(rig.disk, 'ballast'))


def told(rig: Rig) -> None:
    """Wait for whatever was acknowledged, in the place of those who were killed, and note it."""
    limit = time.monotonic() + PATIENCE
    entries = rig.entries()
    known = {entry.key for entry in entries
             if entry.event in (journal.RESULT, journal.FAILED)}
    with get_broker(rig.url, rig.name) as broker:
        for entry in entries:
            if entry.event != journal.PUT or entry.key in known:
                continue
            try:
                value = broker.deferred(entry.key).result(max(limit - time.monotonic(), 0.0))
            except TaskFailure as failure:
                rig.journal.write(journal.FAILED, entry.key,
                                  f'{type(failure).__name__}: {failure}')
            except (TimeoutError, QueueError):
                rig.journal.write(journal.NOTHING, entry.key)
            else:
                rig.journal.write(journal.RESULT, entry.key, value['run'])
