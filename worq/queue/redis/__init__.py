"""The engine on Redis: each verb of the contract is one Lua script."""
from worq.queue.redis.queue import TaskQueue

__all__ = ['TaskQueue']
