"""Many calls and many results at once: batch, map, reduce, wait, as_completed.

Free functions over Deferreds. Each of them makes as few round trips as the queue allows.
"""
from __future__ import annotations

from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from contextlib import nullcontext
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
import threading
import time
from types import TracebackType
from typing import Any, Iterable, Iterator, NamedTuple, Self
from weakref import ref

from worq.const import CHUNK, check_count, check_timeout
from worq.builder import Collecting, Collector, Entry, collecting, collector_of
from worq.shield import unbroken
from worq.task import Deferred, Queue, Task, parts

__all__ = [
    'batch', 'Batch', 'map', 'reduce', 'wait', 'as_completed', 'DoneAndNotDone',
    'ALL_COMPLETED', 'FIRST_COMPLETED', 'FIRST_EXCEPTION',
]


def map(target: Queue | Task, *iterables: Iterable[Any], chunksize: int = 1) -> list[Any]:
    """Call a task with the items of the iterables, as the builtin `map` does.

    ::

        squares = worq.map(q.square, range(1000))
        total = q.sum(squares)

    :param target: the task: ``q.module.function``, or a `Task` with options.
    :param chunksize: how many calls one task makes. With more than one there is one
        Deferred for each chunk, and its value is the list of the chunk's results; if one
        call fails, the chunk does.
    :returns: a list of Deferreds in order (of None, if results are ignored).
    :raises: what a single call does. Calls that were put before have been put then.
    """
    broker, name, options = parts(target)
    if not iterables:
        raise TypeError('map needs at least one iterable')
    chunksize = check_count('chunksize', chunksize)
    calls = zip(*iterables)
    if chunksize > 1 and callable(options.id):
        raise ValueError('an id that is a function of a call cannot be that of a chunk, which has '
                         'many calls: leave out either id or chunksize')
    if chunksize == 1:
        return broker.enqueue_all(name, calls, options)
    chunks = iter(lambda: tuple(islice(calls, chunksize)), ())
    return broker.enqueue_all(name, chunks, options, CHUNK)


def reduce(target: Queue | Task, items: Iterable[Any]) -> Any:
    """Combine items by a task of two arguments, in a balanced tree.

    The order of the items is kept, so the task has to be associative, but need not be
    commutative: the tree is as deep as the logarithm of their number.

    :param target: the task, called with two neighbours or what they came to.
    :param items: Deferreds and plain values.
    :returns: the Deferred at the top of the tree. A single item comes back as it is.
    :raises ValueError: if there are no items.
    """
    broker, name, options = parts(target)
    if options.ignore_result:
        raise ValueError('reduce needs the results that ignore_result would drop')
    level = list(items)
    if not level:
        raise ValueError('reduce of no items has no result')
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [*broker.enqueue_all(name, zip(level[::2], level[1::2]), options), *odd]
    return level[0]


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


class DoneAndNotDone(NamedTuple):
    """What `wait` returns: two sets of Deferreds."""

    done: set[Deferred]
    not_done: set[Deferred]


def wait(deferreds: Iterable[Deferred], timeout: float | None = None,
         return_when: str = ALL_COMPLETED) -> DoneAndNotDone:
    """Wait for Deferreds, as ``concurrent.futures.wait`` does for futures.

    They may belong to any number of brokers.

    :param timeout: seconds, at most; None: as long as it takes.
    :param return_when: `ALL_COMPLETED`, `FIRST_COMPLETED`, or `FIRST_EXCEPTION`: when one
        has failed, or all are done.
    :raises QueueError: if a queue cannot be asked; it is given two seconds in any case.
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f'invalid return_when: {return_when!r}; it is ALL_COMPLETED, '
                         'FIRST_COMPLETED or FIRST_EXCEPTION')
    done: set[Deferred] = set()
    with Arrivals(deferreds, timeout) as arrivals:
        for deferred in arrivals.come():
            done.add(deferred)
            if return_when == FIRST_COMPLETED \
                    or return_when == FIRST_EXCEPTION and deferred.exception(0) is not None:
                done.update(d for d in arrivals.open if d.has_value())
                break
        return DoneAndNotDone(done, arrivals.open - done)


def as_completed(deferreds: Iterable[Deferred],
                 timeout: float | None = None) -> Iterator[Deferred]:
    """Each Deferred once, when it is done, as ``concurrent.futures.as_completed`` does.

    :param timeout: seconds from the call, at most; None: as long as it takes.
    :raises TypeError: at once, for anything but Deferreds.
    :raises ValueError: at once, for a timeout that is negative, no number, or more than ten years.
    :raises TimeoutError: if they are not all done by then.
    :raises QueueError: as `wait` does.
    """
    return _as_completed(Arrivals(deferreds, timeout), timeout)


def _as_completed(arrivals: Arrivals, timeout: float | None) -> Iterator[Deferred]:
    with arrivals:
        yield from arrivals.come()
        if arrivals.open:
            count = len(arrivals.open)
            raise TimeoutError(f'{count} {"Deferred is" if count == 1 else "Deferreds are"} '
                               f'not done after {timeout} seconds')


class Arrivals:
    """Tells of many Deferreds, one after the other, when they are done.

    :param deferreds: what to wait for; it is begun with ``with``.
    :param timeout: seconds from now, at most; None: as long as it takes.
    """

    def __init__(self, deferreds: Iterable[Deferred], timeout: float | None) -> None:
        timeout = check_timeout(timeout)
        self._limit = None if timeout is None else time.monotonic() + timeout
        self.open = set(deferreds)     #: those that have not been told of
        for strange in self.open:
            if not isinstance(strange, Deferred):
                raise TypeError(f'only Deferreds can be waited for, not {strange!r}'
                                + (' (which a call returns whose result is ignored)'
                                   if strange is None else ''))
        unput = next((d for d in self.open if d._batch is not None), None)
        if unput is not None:
            raise unput._batch.refuse(unput)
        self._news: SimpleQueue[Deferred | None] = SimpleQueue()
        self._subscribed: list[tuple[Deferred, Any]] = []

    def __enter__(self) -> Arrivals:
        try:
            for deferred in self.open:
                announce = partial(self._news.put, deferred)
                if deferred.has_value():
                    announce()
                else:
                    self._subscribed.append((deferred, announce))
                    left = self._left()
                    with nullcontext() if left is None else deferred.broker.backend.within(left):
                        deferred.broker.inbox.subscribe(deferred, announce)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        # Maybe in a finalizer, if somebody has given up half-way: nothing here takes a lock. What
        # an interruption leaves undone is done by itself, for the inbox does not keep `announce`.
        for deferred, announce in self._subscribed:
            deferred.broker.inbox.unsubscribe(deferred, announce)
        self._subscribed = []

    def _left(self) -> float | None:
        return None if self._limit is None else max(0.0, self._limit - time.monotonic())

    def come(self) -> Iterator[Deferred]:
        """Those that are done, as they come, until there is no other or time is up."""
        while self.open:
            try:
                deferred = self._news.get_nowait()   # of many most are there by now
            except Empty:
                left = self._left()
                try:
                    with unbroken(partial(self._news.put, None)) as whole:
                        deferred = None if whole.interrupted else self._news.get(timeout=left)
                except Empty:
                    return
            if deferred is not None and deferred in self.open:  # it may be announced more than once
                self.open.discard(deferred)
                yield deferred
