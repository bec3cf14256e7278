"""Long values of Redis, read in pieces.

So none is longer than a client may be sent at once; a break in the midst costs one piece; and who
has no time for all of it goes on the next time where it has stopped.
"""
from __future__ import annotations

from collections import OrderedDict
from functools import partial
from threading import Lock
import time
from typing import Any, Callable

from redis.connection import AbstractConnection

from worq import const
from worq.errors import Unfinished
from worq.queue.redis.connect import HONEST, Link, read

__all__ = ['Chunks']

PIECE = 256 << 10    # bytes
FIRST = 64 << 10     # bytes that nobody has to wait for
AHEAD = 3            # pieces that are asked for at a time, at most
QUICK, SLOW = 0.1, 0.5   # seconds: sooner come, more are asked for; later, fewer
KEPT = 64 << 20      # bytes of what was begun and not finished

Work = Callable[[AbstractConnection], Any]


class Chunks:
    """Reads values of one server.

    :param link: to it.
    :param run: does some work on a connection, as ``link.run`` does.
    """

    def __init__(self, link: Link, run: Callable[[Work], Any]) -> None:
        self._link = link
        self._run = run
        self._lock = Lock()   # around _begun, for a moment
        self._begun: OrderedDict[str, list[bytes]] = OrderedDict()

    def read(self, key: str, life: tuple[Any, ...], expected: bytes = b'',
             start: int = 0, whole: bool = True) -> bytes | None:
        """The value of a key; None if it is not there, or has been replaced meanwhile.

        :param life: a command that tells whose value it is.
        :param expected: what it answers if that is the one that is meant; empty: it tells how
            the value begins, whatever that is.
        :param start: where to begin.
        :param whole: if not, b'' for what is long, and the next call goes on.
        :raises Unfinished: if the time is over that there is for it.
        """
        if not whole:
            return self._begin(key)
        with self._lock:
            parts = self._begun.pop(key, [])
        at = start + sum(map(len, parts))
        ahead, limit = 1, time.monotonic() + HONEST
        while True:
            since = time.monotonic()
            if parts and since > limit and self._link.late():
                self._keep(key, parts)
                raise Unfinished(f'Redis at {self._link.address.label}: {at - start:,} bytes of '
                                 'something long have come in the time that there was')
            asked: list[tuple[Any, ...]] = [
                ('GETRANGE', key, at + n * PIECE, at + (n + 1) * PIECE - 1) for n in range(ahead)]
            if parts:   # what comes in one step is of one value
                asked.append(life)
            found = self._run(partial(exchange, asked))
            if parts and found.pop() != (expected or parts[0][:const.NONCE]):
                return None if expected else self.read(key, life)
            for piece in found:
                parts.append(piece)
                at += len(piece)
                if len(piece) < PIECE:
                    return b''.join(parts) or None
            took = time.monotonic() - since
            ahead = min(ahead + 1, AHEAD) if took < QUICK else max(1, ahead - (took > SLOW))

    def _begin(self, key: str) -> bytes | None:
        with self._lock:
            if key in self._begun:   # and there is more than its first piece, perhaps
                return b''
        piece: bytes = self._run(partial(exchange, [('GETRANGE', key, 0, FIRST - 1)]))[0]
        if len(piece) < FIRST:
            return piece or None
        self._keep(key, [piece])
        return b''

    def _keep(self, key: str, parts: list[bytes]) -> None:
        with self._lock:
            self._begun[key] = parts
            size = sum(sum(map(len, each)) for each in self._begun.values())
            while size > KEPT and len(self._begun) > 1:
                size -= sum(map(len, self._begun.popitem(last=False)[1]))

    def keep(self, key: str, value: bytes) -> None:
        """Have the next ``read`` of this need little, for this one was in vain."""
        self._keep(key, [value])


def exchange(commands: list[tuple[Any, ...]], connection: AbstractConnection) -> list[Any]:
    """Send these, and read their answers."""
    connection.send_packed_command(connection.pack_commands(commands), False)
    return [read(connection) for _ in commands]
