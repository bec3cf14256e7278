"""Lives that are rows: read when they are met, and written when a verb ends."""
from __future__ import annotations

import json
from collections.abc import Iterator
from operator import attrgetter
from typing import Any

from worq.const import COMPLETED, PENDING, PROCESSING
from worq.queue.machine.graph import PURGED
from worq.queue.machine.life import Life
from worq.queue.machine.traces import Trace, dump, load
from worq.queue.records import Hop
from worq.queue.sqlite.schema import FIXED, VARIED
from worq.queue.sqlite.unit import Unit

__all__ = ['Row', 'Long', 'Traces', 'INLINE']

INLINE = 1_000   # bytes; what is longer is kept apart
BEGIN = len(FIXED)


class Long(bytes):
    """Bytes that are kept apart, and may be shared by many rows."""

    k = 0


class Row(Life):
    """A life that is a row. What it is related to is read when that is asked for."""

    __slots__ = (
        'store', 'n', 'q', 'gen', 'place', 'ended', 'body_', 'memo_', 'data_', 'hops_', 'nargs',
        'ndeps', 'target_n', 'gate_n', 'watched', 'args', 'loaded', 'gone', 'leased', 'trace')

    store: Unit
    n: int
    q: int
    gen: int               # see `Unit.generation`
    place: int             # in its lane; 0: in none
    ended: int             # its place among those with something left over; 0: none
    nargs: int
    ndeps: int
    target_n: int | None
    gate_n: int | None
    watched: int
    args: tuple[Life, ...] | None   # its arguments, where they are known
    loaded: tuple[Any, ...] | None  # what varies, as it is stored
    gone: bool             # it is forgotten
    leased: bool
    body_: Any             # bytes, or the number of a long value
    memo_: Any
    data_: Any
    hops_: str
    trace: str | None      # see `Traces`

    @classmethod
    def load(cls, store: Unit, row: tuple[Any, ...]) -> Row:
        """The life of a row with all `COLUMNS`."""
        self = cls.__new__(cls)
        self.store, self.loaded, self.args, self.seals = store, row[BEGIN:], None, None
        (self.n, self.q, id, self.nonce, self.header, self.priority, self.lease,
         self.max_deliveries, self.put, self.flags, self.state, self.gen, self.place, self.ended,
         self.body_, self.due, self.late, self.ttl, self.epoch, self.deliveries, self.owner,
         self.deadline, self.taken, self.progress, self.memo_, self.open, self.pins, self.nargs,
         self.ndeps, self.target_n, self.gate_n, self.watched, self.made, self.kind, self.data_,
         self.hops_, self.expires, self.ready, self.over, self.age, self.tries, self.trace) = row
        self.gone = id is None
        self.id = '' if id is None else id.decode()
        self.leased = self.state == PROCESSING
        self.token = b'%b%d' % (self.nonce.encode(), self.epoch) if self.epoch else b''
        if self.gen != store.generation and self.state not in (PROCESSING, COMPLETED):
            # It was purged. It is written if it is met, and not before.
            self.state, self.late, self.place = PENDING, PURGED, 0
            self.owner = self.target_n = None
        return self

    def fixed(self) -> tuple[Any, ...]:
        return (self.n, self.q, None if self.gone else self.id.encode(), self.nonce, self.header,
                self.priority, self.lease, self.max_deliveries, self.put)

    # -- what is long -----------------------------------------------------------

    def _let_go(self, raw: Any) -> None:
        if type(raw) is int:
            self.store.longs.drop(raw)

    def _apart(self, value: bytes) -> Any:
        # What is not stored yet may never be.
        if len(value) <= INLINE or self.loaded is None:
            return value
        return self.store.longs.keep(value)

    def part(self) -> None:
        """Keep apart what is long; it is about to be stored."""
        keep = self.store.longs.keep
        if len(self.body_) > INLINE:
            self.body_ = keep(self.body_)
        if len(self.data_) > INLINE:
            self.data_ = keep(self.data_)

    def _read(self, raw: Any) -> bytes:
        data: bytes = self.store.longs.read(raw) if type(raw) is int else raw
        return data

    @property
    def body(self) -> bytes:
        return self._read(self.body_)

    @body.setter
    def body(self, value: bytes) -> None:
        self._let_go(self.body_)
        self.body_ = self._apart(value)

    @property
    def memo(self) -> bytes:
        return self._read(self.memo_)

    @memo.setter
    def memo(self, value: bytes) -> None:
        self._let_go(self.memo_)
        self.memo_ = self._apart(value)

    @property
    def data(self) -> bytes:
        return self._read(self.data_)

    @data.setter
    def data(self, value: bytes) -> None:
        raw = self._apart(value)
        self._let_go(self.data_)   # second: it may be the same one
        self.data_ = raw

    @property
    def hops(self) -> tuple[Hop, ...]:
        return tuple(Hop(id, nonce, seal.encode('latin-1'))
                     for id, nonce, seal in json.loads(self.hops_)) if self.hops_ else ()

    @hops.setter
    def hops(self, value: tuple[Hop, ...]) -> None:
        self.hops_ = json.dumps([(id, nonce, seal.decode('latin-1'))
                                 for id, nonce, seal in value]) if value else ''

    # -- relations ----------------------------------------------------------------

    @property
    def arguments(self) -> Any:
        return Arguments(self) if self.nargs else ()

    @arguments.setter
    def arguments(self, lives: tuple[Life, ...]) -> None:
        """Those of one that is not stored yet; they are stored with it."""
        self.args, self.nargs = lives, len(lives)

    @property
    def dependents(self) -> Any:
        return Dependents(self) if self.ndeps else ()

    @dependents.setter
    def dependents(self, nobody: Any) -> None:
        self.ndeps = 0

    def tells(self, dependent: Life) -> None:
        assert isinstance(dependent, Row)
        self.ndeps += 1
        self.store.links.tell(self, dependent)

    @property
    def target(self) -> Any:
        return None if self.target_n is None else self.store.by_number(self.target_n)

    @target.setter
    def target(self, life: Any) -> None:
        self.target_n = None if life is None else life.n

    @property
    def gate(self) -> Any:
        return None if self.gate_n is None else self.store.by_number(self.gate_n)

    @gate.setter
    def gate(self, life: Any) -> None:
        self.gate_n = None if life is None else life.n

    @property
    def watchers(self) -> Any:
        return self.store.links.watchers(self) if self.watched else None

    @watchers.setter
    def watchers(self, nobody: Any) -> None:
        if self.watched:
            self.store.links.unwatch(self)
        self.watched = 0

    def watch(self, client: str) -> None:
        self.watched = 1
        self.store.links.watch(self, client)


#: What may vary of a row, as it is stored.
varied = attrgetter(*[{'body': 'body_', 'memo': 'memo_', 'data': 'data_', 'hops': 'hops_',
                       'target': 'target_n', 'gate': 'gate_n'}.get(name, name) for name in VARIED])


class Traces:
    """What is kept of lives for people, each in its row; put in words when that is written."""

    def __init__(self) -> None:
        self.known: dict[Row, Trace] = {}
        self.changed: set[Row] = set()

    def clear(self) -> None:
        self.known.clear()
        self.changed.clear()

    def __bool__(self) -> bool:
        return False   # nothing has to be forgotten with a life

    def get(self, life: Row, default: Trace) -> Trace:
        trace = self.known.get(life)
        if trace is None:
            if life.trace is None:
                return default
            trace = self.known[life] = load(life.trace)
        return trace

    def __setitem__(self, life: Row, trace: Trace) -> None:
        self.known[life] = trace
        self.changed.add(life)

    def flush(self) -> None:
        for life in self.changed:
            life.trace = dump(self.known[life])
        self.changed.clear()


class Arguments:
    """The arguments of a life, in their order."""

    def __init__(self, life: Row) -> None:
        self.life = life

    def __len__(self) -> int:
        return self.life.nargs

    def __iter__(self) -> Iterator[Life]:
        life = self.life
        if life.args is None:
            life.args = tuple(life.store.links.arguments(life))
        return iter(life.args)

    def __getitem__(self, part: slice) -> tuple[Life, ...]:
        """Those from one on, or the last ones."""
        life = self.life
        if life.args is not None:
            return life.args[part]
        start = part.start or 0
        if start >= 0:
            return tuple(life.store.links.arguments(life, part.stop - start, skip=start))
        return tuple(life.store.links.arguments(life, -part.start, 'DESC'))[::-1]


class Dependents:
    """Those that wait for a life."""

    def __init__(self, life: Row) -> None:
        self.life = life

    def __len__(self) -> int:
        return self.life.ndeps

    def __iter__(self) -> Iterator[Life]:
        return iter(self.life.store.links.dependents(self.life))

    def __getitem__(self, part: slice) -> list[Life]:
        """The first of them."""
        return list(self.life.store.links.dependents(self.life, part.stop))
