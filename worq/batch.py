"""Calls that are put together: all of them, or none."""
from __future__ import annotations

import threading
from types import TracebackType
from typing import Any, Self
from weakref import ref

from worq.builder import Collecting, Collector, Entry, collecting, collector_of
from worq.task import Deferred, Queue, Task, parts

__all__ = ['batch', 'Batch']


def batch(target: Queue | Task) -> Batch:
    """Collect the calls of a block, and put them when it ends: all of them, or none.

    ::

        with worq.batch(q):
            parts = worq.map(q.load, paths)
            report = q.report(parts)
        report.result()

    It collects the calls that the block makes in its own thread through the broker of
    `target`, whatever the queue or Task, those of ``worq.map`` and ``worq.reduce`` among
    them. The Deferreds that they return can be arguments of further calls of the block; they
    cannot be waited for before it has ended. If the block raises, nothing is put. A batch
    inside a batch of the same broker joins it; batches of two brokers are independent.

    There may be any number of calls. More than a thousand (or 8 MB, or 2,000 Deferreds in
    their arguments) take several steps, and none of them runs before the last step is done.

    :param target: any queue or Task of the broker.
    :raises DuplicateTask: at the end of the block, as a single call does, for the first task
        that is refused; the same for its other errors. Then nothing has been put.
    """
    broker, _, _ = parts(target)
    return Batch(broker)


class Lot:
    """What the Deferreds of a batch know of it. They do not have the batch itself: it is at an end
    when its block has let go of it, and so in no cycle with them."""

    __slots__ = ('broker', 'word')

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self.word = 'not begun'   #: how it stands with its tasks

    def refuse(self, deferred: Deferred) -> RuntimeError:
        """What to raise if somebody asks for the outcome of what is not put."""
        if self.word == 'never put':
            text = 'was never put, since its batch failed'
        else:
            text = 'is not put before its batch ends: ask for it after the with block'
        return RuntimeError(f'{deferred.name} [{self.broker.name}:{deferred.id}] {text}')


class Batch(Collector):
    """A block whose calls are put together; ``len`` tells how many there are so far."""

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self._joined: Batch | None = None   # the batch of this broker outside
        self._thread = 0                    # whose calls are collected; 0: nobody's
        self._lot = Lot(broker)
        self._entries: list[Entry] = []
        self._made: list[Deferred] = []

    def __enter__(self) -> Self:
        if self._lot.word != 'not begun':
            raise RuntimeError('a batch can be used once')
        self._lot.word = 'not put yet'
        outer = collecting.get()
        joined = collector_of(self.broker)
        self._joined = joined if isinstance(joined, Batch) else None
        self._thread = threading.get_ident()
        try:
            self._reset = collecting.set(Collecting(ref(self), outer))
            return self
        except BaseException:
            collecting.set(outer)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        collecting.reset(self._reset)
        self._thread = 0
        entries, made = self._entries, self._made
        self._entries, self._made = [], []
        if error is not None:
            self._lot.word = 'never put'
        elif self._joined is not None:
            self._lot.word = 'joined'
            self._joined._join(entries, made)
        else:
            try:
                self.broker.put_all(entries)
            except BaseException:
                self._lot.word = 'never put'
                raise
            self._lot.word = 'put'
            for deferred in made:
                deferred._batch = None
            self.broker.inbox.note(made)

    def _join(self, entries: list[Entry], made: list[Deferred]) -> None:
        self._entries += entries
        self._made += made
        for deferred in made:
            deferred._batch = self._lot

    @property
    def word(self) -> str:
        """How it stands with its tasks."""
        return self._lot.word

    def __len__(self) -> int:
        return len(self._entries)

    def __bool__(self) -> bool:
        return True   # also an empty one is there

    def __repr__(self) -> str:
        return f'<Batch [{self.broker.name}] {len(self)} calls, {self.word}>'

    # -- for the broker and the Deferreds --

    def add(self, entry: Entry) -> Deferred | None:
        self._entries.append(entry)
        deferred = entry.deferred
        if deferred._options.ignore_result:
            return None
        deferred._batch = self._lot
        self._made.append(deferred)
        return deferred

    def is_open(self) -> bool:
        return self._thread == threading.get_ident()

    def holds(self, deferred: Deferred) -> bool:
        """Whether it will put this Deferred's task, before what is collected next."""
        return deferred._batch is self._lot \
            or self._joined is not None and self._joined.holds(deferred)
