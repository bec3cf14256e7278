"""From a URL to connections with Redis, and from its errors to ours.

redis-py would send a command again that may have been executed. So its connections are
used bare, and what may be repeated is repeated here, where it is known.
"""
from __future__ import annotations

import logging
import random
import re
import threading
import time
from typing import Any, Callable, NamedTuple, Sequence, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from redis import exceptions as errors
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)

from worq.errors import QueueError
from worq.trust import without_password

__all__ = ['Address', 'Link', 'parse', 'BLOCK']

BLOCK = 1.0         # seconds that a command may block in Redis
TIMEOUT = 5.0       # seconds without an answer after which a connection is given up
OLDEST = (6, 2)

log = logging.getLogger(__name__)
T = TypeVar('T')

OPTIONS: dict[str, Callable[[str], object]] = {
    'db': int, 'timeout': float,
    'ssl_ca_certs': str, 'ssl_ca_path': str, 'ssl_certfile': str, 'ssl_keyfile': str,
    'ssl_password': str,
    'ssl_cert_reqs': lambda text: {'none': 'none', 'optional': 'optional',
                                   'required': 'required'}[text.lower()],
    'ssl_check_hostname': lambda text: {'true': True, 'false': False}[text.lower()],
}
HINTS = {'ssl_check_hostname': 'write true or false',
         'ssl_cert_reqs': 'write none, optional or required'}
ANSWERS: list[tuple[str, type[Exception] | None, str]] = [   # what to do about a refusal
    ('OOM', errors.OutOfMemoryError,
     'it is full. Raise its maxmemory, or let the pools work the queue off'),
    ('READONLY', errors.ReadOnlyError, 'it is a replica. Use the address of its master'),
    ('NOPERM', errors.NoPermissionError,
     'the user has too few rights. It needs scripts and all keys worq:*'),
    ('WRONGTYPE', None,
     'something else has written to the keys of this queue. Use another database'),
    ('MISCONF', None, 'it cannot save to its disk, so it takes no writes. See its log'),
    ('CLUSTERDOWN', None, 'the cluster is down'),
    ('MOVED', None, 'this queue is on another node of the cluster'),
]


class Address(NamedTuple):
    """Where Redis is: what a connection is made of, and how it may be shown."""

    kind: type[AbstractConnection]
    options: dict[str, Any]
    label: str              #: the URL without its password


def parse(url: str) -> Address:
    """Read ``redis://``, ``rediss://`` and ``unix://`` URLs.

    ``redis://user:password@host:6379/0``, ``rediss://...?ssl_ca_certs=/ca.pem``,
    ``unix:///run/redis.sock?db=0``. Parts that are left out have their defaults.

    :raises ValueError: for any mistake, saying what to write.
    """
    parts = urlsplit(url)
    label = without_password(url)
    options: dict[str, Any] = {}

    def wrong(what: str, hint: str) -> ValueError:
        return ValueError(f'{what} in {label!r}: {hint}')

    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            raise wrong(f'unknown option {name!r}', f'it may be one of {", ".join(OPTIONS)}')
        if name.startswith('ssl_') and parts.scheme != 'rediss':
            raise wrong(f'option {name!r}', 'it needs rediss://')
        try:
            options[name] = OPTIONS[name](text)
        except (ValueError, KeyError):
            hint = HINTS.get(name, 'write a number')
            raise wrong(f'bad {name} {text!r}', hint) from None
    if parts.scheme == 'unix':
        if not parts.path or parts.path == '/':
            raise wrong('no path', 'write unix:///run/redis.sock, with three slashes')
        options['path'] = unquote(parts.path)
    elif parts.scheme in ('redis', 'rediss'):
        try:
            options['port'] = 6379 if parts.port is None else parts.port
        except ValueError:
            hint = 'write a number up to 65535, as in redis://host:6379'
            raise wrong('bad port', hint) from None
        options['host'] = unquote(parts.hostname or 'localhost')
        if database := parts.path.strip('/'):
            if not database.isascii() or not database.isdigit():
                hint = 'write a number, as in redis://host/0'
                raise wrong(f'bad database {database!r}', hint)
            options['db'] = int(database)
    else:
        raise wrong(f'unknown scheme {parts.scheme!r}', 'write redis://, rediss:// or unix://')
    if options.get('db', 0) < 0:
        raise wrong('bad database', 'write a number from 0')
    if parts.username:
        options['username'] = unquote(parts.username)
    if parts.password:
        options['password'] = unquote(parts.password)
    timeout = options.pop('timeout', TIMEOUT)
    if not timeout > BLOCK:
        raise wrong('bad timeout', f'write seconds, more than {BLOCK:g}')
    options.update(
        socket_timeout=timeout, socket_connect_timeout=timeout, protocol=2)
    kinds = {'redis': Connection, 'rediss': SSLConnection, 'unix': UnixDomainSocketConnection}
    if parts.scheme != 'unix':
        options['socket_keepalive'] = True
    return Address(kinds[parts.scheme], options, label)


class Link:
    """Connections with one Redis. Every method may be called from any thread.

    1. A connection serves one caller at a time, and waits for the next in a list.
    2. After any exception it is closed: nobody else may get the reply.
    3. What may be sent twice is sent again until `retry_for` seconds are over.
    """

    def __init__(self, address: Address, retry_for: float = 5, strict: bool = False) -> None:
        self.address = address
        self.retry_for = retry_for
        self.strict = strict
        self._idle: list[AbstractConnection] = []
        self._lock = threading.Lock()   # of the first connection, that checks the version
        self._checked = False

    def run(self, work: Callable[[AbstractConnection], T], again: bool = True) -> T:
        """Do some work on a connection.

        :param again: whether it may be done more than once.
        :raises QueueError: if Redis does not answer in time, or refuses.
        """
        limit = time.monotonic() + (self.retry_for if again else 0)
        pause = 0.05
        while True:
            try:
                return self._attempt(work)
            except errors.AuthenticationError as error:
                raise QueueError(
                    f'Redis at {self.address.label} does not accept the user or the password: '
                    f'{error}') from error
            except (errors.ConnectionError, errors.TimeoutError) as error:
                self.close()   # the others are no better
                left = limit - time.monotonic()
                if left <= 0:
                    raise QueueError(
                        f'Redis at {self.address.label} is out of reach: {error}') from error
                time.sleep(min(pause * random.uniform(0.5, 1), left))
                pause = min(pause * 2, 2)
            except errors.RedisError as error:
                raise self._refused(error) from error

    def call(self, *command: Any, again: bool = True) -> Any:
        """Send one command; its reply."""
        return self.run(lambda connection: sender(connection)(*command), again)

    def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send many commands at once; their replies."""
        def work(connection: AbstractConnection) -> list[Any]:
            connection.send_packed_command(connection.pack_commands(commands), False)
            return [connection.read_response() for _ in commands]
        return self.run(work)

    def open(self) -> AbstractConnection:
        """A connection that the caller keeps and closes; raises errors of redis-py."""
        connection = self.address.kind(**self.address.options)
        try:
            connection.connect()
            if not self._checked:
                with self._lock:
                    self._check(connection)
                    self._checked = True
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self) -> None:
        """Close what is idle. What is in use is closed when it is not, or kept."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()

    def forked(self) -> None:
        """In a child: the sockets belong to the parent, and locks may never be released."""
        self._lock = threading.Lock()
        self.close()   # closes descriptors only: redis-py sees that the process is another

    def _attempt(self, work: Callable[[AbstractConnection], T]) -> T:
        idle = self._idle
        try:
            connection = idle.pop()
        except IndexError:
            connection = self.open()
        try:
            result = work(connection)
        except BaseException:
            connection.disconnect()
            raise
        idle.append(connection)
        return result

    def _check(self, connection: AbstractConnection) -> None:
        """Look at the server once: it must be new enough, and should not evict what lives."""
        try:
            text = sender(connection)('INFO').decode()
        except errors.NoPermissionError:
            return   # it may well be as it should
        info = dict(line.split(':', 1) for line in text.splitlines() if ':' in line)
        version = info.get('redis_version', '')
        if tuple(int(n) for n in version.split('.')[:2] if n.isdigit()) < OLDEST:
            raise QueueError(f'Redis at {self.address.label} is version {version or "?"}: '
                             f'WorQ needs 6.2 or newer')
        policy = info.get('maxmemory_policy', '')
        if policy.startswith('allkeys') and info.get('maxmemory', '0') != '0':
            warning = (f'Redis at {self.address.label} evicts keys when it is full, so tasks '
                       f'may be lost: set its maxmemory-policy to noeviction, not {policy}')
            if self.strict:
                raise QueueError(warning)
            log.warning(warning)

    def _refused(self, error: errors.RedisError) -> QueueError:
        text = str(error)
        for word, kind, hint in ANSWERS:
            if re.search(rf'\b{word}\b', text) or (kind and isinstance(error, kind)):
                return QueueError(f'Redis at {self.address.label}: {hint} ({text})')
        return QueueError(f'Redis at {self.address.label} refused: {text}')


def sender(connection: AbstractConnection) -> Callable[..., Any]:
    """A function that sends a command on this connection and returns its reply."""
    def send(*command: Any) -> Any:
        connection.send_command(*command, check_health=False)
        return connection.read_response()
    return send
