"""Pools of all kinds put what is due and declare what their code says, also if they are killed."""
from pathlib import Path
import random
import subprocess
import sys
import threading
import time
import unittest

import worq
from worq import TaskSpace, current_task
from worq.pool import aio, process, thread
from worq.schedules import call

from test import support
from test.support import eventually

ticks = TaskSpace('ticks')


@ticks.task(every=1, missed='all')
def tick():
    return current_task().slot.timestamp()


@ticks.task
def nothing():
    pass


@ticks.task(every=1, overlap='queue')
async def tock():
    return current_task().slot.timestamp()


def init(url, name):
    broker = worq.get_broker(url, name)
    broker.expose(ticks)
    return broker


class Pools(unittest.TestCase):

    def setUp(self):
        self.url, self.name = support.redis_url(), support.unique()
        self.addCleanup(support.clean, self.url, self.name)
        self.broker = worq.get_broker(self.url, self.name)
        self.addCleanup(self.broker.close)

    def runs(self, name='ticks.tick'):
        one = self.broker.schedules.get(name)
        return 0 if one is None else one.fired

    def check(self, pool, name='ticks.tick', **options):
        pool.start(**options)
        try:
            eventually(lambda: self.runs(name) >= 2, timeout=30)
            run = self.broker.schedules.get(name).run
            deferred = self.broker.deferred(run)
            self.assertTrue(deferred.wait(10))
            slot = call.moment(int(deferred.value * 1000))
            self.assertEqual(run, call.run_id(name, int(slot.timestamp() * 1000)))
        finally:
            pool.stop()
        self.assertFalse(self.broker.schedules.get(name).orphaned)

    def test_threads(self):
        """A pool of threads declares and puts."""
        self.check(thread.WorkerPool(init(self.url, self.name)))

    def test_processes(self):
        """So does one of processes, whose children know what there is to declare."""
        self.check(process.WorkerPool(self.broker, init, (self.name,), workers=1),
                   handle_sigterm=False)

    def test_coroutines(self):
        """And one of event loops."""
        self.check(aio.WorkerPool(self.broker, init, (self.name,), workers=1), 'ticks.tock',
                   handle_sigterm=False)

    def test_none(self):
        """A pool that leaves schedules to others runs tasks, and declares and puts nothing."""
        init_args = {'init_func': init, 'init_args': (self.name,), 'workers': 1}
        for pool, options in [
                (thread.WorkerPool(init(self.url, self.name), schedules=False), {}),
                (process.WorkerPool(self.broker, **init_args, schedules=False),
                 {'handle_sigterm': False}),
                (aio.WorkerPool(self.broker, **init_args, schedules=False),
                 {'handle_sigterm': False})]:
            pool.start(**options)
            try:
                self.assertIsNone(self.broker.queue().ticks.nothing().result(30))
                eventually(lambda: all(one.tasks for one in self.broker.pools()), timeout=30)
                self.assertNotIn('worq-schedules', [one.name for one in threading.enumerate()])
            finally:
                pool.stop()
        self.assertEqual(self.broker.schedules.list(), [])

    def test_threads_end(self):
        """No thread is left, and the pool starts again."""
        pool = thread.WorkerPool(init('memory://', self.name))
        for _ in range(2):
            pool.start()
            pool.stop()
        self.assertNotIn('worq-schedules', [one.name for one in threading.enumerate()])


class Killed(unittest.TestCase):

    def test_killed_all_the_time(self):
        """Pools that are killed at any moment, old code beside new: each second has one run."""
        for url, name in (support.redis_url(), support.unique()), \
                (f'sqlite:///{support.folder(self)}/queue.db', 'killed'):
            with self.subTest(url=url.partition(':')[0]):
                self.addCleanup(lambda url=url, name=name: url.startswith('redis')
                                and support.clean(url, name))
                self.kill_pools(url, name)

    def kill_pools(self, url, name):
        dice = random.Random(5)
        broker = worq.get_broker(url, name)
        self.addCleanup(broker.close)
        pools = [self.start(url, name) for _ in range(3)]
        try:
            eventually(lambda: broker.schedules.get('ticks.tick') is not None, timeout=30)
            until = time.monotonic() + 12
            while time.monotonic() < until:
                time.sleep(dice.uniform(0.2, 1.2))
                victim = dice.randrange(3)
                pools[victim].kill()
                pools[victim].wait()
                pools[victim] = self.start(url, name)
            one = broker.schedules.get('ticks.tick')
            eventually(lambda: broker.schedules.get('ticks.tick').fired > one.fired + 1, True, 60)
        finally:
            for pool in pools:
                pool.kill()
                pool.wait()
        one = broker.schedules.get('ticks.tick')
        last = int(one.last.timestamp())
        found = [broker.status(call.run_id('ticks.tick', slot * 1000))
                 for slot in range(last - one.fired + 1, last + 1)]
        self.assertNotIn('unknown', found)   # as many as there were runs, one for each second
        self.assertGreater(one.fired, 8)
        self.assertEqual(one.missed, 0)

    @staticmethod
    def start(url, name):
        return subprocess.Popen(
            [sys.executable, '-c', 'import sys, signal\n'
             'from test.pool.test_schedules import init\n'
             'from worq.pool.thread import WorkerPool\n'
             f'pool = WorkerPool(init({url!r}, {name!r}))\npool.start()\nsignal.pause()'],
            cwd=Path(__file__).resolve().parents[2], stderr=subprocess.DEVNULL)

