"""Run one delivery in an event loop, beside others: as ``worq.pool.run``, but awaited."""
from __future__ import annotations

import asyncio
from concurrent.futures import Executor, Future
from contextvars import copy_context
import functools
import inspect
import sys
from typing import Any, Callable, TypeVar

from worq import const
from worq.core import Broker
from worq.pool.aio.hold import Hold
from worq.pool.run import Call, Run
from worq.queue.base import Delivery, Outcome
from worq.shield import running

__all__ = ['Runner', 'is_coroutine']

LARGE = 64 << 10   # bytes that are decoded, or encoded, in a thread
NAMES = 10_000     # of tasks whose results were large

T = TypeVar('T')


class Runner:
    """Runs the deliveries of one child.

    :param functions: where functions run that are no coroutines; None: nowhere.
    :param codec: where what is large is decoded and encoded. Not in the threads of the loop: a task
        may have shut these down.
    """

    def __init__(self, broker: Broker, functions: Executor | None, codec: Executor) -> None:
        self.broker = broker
        self.functions = functions
        self.codec = codec
        self._large: set[str] = set()   # names of tasks whose last result was so
        self._kinds: dict[str, bool] = {}

    def __repr__(self) -> str:
        return f'<Runner of {self.broker!r}>'

    async def run(self, delivery: Delivery, hold: Hold) -> Outcome:
        """Run a task; never raises. See ``worq.pool.run.run``."""
        this = Run(self.broker, delivery)
        try:
            call = this.prepare(hold) if weight(delivery) < LARGE else \
                await self._in_thread(functools.partial(this.prepare, hold))
            outcome = call if isinstance(call, Outcome) else await self._call(this, call, hold)
            return outcome._replace(skipped=this.skipped) if this.skipped else outcome
        except BaseException as err:
            # Only what is scarce, memory or stack, can bring us here: say the least.
            return this.failure(type(err).__name__ + ': ')

    async def _call(self, this: Run, call: Call, hold: Hold) -> Outcome:
        here = running.set(call.task)
        try:
            try:
                hold.begin(call.task, call.limit, call.will)
                value = await hold.awaited(self._value(this, call, hold))
            finally:
                hold.end()
        except BaseException as err:
            # four frames are our own: this one, those of the hold, and the next
            return this.failed(err, call, 4)
        finally:
            running.reset(here)
        if this.name not in self._large and size(value) < LARGE:
            outcome = this.encode(value)
        else:
            outcome = await self._in_thread(functools.partial(this.encode, value))
        if len(outcome.data) >= LARGE:
            if len(self._large) < NAMES:
                self._large.add(this.name)
        elif self._large:
            self._large.discard(this.name)
        return outcome

    async def _value(self, this: Run, call: Call, hold: Hold) -> Any:
        function, args, kw, *_ = call
        kind = self._kinds.get(this.name)
        if kind is None:
            kind = self._kinds[this.name] = is_coroutine(function)
        if kind and const.CHUNK not in this.delivery.header:
            return await function(*args, **kw)
        if kind:
            return [await function(*each) for each in args]
        # A coroutine that it returns is awaited here, and not in that thread.
        loop = asyncio.get_running_loop()
        meanwhile = Meanwhile(loop)
        made = loop.run_in_executor(
            self.functions, copy_context().run, this.call, meanwhile, function, args, kw)
        try:
            return await asyncio.shield(made)
        except asyncio.CancelledError:
            if meanwhile.cancel():   # what can be stopped is waited for, as any coroutine is
                return await made
            made.cancel()
            raise

    async def _in_thread(self, function: Callable[[], T]) -> T:
        """Not interrupted: what comes late, for a task that has just ended, is for nobody."""
        future = asyncio.get_running_loop().run_in_executor(self.codec, function)
        while True:
            try:
                return await asyncio.shield(future)
            except asyncio.CancelledError:
                if future.cancelled():
                    raise


class Meanwhile:
    """Has a coroutine run that a function has returned in a thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._cancelled = False
        self._task: asyncio.Task[Any] | None = None

    def complete(self, coroutine: Any) -> Any:
        """In that thread: what it comes to."""
        end = Future[Any]()
        self._loop.call_soon_threadsafe(self._begin, coroutine, end)
        return end.result()

    def _begin(self, coroutine: Any, end: Future[Any]) -> None:
        self._task = self._loop.create_task(coroutine)
        self._task.add_done_callback(functools.partial(self._tell, end))
        if self._cancelled:   # before there was anything to be cancelled
            self._task.cancel()

    @staticmethod
    def _tell(end: Future[Any], task: asyncio.Task[Any]) -> None:
        try:
            end.set_result(task.result())
        except BaseException as error:
            end.set_exception(error)

    def cancel(self) -> bool:
        """Cancel the coroutine, which may clean up then; whether there is one yet."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()
        return self._task is not None


def is_coroutine(function: Callable[..., Any]) -> bool:
    """Whether a call of it does nothing but make a coroutine."""
    while isinstance(function, functools.partial):
        function = function.func
    return inspect.iscoroutinefunction(function) \
        or inspect.iscoroutinefunction(getattr(function, '__call__', None))  # noqa: B004


def weight(delivery: Delivery) -> int:
    """How many bytes are to be decoded."""
    size = len(delivery.body)
    if delivery.arguments:
        size += sum(len(raw) for _, raw in delivery.arguments)
    return size


def size(value: Any) -> int:
    """About how long it will be when it is encoded, without a look into it."""
    if type(value) in (list, tuple, dict, set, frozenset):
        return 64 * len(value)
    try:
        return sys.getsizeof(value, 0)
    except Exception:   # of whatever it is
        return 0
