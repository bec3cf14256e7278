"""For programs with an event loop: calls that are awaited, and never hold the loop up.

::

    aq = worq.aio.Queue(worq.get_queue('redis://localhost'))
    deferred = await aq.text.count('a line')    # it is put
    print(await deferred)                       # it is done

All calls that are made in one turn of the loop go to the queue together, from a thread. Deferreds
can be awaited anywhere: ``await deferred``. What else asks the queue, as ``deferred.info()`` does,
is called by ``asyncio.to_thread``.

It works with asyncio, and so with uvloop, and with anyio on asyncio; not with Trio.
"""
from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
import time
from types import TracebackType
from typing import Any, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Self, cast
from weakref import WeakValueDictionary

from worq import flow
from worq.awaiting import Arrival, tell
from worq.blame import Unsendable
from worq.builder import Request, collector_of
from worq.const import check_count, check_timeout
from worq.core import Broker
from worq.printable import line
from worq.shield import running, waiting
from worq.task import Deferred, Task, parts
from worq.task import Queue as PlainQueue

__all__ = ['Queue', 'batch', 'as_completed']

SOME = 100   # Deferreds that are taken before the loop goes round


class Queue(Unsendable):
    """A queue whose calls are awaited.

    Attributes extend the name, as those of any queue. A call returns a future. Its result is the
    `Deferred` of the call, once that is put (None if results are ignored); it raises what a call of
    any queue does. A call begins at once, so calls can be made first and awaited later, for example
    by ``asyncio.gather``. Its arguments are encoded a moment later, in a thread: do not change them
    until the call is put. If the future is cancelled in time, nothing is put; later only
    ``deferred.cancel()`` cancels the task.

    ::

        async with worq.aio.Queue(worq.get_queue(url)) as aq:
            deferreds = await asyncio.gather(*[aq.text.count(line) for line in lines])

    Many event loops may use it. As an asynchronous context manager it closes its broker at the end.
    Otherwise you need not close it: its thread ends when there is nothing to do.

    :param target: a queue, or a `Task` with options.
    """

    __slots__ = ('__target',)
    __instead__ = 'call it, or pass a Deferred; a task has current_task().queue'

    def __init__(self, target: PlainQueue | Task) -> None:
        plain(target)
        self.__target = target

    def __getattr__(self, name: str) -> Queue:
        return Queue(getattr(self.__target, name))

    def __call__(self, /, *args: Any, **kw: Any) -> asyncio.Future[Any]:
        """Put a call, see above.

        :raises RuntimeError: if no event loop runs here.
        """
        target, name, options = parts(self.__target)
        broker = cast(Broker, target)
        loop = asyncio.get_running_loop()
        if collector_of(broker) is None:
            return turn_of(loop, broker).add(
                Request(name, args, kw, options, running.get(None) is not None))
        future = loop.create_future()   # its batch asks nobody before it ends
        future.set_result(broker.enqueue(name, args, kw, options))
        return future

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await asyncio.sleep(0)   # the calls of this turn are put first
        await asyncio.to_thread(plain(self.__target).close)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            return NotImplemented
        return self.__target == other.__target

    def __hash__(self) -> int:
        return hash(self.__target)

    def __repr__(self) -> str:
        return line(f'<aio.Queue of {self.__target!r}>')


def plain(target: PlainQueue | Task) -> Broker:
    """The broker of a queue or a Task.

    :raises TypeError: for anything else, and for what belongs to a transaction.
    """
    broker = cast(Broker, parts(target)[0])
    if broker.transaction is not None:
        raise TypeError('calls that belong to a transaction are made where its connection is: '
                        'call the queue itself, in the thread that has the connection')
    return broker


class Turn:
    """The calls of one turn of an event loop by one broker.

    The loop keeps it, so if that is closed before the turn has ended, nothing is put.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, broker: Broker) -> None:
        self.loop = loop
        self.broker = broker
        self.calls: list[tuple[Request, asyncio.Future[Any]]] = []
        loop.call_soon(self.end)

    def add(self, request: Request) -> asyncio.Future[Any]:
        future = self.loop.create_future()
        self.calls.append((request, future))   # in one step: a signal handler may call, too
        return future

    def end(self) -> None:
        """In the next turn: put those of which somebody still wants to know."""
        turns.pop(self.key, None)
        wanted = [(request, future) for request, future in self.calls if not future.cancelled()]
        if wanted:
            requests, futures = map(list, zip(*wanted))
            self.broker.background.ask(
                self.broker.enqueue_each, requests, partial(tell, self.loop, futures))

    @property
    def key(self) -> tuple[int, int]:
        """It is in use as long as this is."""
        return id(self.loop), id(self.broker)


turns: WeakValueDictionary[tuple[int, int], Turn] = WeakValueDictionary()


def turn_of(loop: asyncio.AbstractEventLoop, broker: Broker) -> Turn:
    """What gathers the calls that are made now."""
    turn = turns.get((id(loop), id(broker)))
    if turn is None:
        turn = Turn(loop, broker)
        turns[turn.key] = turn
    return turn


def batch(target: Queue | PlainQueue | Task) -> Batch:
    """Collect the calls of a block, and put them when it ends: all of them, or none.

    ::

        async with worq.aio.batch(aq) as batch:
            parts = [await aq.load(path) for path in paths]
            report = await aq.report(parts)
        print(await report)

    As ``worq.batch``. It collects all calls through the same broker that the block makes, and the
    asyncio tasks that it starts, with ``worq.map`` too. Nothing asks the queue before the end, and
    the loop is not blocked then. If the block is cancelled at its end, it waits until the put is
    done or has failed; `word` of the batch tells which.

    :param target: any queue or `Task` of the broker.
    :returns: with ``as``, a `worq.batch.Batch`, whose methods wait for the queue: call them by
        ``asyncio.to_thread``.
    """
    return Batch(object.__getattribute__(target, '_Queue__target')
                 if isinstance(target, Queue) else target)


class Batch:
    """A block whose calls are put together, as an asynchronous context manager."""

    def __init__(self, target: PlainQueue | Task) -> None:
        plain(target)
        self._batch = flow.batch(target)

    def __repr__(self) -> str:
        return repr(self._batch)

    async def __aenter__(self) -> flow.Batch:
        return self._batch.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None,
                        trace: TracebackType | None) -> None:
        put = self._batch.finish(error)
        if put is not None:
            await whole(self._batch.broker, put)


async def whole(broker: Broker, function: Callable[[], object]) -> None:
    """Call a function in the background, and do not leave before it is over."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()
    broker.background.ask(call_each, [function], partial(tell, loop, [done]))
    cancelled: asyncio.CancelledError | None = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        done.exception()   # it is known, and tells less than that
        raise cancelled
    done.result()


def call_each(functions: list[Callable[[], object]]) -> list[object]:
    """What they return, or raise."""
    ends: list[object] = []
    for function in functions:
        try:
            ends.append(function())
        except BaseException as error:
            ends.append(error)
    return ends


def as_completed(deferreds: Iterable[Deferred] | AsyncIterable[Deferred],
                 timeout: float | None = None, *, ahead: int | None = None,
                 ) -> AsyncIterator[Deferred]:
    """Each Deferred once, when it is done, as ``worq.as_completed``.

    ::

        async def pages():
            async for url in endless:
                yield await aq.fetch(url)

        async for deferred in worq.aio.as_completed(pages(), ahead=20):
            print(await deferred)

    :param deferreds: those, or an asynchronous iterable, which may be endless. What it raises
        comes when those before it are done.
    :param timeout: seconds from now, at most; None: as long as it takes.
    :param ahead: how many to take at a time, at most; None: all that there are.
    :raises ValueError: at once, for a timeout that is negative, no number, or more than ten years.
    :raises TypeError: for anything but Deferreds, when those before it are done.
    :raises TimeoutError: if they are not all done by then.
    :raises QueueError: if a queue cannot be asked.
    """
    return Arrivals(deferreds, timeout, ahead).come()


class Arrivals:
    """Tells of Deferreds when they are done, while there may come more of them.

    :param deferreds: an iterable of either kind.
    :param timeout: seconds from now; None: as long as it takes.
    :param ahead: how many to take at a time; None: all.
    """

    def __init__(self, deferreds: Iterable[Deferred] | AsyncIterable[Deferred],
                 timeout: float | None, ahead: int | None) -> None:
        self._timeout = check_timeout(timeout)
        self._limit = None if timeout is None else time.monotonic() + timeout
        self._room = None if ahead is None else asyncio.Semaphore(check_count('ahead', ahead))
        self._source = aiter(deferreds) if isinstance(deferreds, AsyncIterable) \
            else each(iter(deferreds))
        self._fed = False                           # there are no more
        self._error: BaseException | None = None    # what the source has raised
        self._seen: set[Deferred] = set()           # without `ahead`: each is told of once
        self._open: dict[Deferred, Arrival] = {}    # those that are waited for
        self._news: asyncio.Queue[tuple[Deferred, Exception | None] | None] = asyncio.Queue()

    async def come(self) -> AsyncIterator[Deferred]:
        """Those that are done, as they come."""
        feeding = asyncio.create_task(self._feed())
        try:
            while not self._fed or self._open or not self._news.empty():
                news = await self._next()
                if news is not None:
                    yield self._told(*news)
            if self._error is not None:
                raise self._error
        finally:
            feeding.cancel()
            while self._open:
                self._open.popitem()[1].__exit__()

    async def _feed(self) -> None:
        """In a task of its own: take them, as long as there is room."""
        try:
            while True:
                if self._room is not None:
                    await self._room.acquire()
                if not self._take(await anext(self._source)) and self._room is not None:
                    self._room.release()
        except StopAsyncIteration:
            pass
        except BaseException as error:   # it may have awaited what is cancelled, in a group too
            self._error = error
        self._fed = True
        self._news.put_nowait(None)

    def _take(self, deferred: Deferred) -> bool:
        """Whether it is a new one."""
        if not isinstance(deferred, Deferred):
            raise TypeError(f'only Deferreds can be waited for, not {deferred!r}')
        deferred._check_put()
        if deferred in self._open or deferred in self._seen:
            return False
        if self._room is None:
            self._seen.add(deferred)
        if deferred.has_value():
            self._news.put_nowait((deferred, None))
        else:
            arrival = self._open[deferred] = Arrival(deferred)
            arrival.__enter__().add_done_callback(partial(self._come, deferred))
        return True

    def _come(self, deferred: Deferred, future: asyncio.Future[None]) -> None:
        self._news.put_nowait((deferred, cast('Exception | None', future.exception())))

    async def _next(self) -> tuple[Deferred, Exception | None] | None:
        """Which is done; None: there are no more to come."""
        left = None if self._limit is None else self._limit - time.monotonic()
        awaited = next(iter(self._open), None)
        try:
            with nullcontext() if awaited is None else waiting(awaited.id):
                async with asyncio.timeout(left):
                    return await self._news.get()
        except TimeoutError:
            if not self._news.empty():
                return self._news.get_nowait()
            count = len(self._open)
            raise TimeoutError(f'{count} {"Deferred is" if count == 1 else "Deferreds are"} '
                               f'not done after {self._timeout} seconds') from None

    def _told(self, deferred: Deferred, error: Exception | None) -> Deferred:
        """Let go of one that is told of, which makes room for another."""
        arrival = self._open.pop(deferred, None)
        if arrival is not None:
            arrival.__exit__()
        if self._room is not None:
            self._room.release()
        if error is not None:
            raise error
        return deferred


async def each(items: Iterator[Deferred]) -> AsyncIterator[Deferred]:
    """These; the loop goes round now and then, however many there are."""
    for number, item in enumerate(items):
        yield item
        if number % SOME == SOME - 1:
            await asyncio.sleep(0)
