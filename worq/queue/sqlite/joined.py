"""The queue in a file by a connection of the application's: a part of its transaction.

A writer of SQLite is alone: what such a transaction finds in the queue is so until it ends, and
what it puts is judged at once. So its verbs are those of the queue itself, in a savepoint each.
Nobody else writes to the file meanwhile, so no lease is renewed, and none is taken away: the pause
counts for nobody, as after one of the whole machine.
"""
from __future__ import annotations

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
from worq.queue.sqlite.file import File
from worq.queue.sqlite.install import connection_of
from worq.queue.sqlite.store import Rows
from worq.queue.sqlite.waiting import Waiting
from worq.queue.validation import check_edges, check_messages, check_outcomes

__all__ = ['Brought', 'Joined']

FIRST, LAST = 0.001, 0.05   # seconds between two looks whether a transaction is over
PATIENCE = 60.0         # seconds for which that is looked at: idle pools look by themselves, too
WAIT = 'begin the transaction with BEGIN IMMEDIATE, so that it waits for others who write'

T = TypeVar('T')


class Plain:
    """The application's connection, with rows as sqlite3 makes them by default."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        return self._cursor().execute(statement, values)

    def executemany(self, statement: str, values: Iterable[Any]) -> sqlite3.Cursor:
        return self._cursor().executemany(statement, values)

    def _cursor(self) -> sqlite3.Cursor:
        cursor = sqlite3.Cursor(self.connection)
        cursor.row_factory = None
        return cursor


class Joined(base.TaskQueue):
    """See `TaskQueue.using` of ``worq.queue.base``. It belongs to the thread of its connection.

    :param queue: the queue itself, its file, and its key and clock in it.
    :param brought: is told of what the transaction brings.
    """

    def __init__(self, queue: base.TaskQueue, file: File, key: bytes, clock: Callable[[], int],
                 budget: int, connection: object, brought: Brought) -> None:
        super().__init__(queue.url, queue.name)
        self.connection = connection_of(connection)
        self._file = file
        self._key = key
        self._clock = clock
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
            main = Plain(self.connection).execute('PRAGMA database_list').fetchone()
            path = os.fsdecode(main[2])
            one, other = os.stat(path or os.devnull), os.stat(self._file.path)
        except FileNotFoundError:
            same = False
        except sqlite3.Error as error:
            raise ValueError(f'the connection cannot be used: {error}') from error
        else:
            same = (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
        if not same:
            raise ValueError(
                f'the connection is with {path or "a database in memory"}, and this queue is in '
                f'{self._file.path}. They must be one file: give the application its tables '
                '(worq.queue.sqlite.install), and make the queue of the address of that file')

    def is_open(self) -> bool:
        """Whether the connection is in a transaction."""
        with suppress(sqlite3.Error):   # closed, and so taken back
            return self.connection.in_transaction
        return False

    # -- in the transaction -------------------------------------------------------

    def _do(self, verb: Callable[[Rows], T], ids: Iterable[str] = (), puts: int = 0) -> T:
        connection, store = self.connection, self._store
        db: Any = Plain(connection)
        text, begun = connection.text_factory, False
        try:
            connection.text_factory = str
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
            if begun:
                connection.rollback()   # nothing else is in it
            if not isinstance(error, sqlite3.Error):
                raise
            if getattr(error, 'sqlite_errorcode', 0) & 0xff == sqlite3.SQLITE_BUSY:
                raise QueueError(f'{self._file.path} is being written by others: {WAIT}') from error
            raise self._file.explain(error) from error
        finally:
            connection.text_factory = text
        if store.woken:
            self._brought.add(connection, store.woken)
        return answer

    def _begin(self, db: Plain) -> bool:
        """See that there is a transaction; whether it was begun here."""
        connection = self.connection
        if connection.in_transaction:
            # Write first: one that reads first is refused if somebody else writes in between.
            db.execute('DELETE FROM worq_idle WHERE 0')
            self._file.theirs = threading.get_ident(), self
            return False
        # As Python's begin by themselves, but not those that commit each statement.
        if connection.isolation_level is None or getattr(connection, 'autocommit', -1) is True:
            raise ValueError(
                'the connection is in no transaction, and begins none by itself: begin one first, '
                'for what is put by it exists if and only if that commits')
        db.execute('BEGIN IMMEDIATE')
        self._file.theirs = threading.get_ident(), self
        return True

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
        self._open: dict[int, int] = {}   # by connection: what its transaction has brought so far

    def add(self, connection: sqlite3.Connection, number: int) -> None:
        with self._mutex:
            known = id(connection) in self._open   # a thread has it, so no other has its number
            self._open[id(connection)] = self._open.get(id(connection), 0) + number
        if not known:
            threading.Thread(target=self._run, args=(connection,), daemon=True,
                             name='worq-sqlite-commit').start()

    def _run(self, connection: sqlite3.Connection) -> None:
        until, pause = time.monotonic() + PATIENCE, FIRST
        with suppress(sqlite3.Error):   # it was closed, and so taken back
            while connection.in_transaction and time.monotonic() < until:
                time.sleep(pause)
                pause = min(1.5 * pause, LAST)
        with self._mutex:
            number = self._open.pop(id(connection))
        with suppress(QueueError):   # they look by themselves, later
            self._announce(number)
