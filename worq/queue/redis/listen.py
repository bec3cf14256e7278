"""The bell of a queue on Redis: a connection on which wake-up tokens arrive."""
from __future__ import annotations

import socket
import time
from contextlib import suppress
from typing import Any

from redis import exceptions as errors
from redis.connection import AbstractConnection

from worq import const
from worq.errors import QueueError
from worq.queue.redis.connect import BLOCK, Link, read

__all__ = ['Bell', 'blocking', 'drain']

CHUNK = 1000        # entries of an inbox that are taken at a time
POLL = const.POLL / 1000   # seconds that a bell listens, if nothing is due before that
SILENCE = 2.5       # seconds after which a bell that has not rung is armed anew
MARGIN = 0.005      # seconds that a bell rings after what is due: before it would be in vain


class Bell:
    """Listens for wake-up tokens on a connection of its own, see `base.Bell`."""

    keeps = True   # a token waits for whoever listens next
    prompt = False

    def __init__(self, link: Link, *keys: str) -> None:
        self._link = link
        self._keys = keys
        self._connection: AbstractConnection | None = None
        self._armed = False
        self._since = 0.0           # monotonic: when it was armed
        self._due = 0.0             # monotonic: what `expect` was told
        self._struck = False
        link.tell(self)

    def strike(self) -> None:
        """Ring, since the link has lost Redis: from a host that is gone nothing ever comes."""
        connection = self._connection
        sock = connection and connection._sock
        self._struck = True
        if sock:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """The descriptor of the socket; QueueError before the first ``arm``."""
        sock = self._connection and self._connection._sock
        if not sock:
            raise QueueError('the bell is not armed')
        return int(sock.fileno())

    def expect(self, pause: float | None) -> None:
        """Ring by itself, once it is armed the next time, when something may be due.

        :param pause: seconds until then; None: nothing will be.
        """
        self._due = float('inf') if pause is None else time.monotonic() + pause + MARGIN

    def forget(self) -> None:
        """Nothing is known any more of what may be due."""
        self._due = 0.0

    def _patience(self) -> float:
        left = self._due - time.monotonic()
        # What was due then is looked for right after this. While nobody knows what comes next, we
        # listen for no longer than it may come too late.
        return min(left, POLL) if left > 0 else BLOCK

    def arm(self) -> None:
        """Begin to listen, on a new connection if the last one broke, or is silent.

        :raises QueueError: if Redis is out of reach. It is tried once, not for long.
        """
        if self._armed and time.monotonic() - self._since < SILENCE:
            return
        if self._armed:   # Redis answers within two: something on the way has forgotten us
            self._drop()
        try:
            if self._struck:
                self._drop()
            if self._connection is None:
                self._struck = False
                self._connection = self._link.open()
            self._connection.send_command(
                'BLPOP', *self._keys, f'{self._patience():.3f}', check_health=False)
        except errors.RedisError as error:
            self._drop()
            raise QueueError(
                f'Redis at {self._link.address.label} is out of reach: {error}') from error
        self._armed = True
        self._since = time.monotonic()

    def clear(self) -> bool:
        """Take the reply: Redis gives one within two seconds. A broken connection is dropped."""
        if not self._armed or self._connection is None:
            return True
        self._armed = False
        try:
            return self._connection.read_response() is not None
        except errors.RedisError:
            self._drop()
            return True

    def due(self) -> bool:
        """Whether it is time to look: always, unless there was an answer that it is later."""
        return self._due == float('inf') or self._due <= time.monotonic() + MARGIN

    def close(self) -> None:
        """Stop listening. May be called twice."""
        self._drop()

    def forked(self) -> None:
        """This is the child of a fork: its copy of the connection is closed."""
        self._drop()

    def _drop(self) -> None:
        connection, self._connection, self._armed = self._connection, None, False
        if connection is not None:
            connection.disconnect()


def blocking(seconds: float) -> str:
    """For how long a command blocks that may do so for these seconds; 0 would be for ever."""
    return f'{max(0.01, min(seconds, BLOCK)):.3f}'


def drain(key: str, timeout: float, connection: AbstractConnection) -> list[bytes]:
    """Wait for an entry of a list, and take it with those behind it, in one round trip.

    Redis goes on to the LPOP once the BLPOP before it has ended. That may lose an entry: they
    are only hints.
    """
    commands: list[tuple[Any, ...]] = [('LPOP', key, CHUNK)]
    if timeout > 0:
        commands.insert(0, ('BLPOP', key, blocking(timeout)))
    connection.send_packed_command(connection.pack_commands(commands), False)
    found = (read(connection) or ())[1:] if timeout > 0 else ()
    return [*found, *(read(connection) or ())]
