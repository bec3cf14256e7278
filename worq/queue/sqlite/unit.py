"""What rows and tables know of the store that they belong to."""
from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import Any, Protocol

__all__ = ['Unit']


class Unit(Protocol):
    """One unit of work: what a verb has met of a queue, and the numbers that the queue keeps."""

    db: sqlite3.Connection
    q: int                      #: the queue's number
    now: int
    left: int
    woken: int
    looking: bool               #: nothing may be written
    hint: int                   #: how many somebody is about to take

    generation: int             #: purges ever
    total: int                  #: tasks
    ready: list[int]            #: ... that stand in a lane, by its number
    passed: Any                 #: see `worq.queue.machine.lanes`
    serial: int                 #: the last moment at which one was put aside
    aside_n: int                #: how many stand aside
    freed_n: int                #: how many have stood there in vain, and are not taken yet
    failed_last: int            #: failures that were kept, ever
    failed_n: int               #: ... of which so many have not been dropped since
    failed_bytes: int
    again_n: int                #: failures whose followers are to be run again
    leases: int                 #: ... that are being processed
    purged: int
    back: int                   #: the places that lanes have given
    front: int
    seq: int                    #: edges and news ever
    last: int                   #: places in the line of what has something left over
    left_over_n: int            #: how many stand there
    scheduled: int              #: how many wait for a moment ...
    schedule: Any               #: ... and which is the first
    _late: Any                  #: ... at which one is too late to begin
    longs_n: int                #: long values ever
    lives_n: int                #: lives ever
    soon: dict[str, int | None]   #: by column: no moment of an agenda is before

    inboxes: dict[str, int]     #: the numbers of clients, as far as they are known
    met: dict[int, Any]         #: rows by number: one object for each
    fresh_rows: list[Any]       #: to be inserted
    dead: list[Any]             #: to be deleted
    lives: Any                  #: rows by id
    links: Any                  #: edges
    longs: Any                  #: long values

    def flush(self) -> None:
        """Write all that differs from what is stored."""

    def flush_new(self) -> None:
        """Write what relations need: rows that are new or gone, and edges."""

    def adopt(self, row: tuple[Any, ...]) -> Any:
        """The life of a row that was read; always the same one in a unit of work."""

    def adopted(self, rows: Iterable[tuple[Any, ...]]) -> list[Any]:
        """Those of several."""

    def select(self, where: str, *values: Any, by: str = '') -> list[Any]:
        """Those that a condition names, by an index."""

    def by_number(self, n: int) -> Any:
        """The one of this number, or None."""

    def leases_of(self, where: str = '', *values: Any, limit: int = -1,
                  last: bool = False) -> list[Any]:
        """What is leased, by when that ends."""

    def purged_one(self) -> Any:
        """The next of those that were purged and have not ended yet."""
