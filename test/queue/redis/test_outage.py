"""Redis away, stopped, unreachable, full, back again: everybody is told, and goes on."""
from __future__ import annotations

import asyncio
import logging
import select
import signal
import socket
import threading
import time
import unittest
from contextlib import contextmanager
from typing import Any, Callable, Iterator
from unittest import mock

import worq
from test import leaks, support
from test.pool import tasks as pool_tasks
from test.pool.tasks import lines
from test.queue.contract import message
from test.support import Server, eq_, eventually
from worq import QueueError, TaskExpired, inbox
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread
from worq.queue.redis import connect, queue as redis

LIMIT = 8      # seconds: five, and something for a machine that has much to do
SOON = 4.5     # seconds: two that any server has to answer, and the same


class Hole:
    """A port where nobody ever answers, not even to a first packet; Linux."""

    def __init__(self) -> None:
        self.door = socket.socket()
        self.door.bind(('127.0.0.1', 0))
        self.door.listen(0)
        self.port = self.door.getsockname()[1]
        self.url = f'redis://127.0.0.1:{self.port}/0'
        self.crowd = []
        for _ in range(8):   # what waits to be accepted fills the room there is
            one = socket.socket()
            one.setblocking(False)
            one.connect_ex(('127.0.0.1', self.port))
            self.crowd.append(one)

    def close(self) -> None:
        for one in [self.door, *self.crowd]:
            one.close()


class Case(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.name = support.unique()

    def server(self, *args: str) -> Server:
        server = support.start_redis(*args)
        self.addCleanup(server.close)
        return server

    def broker(self, url: str, **options: Any) -> worq.Broker:
        broker = worq.get_broker(url, self.name, **options)
        broker.expose(pool_tasks.tasks)
        self.addCleanup(broker.close)
        return broker


# -- producers ----------------------------------------------------------------------

class Producers(Case):
    """Whoever calls, waits or asks is told of a Redis that is away, in time."""

    def everything(self, broker: worq.Broker) -> dict[str, Callable[[], Any]]:
        q = broker.queue()
        promise = [broker.deferred(f'some id {n}') for n in range(12)]

        async def awaits() -> None:
            await promise[11]
        return {
            'call': lambda: q.same(1),
            'Task': lambda: worq.Task(q.same, id='x')(1),
            'map': lambda: worq.map(q.same, range(3)),
            'long map': lambda: worq.map(q.same, range(2000)),
            'reduce': lambda: worq.reduce(q.add, range(4)),
            'len': lambda: len(q),
            'del': lambda: q.__delitem__(slice(None)),
            'discard': broker.discard_pending_tasks,
            'cancel': promise[0].cancel,
            'broker.cancel': lambda: broker.cancel('other id'),
            'result': lambda: promise[2].result(timeout=1),
            'exception': lambda: promise[3].exception(timeout=1),
            'wait 1': lambda: promise[4].wait(1),
            'await': lambda: asyncio.run(awaits()),
            'next_task': lambda: broker.next_task(timeout=0),
            'audit': broker.backend.audit,
            'stats': broker.backend.stats,
            # those that were asked to wait for nothing, or not for long
            'wait 0': lambda: promise[7].wait(0),
            'wait 0.1': lambda: promise[8].wait(0.1),
            'worq.wait': lambda: worq.wait([promise[5]], timeout=0.1),
            'as_completed': lambda: list(worq.as_completed([promise[6]], timeout=0.1)),
            'bool': lambda: bool(promise[9]),
            'value': lambda: promise[10].value,
            'status': lambda: promise[1].status,
        }

    def check(self, broker: worq.Broker) -> None:
        """All operations at once, each in a thread of its own: each raises a QueueError."""
        found: dict[str, tuple[Any, float]] = {}

        def attempt(name: str, operation: Callable[[], Any]) -> None:
            begin = time.monotonic()
            try:
                answer: Any = operation()
            except Exception as error:
                answer = type(error)
            found[name] = answer, time.monotonic() - begin
        operations = self.everything(broker)
        threads = [threading.Thread(target=attempt, args=item, daemon=True)
                   for item in operations.items()]
        for one in threads:
            one.start()
        for one in threads:
            one.join(60)
        eq_({name: answer for name, (answer, _) in found.items()},
            dict.fromkeys(operations, QueueError))
        slow = {name: seconds for name, (_, seconds) in found.items()
                if seconds > (SOON if name in ('wait 0', 'wait 0.1', 'worq.wait', 'as_completed',
                                               'bool', 'value', 'status') else LIMIT)}
        eq_(slow, {})
        begin = time.monotonic()
        self.assertIn('out of reach', repr(broker.deferred('id')))   # shown, not raised
        self.assertLess(time.monotonic() - begin, SOON)
        broker.expose(len)
        broker.close()

    def test_dead(self) -> None:
        """Nobody listens at the port any more."""
        server = self.server()
        broker = self.broker(server.url)
        len(broker)   # there is an idle connection
        server.kill()
        self.check(broker)

    def test_stopped(self) -> None:
        """The server takes connections and commands, and answers nothing."""
        server = self.server()
        broker = self.broker(server.url)
        len(broker)   # there is an idle connection
        server.kill(signal.SIGSTOP)
        self.check(broker)

    def test_black_hole(self) -> None:
        """No packet ever comes back."""
        hole = Hole()
        self.addCleanup(hole.close)
        self.check(self.broker(hole.url))

    def test_half_open(self) -> None:
        """A connection that died unnoticed while it was idle costs a moment, and no error."""
        server = self.server()
        broker = self.broker(server.url)
        self.half_open(broker)
        eq_(len(broker), 0)

    def half_open(self, broker: worq.Broker) -> None:
        len(broker)
        idle, = broker.backend._link._idle
        near, far = socket.socketpair()   # where nothing comes from, as from a lost host
        self.addCleanup(far.close)
        idle._sock.close()
        idle._sock = idle._parser._sock = near

    def test_half_open_take(self) -> None:
        """A take, and a wait for news, hear of such a connection as soon, though they are not
        sent again; the next try works."""
        server = self.server()
        broker = self.broker(server.url)
        for step in (lambda: broker.backend.take('pool', 1),
                     lambda: broker.backend.wait('client', 0.01)):
            self.half_open(broker)
            begin = time.monotonic()
            with self.assertRaises(QueueError):
                step()
            self.assertLess(time.monotonic() - begin, SOON)
            eq_(step(), [])

    def test_wait_survives(self) -> None:
        """Who waits without end is told nothing, and has what comes when Redis is back."""
        server = self.server('--appendonly', 'yes', '--appendfsync', 'always')
        broker = self.broker(server.url)
        deferred = broker.queue().same('kept')
        got: list[Any] = []
        waiting = threading.Thread(target=lambda: got.append(deferred.result()), daemon=True)
        waiting.start()
        eventually(lambda: broker.inbox._leader is not None)
        with self.assertLogs('worq.inbox', 'WARNING') as logs:
            server.kill()
            eventually(lambda: bool(logs.output))
            server.start()
            with thread.WorkerPool(broker):
                waiting.join(30)
        eq_(got, ['kept'])
        eq_(len(logs.output), 1)   # and not once for each try

    def test_wait_expires(self) -> None:
        """A Redis that comes back with nothing has nothing to wait for: that is said at once,
        not with the next round of questions."""
        server = self.server()
        broker = self.broker(server.url)
        q = broker.queue()
        with mock.patch.object(inbox, 'REWATCH', 1000):
            got: list[Any] = []

            def wait(deferred: worq.Deferred) -> None:
                got.append(type(deferred.exception(timeout=20)))

            async def awaits() -> None:
                try:
                    await q.same(3)
                except TaskExpired as error:
                    got.append(type(error))
            threads = [threading.Thread(target=wait, args=(q.same(n),)) for n in range(2)]
            threads.append(threading.Thread(target=lambda: asyncio.run(awaits()),
                                            daemon=True))
            for one in threads:
                one.start()
            eventually(lambda: broker.inbox._leader is not None)
            eventually(lambda: len(broker.inbox._waiting), 3)
            eventually(lambda: broker.inbox._asker, None)
            server.kill()
            server.start()
            for one in threads:
                one.join(25)
        eq_(got, [TaskExpired] * 3)

    def test_await_keeps_its_loop(self) -> None:
        """While Redis does not answer, what else runs in the event loop of an await goes on."""
        server = self.server()
        broker = self.broker(server.url)
        deferred = broker.queue().same(1)
        longest = 0.0

        async def main() -> None:
            nonlocal longest
            waiting = asyncio.ensure_future(asyncio.wait_for(deferred, 60))
            while not waiting.done():
                begin = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - begin)
            with self.assertRaises(QueueError):
                await waiting
        server.kill(signal.SIGSTOP)
        asyncio.run(main())
        self.assertLess(longest, SOON / 2)   # an answer is waited for longer than that

    def test_await_uses_few_threads(self) -> None:
        """Awaits one after the other do not start a thread each."""
        server = self.server()
        broker = self.broker(server.url)
        q = broker.queue()
        started: list[str] = []
        real = inbox.Thread

        def counting(**options: Any) -> threading.Thread:
            started.append(options['name'])
            return real(**options)

        async def main() -> list[int]:
            return [await q.same(n) for n in range(200)]
        with mock.patch.object(inbox, 'Thread', counting), thread.WorkerPool(broker):
            eq_(asyncio.run(main()), list(range(200)))
        self.assertLess(len(started), 100)


# -- pools --------------------------------------------------------------------------

class Pools(Case):
    """A pool says when it has lost Redis and when it has it again, and goes on."""

    def pool(self, kind: str, broker: worq.Broker) -> Any:
        if kind == 'thread':
            return thread.WorkerPool(broker, workers=2)
        return process.WorkerPool(broker, pool_tasks.init, (self.name,), workers=2)

    @contextmanager
    def outage(self, server: Server, stop: int, start: Callable[[], Any]) -> Iterator[None]:
        with self.assertLogs('worq.pool', 'WARNING') as logs:
            server.kill(stop)
            eventually(lambda: 'lost the queue' in ' '.join(logs.output), timeout=30)
            yield
            start()
            eventually(lambda: 'is back after' in ' '.join(logs.output), timeout=30)
        eq_(sum('lost the queue' in line for line in logs.output), 1)

    def restart(self, kind: str) -> None:
        server = self.server('--appendonly', 'yes', '--appendfsync', 'always')
        broker = self.broker(server.url)
        q = broker.queue()
        folder = server.folder
        begun, go = f'{folder}/begun', f'{folder}/go'
        with self.pool(kind, broker):
            held = q.hold(begun, go, 'held')
            eventually(lambda: len(lines(begun)), 1, timeout=60)
            with self.outage(server, signal.SIGKILL, server.start):
                open(go, 'w').close()   # it ends while there is nobody to tell
            eq_(held.result(timeout=60), 'held')
            eq_(q.same('next').result(timeout=60), 'next')
        eq_(len(lines(begun)), 1)

    def test_threads(self) -> None:
        """Threads: what ends during the outage is told after it, and has run once."""
        self.restart('thread')

    def test_processes(self) -> None:
        """Processes: so it is with children."""
        self.restart('process')

    def stopped(self, kind: str) -> None:
        server = self.server()
        broker = self.broker(server.url)
        q = broker.queue()
        with self.pool(kind, broker):
            eq_(q.same(1).result(timeout=60), 1)
            with self.outage(server, signal.SIGSTOP, lambda: server.kill(signal.SIGCONT)):
                pass
            eq_(q.same(2).result(timeout=60), 2)

    def test_threads_stopped(self) -> None:
        """Threads: a server that had only stopped."""
        self.stopped('thread')

    def test_processes_stopped(self) -> None:
        """Processes: a server that had only stopped."""
        self.stopped('process')

    def test_bell_of_a_host_that_is_gone(self) -> None:
        """Whoever listens is rung for when another connection is lost: from a host that is gone
        nothing would ever come."""
        server = self.server()
        q = redis.TaskQueue(server.url, self.name, retry_for=0)
        self.addCleanup(q.close)
        bell = q.bell('p')
        self.addCleanup(bell.close)
        bell.arm()
        server.kill(signal.SIGSTOP)
        self.addCleanup(server.kill, signal.SIGCONT)
        eq_(select.select([bell], [], [], 0.1)[0], [])
        with self.assertRaises(QueueError):
            q.size()
        eq_(select.select([bell], [], [], 5)[0], [bell])
        bell.clear()
        server.kill(signal.SIGCONT)
        bell.arm()
        q.put([message('a')])
        eq_(select.select([bell], [], [], 5)[0], [bell])


# -- a full one, and one that will lose what it has -----------------------------------

class Servers(Case):

    def test_full(self) -> None:
        """A full Redis is told to the producer at once; what is queued is done, and told to
        those who wait."""
        server = self.server('--maxmemory-policy', 'noeviction', '--appendonly', 'yes')
        broker = self.broker(server.url)
        q = broker.queue()
        first = q.same(0)
        used = server.cli('MEMORY', 'STATS')[3]
        server.cli('CONFIG', 'SET', 'maxmemory', used + (1 << 20))
        queued = []
        with self.assertRaisesRegex(QueueError, 'maxmemory'):
            while True:
                queued.append(q.same('x' * 2000))
        refused: list[float] = []
        while len(refused) < 10:   # what it uses goes up and down a little, so one may find room
            begin = time.monotonic()
            try:
                queued.append(q.same('x' * 2000))
            except QueueError:
                refused.append(time.monotonic() - begin)
        self.assertLess(min(refused), 0.1)
        self.assertGreater(len(queued), 100)
        got: list[Any] = []
        waiting = threading.Thread(
            target=lambda: got.extend(d.result(timeout=60) for d in [first, *queued]))
        waiting.start()   # before there is anything: it has to be registered in a full Redis
        eventually(lambda: broker.inbox._leader is not None)
        with thread.WorkerPool(broker):
            waiting.join(60)
        eq_([len(str(value)) for value in got], [1] + [2000] * len(queued))

    def said(self, *args: str, url: str = '{}', **options: Any) -> list[str]:
        """What is said in the log when three queues begin to use a new server."""
        server = self.server(*args)
        with self.assertLogs('worq', 'WARNING') as logs:
            logging.getLogger('worq').warning('nothing')   # assertLogs wants something
            for name in 'a', 'b', 'c':   # links of their own, too
                options['retry_for'] = 4 + len(name) / 10 + ord(name)
                with redis.TaskQueue(url.format(server.url), name, **options) as q:
                    q.size()
        return logs.output[1:]

    def test_no_persistence(self) -> None:
        """A server that keeps nothing on disk is warned of once, with what to do."""
        line, = self.said()
        self.assertRegex(line, 'keeps nothing on disk.*appendonly to yes')

    def test_persistence(self) -> None:
        """One that keeps an AOF, or saves, is not."""
        eq_(self.said('--appendonly', 'yes'), [])
        eq_(self.said('--save', '3600', '1'), [])

    def test_eviction(self) -> None:
        """One that throws away keys is warned of once, whichever it prefers."""
        for policy in 'allkeys-lru', 'volatile-ttl':
            line, = self.said('--appendonly', 'yes', '--maxmemory-policy', policy)
            self.assertRegex(line, f'maxmemory-policy to noeviction, not {policy}')

    def test_config_forbidden(self) -> None:
        """Where CONFIG is forbidden, nothing is guessed, and nothing fails."""
        eq_(self.said('--rename-command', 'CONFIG', '""'), [])
        server = self.server('--user', 'me', 'on', '>secretsecret', '~*', '+@all',
                             '-config', '-info')
        url = server.url.replace('//', '//me:secretsecret@')
        with redis.TaskQueue(url, self.name, strict=True) as q:
            eq_(q.size(), 0)

    def test_strict(self) -> None:
        """With strict=True they are refused, by each operation."""
        for args, text in [((), 'on disk'), (('--appendonly', 'yes', '--maxmemory-policy',
                                              'allkeys-lru'), 'noeviction')]:
            server = self.server(*args)
            with redis.TaskQueue(server.url, self.name, strict=True) as q:
                for _ in range(2):
                    with self.assertRaisesRegex(QueueError, text):
                        q.size()
                bell = q.bell('p')
                with self.assertRaisesRegex(QueueError, text):
                    bell.arm()
                bell.close()
        server = self.server('--appendonly', 'yes')
        with worq.get_broker(server.url, self.name, strict=True) as broker:
            eq_(len(broker), 0)

    def test_durable(self) -> None:
        """With durable=N a call returns when N replicas have it, and raises if they do not."""
        master = self.server('--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '0')
        replica = self.server('--replicaof', '127.0.0.1', str(master.port))
        eventually(lambda: replica.replication().get('master_link_status'), 'up',
                   timeout=30)
        broker = self.broker(f'{master.url}?durable=1', retry_for=1)
        q = broker.queue()
        deferred = q.same(1)
        eq_(replica.cli('EXISTS', f'worq:{{{self.name}}}:t:{deferred.id}'), 1)
        replica.kill(signal.SIGSTOP)
        self.addCleanup(replica.kill, signal.SIGCONT)
        for attempt in [lambda: q.same(2), deferred.cancel, lambda: q.__delitem__(slice(None))]:
            with self.assertRaisesRegex(QueueError, '0 of 1 replicas'):
                attempt()
        replica.kill(signal.SIGCONT)
        other = self.broker(master.url, durable=2, retry_for=1).queue()
        with self.assertRaisesRegex(QueueError, '1 of 2 replicas'):
            other.same(3)
        with self.assertRaisesRegex(ValueError, 'durable'):
            self.broker(master.url, durable=-1)
        q.same(4)


class Module(unittest.TestCase):

    def test_hole(self) -> None:
        """The black hole of these tests is one."""
        hole = Hole()
        self.addCleanup(hole.close)
        with socket.socket() as one:
            one.settimeout(1)
            with self.assertRaises(TimeoutError):
                one.connect(('127.0.0.1', hole.port))

    def test_limits(self) -> None:
        """What these tests allow is more than what an answer may take, and less than two."""
        self.assertLess(connect.HONEST, SOON)
        self.assertLess(LIMIT, 2 * connect.parse('redis://').timeout)
