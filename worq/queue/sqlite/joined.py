"""The queue in a file by a connection of the application's: a part of its transaction.

A writer of SQLite is alone: what such a transaction finds in the queue is so until it ends, and
what it puts is judged at once. So its verbs are those of the queue itself, in a savepoint each.
Nobody else writes to the file meanwhile, so no lease is renewed, and none is taken away: the pause
counts for nobody, as after one of the whole machine.
"""
from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FunctionType
from typing import Any, Never, TypeVar

from worq import const
from worq.errors import QueueError
from worq.queue import base
from worq.queue.base import Argument, Held, Lost, Message, Note, Outcome, Refusal
from worq.queue.machine.inspection import status
from worq.queue.reading import Reading
from worq.queue.sqlite.application import Plain, connection_of, plain, tell_wrapper
from worq.queue.sqlite.file import File
from worq.queue.sqlite.install import check_mode
from worq.queue.sqlite.store import Rows
from worq.queue.sqlite.waiting import Waiting
from worq.queue.validation import check_edges, check_messages, check_outcomes

__all__ = ['Brought', 'Joined']

FIRST, LAST = 0.001, 0.05   # seconds between two looks whether a transaction is over
PATIENCE = 60.0         # seconds for which that is looked at: idle pools look by themselves, too
WAIT = 'begin the transaction with BEGIN IMMEDIATE, so that it waits for others who write'
LONGER = 'a connection with a longer timeout waits longer for them'

T = TypeVar('T')


class Joined(base.TaskQueue):
    """See `TaskQueue.using` of ``worq.queue.base``. It belongs to the thread of its connection.

    :param queue: the queue itself, its file, and its key and clock in it.
    :param lives: tells how many lives the queue has had, as all others see it.
    :param brought: is told of what the transaction brings.
    """

    def __init__(self, queue: base.TaskQueue, file: File, key: bytes, clock: Callable[[], int],
                 budget: int, connection: object, lives: Callable[[], int],
                 brought: Brought) -> None:
        super().__init__(queue.url, queue.name)
        self.connection = connection_of(connection)
        #: Lives that the queue has had with all that was put here. Nobody else puts meanwhile: so
        #: if there are as many in the file, as others see it, the transaction is over.
        self.mark = 0
        self._given = connection
        self._file = file
        self._key = key
        self._clock = clock
        self._lives = lives
        self._store = Rows(self._tell, budget)
        self._waiting = Waiting(self._store)
        self._brought = brought
        self._check()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Joined) and other.connection is self.connection \
            and (other.url, other.name) == (self.url, self.name)

    def __hash__(self) -> int:
        return hash((id(self.connection), self.name))

    def _check(self) -> None:
        """ValueError unless it is a connection with this very file."""
        try:
            with plain(self.connection) as db:
                path = db.execute('PRAGMA database_list').fetchone()[2]
                one, other = os.stat(path or os.devnull), os.stat(self._file.path)
                same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
                if same:
                    check_mode(db, path)
        except FileNotFoundError:
            same = False
        except sqlite3.Error as error:
            raise ValueError(f'the connection cannot be used: {error}') from error
        if not same:
            raise ValueError(
                f'the connection is with {path or "a database in memory"}, and this queue is in '
                f'{self._file.path}. They must be one file: give the application its tables '
                '(worq.queue.sqlite.install), and make the queue of the address of that file')

    # -- whether it is over ---------------------------------------------------------

    def is_over(self, mark: int = 0) -> bool:
        """Whether the transaction is known to be over; any thread may ask.

        With ``autocommit=False`` the next one begins at once: so the connection does not tell.

        :param mark: of what was put in it; 0: the last.
        """
        try:
            return not self.connection.in_transaction or self._lives() >= (mark or self.mark)
        except sqlite3.Error:   # it was closed, and so taken back
            return True

    def is_open(self, mark: int = 0) -> bool:
        """Whether it is not over. One that was rolled back counts as open while the next one is,
        unless there is always a next one."""
        if self.is_over(mark):
            return False
        return getattr(self.connection, 'autocommit', -1) is not False or self.has_put()

    def has_put(self) -> bool:
        """Whether what was put is there in the connection's transaction, and for nobody else."""
        # Looked at last, and rarely: then it sees nothing any more that others write.
        if self.is_over() or not self._file.is_written():
            return False
        try:
            with plain(self.connection) as db:
                found = db.execute('SELECT meta FROM worq_queue WHERE name=?',
                                   (self._key,)).fetchone()
        except sqlite3.ProgrammingError:   # of another thread
            return True
        except sqlite3.Error:
            return False
        known = json.loads(found[0] or '{}') if found else {}
        return bool(known.get('lives_n', 0) > self._lives())

    # -- in the transaction -------------------------------------------------------

    def _do(self, verb: Callable[[Rows], T], ids: Iterable[str] = (), puts: int = 0) -> T:
        connection, store = self.connection, self._store
        begun = False
        with plain(connection) as db:
            try:
                begun = self._begin(db)
                with savepoint(db):
                    store.open(db, *self._file.look_up(db, self._key))
                    self._waiting.open()
                    store.begin(self._clock(), puts)
                    store.lives.load(ids)   # type: ignore[attr-defined]
                    answer = verb(store)
                    store.defer()
                    store.save()
            except BaseException as error:
                if begun and connection.in_transaction:
                    connection.rollback()   # nothing else is in it
                if not isinstance(error, sqlite3.Error):
                    raise
                raise self._explain(error) from error
        self.mark = store.lives_n
        self._file.hold(self)
        if store.woken:
            self._brought.add(self, store.woken)
        return answer

    def _begin(self, db: Plain) -> bool:
        """See that there is a transaction; whether it was begun here."""
        connection = self.connection
        tell_wrapper(self._given)
        if connection.in_transaction:
            # Write first: one that reads first is refused if somebody else writes in between.
            db.execute('DELETE FROM worq_idle WHERE 0')
            return False
        # As Python's begin by themselves, but not those that commit each statement.
        if connection.isolation_level is None or getattr(connection, 'autocommit', -1) is True:
            raise ValueError(
                'the connection is in no transaction, and begins none by itself: begin one first, '
                'for what is put by it exists if and only if that commits')
        self._file.check_within()   # by another connection
        with self._file.in_line():
            db.execute('BEGIN IMMEDIATE')
        return True

    def _explain(self, error: sqlite3.Error) -> Exception:
        """What an error of SQLite means, and what to do about it."""
        code = getattr(error, 'sqlite_errorcode', 0) & 0xff
        if isinstance(error, (sqlite3.ProgrammingError, sqlite3.InterfaceError)):
            return ValueError(f'the connection cannot be used: {error}')
        if code == sqlite3.SQLITE_READONLY:
            return QueueError(f'the connection with {self._file.path} may only read: {error}')
        if code == sqlite3.SQLITE_BUSY:
            what = WAIT if self.connection.in_transaction else LONGER
            return QueueError(f'{self._file.path} is being written by others: {what}')
        return self._file.explain(error)

    def _tell(self, client: str, id: str, news: bytes | None) -> None:
        self._waiting.tell(client, id, news)

    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        check_messages(messages, gate, note)
        self._file.check_room()
        ids = [one.id for one in messages]
        ids += [argument.id for one in messages for argument in one.arguments]
        return self._do(lambda store: store.put(messages, gate, '', note), ids, len(messages))

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        check_edges(id, start, arguments)
        return self._do(lambda store: store.edges(gate, id, nonce, start, arguments),
                        [gate, id, *(argument.id for argument in arguments)])

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        check_outcomes(outcomes)
        return self._do(lambda store: store.settle(pool, outcomes),
                        [outcome.id for outcome in outcomes])

    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        return self._do(lambda store: [store.cancel(id, client) for id in ids], ids)

    def status(self, ids: Sequence[str]) -> list[str | None]:
        return self._do(lambda store: [
            status(life) if life else None for life in map(store.find, ids)], ids)

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        """Nobody takes anything away while the transaction is open."""
        return []

    # -- what is no part of one -----------------------------------------------------

    def _refuse(self, *args: Any, **kw: Any) -> Never:
        raise RuntimeError(f'{self!r} by a connection of yours only puts tasks: ask the queue '
                           'itself, and wait for results, when the transaction is over')

    def close(self) -> None:
        """The connection is the application's."""


for _verb, _method in {**vars(Reading), **vars(base.TaskQueue)}.items():
    if isinstance(_method, FunctionType) and _verb[0] != '_' \
            and _verb not in {*vars(Joined), 'begin_put', 'within'}:
        setattr(Joined, _verb, Joined._refuse)


@contextmanager
def savepoint(db: Plain) -> Iterator[None]:
    """All of it, or nothing, and the transaction around it goes on."""
    db.execute('SAVEPOINT worq')
    try:
        yield
    except BaseException:
        with suppress(sqlite3.Error):   # a full disk has ended all of it already
            db.execute('ROLLBACK TO worq')
            db.execute('RELEASE worq')
        raise
    db.execute('RELEASE worq')


class Brought:
    """Announces what a transaction has brought, once it is over. Nobody tells of a commit, so a
    thread looks for it; without one, those who wait would look by themselves two seconds later.

    :param announce: has those look that wait, as many as there is something for.
    """

    def __init__(self, announce: Callable[[int], None]) -> None:
        self._announce = announce
        self._mutex = threading.Lock()
        # By connection: the last handle that has put by it, and what it has brought so far.
        self._open: dict[int, tuple[Joined, int]] = {}

    def add(self, joined: Joined, number: int) -> None:
        connection = id(joined.connection)   # a thread has it, so no other has its number
        with self._mutex:
            known = self._open.get(connection)
            self._open[connection] = joined, number + (known[1] if known else 0)
        if known is None:
            threading.Thread(target=self._run, args=(connection,), daemon=True,
                             name='worq-sqlite-commit').start()

    def _run(self, connection: int) -> None:
        until, pause = time.monotonic() + PATIENCE, FIRST
        with suppress(QueueError):
            while not self._open[connection][0].is_over() and time.monotonic() < until:
                time.sleep(pause)
                pause = min(1.5 * pause, LAST)
        with self._mutex:
            _, number = self._open.pop(connection)
        with suppress(QueueError):   # they look by themselves, later
            self._announce(number)
