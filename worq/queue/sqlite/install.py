"""The tables of queues, made in a file of ours or of an application's."""
from __future__ import annotations

from typing import Any

from worq.errors import QueueError
from worq.queue.sqlite.application import connection_of, plain
from worq.queue.sqlite.schema import REVISION, SCHEMA, TABLES

__all__ = ['check_mode', 'install', 'make_tables']


def install(connection: object) -> None:
    """Put the tables of queues into the database of an application, beside its own.

    From then on ``sqlite:///THAT/FILE`` is the address of queues there, and ``q.using(connection)``
    puts tasks in the application's own transactions. The names of the tables begin with ``worq_``;
    nothing else of the file is changed. Once they are there this does nothing.

    It is a part of the transaction that is open, if one is, as in a migration; else it is one.

    :param connection: of `sqlite3`, or what SQLAlchemy or Django have around it.
    :raises ValueError: if it is no such connection.
    :raises QueueError: if the database is not in WAL mode, in which readers and writers do not wait
        for each other; or if it has tables of another version of WorQ.
    """
    with plain(connection_of(connection)) as db:
        _install(db)


def _install(db: Any) -> None:
    path = next(path for _, name, path in db.execute('PRAGMA database_list')
                if name == 'main')
    check_mode(db, path)
    begun = not db.in_transaction
    db.execute('BEGIN IMMEDIATE' if begun else 'SAVEPOINT worq')
    try:
        known = schema_of(db)
        if known is None:
            make_tables(db)
        elif known != SCHEMA:
            raise QueueError(f'{path} has the tables of queues of the schema {known}, and this '
                             f'program knows {SCHEMA} alone')
    except BaseException:
        db.execute('ROLLBACK' if begun else 'ROLLBACK TO worq')
        raise
    finally:
        if not begun:
            db.execute('RELEASE worq')
    if begun:
        db.execute('COMMIT')


def schema_of(db: Any) -> int | None:
    """The number of the tables; None if there are none."""
    if db.execute("SELECT 1 FROM sqlite_master WHERE name='worq_schema'").fetchone() is None:
        return None
    return int(db.execute('SELECT schema FROM worq_schema').fetchone()[0])


def make_tables(db: Any) -> None:
    """Make them, in a transaction."""
    for statement in TABLES.split('\n;\n'):
        db.execute(statement)
    db.execute('INSERT INTO worq_schema VALUES(1,?,?)', (SCHEMA, REVISION))


def check_mode(db: Any, path: str) -> None:
    """QueueError unless an application's database is in the mode that queues need."""
    mode = str(db.execute('PRAGMA journal_mode').fetchone()[0])
    if mode != 'wal':
        raise QueueError(
            f'{path} is in the mode {mode!r}, in which readers and writers wait for each other: '
            'PRAGMA journal_mode=WAL changes that, once and for all. This file is an '
            "application's, so WorQ does not do it")
