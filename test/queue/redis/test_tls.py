"""Redis behind TLS: a proxy of the test's own ends it."""
from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import threading
import unittest
from pathlib import Path

from test import support
from test.queue.contract import message
from worq.errors import QueueError
from worq.queue.redis import queue as redis


def copy(source: socket.socket, target: socket.socket) -> None:
    """Pass bytes on until there are no more."""
    try:
        while data := source.recv(65536):
            target.sendall(data)
    except OSError:
        pass
    finally:
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


class Tls(unittest.TestCase):

    def setUp(self) -> None:
        if not shutil.which('openssl'):
            self.skipTest('no openssl to make a certificate with')
        self.server = support.start_redis()
        self.addCleanup(self.server.close)
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.cert, key = folder / 'cert.pem', folder / 'key.pem'
        subprocess.run(
            ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1',
             '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1',
             '-keyout', key, '-out', self.cert], check=True, capture_output=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.cert, key)
        self.door = socket.create_server(('127.0.0.1', 0))
        self.port = self.door.getsockname()[1]
        self.ends: list[socket.socket] = []
        threading.Thread(target=self.serve, daemon=True).start()
        self.addCleanup(self.shut)

    def shut(self) -> None:
        for end in [self.door, *self.ends]:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def serve(self) -> None:
        while True:
            try:
                plain, _ = self.door.accept()
            except OSError:
                return
            try:
                client = self.context.wrap_socket(plain, server_side=True)
            except OSError:   # the client does not trust us
                plain.close()
                continue
            server = socket.create_connection(('127.0.0.1', self.server.port))
            self.ends += [client, server]
            for pair in [(client, server), (server, client)]:
                threading.Thread(target=copy, args=pair, daemon=True).start()

    def test_trusted(self) -> None:
        """With the certificate's authority in the URL, tasks pass through TLS."""
        url = f'rediss://localhost:{self.port}/0?ssl_ca_certs={self.cert}'
        with redis.TaskQueue(url, 'tls', retry_for=1) as q:
            self.assertEqual(q.put([message('a')]), [])
            self.assertEqual([d.id for d in q.take('p', 1)], ['a'])
            bell = q.bell('p')
            try:
                bell.arm()
            finally:
                bell.close()

    def test_not_trusted(self) -> None:
        """A certificate that nobody vouches for is refused, and the error says it is that."""
        url = f'rediss://localhost:{self.port}/0'
        with redis.TaskQueue(url, 'tls', retry_for=0.1) as q, \
                self.assertRaisesRegex(QueueError, '(?i)certificate'):
            q.size()
