"""Threads of a pool that do not come back from their tasks, and faults of WorQ's own."""
from __future__ import annotations

import logging
import os
from pathlib import Path
import subprocess
import sys
import threading
from unittest import mock

from test.broker_case import MemoryMixin
from test.pool.contract import WAIT
from test.pool.tasks import tasks
from test.pool.thread.test_pool import Threads
from test.support import eventually
from worq import Task, TaskCancelled, TaskTimeout
from worq.pool import run
from worq.pool.thread import pool as thread, workers

__all__ = ['LostThreads', 'OwnFaults']

ROOT = Path(__file__).resolve().parents[3]


class LostThreads(MemoryMixin, Threads):
    """A task cannot be interrupted, and another thread takes the place of its thread."""

    def setUp(self):
        super().setUp()
        self.go = threading.Event()
        self.addCleanup(self.go.set)     # before the pool is stopped, and leaks are counted
        for name in ('thread.interrupt.GRACE', 'thread.workers.GRACE', 'base.BEAT',
                     'thread.pool.WATCH'):
            self.enterContext(mock.patch(f'worq.pool.{name}', 0.1))
        self.broker.expose(tasks)
        self.begun = []
        self.broker.expose(self.stick)
        self.logs = self.enterContext(self.assertLogs('worq', logging.INFO))

    def stick(self, times=99):
        """Wait where nothing can interrupt, but no more often than so many times."""
        self.begun.append(threading.current_thread())
        if len(self.begun) <= times:
            self.go.wait()
        return len(self.begun)

    def stuck(self, **options):
        """A call whose task has begun, and is stuck."""
        before = len(self.begun)
        call = Task(self.q.stick, **options)()
        eventually(lambda: len(self.begun), before + 1, timeout=WAIT)
        return call

    def given_up(self):
        return [line for line in self.logs.output if 'its thread is given up' in line]

    def goes_on(self, pool, text):
        """Others run while it is stuck; the log has it once; its thread ends when it is free."""
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertFalse(self.go.is_set())
        line, = self.given_up()
        self.assertIn(f'{text}, and does not let go', line)
        eventually(lambda: self.begun[0] in pool.threads, False)
        self.go.set()
        eventually(self.begun[0].is_alive, False, timeout=WAIT)
        self.assertEqual(self.q.same(2).result(WAIT), 2)
        self.assertEqual(len(pool.threads), 1)
        self.assertEqual(len(self.given_up()), 1)

    def test_beyond_its_limit(self):
        """A task that is beyond its time limit."""
        pool = self.start()
        call = self.stuck(timeout=0.1)
        self.assertIsInstance(call.exception(WAIT), TaskTimeout)
        self.goes_on(pool, f'stick [{call.id}] is beyond its time limit')
        self.assertEqual(self.broker.backend.stats()['stale'], 0)

    def test_cancelled(self):
        """One that was cancelled."""
        pool = self.start()
        call = self.stuck()
        call.cancel()
        self.assertIsInstance(call.exception(WAIT), TaskCancelled)
        self.goes_on(pool, f'stick [{call.id}] was cancelled')

    def test_not_ours_any_more(self):
        """One that the queue has given to another pool, or to this one again."""
        pool = self.start()
        self.assertEqual(self.q.same(0).result(WAIT), 0)
        call = Task(self.q.stick)(1)
        eventually(lambda: len(self.begun), 1, timeout=WAIT)
        self.broker.backend.abandon(pool._desk.pool, 'the test says so')
        self.assertEqual(call.result(WAIT), 2)
        self.goes_on(pool, f'stick [{call.id}] is not ours any more')
        self.assertEqual(call.result(WAIT), 2)

    def test_taken_by_hand(self):
        """One that was taken one by one, since the program has replaced next_task."""
        next_task = self.broker.next_task
        self.broker.next_task = lambda timeout=None: next_task(timeout=timeout)
        pool = self.pool()
        self.addCleanup(pool.stop)
        pool.start(timeout=0.05)
        call = self.stuck()
        call.cancel()
        self.goes_on(pool, f'stick [{call.id}] was cancelled')

    def test_stop(self):
        """Stop waits for no thread that does not let go, whether that is known before or not."""
        pool = self.start()
        self.stuck().cancel()
        pool.stop()
        self.assertEqual(len(self.given_up()), 1)
        with pool:
            self.assertEqual(self.q.same(1).result(WAIT), 1)
            self.stuck().cancel()
            self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertFalse(self.go.is_set())
        self.assertEqual(len(self.given_up()), 2)

    def test_is_about_to_end(self):
        """A task that lets go just in time keeps its thread."""
        pool = self.start()
        with mock.patch('worq.pool.thread.interrupt.GRACE', WAIT):
            self.stuck().cancel()
            eventually(lambda: pool._team[0].interrupter.patience is not None, timeout=WAIT)
            self.go.set()
            self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual((self.given_up(), pool.threads), ([], self.begun))

    def test_there_is_an_end_to_it(self):
        """When very many threads are stuck no more are added, until some come back."""
        self.enterContext(mock.patch.object(workers, 'LOST', 2))
        pool = self.start()
        for _ in range(3):
            self.stuck().cancel()
        eventually(lambda: any('no more are given up' in line for line in self.logs.output),
                   timeout=WAIT)
        later = self.q.same(1)
        self.assertEqual((later.wait(0.3), len(self.given_up())), (False, 2))
        self.go.set()
        self.assertEqual(later.result(WAIT), 1)
        self.assertEqual(len(pool.threads), 1)

    def test_program_ends(self):
        """A program whose pool is stopped ends, whatever threads that were given up still do."""
        script = self.path('script.py')
        with open(script, 'w') as file:
            file.write(PROGRAM)
        program = subprocess.run(
            [sys.executable, script], timeout=WAIT, capture_output=True, text=True, check=False,
            env={**os.environ, 'PYTHONPATH': str(ROOT)})
        self.assertEqual((program.returncode, program.stdout), (0, 'TaskTimeout\n1\n'))
        logging.getLogger('worq').warning('nothing')   # assertLogs wants something


PROGRAM = '''
import time
from worq import Task, get_broker
from worq.pool.thread import interrupt, pool as thread

thread.GRACE = interrupt.GRACE = thread.WATCH = 0.1
broker = get_broker('memory://', 'ends')
broker.expose(time.sleep)
broker.expose(abs)
with thread.WorkerPool(broker):
    q = broker.queue()
    print(type(Task(q.sleep, timeout=0.1)(3600).exception(50)).__name__)
    print(q.abs(-1).result(50))
'''


class OwnFaults(MemoryMixin, Threads):
    """What a fault of WorQ's own hits is lost with its lease, not renewed for ever."""

    def setUp(self):
        super().setUp()
        backend = self.broker.backend
        clock, self.ahead = backend.clock, 0
        self.enterContext(mock.patch.object(backend, 'clock', lambda: clock() + self.ahead))
        self.faults = 1
        self.run = run.run
        self.enterContext(mock.patch.object(run, 'run', self.fail))
        self.enterContext(self.assertLogs('worq', logging.ERROR))

    def fail(self, broker, delivery, grip):
        if delivery.id == 'hit' and self.faults:
            self.faults -= 1
            raise self.error
        return self.run(broker, delivery, grip)

    error = RuntimeError('a fault')

    def hits(self, lease):
        self.start()
        call = Task(self.q.same, id='hit')(1)
        others = [self.q.same(n) for n in range(5)]
        self.assertEqual([d.result(WAIT) for d in others], list(range(5)))
        eventually(lambda: self.faults, 0, timeout=WAIT)
        for step in range(lease // 2000 + 2):   # with no gap, in which nobody could have renewed it
            self.ahead += 2000
            self.assertEqual(self.q.same(step).result(WAIT), step)
            if step == lease // 4000:
                self.assertEqual(call.status, 'processing')
        eventually(lambda: call.status, 'success', timeout=WAIT)
        self.assertEqual(call.result(WAIT), 1)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 1)

    def test_lost_with_its_lease(self):
        """The task that it hits; the others of that thread go on."""
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.05))
        self.hits(thread.LEASE)

    def test_taken_by_hand(self):
        """So it is where tasks are taken one by one."""
        next_task = self.broker.next_task
        self.broker.next_task = lambda timeout=None: next_task(timeout=0.05)
        self.hits(thread.LEASE)

    def test_no_exception(self):
        """What is no `Exception` does not cost a thread either."""
        self.error = SystemExit('a fault')
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.05))
        self.hits(thread.LEASE)
