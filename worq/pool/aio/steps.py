"""Coroutines that tell, from step to step, for which delivery their code runs.

Whoever blocks an event loop can do nothing any more, and nobody beside it in the same process may
be able to, if it does so in C. So it has said before who it is, on the page that the manager sees.
"""
from __future__ import annotations

import asyncio
from types import CoroutineType
from typing import Any, Callable, Coroutine, Generator

from worq.pool.aio.page import TOGGLE, LoopPage
from worq.shield import running

__all__ = ['Main', 'Step', 'task_factory']

AT = LoopPage.AT


class Step(Coroutine[Any, Any, Any]):
    """A coroutine that notes for whom it runs, as long as each of its steps lasts.

    :param numbers: those of the page.
    :param number: of the delivery.
    """

    __slots__ = ('_coroutine', '_send', '_numbers', '_key', '__weakref__')

    def __init__(self, coroutine: Coroutine[Any, Any, Any], numbers: memoryview[int],
                 number: int) -> None:
        self._coroutine = coroutine
        self._send = coroutine.send
        self._numbers = numbers
        self._key = number

    def send(self, value: Any) -> Any:
        numbers = self._numbers
        numbers[AT] = self._key = self._key ^ TOGGLE
        try:
            return self._send(value)
        finally:
            numbers[AT] = 0

    def throw(self, *error: Any) -> Any:
        numbers = self._numbers
        numbers[AT] = self._key = self._key ^ TOGGLE
        try:
            return self._coroutine.throw(*error)
        finally:
            numbers[AT] = 0

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._coroutine.__await__()

    def __getattr__(self, name: str) -> Any:
        # what looks at a coroutine, as inspect does, and others that ask for its cr_frame
        return getattr(self._coroutine, name)

    def __repr__(self) -> str:
        return repr(self._coroutine)


class Main(asyncio.Task[Any]):
    """The asyncio task of a delivery: its own code may cancel it, and we may.

    The code of other deliveries may not: it may cancel everything in the loop, as a program does
    when it ends, and does not know that it shares the loop.
    """

    __slots__ = ()

    def cancel(self, msg: Any = None) -> bool:
        step: Any = self.get_coro()
        runs = step._numbers[AT] % TOGGLE   # 0: a callback of the loop
        if runs and runs != step._key % TOGGLE:
            return False
        return super().cancel(msg)


def task_factory(numbers: memoryview[int]) -> Callable[..., asyncio.Task[Any]]:
    """What makes the tasks of a loop: those that a delivery's code starts are its own, too."""
    def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> asyncio.Task[Any]:
        if type(coroutine) is CoroutineType:
            task = running.get(None)
            number = getattr(task.shield, 'number', 0) if task is not None else 0
            if number:
                coroutine = Step(coroutine, numbers, number)
        return asyncio.Task(coroutine, loop=loop, **options)
    return make
