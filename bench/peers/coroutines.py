"""The tasks again, as coroutine functions, for workers that are event loops.

Such a worker would run a plain function in a thread, which a careful user does not want for a
no-op. Where the plain task sleeps, the coroutine does, and lets others run.
"""
from __future__ import annotations

import asyncio
import os
import time
from typing import Any, Callable, Coroutine

from bench.peers.tasks import note

__all__ = ['COROUTINES']


async def now(number: int = 0) -> float:
    return time.time()


async def echo(payload: Any) -> Any:
    return payload


async def work(seconds: float) -> tuple[float, float]:
    begin = time.time()
    await asyncio.sleep(seconds)
    return begin, time.time()


async def who(seconds: float = 0.02) -> tuple[int, int]:
    await asyncio.sleep(seconds)
    return os.getpid(), os.getppid()


async def add(one: Any, other: Any) -> Any:
    return one + other


async def total(values: list[int]) -> int:
    return sum(values)


async def journal(folder: str, mark: str, seconds: float = 0.0) -> str:
    note(folder, 'begin', mark)
    await asyncio.sleep(seconds)
    note(folder, 'end', mark)
    return mark


async def block(folder: str, mark: str, seconds: float = 0.0) -> str:
    """As `journal`, but nothing else runs meanwhile."""
    note(folder, 'begin', mark)
    time.sleep(seconds)
    note(folder, 'end', mark)
    return mark


COROUTINES: dict[str, Callable[..., Coroutine[Any, Any, Any]]] = {
    function.__name__: function for function in (now, echo, work, who, add, total, journal, block)
}
