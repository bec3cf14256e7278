"""The last failures of a queue, in rows: what ``worq.queue.machine.failed`` is in memory."""
from __future__ import annotations

from worq.queue.machine.failed import Failures
from worq.queue.machine.life import Life
from worq.queue.sqlite.rows import Row
from worq.queue.sqlite.unit import Unit

__all__ = ['FailedRows']


class FailedRows(Failures):
    """The failures of a queue in a file."""

    def __init__(self, store: Unit) -> None:
        self.store = store

    @property
    def number(self) -> int:   # type: ignore[override]
        return self.store.failed_last

    @property
    def bytes(self) -> int:   # type: ignore[override]
        return self.store.failed_bytes

    def __len__(self) -> int:
        return self.store.failed_n

    def add(self, life: Life, size: int, origin: int) -> None:
        assert isinstance(life, Row)
        store = self.store
        store.failed_last += 1
        store.failed_n += 1
        store.failed_bytes += size
        store.db.execute('INSERT INTO worq_kept VALUES(?,?,?,?,?)',
                         (store.q, store.failed_last, size, life.n, origin))

    def pop(self) -> Life | None:
        store = self.store
        number, size, n = store.db.execute(
            'SELECT number, size, n FROM worq_kept WHERE q=? ORDER BY number LIMIT 1',
            (store.q,)).fetchone()
        store.db.execute('DELETE FROM worq_kept WHERE q=? AND number=?', (store.q, number))
        store.failed_n -= 1
        store.failed_bytes -= size
        oldest: Row | None = store.by_number(n)
        return oldest

    def begin(self, number: int) -> None:
        self.store.db.execute('INSERT INTO worq_again VALUES(?,?,?)',
                              (self.store.q, number, number))
        self.store.again_n += 1

    @property
    def waiting(self) -> bool:
        return self.store.again_n > 0

    def next(self) -> tuple[int, Life | None]:
        store = self.store
        number, after = store.db.execute(
            'SELECT number, after FROM worq_again WHERE q=? LIMIT 1', (store.q,)).fetchone()
        found = store.db.execute(
            'SELECT number, n FROM worq_kept WHERE q=? AND origin=? AND origin>0 AND number>? '
            'ORDER BY number LIMIT 1', (store.q, number, after)).fetchone()
        if found is None:
            store.again_n -= 1
            store.db.execute('DELETE FROM worq_again WHERE q=? AND number=?', (store.q, number))
            return 0, None
        store.db.execute('UPDATE worq_again SET after=? WHERE q=? AND number=?',
                         (found[0], store.q, number))
        follower: Row | None = store.by_number(found[1])
        return found[0], follower
