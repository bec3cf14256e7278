"""The machine over the rows of a file: one unit of work for each verb, in a transaction.

What a verb meets is read, by an index, and known until its end; then what differs is written. So
the logic of a queue is told once, in ``worq.queue.machine``, and nothing here has a rule of it.
"""
from __future__ import annotations

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import compress
from operator import ne
from typing import Any

from worq import const
from worq.const import COMPLETED, PENDING, PROCESSING
from worq.queue.base import Message, Note, Refusal, Revival
from worq.queue.machine.life import Life
from worq.queue.machine.sides import Sides
from worq.queue.machine.store import Store
from worq.queue.sqlite import plain
from worq.queue.sqlite.book import BookRows
from worq.queue.sqlite.failed import FailedRows
from worq.queue.sqlite.lanes import Sided, dump, load
from worq.queue.sqlite.numbers import KEPT, Numbers
from worq.queue.sqlite.pools import Looks, Pools
from worq.queue.sqlite.registers import Noted
from worq.queue.sqlite.rows import Row, Traces, varied
from worq.queue.sqlite.schema import COLUMNS, SPAN, VARIED
from worq.queue.sqlite.tables import COLS, Agenda, Edges, Ended, Leased, Lives, Longs

__all__ = ['Rows', 'Writes']

INSERT = f'INSERT INTO worq_task({COLS}) VALUES({",".join("?" * len(COLUMNS))})'
#: How many lives are met on the way, of `most`, and whether the goal is one of them.
NEEDS = """WITH RECURSIVE met(n) AS (SELECT :one UNION
  SELECT ifnull(t.target, a.arg) FROM met JOIN worq_task t ON t.n=met.n
    LEFT JOIN worq_arg a ON a.dep=t.n AND t.target IS NULL
    WHERE t.state='pending' AND t.gen=:gen AND ifnull(t.target, a.arg) IS NOT NULL LIMIT :most)
  SELECT count(*), max(n=:{goal}) FROM met"""
NEEDED_BY = """WITH RECURSIVE met(n) AS (SELECT :other UNION
  SELECT d.dep FROM met JOIN worq_task t ON t.n=met.n JOIN worq_dep d ON d.arg=t.n
    WHERE met.n=:other OR t.state='pending' AND t.gen=:gen LIMIT :most)
  SELECT count(*), max(n=:{goal}) FROM met"""


ARGUMENTS = 400     # that one verb brings with what it takes; the rest is read by who needs it
#: Whether something is left over of a row that is forgotten, or kept apart from it.
BESIDE = ('nargs OR ndeps OR ' + ' OR '.join(
    f"typeof({name})='integer'" for name in ('body', 'memo', 'data')))


class Writes(Exception):
    """What was to be looked at has to be changed first, see `Rows.looking`."""


class Rows(Store):
    """The machine over rows.

    :param tell: see `Store`.
    :param budget: see `Store`.
    """

    db: sqlite3.Connection
    q = 0
    looking = False     # nothing may be written: it is a reader's

    def __init__(self, tell: Callable[[str, str, bytes | None], None], budget: int) -> None:
        super().__init__(tell, self._row, budget)
        self.total = 0                  # tasks
        self.ready = [0] * 2 * len(const.PRIORITIES)
        self.passed = [(0, '')] * len(const.PRIORITIES)   # see `Lanes`
        self.serial = self.aside_n = self.freed_n = 0
        self.names = dump(self.sides)
        self.failed_last = self.failed_n = self.failed_bytes = 0   # see `FailedRows`
        self.again_n = 0
        self.leases = 0
        self.back = self.front = 0      # the places that lanes have given
        self.seq = 0                    # edges ever
        self.last = self.left_over_n = 0     # places in the line of `Ended`; how many are in it
        self.lives_n = self.longs_n = 0      # ever
        self.generation = 0             # purges ever
        self.soon: dict[str, int | None] = {}   # by column: no moment of an `Agenda` is before
        self.hint = const.BUDGET        # how many somebody is about to take
        self._written = Numbers()
        self._blank = json.dumps({name: vars(self)[attr] for name, attr in KEPT.items()})
        self._meta = ''                 # the numbers below as text, if they are what it says
        self._read_meta: str | None = ''
        self._known: dict[str, Any] = {}    # with those of a newer program

        tables: Any = self   # they have the manners of what they stand for, as far as it is used
        tables.lives = Lives(self)
        self.lanes = Sided(self)
        self.registers = Noted(self)
        tables.leased = Leased(self)
        tables.schedule = Agenda(self, 'due', "state='scheduled'", 'worq_scheduled')
        tables._late = Agenda(
            self, 'late', "late>0 AND state IN ('pending','scheduled','enqueued') "
            'AND target IS NULL', 'worq_late')
        tables._expiry = Agenda(self, 'expires', 'expires>0', 'worq_over', gen=False)
        tables._ended = Ended(self)
        tables.traces = Traces()
        self.failed = FailedRows(self)
        tables.pools = Pools(self)
        self.sides = Sides(self.lanes, tables.pools, self._end_late, self._call, budget)
        tables._looked = Looks(self)
        self.links = Edges(self)
        self.longs = Longs(self)
        tables.book = BookRows(self)
        self._clear()

    # -- a unit of work ---------------------------------------------------------

    def _clear(self) -> None:
        self.inboxes: dict[str, int] = {}    # numbers of clients
        self.met: dict[int, Row] = {}        # by number: an object for each
        self.fresh_rows: list[Row] = []      # to be inserted
        self.dead: list[Row] = []            # to be deleted
        self.room = ARGUMENTS                # how many more are brought with what is taken
        self.wide: set[bytes] = set()        # tokens of what is taken without them
        self._aside: deque[Row] = deque()    # purged, and about to end
        self.fresh, self.holder, self.noting, self.doomed = {}, None, None, []
        self._first.clear()
        lives: Any = self.lives
        lives.met = {}
        lanes: Any = self.lanes
        lanes.clear()
        ended: Any = self._ended
        ended.first.clear()
        ended.came.clear()
        self.links.clear()
        self.longs.clear()
        book: Any = self.book
        book.clear()
        traces: Any = self.traces
        traces.clear()
        registers: Any = self.registers
        registers.known.clear()

    def open(self, db: sqlite3.Connection, q: int, meta: str | None) -> None:
        """Begin a unit of work.

        :param q: the queue's number.
        :param meta: what it keeps in numbers; None if it is new.
        """
        self._clear()
        self.db, self.q, self._read_meta = db, q, meta
        if meta and meta == self._meta:
            self._meta = ''   # until it is known what comes of this unit
            return
        self._meta = ''
        self._known = known = json.loads(meta or self._blank)
        values = vars(self)
        for name, attr in KEPT.items():
            values[attr] = known[name] if name in known else json.loads(self._blank)[name]
        load(self.sides, self.names)

    def save(self) -> None:
        """Write what the unit has changed."""
        self.flush()
        meta = self._written.text(vars(self), dump(self.sides), self._known)
        if meta != self._read_meta:
            self.db.execute('UPDATE worq_queue SET meta=? WHERE q=?', (meta, self.q))
        self._meta = meta

    def flush_new(self) -> None:
        """Write what relations need: rows that are new or gone, and edges."""
        if self.looking:
            return
        if self.dead:
            self._bury()
        if self.fresh_rows:
            self._put_in_words()
            rows, self.fresh_rows = self.fresh_rows, []
            made = []
            for life in rows:
                if not life.gone:
                    life.part()
                    life.loaded = varied(life)
                    made.append(life.fixed() + life.loaded)
            self.db.executemany(INSERT, made)
        if self.links.changed:
            self.links.flush()

    def _put_in_words(self) -> None:
        traces: Any = self.traces
        if traces.changed:
            traces.flush()

    def _bury(self) -> None:
        """Take out what is forgotten. What it has left over keeps its row, without an id."""
        dead, self.dead = self.dead, []
        self.db.executemany('DELETE FROM worq_task WHERE n=?',
                            [(life.n,) for life in dead if not life.nargs and not life.ndeps])
        self.db.executemany('UPDATE worq_task SET id=NULL WHERE n=?',
                            [(life.n,) for life in dead if life.nargs or life.ndeps])

    def flush(self) -> None:
        """Write all that differs from what is stored."""
        if self.looking:
            return
        self.flush_new()
        self._put_in_words()
        changed: dict[tuple[bool, ...], list[list[Any]]] = {}
        over = []
        for life in self.met.values():
            now, old = varied(life), life.loaded
            if now != old and old is not None:
                if life.gone and not life.nargs and not life.ndeps:
                    over.append((life.n,))
                    continue
                which = tuple(map(ne, now, old))
                changed.setdefault(which, []).append([*compress(now, which), life.n])
                life.loaded = now
        for which, rows in changed.items():
            names = ', '.join(name + '=?' for name in compress(VARIED, which))
            self.db.executemany(f'UPDATE worq_task SET {names} WHERE n=?', rows)
        if over:
            self.db.executemany('DELETE FROM worq_task WHERE n=?', over)
        if self.longs.refs:
            self.longs.flush()

    # -- rows ---------------------------------------------------------------------

    def adopt(self, row: tuple[Any, ...]) -> Row:
        """The life of a row that was read; always the same one in a unit of work."""
        life = self.met.get(row[0])
        if life is None:
            life = self.met[row[0]] = Row.load(self, row)
            if not life.gone:
                lives: Any = self.lives
                lives.met[life.id] = life
        return life

    def adopted(self, rows: Iterable[tuple[Any, ...]]) -> list[Row]:
        return [self.adopt(row) for row in list(rows)]

    def select(self, where: str, *values: Any, by: str = '') -> list[Row]:
        index = f'INDEXED BY {by} ' if by else ''
        return self.adopted(self.db.execute(
            f'SELECT {COLS} FROM worq_task {index}WHERE {where}', values))

    def by_number(self, n: int) -> Row | None:
        life = self.met.get(n)
        if life is None:
            self.flush_new()
            found = self.select('n=?', n)
            life = found[0] if found else None
        return life

    def _row(self, message: Message, arguments: tuple[Life, ...], now: int) -> Life:
        """Make the row of a message; it is stored when it is entered in `lives`."""
        life = Row.__new__(Row)
        self.lives_n += 1
        life.store, life.q, life.n = self, self.q, self.q * SPAN + self.lives_n
        life.gen = self.generation
        life.place = life.ended = life.nargs = life.ndeps = life.watched = 0
        life.target_n = life.gate_n = life.loaded = life.trace = None
        life.body_ = life.memo_ = life.data_ = b''
        life.gone = life.leased = False
        life.made = 0   # type: ignore[assignment]  # a bool costs a search for who adapts it
        Life.__init__(life, message, (), now)
        life.args, life.nargs = arguments, len(arguments)
        return life

    def put(self, messages: Sequence[Message], gate: str, client: str = '',
            note: Note | None = None) -> list[Refusal]:
        holder: Any = self.find(gate) if gate else None
        if note is not None or gate and not self._holds(holder) \
                or not plain.are_plain(self, messages):
            return super().put(messages, gate, client, note)
        plain.put(self, messages, client, holder)
        return []

    # -- what the machine asks of a storage ------------------------------------------

    def width(self, life: Life) -> int:
        assert isinstance(life, Row)
        return life.nargs

    def weight(self, life: Life) -> int:
        assert isinstance(life, Row)
        return self.longs.size(life.body_) if type(life.body_) is int else len(life.body_)

    def renew(self, life: Life, what: Revival | None) -> None:
        assert isinstance(life, Row)
        super().renew(life, what)
        self.flush_new()
        self.db.execute('UPDATE worq_task SET header=?, put=?, priority=? WHERE n=?',
                        (life.header, life.put, life.priority, life.n))

    def records(self, life: Life) -> tuple[tuple[str, bytes], ...]:
        assert isinstance(life, Row)
        if life.nargs > self.room:
            self.wide.add(life.token)
            return ()
        self.room -= life.nargs
        return super().records(life)

    def argue(self, life: Life, more: Iterable[Life]) -> None:
        assert isinstance(life, Row)
        some = tuple(more)
        self.links.add(life, life.nargs, some)
        life.nargs += len(some)
        life.args = None

    def seals_of(self, life: Life, some: Sequence[Life], start: int) -> list[bytes]:
        assert isinstance(life, Row)
        self.flush_new()
        return [seal or b'' for seal, in self.db.execute(
            'SELECT seal FROM worq_arg WHERE dep=? ORDER BY pos LIMIT ? OFFSET ?',
            (life.n, len(some), start))]

    def seal_of(self, life: Life, target: Life) -> bytes:
        assert isinstance(life, Row) and isinstance(target, Row)
        self.flush_new()
        found = self.db.execute(
            'SELECT seal FROM worq_dep WHERE arg=? AND dep=? ORDER BY seq DESC LIMIT 1',
            (target.n, life.n)).fetchone()
        return found[0] or b'' if found else b''

    def shed(self, life: Life, most: int) -> Iterable[Life]:
        assert isinstance(life, Row)
        return self.links.shed(life, most)

    def heirs(self, life: Life, most: int) -> Iterable[Life]:
        assert isinstance(life, Row)
        return self.links.heirs(life, most)

    def enlist(self, life: Life) -> None:
        """An index has it."""

    def delist(self, life: Life) -> None:
        """An index has it."""

    # -- by an index, what memory looks for among all -----------------------------------

    def drop_expired(self, limit: int) -> int:
        """Most need not be read for it: nothing that they leave is kept elsewhere."""
        agenda: Any = self._expiry
        rows = agenda.rows(self.now, limit, f'n, {BESIDE}')
        met = self.met
        for n, beside in rows:
            if beside or n in met:
                self._drop(self.by_number(n))   # type: ignore[arg-type]
        gone = [(n,) for n, beside in rows if not beside and n not in met]
        self.db.executemany('DELETE FROM worq_task WHERE n=?', gone)
        self.total -= len(gone)
        self.completed -= len(gone)
        return len(rows)

    def _move(self, life: Life, state: str) -> None:
        if state != PROCESSING and state != COMPLETED:
            life.gen = self.generation   # type: ignore[attr-defined]
        super()._move(life, state)

    def oldest(self) -> list[int | None]:
        ready = [[at for fresh in (0, 1) for at, in self.db.execute(
            'SELECT ready FROM worq_task WHERE q=? AND gen=? AND priority=? AND '   # not aside
            "(nargs = 0)=? AND state='enqueued' AND place<>0 ORDER BY place LIMIT ?",
            (self.q, self.generation, priority, fresh, const.LOOK))]
            for priority in sorted(const.PRIORITIES.values())]
        return [max(self.now - min(found), 0) if found else None for found in ready]

    def see(self, pool: str) -> None:
        self.db.execute('UPDATE worq_pool SET seen=? WHERE q=? AND pool=?',
                        (self.now, self.q, pool))

    def _expect(self, life: Life) -> None:
        if life.late:   # the agenda does not count what is processed
            self._late.add(life, 0)

    def _end_late(self, life: Life) -> bool:
        if self.looking and life.late and life.late <= self.now and life.target is None \
                and life.state not in (PROCESSING, COMPLETED):
            raise Writes
        return super()._end_late(life)

    def leases_of(self, where: str = '', *values: Any, limit: int = -1,
                  last: bool = False) -> list[Row]:
        """What is leased, by when that ends."""
        self.flush()
        down = ' DESC' if last else ''
        return self.select(
            f"q=? AND state='processing'{where} ORDER BY deadline{down}, id{down} LIMIT ?",
            self.q, *values, limit, by='worq_leased')

    def _leases(self, pool: str) -> list[Life]:
        """The last ones of a pool, as many as one step takes: the next puts in front what was
        before them."""
        found = self.leases_of(' AND owner=?', pool, limit=const.LEASES_LIMIT, last=True)
        return [*reversed(found)]

    def reconcile(self, pool: str, known: set[bytes]) -> int:
        self.flush()
        unknown = [n for n, nonce, epoch in self.db.execute(
            "SELECT n, nonce, epoch FROM worq_task INDEXED BY worq_leased WHERE q=? AND "
            "state='processing' AND owner=? ORDER BY deadline DESC, id DESC", (self.q, pool))
            if b'%b%d' % (nonce.encode(), epoch) not in known][:const.LEASES_LIMIT]
        for n in reversed(unknown):
            self.give_back(self.by_number(n))   # type: ignore[arg-type]
        return len(unknown)

    def abandon(self, pool: str, cause: str) -> int:
        dead = self._leases(pool)
        for life in dead:
            self._lose(life, cause)
            self._follow_all()
        if len(dead) < const.LEASES_LIMIT:
            self.leave(pool)
        return len(dead)

    def _give_time(self, ms: int) -> None:
        """One statement for all that is leased; what is known of that is done likewise."""
        self.flush()
        limit = self.now + const.GRACE
        self.db.execute(
            'UPDATE worq_task INDEXED BY worq_leased SET deadline=max(deadline, min(deadline+?, ?))'
            " WHERE q=? AND state='processing'", (ms, limit, self.q))
        for life in self.met.values():
            if life.leased:
                life.deadline = max(life.deadline, min(life.deadline + ms, limit))
                life.loaded = varied(life)
        soonest, = self.db.execute(
            'SELECT min(deadline) FROM worq_task INDEXED BY worq_leased WHERE q=? AND '
            "state='processing'", (self.q,)).fetchone()
        self._soonest = soonest or 0

    def _waits_for(self, one: Life, other: Life) -> bool:
        """The two searches in statements, each as far as some lives, then four times as far."""
        if one.state != PENDING or not other.dependents:
            return one is other
        self.flush()
        found = {'one': one.n, 'other': other.n, 'gen': self.generation,  # type: ignore[attr-defined]
                 'most': const.BUDGET}
        while True:
            for statement, goal in (NEEDS, 'other'), (NEEDED_BY, 'one'):
                n, met = self.db.execute(statement.format(goal=goal), found).fetchone()
                if met or n < found['most']:
                    return bool(met)
            found['most'] *= 4

    def purge(self) -> int:
        """All that has not begun is of a generation before this from now on: no row is written."""
        counts = self.counts
        doomed = sum(counts.values()) - counts[PROCESSING] - counts[COMPLETED]
        if doomed:
            self.flush()
            self.purged += doomed
            self.scheduled = 0
            self.ready = [0] * len(self.ready)
            if self.aside_n or self.freed_n:
                self.aside_n = self.freed_n = 0
                self.db.execute('DELETE FROM worq_aside WHERE q=?', (self.q,))
            self.generation += 1
            self.met.clear()
            lives: Any = self.lives
            lives.met.clear()
        return doomed

    def purged_one(self) -> Row:
        """The next of those that were purged and have not ended yet."""
        if not self._aside:
            self.flush()
            for state in 'pending', 'scheduled', 'enqueued':
                self._aside.extend(self.select(
                    f"q=? AND gen<? AND state='{state}' LIMIT ?", self.q, self.generation,
                    max(self.left, 1), by=f'worq_{"ready" if state == "enqueued" else state}'))
                if self._aside:
                    break
        return self._aside.popleft()
