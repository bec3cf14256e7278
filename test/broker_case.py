"""Bases of the tests that hold on every queue: a contract class, a subclass for each backend.

A contract class derives from `BrokerCase`; ``on_every_queue(globals(), Contract)`` adds the
subclasses to the module.
"""
from __future__ import annotations

import os
import unittest

import worq
from worq.pool.run import run


class BrokerCase(unittest.TestCase):
    """Brokers on a queue of the test's own, and a way to work without any pool."""

    __test__ = False

    def url(self):
        """The address of the backend."""
        raise NotImplementedError

    def setUp(self):
        self.name = f'test-{os.urandom(6).hex()}'
        self._brokers = []

    def tearDown(self):
        if not self._brokers:
            return
        broker = self._brokers[0]
        broker.backend.purge()
        self.assertEqual(broker.backend.audit(), [])
        for broker in self._brokers:
            broker.close()

    def broker(self, name=None, **options):
        """Another broker on the test's queue, or on one whose name begins with it."""
        full = self.name if name is None else f'{self.name}-{name}'
        broker = worq.get_broker(self.url(), full, **options)
        self._brokers.append(broker)
        return broker

    def work(self, broker, limit=None):
        """Run what is ready, here, one task after the other; returns how many ran."""
        done = 0
        while limit is None or done < limit:
            deliveries = broker.backend.take('test-pool', 50 if limit is None else 1)
            if not deliveries:
                break
            outcomes = [run(broker, delivery) for delivery in deliveries]
            self.assertEqual(set(broker.backend.settle('test-pool', outcomes)), {'ok'})
            done += len(deliveries)
        return done


class MemoryMixin:
    """Runs a contract on the queue in memory."""

    __test__ = True

    def url(self):
        return 'memory://'


class RedisMixin:
    """Runs a contract on Redis; skips, loudly, where there is none."""

    __test__ = True

    def setUp(self):
        from test import support
        self._url = support.redis_url()
        # What is left would make every later search of the server's keys slower.
        self.addCleanup(self._clean)
        super().setUp()

    def _clean(self):
        from test import support
        support.clean(self._url, self.name)

    def url(self):
        return self._url


class SqliteMixin:
    """Runs a contract on a queue in a file."""

    __test__ = True

    def setUp(self):
        from test import support
        self._folder = support.folder(self)
        super().setUp()

    def url(self):
        return f'sqlite:///{self._folder}/queue.db'


def on_every_queue(module, contract, file=False):
    """Put ``ContractOnMemory`` and ``ContractOnRedis`` into a module's globals; and
    ``ContractOnSqlite``, if what it says has to do with the engine: its logic is that of memory."""
    for kind, mixin in [('Memory', MemoryMixin), ('Redis', RedisMixin),
                        *[('Sqlite', SqliteMixin)] * file]:
        name = f'{contract.__name__}On{kind}'
        module[name] = type(name, (mixin, contract), {
            '__module__': module['__name__'], '__doc__': contract.__doc__})
