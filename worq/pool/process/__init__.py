"""Pools whose workers are child processes.

A child may import this package too, with its main script. So the pool itself is loaded when
somebody asks for it: what it needs would take a child as long to load as all of its own side.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from worq.pool.process.pool import Error, WorkerPool, run_in_subprocess, start_pools

__all__ = ['WorkerPool', 'start_pools', 'run_in_subprocess', 'Error']


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    from worq.pool.process import pool
    return getattr(pool, name)
