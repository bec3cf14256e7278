"""Many calls and many results at once: batch, map, reduce, wait, as_completed.

Free functions over Deferreds. Each of them makes as few round trips as the queue allows.
"""
from __future__ import annotations

from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from contextlib import nullcontext
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
import time
from typing import Any, Iterable, Iterator, NamedTuple, overload

from worq.batch import Batch, batch
from worq.const import CHUNK, PAIR, check_count, check_timeout
from worq.options import SKIP
from worq.shield import unbroken, waiting
from worq.stream import Stream
from worq.task import Deferred, Queue, Task, parts

__all__ = [
    'batch', 'Batch', 'map', 'Stream', 'reduce', 'wait', 'as_completed', 'DoneAndNotDone',
    'ALL_COMPLETED', 'FIRST_COMPLETED', 'FIRST_EXCEPTION',
]


@overload
def map(target: Queue | Task, *iterables: Iterable[Any], chunksize: int = 1,
        ahead: None = None) -> list[Any]: ...


@overload
def map(target: Queue | Task, *iterables: Iterable[Any], chunksize: int = 1,
        ahead: int) -> Stream: ...


def map(target: Queue | Task, *iterables: Iterable[Any], chunksize: int = 1,
        ahead: int | None = None) -> list[Any] | Stream:
    """Call a task with the items of the iterables, as the builtin `map` does.

    ::

        squares = worq.map(q.square, range(1000))
        total = q.sum(squares)

        for text in worq.map(q.read, endless, ahead=20):   # one after the other, 20 at a time
            print(text)

    :param target: the task: ``q.module.function``, or a `Task` with options.
    :param chunksize: how many calls one task makes. With more than one there is one
        Deferred for each chunk, and its value is the list of the chunk's results; if one
        call fails, the chunk does.
    :param ahead: how many tasks are on their way at a time, at most. With it the iterables may be
        endless, and a `Stream` of results is returned: not of Deferreds.
    :returns: a list of Deferreds in order (of None, if results are ignored); or a `Stream`.
    :raises: what a single call does. Calls that were put before have been put then.
    """
    broker, name, options = parts(target)
    if not iterables:
        raise TypeError('map needs at least one iterable')
    chunksize = check_count('chunksize', chunksize)
    calls: Iterator[tuple[Any, ...]] = zip(*iterables)
    if chunksize > 1 and callable(options.id):
        raise ValueError('an id that is a function of a call cannot be that of a chunk, which has '
                         'many calls: leave out either id or chunksize')
    extra = b''
    if chunksize > 1:
        calls = iter(partial(_chunk, calls, chunksize), ())
        extra = CHUNK
    if ahead is None:
        return broker.enqueue_all(name, calls, options, extra)
    return Stream(broker, name, calls, options, extra, check_count('ahead', ahead))


def _chunk(calls: Iterator[tuple[Any, ...]], size: int) -> tuple[Any, ...]:
    return tuple(islice(calls, size))


def reduce(target: Queue | Task, items: Iterable[Any]) -> Any:
    """Combine items by a task of two arguments, in a balanced tree.

    The order of the items is kept, so the task has to be associative, but need not be
    commutative: the tree is as deep as the logarithm of their number.

    :param target: the task, called with two neighbours or their results. With
        ``on_error=Task.SKIP`` one that failed is left out: the result is the other one then,
        without a call, and it fails only if both have failed.
    :param items: Deferreds and plain values.
    :returns: the Deferred at the top of the tree. A single item comes back as it is.
    :raises ValueError: if there are no items.
    """
    broker, name, options = parts(target)
    if options.ignore_result:
        raise ValueError('reduce needs the results that ignore_result would drop')
    extra = PAIR if options.on_error == SKIP else b''
    level = list(items)
    if not level:
        raise ValueError('reduce of no items has no result')
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [*broker.enqueue_all(name, zip(level[::2], level[1::2]), options, extra), *odd]
    return level[0]


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


def as_completed(deferreds: Iterable[Deferred], timeout: float | None = None, *,
                 ahead: int | None = None) -> Iterator[Deferred]:
    """Each Deferred once, when it is done, as ``concurrent.futures.as_completed`` does.

    ::

        for page in worq.as_completed((q.fetch(url) for url in endless), ahead=20):
            print(page.result())

    :param timeout: seconds from the call, at most; None: as long as it takes.
    :param ahead: how many there are at a time, at most. So many are taken from `deferreds` at once,
        and one more each time that you have taken one: so a generator that makes the calls may be
        endless. What it raises comes when those before it are done.
    :raises TypeError: at once, for anything but Deferreds.
    :raises ValueError: at once, for a timeout that is negative, no number, or more than ten years.
    :raises TimeoutError: if they are not all done by then.
    :raises QueueError: as `wait` does.
    """
    if ahead is not None:
        ahead = check_count('ahead', ahead)
    return _as_completed(Arrivals(deferreds, timeout, ahead), timeout)


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
    :param ahead: how many of them to take at a time; None: all.
    """

    def __init__(self, deferreds: Iterable[Deferred], timeout: float | None,
                 ahead: int | None = None) -> None:
        timeout = check_timeout(timeout)
        self._limit = None if timeout is None else time.monotonic() + timeout
        self._ahead = ahead
        self._source: Iterator[Deferred] | None = iter(deferreds)   # None: there are no more
        self._error: Exception | None = None   # what it has raised
        self.open: set[Deferred] = set()       #: those that have not been told of
        self._news: SimpleQueue[Deferred | None] = SimpleQueue()
        self._subscribed: dict[Deferred, Any] = {}
        self._take()

    def _take(self) -> list[Deferred]:
        """Take as many as there may be; those that are new."""
        new: list[Deferred] = []
        while self._source is not None and (self._ahead is None or len(self.open) < self._ahead):
            try:
                deferred = next(self._source)
            except StopIteration:
                self._source = None
                break
            except Exception as error:
                if self._ahead is None:
                    raise
                self._source, self._error = None, error
                break
            if not isinstance(deferred, Deferred):
                raise TypeError(f'only Deferreds can be waited for, not {deferred!r}'
                                + (' (which a call returns whose result is ignored)'
                                   if deferred is None else ''))
            if deferred._batch is not None and (refused := deferred._unput()):
                raise refused
            if deferred not in self.open:
                self.open.add(deferred)
                new.append(deferred)
        return new

    def __enter__(self) -> Arrivals:
        try:
            for deferred in self.open:
                self._listen(deferred)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _listen(self, deferred: Deferred) -> None:
        announce = partial(self._news.put, deferred)
        if deferred.has_value():
            announce()
        else:
            self._subscribed[deferred] = announce
            left = self._left()
            with nullcontext() if left is None else deferred.broker.backend.within(left):
                deferred.broker.inbox.subscribe(deferred, announce)

    def __exit__(self, *exc_info: object) -> None:
        # Maybe in a finalizer, if somebody has given up half-way: nothing here takes a lock. What
        # an interruption leaves undone is done by itself, for the inbox does not keep `announce`.
        for deferred, announce in self._subscribed.items():
            deferred.broker.inbox.unsubscribe(deferred, announce)
        self._subscribed = {}

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
                    with waiting(next(iter(self.open)).id), \
                            unbroken(partial(self._news.put, None)) as whole:
                        deferred = None if whole.interrupted else self._news.get(timeout=left)
                except Empty:
                    return
            if deferred is not None and deferred in self.open:  # it may be announced more than once
                self.open.discard(deferred)
                yield deferred
                if self._ahead is not None:
                    self._go_on(deferred)
        if self._error is not None:
            raise self._error

    def stop(self) -> None:
        """Time is up: end `come`, from any thread."""
        self._limit = 0.0
        self._news.put(None)

    def _go_on(self, told: Deferred) -> None:
        """One has been told of: let go of it, and take another."""
        announce = self._subscribed.pop(told, None)
        if announce is not None:
            told.broker.inbox.unsubscribe(told, announce)
        for deferred in self._take():
            self._listen(deferred)
