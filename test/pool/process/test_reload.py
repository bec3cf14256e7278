"""New children with new code and configuration, while tasks come and go: reload, and SIGHUP."""
from __future__ import annotations

import json
import logging
import os
from pathlib import Path
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from test import leaks
from test.broker_case import MemoryMixin, RedisMixin, SqliteMixin
from test.pool.contract import WAIT
from test.pool.process.test_pool import Processes
from test.pool.tasks import init, lines, touch
from test.support import clean, eventually, redis_url, unique
from worq import get_broker
from worq.pool.process import Error, WorkerPool, start_pools

__all__ = ['ReloadOnMemory', 'ReloadOnRedis', 'ReloadDetails', 'Hangup']

ROOT = Path(__file__).resolve().parents[3]


def init_from_file(url, name, path, marks):
    """Do what the file says, as a child of new code would."""
    touch(marks)
    if Path(path).read_text() == 'broken':
        raise RuntimeError('new code that does not work')
    return init(url, name)


def heed_hang_ups(case):
    """nohup, under which the tests may run, has SIGHUP ignored, here and in what we start."""
    case.addCleanup(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_DFL))


class Reload(Processes):
    """A pool is reloaded while it runs."""

    def test_all_children_are_new(self):
        """Every child is replaced; what runs is finished by the old one, and runs once."""
        pool = self.start(2)
        running = self.held(value='done')
        old = set(pool.pids)
        pool.reload()
        eventually(lambda: len(set(pool.pids) - old), 2, timeout=WAIT)
        # one old child is left, which runs the task; what comes now goes to the new ones
        eventually(lambda: len(set(pool.pids) & old), 1, timeout=WAIT)
        for n in range(20):
            self.assertNotIn(self.q.pid().result(WAIT), old)
        self.assertEqual(running.status, 'processing')
        self.open('go')
        self.assertEqual(running.result(WAIT), 'done')
        eventually(lambda: set(pool.pids) & old, set(), timeout=WAIT)
        self.assertEqual(len(lines(self.path('begun'))), 1)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_under_load(self):
        """Reloaded again and again under load, each task runs once, and none is lost."""
        pool = self.start(2)
        rand = random.Random(3)
        deferreds = []
        for _ in range(8):
            deferreds += [self.q.count() for _ in range(250)]
            pool.reload()
            time.sleep(rand.random() / 2)
        results = [tuple(deferred.result(2 * WAIT)) for deferred in deferreds]
        self.assertEqual(len(set(results)), len(results))    # (pid, how many it has run)
        self.assertEqual(sum(max(n for p, n in results if p == pid)
                             for pid in {pid for pid, _ in results}), len(results))
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)
        eventually(lambda: len(pool.pids), 2, timeout=WAIT)


class ReloadOnMemory(MemoryMixin, Reload):
    """With the queue in memory."""


class ReloadOnRedis(RedisMixin, Reload):
    """With Redis."""


class ReloadOnFile(SqliteMixin, Reload):
    """With a file, which old and new children have open beside each other."""


class ReloadDetails(MemoryMixin, Processes):

    def setUp(self):
        heed_hang_ups(self)
        super().setUp()
        Path(self.path('code')).write_text('good')

    def made(self, **options):
        return self.pool(init=init_from_file, more=(self.path('code'), self.path('begun-init')),
                         **options)

    def test_broken_code(self):
        """If the new children cannot begin the old ones go on; when they can, they take over."""
        pool = self.made()
        self.addCleanup(pool.stop)
        self.begin(pool)
        old = self.q.pid().result(WAIT)
        Path(self.path('code')).write_text('broken')
        pool.reload()
        eventually(lambda: len(lines(self.path('begun-init'))) >= 3, timeout=WAIT)
        self.assertEqual(self.q.pid().result(WAIT), old)
        Path(self.path('code')).write_text('good')
        eventually(lambda: self.q.pid().result(WAIT) != old, timeout=WAIT)
        eventually(lambda: old in pool.pids, False, timeout=WAIT)

    def test_other_configuration(self):
        """Workers, limits and init_func are taken over from the other pool."""
        pool = self.start(3)
        self.q.same(1).result(WAIT)
        old = set(pool.pids)
        pool.reload(self.pool(1, max_worker_tasks=2))
        eventually(lambda: len(pool.pids) == 1 and not old & set(pool.pids), timeout=WAIT)
        results = [d.result(WAIT) for d in [self.q.count() for _ in range(4)]]
        self.assertEqual([n for _, n in results], [1, 2, 1, 2])
        self.assertEqual((pool.workers, pool.max_worker_tasks), (1, 2))
        pool.reload(self.pool(2))
        eventually(lambda: len(pool.pids), 2, timeout=WAIT)

    def test_again_before_it_is_done(self):
        """A reload during a reload, and a stop during both, leave nothing behind."""
        pool = self.start(1)
        self.q.same(1).result(WAIT)
        for _ in range(5):
            pool.reload()
        self.assertEqual(self.q.same(2).result(WAIT), 2)
        eventually(lambda: len(pool.pids), 1, timeout=WAIT)
        pool.reload()
        pool.stop()
        self.assertEqual(pool.pids, [])

    def test_what_cannot_be(self):
        """A pool that does not run, or one of another queue, is refused, and so is a lambda."""
        pool = self.pool(1)
        with self.assertRaisesRegex(Error, 'not running'):
            pool.reload()
        self.addCleanup(pool.stop)
        self.begin(pool)
        with get_broker('memory://', self.name + '-other') as other, \
                self.assertRaisesRegex(Error, 'another queue'):
            pool.reload(WorkerPool(other, init, workers=1))
        with self.assertRaisesRegex(Error, 'init_func'):
            pool.reload(self.pool(init=lambda url, name: None))
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    # -- SIGHUP -----------------------------------------------------------------

    def play(self, make, act):
        """Run start_pools, with `act` in a thread that ends it by SIGTERM."""
        errors = []

        def run():
            try:
                act()
            except BaseException as error:
                errors.append(error)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
        thread = threading.Thread(target=run)
        thread.start()
        try:
            start_pools(make)
        finally:
            thread.join()
        if errors:
            raise errors[0]

    def test_nohup(self):
        """A program that ignores SIGHUP from the start goes on doing so."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        calls = []

        def make():
            calls.append(self.pool(1))
            return calls[-1]

        def act():
            eventually(lambda: bool(calls and calls[0].alive), timeout=WAIT)
            self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)
            os.kill(os.getpid(), signal.SIGHUP)
            self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.play(make, act)
        self.assertEqual(len(calls), 1)
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def test_what_the_function_makes(self):
        """At SIGHUP pools are compared by name: one goes on, one is new, one is gone."""
        made = []
        plans = [['a', 'b'], ['b', 'c'], RuntimeError('no'), SystemExit(2), [], ['b', 'c', 'b']]
        calls = []

        def make():
            plan = plans[len(calls)]
            calls.append(plan)
            if isinstance(plan, BaseException):
                raise plan
            made.append([self.pool(1, name=name) for name in plan])
            return iter(made[-1])

        def hang_up():
            n = len(calls)
            os.kill(os.getpid(), signal.SIGHUP)
            eventually(lambda: len(calls), n + 1, timeout=WAIT)

        def act():
            eventually(lambda: bool(made and all(p.alive for p in made[0])), timeout=WAIT)
            self.assertEqual(self.q.same(1).result(WAIT), 1)
            (a, b), old = made[0], set(made[0][1].pids)
            hang_up()
            eventually(lambda: len(made), 2, timeout=WAIT)
            eventually(lambda: (a.alive, b.alive), (False, True), timeout=WAIT)
            c = made[1][1]
            eventually(lambda: c.alive, timeout=WAIT)
            self.assertFalse(made[1][0].alive)    # the new b: the old one goes on in its place
            eventually(lambda: len(set(b.pids) - old) == 1 and not set(b.pids) & old, timeout=WAIT)
            for _ in range(3):     # two that raise, and one that makes nothing
                hang_up()
                self.assertEqual((b.alive, c.alive), (True, True))
            hang_up()
            eventually(lambda: len(made) == 4 and made[3][2].alive, timeout=WAIT)
            self.assertEqual((b.alive, c.alive), (True, True))
        self.play(make, act)
        self.assertFalse(any(pool.alive for pools in made for pool in pools))
        self.assertEqual(len(calls), len(plans))
        self.assertEqual(self.broker.backend.pools(), {})

    def test_gone_and_back(self):
        """A pool that is gone, still finishes a task, and comes back, is started again then."""
        a, b = self.pool(1, name='a'), self.pool(1, name='b')
        plans = [[a, b], [b], [a, b]]
        calls = []

        def make():
            calls.append(1)
            return plans[len(calls) - 1]

        def act():
            one, two = self.held('one'), self.held('two')    # one runs on each
            for n in (2, 3):
                os.kill(os.getpid(), signal.SIGHUP)
                eventually(lambda: len(calls), n, timeout=WAIT)
            eventually(lambda: a._manager is not None and a._manager.stopping, timeout=WAIT)
            self.open('go')
            self.assertTrue(one.wait(WAIT) and two.wait(WAIT))
            eventually(lambda: a.alive and a._manager is not None and not a._manager.stopping,
                       timeout=WAIT)
        self.play(make, act)

    def test_bad_arguments(self):
        """start_pools says what it takes; a function that fails at first is no hidden fault."""
        for args in ((1,), (self.pool(), 2), (init, self.pool())):
            with self.assertRaises(TypeError):
                start_pools(*args)
        for made, error in [([], ValueError), ([1], TypeError)]:
            with self.assertRaises(error):
                start_pools(lambda: made)   # noqa: B023
        self.assertIs(signal.getsignal(signal.SIGHUP), signal.SIG_DFL)


TASKS = """
from worq import TaskSpace

tasks = TaskSpace()
VERSION = {version!r}


@tasks.task
def version(n, path):
    with open(path, 'a') as file:
        file.write(f'{{n}}\\n')
    return VERSION
"""

PROGRAM = """
import json
from pathlib import Path
import sys
from worq import get_broker
from worq.pool.process import WorkerPool, start_pools


def init(url, name):
    from jobs import tasks
    broker = get_broker(url, name)
    broker.expose(tasks)
    return broker


def pools():
    config = json.loads(Path('config.json').read_text())
    yield WorkerPool(get_broker(*sys.argv[1:3]), init, sys.argv[2:3], **config)


if __name__ == '__main__':
    start_pools(pools)
"""


class Hangup(unittest.TestCase):
    """A program that runs pools, whose code and configuration change on the disk."""

    def setUp(self):
        heed_hang_ups(self)
        self.url = redis_url()
        leaks.watch(self)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.name = unique('reload')
        self.addCleanup(clean, self.url, self.name)
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.broker = get_broker(self.url, self.name)
        self.addCleanup(self.broker.close)
        self.q = self.broker.queue()

    def write(self, version, **config):
        self.folder.joinpath('jobs.py').write_text(TASKS.format(version=version))
        self.folder.joinpath('config.json').write_text(json.dumps(config))

    def test_new_code_under_load(self):
        """Tasks of old and new code: each runs once, none is lost, and the new code takes over."""
        self.folder.joinpath('program.py').write_text(PROGRAM)
        self.write('1', workers=1)
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        program = subprocess.Popen(
            [sys.executable, 'program.py', self.url, self.name], cwd=self.folder,
            env={**os.environ, 'PYTHONPATH': path}, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        seen = str(self.folder / 'seen')
        deferreds = []

        def call(times):
            for _ in range(times):
                deferreds.append(self.q.version(len(deferreds), seen))

        def version():
            call(1)
            return deferreds[-1].result(WAIT)
        self.assertEqual(version(), '1')
        for number, workers in [('22', 2), ('333', 3), ('4444', 1)]:   # of lengths that differ
            call(300)
            self.write(number, workers=workers, max_worker_tasks=1000)
            program.send_signal(signal.SIGHUP)
            call(300)
            eventually(version, number, timeout=WAIT)
            call(50)
        self.folder.joinpath('config.json').write_text('this is no JSON')
        program.send_signal(signal.SIGHUP)
        call(50)
        results = [deferred.result(WAIT) for deferred in deferreds]
        self.assertEqual(set(results), {'1', '22', '333', '4444'})
        program.send_signal(signal.SIGHUP)
        program.send_signal(signal.SIGTERM)
        _, err = program.communicate(timeout=WAIT)
        self.assertEqual(program.returncode, 0, err)
        numbers = [int(line) for line in Path(seen).read_text().split()]
        self.assertEqual(sorted(numbers), list(range(len(deferreds))))
        self.assertIn('go on as they are', err)
        self.assertIn('JSONDecodeError', err)


if __name__ == '__main__':
    unittest.main()
