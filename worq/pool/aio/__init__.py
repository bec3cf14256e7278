"""Pools of event loops: child processes, each of which runs many coroutines at a time.

A child may import this package too, so the pool itself is loaded when somebody asks for it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worq.pool.aio.pool import Error, WorkerPool, start_pools

__all__ = ['WorkerPool', 'start_pools', 'Error']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from worq.pool.aio import pool
    return getattr(pool, name)
