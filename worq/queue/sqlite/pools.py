"""The pools of a queue, in rows."""
from __future__ import annotations

import json
from typing import Any

from worq import const
from worq.queue.sqlite.unit import Unit

__all__ = ['Looks', 'Pools']


class Pools:
    """Pools by id: what they have told, and when they were last seen."""

    def __init__(self, store: Unit) -> None:
        self.store = store

    def get(self, pool: str, default: Any = None) -> Any:
        found = self.store.db.execute('SELECT info, seen FROM worq_pool WHERE q=? AND pool=?',
                                      (self.store.q, pool)).fetchone()
        return default if found is None else (json.loads(found[0]), found[1])

    def __contains__(self, pool: str) -> bool:
        return self.get(pool) is not None

    def __getitem__(self, pool: str) -> Any:
        return self.get(pool)

    def items(self) -> list[tuple[str, tuple[dict[str, str], int]]]:
        return [(pool, (json.loads(info), seen)) for pool, info, seen in self.store.db.execute(
            'SELECT pool, info, seen FROM worq_pool WHERE q=? ORDER BY rowid', (self.store.q,))]

    def values(self) -> list[tuple[dict[str, str], int]]:
        return [known for _, known in self.items()]

    def __setitem__(self, pool: str, known: tuple[dict[str, str], int]) -> None:
        info, seen = known
        self.store.db.execute(
            'INSERT INTO worq_pool VALUES(?,?,?,?) ON CONFLICT DO UPDATE SET info=excluded.info, '
            'seen=excluded.seen', (self.store.q, pool, json.dumps(info), seen))

    def pop(self, pool: str, default: Any = None) -> None:
        self.store.db.execute('DELETE FROM worq_pool WHERE q=? AND pool=?', (self.store.q, pool))

    __delitem__ = pop


class Looks:
    """When the pools of a host and boot were looked at."""

    def __init__(self, store: Unit) -> None:
        self.store = store

    def get(self, place: tuple[str, str], default: int) -> int:
        found = self.store.db.execute('SELECT at FROM worq_look WHERE q=? AND place=?',
                                      (self.store.q, json.dumps(place))).fetchone()
        return found[0] if found else default

    def __setitem__(self, place: tuple[str, str], at: int) -> None:
        self.store.db.execute('DELETE FROM worq_look WHERE q=? AND at<?',
                              (self.store.q, at - const.POOL_TTL * 1_000))
        self.store.db.execute('INSERT OR REPLACE INTO worq_look VALUES(?,?,?)',
                              (self.store.q, json.dumps(place), at))
