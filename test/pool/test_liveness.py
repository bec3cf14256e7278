"""When a pool is declared dead: its tasks run again at once, so it must be certain."""
from __future__ import annotations

import os
import unittest

from worq.pool.base import cause_of_death, describe

NOBODY = '999999999'   # more than any system gives


class CauseOfDeath(unittest.TestCase):

    def setUp(self):
        self.ours = describe()

    def cause(self, **told):
        """What is concluded about a pool that told the same as we would, but for this."""
        return cause_of_death({**self.ours, **told}, self.ours)

    def test_dead(self):
        """Dead is a process of this place that is not there, or is another one by now."""
        self.assertEqual(self.cause(pid=NOBODY), f'process {NOBODY} of its pool is gone')
        self.assertEqual(self.cause(started='1'), f'process {os.getpid()} of its pool is gone')

    def test_alive(self):
        """A process that is there is alive, also if nobody knows when it was started."""
        self.assertEqual(self.cause(), '')
        self.assertEqual(self.cause(started=''), '')

    def test_elsewhere(self):
        """Nothing is known of another host, another boot of it, or another container of its name:
        that the number is nobody's here proves nothing."""
        boot, namespace = self.ours['boot'].split(' ')
        self.assertTrue(boot and namespace)
        for told in ({'host': 'another'}, {'boot': f'another {namespace}'},
                     {'boot': f'{boot} pid:[1]'}, {'boot': boot}, {'boot': ''}):
            self.assertEqual(self.cause(pid=NOBODY, **told), '', told)
            self.assertEqual(self.cause(started='1', **told), '', told)

    def test_nothing_told(self):
        """Nor of a pool that told nothing, or nonsense; nor by one that knows not where it is."""
        self.assertEqual(cause_of_death({}, self.ours), '')
        for pid in '', '0', '-1', 'x', '1' * 10, '\u0661':
            self.assertEqual(self.cause(pid=pid), '', pid)
        nowhere = {**self.ours, 'boot': ' '}
        self.assertEqual(cause_of_death({**nowhere, 'pid': NOBODY}, nowhere), '')
