"""Pages of the tasks that are in a state, by the indexes of a file."""
from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import GATE, Row
from worq.queue.machine.scanning import wanted
from worq.queue.sqlite.schema import FAILED, SPAN
from worq.queue.sqlite.unit import Unit

__all__ = ['page']

BATCH = 200     # rows that are read at a time, if some names are looked for
CURSOR = re.compile(r'\d\d?(:-?\d{1,18}:\d{1,18})?')
COLS = ', '.join('t.' + name for name in (
    'n', 'id', 'nonce', 'header', 'flags', 'state', 'late', 'target', 'due', 'owner', 'tries',
    'put', 'ready', 'taken', 'over', 'expires'))


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
            if is_wanted(found[3].partition(b'\n')[0]) and stands(found, store.now):
                rows.append(row(found, state, store.now))
        last = []
    return rows, ''


def walk(store: Unit, part: Part, newest: bool, last: list[int],
         most: int) -> Iterator[tuple[list[int], tuple[Any, ...]]]:
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
        for at, n, *rest in found:
            last = [at, n]
            yield last, (n, *rest)
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
        since = store.now - const.MINUTES * 60_000
        return [Part('r.seq', "r.q=? AND r.at>? AND t.state='completed' AND t.kind=?",
                     (here, since, kind), 'worq_recent r CROSS JOIN worq_task t '
                     'ON t.q=r.q AND t.id=r.id AND t.nonce=r.nonce')]
    return [Part('t.over', f't.q=? AND t.kind=? AND {aliased}', (here, kind))]


def stands(found: tuple[Any, ...], now: int) -> bool:
    """Whether it is in its state as somebody would find it who asks for it."""
    _, id, _, _, flags, state, late, target, *_, expires = found
    if id is None or flags & GATE:
        return False
    if state == COMPLETED:
        return not 0 < expires <= now
    return state == PROCESSING or target is not None or not late or late > now


def row(found: tuple[Any, ...], told: str, now: int) -> Row:
    """A task as a page tells it, see `Row`."""
    (_, id, nonce, header, _, state, _, target, due, owner, tries, put, ready, taken, over,
     _) = found
    if state == COMPLETED:
        since = over
    else:
        since = ready if state == ENQUEUED else taken or put
    if not (state == SCHEDULED or state == PENDING and target is None and due > now):
        due = 0
    return Row(id.decode(errors='replace'), nonce,
               header.partition(b'\n')[0].decode(errors='replace'), told, since, due,
               owner or '' if state in (PROCESSING, COMPLETED) else '', tries + 1)
