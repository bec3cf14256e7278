"""What the machine keeps in dicts and lists, over the tables of a file: read as far as is asked."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from worq import const
from worq.queue.machine.lanes import Lanes
from worq.queue.machine.life import Life
from worq.queue.sqlite.rows import Long, Row
from worq.queue.sqlite.schema import COLUMNS, SPAN
from worq.queue.sqlite.unit import Unit

__all__ = ['Lives', 'Ready', 'Leased', 'Agenda', 'Ended', 'Edges', 'Longs', 'COLS', 'JOINED']

COLS = ', '.join(COLUMNS)
JOINED = ', '.join('t.' + name for name in COLUMNS)
MARKS = 512        # ids that one statement asks for
NEVER = object()


class Lives:
    """The tasks of the queue by id; what has been looked for once is known, also that it is not."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.met: dict[str, Row | None] = {}

    def get(self, id: str, default: Any = None) -> Any:
        life = self.met.get(id, NEVER)
        if life is NEVER:
            # The number first: most often there is none, and a row has many columns.
            found = self.store.db.execute('SELECT n FROM worq_task WHERE q=? AND id=?',
                                          (self.store.q, id.encode())).fetchone()
            life = self.met[id] = self.store.by_number(found[0]) if found else None
        return default if life is None else life

    def load(self, ids: Iterable[str]) -> None:
        """Look for many at once."""
        missing = [id for id in dict.fromkeys(ids) if id not in self.met]
        if len(missing) < 2:
            return
        self.met.update(dict.fromkeys(missing))
        for start in range(0, len(missing), MARKS):
            some: list[Any] = [id.encode() for id in missing[start:start + MARKS]]
            marks = 1 << (len(some) - 1).bit_length()   # few statements, and these are kept
            some += [None] * (marks - len(some))
            for row in self.store.db.execute(
                    f'SELECT {COLS} FROM worq_task WHERE q=? AND id IN '
                    f'({",".join("?" * marks)})', [self.store.q, *some]).fetchall():
                self.store.adopt(row)

    def __getitem__(self, id: str) -> Any:
        life = self.get(id)
        if life is None:
            raise KeyError(id)
        return life

    def __contains__(self, id: str) -> bool:
        return self.get(id) is not None

    def __setitem__(self, id: str, life: Row) -> None:
        store = self.store
        self.met[id] = life
        store.met[life.n] = life
        store.fresh_rows.append(life)
        store.total += 1
        if life.args:
            store.links.add(life, 0, life.args)

    def __delitem__(self, id: str) -> None:
        life = self[id]
        life.gone = True
        self.met[id] = None
        self.store.dead.append(life)
        self.store.total -= 1

    def __len__(self) -> int:
        return self.store.total

    def values(self) -> list[Row]:
        self.store.flush()
        return self.store.select('q=? AND id IS NOT NULL ORDER BY n', self.store.q)


class Ready(Lanes):
    """The lanes of the machine, each of which is a part of an index."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        super().__init__()
        pairs: Any = [(Lane(store, n), Lane(store, n + 1)) for n in range(0, len(store.ready), 2)]
        self.pairs = pairs

    @property
    def passed(self) -> Any:
        return self.store.passed

    @passed.setter
    def passed(self, none: Any) -> None:
        """What the machine begins with; the file has it."""

    def clear(self) -> None:
        """Know nothing of what was read."""
        pairs: Any = self.pairs
        for pair in pairs:
            for lane in pair:
                lane.first.clear()


class Lane:
    """What is ready in one of them, by `place`: that counts up for the back, down for the front.

    :param number: twice the priority, and one more for what never had arguments.
    """

    def __init__(self, store: Unit, number: int) -> None:
        self.store = store
        self.number = number
        self.first: deque[Row] = deque()

    def _key(self) -> tuple[int, int, int, int]:
        return self.store.q, self.store.generation, self.number >> 1, self.number & 1

    def __len__(self) -> int:
        return self.store.ready[self.number]

    def __contains__(self, life: Row) -> bool:
        return life.place != 0

    def __setitem__(self, life: Row, nothing: None) -> None:
        if not life.place:
            self.store.ready[self.number] += 1
        self.store.back += 1
        life.place = self.store.back

    def move_to_end(self, life: Row, last: bool) -> None:
        self.store.front -= 1
        life.place = self.store.front
        self.first.clear()

    def pop(self, life: Row, nothing: None) -> None:
        if life.place:
            life.place = 0
            self.store.ready[self.number] -= 1

    def __iter__(self) -> Iterator[Any]:
        """The first; then the others, as far as they are known, which is enough to count them."""
        store, first = self.store, self.first
        while first and not first[0].place:
            first.popleft()
        if not first and len(self):
            store.flush()
            most = store.hint   # of fresh ones only as many as what has arguments leaves
            if self.number & 1:
                most = max(most - store.ready[self.number - 1], 1)
            first.extend(store.select(
                "q=? AND gen=? AND priority=? AND (nargs = 0)=? AND state='enqueued' "
                'AND place<>0 ORDER BY place LIMIT ?', *self._key(), most, by='worq_ready'))
        if first:
            place = first[0].place
            yield first[0]
            store.flush()
            for n, in store.db.execute(
                    'SELECT n FROM worq_task INDEXED BY worq_ready WHERE q=? AND gen=? AND '
                    "priority=? AND (nargs = 0)=? AND state='enqueued' AND place>? AND "
                    'place<>0 ORDER BY place',
                    (*self._key(), place)):
                yield store.met.get(n)


class Leased:
    """What is being processed."""

    def __init__(self, store: Unit) -> None:
        self.store = store

    def __len__(self) -> int:
        return self.store.leases

    def __contains__(self, life: Row) -> bool:
        return life.leased

    def __setitem__(self, life: Row, nothing: None) -> None:
        if not life.leased:
            life.leased = True
            self.store.leases += 1

    def __delitem__(self, life: Row) -> None:
        life.leased = False
        self.store.leases -= 1

    def __iter__(self) -> Iterator[Row]:
        """The first to end."""
        return iter(self.store.leases_of(limit=const.TICK_LIMIT))


class Agenda:
    """Lives by a moment. `next` may be earlier than the first one's, never later.

    :param column: the moment.
    :param where: of which lives it counts; after `q=?`, and `gen=?` unless they have completed.
    :param by: the index to use.
    """

    def __init__(self, store: Unit, column: str, where: str, by: str, gen: bool = True) -> None:
        self.store = store
        self.column = column
        self.by = by
        self.gen = gen
        self.where = f'q=? AND {"gen=? AND " if gen else ""}{where}'
        self.pages = f'{self.where} AND {column}<=? ORDER BY {column}, id LIMIT ?'

    def _key(self) -> list[int]:
        return [self.store.q, self.store.generation] if self.gen else [self.store.q]

    def add(self, life: Life, live: int) -> None:
        self.soon(getattr(life, self.column))

    def soon(self, at: int) -> None:
        """There may be one at this moment."""
        known = self.store.soon.get(self.column)
        if known is None or at < known:
            self.store.soon[self.column] = at

    def next(self) -> int | None:
        return None if self.store.looking else self.store.soon.get(self.column)

    def pop(self, now: int, limit: int) -> list[Row]:
        return self.store.adopted(self.rows(now, limit, COLS))

    def rows(self, now: int, limit: int, columns: str) -> list[tuple[Any, ...]]:
        """Some columns of the first whose moment has come; they are not asked for again."""
        store, at = self.store, self.next()
        if at is None or at > now:
            return []
        store.flush()
        rows = store.db.execute(f'SELECT {columns} FROM worq_task INDEXED BY {self.by} WHERE '
                                f'{self.pages}', (*self._key(), now, limit)).fetchall()
        if len(rows) < limit:
            at, = store.db.execute(
                f'SELECT min({self.column}) FROM worq_task INDEXED BY {self.by} WHERE '
                f'{self.where} AND {self.column}>?', (*self._key(), now)).fetchone()
            store.soon[self.column] = at
        return rows

    def lives(self) -> set[Life]:
        self.store.flush()
        return set(self.store.select(self.where, *self._key()))


class Ended:
    """What ended, and has something left over, in that order; then what was purged."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.place = 0                     # of the one that was taken off last
        self.first: deque[Row] = deque()   # of those that are stored
        self.came: deque[Row] = deque()    # in this verb

    def __bool__(self) -> bool:
        return self.store.left_over_n > 0 or self.store.purged > 0

    def append(self, life: Row) -> None:
        if not life.ended:   # else it is in the line already
            self.store.left_over_n += 1
            self.store.last += 1
            life.ended = self.store.last
            self.came.append(life)

    def appendleft(self, life: Row) -> None:
        self.store.left_over_n += 1
        life.ended = self.place
        self.first.appendleft(life)

    def popleft(self) -> Row:
        store = self.store
        if not self.first and store.left_over_n > len(self.came):
            store.flush()   # those that were taken off are no more in the line that is read
            self.came.clear()
            self.first.extend(store.select(
                'q=? AND ended>0 ORDER BY ended LIMIT ?', store.q, max(store.left, 1),
                by='worq_ended'))
        line = self.first or self.came
        if not line:
            purged: Row = store.purged_one()
            return purged
        life = line.popleft()
        store.left_over_n -= 1
        self.place, life.ended = life.ended, 0
        return life

    def __iter__(self) -> Iterator[Row]:
        self.store.flush()
        return iter(self.store.select('q=? AND ended>0 ORDER BY ended', self.store.q))


class Edges:
    """What leads from task to task. Changes are gathered, and made before one looks."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.clear()

    def clear(self) -> None:
        self.added: list[tuple[int, int, int, bytes | None]] = []
        self.told: list[tuple[int, int, int, bytes | None]] = []
        self.watched: list[tuple[int, int]] = []
        self.seen: dict[int, set[str]] = {}   # watchers that were asked for
        self.changed = False

    def add(self, life: Row, start: int, arguments: Iterable[Life]) -> None:
        self.changed = True
        self.added += [(life.n, start + i, argument.n,   # type: ignore[attr-defined]
                        life.sealed(argument) or None) for i, argument in enumerate(arguments)]

    def tell(self, argument: Row, dependent: Row) -> None:
        self.changed = True
        self.store.seq += 1
        self.told.append((argument.n, self.store.seq, dependent.n,
                          dependent.sealed(argument) or None))

    def tell_all(self, gate: Row, numbers: Sequence[int]) -> None:
        """Enter lives that wait for a gate."""
        self.changed = True
        seq = self.store.seq
        self.store.seq += len(numbers)
        gate.ndeps += len(numbers)
        self.told += [(gate.n, seq, n, None) for seq, n in enumerate(numbers, seq + 1)]

    def flush(self) -> None:
        db = self.store.db
        if self.added:
            db.executemany('INSERT INTO worq_arg VALUES(?,?,?,?)', self.added)
        if self.told:
            db.executemany('INSERT INTO worq_dep VALUES(?,?,?,?)', self.told)
        if self.watched:
            db.executemany('INSERT OR IGNORE INTO worq_watch VALUES(?,?)', self.watched)
        self.clear()

    def watch(self, life: Row, client: str) -> None:
        self.changed = True
        self.seen.pop(life.n, None)
        self.watched.append((life.n, self.store.inboxes[client]))

    def watch_all(self, numbers: Iterable[int], client: str) -> None:
        """Have a client watch lives that nobody has asked for yet."""
        self.changed = True
        inbox = self.store.inboxes[client]
        self.watched += [(n, inbox) for n in numbers]

    def watchers(self, life: Row) -> set[str]:
        """The clients that watch a life."""
        if life.n not in self.seen:
            self.store.flush_new()
            found = dict(self.store.db.execute(
                'SELECT i.name, i.client FROM worq_watch w JOIN worq_inbox i '
                'ON i.client=w.client WHERE w.n=?', (life.n,)))
            self.store.inboxes.update(found)
            self.seen[life.n] = {*found}
        return self.seen[life.n]

    def unwatch(self, life: Row) -> None:
        self.store.flush_new()
        self.seen.pop(life.n, None)
        self.store.db.execute('DELETE FROM worq_watch WHERE n=?', (life.n,))

    def arguments(self, life: Row, most: int = -1, order: str = '', skip: int = 0) -> list[Row]:
        self.store.flush_new()
        return self.store.adopted(self.store.db.execute(
            f'SELECT {JOINED} FROM worq_arg a JOIN worq_task t ON t.n=a.arg WHERE a.dep=? '
            f'ORDER BY a.pos {order} LIMIT ? OFFSET ?', (life.n, most, skip)))

    def arguments_from(self, life: Row, start: int, most: int) -> list[Row]:
        """Those of one that has let go of none of them, from a place on."""
        return self.store.adopted(self.store.db.execute(
            f'SELECT {JOINED} FROM worq_arg a JOIN worq_task t ON t.n=a.arg WHERE a.dep=? '
            'AND a.pos>=? ORDER BY a.pos LIMIT ?', (life.n, start, most)))

    def dependents(self, life: Row, most: int = -1) -> list[Row]:
        self.store.flush_new()
        return self.store.adopted(self.store.db.execute(
            f'SELECT {JOINED} FROM worq_dep d JOIN worq_task t ON t.n=d.dep WHERE d.arg=? '
            'ORDER BY d.seq LIMIT ?', (life.n, most)))

    def shed(self, life: Row, most: int) -> list[Row]:
        """Take off the first arguments."""
        store = self.store
        store.flush_new()
        rows = store.db.execute(
            f'SELECT a.pos, a.seal, {JOINED} FROM worq_arg a JOIN worq_task t ON t.n=a.arg '
            'WHERE a.dep=? ORDER BY a.pos LIMIT ?', (life.n, most)).fetchall()
        left = life.nargs - len(rows) if len(rows) == most else 0
        store.db.execute('DELETE FROM worq_arg WHERE dep=? AND pos<=?',
                         (life.n, rows[-1][0] if left else 1 << 60))
        life.nargs, life.args = left, None
        some = []
        for _, seal, *row in rows:
            some.append(store.adopt(tuple(row)))
            life.seal(some[-1], seal or b'')
        return some

    def heirs(self, life: Row, most: int) -> list[Row]:
        """Take off the first dependents, each with the seal of its edge."""
        store = self.store
        store.flush_new()
        rows = store.db.execute(
            f'SELECT d.seq, d.seal, {JOINED} FROM worq_dep d LEFT JOIN worq_task t ON t.n=d.dep '
            'WHERE d.arg=? ORDER BY d.seq LIMIT ?', (life.n, most)).fetchall()
        if rows:
            store.db.execute('DELETE FROM worq_dep WHERE arg=? AND seq<=?', (life.n, rows[-1][0]))
        life.ndeps = life.ndeps - len(rows) if len(rows) == most else 0
        heirs = []
        for _, seal, *row in rows:
            if row[0] is not None:   # else it has ended before, and is forgotten
                heirs.append(store.adopt(tuple(row)))
                heirs[-1].seal(life, seal or b'')
        return heirs


class Longs:
    """Bytes that are kept apart from rows, and counted by who has them."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self.clear()

    def clear(self) -> None:
        self.known: dict[int, Long] = {}
        self.fresh: dict[int, Long] = {}
        self.refs: dict[int, int] = {}    # changes of the counts

    def keep(self, value: bytes) -> int:
        if not isinstance(value, Long):
            self.store.longs_n += 1
            value = Long(value)
            value.k = self.store.q * SPAN + self.store.longs_n
            self.known[value.k] = self.fresh[value.k] = value
        self.refs[value.k] = self.refs.get(value.k, 0) + 1
        return value.k

    def drop(self, k: int) -> None:
        self.refs[k] = self.refs.get(k, 0) - 1

    def size(self, k: int) -> int:
        """Its bytes."""
        if k in self.known:
            return len(self.known[k])
        n: int
        n, = self.store.db.execute('SELECT length(data) FROM worq_long WHERE k=?',
                                   (k,)).fetchone()
        return n

    def read(self, k: int) -> Long:
        value = self.known.get(k)
        if value is None:
            found = self.store.db.execute('SELECT data FROM worq_long WHERE k=?', (k,)).fetchone()
            value = self.known[k] = Long(found[0])
            value.k = k
        return value

    def flush(self) -> None:
        db = self.store.db
        for k, change in self.refs.items():
            if k in self.fresh:
                if change:
                    db.execute('INSERT INTO worq_long VALUES(?,?,?)', (k, change, self.fresh[k]))
            elif change:
                db.execute('UPDATE worq_long SET refs=refs+? WHERE k=?', (change, k))
                if change < 0:
                    db.execute('DELETE FROM worq_long WHERE k=? AND refs<1', (k,))
        self.refs = {}
        self.fresh = {}
