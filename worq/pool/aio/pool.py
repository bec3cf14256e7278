"""A pool of event loops: child processes, each of which runs many coroutines at a time."""
from __future__ import annotations

from typing import Any, Callable, Mapping

from worq import const
from worq.core import Broker
from worq.pool.aio.manager import LoopManager
from worq.pool.aio.watchdog import LoopWatchdog
from worq.pool.aio.worker import LoopWorker
from worq.pool.base import Error
from worq.pool.children.manager import Manager
from worq.pool.children.pool import GRACE, ChildPool
from worq.pool.children.program import start_pools
from worq.pool.children.worker import Worker

__all__ = ['WorkerPool', 'start_pools', 'Error']

BLOCK = 30.0        # seconds that an event loop may be blocked
MOST = 10_000       # coroutines at a time in a child: what a manager can look through at each round


class WorkerPool(ChildPool):
    """Runs coroutines, many at a time in each child process.

    For tasks that are ``async def`` and wait (for a network, a database, other tasks). Each child
    has one event loop for its life: that of uvloop where it is installed, else asyncio's. The
    manager is outside, a thread of this process that runs no code of yours. It takes tasks, renews
    their leases and settles them, so a task that blocks its loop loses nobody's lease.

    ::

        @contextlib.asynccontextmanager
        async def init(url):
            async with httpx.AsyncClient() as tasks.client:
                broker = get_broker(url)
                broker.expose(tasks)
                yield broker

        if __name__ == '__main__':
            WorkerPool(get_broker(url), init, workers=2, concurrency=200).start()

    * A task that blocks its loop, since it computes, or waits as functions do, is named after a
      second: in the log, by ``deferred.explain()`` and by ``broker.pools()``. After `block_limit`
      its child is killed. That counts as a delivery of this task, and of no other.
    * When a child dies of something else, what it has said last tells whose code ran. Whoever may
      have done it runs alone next, in a child that is there for it, and is charged only then. So
      others run again, and none of them expires. But they do run again, uncounted: a task that
      must rather be lost than repeated belongs in a pool of processes.
    * A coroutine that is cancelled, or beyond its time limit, gets a ``CancelledError`` where it
      waits. It is cancelled again a second later; another second later it is left to run, and
      nobody waits for what it comes to. After ten of those the child is replaced. One that blocks
      the loop is hit in its own code; if that does not help, its child is killed.
    * Functions that are no coroutines run in a few threads, where nothing can stop them.
    * Tasks that a task has started and not awaited go on when it has ended, as they do in any
      server; so a client that keeps one for itself works. Their loop ends them.

    :param broker: whose queue is served. What it exposes does not matter here.
    :param init_func: called in each child, in its loop, as ``init_func(broker.url, *init_args,
        **init_kwargs)``. Returns the broker that exposes the tasks; or an asynchronous context
        manager of it, which is left after the last task; or a coroutine. It must be at the top
        level of a module or of the main script.
    :param init_args: passed to it after the address, as are `init_kwargs`.
    :param workers: number of children.
    :param max_worker_tasks: a child is replaced after as many tasks; None: never.
    :param name: distinguishes the pool in the log; by default the queue's name.
    :param concurrency: how many tasks run at a time in each child.
    :param threads: how many functions run at a time in each child, beside the coroutines. 0: none
        do, and they are left to other pools.
    :param block_limit: seconds that a loop may be blocked; None: for ever.
    :param grace: seconds that running tasks have to end when the pool stops. After that
        they are killed, and given back to the queue.
    :param schedules: whether it puts what is due of schedules, and declares those of its code. If
        not, it runs tasks only.
    """

    OPTIONS = (*ChildPool.OPTIONS, 'concurrency', 'threads', 'block_limit')

    def __init__(self, broker: Broker, init_func: Callable[..., Any],
                 init_args: tuple[Any, ...] = (), init_kwargs: Mapping[str, Any] | None = None,
                 workers: int = 1, max_worker_tasks: int | None = None, name: str | None = None, *,
                 concurrency: int = 100, threads: int = 8, block_limit: float | None = BLOCK,
                 grace: float = GRACE, schedules: bool = True) -> None:
        super().__init__(broker, init_func, init_args, init_kwargs, workers, max_worker_tasks,
                         name, grace=grace, schedules=schedules)
        self.concurrency = const.check_count('concurrency', concurrency, most=MOST)
        self.threads = const.check_count('threads', threads, 0, most=const.WORKERS)
        self.block_limit = None if block_limit is None \
            else const.check_span('block_limit', block_limit)

    def _serve(self, timeout: float) -> None:
        start_pools(self, timeout=timeout)

    def _made(self) -> Manager:
        return LoopManager(
            self.broker.backend, self._spawner(), self.workers, self.max_worker_tasks, self.grace,
            str(self), self.broker.codec, self.schedules, concurrency=self.concurrency)

    def _spawner(self) -> Callable[[], Worker]:
        first, in_memory = self._first()
        concurrency, threads, limit = self.concurrency, self.threads, self.block_limit
        return lambda: LoopWorker(first, LoopWatchdog(limit), in_memory, concurrency=concurrency,
                                  threads=threads)
