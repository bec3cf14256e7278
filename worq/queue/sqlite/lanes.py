"""What is ready, in rows: the lanes, and beside them the lines of names."""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from worq.queue.machine.life import Life
from worq.queue.machine.sides import Sides
from worq.queue.sqlite.rows import Row
from worq.queue.sqlite.tables import Ready
from worq.queue.sqlite.unit import Unit

__all__ = ['Sided', 'dump', 'load']

SOME = 500   # names in a statement


def dump(sides: Sides) -> list[Any]:
    """What there is to know of names, as JSON can tell it."""
    return [sides.looks, sides.differ, sides.grace,
            {name.decode('utf-8', 'surrogateescape'): at for name, at in sides.unknown.items()},
            sides.paused.register.decode('utf-8', 'surrogateescape')]


def load(sides: Sides, state: list[Any]) -> None:
    """The same again."""
    sides.looks, sides.differ, sides.grace, unknown, paused = state
    sides.pause(paused.encode('utf-8', 'surrogateescape'))
    sides.begin()
    sides.unknown = {name.encode('utf-8', 'surrogateescape'): at for name, at in unknown.items()}


class Aside:
    """Those that stand in a line, or have stood there in vain."""

    def __init__(self, store: Unit, count: str, since: str) -> None:
        self.store = store
        self.count = count
        self.since = since

    def __len__(self) -> int:
        return int(getattr(self.store, self.count))

    def __contains__(self, life: Row) -> bool:
        return len(self) > 0 and self.store.db.execute(
            f'SELECT 1 FROM worq_aside WHERE n=? AND since{self.since}',
            (life.n,)).fetchone() is not None

    def __iter__(self) -> Iterator[Any]:
        for n, in self.store.db.execute(
                f'SELECT n FROM worq_aside WHERE q=? AND since{self.since}',
                (self.store.q,)).fetchall():
            yield self.store.by_number(n)


class Sided(Ready):
    """The lanes of a queue in a file. `worq_aside` tells of those in a line; `since` is 0 of one
    that was there in vain.
    """

    def __init__(self, store: Unit) -> None:
        super().__init__(store)
        tables: Any = self
        tables.aside = Aside(store, 'aside_n', '>0')
        tables.freed = Aside(store, 'freed_n', '=0')

    @property
    def serial(self) -> int:
        return self.store.serial

    @serial.setter
    def serial(self, number: int) -> None:
        if number:   # else the machine begins with it; the file has it
            self.store.serial = number

    def put_aside(self, life: Life, now: int) -> None:
        assert isinstance(life, Row)
        self.discard(life)
        store = self.store
        serial = self.serial = max(now * 1_000, self.serial + 1)
        store.aside_n += 1
        store.db.execute('INSERT INTO worq_aside VALUES(?,?,?,?,?)', (
            life.n, store.q, 2 * life.priority + (not life.nargs), life.name, serial))

    def free(self, life: Life) -> None:
        assert isinstance(life, Row)
        self.store.aside_n -= 1
        self.store.freed_n += 1
        self.store.db.execute('UPDATE worq_aside SET since=0 WHERE n=?', (life.n,))

    def bind(self, life: Life) -> None:
        assert isinstance(life, Row)
        if life in self.freed:
            self.store.freed_n -= 1
            self.store.db.execute('DELETE FROM worq_aside WHERE n=?', (life.n,))

    def _step_out(self, life: Life) -> None:
        assert isinstance(life, Row)
        self.store.aside_n -= 1
        self.store.db.execute('DELETE FROM worq_aside WHERE n=?', (life.n,))

    def oldest(self, lane: int, names: frozenset[bytes]) -> Life | None:
        found: list[tuple[int, int]] = []
        every = [*names]
        for start in range(0, len(every), SOME):
            some = every[start:start + SOME]
            found += self.store.db.execute(
                'SELECT since, n FROM worq_aside WHERE q=? AND lane=? AND since>0 AND name IN '
                f'({",".join("?" * len(some))}) ORDER BY since LIMIT 1',
                (self.store.q, lane, *some)).fetchall()
        return self.store.by_number(min(found)[1]) if found else None

    def since(self, life: Life) -> int | None:
        assert isinstance(life, Row)
        found = self.store.db.execute(
            'SELECT since FROM worq_aside WHERE n=? AND since>0', (life.n,)).fetchone() \
            if self.aside else None
        return int(found[0]) if found else None

    def names(self) -> set[bytes]:
        return {name for name, in self.store.db.execute(
            'SELECT DISTINCT name FROM worq_aside WHERE q=? AND since>0', (self.store.q,))}

    def line(self, lane: int, name: bytes, most: int) -> list[tuple[Life, int]]:
        rows = self.store.db.execute(
            'SELECT n, since FROM worq_aside WHERE q=? AND lane=? AND name=? AND since>0 '
            'ORDER BY since LIMIT ?', (self.store.q, lane, name, most)).fetchall()
        return [(self.store.by_number(n), since) for n, since in rows]

    def before(self, life: Life) -> int | None:
        assert isinstance(life, Row)
        if life in self.aside:
            n, = self.store.db.execute(
                'SELECT count(*) FROM worq_aside a, worq_aside b WHERE a.n=? AND b.q=a.q AND '
                'b.lane=a.lane AND b.name=a.name AND b.since>0 AND b.since<a.since',
                (life.n,)).fetchone()
            return int(n)
        return super().before(life)
