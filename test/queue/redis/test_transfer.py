"""What is too long, or takes long: it fails by itself, or gets through, and all else goes on."""
from __future__ import annotations

import pickle
import random
import socket
import tempfile
import threading
import time
import unittest
from typing import Any
from unittest import mock

import worq
from test import leaks, support
from test.pool import tasks as pool_tasks
from test.pool.tasks import lines
from test.queue.contract import message
from test.queue.redis import topology
from test.support import eq_, eventually
from worq import QueueError, TaskExpired, TooLarge, const
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.queue.base import Delivery, Outcome
from worq.queue.redis import chunks, queue as redis, transfer

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


# -- what is long to read ---------------------------------------------------------------

class Replies(Case):

    def setUp(self) -> None:
        support.redis_url()   # the server that tests share is no leak
        super().setUp()

    def check(self, kind: str) -> None:
        """What is longer than a reply may be is read all the same: by a pool, and by a caller."""
        server = self.server()
        server.cli('CONFIG', 'SET', 'client-output-buffer-limit', 'normal 1mb 0 0')
        broker = self.broker(server.url)
        q = broker.queue()
        with self.assertNoLogs('worq.pool', 'WARNING'), self.pool(kind, broker):
            big = q.make(f'{self.folder}/begun', 3 * MB)
            eq_(q.size(big, big, bytes(2 * MB)).result(timeout=PATIENCE), 8 * MB)
            eq_(big.result(timeout=PATIENCE), bytes(3 * MB))
            eq_(broker.deferred(big.id).result(timeout=PATIENCE), bytes(3 * MB))
        eq_(broker.backend.stats()['redelivered'], 0)

    def test_threads(self) -> None:
        self.check('thread')

    def test_processes(self) -> None:
        self.check('process')

    def test_taken_by_hand(self) -> None:
        """A take brings all of what is long."""
        q = redis.TaskQueue(support.redis_url(), self.name)
        self.addCleanup(support.clean, support.redis_url(), self.name)
        self.addCleanup(q.close)
        body = random.randbytes(MB + 7)
        q.put([message('a'), message('b', 'a', body=body)])
        one, = q.take('p', 1)
        q.settle('p', [Outcome('a', one.token, 'value', body)])
        two, = q.take('p', 1)
        eq_((two.body == body, two.arguments[0][1].endswith(body)), (True, True))

    def test_replaced_meanwhile(self) -> None:
        """No value is put together from those of two lives."""
        q = redis.TaskQueue(support.redis_url(), self.name)
        self.addCleanup(support.clean, support.redis_url(), self.name)
        self.addCleanup(q.close)

        def live(data: bytes, body: bytes = b'') -> Delivery:
            eq_(q.put([message('a', body=body)]), [])
            one, = q.take('p', 1)
            eq_(q.settle('p', [Outcome('a', one.token, 'value', data)]), ['ok'])
            return one
        live(b'1' * MB)
        steps = []
        real = chunks.exchange

        def exchange(commands: list[Any], connection: Any) -> list[Any]:
            steps.append(commands)
            if len(steps) == 3:
                live(b'2' * MB)
            return real(commands, connection)
        with mock.patch.object(chunks, 'exchange', exchange):
            raw, = q.results(['a'])
            assert raw is not None
            eq_(raw[const.NONCE:], b'v' + b'2' * MB)
            # a body of another life is nobody's
            eq_(q.put([message('a', body=b'3' * MB)]), [])
            turn = q.turn('p', limit=1)
            late, = turn.late
            eq_((late.id, turn.deliveries), ('a', []))
            q.cancel(['a'])
            eq_(q.put([message('a', body=b'4' * MB)]), [])
            self.assertIsNone(late.fetch())

    def test_unreadable(self) -> None:
        """Arguments that cannot be read are those of one task, which fails and says why."""
        server = self.server()
        broker = self.broker(server.url)
        q = broker.queue()
        real = broker.backend._fetch

        def fetch(id: str, *rest: Any) -> Any:
            if id == 'bad':
                raise QueueError('no way')
            return real(id, *rest)
        with mock.patch.object(broker.backend, '_fetch', fetch), \
                self.pool('thread', broker, 1):
            bad = worq.Task(q.size, id='bad', max_deliveries=1)(bytes(MB))
            good = [q.size(bytes(MB)), q.same(2)]
            eq_([one.result(timeout=PATIENCE) for one in good], [MB, 2])
            self.assertRegex(str(bad.exception(timeout=PATIENCE)),
                             '^size .*its arguments cannot be read: no way')


# -- a slow link ------------------------------------------------------------------------

class Slow(Case):
    """What takes longer than the time-out, and than a lease, gets through in both directions."""

    RATE = 1.2 * MB
    SIZE = 3 * MB

    def check(self, kind: str) -> None:
        server = self.server()
        link = self.slow(server)
        near = self.broker(server.url)
        broker = self.broker(link.url('?timeout=1.1'))
        q = near.queue()
        begun = f'{self.folder}/begun'
        with self.assertNoLogs('worq.pool', 'ERROR'), self.pool(kind, broker, 3):
            eq_(q.same(1).result(timeout=PATIENCE), 1)
            link.rate = self.RATE
            begin = time.monotonic()
            big = worq.Task(q.make, heartrate=0.7)(begun, self.SIZE)
            fed = worq.Task(q.size, heartrate=0.7)(bytes(self.SIZE))
            put: list[worq.Deferred] = []
            caller = threading.Thread(
                target=lambda: put.append(broker.queue().size(bytes(self.SIZE))))
            caller.start()
            eventually(lambda: len(lines(begun)), 1)
            eq_([q.same(n).result(timeout=PATIENCE) for n in range(3)], [*range(3)])
            eq_((big.status, fed.status), ('processing', 'processing'))   # nobody waits for them
            eq_(fed.result(timeout=PATIENCE), self.SIZE)
            eq_(big.result(timeout=PATIENCE), bytes(self.SIZE))
            self.assertGreater(time.monotonic() - begin, 2.1)   # a lease of three heartbeats
            caller.join()
            eq_(put[0].result(timeout=PATIENCE), self.SIZE)
        eq_(len(lines(begun)), 1)
        eq_(near.backend.stats()['redelivered'], 0)
        eq_(near.backend.audit(), [])

    def test_threads(self) -> None:
        self.check('thread')

    def test_processes(self) -> None:
        self.check('process')

    def test_one_command(self) -> None:
        """To send may take longer than the time-out in all, if no step of it does."""
        near, far = socket.socketpair()
        self.addCleanup(lambda: [one.close() for one in (near, far)])
        near.settimeout(0.5)
        got = []

        def reads() -> None:
            while sum(got) < 4 * MB:
                got.append(len(far.recv(64 << 10)))
                time.sleep(0.02)
        reader = threading.Thread(target=reads)
        reader.start()
        begin = time.monotonic()
        transfer.send(mock.Mock(_sock=near, socket_timeout=0.5), [bytes(2 * MB)] * 2, mock.Mock())
        self.assertGreater(time.monotonic() - begin, 0.6)
        reader.join()

    def test_time_of_a_caller(self) -> None:
        """A caller's own time ends its call; what has come is there for the next one."""
        server = self.server()
        link = self.slow(server)
        near = self.broker(server.url)
        broker = self.broker(link.url('?timeout=1.1'))
        with self.pool('thread', near):
            big = near.queue().make(f'{self.folder}/begun', self.SIZE)
            big.wait(PATIENCE)
        far = broker.deferred(big.id)
        eq_(broker.status(far), 'success')   # and so there is a connection
        link.rate, link.replied = self.RATE / 4, 0   # ten seconds for all of it
        with mock.patch.object(chunks, 'HONEST', 0):
            begin = time.monotonic()
            self.assertFalse(far.wait(0.3))
            self.assertFalse(far)
            with self.assertRaises(TimeoutError):
                far.result(timeout=0.3)
            self.assertLess(time.monotonic() - begin, 6)
            link.rate, looks = 2 * self.RATE, 0
            while not far.wait(0.2):
                looks += 1
        self.assertGreater(looks, 1)
        eq_(far.value, bytes(self.SIZE))
        self.assertLess(link.replied, 1.1 * self.SIZE)
