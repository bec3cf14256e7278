"""Programs written for WorQ 1.x: only its names, used as it documented them."""
from __future__ import annotations

from contextlib import contextmanager
import operator
import os
import signal
import threading
import unittest

import worq.const as const
from test.broker_case import on_every_queue
from test.support import eventually
from worq import (
    DuplicateTask, Task, TaskExpired, TaskFailure, TaskSpace, get_broker, get_queue,
)
from worq.pool.process import pool as process
from worq.pool.process import run_in_subprocess
from worq.pool.thread import WorkerPool

WAIT = 30


class Gate:
    """A lock with a time-out, acquired in one thread and released in another."""

    def __init__(self):
        self.lock = threading.Lock()
        self.lock.acquire()

    def acquire(self):
        if not self.lock.acquire(timeout=WAIT):
            raise Exception('lock timeout')

    def release(self):
        self.lock.release()

    @property
    def locked(self):
        return self.lock.locked()


@contextmanager
def thread_worker(broker, gate=None):
    """One thread works; with a gate, it asks for leave before it takes each task."""
    if gate is not None:
        next_task = broker.next_task

        def guarded(*args, **kw):
            gate.acquire()
            return next_task(*args, **kw)
        broker.next_task = guarded
    pool = WorkerPool(broker)
    pool.start(timeout=1)
    try:
        yield
    finally:
        pool.stop(use_sentinel=True, join=False)
        if gate is not None and gate.locked:
            gate.release()
        pool.join()
        broker.discard_pending_tasks()


class OldProgramContract(unittest.TestCase):
    """What such a program relies on."""

    __test__ = False

    def setUp(self):
        self.name = self.queue_name = f'old-{os.urandom(6).hex()}'
        self.broker = get_broker(self.url(), self.queue_name)
        self.addCleanup(self.broker.close)
        self.q = get_queue(self.url(), self.queue_name)

    def label(self, d, name='func'):
        return f'{name} [{self.queue_name}:{d.id}]'

    def test_states_step_by_step(self):
        """A gate in next_task and one in the task show each state, as 1.x's example did."""
        gate = Gate()

        def func(arg):
            gate.acquire()
            return arg

        self.broker.expose(func)
        with thread_worker(self.broker, gate):
            res = self.q.func('arg')
            eventually(lambda: res.status, const.ENQUEUED)
            self.assertEqual(repr(res), f'<Deferred {self.label(res)} enqueued>')
            gate.release()
            eventually(lambda: res.status, const.PROCESSING)
            self.assertEqual(repr(res), f'<Deferred {self.label(res)} processing>')
            gate.release()
            self.assertTrue(res.wait(WAIT))
            self.assertEqual(repr(res), f'<Deferred {self.label(res)} success>')
            self.assertEqual(res.value, 'arg')

    def test_duplicate_ids(self):
        """The id of a live task is refused, of one that is done it is not."""
        gate = Gate()

        def func(arg):
            gate.acquire()
            return arg

        self.broker.expose(func)
        with thread_worker(self.broker, gate):
            task = Task(self.q.func, id=lambda arg: type(arg).__name__)
            res = task(1)
            with self.assertRaises(DuplicateTask) as caught:
                task(2)
            self.assertEqual(
                str(caught.exception),
                f'func [{self.queue_name}:int] cannot enqueue task with duplicate id')
            gate.release()
            eventually(lambda: res.status, const.PROCESSING)
            with self.assertRaises(DuplicateTask):
                task(3)
            gate.release()
            self.assertTrue(res.wait(WAIT))
            res = task(4)
            gate.release()
            eventually(lambda: res.status, const.PROCESSING)
            gate.release()
            self.assertTrue(res.wait(WAIT))
            self.assertEqual(res.value, 4)

    def test_len_counts_pending(self):
        """len(q) counts what is not done: enqueued, processing and pending."""
        self.broker.expose(operator.add)
        self.assertEqual(len(self.q), 0)
        first = self.q.add(1, 1)
        second = self.q.add(first, self.q.add(1, 1))
        self.assertEqual(len(self.q), 3)
        with thread_worker(self.broker):
            self.assertTrue(second.wait(timeout=WAIT))
            eventually(lambda: len(self.q), 0)

    def test_graph(self):
        """Three pairs of tasks feed three, which feed one."""
        ts = TaskSpace()

        @ts.task
        def left(num):
            return ('left', num)

        @ts.task
        def right(num):
            return ('right', num)

        @ts.task
        def catch(left, right, num):
            return [num, left, right]

        @ts.task
        def combine(items):
            return {i[0]: i[1:] for i in items}

        self.broker.expose(ts)
        with thread_worker(self.broker):
            q = self.q
            res = q.combine([q.catch(q.left(n), q.right(n), n) for n in [1, 2, 3]])
            self.assertTrue(res.wait(WAIT), repr(res))
            self.assertEqual(res.value, {n: [('left', n), ('right', n)] for n in [1, 2, 3]})

    def test_failure_among_the_arguments(self):
        """The value of a task with a failed argument raises the argument's failure."""
        def func(arg):
            if arg == 0:
                raise Exception('zero fail!')
            return arg

        self.broker.expose(func)
        with thread_worker(self.broker):
            res = self.q.func([self.q.func(1), self.q.func(0), self.q.func(2)])
            res.wait(timeout=WAIT)
            with self.assertRaises(TaskFailure) as caught:
                res.value
            self.assertEqual(str(caught.exception),
                             f'{self.label(res.task.args[0][1])} Exception: zero fail!')

    def test_passed_failure(self):
        """Task.PASS hands a TaskFailure over that equals one made by hand."""
        def func(arg):
            if arg == 0:
                raise Exception('zero fail!')
            return arg

        self.broker.expose(func)
        with thread_worker(self.broker):
            items = [self.q.func(1), self.q.func(0), self.q.func(2)]
            res = Task(self.q.func, on_error=Task.PASS)(items)
            res.wait(timeout=WAIT)
            fail = TaskFailure('func', self.queue_name, items[1].id, 'Exception: zero fail!')
            self.assertEqual(res.value, [1, fail, 2])

    def test_interrupt(self):
        """A task that raises KeyboardInterrupt fails, and its worker goes on."""
        def func(arg):
            if arg == 'interrupt':
                raise KeyboardInterrupt()
            return arg

        self.broker.expose(func)
        with thread_worker(self.broker):
            res = self.q.func('interrupt')
            self.assertTrue(res.wait(WAIT))
            with self.assertRaises(TaskFailure) as caught:
                res.value
            self.assertEqual(str(caught.exception), f'{self.label(res)} KeyboardInterrupt: ')
            self.assertEqual(self.q.func(1).result(WAIT), 1)

    def test_task_failed(self):
        """broker.task_failed ends a wait with TaskExpired."""
        gate = Gate()
        self.broker.expose(gate.acquire)
        with thread_worker(self.broker):
            res = self.q.acquire()
            self.broker.task_failed(res)
            self.assertTrue(res.wait(timeout=WAIT), repr(res))
            gate.release()
            with self.assertRaises(TaskExpired):
                res.value

    def test_process_pool_retires_workers(self):
        """max_worker_tasks=3: the fourth task has a new process, which counts anew."""
        pool = process.WorkerPool(self.broker, counting_init, init_args=(self.queue_name,),
                                  workers=1, max_worker_tasks=3)
        pool.start(timeout=1, handle_sigterm=False)
        try:
            res = self.q.results([self.q.func() for n in range(4)])
            self.assertTrue(res.wait(WAIT), repr(res))
            self.assertEqual([r[1] for r in res.value], [1, 2, 3, 1])
            self.assertEqual(len({r[0] for r in res.value}), 2)
            with self.assertRaises(process.Error):
                pool.start(handle_sigterm=False)
        finally:
            pool.stop()

    def test_process_pool_worker_dies(self):
        """A task that kills its worker expires, in the end."""
        pool = process.WorkerPool(self.broker, deadly_init, init_args=(self.queue_name,),
                                  workers=1)
        pool.start(timeout=1, handle_sigterm=False)
        try:
            res = Task(self.q.suicide, heartrate=0.1, result_timeout=5)()
            self.assertTrue(res.wait(WAIT), repr(res))
            with self.assertRaises(TaskExpired):
                res.value
        finally:
            pool.stop()

    def test_run_in_subprocess(self):
        """run_in_subprocess runs a function in a process that can be watched and ended."""
        proc = run_in_subprocess(signal.pause)
        self.assertTrue(proc.is_alive())
        self.assertGreater(proc.pid, 0)
        proc.terminate()
        proc.join(WAIT)
        self.assertFalse(proc.is_alive())
        proc.stdin.close()


def counting_init(url, name):
    broker = get_broker(url, name)
    calls = [0]

    @broker.expose
    def func():
        calls[0] += 1
        return (os.getpid(), calls[0])

    @broker.expose
    def results(res):
        return res

    return broker


def deadly_init(url, name):
    broker = get_broker(url, name)

    @broker.expose
    def suicide():
        os.kill(os.getpid(), signal.SIGKILL)

    return broker


on_every_queue(globals(), OldProgramContract)
