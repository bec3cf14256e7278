"""The event loop of a worker: one for its life, for one coroutine after the other.

So what a module keeps that is bound to a loop, as a client or a pool of connections, serves all
tasks of the worker. What a task leaves there ends with it, as it does with ``asyncio.run``: tasks
that it has started and not awaited are cancelled, its asynchronous generators are closed, and
calls in threads of the loop's executor are waited for. Sockets and timers stay, for it may be a
client that has them.
"""
from __future__ import annotations

from contextlib import suppress
from contextvars import copy_context
import sys
from typing import TYPE_CHECKING, Any, Coroutine
from weakref import WeakSet

if TYPE_CHECKING:   # dear to load, and only a worker that runs coroutines needs it
    import asyncio
    from concurrent.futures import Future, ThreadPoolExecutor

__all__ = ['Loop']

ROUNDS = 10   # of cancelling what is left: what is cancelled may start others


class Loop:
    """Made when the first coroutine comes; of one thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads: ThreadPoolExecutor | None = None
        self._calls: set[Future[Any]] = set()            # in these threads
        self._generators: WeakSet[Any] = WeakSet()       # that the task has begun

    def __repr__(self) -> str:
        return f'<Loop {self._loop!r}>'

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine, in a copy of the context that is in force; then end what it has left."""
        loop = self._loop or self._open()
        loop.call_soon(self._note_generators)
        main = loop.create_task(coroutine, context=copy_context())
        try:
            return loop.run_until_complete(main)
        finally:
            # What has thrown us out of the loop, as a signal handler of the task's that raises, may
            # have done so in the midst of the loop's own code: nobody shall have that one again.
            whole, cleared = main.done(), False
            try:
                cleared = self._cleared(loop)
            finally:
                if not (whole and cleared):
                    self.close()

    def close(self) -> None:
        """Close the loop; the next coroutine would get another one."""
        loop, self._loop = self._loop, None
        threads, self._threads = self._threads, None
        if loop is not None:
            with suppress(RuntimeError):   # it was left in such a way that it seems to run
                loop.close()
        if threads is not None:
            threads.shutdown(wait=not self._calls)

    def _open(self) -> asyncio.AbstractEventLoop:
        import asyncio
        from concurrent.futures import ThreadPoolExecutor
        threads = self._threads = ThreadPoolExecutor(thread_name_prefix='asyncio')
        submit = threads.submit

        def noted(*args: Any, **kw: Any) -> Future[Any]:
            call = submit(*args, **kw)
            self._calls.add(call)
            call.add_done_callback(self._calls.discard)
            return call
        threads.submit = noted   # type: ignore[method-assign]
        # Not that of the thread: a function which makes a loop for itself sets its own there.
        loop = self._loop = asyncio.new_event_loop()
        loop.set_default_executor(threads)
        return loop

    def _note_generators(self) -> None:
        """In the loop, which has set its own hooks: know of the generators, too."""
        first = sys.get_asyncgen_hooks().firstiter
        generators = self._generators

        def noted(generator: Any) -> None:
            generators.add(generator)
            if first is not None:
                first(generator)
        sys.set_asyncgen_hooks(firstiter=noted)

    def _cleared(self, loop: asyncio.AbstractEventLoop) -> bool:
        """End what is left; whether all of it has ended."""
        import asyncio
        for _ in range(ROUNDS):
            left = asyncio.all_tasks(loop)
            if not (left or self._generators or self._calls):
                return True
            loop.run_until_complete(self._end(loop, left))
        return False

    async def _end(self, loop: asyncio.AbstractEventLoop, left: set[asyncio.Task[Any]]) -> None:
        import asyncio
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        for task in left:
            if not task.cancelled() and task.exception() is not None:
                loop.call_exception_handler({
                    'message': 'a task that was left behind could not be cancelled',
                    'exception': task.exception(), 'task': task})
        generators = list(self._generators)
        self._generators.clear()
        closed = await asyncio.gather(*(each.aclose() for each in generators),
                                      return_exceptions=True)
        for generator, error in zip(generators, closed):
            if isinstance(error, Exception):
                loop.call_exception_handler({
                    'message': 'a generator that was left behind could not be closed',
                    'exception': error, 'asyncgen': generator})
        await asyncio.gather(*map(asyncio.wrap_future, self._calls.copy()), return_exceptions=True)
