"""What tasks came to, counted by their names, in rows."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from worq import const
from worq.queue.machine.book import EVER, Book, Cells, Sizes
from worq.queue.records import Recent
from worq.queue.sqlite.unit import Unit
from worq.tally import MINUTE, merged

__all__ = ['BookRows']

ENTER = ('INSERT INTO worq_minute VALUES(?,?,?,?) '
         'ON CONFLICT(q, at, name) DO UPDATE SET cell=excluded.cell')


class BookRows(Book):
    """The pages of a queue. What it has in one unit of work is not asked for twice."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.clear()

    def clear(self) -> None:
        """Begin a unit of work."""
        self._names: set[str] | None = None

    def names(self) -> Mapping[str, str] | set[str]:
        if self._names is None:
            self._names = {name[1:].decode() for name, in self.store.db.execute(
                'SELECT name FROM worq_minute WHERE q=? AND at=?', (self.store.q, EVER))}
        return self._names

    def told(self, pool: str) -> int:
        found = self.store.db.execute('SELECT number FROM worq_told WHERE q=? AND pool=?',
                                      (self.store.q, pool)).fetchone()
        return found[0] if found else 0

    def tell(self, pool: str, number: int, now: int) -> None:
        db, q = self.store.db, self.store.q
        db.execute('INSERT INTO worq_told VALUES(?,?,?,?) ON CONFLICT(q, pool) DO UPDATE SET '
                   'number=excluded.number, at=excluded.at', (q, pool, number, now))
        db.execute('DELETE FROM worq_told WHERE q=? AND at<=?',
                   (q, now - const.POOL_TTL * 1_000))

    def add(self, at: int, cells: Mapping[str, str]) -> None:
        db, q = self.store.db, self.store.q
        for name, cell in cells.items():
            key = q, at, b'-' + name.encode()
            old = db.execute('SELECT cell FROM worq_minute WHERE q=? AND at=? AND name=?',
                             key).fetchone()
            db.execute(ENTER, (*key, merged(old[0] if old else '', cell)))
            if at == EVER and self._names is not None:
                self._names.add(name)

    def close_minute(self, at: int, sizes: Sizes) -> None:
        db, q = self.store.db, self.store.q
        db.execute(ENTER, (q, at, b'', ' '.join(map(str, sizes))))
        db.execute('DELETE FROM worq_minute WHERE q=? AND at<=? AND at<>?',
                   (q, at - const.MINUTES, EVER))

    def read(self, since: int) -> list[tuple[int, Cells, Sizes]]:
        found: dict[int, Cells] = {}
        for at, name, cell in self.store.db.execute(
                'SELECT at, name, cell FROM worq_minute WHERE q=? AND at>=? ORDER BY at',
                (self.store.q, since)):
            found.setdefault(at, {})[name.decode()] = cell
        minutes: list[tuple[int, Cells, Sizes]] = []
        for at, cells in found.items():
            pending, scheduled, enqueued, processing = map(int, cells.pop('').split())
            cells = {name[1:]: cell for name, cell in cells.items()}
            minutes.append((at, cells, (pending, scheduled, enqueued, processing)))
        return minutes

    def ever(self) -> Cells:
        return {name[1:].decode(): cell for name, cell in self.store.db.execute(
            'SELECT name, cell FROM worq_minute WHERE q=? AND at=?', (self.store.q, EVER))}

    def note(self, entries: Iterable[Recent], now: int) -> None:
        db, q = self.store.db, self.store.q
        db.execute('DELETE FROM worq_recent WHERE q=? AND at<=?',
                   (q, now - const.MINUTES * MINUTE))
        last, = db.execute('SELECT coalesce(max(seq), 0) FROM worq_recent WHERE q=?',
                           (q,)).fetchone()
        rows = [(q, last + n, now, one.id.encode(), one.nonce, one.name.encode(), one.ended,
                 one.pool) for n, one in enumerate(entries, 1)]
        db.executemany('INSERT INTO worq_recent VALUES(?,?,?,?,?,?,?,?)', rows)
        db.execute('DELETE FROM worq_recent WHERE q=? AND seq<=?',
                   (q, last + len(rows) - const.RECENT))

    def recent(self, now: int) -> list[Recent]:
        return [Recent(id.decode(), nonce, name.decode(), ended, pool)
                for id, nonce, name, ended, pool in self.store.db.execute(
                    'SELECT id, nonce, name, ended, pool FROM worq_recent WHERE q=? AND at>? '
                    'ORDER BY seq DESC', (self.store.q, now - const.MINUTES * MINUTE))]
