"""Many calls and many results at once: map, reduce, wait, as_completed.

Free functions over Deferreds. Each of them makes as few round trips as the queue allows.
"""
from __future__ import annotations

from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION
from functools import partial
from itertools import islice
from queue import Empty, SimpleQueue
import time
from typing import Any, Iterable, Iterator, NamedTuple

from worq.const import CHUNK
from worq.task import Deferred, Queue, Task, parts

__all__ = [
    'map', 'reduce', 'wait', 'as_completed', 'DoneAndNotDone',
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
    if isinstance(chunksize, bool) or not isinstance(chunksize, int) or chunksize < 1:
        raise ValueError(f'invalid chunksize: {chunksize!r}; it is a whole number from 1')
    calls = zip(*iterables)
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
    """
    if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
        raise ValueError(f'invalid return_when: {return_when!r}; it is ALL_COMPLETED, '
                         'FIRST_COMPLETED or FIRST_EXCEPTION')
    done: set[Deferred] = set()
    with Arrivals(deferreds) as arrivals:
        for deferred in arrivals.until(timeout):
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
    :raises TimeoutError: if they are not all done by then.
    """
    with Arrivals(deferreds) as arrivals:
        yield from arrivals.until(timeout)
        if arrivals.open:
            raise TimeoutError(f'{len(arrivals.open)} Deferreds are not done '
                               f'after {timeout} seconds')


class Arrivals:
    """Tells of many Deferreds, one after the other, when they are done.

    :param deferreds: what to wait for; it is begun with ``with``.
    """

    def __init__(self, deferreds: Iterable[Deferred]) -> None:
        self.open = set(deferreds)     #: those that have not been told of
        strange = next((d for d in self.open if not isinstance(d, Deferred)), None)
        if strange is not None:
            raise TypeError(f'only Deferreds can be waited for, not {strange!r}')
        self._news: SimpleQueue[Deferred] = SimpleQueue()
        self._subscribed: list[tuple[Deferred, Any]] = []

    def __enter__(self) -> Arrivals:
        try:
            for deferred in self.open:
                announce = partial(self._news.put, deferred)
                if deferred.has_value():
                    announce()
                else:
                    self._subscribed.append((deferred, announce))
                    deferred.broker.inbox.subscribe(deferred, announce)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        for deferred, announce in self._subscribed:
            deferred.broker.inbox.unsubscribe(deferred, announce)
        self._subscribed = []

    def until(self, timeout: float | None) -> Iterator[Deferred]:
        """Those that are done, as they come, until there is no other or time is up."""
        limit = None if timeout is None else time.monotonic() + timeout
        while self.open:
            left = None if limit is None else max(0.0, limit - time.monotonic())
            try:
                deferred = self._news.get(timeout=left)
            except Empty:
                return
            if deferred in self.open:  # it may be announced more than once
                self.open.discard(deferred)
                yield deferred
