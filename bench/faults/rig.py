"""The rig of a run: a folder of journals, a Redis, pools, producers, and their deaths.

Everything runs in processes of its own, on loopback, and is gone when the run ends.
"""
from __future__ import annotations

from contextlib import ExitStack, suppress
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import time
from typing import Any, Callable, Iterable

import redis

from bench.faults import check, journal, tasks
from bench.faults.journal import Entry, Journal
from bench.guard import Guard
from test import support
from worq import get_broker
from worq.queue.redis.audit import KEPT
from worq.queue.redis.queue import QUEUES

__all__ = ['Rig', 'Pool', 'alive', 'children', 'ROOT']

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
QUEUE = 'faults'
START = 60.0         # seconds that a program may take to be ready on a busy machine
AUDITS = 20.0        # seconds that what is left over may take to be worked off
ALWAYS = '--appendonly', 'yes', '--appendfsync', 'always'
EVERYSEC = '--appendonly', 'yes', '--appendfsync', 'everysec'


def children(pid: int) -> list[int]:
    """The child processes of a process, now."""
    found: list[int] = []
    for path in Path(f'/proc/{pid}/task').glob('*/children'):
        with suppress(OSError):   # the thread, or all of it, has just ended
            found += map(int, path.read_text().split())
    return found


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
    except OSError:
        return False
    return state not in 'ZX'


class Rig:
    """Where a run takes place. Use it as a ``with``.

    :param seed: of everything that is left to chance.
    :param server: options of a Redis server for the run; None: the run starts its own.
    :param disk: MiB of a small disk for the queue, in memory, if it is in a file; 0: as it comes.
    """

    file = False   #: whether the queue is in a file, and there is no server at all

    def __init__(self, seed: int, server: Iterable[str] | None = EVERYSEC, disk: int = 0) -> None:
        self.seed = seed
        self.rand = random.Random(seed)
        self.name = QUEUE
        self._stack = ExitStack()
        self.keep = self._stack.enter_context
        self.url = ''                #: what programs use
        self.plain = ''              #: where to look for keys, if that is another one
        self.disk = ''               #: the folder of a queue in a file
        self.small = False           #: whether that is a small disk of its own
        if self.file:
            self.disk = self.keep(tempfile.TemporaryDirectory(prefix='worq-faults-'))
            if disk:
                self._mount(disk)
            self.url = f'sqlite:///{self.disk}/queue.db'
        elif server is not None:
            self.server = self.keep(support.start_redis(*server))
            self.url = self.server.url
        self.folder = tempfile.mkdtemp(prefix='worq-faults-')
        self._guard = Guard(self.folder, self.folder)
        self.journal = Journal(self.folder)
        self._log = self.keep(open(Path(self.folder, 'log'), 'ab'))
        self.programs: list[subprocess.Popen[bytes]] = []
        self.started: dict[int, float] = {}   # pools: when, by process id

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.journal.close()
        self._guard.close()   # before their Redis goes, or they would complain
        for program in self.programs:
            program.wait()
        self._stack.close()

    def _mount(self, size: int) -> None:
        """Have a disk of so many MiB, if this user may."""
        done = subprocess.run(['mount', '-t', 'tmpfs', '-o', f'size={size}m', 'tmpfs', self.disk],
                              capture_output=True)
        self.small = done.returncode == 0
        if self.small:
            self._stack.callback(subprocess.run, ['umount', '-l', self.disk])

    # -- programs -------------------------------------------------------------

    def run(self, script: str, options: dict[str, Any]) -> subprocess.Popen[bytes]:
        """Start a script of this folder."""
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get('PYTHONPATH')])])
        program = subprocess.Popen(
            [sys.executable, str(HERE / script), json.dumps(options)],
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            env={**os.environ, 'PYTHONPATH': path, tasks.FOLDER: self.folder})
        self.programs.append(program)
        return program

    def pool(self, url: str = '', **options: Any) -> Pool:
        """Start a pool, and wait until all its workers are ready."""
        return Pool(self, {'url': url or self.url, 'name': self.name, **options})

    def producer(self, count: int, over: float, url: str = '',
                 **options: Any) -> subprocess.Popen[bytes]:
        """Start a producer of `count` tasks in `over` seconds."""
        options = {'seed': self.seed, **options}
        return self.run('producer.py', {
            'url': url or self.url, 'name': self.name, 'count': count, 'over': over, **options})

    @property
    def log(self) -> str:
        """What all programs have logged."""
        return Path(self.folder, 'log').read_text(errors='replace')

    # -- faults ---------------------------------------------------------------

    def kill(self, pid: int, what: str, along: Iterable[int] = (),
             number: int = signal.SIGKILL) -> None:
        """Kill a process.

        :param what: it is, one word.
        :param along: process ids of those that will not outlive it.
        """
        self.journal.write(journal.KILL, str(pid), ' '.join([what, *map(str, along)]))
        with suppress(ProcessLookupError):
            os.kill(pid, number)

    def fault(self, what: str, heal: Callable[[], object] | None = None,
              after: float = 0.0) -> None:
        """Write down a fault that has been caused, and heal it some seconds later."""
        self.journal.write(journal.FAULT, detail=what)
        if heal is not None:
            time.sleep(after)
            heal()
            self.journal.write(journal.HEALED, detail=what)

    # -- what came of it ------------------------------------------------------

    def entries(self) -> list[Entry]:
        """All journals, as they are now."""
        return journal.read(self.folder)

    def count(self, event: str) -> int:
        """How many entries there are of an event."""
        return sum(entry.event == event for entry in self.entries())

    def slowest_start(self) -> float:
        """Seconds that a pool took at most from its start until a worker of it was ready."""
        ready: dict[int, float] = {}
        for entry in self.entries():   # in order of time
            if entry.event == journal.READY and entry.detail.isdecimal():
                ready.setdefault(int(entry.detail), entry.time)
        return max((moment - self.started[pid] for pid, moment in ready.items()
                    if pid in self.started), default=0.0)

    def finish(self, *producers: subprocess.Popen[bytes], limit: float = 600) -> None:
        """Wait for producers; RuntimeError, with the log, if one has failed."""
        for producer in producers:
            if producer.wait(limit) != 0:
                raise RuntimeError(f'a producer failed:\n{self.log[-4000:]}')

    def figures(self, max_deliveries: int = 3) -> dict[str, Any]:
        """Read all results once more, audit the queue, and check the journals."""
        keys = [entry.key for entry in self.entries() if entry.event == journal.PUT]
        with get_broker(self.url, self.name) as broker:
            for key, raw in zip(keys, broker.backend.results(keys)):
                value = raw and broker.decode(key, raw)
                if isinstance(value, dict):
                    self.journal.write(journal.SEEN, key, value['run'])
            audit = self.audit(broker)
            stats = broker.backend.stats()
        figures = check.check(self.entries(), max_deliveries)
        return {**figures, 'redelivered': stats['redelivered'], 'stale': stats['stale'],
                'audit': len(audit), 'leaks': len(self.leaks())}

    @staticmethod
    def audit(broker: Any) -> list[str]:
        """What is wrong in the queue, once what is left over has been worked off."""
        limit = time.monotonic() + AUDITS
        while (found := broker.backend.audit()) and time.monotonic() < limit:
            time.sleep(0.2)
            broker.backend.beat('auditor')
        return list(found)

    def leaks(self) -> list[str]:
        """Keys that nobody owns and that do not end by themselves.

        Sets of names that pools know are told by the audit, if nobody owns them.
        """
        if self.file:
            return []   # the audit looks at all rows
        kept = {*KEPT, 'knows'}
        prefix = f'worq:{{{self.name}}}:'
        with redis.Redis.from_url(self.plain or self.url) as client:
            names = [name.decode() for name in client.scan_iter(count=1000)]
            return [name for name in names if name != QUEUES
                    and name.removeprefix(prefix).partition(':')[0] not in kept
                    and client.ttl(name) == -1]


class Pool:
    """A pool as a program of its own, that can be started again.

    :param options: of `bench.faults.pool_script.main`.
    """

    def __init__(self, rig: Rig, options: dict[str, Any]) -> None:
        self.rig = rig
        self.options = options
        self.start()
        self.await_ready()

    def __repr__(self) -> str:
        return f'<Pool {self.pid}>'

    def start(self) -> None:
        """Start it (again); it is not waited for."""
        self.program = self.rig.run('pool_script.py', self.options)
        self.pid = self.program.pid
        self.rig.started[self.pid] = time.monotonic()

    def await_ready(self) -> None:
        """Wait until its workers are ready; RuntimeError, with the log, if they are not."""
        limit = time.monotonic() + START
        while not self.ready:
            if self.program.poll() is not None or time.monotonic() > limit:
                raise RuntimeError(f'a pool does not start:\n{self.rig.log[-4000:]}')
            time.sleep(0.02)

    @property
    def ready(self) -> bool:
        """Whether its workers have begun."""
        threads = self.options.get('kind') == 'thread'
        found = [e for e in self.rig.entries() if e.event == journal.READY
                 and (e.pid == self.pid if threads else e.detail == str(self.pid))]
        return len(found) >= (1 if threads else self.options.get('workers', 2))

    @property
    def children(self) -> list[int]:
        """Its worker processes."""
        return children(self.pid)

    def kill(self) -> list[int]:
        """Kill the manager; returns the children that it had."""
        found = self.children
        self.rig.kill(self.pid, 'manager', found)
        self.program.wait()
        return found

    def stop(self, limit: float = 60) -> int:
        """SIGTERM, and wait for its end; returns the exit status."""
        self.program.terminate()
        return self.program.wait(limit)
