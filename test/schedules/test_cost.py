"""What many schedules cost many pools, counted."""
from __future__ import annotations

import unittest

from bench.schedules import LOOKS, measure

from test import support

POOLS, SCHEDULES = 8, 150


class Cost(unittest.TestCase):

    def test_many(self):
        """Idle pools compare a number; and at one moment few try what another has done."""
        support.find_binary()
        cost = measure(POOLS, SCHEDULES)
        read, idle, due = cost.values()
        self.assertEqual(read.calls, {'notes': POOLS * (1 + 2 + 1)})   # the number, two pages, none
        self.assertEqual(idle.calls, {'notes': POOLS * LOOKS})
        self.assertLess((idle.received + idle.sent) / (POOLS * LOOKS), 500)
        self.assertEqual(due.calls['put'] - due.refused, SCHEDULES)
        self.assertLess(due.refused, SCHEDULES)   # of as many as all had tried: 1,050
        self.assertLess(due.calls['notes'], POOLS * 30)
