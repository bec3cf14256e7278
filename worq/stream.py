"""The results of many calls in order, a few of which are put at a time."""
from __future__ import annotations

from collections import deque
from contextlib import suppress
import time
from typing import Any, Iterator, Self

from worq.batch import Batch
from worq.builder import collector_of
from worq.const import CHUNK
from worq.errors import QueueError
from worq.options import TIMEOUT, Options
from worq.printable import line
from worq.task import Deferred

__all__ = ['Stream']

GATHER = 0.005   # seconds that a stream gathers calls for, before it puts them


class Stream:
    """The results of many calls in their order, of which a few are put at a time: an iterator.

    ``worq.map(..., ahead=N)`` makes it. The first N calls are put at once. ``next`` puts further
    ones, so that N are on their way, and then waits for the next result. It takes items from the
    iterables for that; an exception of theirs is raised after the results of the items before.

    If a call has failed, ``next`` raises its `TaskFailure`; if a call could not be put, what a
    single call raises. The next ``next`` goes on with the call after it. After a `QueueError`, when
    the queue is out of reach, it tries the same again. One thread at a time may use a stream.

    ``close``, and the end of a ``with`` block, cancels what has been put and is not done. If nobody
    closes the stream, that runs. A result is deleted once ``next`` has returned it, unless the
    calls have an id, a `result_timeout` or ``keep='timeout'``; failures are kept.

    :param extra: lines of the header; with `CHUNK` a task has many calls, and a list of results.
    """

    def __init__(self, broker: Any, name: str, calls: Iterator[tuple[Any, ...]], options: Options,
                 extra: bytes, ahead: int) -> None:
        if options.ignore_result:
            raise ValueError('a stream of results needs those that ignore_result would drop')
        self._broker = broker
        self._name = name
        self._calls: Iterator[tuple[Any, ...]] | None = calls   # None: there are no more
        # It asks for all of them, and nothing else does.
        self._options = options if options.keep else options._replace(keep=TIMEOUT)
        self._extra = extra
        self._ahead = ahead
        self._taken: list[tuple[Any, ...]] = []        # from the iterables, and not put
        self._put: deque[Deferred | Exception] = deque()   # in order; or why it could not be put
        self._results: deque[Any] = deque()            # of a chunk, not told of
        self._error: Exception | None = None           # what the iterables have raised
        self._again = 0.0                              # when the next few are put
        # Of an endless stream nobody else reads the results, so they are not kept for an hour. Who
        # has named the calls, or said how long, may want them otherwise.
        self._forgets = options.keep != TIMEOUT
        self._told: list[str] = []                     # whose results can be forgotten
        self._fill()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Any:
        while not self._results:
            self._fill()
            if not self._put:
                error, self._error = self._error, None
                self._forget()
                raise error or StopIteration
            first = self._put[0]
            if isinstance(first, Deferred):
                first.wait()   # and if that is interrupted, it still is the first
            self._put.popleft()
            if not isinstance(first, Deferred):
                raise first
            value = first.result()
            if self._forgets:
                self._told.append(first.id)
            if self._extra != CHUNK:
                return value
            self._results.extend(value)
        return self._results.popleft()

    def _fill(self) -> None:
        """Put as many as there may be; of few that are missing, only once in a while."""
        room = self._ahead - len(self._put)
        now = time.monotonic()
        if room < 1 or 2 * room < self._ahead and now < self._again:
            return
        if collector_of(self._broker) is not None:
            raise RuntimeError('a stream puts its calls one after the other, and a batch all at '
                               'once when it ends: leave out ahead, or use it outside of the batch')
        try:
            while self._calls is not None and len(self._taken) < room:
                self._taken.append(next(self._calls))
                if time.monotonic() > now + GATHER:
                    break   # the items come slowly: those that are here need not wait for others
        except StopIteration:
            self._calls = None
        except Exception as error:
            self._calls, self._error = None, error
        if self._taken:
            self._put.extend(self._enqueue(self._taken))
            self._taken = []
        self._forget()
        self._again = time.monotonic() + GATHER

    def _forget(self) -> None:
        told, self._told = self._told, []
        if told:
            with suppress(QueueError):   # then they end by themselves
                self._broker.backend.forget(told)

    def _enqueue(self, calls: list[tuple[Any, ...]]) -> list[Deferred | Exception]:
        """Put calls, in one step if none is refused."""
        try:
            with Batch(self._broker):
                made = self._broker.enqueue_all(self._name, calls, self._options, self._extra)
            return made   # type: ignore[no-any-return]
        except QueueError:
            raise
        except Exception as error:
            if len(calls) == 1:
                return [error]
            return [each for call in calls for each in self._enqueue([call])]

    def close(self) -> None:
        """Put no more, and cancel what is not done. May be called twice.

        :raises QueueError: if the queue cannot be reached.
        """
        self._calls, self._taken = None, []
        self._results.clear()
        left = [each.id for each in self._put
                if isinstance(each, Deferred) and not each.has_value()]
        if left:
            self._broker.backend.cancel(left)
        self._put.clear()
        self._forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return line(f'<Stream {self._name} [{self._broker.name}] {len(self._put)} of '
                    f'{self._ahead} ahead>')
