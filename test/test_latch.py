"""A latch: what one thread waits for, and others set."""
from __future__ import annotations

import subprocess
import sys
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


class ThreadTest(unittest.TestCase):

    def test_joined_at_the_end(self):
        """What is collected as the interpreter ends does not wait for a daemon."""
        code = """if True:
            import threading
            from worq.latch import JoinableThread
            class Owner:
                def __init__(self):
                    self.thread = JoinableThread(target=threading.Event().wait, daemon=True)
                    self.thread.start()
                def __del__(self):
                    self.thread.join()
            owner = Owner()
            """
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, timeout=30)
        self.assertEqual((done.returncode, done.stderr), (0, b''))
