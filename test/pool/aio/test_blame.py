"""Who blocks an event loop is named; and when a child dies, nobody pays for another."""
from __future__ import annotations

import logging
import os
import random
import re
import signal
import time
import unittest
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin, SqliteMixin
from test.pool.aio import tasks as aio_tasks
from test.pool.aio.test_pool import Loops
from test.pool.contract import WAIT
from test.pool.tasks import lines
from test.support import eventually
from worq import Task, TaskCancelled, TaskExpired, TaskTimeout, wait
from worq.pool.aio.suspects import ALONE, CHARGED, LAST, Suspects
from worq.pool.aio.watchdog import culprits_line
from worq.queue.records import Delivery

__all__ = ['Blocks', 'DeathsOnMemory', 'FaultsOnMemory', 'FaultsOnRedis', 'FaultsOnSqlite',
           'SuspectsAlone', 'Lines']


class Blamed(Loops):

    def pool(self, workers=1, init=aio_tasks.init, more=(), concurrency=200, **options):
        return super().pool(workers, init, more, concurrency, **options)

    def innocents(self, count=10):
        """Calls that have begun, and tell which delivery it is once 'go' is there."""
        calls = [self.q.loop.count_deliveries(self.path('innocent'), self.path('go'))
                 for _ in range(count)]
        eventually(lambda: len(lines(self.path('innocent'))), count, timeout=WAIT)
        return calls

    def acquitted(self, calls):
        """These have their values, of the first delivery that counts."""
        self.open('go')
        self.assertEqual([call.result(WAIT) for call in calls], [1] * len(calls))


class Blocks(MemoryMixin, Blamed):
    """A loop that is blocked."""

    def setUp(self):
        super().setUp()
        logging.disable(logging.NOTSET)
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.1))
        self.logs = self.enterContext(self.assertLogs('worq.pool.aio', logging.INFO))

    def test_named(self):
        """It is named who blocks, and where, in the log, by explain() and by pools(); and when the
        loop goes on, that is over."""
        self.start()
        innocents = self.innocents(3)
        culprit = self.q.loop.block(self.path('begun'), self.path('on'))

        def blocked():
            return [pool.blocked for pool in self.broker.pools()]
        pattern = (rf'the event loop of worker \d+ is blocked for \d\.\d s by loop\.block '
                   rf'\[{culprit.id}\], at tasks.py:\d+ in block')
        eventually(lambda: bool(re.search(pattern, blocked()[0])), timeout=WAIT)
        self.assertRegex(innocents[0].explain(), rf'In that pool {pattern}\.')
        self.assertRegex('\n'.join(self.logs.output), rf'WARNING:.*{pattern}; 3 others wait for it')
        self.assertEqual(innocents[0].status, 'processing')   # its lease is renewed
        self.open('on')
        self.assertEqual(culprit.result(WAIT), 'blocked')
        eventually(blocked, [''], timeout=WAIT)
        self.acquitted(innocents)
        self.assertRegex('\n'.join(self.logs.output), r'INFO:.* goes on, after \d+\.\d seconds')

    def test_killed_for_it(self):
        """Beyond the limit its child is killed, also if it lets nothing else run at all. It pays,
        and the others run again, uncounted."""
        self.start(block_limit=1.5)
        innocents = self.innocents()
        culprit = Task(self.q.loop.block_in_c, max_deliveries=1)(self.path('begun'))
        failure = culprit.exception(WAIT)
        self.assertIsInstance(failure, TaskExpired)
        self.assertRegex(failure.error,
                         r'it blocked the event loop for \d+ s, at tasks.py:\d+ in block_in_c')
        self.acquitted(innocents)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_nobody_is_known(self):
        """A callback that blocks is no task's step. Nobody is charged with it."""
        self.start(block_limit=1.5)
        innocents = self.innocents(3)
        self.q.loop.block_later(self.path('begun'), WAIT).result(WAIT)
        eventually(lambda: len(lines(self.path('innocent'))), 6, timeout=WAIT)
        self.acquitted(innocents)
        self.assertRegex('\n'.join(self.logs.output), r'blocked for \d\.\d s by something that no')

    def test_tasks_of_a_task(self):
        """What a task has started blocks in its name."""
        self.start(block_limit=1.5)
        culprit = Task(self.q.loop.block_in_group, max_deliveries=1)(
            self.path('begun'), self.path('seen'))
        self.assertIn('in spin', culprit.exception(WAIT).error)


class DeathsOnMemory(MemoryMixin, Blamed):
    """A child dies with many running."""

    def test_of_a_step(self):
        """Whose code ran is found out alone, pays for it, and the others go on together."""
        self.start()
        innocents = self.innocents()
        killer = self.q.loop.kill(self.path('kills'))
        self.assertIsInstance(killer.exception(WAIT), TaskExpired)
        self.assertIn('SIGKILL', killer.exception().error)
        self.assertEqual(len(lines(self.path('kills'))), 4)   # the first does not count
        self.assertEqual(len(set(lines(self.path('kills')))), 4)
        self.assertEqual(len(lines(self.path('innocent'))), 20)
        self.acquitted(innocents)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 2)

    def test_of_a_call_in_a_thread(self):
        """If threads ran, it may have been anybody: all run alone, and one is guilty."""
        self.start(2)
        innocents = [self.q.loop.nap(1.0, n) for n in range(5)]
        eventually(lambda: self.broker.backend.stats()['enqueued'], 0, timeout=WAIT)
        killer = self.q.loop.kill_in_a_call(self.path('kills'))
        self.assertIsInstance(killer.exception(WAIT), TaskExpired)
        self.assertEqual([d.result(WAIT) for d in innocents], list(range(5)))

    def test_of_a_thread_that_nobody_knows(self):
        """One that leaves no sign at all is found out in the end."""
        self.start()
        innocents = [self.q.loop.nap(0.3, n) for n in range(5)]
        killer = Task(self.q.loop.kill_by_thread, max_deliveries=1)(self.path('kills'))
        self.assertIn('status 3', killer.exception(WAIT).error)
        self.assertEqual([d.result(WAIT) for d in innocents], list(range(5)))

    def test_from_outside(self):
        """A child that is killed from outside costs nobody a delivery, however often; and those who
        go on take new ones beside the suspects."""
        pool = self.start()
        innocents = self.innocents()
        for n in range(2, 4):
            os.kill(self.q.loop.pid().result(WAIT), signal.SIGKILL)
            if n == 2:
                eventually(lambda: len(lines(self.path('innocent'))), 20, timeout=WAIT)
        eventually(lambda: len(lines(self.path('innocent'))), 21, timeout=WAIT)   # one alone
        self.assertEqual(self.q.loop.same(1).result(WAIT), 1)
        self.assertEqual(len(pool.pids), 2)
        self.acquitted(innocents)
        eventually(lambda: len(pool.pids), 1, timeout=WAIT)

    def test_taken_back(self):
        """What has not begun since the loop is blocked goes to another child at once."""
        self.start(2, concurrency=2)
        culprit = self.q.loop.block(self.path('begun'), self.path('on'))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        values = [self.q.loop.same(n).result(WAIT) for n in range(20)]
        self.assertEqual(values, list(range(20)))
        self.assertEqual(culprit.status, 'processing')
        self.open('on')
        culprit.result(WAIT)


class Faults(Blamed):
    """Kills, blocks and cancels among hundreds."""

    number = 500

    def test_faults(self):
        """Nothing is lost, nothing has two results, and no innocent one expires."""
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.1))
        pool = self.start(2, concurrency=250, block_limit=1.5)
        rand = random.Random(7)
        loop = self.q.loop
        naps = [loop.nap(rand.uniform(0.5, 4), n) for n in range(self.number)]
        # on a busy machine the first have ended by then
        eventually(lambda: self.broker.backend.stats()['enqueued'], 0, timeout=WAIT)
        doomed = rand.sample(range(self.number), self.number // 10)
        killer = loop.kill(self.path('kills'))
        blocker = Task(loop.block_in_c, max_deliveries=1)(self.path('blocks'))
        late = Task(loop.nap, timeout=0.5)(WAIT, 'late')
        for n in doomed:
            naps[n].cancel()
        for _ in range(3):
            time.sleep(rand.uniform(0.3, 0.6))
            pids = pool.pids
            if pids:
                os.kill(rand.choice(pids), signal.SIGKILL)
        wait([*naps, killer, blocker, late], 4 * WAIT)
        for n, nap in enumerate(naps):
            failure = nap.exception(0)
            if failure is not None:
                self.assertIn(n, doomed, failure)
                self.assertIsInstance(failure, TaskCancelled)
            else:
                self.assertEqual(nap.value, n)
        self.assertIsInstance(killer.exception(0), TaskExpired)
        self.assertIsInstance(blocker.exception(0), TaskExpired)
        self.assertIsInstance(late.exception(0), TaskTimeout)
        stats = self.broker.backend.stats()
        self.assertEqual(stats['succeeded'], sum(nap.exception(0) is None for nap in naps))
        self.assertEqual(stats['expired'], 2)


class FaultsOnMemory(MemoryMixin, Faults):
    pass


class FaultsOnRedis(RedisMixin, Faults):
    number = 200


class FaultsOnSqlite(SqliteMixin, Faults):
    number = 100


def delivery(n, number=1):
    return Delivery(f'id {n}', b'n' * 12 + b'%d' % number, number, b'f', b'')


class SuspectsAlone(unittest.TestCase):
    """Who is to run alone, and who is charged."""

    def setUp(self):
        self.suspects = Suspects()
        self.all = [delivery(n) for n in range(4)]

    def alone(self):
        return [self.suspects.alone(one) for one in self.all]

    def test_step(self):
        """Whose step it was is alone, then charged."""
        self.assertIsNone(self.suspects.died(self.all, self.all[2], False))
        self.assertEqual(self.alone(), [False, False, True, False])
        self.assertIs(self.suspects.died([self.all[2]], self.all[2], False), self.all[2])

    def test_threads(self):
        """If something ran in threads, all are."""
        self.assertIsNone(self.suspects.died(self.all, self.all[2], True))
        self.assertEqual(self.alone(), [True] * 4)
        for n in 0, 1:
            self.suspects.ended(self.all[n])
        self.assertEqual(self.alone(), [False, False, True, True])
        self.assertIs(self.suspects.died([self.all[3]], None, True), self.all[3])

    def test_no_sign(self):
        """If there is no sign, they are the second time; and one that is alone is charged only
        when that has happened often enough."""
        self.suspects.died(self.all, None, False)
        self.assertEqual(self.alone(), [False] * 4)
        self.suspects.died(self.all, None, False)
        self.assertEqual(self.alone(), [True] * 4)
        charged = [self.suspects.died(self.all[:1], None, False) for _ in range(CHARGED - ALONE)]
        self.assertEqual(charged, [None, self.all[0]])

    def test_last_delivery(self):
        """The last delivery that most tasks have is alone, and another life is another one."""
        self.assertTrue(self.suspects.alone(delivery(9, LAST)))
        self.suspects.died(self.all, self.all[2], False)
        self.assertFalse(self.suspects.alone(self.all[2]._replace(token=b'm' * 12 + b'1')))
        self.assertTrue(self.suspects.alone(self.all[2]._replace(token=b'n' * 12 + b'2')))


STACK = '''Thread 0x00007f (most recent call first):
  File "/usr/lib/python3/threading.py", line 331 in wait
  File "/x/worq/pool/aio/child.py", line 9 in watch

Current thread 0x00007e (most recent call first):
  File "{library}/re/__init__.py", line 166 in match
  File "/srv/render.py", line 88 in render
  File "/x/worq/pool/aio/steps.py", line 40 in send
  File "{library}/asyncio/events.py", line 80 in _run
  File "/x/worq/pool/aio/child.py", line 70 in live
'''


class Lines(unittest.TestCase):

    def test_line(self):
        """The line that is named is the innermost of the program's own, in the loop's thread."""
        text = STACK.format(library=os.path.dirname(os.__file__))
        self.assertEqual(culprits_line(text), 'render.py:88 in render')
        self.assertEqual(culprits_line(text.replace('/srv/render.py', os.__file__)),
                         '__init__.py:166 in match')
        self.assertEqual(culprits_line(''), '')
        self.assertEqual(culprits_line(text.partition('Current')[0]), '')


if __name__ == '__main__':
    unittest.main()
