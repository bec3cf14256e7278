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
from worq.pool.interrupt import Grip
from worq.pool.run import run
from worq.pool.thread.interrupt import ThreadGrip
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
    """A grip on a task in the same thread."""

    def setUp(self):
        super().setUp()
        self.grip = Grip()

    def test_once(self):
        """The exception is raised once in a task, and not when none runs."""
        self.grip.interrupt('cancelled')
        for n in range(3):
            task = self.task(n)
            self.grip.begin(task, None, None)
            with self.assertRaises(Cancelled):
                self.grip.interrupt('cancelled')
            self.assertTrue(task.cancelled)
            self.grip.interrupt('timeout')
            self.grip.end()
            self.grip.interrupt('cancelled')

    def test_limit(self):
        """A limit sets the deadline, and is in the text."""
        task = self.task()
        self.grip.begin(task, 2.5, None)
        self.assertAlmostEqual(task.deadline - time.monotonic(), 2.5, delta=1)
        with self.assertRaisesRegex(TaskTimeout, '2.5 seconds'):
            self.grip.interrupt('timeout')

    def test_put_off(self):
        """Within what is to be done whole nothing is raised; at the end of the outermost it is."""
        self.grip.begin(self.task(), None, None)
        done, woken = [], []
        with self.assertRaises(Cancelled):
            with unbroken(lambda: woken.append('outer')) as outer:
                with unbroken(lambda: woken.append('inner')):
                    with unbroken():
                        self.grip.interrupt('cancelled')
                        self.grip.wake()()
                    done.append('inner')
                self.assertTrue(outer.interrupted)
                done.append('outer')
            done.append('after')
        self.assertEqual((done, woken), (['inner', 'outer'], ['inner']))
        with unbroken() as whole:     # the next one has nothing to do with it
            self.assertFalse(whole.interrupted)

    def test_not_for_others(self):
        """It does nothing in other threads, and where no task runs."""
        self.grip.begin(self.task(), None, None)
        context = contextvars.copy_context()

        def elsewhere():
            with unbroken():
                self.grip.interrupt('cancelled')
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
        before = signal.signal(signal.SIGALRM, lambda *_: self.grip.interrupt('cancelled'))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)   # first of all
        rand = random.Random(1)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        hammer(self, self.grip, rand, tasks=1500)


class Elsewhere(GripCase):
    """A grip on a task in another thread."""

    def test_end_is_interrupted(self):
        """What hits a grip before it has begun to let go leaves it with no task and no limit."""
        class Hit(ThreadGrip):
            ends = 0

            def end(self):
                self.ends += 1
                if self.ends == 1:
                    raise TaskTimeout('f', 'grip', 'id', 'late')
                super().end()
        grip = Hit(lambda moment: None)
        self.broker.tasks['f'] = lambda: 1
        self.broker.defaults['f'] = Policy(timeout=50.0)
        body = self.broker.codec.encode_call('id', 'n' * 12, b'f', (), {}, repr)
        outcome = run(self.broker, DELIVERY._replace(body=body), grip)
        self.assertEqual(outcome.word, 'failure')
        self.assertEqual((grip.task, grip.due), (None, None))

    def test_at_random(self):
        """Exceptions at any moment, from another thread: the same must hold."""
        self.check(ThreadGrip(lambda due: None))

    def check(self, grip):
        over = threading.Event()

        def interrupt():
            rand = random.Random(2)
            while not over.wait(rand.random() * 0.001):
                task = grip.task
                if task is not None:
                    grip.stop('cancelled', task.token.encode())
        thread = threading.Thread(target=interrupt)
        thread.start()
        try:
            hammer(self, grip, random.Random(3), tasks=1500)
        finally:
            over.set()
            thread.join()

    def test_taken_back(self):
        """An exception that has not arrived at the end of the task never does."""
        grip = ThreadGrip(lambda due: None)
        for n in range(200):
            task = self.task(n)
            grip.begin(task, None, None)
            lock = threading.Lock()
            lock.acquire()
            stopper = threading.Thread(
                target=lambda task=task: grip.stop('cancelled', task.token.encode()))
            arrived = False
            try:
                stopper.start()
                stopper.join()
            except Cancelled:
                arrived = True
            try:
                grip.end()
            except Cancelled:
                self.assertFalse(arrived)
            for _ in range(100):
                len([])
            stopper.join()

    def test_wrong_task(self):
        """Only the delivery that is meant is interrupted."""
        grip = ThreadGrip(lambda due: None)
        task = self.task(7)
        grip.begin(task, None, None)
        self.assertFalse(grip.stop('cancelled', b'n' * 12 + b'8'))
        self.assertFalse(grip.stop('timeout'))    # it has no limit
        grip.end()
        self.assertFalse(grip.stop('cancelled', task.token.encode()))

    def test_wait_is_ended(self):
        """A task that waits in a thread is woken, if what it waits in can be."""
        grip = ThreadGrip(lambda due: None)
        go = threading.Event()
        raised = []

        def work():
            task = self.task()
            grip.begin(task, None, None)
            try:
                with unbroken(go.set):
                    go.wait(60)
            except Cancelled:
                raised.append(True)
            finally:
                grip.end()
        thread = threading.Thread(target=work)
        thread.start()
        eventually(lambda: bool(grip.task and grip._wakes))
        self.assertTrue(grip.stop('cancelled', grip.task.token.encode()))
        thread.join(30)
        self.assertEqual(raised, [True])


def hammer(case, grip, rand, tasks):
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
                grip.begin(task, None, None)
                for _ in range(count):
                    with unbroken():
                        first += 1
                        sum(range(20))
                        second += 1
            finally:
                grip.end()
        except Cancelled:
            raised += 1
        case.assertEqual(first, second)
        case.assertLessEqual(raised, 1)
        hits += raised
        sum(range(200))    # what an exception that comes late would hit
    case.assertGreater(hits, tasks / 100)


if __name__ == '__main__':
    unittest.main()
