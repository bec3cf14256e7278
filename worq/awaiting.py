"""Wait for an outcome in a coroutine of asyncio: what all that is awaited is made of."""
from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Callable

from worq.anchor import kept_by
from worq.errors import QueueError

if TYPE_CHECKING:   # who awaits has asyncio; for all others it is a third of what WorQ imports
    import asyncio

__all__ = ['Arrival', 'answer', 'tell', 'until']


class Arrival:
    """A ``with`` around a future of the running loop, done when the outcome of a Deferred is there.

    It is for the thread of that loop. If the queue cannot be asked, that is the future's exception.

    :param deferred: that has no outcome here yet.
    """

    __slots__ = ('_deferred', '_future', '_kept', '__weakref__')

    def __init__(self, deferred: Any) -> None:
        import asyncio
        loop = asyncio.get_running_loop()
        self._deferred = deferred
        self._future: asyncio.Future[None] = loop.create_future()
        self._kept = kept_by(loop)

    def __enter__(self) -> asyncio.Future[None]:
        try:
            self._kept.add(self)   # the inbox does not keep it
            self._deferred.broker.inbox.subscribe(self._deferred, self, self)
            return self._future
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *exc_info: object) -> None:
        self._deferred.broker.inbox.unsubscribe(self._deferred, self)
        self._kept.discard(self)

    def __call__(self, error: Exception | None = None) -> None:
        """It has arrived, or `error` is why nobody knows; in some thread."""
        try:
            self._future.get_loop().call_soon_threadsafe(self._arrived, error)
        except RuntimeError:
            pass   # the loop has been closed: nobody is left to tell

    def _arrived(self, error: Exception | None) -> None:
        if self._future.done():
            pass
        elif error is None:
            self._future.set_result(None)
        else:
            self._future.set_exception(error)


async def answer(broker: Any, act: Callable[[list[Any]], list[Any]], item: Any) -> Any:
    """Ask in the background of a broker, along with others that ask the same.

    :returns: the answer, or the QueueError that it was.
    """
    import asyncio
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()
    broker.background.ask(act, [item], partial(tell, loop, [future]))
    try:
        return await future
    except QueueError as error:
        return error


async def until(future: asyncio.Future[Any], seconds: float) -> None:
    """Wait for a future, so long at most."""
    import asyncio
    await asyncio.wait([future], timeout=seconds)


def tell(loop: asyncio.AbstractEventLoop, futures: list[asyncio.Future[Any]],
         ends: list[Any]) -> None:
    """In a thread: have the loop set what futures came to, exceptions among it."""
    def end() -> None:
        for future, end in zip(futures, ends):
            if future.done():
                pass   # it was cancelled
            elif isinstance(end, StopIteration):
                future.set_exception(not_to_be_set(end))
            elif isinstance(end, BaseException):
                future.set_exception(end)
            else:
                future.set_result(end)
    with suppress(RuntimeError):   # it has been closed: nobody is left to tell
        loop.call_soon_threadsafe(end)


def not_to_be_set(error: StopIteration) -> RuntimeError:
    """What a future takes in its place, as a coroutine would raise it."""
    other = RuntimeError(f'what was asked raised {type(error).__name__}')
    other.__cause__ = error
    return other
