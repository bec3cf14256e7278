"""One command on one connection: what is sent, what is read, and for how long is waited."""
from __future__ import annotations

import socket
import time
import unittest
from unittest import mock

import redis as client

from test import support
from test.support import eq_
from worq.queue import connect


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
        with mock.patch.object(connect, 'pack_command', None):
            eq_(b''.join(connect.pack(connection, command)), packed)
        with self.assertRaises(client.DataError):
            connect.sender(connection)('ECHO', None)

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
