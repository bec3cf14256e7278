"""A pool's hold on the task that a worker runs: where it may be interrupted, and how.

An interruption is an exception that is raised in the task's own thread, at most once in each
task, and never outside of it. Once is enough: code that cleans up must not be hit again. What
does not let go then is up to the pool.
"""
from __future__ import annotations

import sys
from threading import Thread, get_ident
import time
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, Callable, Coroutine

from worq.current import Control, CurrentTask, overtime
from worq.printable import logger
from worq.pool.forks import only_here
from worq.pool.loop import Loop
from worq.queue.base import Outcome
from worq.retry import members
from worq.shield import Shield

if TYPE_CHECKING:
    import asyncio

__all__ = ['GRACE', 'OWN', 'Interrupter', 'rouse']

log = logger(__name__)

GRACE = 2.0   # seconds that a task has to let go, before it is given up


class Interrupter(Control, Shield):
    """Of a task in this very thread: a signal handler interrupts it.

    Duties: 1. the task begins, is interrupted, ends; 2. put it off where the task must not be
    interrupted; 3. coroutines.

    :ivar task: while its code runs; else None.
    """

    def __init__(self) -> None:
        self.task: CurrentTask | None = None
        self.ident = 0
        self.interrupted = False   # and the exception is put off
        self._limit: float | None = None
        self._error: BaseException | None = None         # that it was interrupted with
        self._wakes: list[Callable[[], object] | None] = []   # of the shields that are up
        self._main: asyncio.Task[Any] | None = None      # while it is a coroutine
        self._sealed = False  # the code of its event loop runs, which nothing must be raised in
        self._loop: Loop | None = None

    # 1. -- the task ----------------------------------------------------------

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        if self._error is not None or self._wakes:   # an own signal handler of the last task raised
            self._clean_up()
        self._limit = limit
        if limit is not None:
            task.deadline = time.monotonic() + limit
            self._limited(task.deadline, will)
        self.ident = get_ident()
        task.shield = self
        self.task = task   # the last, for from now on it may be interrupted

    def _limited(self, due: float, will: Outcome | None) -> None:
        """The task that begins has a limit.

        :param due: monotonic.
        """

    def _clean_up(self) -> None:
        """See to what an exception in the midst of the last task may have left undone."""
        self.task = self._main = None
        self._sealed = self.interrupted = False
        self._wakes.clear()
        self._error = None

    def end(self) -> None:
        self.task = None

    def interrupt(self, word: str) -> None:
        """Raise the exception here, if the task's code runs and has not been interrupted.

        :param word: 'cancelled' or 'timeout'.
        """
        if self.task is None or self._error is not None:
            return
        error = self._error = self._stop(self.task, word)
        if not self._put_off() and not self._cancel_coroutine():
            raise error

    def _stop(self, task: CurrentTask, word: str) -> BaseException:
        return task.stop(word, '' if self._limit is None else overtime(self._limit))

    # 2. -- put off -----------------------------------------------------------

    def raise_it(self, wake: Callable[[], object] | None) -> None:
        self._wakes.append(wake)

    def lower_it(self) -> None:
        self._wakes.pop()
        self._make_up()

    def _put_off(self) -> bool:
        self.interrupted = self._sealed or bool(self._wakes)
        return self.interrupted

    def _make_up(self) -> None:
        """Raise what has been put off, if it need be no more."""
        if self.interrupted and not self._sealed and not self._wakes:
            self.interrupted = False
            if self._error is not None and not self._cancel_coroutine():
                raise self._error

    def wake(self) -> Callable[[], object] | None:
        """What ends the wait that the task is in, if it is in one that has been put off."""
        if not self.interrupted:
            return None
        return next((wake for wake in reversed(self._wakes) if wake is not None), None)

    # 3. -- coroutines --------------------------------------------------------

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        outer = self.awaited(coroutine)
        try:
            # The loop goes on to the next task, and so does asyncio, which is loaded with the
            # first one: it is a third of what a child imports before its first task.
            self._seal()
            loop = self._loop = self._loop or Loop()
            return loop.run(outer)
        finally:
            outer.close()   # if they were interrupted before they had begun
            coroutine.close()
            self._unseal()

    async def awaited(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await the task's coroutine, in a task of asyncio that is interrupted for it."""
        import asyncio
        try:
            self._enter(asyncio.current_task())
            return await only_here(coroutine)
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        except BaseExceptionGroup as group:
            # A TaskGroup that is cancelled tells of the errors of its members only, if there
            # are any. Its task is still being cancelled, and that is our doing.
            if self._error is None or self._error in members(group) \
                    or not (task := asyncio.current_task()) or not task.cancelling():
                raise
            # Not group.derive(), which a class of the task's may have made anything of.
            raise BaseExceptionGroup(group.message, [self._error, *group.exceptions]) from None
        finally:
            self._leave()

    def close(self) -> None:
        """The worker ends, and so does its event loop. In the worker's own thread."""
        if self._loop is not None:
            self._loop.close()

    def _seal(self) -> None:
        self._sealed = True

    def _enter(self, main: asyncio.Task[Any] | None) -> None:
        self._main = main
        self._sealed = False   # now it can be cancelled
        self._make_up()

    def _leave(self) -> None:
        self._sealed, self._main = True, None

    def _unseal(self) -> None:
        self._sealed = False
        self._make_up()

    def _cancel_coroutine(self) -> bool:
        """Cancel it where it waits; False if it does not: then its own code can be hit.

        To raise among the code of the event loop would hit whatever callback it just runs; or,
        while it makes a note that the coroutine is to go on, keep it from that for ever.
        """
        main = self._main
        if main is None:
            return False
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            if frame.f_code is OWN and frame.f_locals.get('self') is self:
                return False
            frame = frame.f_back
        main.get_loop().call_soon_threadsafe(main.cancel)
        return True


OWN = Interrupter.awaited.__code__   #: below it on the stack is the coroutine's own code


def rouse(wake: Callable[[], object] | None) -> None:
    """Call what ends a wait, in a thread of its own: it may have to reach the queue for that."""
    def call() -> None:
        try:
            if wake is not None:
                wake()
        except Exception as error:   # then the wait ends by itself, somewhat later
            log.debug('could not wake a task: %s', error)
    if wake is not None:
        Thread(target=call, name='worq-wake', daemon=True).start()
