"""From a URL to connections with Redis, and from its errors to ours.

redis-py would send a command again that may have been executed. So its connections are
used bare, and what may be repeated is repeated here, where it is known.

A lone server, Sentinel and Cluster differ in one thing: how the server is found to which to
connect, see `worq.queue.redis.discovery`. It is looked for again after each connection that broke,
and after each answer that says that it is not there.
"""
from __future__ import annotations

import random
import re
import threading
import time
import weakref
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Callable, Iterator, Protocol, Sequence, TypeVar

from redis import exceptions as errors
from redis.connection import AbstractConnection

from worq.errors import QueueError, TooLarge
from worq.lock import Lock
from worq.printable import logger
from worq.queue.redis import transfer
from worq.queue.redis import acl
from worq.queue.redis.address import BLOCK, Address, parse
from worq.queue.redis.packing import pack
from worq.streams import fill

__all__ = ['Address', 'Link', 'Unreplicated', 'is_damage', 'parse', 'read', 'sender', 'BLOCK']

HONEST = 2.0        # seconds that a server has to answer, however impatient the caller is
SHORTEST = 0.2      # seconds for a try, were there even less left
STALE = 60.0        # seconds after its end that patience is forgotten: its `with` was interrupted
FINDING = 1.5       # seconds for the first words with a server that we have been sent to
OLDEST = (6, 2)
LARGE = 256 << 10   # bytes: no limit of a server is lower, so what is shorter is never to blame

log = logger(__name__)
T = TypeVar('T')

Kinds = type[Exception] | tuple[type[Exception], ...] | None

ANSWERS: list[tuple[str, Kinds, str]] = [   # what to do about a refusal
    ('OOM', errors.OutOfMemoryError,
     'it is full. Raise its maxmemory, or let the pools work the queue off'),
    ('READONLY', errors.ReadOnlyError,
     'it is a replica. Use the address of its master, or redis+sentinel://'),
    ('MISCONF', None, 'it cannot save to its disk, so it takes no writes. See its log'),
    ('CLUSTERDOWN', errors.ClusterDownError, 'the cluster is down'),
    ('MOVED', errors.MovedError,
     'this queue is on another node of the cluster. Use redis+cluster://'),
    ('ASK|TRYAGAIN|non local key', (errors.AskError, errors.TryAgainError),
     'the slot of this queue is being moved to another node. Try again when that is done'),
    (r'WRONGTYPE|\w+\.lua:\d+', None,
     'something else has written to the keys of this queue, and they are repaired now. If that '
     'goes on, use another database'),
]
DAMAGE = ANSWERS[-1][2]
OTHER = re.compile(r'OTHERSCHEMA (\d+) (\d+)')   # of a script: whose number is in `m`, and ours
#: Refusals by a server that is not, or not yet, the one to ask. Nothing has been done then:
#: each script that writes begins with a key that never exists, and so fails at once in a slot
#: that is being moved, when some of its keys are here and some are there.
ELSEWHERE = (errors.ReadOnlyError, errors.AskError, errors.ClusterDownError, errors.TryAgainError)
SIZES = 'proto-max-bulk-len', 'client-query-buffer-limit'   # what a server limits
IN_SCRIPT = re.compile(r'\b(READONLY|CLUSTERDOWN|non local key)\b')   # of another class there


class Unreplicated(errors.RedisError):
    """Stored, but not yet by as many replicas as were asked for."""


class Listener(Protocol):
    """Somebody who listens on a connection of its own, and should know if Redis is lost."""

    def strike(self) -> None:
        """Look after your connection; from any thread."""


class Patience(threading.local):
    """Until when a thread tries to reach Redis, if it has said so."""

    until: float | None = None


class Link:
    """Connections with one Redis. Every method may be called from any thread.

    1. A connection serves one caller at a time, and waits for the next in a list.
    2. After any exception it is closed: nobody else may get the reply.
    3. What may be sent twice is sent again until `retry_for` seconds are over.
    4. Who waits for an answer waits no longer than that in all, wherever it hangs. As long as
       the bytes of a long command flow it does not hang.
    5. What is too long to get through is told from a server that is away.
    """

    def __init__(self, address: Address, retry_for: float = 5, strict: bool = False) -> None:
        self.address = address
        self.retry_for = retry_for
        self.strict = strict
        self._listeners: list[weakref.ref[Listener]] = []
        self._idle: list[AbstractConnection] = []
        self._where: tuple[str, int] | None = None    # of a server that had to be found
        self._patience = Patience()
        self._begin()

    def _begin(self) -> None:
        self._lock = Lock()   # of the first connection, that checks the server
        self._checked: set[object] = set()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Inside, this thread tries to reach Redis for so long, but once in any case."""
        before = self._patience.until
        until = time.monotonic() + max(seconds, 0)
        self._patience.until = until if before is None else min(before, until)
        try:
            yield
        finally:
            self._patience.until = before

    def run(self, work: Callable[[AbstractConnection], T], again: bool = True) -> T:
        """Do some work on a connection.

        :param again: whether it may be done more than once.
        :raises QueueError: if Redis does not answer in time, or refuses.
        """
        begin = time.monotonic()
        left = self.retry_for
        until = self._patience.until
        if until is not None and begin - until > STALE:
            until = self._patience.until = None
        if until is not None:
            left = min(left, until - begin)
        limit = begin + left
        # The first try is an honest one. It has all of the time that one answer may take, or
        # two fifths of it on a connection that lay idle, for that may have died unnoticed: then
        # a second try, here or by the caller, should find out soon that all is well.
        left = max(left, HONEST) if again or until is not None else self.address.timeout
        pause = 0.05
        idle = self._take_idle()
        refusal: errors.RedisError | None = None
        broken = 0   # how often a long command has not got through
        while True:
            try:
                return self._attempt(work, idle, left)
            except transfer.Unfit as error:
                raise self._too_large(error) from error
            except errors.AuthenticationError as error:
                refused = QueueError(
                    f'Redis at {self.address.label} does not accept the user or the password: '
                    f'{error} An address with them is redis://USER:PASSWORD@HOST, or '
                    'redis://:PASSWORD@HOST without a user')
                refused.denied = True
                raise refused from error
            except (errors.ConnectionError, errors.TimeoutError) as error:
                self.lost()
                left = limit - time.monotonic()
                stale = idle is not None and not isinstance(error, errors.TimeoutError)
                if isinstance(error, transfer.Broken) and error.size >= LARGE and again \
                        and self.answers():
                    # Each connection may break once, but hardly two in the midst of the same.
                    broken += 1
                    if broken > 1:
                        raise self._too_large(error) from error
                    stale = True
                if not again or left <= 0 and not stale:
                    if refusal is not None:   # which says more; time ran out in the next try
                        raise self._refused(refusal) from error
                    raise QueueError(
                        f'Redis at {self.address.label} is out of reach: {error}') from error
                if stale:
                    left = max(left, HONEST)
            except errors.RedisError as error:
                left = limit - time.monotonic()
                if left <= 0 or not self._passing(error):
                    raise self._refused(error) from error
                refusal = error
            if idle is None:
                time.sleep(max(0.0, min(pause * random.uniform(0.5, 1), left)))
                pause = min(pause * 2, 2)
            idle = None   # from now on a new one

    def answers(self) -> bool:
        """Whether the server answers on a new connection."""
        try:
            connection = self.open(min(HONEST, self.address.timeout))
        except (errors.RedisError, QueueError):
            return False
        try:
            return bool(sender(connection)('PING'))
        except errors.RedisError:
            return False
        finally:
            connection.disconnect()

    def late(self) -> bool:
        """Whether this thread has said for how long it tries, and that is over."""
        until = self._patience.until
        return until is not None and time.monotonic() > until

    def post(self, *command: Any) -> Callable[[], Any] | None:
        """Send a command that may be sent twice, and do not wait for its reply.

        :returns: to be called once: it returns the reply, and raises errors of redis-py, after
            which nobody knows what has been done. None if no connection was idle, or it broke.
        """
        connection = self._take_idle()
        if connection is None:
            return None
        where = self._where
        set_timeout(connection, min(HONEST, self.address.timeout))
        packed = pack(connection, command)
        answer: Callable[[AbstractConnection], Any] = read
        try:
            if is_long(packed):
                left, size = transfer.send(connection, packed, read), sum(map(len, packed))
                answer = partial(transfer.reply_to, left=left, size=size, read=read)
            else:
                connection.send_packed_command(packed, False)
        except errors.RedisError:   # what is sent instead will see what is wrong
            connection.disconnect()
            return None
        return lambda: self._use(connection, where, answer)

    def call(self, *command: Any, again: bool = True) -> Any:
        """Send one command; its reply."""
        return self.run(lambda connection: sender(connection)(*command), again)

    def calls(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send many commands at once; their replies, a WRONGTYPE error among them."""
        def work(connection: AbstractConnection) -> list[Any]:
            connection.send_packed_command(connection.pack_commands(commands), False)
            return [reply(connection) for _ in commands]

        def reply(connection: AbstractConnection) -> Any:
            try:
                return read(connection)
            except errors.ResponseError as error:
                if 'WRONGTYPE' not in str(error):
                    raise
                return error
        return self.run(work)

    def open(self, seconds: float | None = None) -> AbstractConnection:
        """A connection that the caller keeps and closes; raises errors of redis-py.

        :param seconds: without an answer after which it is given up.
        :raises QueueError: if the server is not fit.
        """
        fill()
        seconds = self.address.timeout if seconds is None else seconds
        options = dict(self.address.options)
        first = seconds
        if self.address.finder is not None:
            first = min(seconds, FINDING)
            where = self._where = self._where or self.address.finder.find(first)
            options['host'], options['port'] = where
        connection = self.address.kind(
            **options, socket_timeout=first, socket_connect_timeout=first)
        try:
            connection.connect()
            if self.address.finder is not None:
                self._check_role(connection)
            if self._where not in self._checked:
                with self._lock:
                    self._check(connection)
                    self._checked.add(self._where)
            set_timeout(connection, seconds)
            connection.socket_timeout = self.address.timeout   # for long commands, see there
        except BaseException:
            self._where = None
            connection.disconnect()
            raise
        return connection

    def lost(self) -> None:
        """A connection broke: the others are no better, and maybe another server has to be
        found. Those who listen on their own are told, for nobody else would tell them."""
        self._where = None
        self.close()
        for one in list(self._listeners):   # in one step, and so is each change of it: no lock
            listener = one()
            if listener is not None:
                listener.strike()
            else:
                with suppress(ValueError):
                    self._listeners.remove(one)

    def tell(self, listener: Listener) -> None:
        """Have this one told, as long as it exists, when Redis is lost."""
        self._listeners.append(weakref.ref(listener))

    def close(self) -> None:
        """Close what is idle. What is in use is closed when it is not, or kept."""
        idle, self._idle = self._idle, []
        for connection in idle:
            connection.disconnect()

    def forked(self) -> None:
        """In a child: the sockets belong to the parent, and locks may never be released."""
        self._begin()
        self.close()   # closes descriptors only: redis-py sees that the process is another

    def _take_idle(self) -> AbstractConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _attempt(self, work: Callable[[AbstractConnection], T],
                 idle: AbstractConnection | None, left: float) -> T:
        left = min(max(left, SHORTEST), self.address.timeout)
        if idle is None:
            begin = time.monotonic()
            connection = self.open(left)
            left -= time.monotonic() - begin   # to connect and to be answered share the time
            set_timeout(connection, max(left, SHORTEST))
        else:
            connection = idle
            set_timeout(connection, max(0.4 * left, min(left, HONEST)))
        return self._use(connection, self._where, work)

    def _use(self, connection: AbstractConnection, where: tuple[str, int] | None,
             work: Callable[[AbstractConnection], T]) -> T:
        """Do the work, and keep the connection for others if all is well."""
        try:
            result = work(connection)
        except BaseException:
            connection.disconnect()
            raise
        if where == self._where:
            self._idle.append(connection)
        else:   # another thread has found that the server is somewhere else now
            connection.disconnect()
        return result

    def _passing(self, error: errors.RedisError) -> bool:
        """Whether a refusal may be no more the next time, and nothing has been done."""
        if isinstance(error, Unreplicated):
            return True
        if not isinstance(error, ELSEWHERE) and not IN_SCRIPT.search(str(error)):
            return False
        self.lost()
        return self.address.finder is not None

    def _check_role(self, connection: AbstractConnection) -> None:
        """Who told us where the master is may not have noticed yet that it is one no more."""
        if sender(connection)('ROLE')[0] != b'master':
            raise errors.ConnectionError(f'{self._where} is no master')

    def _check(self, connection: AbstractConnection) -> None:
        """Look at the server once: it must be new enough, and should not lose what it has."""
        send = sender(connection)
        try:
            text = send('INFO').decode()
        except errors.ResponseError:
            return   # it may well be as it should
        info = dict(line.split(':', 1) for line in text.splitlines() if ':' in line)
        version = info.get('redis_version', '')
        if tuple(int(n) for n in version.split('.')[:2] if n.isdigit()) < OLDEST:
            raise QueueError(f'Redis at {self.address.label} is version {version or "?"}: '
                             f'WorQ needs 6.2 or newer')
        policy = info.get('maxmemory_policy', 'noeviction')
        if policy != 'noeviction':
            self._warn(f'throws away keys when it is full, so tasks or results may be lost: '
                       f'set its maxmemory-policy to noeviction, not {policy}')
        if info.get('aof_enabled') == '0':
            try:
                saves = send('CONFIG', 'GET', 'save')
            except errors.ResponseError:
                return   # a managed one does not tell, and has its own ways to keep data
            if len(saves) == 2 and not saves[1].strip():
                self._warn('keeps nothing on disk, so all tasks are lost when it stops: '
                           'set its appendonly to yes')

    def _warn(self, what: str) -> None:
        """Say once in this process what is wrong with a server; or refuse it, if strict."""
        where = '' if self._where is None else ' ({}:{})'.format(*self._where)
        text = f'Redis at {self.address.label}{where} {what}'
        if self.strict:
            raise QueueError(text)
        server = self._where or tuple(self.address.options.get(name)
                                      for name in ('host', 'port', 'path'))
        if (server, what) not in _told:
            _told.add((server, what))
            log.warning(text)

    def _too_large(self, error: transfer.Broken | transfer.Unfit) -> TooLarge:
        limit, name = self._limit(error.size)
        if limit:
            why = f'its {name} is {limit:,}'
        elif isinstance(error, transfer.Unfit):
            why = f'see its {" and ".join(SIZES)}'
        else:
            why = 'it answers, but the connection breaks each time. Something on the way may ' \
                  f'have a limit, or its {" or ".join(SIZES)} is lower'
        return TooLarge(f'Redis at {self.address.label} does not take {error.size:,} bytes at '
                        f'once: {why} ({error})', error.size, limit)

    def _limit(self, size: int) -> tuple[int, str]:
        """The lowest limit of the server that this exceeds, and its name; 0 if it tells of none."""
        found = []
        try:
            connection = self.open(min(HONEST, self.address.timeout))
            try:
                for name in SIZES:
                    for number in sender(connection)('CONFIG', 'GET', name)[1::2]:
                        if 0 < int(number) < size:
                            found.append((int(number), name))
            finally:
                connection.disconnect()
        except (errors.RedisError, QueueError, ValueError):   # many do not tell
            pass
        return min(found, default=(0, ''))

    def denied(self, text: str, commands: Sequence[str] = ()) -> QueueError:
        """The error for a user who has too few rights.

        :param commands: those that the user may not run, if the server has not named one.
        """
        user = str(self.address.options.get('username') or 'default')
        error = QueueError(f'Redis at {self.address.label}: '
                           f'{acl.advice(user, "worq:", text, commands)} ({text})')
        error.denied = True
        return error

    def _refused(self, error: errors.RedisError) -> QueueError:
        text = str(error)
        if isinstance(error, errors.NoPermissionError) or acl.is_denial(text):
            return self.denied(text)
        if isinstance(error, Unreplicated):
            return QueueError(f'Redis at {self.address.label}: {text}')
        if other := OTHER.match(text):
            theirs, ours = int(other[1]), int(other[2])
            refused = QueueError(
                f'Redis at {self.address.label}: the data of this queue has schema number '
                f'{theirs}, and this program works with {ours}, so nothing was done. Run a version '
                'of WorQ that works with it, or use a queue of another name; see "Upgrading a '
                'live queue" in the documentation')
            refused.schemas = theirs, ours
            return refused
        for word, kind, hint in ANSWERS:
            if re.search(rf'\b({word})\b', text) or (kind and isinstance(error, kind)):
                refused = QueueError(f'Redis at {self.address.label}: {hint} ({text})')
                refused.damaged = hint == DAMAGE
                return refused
        return QueueError(f'Redis at {self.address.label} refused: {text}')


def is_damage(error: QueueError) -> bool:
    """Whether keys of the queue are not as they should be."""
    return error.damaged


_told: set[object] = set()   # what has been warned of


def set_timeout(connection: AbstractConnection, seconds: float) -> None:
    """How long the connection waits for an answer from now on."""
    sock = connection._sock
    if sock is not None and sock.gettimeout() != seconds:   # to set it is a system call
        sock.settimeout(seconds)


def sender(connection: AbstractConnection) -> Callable[..., Any]:
    """A function that sends a command on this connection and returns its reply."""
    def send(*command: Any) -> Any:
        packed = pack(connection, command)
        if is_long(packed):
            return transfer.converse(connection, packed, read)
        connection.send_packed_command(packed, False)
        return read(connection)
    return send


def is_long(packed: Sequence[bytes]) -> bool:
    """Whether to send it may take longer than it takes Redis to answer."""
    return len(packed[0]) > transfer.BIG or len(packed) > 1   # of hiredis it is one piece


def read(connection: AbstractConnection) -> Any:
    """The next reply, by redis-py's parser. Its connection would first word the error that there
    might be, and close itself; `Link` does that. It is a tenth of what a call costs the client."""
    try:
        reply = connection._parser.read_response()
    except TimeoutError as error:   # from some versions of redis-py; others raise their own
        raise errors.TimeoutError(str(error)) from error
    except OSError as error:
        raise errors.ConnectionError(f'error while reading: {error}') from error
    if isinstance(reply, errors.ResponseError):
        raise reply
    return reply
