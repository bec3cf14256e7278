"""How processes of one machine wake each other: a datagram to a socket that the file tells of.

Whoever finds nothing is entered there, in the same transaction; whoever brings something takes the
entry out, and rings after its commit. So nobody rings at a busy queue, and nobody is forgotten. A
ring that is lost all the same costs a look every two seconds. Where there are no such sockets, one
looks whether the file has changed.
"""
from __future__ import annotations

import os
import select
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress

from worq.ids import new_nonce

__all__ = ['Doorbell', 'ring']

ABSTRACT = sys.platform == 'linux'   # such an address is no file, and ends with its socket
RING, SILENT = b'!', b'.'


class Doorbell:
    """A socket to which others send when there is something."""

    def __init__(self) -> None:
        name = f'worq-{new_nonce()}{new_nonce()}'
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self._owner = os.getpid()
        if ABSTRACT:
            self.address = '@' + name
            self.socket.bind('\0' + name)
        else:
            self.address = os.path.join(tempfile.gettempdir(), name)
            self.socket.bind(self.address)
            os.chmod(self.address, 0o600)
        self.until = 0.0   # who brings something rings here, until then
        self.changes = 0   # of the file, when it was looked at last
        self._poll = select.poll()
        self._poll.register(self.socket, select.POLLIN)

    def fileno(self) -> int:
        return self.socket.fileno()

    def wait(self, seconds: float) -> bool:
        """Wait for a ring; whether there was one."""
        until = time.monotonic() + seconds
        while not self._poll.poll(max(until - time.monotonic(), 0) * 1_000):
            if time.monotonic() >= until:
                return False
        return self.clear()

    def clear(self) -> bool:
        """Take all rings; whether one was for more than time."""
        rang = False
        with suppress(BlockingIOError):
            while True:
                rang = self.socket.recv(16) != SILENT or rang
        return rang

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        if self.socket.fileno() < 0:
            return
        self.socket.close()
        if not ABSTRACT and self._owner == os.getpid():
            with suppress(OSError):
                os.unlink(self.address)


def ring(addresses: Iterable[str], sign: bytes = RING) -> int:
    """Ring at addresses; at how many of them nobody is."""
    gone = 0
    for address in addresses:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender, \
                suppress(BlockingIOError):   # it has been rung at more than enough
            sender.setblocking(False)
            try:
                sender.sendto(sign, '\0' + address[1:] if address[:1] == '@' else address)
            except (ConnectionError, FileNotFoundError):
                gone += 1
    return gone
