"""A queue in a file deleted: all of its rows, in bounded steps."""
from __future__ import annotations

from collections.abc import Callable
from functools import partial
import sqlite3
from typing import Any

from worq.queue.sqlite.schema import SPAN

__all__ = ['delete']

STEP = 5_000   # lives, or what is numbered as they are, in one step
#: Tables whose rows are numbered as lives are, and by which column.
NUMBERED = [('worq_aside', 'n'), ('worq_arg', 'dep'), ('worq_dep', 'arg'), ('worq_watch', 'n'),
            ('worq_task', 'n'), ('worq_long', 'k')]

Work = Callable[[sqlite3.Connection, int, str | None], bool]


def delete(step: Callable[[Work], bool]) -> None:
    """Delete all rows of a queue.

    :param step: does a piece of work in a transaction, with the number of the queue.
    """
    for table, column in NUMBERED:
        while step(partial(some_of, table, column)):
            pass
    step(the_rest)


def some_of(table: str, column: str, db: sqlite3.Connection, q: int,
            meta: object = None) -> bool:
    """Delete the first rows of one of these tables; whether there may be more."""
    low, high = q * SPAN, (q + 1) * SPAN
    first, = db.execute(f'SELECT min({column}) FROM {table} WHERE {column}>=? AND {column}<?',
                        (low, high)).fetchone()
    if first is None:
        return False
    db.execute(f'DELETE FROM {table} WHERE {column}>=? AND {column}<?',
               (first, min(first + STEP, high)))
    return True


def the_rest(db: sqlite3.Connection, q: int, meta: Any) -> bool:
    """Delete what a queue has in other tables, at last the queue itself, in one step. Whatever was
    put since goes with it."""
    for table, column in NUMBERED:
        while some_of(table, column, db, q):
            pass
    db.execute('DELETE FROM worq_news WHERE client IN (SELECT client FROM worq_inbox WHERE q=?)',
               (q,))
    for table, in db.execute("SELECT m.name FROM sqlite_master m, pragma_table_info(m.name) c "
                             "WHERE m.type='table' AND m.name LIKE 'worq\\_%' ESCAPE '\\' "
                             "AND c.name='q'").fetchall():
        db.execute(f'DELETE FROM {table} WHERE q=?', (q,))
    return False
