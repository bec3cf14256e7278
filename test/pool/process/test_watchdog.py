"""Children that do not begin what they were sent, and those that only seem not to."""
from __future__ import annotations

import logging
import os
import signal
import time
import unittest
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin
from test.pool import halts as pool_halts
from test.pool.contract import WAIT
from test.pool.process.test_pool import Processes
from test.pool.tasks import lines
from test.pool.test_desk import Childless
from test.support import eventually
from worq import Task, TaskExpired
from worq.pool.children import watchdog
from worq.pool.children.frames import HEAD, MOST, pack
from worq.queue.base import Delivery

__all__ = ['FrozenOnMemory', 'FrozenOnRedis', 'WatchTest']


class Frozen(Processes):
    """Children freeze, and the pool goes on."""

    def setUp(self):
        super().setUp()
        logging.disable(logging.NOTSET)
        for name, seconds in [('children.watchdog.FROZEN', 0.6), ('children.watchdog.EVERY', 0.1),
                              ('base.BEAT', 0.1)]:
            self.enterContext(mock.patch(f'worq.pool.{name}', seconds))
        self.logs = self.enterContext(self.assertLogs('worq', logging.WARNING))

    def pool(self, workers=1, **options):
        return super().pool(workers, init=pool_halts.init, **options)

    def told(self):
        """What the log has of frozen children."""
        return [line for line in self.logs.output if 'it is killed' in line]

    def goes_on(self):
        """Calls have their results, and that costs none of them a delivery."""
        call = Task(self.q.same, max_deliveries=1)
        self.assertEqual([d.result(WAIT) for d in [call(n) for n in range(5)]], list(range(5)))
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_a_thread_keeps_the_gil(self):
        """A thread that a task has left behind keeps its child from beginning anything: the child
        is replaced, and the log has the task and where the thread is."""
        pool = self.start()
        left = self.q.leave_a_thread(self.path('begun'), self.path('go'))
        left.result(WAIT)
        self.open('go')
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        self.goes_on()
        self.assertNotIn(lines(self.path('begun'))[0], pool.pids)
        line, = self.told()
        self.assertIn(f'which ran leave_a_thread [{left.id}] last, has begun nothing', line)
        self.assertIn('in keep_the_gil', line)

    def test_stopped_while_idle(self):
        """So is a child that was stopped while it had nothing to do; and the log says that."""
        pool = self.start()
        self.q.same(1).result(WAIT)
        os.kill(pool.pids[0], signal.SIGSTOP)
        self.goes_on()
        self.assertIn('has been stopped by a signal', self.told()[0])

    def test_stopped_amid_a_task(self):
        """A task whose child is stopped is lost with it, and runs again."""
        self.start()
        held = self.held(value='done')
        os.kill(lines(self.path('begun'))[0], signal.SIGSTOP)
        eventually(lambda: len(lines(self.path('begun'))), 2, timeout=WAIT)
        self.open('go')
        self.assertEqual(held.result(WAIT), 'done')
        self.assertEqual(self.broker.backend.stats()['redelivered'], 1)
        self.assertIn(f'running hold [{held.id}], has been stopped', self.told()[0])

    def test_a_task_keeps_the_gil(self):
        """A task may keep the GIL for as long as it likes. What its child has not begun goes
        back, and stays there while no other child has room."""
        self.take_many()
        pool = self.start()
        keeps = self.q.keep_it(self.path('begun'), 1.5)
        behind = [self.q.same(n) for n in range(3)]
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        eventually(lambda: self.broker.backend.stats()['enqueued'], 3, timeout=1)
        worker, = pool._manager.workers
        sent = worker.number
        self.assertEqual(keeps.result(WAIT), 'kept')
        self.assertEqual([d.result(WAIT) for d in behind], [0, 1, 2])
        self.assertLess(worker.number, sent + 8)   # they were not sent to and fro meanwhile
        self.assertEqual((self.told(), pool.pids), ([], lines(self.path('begun'))))
        logging.getLogger('worq').warning('nothing')   # assertLogs wants something


    def test_page_is_reset(self):
        """A task that resets the page before it dies counts as others that die, and pays alone."""
        self.start()
        others = []
        for slots in 0, 3:    # all; what a child has to write
            path = self.path(f'runs {slots}')
            task = Task(self.q.forget, max_deliveries=1)(path, slots)
            others += [Task(self.q.same, max_deliveries=1)(n) for n in range(20)]
            self.assertIsInstance(task.exception(WAIT), TaskExpired)
            self.assertIn('exit status 3', task.exception(WAIT).error)
            self.assertLessEqual(len(lines(path)), 3)
        self.assertEqual([d.result(WAIT) for d in others], [*range(20)] * 2)

    def test_page_is_reset_and_it_goes_on(self):
        """So does one that does not die."""
        self.start()
        task = Task(self.q.forget, max_deliveries=1)(self.path('runs'), 0, WAIT)
        self.assertIn('SIGKILL', task.exception(WAIT).error)
        self.assertIn('has overwritten the page', self.told()[0])

    def test_garbage(self):
        """What a child writes that makes no sense is told of once, and how much it was."""
        self.start()
        call = self.q.babble(self.path('runs'), b'\xff' * 100_000)   # more than a pipe holds
        self.assertEqual(call.result(WAIT), 'well')
        line, = [line for line in self.logs.output if 'nonsense' in line]
        self.assertRegex(line, r'since it wrote \d{4,6} bytes of nonsense, a frame of')


class FrozenOnMemory(MemoryMixin, Frozen):
    """With the queue in memory."""


class FrozenOnRedis(RedisMixin, Frozen):
    """With Redis, which has little part in it."""

    test_a_task_keeps_the_gil = test_stopped_amid_a_task = test_stopped_while_idle = None
    test_page_is_reset = test_page_is_reset_and_it_goes_on = test_garbage = None


class WatchTest(unittest.TestCase):
    """What is frozen and what is not, by a child that the test is."""

    def setUp(self):
        self.worker = Childless(b'', watchdog.Watchdog())
        self.worker.ready = True
        self.worker.begun = lambda: None
        self.worker.kill = mock.Mock()
        self.page = self.worker.theirs
        self.addCleanup(self.worker.page.close)
        self.addCleanup(self.page.close)
        self.now = time.monotonic()

    def send(self, *bodies):
        self.worker.send([Delivery(f'id {n}', b'token %d' % n, 1, b'f', body)
                          for n, body in enumerate(bodies)])

    def killed(self, seconds, step=1.0):
        """Look each second, for as long; whether the child is killed."""
        end = self.now + seconds
        while self.now < end and not self.worker.kill.called:
            self.now += step
            self.worker.watch.look(self.worker, self.now, 'the pool')
        return self.worker.kill.called

    def is_killed(self, seconds, text):
        with self.assertLogs('worq', logging.ERROR) as logs:
            self.assertTrue(self.killed(seconds))
        self.assertIn(text, logs.output[0])

    def test_idle(self):
        """A child that has nothing to do may be still, and has its time when it gets something."""
        self.assertFalse(self.killed(100))
        self.worker.active = self.now + 0.9   # just before the next look
        self.send(b'')
        self.worker.active = self.now + 0.9
        self.assertFalse(self.killed(5))
        self.is_killed(3, 'which has run no task yet, has begun nothing')

    def test_begins_nothing(self):
        """What it has not begun goes back before it is killed, and is not lost with it if it
        begins it all the same."""
        self.send(b'')
        self.is_killed(8, 'has begun nothing')
        self.assertTrue(self.worker.revoked and self.worker.disowned and self.worker.blocked)

    def test_runs_a_task(self):
        """One that runs a task is not frozen, however many wait behind it."""
        self.send(b'', b'', b'')
        self.page.begin(1)
        self.assertFalse(self.killed(1000))

    def test_does_not_tell(self):
        """One that has ended a task and does not tell what it came to is, and the task
        pays for it."""
        self.send(b'', b'')
        self.page.begin(1)
        self.page.end(1)
        self.is_killed(8, 'running f [id 0], has not told')
        self.assertFalse(self.worker.disowned)

    def test_is_about_to_begin(self):
        """So is one that is for ever about to begin."""
        self.send(b'')
        self.page._numbers[self.page._INTENT] = 1
        self.is_killed(8, 'has begun nothing')

    def test_goes_on(self):
        """Any sign of life gives it its time anew."""
        self.send(*[b''] * 9)
        for number in range(1, 9):
            self.assertFalse(self.killed(4))
            self.page.begin(number)
            self.page.end(number)
        self.is_killed(8, 'has not told')

    def test_we_were_away(self):
        """When the manager, or the machine, was stopped itself, its children have their time
        anew."""
        self.send(b'')
        self.assertFalse(self.killed(100, step=watchdog.AWAY + 0.1))
        self.assertFalse(self.killed(4))
        self.is_killed(4, 'has begun nothing')

    def test_long_arguments(self):
        """What is long takes its time to read."""
        self.send(b'')
        self.worker.behind = lambda: 20 * watchdog.RATE
        self.assertFalse(self.killed(20))
        self.is_killed(8, 'has begun nothing')

    def test_stopped_while_it_begins(self):
        """A child that takes long to begin is not frozen, but it is if a signal has stopped it."""
        self.worker.ready = False
        self.assertFalse(self.killed(20))
        with mock.patch.object(watchdog, 'is_stopped', return_value=True):
            self.is_killed(8, 'which has run no task yet, has been stopped')

    def test_half_a_frame(self):
        """What begins as a frame and does not end costs the child its life, and keeps no memory;
        a long one has its time, and so have many."""
        self.send(b'')
        self.page.begin(1)
        frame, feed = pack([b'x' * 1000]), self.worker.reader.feed
        for n in range(20):
            self.assertEqual(list(feed(frame[500 if n else 0:])), [[b'x' * 1000]])
            self.assertEqual(list(feed(frame[:500])), [])
            self.assertFalse(self.killed(1))
        self.is_killed(7, 'has written 500 bytes of something that does not end')

    def test_a_frame_that_grows(self):
        """So does a frame that grows for ever, but slowly."""
        list(self.worker.reader.feed(HEAD.pack(MOST, 1)))
        for _ in range(100):
            self.assertEqual(list(self.worker.reader.feed(b'x')), [])
            if self.killed(1):
                break
        self.assertTrue(self.worker.kill.called)

    def test_overwritten(self):
        """A child that has overwritten the page is killed, and what it ran is found out."""
        self.send(b'')
        for slot in range(8):
            self.page._numbers[slot] = 0
        self.is_killed(3, 'has overwritten the page')
        self.assertFalse(self.worker.disowned or self.worker.revoked)

    def test_heads(self):
        """Whom the page does not name pays if he is alone, and the page was overwritten; else when
        he is the next one again."""
        heads = watchdog.Heads()
        self.send(b'')
        self.assertIsNone(heads.blamed(self.worker))
        self.assertEqual(heads.blamed(self.worker).id, 'id 0')
        self.send(b'')
        self.assertEqual(heads.blamed(self.worker).id, 'id 0')
        heads = watchdog.Heads()
        self.page._numbers[self.page._SEAL] = 0
        self.assertEqual([heads.blamed(self.worker) for _ in range(2)], [None] * 2)
        self.worker.sent.pop()
        self.assertEqual(watchdog.Heads().blamed(self.worker).id, 'id 0')

    def test_just_about_to_begin(self):
        """Who dies just as it begins a task has begun it."""
        self.send(b'', b'')
        self.assertIsNone(self.worker.blamed())
        self.page._numbers[self.page._INTENT] = 1
        self.assertEqual(self.worker.blamed().id, 'id 0')
        self.page.begin(1)
        self.assertEqual(self.worker.blamed().id, 'id 0')

    def test_all_was_taken_back(self):
        """A child that all was taken back from, and that has not noticed, is frozen too."""
        self.send(b'', b'')
        self.worker.revoke(self.now)
        self.assertEqual(len(self.worker.recover(self.now + 1)), 2)
        self.assertTrue(self.worker.blocked)   # or it would get them again, as often as they fit
        self.is_killed(8, 'has begun nothing')


if __name__ == '__main__':
    unittest.main()
