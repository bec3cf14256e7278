"""A pool's grip on the task that a worker runs: where it may be interrupted, and how.

An interruption is an exception that is raised in the task's own thread, at most once in each
task, and never outside of it. Once is enough: code that cleans up must not be hit again. What
does not let go then is up to the pool.
"""
from __future__ import annotations

import asyncio
import time
from types import CoroutineType
from typing import Any

from worq.current import Control, CurrentTask, overtime
from worq.queue.base import Outcome

__all__ = ['GRACE', 'Grip']

GRACE = 2.0   # seconds that a task has to let go, before it is given up


class Grip(Control):
    """On a task in this very thread: a signal handler interrupts it.

    :ivar task: while its code runs; else None.
    """

    def __init__(self) -> None:
        self.task: CurrentTask | None = None
        self._limit: float | None = None
        self._error: BaseException | None = None         # that it was interrupted with
        self._main: asyncio.Task[Any] | None = None      # while it is a coroutine
        self._closing = False    # its event loop, which an exception would leave half-closed
        self._waits = False      # the exception, for that

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        # What an exception in the midst of the last ones may have left undone.
        self.task = self._main = None
        self._closing = self._waits = False
        self._limit = limit
        if limit is not None:
            task.deadline = time.monotonic() + limit
        self._error = None
        self.task = task

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

    # -- coroutines -------------------------------------------------------------

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        outer = self._complete(coroutine)
        try:
            return asyncio.run(outer)
        finally:
            outer.close()   # if they were interrupted before they had begun
            coroutine.close()
            self._closed()

    async def _complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        self._enter(asyncio.current_task())
        try:
            return await coroutine
        except asyncio.CancelledError:
            if self._error is not None:
                raise self._error from None
            raise
        finally:
            self._leave()

    def _enter(self, main: asyncio.Task[Any] | None) -> None:
        self._main = main

    def _leave(self) -> None:
        self._main, self._closing = None, True

    def _closed(self) -> None:
        self._closing = False
        if self._waits and self._error is not None:
            self._waits = False
            raise self._error

    def _put_off(self) -> bool:
        self._waits = self._closing
        return self._waits

    def _cancel_coroutine(self) -> bool:
        """Cancel it where it waits; False if it does not: then its own code can be hit.

        To raise among the code of the event loop would hit whatever callback it just runs.
        """
        main = self._main
        if main is None or asyncio.current_task(main.get_loop()) is main:
            return False
        main.get_loop().call_soon_threadsafe(main.cancel)
        return True
