"""Interruptions: where they may be raised, how often, and what they must not break."""
from __future__ import annotations

from contextlib import suppress
import contextvars
import random
import signal
import threading
import time
import unittest

from test import leaks
from test.support import eventually
from worq import Cancelled, TaskTimeout, get_broker
from worq.current import CurrentTask
from worq.pool.interrupt import Interrupter
from worq.pool.run import run
from worq.pool.thread.interrupt import ThreadInterrupter
from worq.queue.base import Delivery
from worq.retry import Policy
from worq.shield import running, unbroken

DELIVERY = Delivery('id', b'n' * 12 + b'1', 1, b'f', b'')


class GripCase(unittest.TestCase):

    def setUp(self):
        leaks.watch(self)
        self.broker = get_broker('memory://', 'grip')
        self.addCleanup(self.broker.close)

    def forget(self, token):
        with suppress(ValueError):   # it was set in a context that is gone
            running.reset(token)

    def task(self, number=1):
        delivery = DELIVERY._replace(token=b'n' * 12 + b'%d' % number)
        task = CurrentTask(self.broker, delivery, 'f')
        self.addCleanup(self.forget, running.set(task))
        return task


class Here(GripCase):
    """The interruption of a task in the same thread."""

    def setUp(self):
        super().setUp()
        self.interrupter = Interrupter()

    def test_once(self):
        """The exception is raised once in a task, and not when none runs."""
        self.interrupter.interrupt('cancelled')
        for n in range(3):
            task = self.task(n)
            self.interrupter.begin(task, None, None)
            with self.assertRaises(Cancelled):
                self.interrupter.interrupt('cancelled')
            self.assertTrue(task.cancelled)
            self.interrupter.interrupt('timeout')
            self.interrupter.end()
            self.interrupter.interrupt('cancelled')

    def test_limit(self):
        """A limit sets the deadline, and is in the text."""
        task = self.task()
        self.interrupter.begin(task, 2.5, None)
        self.assertAlmostEqual(task.deadline - time.monotonic(), 2.5, delta=1)
        with self.assertRaisesRegex(TaskTimeout, '2.5 seconds'):
            self.interrupter.interrupt('timeout')

    def test_put_off(self):
        """Within what is to be done whole nothing is raised; at the end of the outermost it is."""
        self.interrupter.begin(self.task(), None, None)
        done, woken = [], []
        with self.assertRaises(Cancelled):
            with unbroken(lambda: woken.append('outer')) as outer:
                with unbroken(lambda: woken.append('inner')):
                    with unbroken():
                        self.interrupter.interrupt('cancelled')
                        self.interrupter.wake()()
                    done.append('inner')
                self.assertTrue(outer.interrupted)
                done.append('outer')
            done.append('after')
        self.assertEqual((done, woken), (['inner', 'outer'], ['inner']))
        with unbroken() as whole:     # the next one has nothing to do with it
            self.assertFalse(whole.interrupted)

    def test_not_for_others(self):
        """It does nothing in other threads, and where no task runs."""
        self.interrupter.begin(self.task(), None, None)
        context = contextvars.copy_context()

        def elsewhere():
            with unbroken():
                self.interrupter.interrupt('cancelled')
        thread = threading.Thread(target=context.run, args=(self.raises, elsewhere))
        thread.start()
        thread.join()
        self.assertTrue(self.raised)
        running.set(None)
        with unbroken() as whole:
            self.assertFalse(whole.interrupted)

    def raises(self, function):
        try:
            function()
        except Cancelled:
            self.raised = True

    raised = False

    def test_signals_at_random(self):
        """Signals at any moment: what is to be whole is whole, and each task ends at most once."""
        before = signal.signal(signal.SIGALRM, lambda *_: self.interrupter.interrupt('cancelled'))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)   # first of all
        rand = random.Random(1)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        hammer(self, self.interrupter, rand, tasks=1500)


class Elsewhere(GripCase):
    """The interruption of a task in another thread."""

    def test_end_is_interrupted(self):
        """What hits one before it has begun to let go leaves it with no task and no limit."""
        class Hit(ThreadInterrupter):
            ends = 0

            def end(self):
                self.ends += 1
                if self.ends == 1:
                    raise TaskTimeout('f', 'grip', 'id', 'late')
                super().end()
        interrupter = Hit(lambda moment: None)
        self.broker.tasks['f'] = lambda: 1
        self.broker.defaults['f'] = Policy(timeout=50.0)
        body = self.broker.codec.encode_call('id', 'n' * 12, b'f', (), {}, repr)
        outcome = run(self.broker, DELIVERY._replace(body=body), interrupter)
        self.assertEqual(outcome.word, 'failure')
        self.assertEqual((interrupter.task, interrupter.due), (None, None))

    def test_at_random(self):
        """Exceptions at any moment, from another thread: the same must hold."""
        self.check(ThreadInterrupter(lambda due: None))

    def check(self, interrupter):
        over = threading.Event()

        def interrupt():
            rand = random.Random(2)
            while not over.wait(rand.random() * 0.001):
                task = interrupter.task
                if task is not None:
                    interrupter.stop('cancelled', task.token.encode())
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            hammer(self, interrupter, random.Random(3), tasks=1500)
        finally:
            over.set()
            thread.join()

    def test_taken_back(self):
        """An exception that has not arrived at the end of the task never does."""
        interrupter = ThreadInterrupter(lambda due: None)
        for n in range(200):
            task = self.task(n)
            interrupter.begin(task, None, None)
            lock = threading.Lock()
            lock.acquire()
            stopper = threading.Thread(
                target=lambda task=task: interrupter.stop('cancelled', task.token.encode()))
            arrived = False
            try:
                stopper.start()
                stopper.join()
            except Cancelled:
                arrived = True
            try:
                interrupter.end()
            except Cancelled:
                self.assertFalse(arrived)
            for _ in range(100):
                len([])
            stopper.join()

    def test_wrong_task(self):
        """Only the delivery that is meant is interrupted."""
        interrupter = ThreadInterrupter(lambda due: None)
        task = self.task(7)
        interrupter.begin(task, None, None)
        self.assertFalse(interrupter.stop('cancelled', b'n' * 12 + b'8'))
        self.assertFalse(interrupter.stop('timeout'))    # it has no limit
        interrupter.end()
        self.assertFalse(interrupter.stop('cancelled', task.token.encode()))

    def test_wait_is_ended(self):
        """A task that waits in a thread is woken, if what it waits in can be."""
        interrupter = ThreadInterrupter(lambda due: None)
        go = threading.Event()
        raised = []

        def work():
            task = self.task()
            interrupter.begin(task, None, None)
            try:
                with unbroken(go.set):
                    go.wait(60)
            except Cancelled:
                raised.append(True)
            finally:
                interrupter.end()
        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: bool(interrupter.task and interrupter._wakes))
        self.assertTrue(interrupter.stop('cancelled', interrupter.task.token.encode()))
        thread.join(30)
        self.assertEqual(raised, [True])


def hammer(case, interrupter, rand, tasks):
    """Run tasks that count two things which must be equal, while they are interrupted.

    What is raised must come between begin and end, at most once in each, and often enough
    for this to be a test.
    """
    first = second = hits = 0
    for n in range(tasks):
        task = case.task(n)
        count = rand.randrange(200)
        raised = 0
        try:
            try:
                interrupter.begin(task, None, None)
                for _ in range(count):
                    with unbroken():
                        first += 1
                        sum(range(20))
                        second += 1
            finally:
                interrupter.end()
        except Cancelled:
            raised += 1
        case.assertEqual(first, second)
        case.assertLessEqual(raised, 1)
        hits += raised
        sum(range(200))    # what an exception that comes late would hit
    case.assertGreater(hits, tasks / 100)


if __name__ == '__main__':
    unittest.main()
