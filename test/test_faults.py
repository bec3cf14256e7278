"""Faults of WorQ that the fault runs in bench/faults have found."""
from __future__ import annotations

import unittest

from bench.faults.proxy import Proxy
from test import leaks, support
from test.pool_tasks import init, tasks
from test.support import eventually
from worq import get_broker
from worq.pool import process, thread
from worq.pool.manager import Manager


class RespawnTest(unittest.TestCase):
    """When a child is tried again that could not begin."""

    def test_pause(self):
        """It follows from how long none has begun, however many were killed since."""
        with get_broker('memory://', support.unique()) as broker:
            manager = Manager(broker.backend, None, 1, None, 1.0, 'a pool')
            self.addCleanup(manager._end)
            begun = manager._begun_at
            for _ in range(10):   # ten were killed half a second after one had begun
                manager._put_off(begun + 0.5)
            self.assertLessEqual(manager._respawn_at, begun + 0.5 + 0.25)
            manager._put_off(begun + 8)
            self.assertEqual(manager._respawn_at, begun + 8 + 4)
            manager._put_off(begun + 100)
            self.assertEqual(manager._respawn_at, begun + 100 + 10)


class SilentConnectionTest(unittest.TestCase):
    """A connection that a firewall has forgotten says nothing, not even that it has ended."""

    def pool_goes_on(self, make):
        """A pool whose bell, and nothing else, has such a connection still takes tasks."""
        leaks.watch(self)
        server = self.enterContext(support.start_redis())
        proxy = self.enterContext(Proxy(server.port))
        name = support.unique()
        broker = self.enterContext(get_broker(proxy.url, name))
        broker.expose(tasks)
        caller = self.enterContext(get_broker(server.url, name))
        with make(broker, name):
            self.assertEqual(caller.queue().same(1).result(60), 1)
            eventually(lambda: self.silence(server, proxy), timeout=30)
            self.assertEqual(caller.queue().same(2).result(30), 2)

    @staticmethod
    def silence(server, proxy):
        """Make the connections dead that block in Redis, as a bell's does."""
        blocked = {line.partition('addr=127.0.0.1:')[2].split()[0]
                   for line in server.cli('CLIENT', 'LIST').decode().splitlines()
                   if ' cmd=blpop' in line and 'flags=b' in line}
        return proxy.kill_silently({int(port) for port in blocked}) > 0

    def test_process_pool(self):
        """A manager's bell that has become silent is replaced."""
        self.pool_goes_on(
            lambda broker, name: process.WorkerPool(broker, init, (name,), workers=1))

    def test_thread_pool(self):
        """A thread pool's, too."""
        self.pool_goes_on(lambda broker, name: thread.WorkerPool(broker))
