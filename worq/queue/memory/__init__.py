"""The engine in memory: the machine over objects, under a lock."""
from worq.queue.memory.queue import TaskQueue

__all__ = ['TaskQueue']
