"""Plain tasks, as most are, put by one statement: no life is made of each only to be written.

Nothing is told here that the machine does not: what such a row has is what its `put` would have
made of it, and a test compares the two.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from worq.const import ENQUEUED, GATE, PENDING, SCHEDULED
from worq.queue.records import Message
from worq.queue.sqlite.rows import INLINE, Row
from worq.queue.sqlite.schema import COLUMNS, SPAN
from worq.queue.sqlite.unit import Unit

__all__ = ['are_plain', 'put']

#: What varies between such tasks ...
GIVEN = ['n', 'q', 'id', 'nonce', 'header', 'priority', 'lease', 'max_deliveries', 'put', 'flags',
         'gen', 'place', 'body', 'ttl', 'watched', 'ready', 'state', 'open', 'gate', 'due', 'late']
#: ... and what does not, in the words of SQL, where it is not 0.
SAME = {'owner': 'NULL', 'progress': "x''", 'memo': "x''", 'target': 'NULL', 'kind': "x''",
        'data': "x''", 'hops': "''", 'age': "''", 'trace': 'NULL'}
REST = [name for name in COLUMNS if name not in GIVEN]
INSERT = (f'INSERT INTO worq_task({", ".join(GIVEN + REST)}) VALUES({"?, " * len(GIVEN)}'
          f'{", ".join(SAME.get(name, "0") for name in REST)})')


def are_plain(store: Unit, messages: Sequence[Message]) -> bool:
    """Whether they are new, and wait for no argument."""
    met = store.lives.met
    ids = set()
    for (id, _, _, body, arguments, flags, *_) in messages:
        if arguments or flags & GATE or len(body) > INLINE \
                or (met[id] if id in met else store.lives.get(id)) is not None:
            return False
        ids.add(id)
    return len(ids) == len(messages)


def put(store: Unit, messages: Sequence[Message], client: str, gate: Row | None) -> None:
    """Store plain tasks, in their order.

    :param client: has them watched, if it has a name.
    :param gate: holds them back.
    """
    q, now, gen, n, place = store.q, store.now, store.generation, store.lives_n, store.back
    met, ready = store.lives.met, store.ready
    watched = int(client != '')
    held = None if gate is None else gate.n
    rows: list[Any] = []
    for (id, nonce, header, body, _, flags, priority, delay, ttl, lease, deliveries,
         expires) in messages:
        n += 1
        due, late = delay and now + delay, expires and now + expires
        if late:
            store._late.soon(late)
        state, moment, at = ENQUEUED, now, 0
        if held is not None:
            state, moment = PENDING, 0
        elif due:
            state, moment = SCHEDULED, 0
            store.scheduled += 1
            store.schedule.soon(due)
        else:
            place = at = place + 1
            ready[2 * priority + 1] += 1
        rows.append((q * SPAN + n, q, id.encode(), nonce, header, priority, lease, deliveries, now,
                     flags, gen, at, body, ttl, watched, moment, state, int(held is not None), held,
                     due, late))
        del met[id]   # it is read if this verb asks for it
    store.db.executemany(INSERT, rows)
    if client:
        store.links.watch_all([row[0] for row in rows], client)
    if gate is not None:
        store.links.tell_all(gate, [row[0] for row in rows])
    store.lives_n, store.back = n, place
    store.total += len(rows)
    store.woken += len(rows) if gate is None else 0
