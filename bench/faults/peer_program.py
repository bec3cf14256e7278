"""Another library in a fault run, as a program of its own: ``peer_program.py '{JSON}'``.

It starts a Redis and the library's workers (by the adapters in bench/peers), puts tasks for some
time, breaks something meanwhile, starts again what has ended, as a supervisor would, and
prints the figures as JSON. All libraries, WorQ among them, get the same tasks and the same faults.
"""
from __future__ import annotations

from collections import defaultdict
from importlib import import_module
import json
import os
from pathlib import Path
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from typing import Any

from bench import peers
from bench.faults.check import quantiles
from bench.faults.rig import ALWAYS
from bench.guard import Guard
from bench.peers.base import children
from test.support import Server, start_redis

WORKERS = 2
PERIOD = {1: 1.0, 2: 5.0}       # seconds between two kills
LONGEST = 0.2                   # seconds of a task
RATE = 20                       # tasks a second
Note = tuple[float, str, str, int]   # when, 'begin' or 'end', task, process


class Trial:
    """One library in one run.

    Duties: 1. workers, and a supervisor; 2. a producer; 3. faults; 4. what came of it.
    """

    def __init__(self, name: str, run: int, seed: int, seconds: float, patience: float) -> None:
        self.run = run
        self.seconds = seconds
        self.patience = patience
        self.rand = random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix='worq-faults-')
        self.guard = Guard(self.folder, self.folder)
        self.server: Server = start_redis(*ALWAYS)
        self.peer = load(name, self.server.url)
        self.put_at: dict[str, float] = {}
        self.unsure = 0
        self.slowest = 0.0
        self.kills: list[tuple[float, set[int]]] = []
        self.over = threading.Event()

    # 1. -- workers -----------------------------------------------------------

    def supervise(self) -> None:
        """Start again what has ended."""
        for index, process in enumerate(self.peer.processes):
            if process.poll() is not None:
                with open(self.peer.log, 'ab') as log:
                    self.peer.processes[index] = subprocess.Popen(
                        process.args, cwd=self.peer._folder, env=self.peer.environment(),
                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    # 2. -- the producer ------------------------------------------------------

    def produce(self) -> None:
        """Put tasks for some time; each is acknowledged before the next."""
        begin = time.monotonic()
        for number in range(int(self.seconds * RATE)):
            if self.over.wait(max(0.0, begin + number / RATE - time.monotonic())):
                return
            mark = f'n{number}'
            before = time.time()
            try:
                self.peer.put('journal', self.folder, mark, self.rand.uniform(0.01, LONGEST))
            except Exception:   # each library has its own
                self.unsure += 1
            else:
                self.put_at[mark] = before
            self.slowest = max(self.slowest, time.time() - before)

    # 3. -- faults ------------------------------------------------------------

    def break_things(self) -> None:
        end = time.monotonic() + self.seconds
        if self.run == 6:
            self.supervised(self.seconds / 4)
            self.server.kill(signal.SIGSTOP)
            self.supervised(self.seconds / 2)
            self.server.kill(signal.SIGCONT)
        while time.monotonic() < end:
            if self.run in PERIOD:
                self.supervised(PERIOD[self.run])
                self.kill()
            elif self.run == 4:
                self.supervised(self.seconds / 10 * self.rand.uniform(0.6, 1.0))
                self.server.kill()
                time.sleep(self.rand.uniform(0, 0.5))
                self.server.start()
            else:
                self.supervised(0.2)

    def supervised(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.supervise()
            time.sleep(0.05)

    def kill(self) -> None:
        """A worker (run 1): a process that has no others. Or a whole program (run 2)."""
        process = self.rand.choice(self.peer.processes)
        family = set(children(process.pid))
        victim = process.pid
        if self.run == 1:
            leaves = [pid for pid in family if len(children(pid)) == 1]
            victim = self.rand.choice(leaves or [process.pid])
            family = {victim}
        self.kills.append((time.time(), family))
        try:
            os.kill(victim, signal.SIGKILL)
        except ProcessLookupError:
            pass

    # 4. -- what came of it ---------------------------------------------------

    def notes(self) -> list[Note]:
        found = []
        for path in Path(self.folder).glob('*.journal'):
            for line in path.read_text().splitlines():
                word, mark, pid, moment = line.split()
                found.append((float(moment), word, mark, int(pid)))
        return sorted(found)

    def undone(self) -> set[str]:
        return set(self.put_at) - {mark for _, word, mark, _ in self.notes() if word == 'end'}

    def figures(self) -> dict[str, Any]:
        begins: dict[str, list[tuple[float, int]]] = defaultdict(list)
        ends: dict[str, list[float]] = defaultdict(list)
        for moment, word, mark, pid in self.notes():
            if word == 'begin':
                begins[mark].append((moment, pid))
            else:
                ends[mark].append(moment)
        recovered = []
        cut = 0
        for mark, runs in begins.items():
            for index, (moment, pid) in enumerate(runs):
                deaths = [t for t, family in self.kills if pid in family and t > moment - 0.05]
                if deaths and not any(moment < end < min(deaths) for end in ends[mark]):
                    cut += 1
                    if index + 1 < len(runs):
                        recovered.append(max(0.0, runs[index + 1][0] - min(deaths)))
        again = sum(len(runs) - 1 for runs in begins.values())
        return {
            'put': len(self.put_at), 'unsure': self.unsure, 'kills': len(self.kills),
            'cut short': cut, 'not done': len(self.undone()), 'patience s': self.patience,
            'duplicates': again, 'recovery': quantiles(recovered),
            'slowest put': round(self.slowest, 2)}

    def go(self) -> dict[str, Any]:
        """Do all of it."""
        try:
            self.peer.start(WORKERS)
            producer = threading.Thread(target=self.produce)
            producer.start()
            self.break_things()
            producer.join(60)
            end = time.monotonic() + self.patience
            while producer.is_alive() or self.undone():
                if time.monotonic() > end:
                    break
                self.supervised(0.2)
            hung = producer.is_alive()
            return {**self.figures(), **({'producer': 'hangs'} if hung else {})}
        finally:
            self.over.set()
            self.peer.stop()
            self.server.close()
            self.guard.close()


def load(name: str, url: str) -> Any:
    """The adapter of a library; `celery-late` is one of ours."""
    if name == 'celery-late':
        os.environ['BENCH_REDIS_URL'] = url
        return import_module('bench.faults.peer_celery_late').Adapter(name, url)
    return peers.load(name, url)


def versions(name: str) -> dict[str, str]:
    return peers.versions(name.removesuffix('-late'))


def main(name: str, run: int, seed: int, seconds: float, patience: float) -> None:
    figures = Trial(name, run, seed, seconds, patience).go()
    print('FIGURES ' + json.dumps({**figures, 'versions': versions(name)}), flush=True)
    os._exit(0)   # some libraries have threads that never end without their Redis


if __name__ == '__main__':
    main(**json.loads(sys.argv[1]))
