"""Pages of the tasks that are in a state, by the indexes of a file."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from worq import const
from worq.const import ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import Row
from worq.queue.machine.scanning import Seen, row, stands
from worq.queue.reading import wanted
from worq.queue.sqlite.schema import FAILED, SPAN
from worq.queue.sqlite.unit import Unit
from worq.tally import MINUTE

__all__ = ['page']

BATCH = 200     # rows that are read at a time, if some names are looked for
CURSOR = re.compile(r'\d\d?(:-?\d{1,18}:\d{1,18})?')
COLS = ', '.join(f't.{"header" if name == "name" else name}' for name in ('n', *Seen._fields))


class Part(NamedTuple):
    """A part of an index, in which tasks stand by a number."""

    by: str                     # that number
    where: str
    values: tuple[Any, ...]
    source: str = 'worq_task t'


def page(store: Unit, state: str, names: Sequence[str], newest: bool, cursor: str,
         count: int) -> tuple[list[Row], str]:
    """See ``worq.queue.base``. The cursor is where the last one stands that was looked at."""
    every = parts(store, state)[::-1 if newest else 1]
    first, *last = map(int, cursor.split(':')) if CURSOR.fullmatch(cursor) else (0,)
    if first >= len(every):
        first, last = 0, []
    rows: list[Row] = []
    looked, is_wanted = 0, wanted(names)
    for number in range(first, len(every)):
        for at, found in walk(store, every[number], newest, last,
                              BATCH if names else count - len(rows) + 1):
            if looked == const.SCANNED or len(rows) == count:
                return rows, ':'.join(map(str, [number, *last]))
            looked, last = looked + 1, at
            if found.id and is_wanted(found.name) and stands(found, store.now):
                rows.append(row(found, state, store.now))
        last = []
    return rows, ''


def walk(store: Unit, part: Part, newest: bool, last: list[int],
         most: int) -> Iterator[tuple[list[int], Seen]]:
    """The tasks of a part behind the one at `last`, each with where it stands."""
    down, beyond = ('DESC', '<') if newest else ('', '>')
    select = f'SELECT {part.by}, {COLS} FROM {part.source} WHERE {part.where} AND '
    order = f'ORDER BY {part.by} {down}, t.n {down} LIMIT ?'
    while True:
        found: list[tuple[Any, ...]] = []
        if last:   # two statements, so that each goes by the index alone
            found = store.db.execute(f'{select} {part.by}=? AND t.n{beyond}? {order}',
                                     (*part.values, *last, most)).fetchall()
        if len(found) < most:
            values = (*part.values, *last[:1], most - len(found))
            found += store.db.execute(
                f'{select} {part.by}{beyond}? {order}' if last else f'{select} 1 {order}',
                values).fetchall()
        for at, n, id, nonce, header, *rest in found:
            last = [at, n]
            # it has no id once it is forgotten
            yield last, Seen((id or b'').decode(errors='replace'), nonce,
                             header.partition(b'\n')[0], *rest)
        if len(found) < most:
            return


def parts(store: Unit, state: str) -> list[Part]:
    """Where tasks of this state stand."""
    here, live = store.q, (store.q, store.generation)
    if state == PENDING:
        return [Part('t.n', "t.q=? AND t.gen=? AND t.state='pending'", live)]
    if state == SCHEDULED:
        return [Part('t.due', "t.q=? AND t.gen=? AND t.state='scheduled'", live)]
    if state == PROCESSING:
        return [Part('t.deadline', "t.q=? AND t.state='processing'", (here,))]
    if state == ENQUEUED:
        lanes = [Part('t.place', "t.q=? AND t.gen=? AND t.priority=? AND (t.nargs = 0)=? AND "
                      "t.state='enqueued' AND t.place<>0", (*live, priority, fresh))
                 for priority in sorted(const.PRIORITIES.values()) for fresh in (0, 1)]
        return [*lanes, Part('a.n', 'a.n BETWEEN ? AND ? AND a.since>0',
                             (here * SPAN, here * SPAN + SPAN - 1),
                             'worq_aside a CROSS JOIN worq_task t ON t.n=a.n')]
    kind = next(kind for kind, end in const.ENDS.items() if end == state)
    aliased = re.sub(r'\b(state|kind|late)\b', r't.\1', FAILED)
    if state == const.SUCCESS:
        since = store.now - const.MINUTES * MINUTE
        return [Part('r.seq', "r.q=? AND r.at>? AND t.state='completed' AND t.kind=?",
                     (here, since, kind), 'worq_recent r CROSS JOIN worq_task t '
                     'ON t.q=r.q AND t.id=r.id AND t.nonce=r.nonce')]
    return [Part('t.over', f't.q=? AND t.kind=? AND {aliased}', (here, kind))]
