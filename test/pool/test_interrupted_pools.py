"""Starting, stopping and joining pools, and batches, interrupted anywhere by signal handlers."""
from __future__ import annotations

import signal
import threading
import unittest

import worq
from test import support
from test.interrupts import Interrupt, at_steps, in_time, interrupted
from test.support import eq_
from worq.latch import Flag, JoinableThread
from worq.pool.thread import WorkerPool


def ident(x: object) -> object:
    return x


def alarm(*args: object) -> None:
    raise Interrupt


class InterruptedPools(unittest.TestCase):

    def setUp(self) -> None:
        self.b = self.enterContext(worq.get_broker('memory://', support.unique()))
        self.go = threading.Event()
        self.ended: list[bool] = []
        self.b.expose(ident)
        self.b.expose(self.hold)
        self.q = self.b.queue()

    def hold(self) -> None:
        self.go.wait(20)
        self.ended.append(True)

    def interrupt_soon(self) -> None:
        before = signal.signal(signal.SIGALRM, alarm)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.05)

    def test_join(self) -> None:
        """A pool whose `join` was interrupted by Ctrl-C, as programs that end so do, is stopped
        as any other: what runs comes to its end first."""
        pool = WorkerPool(self.b, 2)
        pool.start()
        d = self.q.hold()
        self.interrupt_soon()
        with self.assertRaises(Interrupt):
            pool.join()
        self.assertIn('running', repr(pool))
        threading.Timer(0.05, self.go.set).start()
        pool.stop()
        eq_(self.ended, [True])
        self.assertTrue(d.wait(0))

    def test_thread(self) -> None:
        """A thread whose `join` was interrupted is as alive as before."""
        thread = JoinableThread(target=self.hold)
        self.assertFalse(thread.is_alive())
        thread.start()
        self.interrupt_soon()
        with self.assertRaises(Interrupt):
            thread.join()
        self.assertTrue(thread.is_alive())
        self.go.set()
        thread.join()
        eq_((self.ended, thread.is_alive()), ([True], False))

    def test_start(self) -> None:
        """A pool whose start was interrupted at any step can be stopped, and started again."""
        for step in at_steps(5):
            pool = WorkerPool(self.b, 1)
            more = interrupted(pool.start, step, within='thread.py', real=True)
            in_time(pool.stop)
            with pool:
                eq_(self.q.ident(step).result(timeout=10), step)
            if not more:
                break

    def test_stop(self) -> None:
        """So can one whose stop was interrupted; and a signal handler can stop it within that."""
        for step in at_steps(5):
            for act in (None, 'stop'):
                pool = WorkerPool(self.b, 1)
                pool.start()
                more = interrupted(pool.stop, step, act and pool.stop, 'thread.py', True)
                in_time(pool.stop)
                with pool:
                    eq_(self.q.ident(step).result(timeout=10), step)
            if not more:
                break

    def test_batch(self) -> None:
        """After a batch that was interrupted at any step nothing is collected any more."""
        def call() -> None:
            with worq.batch(self.q):
                self.q.ident(1)
                with worq.batch(self.q):
                    self.q.ident(2)

        for step in at_steps(3):
            more = interrupted(call, step, within='flow.py')
            d = self.q.ident(3)
            self.assertIsNone(d._batch, f'at {step}')
            if not more:
                break

    def test_flag(self) -> None:
        """Any number of threads wait for a flag, and it can be lowered again."""
        flag = Flag()
        self.assertFalse(flag.wait(0.001))
        threads = [threading.Thread(target=flag.wait, args=[20]) for _ in range(5)]
        for thread in threads:
            thread.start()
        flag.set()
        flag.set()
        for thread in threads:
            thread.join(10)
            self.assertFalse(thread.is_alive())
        flag.clear()
        flag.clear()
        eq_((flag.is_set(), flag.wait(0.001), Flag(True).wait(0)), (False, False, True))
