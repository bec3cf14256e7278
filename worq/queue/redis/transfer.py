"""Long commands: as long as bytes flow they are waited for, and what was too long is known.

The time-out of a connection bounds silence. That a long command takes minutes on a slow link
is none: some of it goes out, or what the system has taken from us is getting less.
"""
from __future__ import annotations

import re
import sys
from typing import Any, Callable, Sequence

from redis import exceptions as errors
from redis.connection import AbstractConnection

try:
    import fcntl
    import termios
except ImportError:   # no POSIX: then the system does not tell what it still has to send
    fcntl = None   # type: ignore[assignment]

__all__ = ['BIG', 'Broken', 'Unfit', 'converse', 'reply_to', 'send']

BIG = 64 << 10      # bytes: a shorter command is gone at once, or never
PIECE = 256 << 10   # bytes that one step sends at most
#: What Redis answers to an argument, or a value, that is longer than it may be.
LIMITS = re.compile(r'invalid bulk length|string exceeds maximum allowed size')

Read = Callable[[AbstractConnection], Any]


class Broken(errors.ConnectionError):
    """The connection broke, or fell silent, while a long command was under way."""

    def __init__(self, cause: Exception, size: int) -> None:
        super().__init__(str(cause))
        self.size = size


class Unfit(errors.RedisError):
    """The answer to a command of which a part is longer than the server allows."""

    def __init__(self, cause: Exception, size: int) -> None:
        super().__init__(str(cause))
        self.size = size


def converse(connection: AbstractConnection, packed: Sequence[bytes], read: Read) -> Any:
    """Send a long command and read its reply.

    :raises Broken, Unfit: if it did not get through; nothing of it has been done then, unless
        only the reply was lost.
    """
    return reply_to(connection, send(connection, packed, read), sum(map(len, packed)), read)


def send(connection: AbstractConnection, packed: Sequence[bytes], read: Read) -> int:
    """Send a long command; how many bytes of it the system still has."""
    if connection._sock is None:
        raise errors.ConnectionError('the connection is closed')
    sock: Any = connection._sock
    # A connection that lay idle is given less time for a short command, since it may have died
    # unnoticed. Here to begin anew is dear.
    patience = connection.socket_timeout
    if patience is not None and (sock.gettimeout() or patience) < patience:
        sock.settimeout(patience)
    size = sum(map(len, packed))
    try:
        for part in packed:
            rest = memoryview(part)
            while rest:
                rest = rest[sock.send(rest[:PIECE]):]
    except TimeoutError as error:
        raise Broken(error, size) from error
    except OSError as error:
        # Whoever hangs up on us may have said why, and that is there to be read.
        try:
            read(connection)
        except errors.ResponseError as answer:
            raise understood(answer, size) from error
        except errors.RedisError:
            pass
        raise Broken(error, size) from error
    return unsent(sock)


def reply_to(connection: AbstractConnection, left: int, size: int, read: Read) -> Any:
    """The reply to a long command.

    :param left: how many bytes of it the system had when all of it was sent.
    :param size: its own.
    """
    while True:
        try:
            return read(connection)
        except errors.ResponseError as answer:
            raise understood(answer, size) from answer
        except errors.TimeoutError as error:
            before, left = left, unsent(connection._sock)
            if left >= before:
                raise Broken(error, size) from error
        except errors.ConnectionError as error:
            raise Broken(error, size) from error


def understood(answer: errors.ResponseError, size: int) -> errors.RedisError:
    """The same error, or what it means for a command that is too long."""
    return Unfit(answer, size) if LIMITS.search(str(answer)) else answer


def unsent(sock: Any) -> int:
    """How many bytes the other side has not acknowledged; 0 where nobody can tell."""
    if fcntl is None or sock is None:
        return 0
    try:
        answer = fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)
