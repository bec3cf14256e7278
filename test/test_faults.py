"""Short variants of the fault runs in bench/faults, and the faults of WorQ that they found.

Each starts its own Redis, pools and producers as programs, breaks what it is about, and reads
in their journals what came of it. The long ones: ``python bench/faults/run.py all``.
"""
from __future__ import annotations

import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from bench import guard
from bench.faults import check, journal, run
from bench.faults.proxy import Proxy
from bench.faults.rig import Rig
from test import leaks, support
from test.pool.tasks import init, tasks
from test.programs import ROOT
from test.support import eventually
from worq import get_broker
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread


@unittest.skipUnless(sys.platform == 'linux', 'it looks for processes in /proc')
class RunsTest(unittest.TestCase):
    """What must hold in each run, held."""

    def setUp(self):
        leaks.watch(self)

    def held(self, number):
        record = run.execute(number, quick=True)
        self.assertEqual(record.broken, [], f'seed {record.seed}: {record.figures}')

    def test_run_1(self):
        """Workers killed at random: nothing is lost, no result doubled, each runs again at once."""
        self.held(1)

    def test_run_2(self):
        """Managers killed: their tasks run again elsewhere, and their children end with them."""
        self.held(2)

    def test_run_3(self):
        """SIGTERM at random: all is finished or given back, no process is left."""
        self.held(3)

    def test_run_8(self):
        """Links that are cut, held, reset, half-open or lose replies lose no task."""
        self.held(8)

    def test_run_9(self):
        """A pool stopped for three leases is overtaken, and its late outcomes are refused."""
        self.held(9)

    def test_run_10(self):
        """A full Redis is told to the producer, and what is queued still completes."""
        self.held(10)

    def test_run_13(self):
        """Poison fails, and says how; all else completes."""
        self.held(13)

    def test_run_17(self):
        """Programs, workers and managers at a file are killed, and nothing is lost or doubled."""
        self.held(17)

    def test_run_18(self):
        """Pools that put runs of schedules are killed, stopped and cut off: each slot once."""
        self.held(18)

    def test_slowest_start(self):
        """A run knows how slowly pools start, by the first worker of each that was ready."""
        with Rig(1, None) as rig:
            self.assertEqual(rig.slowest_start(), 0.0)
            now = time.monotonic()
            rig.started.update({1: now - 3, 2: now - 9, 3: now - 50})   # the last is never ready
            for pid in (1, 2, 1, 4):
                rig.journal.write(journal.READY, detail=pid)
            begun = {e.detail: e.time for e in reversed(rig.entries())}   # the first of each
            self.assertEqual(rig.slowest_start(), begun['2'] - (now - 9))


@unittest.skipUnless(sys.platform == 'linux', 'it looks for processes in /proc')
class KilledHarnessTest(unittest.TestCase):
    """A harness that is killed leaves no process, and none of its folders."""

    def killed(self, *command, number=signal.SIGKILL):
        """Kill a harness when its workers run."""
        mark = support.unique('mark')
        folder = self.enterContext(tempfile.TemporaryDirectory())
        harness = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={**os.environ, 'TMPDIR': folder, 'A_MARK': mark})
        self.addCleanup(guard.Guard(mark).close)
        eventually(lambda: any(b'worq.pool.children.child' in self.line(pid)
                               for pid in guard.marked(mark)), timeout=120)
        harness.send_signal(number)
        harness.wait()
        eventually(lambda: guard.marked(mark), [], timeout=30)
        kept = () if number == signal.SIGTERM else ('worq-redis-', 'worq-test-state-')
        eventually(lambda: [name for name in os.listdir(folder) if not name.startswith(kept)],
                   [], timeout=30)

    @staticmethod
    def line(pid):
        try:
            return Path(f'/proc/{pid}/cmdline').read_bytes()
        except OSError:
            return b''

    def test_run(self):
        """Of a run: its Redis, its pools with their children, its producers."""
        self.killed('bench/faults/run.py', '8', '--quick')

    def test_run_terminated(self):
        """SIGTERM removes the folder of its Redis, too."""
        self.killed('bench/faults/run.py', '8', '--quick', number=signal.SIGTERM)

    def test_peers(self):
        """Of a run of another library: the program of the run, and the library's."""
        self.killed('bench/faults/run.py', 'peers', '--only', 'worq', '--runs', '4', '--quick')

    def test_bench(self):
        """Of a measurement."""
        self.killed('bench/run.py', '--quick', '--only', 'worq', 'drain')


class CheckTest(unittest.TestCase):
    """What the journals are taken to say."""

    def test_until_now(self):
        """What is written while they are read does not count: what came before it might not be
        there."""
        with tempfile.TemporaryDirectory() as folder:
            mine = journal.Journal(folder)
            self.addCleanup(mine.close)
            mine.write(journal.BEGIN, 'a', 'run')
            later = Path(folder, 'later.journal')
            later.write_text(f'{time.monotonic() + 1000}\t{journal.BEGIN}\tb\t1\trun\n')
            self.assertEqual([entry.key for entry in journal.read(folder)], ['a'])

    def test_after(self):
        """A wait counts from the put, and after the last fault from there."""
        entries = [journal.Entry(time, event, key, 1, '') for time, event, key in [
            (1.0, journal.PUT, 'a'), (2.0, journal.PUT, 'b'), (5.0, journal.FAULT, ''),
            (5.5, journal.RESULT, 'a'), (6.0, journal.HEALED, ''), (8.0, journal.RESULT, 'b')]]
        entries += [entry._replace(event=journal.TRY) for entry in entries[:2]]
        figures = check.check(entries)
        self.assertEqual((figures['waited'], figures['after']), (6.0, 2.0))
        entries += [journal.Entry(7.0, event, 'c', 1, '') for event in (journal.TRY, journal.PUT)]
        entries.append(journal.Entry(10.5, journal.RESULT, 'c', 1, ''))
        figures = check.check(entries)
        self.assertEqual((figures['waited'], figures['after']), (6.0, 3.5))


class SilentConnectionTest(unittest.TestCase):
    """A connection that a firewall has forgotten says nothing, not even that it has ended."""

    def pool_goes_on(self, make):
        """A pool whose bell, and nothing else, has such a connection still takes tasks."""
        leaks.watch(self)
        server = self.enterContext(support.start_redis())
        proxy = self.enterContext(Proxy(server.port))
        name = support.unique()
        broker = self.enterContext(get_broker(proxy.url, name))
        broker.expose(tasks)
        caller = self.enterContext(get_broker(server.url, name))
        with make(broker, name):
            self.assertEqual(caller.queue().same(1).result(60), 1)
            eventually(lambda: self.silence(server, proxy), timeout=30)
            self.assertEqual(caller.queue().same(2).result(30), 2)

    @staticmethod
    def silence(server, proxy):
        """Make the connections dead that block in Redis, as a bell's does."""
        blocked = {line.partition('addr=127.0.0.1:')[2].split()[0]
                   for line in server.cli('CLIENT', 'LIST').decode().splitlines()
                   if ' cmd=blpop' in line and 'flags=b' in line}
        return proxy.kill_silently({int(port) for port in blocked}) > 0

    def test_process_pool(self):
        """A manager's bell that has become silent is replaced."""
        self.pool_goes_on(
            lambda broker, name: process.WorkerPool(broker, init, (name,), workers=1))

    def test_thread_pool(self):
        """A thread pool's, too."""
        self.pool_goes_on(lambda broker, name: thread.WorkerPool(broker))
