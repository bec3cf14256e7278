"""Small values under names, in rows: what ``worq.queue.machine.registers`` is in memory."""
from __future__ import annotations

from worq.queue.machine.registers import Registers
from worq.queue.sqlite.unit import Unit

__all__ = ['Noted']


class Noted(Registers):
    """The registers of a queue in a file."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.known: dict[str, bytes] = {}   # in this unit: each failure asks for the same one

    def __len__(self) -> int:
        n: int
        n, = self.store.db.execute('SELECT count(*) FROM worq_note WHERE q=?',
                                   (self.store.q,)).fetchone()
        return n

    def get(self, name: str) -> bytes:
        value = self.known.get(name)
        if value is None:
            found = self.store.db.execute('SELECT value FROM worq_note WHERE q=? AND name=?',
                                          (self.store.q, name.encode())).fetchone()
            value = self.known[name] = found[0] if found else b''
        return value

    def set(self, name: str, value: bytes) -> None:
        key = self.store.q, name.encode()
        self.known[name] = value
        if value:
            self.store.db.execute('INSERT OR REPLACE INTO worq_note VALUES(?,?,?)', (*key, value))
        else:
            self.store.db.execute('DELETE FROM worq_note WHERE q=? AND name=?', key)

    def page(self, prefix: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        start = prefix.encode()
        found = self.store.db.execute(
            'SELECT name, value FROM worq_note WHERE q=? AND name>=? AND name>? '
            'ORDER BY name LIMIT ?', (self.store.q, start, after.encode(), limit))
        return [(name.decode('utf-8', 'replace'), value) for name, value in found
                if name.startswith(start)]
