"""Plain tasks, as most are, put by one statement: no life is made of each only to be written.

Nothing is told here that the machine does not: what such a row has is what its `put` would have
made of it, and a test compares the two.
"""
from __future__ import annotations

from collections.abc import Sequence

from worq.const import ENQUEUED, GATE
from worq.queue.records import Message
from worq.queue.sqlite.rows import INLINE
from worq.queue.sqlite.schema import COLUMNS, SPAN
from worq.queue.sqlite.unit import Unit

__all__ = ['are_plain', 'put']

#: What varies between such tasks ...
GIVEN = ['n', 'q', 'id', 'nonce', 'header', 'priority', 'lease', 'max_deliveries', 'put', 'flags',
         'gen', 'place', 'body', 'ttl', 'watched', 'ready']
#: ... and what does not, in the words of SQL, where it is not 0.
SAME = {'state': f"'{ENQUEUED}'", 'owner': 'NULL', 'progress': "x''", 'memo': "x''",
        'target': 'NULL', 'gate': 'NULL', 'kind': "x''", 'data': "x''", 'hops': "''",
        'age': "''", 'trace': 'NULL'}
REST = [name for name in COLUMNS if name not in GIVEN]
INSERT = (f'INSERT INTO worq_task({", ".join(GIVEN + REST)}) VALUES({"?, " * len(GIVEN)}'
          f'{", ".join(SAME.get(name, "0") for name in REST)})')


def are_plain(store: Unit, messages: Sequence[Message]) -> bool:
    """Whether they are new, and can all begin at once."""
    met = store.lives.met
    ids = set()
    for (id, _, _, body, arguments, flags, _, delay, _, _, _, expires) in messages:
        if arguments or delay or expires or flags & GATE or len(body) > INLINE \
                or (met[id] if id in met else store.lives.get(id)) is not None:
            return False
        ids.add(id)
    return len(ids) == len(messages)


def put(store: Unit, messages: Sequence[Message], client: str) -> None:
    """Store plain tasks, in their order, and have a client watch them if it has a name."""
    q, now, gen, n, place = store.q, store.now, store.generation, store.lives_n, store.back
    met, ready = store.lives.met, store.ready
    watched = int(client != '')
    rows = []
    for (id, nonce, header, body, _, flags, priority, _, ttl, lease, deliveries, _) in messages:
        n += 1
        place += 1
        rows.append((q * SPAN + n, q, id.encode(), nonce, header, priority, lease, deliveries, now,
                     flags, gen, place, body, ttl, watched, now))
        ready[2 * priority + 1] += 1
        del met[id]   # it is read if this verb asks for it
    store.db.executemany(INSERT, rows)
    if client:
        store.links.watch_all([row[0] for row in rows], client)
    store.lives_n, store.back = n, place
    store.total += len(rows)
    store.woken += len(rows)
