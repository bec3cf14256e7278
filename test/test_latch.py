"""A latch: what one thread waits for, and others set."""
from __future__ import annotations

import threading
import unittest

from worq.latch import Latch


class LatchTest(unittest.TestCase):

    def test_set_before(self):
        """What is set before the wait, however often, ends that one and no other."""
        latch = Latch()
        self.assertFalse(latch.wait(0))
        latch.set()
        latch.set()
        self.assertTrue(latch.wait())
        self.assertFalse(latch.wait(0.001))

    def test_clear(self):
        """What is cleared is not set, whether it was or not; and it can be set again."""
        latch = Latch()
        latch.clear()
        latch.set()
        latch.clear()
        self.assertFalse(latch.wait(0))
        latch.set()
        self.assertTrue(latch.wait(0))

    def test_two_threads(self):
        """Two threads wake each other, again and again, and no signal is lost."""
        here, there = Latch(), Latch()
        rounds = 2000

        def answer():
            for _ in range(rounds):
                if not there.wait(30):
                    return
                here.set()
        thread = threading.Thread(target=answer)
        thread.start()
        answered = 0
        for _ in range(rounds):
            there.set()
            answered += here.wait(30)
        thread.join()
        self.assertEqual(answered, rounds)

    def test_longest(self):
        """A wait may be longer than a lock can wait for."""
        latch = Latch()
        latch.set()
        self.assertTrue(latch.wait(1e12))
