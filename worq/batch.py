"""Calls that are put together: all of them, or none."""
from __future__ import annotations

from collections import Counter
from contextlib import suppress
from functools import partial
import threading
import time
from types import TracebackType
from typing import Any, Callable, Self
from weakref import ref

from worq.builder import Collecting, Collector, Entry, collecting, collector_of
from worq.const import LIVE, STATES, SUCCESS, UNKNOWN, check_timeout
from worq.options import Options
from worq.pieces import pieces
from worq.task import Deferred, Queue, Task, parts

__all__ = ['batch', 'Batch']


STEP = 500    # tasks that are asked for, or cancelled, at a time
SHOWN = 3     # that are explained


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

    ``with worq.batch(q) as batch:`` gives them a name, by which they are cancelled, waited for and
    explained as a whole when the block has ended, see `Batch`.

    :param target: any queue or Task of the broker.
    :raises DuplicateTask: at the end of the block, for the first task that is refused; other
        errors of a call are raised there, too. Then nothing has been put.
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
    """A block whose calls are put together; ``len`` tells how many there are.

    Once it has put them they can be waited for, cancelled and explained as a whole. It keeps their
    ids for that, and nothing else of them.
    """

    def __init__(self, broker: Any) -> None:
        self.broker = broker
        self._joined: Batch | None = None   # the batch of this broker outside
        self._transaction: Any = None       # in which it was put
        self._thread = 0                    # whose calls are collected; 0: nobody's
        self._lot = Lot(broker)
        self._entries: list[Entry] = []
        self._made: list[Deferred] = []
        self._ids: list[str] = []           # of all calls, once they have been collected
        self._ends: list[tuple[str, str, str]] = []   # those that no other call takes: see `_later`

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
        put = self.finish(error)
        if put is not None:
            put()

    def finish(self, error: BaseException | None) -> Callable[[], None] | None:
        """End the block.

        :param error: that it was left by.
        :returns: what puts its calls; None if there is nothing to be put now.
        """
        self._thread = 0   # it is at an end, wherever it is still in force
        with suppress(ValueError):   # the block ends in another context, as generators may
            collecting.reset(self._reset)
        entries, made = self._entries, self._made
        self._entries, self._made = [], []
        self._ids = [entry.deferred.id for entry in entries]
        used = {each.id for entry in entries for each in entry.message.arguments}
        self._ends = [(one.id, one.name, one._nonce) for one in
                      (entry.deferred for entry in entries) if one.id not in used]
        if error is not None:
            self._lot.word = 'never put'
        elif self._joined is not None:
            self._lot.word = 'joined'
            self._joined._join(entries, made)
        else:
            return partial(self._put, entries, made)
        return None

    def _put(self, entries: list[Entry], made: list[Deferred]) -> None:
        try:
            self.broker.put_all(entries)
        except BaseException:
            self._lot.word = 'never put'
            raise
        self._lot.word = 'put'
        for deferred in made:
            deferred._batch = None
        self.broker.inbox.note(made)
        if self.broker.transaction is not None:   # later it is asked for as others are
            self._transaction = self.broker.transaction.now()
            self.broker = self._transaction.broker

    def _join(self, entries: list[Entry], made: list[Deferred]) -> None:
        self._entries += entries
        self._made += made
        for deferred in made:
            deferred._batch = self._lot

    @property
    def word(self) -> str:
        """How it stands with its tasks."""
        return self._lot.word

    # -- all of them, once they are put --

    def cancel(self, upstream: bool = False) -> int:
        """Cancel all its tasks that are not over, and what depends on them, in several steps if
        there are many.

        :param upstream: also what they wait for outside of the batch, see ``Deferred.cancel``.
        :returns: how many of them were cancelled.
        :raises RuntimeError: if they are not put.
        :raises QueueError: if the queue cannot be reached; some may have been cancelled then.
        """
        self._check_put()
        ids = self._ids[::-1]
        size = len(ids) if upstream else STEP
        return sum(word == 'cancelled' for some in pieces(ids, size)
                   for word in self.broker.cancel_all(some, upstream))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all its tasks are over, however they end.

        Intermediate results may be deleted meanwhile, as they are without it.

        :param timeout: seconds, at most; None: as long as it takes.
        :returns: whether they are over.
        :raises RuntimeError: if they are not put.
        :raises QueueError: if the queue cannot be reached within the timeout.
        """
        timeout = check_timeout(timeout)
        self._check_put()
        until = None if timeout is None else time.monotonic() + timeout
        if not self._all_over(self._ends, until):
            return False
        # What these were made of is over, too. But one that failed has not waited for all of it.
        ends = {id for id, *_ in self._ends}
        left = [(id, '?', '') for some in pieces([id for id in self._ids if id not in ends], STEP)
                for id, state in zip(some, self.broker.backend.status(some)) if state in LIVE]
        return self._all_over(left, until)

    def explain(self) -> str:
        """How many of its tasks are in which state, and why the first ones are not over, or failed.

        :raises RuntimeError: if they are not put.
        """
        self._check_put()
        states = {id: state or UNKNOWN for some in pieces(self._ids, STEP)
                  for id, state in zip(some, self.broker.backend.status(some))}
        counts = Counter(states.values())
        told = ', '.join(f'{counts[word]:,} {word}' for word in STATES if counts[word])
        head = f'{len(self._ids):,} tasks of a batch [{self.broker.name}]: {told or "none"}'
        names = {id: name for id, name, _ in self._ends}
        first = [id for id in names if states[id] in LIVE] \
            or [id for id, state in states.items() if state in LIVE] \
            or [id for id, state in states.items() if state not in (SUCCESS, UNKNOWN)]
        return '\n'.join([head, *(self._later(id, names.get(id, '?')).explain()
                                  for id in first[:SHOWN])])

    def _later(self, id: str, name: str, nonce: str = '') -> Deferred:
        """A Deferred of one of them. Those that were handed out are the caller's to keep."""
        return Deferred(self.broker, id, name, None, None, Options(), nonce)

    def _all_over(self, those: list[tuple[str, str, str]], until: float | None) -> bool:
        for some in pieces(those, STEP):   # with them go the results that have come
            deferreds = [self._later(*one) for one in some]
            self.broker.inbox.note(deferreds)   # so that many are asked for at a time
            while deferreds:
                left = None if until is None else max(until - time.monotonic(), 0)
                if not deferreds.pop().wait(left):
                    return False
        return True

    def _check_put(self) -> None:
        batch: Batch = self
        while batch._joined is not None and batch.word == 'joined':
            batch = batch._joined
        if batch.word == 'never put':
            raise RuntimeError(f'{self!r} was never put, since its block or its put has failed')
        if batch.word != 'put':
            raise RuntimeError(f'{self!r} is not put before its with block has ended: '
                               'cancel, wait for or explain it after that')
        if batch._transaction is not None and (error := batch._transaction.refuse(self)):
            raise error

    def __len__(self) -> int:
        return len(self._entries) or len(self._ids)

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
