"""Connections of an application's, used without a change of what it has set on them."""
from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from inspect import ismethod
from typing import Any

__all__ = ['Plain', 'connection_of', 'plain', 'tell_wrapper']

SEVERAL = 5   # connections around connections


class Plain:
    """A connection of the application's, with rows as sqlite3 makes them by default."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction

    def execute(self, statement: str, values: Any = ()) -> sqlite3.Cursor:
        return self._cursor().execute(statement, values)

    def executemany(self, statement: str, values: Iterable[Any]) -> sqlite3.Cursor:
        return self._cursor().executemany(statement, values)

    def _cursor(self) -> sqlite3.Cursor:
        cursor = sqlite3.Cursor(self.connection)
        cursor.row_factory = None
        return cursor


@contextmanager
def plain(connection: sqlite3.Connection) -> Iterator[Any]:
    """A connection with rows and texts as sqlite3 makes them by default."""
    text = connection.text_factory
    try:
        connection.text_factory = str
        yield Plain(connection)
    finally:
        connection.text_factory = text


def connection_of(given: Any) -> sqlite3.Connection:
    """The connection of sqlite3 in what is around it; ValueError if there is none."""
    inner = given
    for _ in range(SEVERAL):
        if isinstance(inner, sqlite3.Connection):
            return inner
        inner = next((found for name in ('driver_connection', 'connection')
                      if (found := getattr(inner, name, None)) is not None), None)
        if ismethod(inner):   # as a session of SQLAlchemy has it
            inner = inner()
    raise ValueError(f'no connection of sqlite3, nor an open one around such: {given!r}')


def tell_wrapper(given: Any) -> None:
    """Let what is around a connection know that a transaction begins.

    That of SQLAlchemy commits nothing if nothing was executed by it.
    """
    if ismethod(getattr(given, 'connection', None)):
        given = given.connection()
    execute, begun = (getattr(given, name, None) for name in ('exec_driver_sql', 'in_transaction'))
    if ismethod(execute) and ismethod(begun) and not begun():
        execute('SELECT 1')
