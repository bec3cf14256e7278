"""A pool of child processes, each of which runs one task after the other."""
from __future__ import annotations

from typing import Any, Callable, Mapping

from worq.core import Broker
from worq.pool.base import Error
from worq.pool.children.pool import GRACE, ChildPool
from worq.pool.children.program import run_in_subprocess, start_pools

__all__ = ['WorkerPool', 'start_pools', 'run_in_subprocess', 'Error']

WORKER_POLL_INTERVAL = 30  # of WorQ 1.x, whose programs set it; children are not polled now


class WorkerPool(ChildPool):
    """Runs tasks in child processes, which one thread of this process manages.

    That thread runs no code of yours: it takes tasks, renews their leases, and watches the
    children. One that dies is noticed at once and replaced, and what it was running is run
    again, `max_deliveries` times at most. Any queue will do, also one in memory.

    ::

        def init(url):
            broker = get_broker(url)
            broker.expose(tasks)
            return broker

        if __name__ == '__main__':
            WorkerPool(get_broker(url), init, workers=4).start()

    :param broker: whose queue is served. What it exposes does not matter here.
    :param init_func: called in each child, as ``init_func(broker.url, *init_args,
        **init_kwargs)``; returns the broker that exposes the tasks. It is found by its
        module and name, so it must be at the top level of a module or of the main script.
    :param init_args: passed to it after the address, as are `init_kwargs`.
    :param workers: number of children; by default one for each processor of the machine.
    :param max_worker_tasks: a child is replaced after as many tasks; None: never.
    :param name: distinguishes the pool in the log; by default the queue's name.
    :param grace: seconds that running tasks have to end when the pool stops. After that
        they are killed, and given back to the queue.
    :param schedules: whether it puts what is due of schedules, and declares those of its code. If
        not, it runs tasks only.
    """

    def __init__(self, broker: Broker, init_func: Callable[..., Broker],
                 init_args: tuple[Any, ...] = (), init_kwargs: Mapping[str, Any] | None = None,
                 workers: int | None = None, max_worker_tasks: int | None = None,
                 name: str | None = None, *, grace: float = GRACE,
                 schedules: bool = True) -> None:
        super().__init__(broker, init_func, init_args, init_kwargs, workers, max_worker_tasks,
                         name, grace=grace, schedules=schedules)

    def _serve(self, timeout: float) -> None:
        start_pools(self, timeout=timeout)
