"""What all pools of child processes are: a manager in a thread, started, reloaded and stopped."""
from __future__ import annotations

import atexit
from io import BytesIO
import os
import pickle
from threading import Thread, current_thread
import time
from types import FunctionType
from typing import Any, Callable, Mapping, Self
from weakref import WeakSet

from worq import const
from worq.core import Broker
from worq.latch import JoinableThread
from worq.lock import Lock
from worq.printable import logger
from worq.pool.base import Error, check_broker, check_schema
from worq.pool.children import begin
from worq.pool.children.frames import pack
from worq.pool.children.watchdog import Watchdog
from worq.pool.children.manager import Manager
from worq.pool.children.protocol import INIT
from worq.pool.children.worker import Worker

__all__ = ['ChildPool', 'pickled']

_pools: WeakSet[ChildPool] = WeakSet()

log = logger(__name__)

CO_VARARGS = 4             # of a function's code: it takes any number of arguments
GRACE = 30.0               # seconds that running tasks have when the pool stops
SOON = 0.02                # seconds between two looks at a manager that ends with the program


class ChildPool:
    """A pool whose workers are child processes; see the pools that are made of it.

    :param broker: whose queue is served.
    :param init_func: called in each child, as ``init_func(broker.url, *init_args,
        **init_kwargs)``; it must be at the top level of a module or of the main script.
    :param workers: number of children; by default one for each processor.
    :param max_worker_tasks: a child is replaced after as many tasks; None: never.
    :param name: distinguishes the pool in the log; by default the queue's name.
    :param grace: seconds that running tasks have to end when the pool stops.
    :param schedules: whether it puts what is due of schedules, and declares those of its code.
    """

    #: What ``reload`` takes over from another pool.
    OPTIONS: tuple[str, ...] = (
        'init_func', 'init_args', 'init_kwargs', 'workers', 'max_worker_tasks', 'grace')

    def __init__(self, broker: Broker, init_func: Callable[..., Any],
                 init_args: tuple[Any, ...] = (), init_kwargs: Mapping[str, Any] | None = None,
                 workers: int | None = None, max_worker_tasks: int | None = None,
                 name: str | None = None, *, grace: float = GRACE,
                 schedules: bool = True) -> None:
        if workers is None:
            workers = os.cpu_count() or 1
        workers = const.check_count('workers', workers, most=const.WORKERS)
        if max_worker_tasks is not None:
            max_worker_tasks = const.check_count('max_worker_tasks', max_worker_tasks)
        check_broker(broker)
        if not callable(init_func):
            raise TypeError(f'init_func must be callable, not {init_func!r}')
        if isinstance(init_func, FunctionType) and not init_func.__code__.co_argcount \
                and not init_func.__code__.co_flags & CO_VARARGS:
            raise TypeError(f'init_func gets the address of the queue as its first argument, as '
                            f'def {init_func.__name__}(url): ..., and this one takes none')
        if isinstance(init_args, (str, bytes)):   # its letters would be the arguments
            raise TypeError(f'init_args is a sequence of arguments, as [{init_args!r}], '
                            f'not {init_args!r}')
        grace = const.check_span('grace', grace)
        self.broker = broker
        self.init_func = init_func
        self.init_args = tuple(init_args)
        self.init_kwargs = dict(init_kwargs or {})
        self.workers = workers
        self.max_worker_tasks = max_worker_tasks
        self.grace = grace
        self.schedules = schedules
        self.name = broker.name if name is None and broker.name != const.DEFAULT else name
        self._changing = Lock()
        self._manager: Manager | None = None
        self._thread: Thread | None = None
        _pools.add(self)

    def __str__(self) -> str:
        parts = type(self).__name__, os.getpid(), self.name
        return '-'.join(str(part) for part in parts if part)

    def __repr__(self) -> str:
        kind = type(self).__module__.split('.')[2]
        return (f'<{kind}.WorkerPool [{self.broker.name}] {self.workers} workers, '
                f'{"running" if self.alive else "stopped"}>')

    @property
    def alive(self) -> bool:
        """Whether there is a manager that works."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def stalled(self) -> float:
        """Seconds since the manager has last gone round; it should be a few at most."""
        manager = self._manager
        return time.monotonic() - manager.turned if manager and self.alive else 0.0

    @property
    def pids(self) -> list[int]:
        """The process ids of the children that there are now."""
        return [worker.pid for worker in list(self._manager.workers)] if self._manager else []

    def start(self, timeout: float = 10, handle_sigterm: bool = True) -> None:
        """Start the children.

        :param timeout: accepted for programs written for WorQ 1.x; the pool stops at
            once whether it waits for a task or not.
        :param handle_sigterm: run until SIGTERM or SIGINT, as ``start_pools(pool)``.
            Otherwise a thread manages the children, and this returns.
        :raises Error: if the pool is running already, or `init_func` cannot be found by
            a child.
        :raises QueueError: if the data of the queue is for another version of WorQ.
        """
        const.check_timeout(timeout)
        if handle_sigterm:
            return self._serve(timeout)
        if begin.loading_main:
            raise Error(
                'a pool is started while a worker process imports the main script: put what '
                "starts it under `if __name__ == '__main__':`")
        with self._changing:
            if self._thread is not None:
                if self._thread.is_alive():
                    raise Error(f'{self} is already running')
                self._join()
            check_schema(self.broker.backend)
            self._manager = self._made()
            # A daemon, so that a program which forgets its pool can end; see _at_exit.
            thread = JoinableThread(target=self._manager.run, name=f'worq-{self}', daemon=True)
            try:
                thread.start()
                self._thread = thread   # not before: `join` looks at it without the lock
                atexit.register(self._at_exit)
            except BaseException:   # it may run already
                self._manager.stop(0)
                raise

    def _serve(self, timeout: float) -> None:
        """Be the program: run until SIGTERM or SIGINT."""
        raise NotImplementedError

    def _made(self) -> Manager:
        """Its manager, not started."""
        return Manager(self.broker.backend, self._spawner(), self.workers, self.max_worker_tasks,
                       self.grace, str(self), self.broker.codec, self.schedules)

    def _spawner(self) -> Callable[[], Worker]:
        """What starts a child, as this pool is configured now."""
        first, in_memory = self._first()
        return lambda: Worker(first, Watchdog(), in_memory)

    def _first(self) -> tuple[bytes, bool]:
        """The frame that tells a child how to begin, and whether it asks us for its queue."""
        init = pickled((self.init_func, self.init_args, self.init_kwargs))
        data = pickle.dumps({
            'preparation': begin.preparation(), 'init': init, 'url': self.broker.url,
            'place': self.broker.backend.place})
        first = pack([INIT, data, self.broker.name.encode()])
        return first, self.broker.url.startswith('memory:')

    def reload(self, other: ChildPool | None = None) -> None:
        """Replace the children by new ones, which import all code anew.

        Each old child goes on until a new one is ready to take its place, then finishes what it
        runs, and ends. What it had been given besides goes to the others. If the new ones cannot
        begin, the log says why, it is tried again, and the old ones go on.

        :param other: a pool of the same queue, not started, whose `init_func` and its
            arguments, `workers`, `max_worker_tasks` and `grace` are taken over.
        :raises Error: if the pool does not run or is stopping, `other` is of another queue, or
            its `init_func` cannot be found by a child.
        """
        if other is not None and other._queue != self._queue:
            raise Error(f'{self!r} cannot become a pool of another queue, {other!r}')
        with self._changing:
            manager = self._manager
            if manager is None or not self.alive or manager.stopping:
                raise Error(f'{self} is not running')
            spawn = (other or self)._spawner()
            if other is not None:
                for option in self.OPTIONS:
                    setattr(self, option, getattr(other, option))
            log.info('%s is reloaded: new worker processes take the place of the old ones', self)
            manager.renew(spawn, self.workers, self.max_worker_tasks, self.grace)

    @property
    def _queue(self) -> tuple[type, str, str]:
        return type(self), self.broker.url, self.broker.name

    def stop(self, join: bool = True, *, grace: float | None = None) -> bool:
        """Take no more tasks, let those that run end, give the others back, and end.

        :param join: wait for it.
        :param grace: seconds, in place of the pool's own.
        :returns: False if the pool was not running.
        """
        if grace is not None:
            grace = const.check_span('grace', grace)
        with self._changing:
            running = self.alive and self._manager is not None
            if running and self._manager is not None:
                self._manager.stop(grace)
        if join:
            self.join()
        return running

    def join(self) -> None:
        """Wait for the pool to end; does not stop it."""
        thread = self._thread
        if thread is not None and thread is not current_thread():
            thread.join()  # without the lock, which stop needs
        with self._changing:
            if self._thread is thread:
                self._join()

    def _join(self) -> None:
        if self._thread is not None and self._thread is not current_thread():
            self._thread.join()
            self._thread = self._manager = None
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        """The program ends without a ``stop``: this is it.

        By ``atexit``, so not before all threads of the program have ended that are no daemons:
        they may call tasks until then.
        """
        try:
            self.stop(join=False)
            # Not by join: in Python 3.11 one that is interrupted takes the thread for ended.
            while self.alive:
                time.sleep(SOON)
        except BaseException:   # Ctrl-C, by somebody who does not want to wait
            self.stop(grace=0)
            raise
        self.join()

    def __enter__(self) -> Self:
        self.start(handle_sigterm=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


class _Pickler(pickle.Pickler):
    """Notes what it names of the main script."""

    of_main = ''

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type | FunctionType) and obj.__module__ == '__main__':
            self.of_main = self.of_main or obj.__qualname__
        return NotImplemented


def pickled(call: tuple[Any, ...]) -> bytes:
    """A function and its arguments for a child.

    :raises Error: if no child could find them.
    """
    file = BytesIO()
    pickler = _Pickler(file)
    try:
        pickler.dump(call)
    except Exception as error:
        raise Error(f'a worker process could not find init_func or its arguments, for they '
                    f'cannot be pickled: {error}; init_func must be at the top level '
                    'of a module') from error
    if pickler.of_main and begin.main_script() == (None, None):
        raise Error(f'no worker process could find {pickler.of_main!r}, which was defined in a '
                    'terminal, a notebook, by python -c or on standard input: put it into a '
                    'module, a file of its own, and import it from there (in a notebook a cell '
                    'that begins with %%writefile tasks.py makes one); or use a pool of threads, '
                    'worq.pool.thread')
    return file.getvalue()


def _forked() -> None:
    for pool in list(_pools):
        pool._changing = Lock()   # a thread that is not here may have it; the manager's is not


os.register_at_fork(after_in_child=_forked)
