"""One command on one connection: what is sent, what is read, and for how long is waited."""
from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
import time
import unittest
from unittest import mock
from urllib.parse import urlsplit

try:
    import hiredis
except ImportError:
    hiredis = None   # type: ignore[assignment]
import redis as client

from bench.faults.proxy import Proxy
import worq
from test import support
from test.queue.contract import message, outcome
from test.queue.redis.test_details import Case
from test.support import eq_, eventually
from worq.errors import QueueError
from worq.pool.base import Desk
from worq.queue.base import Held
from worq.queue.redis import connect, packing, queue as redis


class Commands(unittest.TestCase):

    def setUp(self) -> None:
        self.link = connect.Link(connect.parse(f'{support.redis_url()}?timeout=10', 'key'), 8)
        self.addCleanup(self.link.close)

    def test_packed(self) -> None:
        """A command is sent as redis-py would send it, with hiredis and without."""
        connection = self.link.open()
        self.addCleanup(connection.disconnect)
        command = 'ECHO', 'ä', b'\xff\r\n', 7, 0.5
        packed = b''.join(connection.pack_command(*command))
        eq_(b''.join(connect.pack(connection, command)), packed)
        with mock.patch.object(packing, 'pack_command', None):
            eq_(b''.join(connect.pack(connection, command)), packed)
        with self.assertRaises(client.DataError):
            connect.sender(connection)('ECHO', None)

    @unittest.skipIf(packing.pack_command is None, 'needs hiredis')
    def test_numbers_are_texts(self) -> None:
        """hiredis gets texts and bytes only, from us and from redis-py, which connects: a number
        without a text, or a signal handler that raises meanwhile, would crash the interpreter."""
        given: set[type] = set()

        def watched(command: tuple[object, ...]) -> bytes:
            given.update(map(type, command))
            return hiredis.pack_command(command)

        class Watch:
            pack_command = staticmethod(watched)

        url, name = support.redis_url(), support.unique()
        self.addCleanup(support.clean, url, name)
        with mock.patch.object(packing, 'pack_command', watched), \
                mock.patch.object(client.connection, 'hiredis', Watch):
            q = redis.TaskQueue(f'{url.rpartition("/")[0]}/1?timeout=9', name)
            self.addCleanup(q.close)
            q.put([message('a', delay=60_000, lease=9_000), message('b'),
                   message('c', 'a', 'b')])
            took, = q.take('p', 2, 1)
            q.beat('p', [Held(took.id, took.token)], 5_000)
            q.turn('p', [outcome(took)], limit=1)
            q.watch('me', ['a', 'b'])
            q.wait('me', 0.01)
            q.inspect(['a', 'b', 'c'])
            q.cancel(['a'])
            q.reconcile('p', [])
            q.audit(repair=True)
            self.link.calls([('ECHO', 7), ('ECHO', 0.5)])
        eq_(given, {str, bytes})

    @unittest.skipIf(packing.pack_command is None, 'needs hiredis')
    def test_number_without_text(self) -> None:
        """A number of which Python makes no text is an error, and not the interpreter's end."""
        code = """if True:
            from worq.queue.redis import packing
            for pack in (lambda *c: packing.pack(None, c), packing.options['command_packer'].pack):
                try:
                    pack('SELECT', 10 ** 5000)
                except ValueError:
                    print('refused')
        """
        done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
        eq_((done.returncode, done.stdout.split()), (0, ['refused'] * 2))

    def test_version_is_looked_up_once(self) -> None:
        """A new connection does not look through the installed packages: that takes longer than to
        connect, and finalizers of zip files in the path swallow a Ctrl-C."""
        with mock.patch('importlib.metadata.version', return_value='1') as looked:
            self.link.open().disconnect()
        looked.assert_not_called()

    def test_read(self) -> None:
        """What goes wrong while a reply is read is told by the errors that a Link knows."""
        connection = self.link.open()
        self.addCleanup(connection.disconnect)
        with self.assertRaises(client.ResponseError):
            connect.sender(connection)('NONSENSE')
        eq_(connect.sender(connection)('ECHO', 'on'), b'on')
        near, far = socket.socketpair()
        self.addCleanup(far.close)
        near.settimeout(0.01)
        connection._sock.close()
        connection._sock = near
        connection._parser.on_connect(connection)
        with self.assertRaises(client.TimeoutError):
            connect.read(connection)
        near.sendall(b'PING')
        far.close()   # with something unread, so that it is a reset
        with self.assertRaisesRegex(client.ConnectionError, 'reset'):
            connect.read(connection)
        with self.assertRaises(client.ConnectionError):
            connect.read(connection)

    def test_timeouts(self) -> None:
        """How long an answer may take is set anew for each command, whatever it was before."""
        self.link.call('PING')   # there is an idle connection

        def timeout(again: bool = True) -> float:
            return self.link.run(lambda connection: connection._sock.gettimeout(), again)

        eq_((timeout(), timeout(), timeout(again=False)), (3.2, 3.2, 4.0))
        with self.link.within(0.5):
            eq_(timeout(), 2.0)
        eq_(timeout(), 3.2)

    def test_timeout_of_what_is_posted(self) -> None:
        """It is that of an idle connection, and no longer than that of the address."""
        for given, seconds in (10, 2.0), (1.5, 1.5):
            link = connect.Link(connect.parse(f'{support.redis_url()}?timeout={given}', 'key'), 8)
            self.addCleanup(link.close)
            eq_(link.post('PING'), None)   # there is no connection yet
            link.call('PING')
            reply = link.post('PING')
            assert reply is not None
            eq_(reply(), b'PONG')
            connection, = link._idle
            eq_(connection._sock.gettimeout(), seconds)

    def test_slow_to_connect(self) -> None:
        """What a connection took to be made is no more there for the answer."""
        really = self.link.open

        late = 0.0

        def slowly(seconds: float) -> object:
            nonlocal late
            late = 0.5
            return really(seconds)

        clock = time.monotonic
        with mock.patch.object(self.link, 'open', slowly), \
                mock.patch('time.monotonic', lambda: clock() + late):
            left = self.link.run(lambda connection: connection._sock.gettimeout(), again=False)
        self.assertLessEqual(left, self.link.address.timeout - 0.5)
        self.assertGreaterEqual(left, connect.SHORTEST)


class Ahead(unittest.TestCase):
    """A put that is begun, and whose answer is asked for later."""

    def setUp(self) -> None:
        self.server = support.start_redis()
        self.addCleanup(self.server.close)
        self.q = redis.TaskQueue(self.server.url, support.unique(), retry_for=3)
        self.addCleanup(self.q.close)
        self.other = redis.TaskQueue(self.server.url, self.q.name, retry_for=2)
        self.addCleanup(self.other.close)
        eq_(self.q.begin_put([message('first')])(), [])   # and there is an idle connection

    def test_is_on_its_way(self) -> None:
        """It is stored though nobody asks, and what is sent meanwhile has its own answer."""
        end = self.q.begin_put([message('a')])
        eventually(lambda: self.other.status(['a']), ['enqueued'])
        eq_(self.q.status(['first', 'none', 'a']), ['enqueued', None, 'enqueued'])
        eq_(end(), [])

    def test_one_is_kept(self) -> None:
        """Its connection is used again, and is as good as before."""
        def connections() -> int:
            return int(self.server.cli('INFO', 'stats')['total_connections_received'])
        before = connections()
        for n in range(20):
            eq_(self.q.begin_put([message(f'{n}')])(), [])
            eq_(self.q.size(), n + 2)
        eq_(connections(), before + 1)   # which is that of the question

    def test_connection_lost(self) -> None:
        """It is put again if the answer is lost, and stored once; so if nothing was sent."""
        end = self.q.begin_put([message('a')])
        eventually(lambda: self.other.status(['a']), ['enqueued'])
        self.server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        eq_(end(), [])
        eq_(self.q.size(), 2)
        self.server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        eq_(self.q.begin_put([message('b')])(), [])
        eq_(self.q.size(), 3)

    def test_cut_again_and_again(self) -> None:
        """A long map whose connections are all cut, time and again, puts each call once."""
        # a busy machine needs many tries between two cuts
        broker = worq.get_broker(self.server.url, self.q.name, retry_for=60)
        self.addCleanup(broker.close)
        over = threading.Event()
        cuts = []

        def cut() -> None:
            while not over.wait(0.005):
                cuts.append(self.server.cli('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes'))
        thread = threading.Thread(target=cut)
        thread.start()
        try:
            made = worq.map(broker.queue().any, range(20_000))
        finally:
            over.set()
            thread.join()
        self.assertGreater(sum(cuts), 3)
        ids = [deferred.id for deferred in made]
        eq_((len(set(ids)), self.q.size()), (20_000, 20_001))
        eq_(set(self.q.status(ids)), {'enqueued'})
        taken = self.q.take('p', 1000)   # in the order of the calls, whatever was sent again
        eq_([delivery.id for delivery in taken[1:]], ids[:len(taken) - 1])

    def test_scripts_flushed(self) -> None:
        """A server that has forgotten its scripts gets them again."""
        self.server.cli('SCRIPT', 'FLUSH')
        eq_(self.q.begin_put([message('a')])(), [])
        eq_(self.q.size(), 2)

    def test_silent(self) -> None:
        """A server that does not answer is told of in time, all of it taken together."""
        self.server.kill(signal.SIGSTOP)
        begin = time.monotonic()
        with self.assertRaisesRegex(QueueError, 'out of reach'):
            self.q.begin_put([message('a')])()
        self.assertLess(time.monotonic() - begin, 6)   # three, and one more try that is honest

    def test_full(self) -> None:
        """A refusal is worded as that of any put."""
        self.server.cli('CONFIG', 'SET', 'maxmemory', '1')
        with self.assertRaisesRegex(QueueError, 'it is full'):
            self.q.begin_put([message('a')])()


class Lost(Case):
    """A reply that is lost with its connection."""

    def sent(self) -> int:
        """How many scripts Redis has run."""
        return int(self.client.info('commandstats')['cmdstat_evalsha']['calls'])

    def test_turn_that_takes(self) -> None:
        """A turn that takes is not sent again if its reply is lost: what it took would be nobody's.
        Its pool gives that back when it can reach Redis again, and it counts as no delivery."""
        proxy = self.enterContext(Proxy(urlsplit(self.url).port or 6379))
        q = redis.TaskQueue(proxy.url, self.name)
        self.addCleanup(q.close)
        desk = Desk(q, 15_000)
        eq_(desk.turn([], 1), ([], []))   # it has joined, and the script is known
        self.q.put([message('a'), message('b')])
        before = self.sent()
        proxy.lose()
        with self.assertLogs('worq', 'WARNING') as logs:
            eq_(desk.turn([], 1), ([], []))
            eq_(self.sent() - before, 1)
            eq_(self.q.status(['a', 'b']), ['processing', 'enqueued'])
            desk._retry_at = 0
            eq_([(d.id, d.number) for d in desk.turn([], 1)[0]], [('a', 1)])
        self.assertIn('1 tasks were released', logs.output[-1])
        eq_(self.q.status(['a', 'b']), ['processing', 'enqueued'])
        eq_(self.q.stats()['redelivered'], 0)

    def test_turn_that_settles(self) -> None:
        """One that takes nothing is sent again, and its outcome counts once."""
        proxy = self.enterContext(Proxy(urlsplit(self.url).port or 6379))
        q = redis.TaskQueue(proxy.url, self.name)
        self.addCleanup(q.close)
        desk = Desk(q, 15_000)
        self.q.put([message('a')])
        [delivery], _ = desk.turn([], 1)
        before = self.sent()
        proxy.lose()
        eq_(desk.turn([outcome(delivery, 'value', b'x')], 0), ([], []))
        eq_(self.sent() - before, 2)
        eq_((desk.untold, self.q.status(['a'])), ([], ['success']))
        eq_(self.q.stats()['succeeded'], 1)
