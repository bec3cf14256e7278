"""Children that cannot begin: when another one is tried, and what is said of it, and where."""
from __future__ import annotations

import os
import unittest

from test.broker_case import MemoryMixin, RedisMixin
from test.pool.contract import WAIT
from test.pool.process.test_pool import Processes
from test.pool.tasks import Evil, init_meets_an_end, init_when
from test.support import eventually
from worq.pool.children.respawn import Respawn, one_line

__all__ = ['WhenAndWhat', 'BirthsOnMemory', 'BirthsOnRedis']


class WhenAndWhat(unittest.TestCase):
    """When a child is tried again that could not begin."""

    def test_pause(self):
        """It follows from how long none has begun, however many were killed since."""
        respawn = Respawn('a pool', 1000.0)
        for _ in range(10):   # ten were killed half a second after one had begun
            respawn.put_off(1000.5)
        self.assertLessEqual(respawn.again_at, 1000.75)
        respawn.put_off(1008)
        self.assertEqual(respawn.again_at, 1012)
        respawn.put_off(1100)
        self.assertEqual(respawn.again_at, 1110)
        respawn.put_off(1100, killed=True)   # not by its own doing
        self.assertEqual(respawn.again_at, 1101)

    def said(self, respawn, failures):
        """What is logged of failures, by the second."""
        with self.assertLogs('worq.pool.children.respawn', 'ERROR') as logs:
            for now, why in failures:
                before = len(logs.output)
                respawn.failed(now, why, 'Traceback ...\n')
                yield from ((now, line.partition(': ')[2]) for line in logs.output[before:])

    def test_said_at_growing_intervals(self):
        """Why none can begin is logged at once, the reason first, and then ever more seldom."""
        respawn = Respawn('a pool', 0.0)
        said = list(self.said(respawn, [(now, f'E: pid {now}') for now in range(1000)]))
        self.assertEqual([now for now, _ in said], [0, 10, 30, 70, 150, 310, 630])
        begin = 'a worker process could not begin, and another is tried'
        self.assertEqual(said[0][1], f'{begin}: E: pid 0\nTraceback ...')
        self.assertEqual(said[2][1], f'{begin} (20 times since the last line): E: pid 30\n'
                                     'Traceback ...')
        # what fails a day later is news again
        said = self.said(respawn, [(now, 'E: 1') for now in (90_000, 90_005, 90_010)])
        self.assertEqual([now for now, _ in said], [90_000, 90_010])

    def test_another_reason(self):
        """Another reason is news, but not more often than each second."""
        respawn = Respawn('a pool', 0.0)
        failures = [(0, 'A: 1'), (0.1, 'B: 1'), (0.9, 'B: 1'), (1.0, 'B: 2'), (2.5, 'B: 3'),
                    (2.6, 'A: 1'), (2.7, 'C: 1')]
        self.assertEqual([now for now, _ in self.said(respawn, failures)], [0, 1.0, 2.6])

    def test_one_line(self):
        """A reason is one line, whatever the error is: its text, then its notes, not for ever."""
        error = ValueError('two\nlines \x1b[31m')
        error.add_note('and a note')
        self.assertEqual(one_line(error), 'ValueError: two lines \\x1b[31m; and a note')
        self.assertEqual(len(one_line(KeyError('x' * 5000))), 303)
        self.assertEqual(one_line(Evil()), 'Evil:')


class BirthsInPools(Processes):
    """What a caller is told."""

    def test_none_can_begin(self):
        """As long as no child can begin explain() says so, and why; not once one has begun."""
        pool = self.start(2, init=init_when, more=(self.path('go'),))
        task = self.q.same(1)
        eventually(lambda: 'but none of its workers could begin: FileNotFoundError: '
                   f"[Errno 2] No such file or directory: '{self.path('go')}'" in task.explain(),
                   timeout=WAIT)
        self.open('go')
        self.assertEqual(task.result(WAIT), 1)
        eventually(lambda: [info.get('broken') for info in self.broker.backend.pools().values()],
                   [None], timeout=WAIT)
        os.unlink(self.path('go'))
        pool.reload()   # the new ones cannot begin, the old ones go on: that is no news for others
        eventually(lambda: pool._manager._respawn._failed_at > pool._manager._respawn.begun_at,
                   timeout=WAIT)
        self.assertEqual(self.q.same(2).result(WAIT), 2)
        self.assertNotIn('broken', pool._manager.desk.info)

    def test_init_ends_as_a_pipe_does(self):
        """What init_func raises is told, also an EOFError."""
        self.start(1, init=init_meets_an_end)
        task = self.q.same(1)
        eventually(lambda: 'could begin: EOFError: this file is cut off' in task.explain(),
                   timeout=WAIT)


class BirthsOnMemory(MemoryMixin, BirthsInPools):
    pass


class BirthsOnRedis(RedisMixin, BirthsInPools):
    pass
