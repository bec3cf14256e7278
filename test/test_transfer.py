"""What is too long, or takes long: it fails by itself, or gets through, and all else goes on."""
from __future__ import annotations

import pickle
import tempfile
import time
import unittest
from typing import Any
from unittest import mock


import worq
from test import leaks, pool_tasks, support, topology
from test.contract import message
from test.pool_tasks import lines
from test.support import eq_, eventually
from worq import QueueError, TaskExpired, TooLarge
from worq.pool import process, thread
from worq.queue import redis

MB = 1 << 20
PATIENCE = 30


class Case(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.name = support.unique()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def server(self, *args: str) -> support.Server:
        server = support.start_redis(*args)
        self.addCleanup(server.close)
        return server

    def slow(self, server: support.Server, rate: float = 1e9) -> topology.Slow:
        slow = topology.Slow(server.port, rate)
        self.addCleanup(slow.__exit__)
        return slow

    def broker(self, url: str, **options: Any) -> worq.Broker:
        broker = worq.get_broker(url, self.name, secret='for the tests only', **options)
        broker.expose(pool_tasks.tasks)
        self.addCleanup(broker.close)
        return broker

    def pool(self, kind: str, broker: worq.Broker, workers: int = 2) -> Any:
        if kind == 'thread':
            return thread.WorkerPool(broker, workers)
        return process.WorkerPool(broker, init, (self.name,), workers=workers)


def init(url: str, name: str) -> worq.Broker:
    broker = worq.get_broker(url, name, secret='for the tests only')
    broker.expose(pool_tasks.tasks)
    return broker


# -- what a server does not take ------------------------------------------------------

class Limits(Case):

    def check(self, kind: str, limit: str) -> None:
        """A result beyond the limit ends its task, which has run once; all else goes on."""
        server = self.server(f'--{limit}', '1mb')
        broker = self.broker(server.url)
        q = broker.queue()
        with self.assertLogs('worq.pool', 'ERROR') as logs, self.pool(kind, broker) as pool:
            begun = f'{self.folder}/begun'
            big = q.make(begun, 2 * MB)
            after = q.size(big)
            others = [q.same(n) for n in range(50)] + [q.make(f'{self.folder}/other', MB // 2)]
            for deferred in big, after:
                failure = deferred.exception(timeout=PATIENCE)
                eq_(type(failure), TaskExpired)
                self.assertRegex(str(failure), rf'^make .*result, 2,097,\d+ bytes, .*{limit} is '
                                               '1,048,576')
            eq_([one.result(timeout=PATIENCE) for one in others[:50]], [*range(50)])
            eq_(others[50].result(timeout=PATIENCE), bytes(MB // 2))
            eq_(len(lines(begun)), 1)
            with self.assertRaisesRegex(TooLarge, rf'the arguments of same \[{self.name}:.*\], '
                                        rf'2,097,\d+ bytes, cannot be put: .*{limit}') as caught:
                q.same(bytes(2 * MB))
            eq_((caught.exception.limit, caught.exception.size >> 20), (MB, 2))
            again = pickle.loads(pickle.dumps(caught.exception))
            eq_((str(again), again.size, again.limit), (str(caught.exception),
                caught.exception.size, MB))
            eq_(q.same('on').result(timeout=PATIENCE), 'on')
            assert pool
        self.assertNotIn('lost the queue', ' '.join(logs.output))
        eq_(broker.backend.stats()['redelivered'], 0)
        eq_(broker.backend.audit(), [])

    def test_bulk_threads(self) -> None:
        self.check('thread', 'proto-max-bulk-len')

    def test_bulk_processes(self) -> None:
        self.check('process', 'proto-max-bulk-len')

    def test_query_buffer_threads(self) -> None:
        self.check('thread', 'client-query-buffer-limit')

    def test_one_call_of_many(self) -> None:
        """A map, a reduce, a batch, and one behind a gate, each with one call that is too long:
        the error names it, and of what belongs together nothing runs."""
        server = self.server('--proto-max-bulk-len', '1mb')
        broker = self.broker(server.url)
        q = broker.queue()
        named = r'the arguments of same \[.*\], 2,097,\d+ bytes'
        calls = [b'', bytes(2 * MB), b'x']
        with self.assertRaisesRegex(TooLarge, named):
            worq.map(q.same, calls)
        eq_(len(broker), 0)
        for n in 3, 2000:
            with self.assertRaisesRegex(TooLarge, named), worq.batch(q):
                for call in calls[:2] + [b''] * n:
                    q.same(call)
            eq_(len(broker), 0)
        with self.pool('thread', broker):
            eq_(q.same(1).result(timeout=PATIENCE), 1)
        eq_(broker.backend.audit(), [])

    def test_by_hand(self) -> None:
        """So it is in a pool whose program takes each task by hand."""
        server = self.server('--proto-max-bulk-len', '1mb')
        broker = self.broker(server.url)
        q = broker.queue()
        take = broker.next_task
        broker.next_task = lambda timeout=None: take(timeout)   # type: ignore[method-assign]
        with self.pool('thread', broker, 1), self.assertLogs('worq.pool', 'ERROR'):
            big = q.make(f'{self.folder}/begun', 2 * MB)
            self.assertRegex(str(big.exception(timeout=PATIENCE)), 'make .*proto-max-bulk-len')
            eq_(q.same(1).result(timeout=PATIENCE), 1)

    def test_limit_that_nobody_tells(self) -> None:
        """Where CONFIG is forbidden, the error says what to look at."""
        server = self.server('--proto-max-bulk-len', '1mb', '--rename-command', 'CONFIG', '""')
        with self.assertRaisesRegex(TooLarge, 'see its proto-max-bulk-len') as caught:
            self.broker(server.url).queue().same(bytes(2 * MB))
        eq_(caught.exception.limit, 0)


class Breaks(Case):
    """Something on the way breaks each connection that sends too much, and passes all else."""

    def setUp(self) -> None:
        super().setUp()
        self.link = self.slow(self.server())
        self.q = redis.TaskQueue(self.link.url('?timeout=1.5'), self.name, retry_for=1)
        self.addCleanup(self.q.close)

    def test_blamed(self) -> None:
        """What breaks two connections, while a third answers, is too long."""
        self.q.size()
        self.link.most = MB
        with self.assertRaisesRegex(TooLarge, 'it answers, but the connection breaks each time'):
            self.q.put([message('a', body=bytes(2 * MB))])
        eq_(self.q.put([message('b', body=bytes(MB // 2))]), [])
        eq_(self.q.status(['a', 'b']), [None, 'enqueued'])

    def test_not_blamed(self) -> None:
        """One that breaks in the midst by chance is sent again, and nobody is blamed."""
        self.q.size()
        self.link.most = MB
        real = self.q._link.answers

        def answers() -> bool:
            self.link.most = None
            return real()
        with mock.patch.object(self.q._link, 'answers', answers):
            eq_(self.q.put([message('a', body=bytes(2 * MB))]), [])
        eq_((self.link.cuts, self.q.status(['a'])), (1, ['enqueued']))

    def test_silence(self) -> None:
        """A link that is cut in the midst is an outage, which is told in time."""
        self.q.size()
        self.link.rate = 2 * MB
        real = self.link.flows.wait

        def wait(timeout: float | None = None) -> bool:
            if self.link.longest > MB:
                self.link.flows.clear()
            return real(timeout)
        with mock.patch.object(self.link.flows, 'wait', wait):
            begin = time.monotonic()
            with self.assertRaisesRegex(QueueError, 'out of reach') as caught:
                self.q.put([message('a', body=bytes(4 * MB))])
            self.assertLess(time.monotonic() - begin, 10)
        eq_(type(caught.exception), QueueError)
        self.link.rate = 1e9
        self.link.flows.set()
        eq_(self.q.put([message('a', body=bytes(4 * MB))]), [])


# -- a slow link ------------------------------------------------------------------------

class Slow(Case):
    """What takes longer than the time-out gets through, in both directions."""

    RATE = 1.5 * MB

    def check(self, kind: str) -> None:
        server = self.server()
        link = self.slow(server)
        near = self.broker(server.url)
        broker = self.broker(link.url('?timeout=1.1'))
        q = near.queue()
        begun = f'{self.folder}/begun'
        with self.assertNoLogs('worq.pool', 'ERROR'), self.pool(kind, broker):
            eq_(q.same(1).result(timeout=PATIENCE), 1)
            link.rate = self.RATE
            begin = time.monotonic()
            big = worq.Task(q.make, heartrate=1)(begun, 3 * MB)
            eventually(lambda: len(lines(begun)), 1)
            eq_(q.same(2).result(timeout=PATIENCE), 2)   # the link is not occupied
            self.assertIsNone(big.wait(0) or None)
            eq_(big.result(timeout=PATIENCE), bytes(3 * MB))
            self.assertGreater(time.monotonic() - begin, 1.5)
            eq_(len(lines(begun)), 1)
            eq_(near.backend.stats()['redelivered'], 0)
            eq_(q.size(big).result(timeout=PATIENCE), 3 * MB)
            far = broker.deferred(big.id)
            eq_(len(far.result(timeout=PATIENCE)), 3 * MB)
            eq_(broker.queue().size(bytes(3 * MB)).result(timeout=PATIENCE), 3 * MB)
            eq_(near.backend.stats()['redelivered'], 0)

    def test_threads(self) -> None:
        self.check('thread')

    def test_processes(self) -> None:
        self.check('process')
