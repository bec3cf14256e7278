"""Pools whose workers are threads of the program."""
from worq.pool.thread.pool import Error, WorkerPool

__all__ = ['WorkerPool', 'Error']
