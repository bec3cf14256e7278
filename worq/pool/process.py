"""A pool of child processes, and the way to run pools as a program."""
from __future__ import annotations

import atexit
import logging
import os
import pickle
import select
import signal
import subprocess
from threading import Lock, Thread, current_thread, main_thread
import time
from typing import Any, Callable, Mapping, Self

from worq.const import DEFAULT
from worq.core import Broker
from worq.pool import child
from worq.pool.base import Error
from worq.pool.frames import pack
from worq.pool.manager import Manager
from worq.pool.wire import INIT
from worq.pool.worker import Worker, start_child

__all__ = ['WorkerPool', 'start_pools', 'run_in_subprocess', 'Error']

log = logging.getLogger(__name__)

GRACE = 30.0               # seconds that running tasks have when the pool stops
STALL = 120.0              # seconds; a queue that is out of reach takes it some ten
WATCH, SOON = 1.0, 0.02    # seconds between two looks at the managers; while they stop
WORKER_POLL_INTERVAL = 30  # of WorQ 1.x, whose programs set it; children are not polled now


class WorkerPool:
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
    :param workers: number of children; by default one for each processor.
    :param max_worker_tasks: a child is replaced after as many tasks; None: never.
    :param name: distinguishes the pool in the log; by default the queue's name.
    :param grace: seconds that running tasks have to end when the pool stops. After that
        they are killed, and given back to the queue.
    """

    def __init__(self, broker: Broker, init_func: Callable[..., Broker],
                 init_args: tuple[Any, ...] = (), init_kwargs: Mapping[str, Any] | None = None,
                 workers: int | None = None, max_worker_tasks: int | None = None,
                 name: str | None = None, *, grace: float = GRACE) -> None:
        if workers is None:
            workers = os.cpu_count() or 1
        for option, value in [('workers', workers), ('max_worker_tasks', max_worker_tasks)]:
            if value is not None and (not isinstance(value, int) or value < 1):
                raise ValueError(f'invalid {option}: {value!r}; it is a whole number from 1')
        if not callable(init_func):
            raise TypeError(f'init_func must be callable, not {init_func!r}')
        self.broker = broker
        self.init_func = init_func
        self.init_args = tuple(init_args)
        self.init_kwargs = dict(init_kwargs or {})
        self.workers = workers
        self.max_worker_tasks = max_worker_tasks
        self.grace = grace
        self.name = broker.name if name is None and broker.name != DEFAULT else name
        self._changing = Lock()
        self._manager: Manager | None = None
        self._thread: Thread | None = None

    def __str__(self) -> str:
        parts = type(self).__name__, os.getpid(), self.name
        return '-'.join(str(part) for part in parts if part)

    def __repr__(self) -> str:
        return (f'<process.WorkerPool [{self.broker.name}] {self.workers} workers, '
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
        """
        if handle_sigterm:
            return start_pools(self, timeout=timeout)
        if child.loading_main:
            raise Error(
                'a pool is started while a worker process imports the main script: put what '
                "starts it under `if __name__ == '__main__':`")
        with self._changing:
            if self._thread is not None:
                if self._thread.is_alive():
                    raise Error(f'{self} is already running')
                self._join()
            first = self._first_frame()
            in_memory = self._in_memory
            self._manager = Manager(
                self.broker.backend, lambda: Worker(first, in_memory), self.workers,
                self.max_worker_tasks, self.grace, str(self))
            # A daemon, so that a program which forgets its pool can end; see _at_exit.
            thread = Thread(target=self._manager.run, name=f'worq-{self}', daemon=True)
            thread.start()
            self._thread = thread   # not before: `join` looks at it without the lock
            atexit.register(self._at_exit)

    def _first_frame(self) -> bytes:
        try:
            init = pickle.dumps((self.init_func, self.init_args, self.init_kwargs))
        except Exception as error:
            raise Error(f'a worker process could not find init_func or its arguments, for they '
                        f'cannot be pickled: {error}; init_func must be at the top level '
                        'of a module') from error
        data = pickle.dumps({
            'preparation': child.preparation(), 'init': init, 'url': self.broker.url})
        return pack([INIT, data, self.broker.name.encode()])

    @property
    def _in_memory(self) -> bool:
        """Whether the queue is in this process, so that children have to ask for it."""
        return self.broker.url.startswith('memory:')

    def stop(self, join: bool = True, *, grace: float | None = None) -> bool:
        """Take no more tasks, let those that run end, give the others back, and end.

        :param join: wait for it.
        :param grace: seconds, in place of the pool's own.
        :returns: False if the pool was not running.
        """
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
        """The program ends: give back at once what runs, unless the pool is stopping."""
        manager = self._manager
        self.stop(grace=None if manager is not None and manager.stopping else 0)

    def __enter__(self) -> Self:
        self.start(handle_sigterm=False)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def start_pools(*pools: WorkerPool, **start_options: Any) -> None:
    """Run pools until SIGTERM or SIGINT; it must be called in the main thread.

    The first signal lets running tasks end, within the pools' grace time. A second one
    kills them and gives their tasks back. The handlers of before are restored at the end.

    A pool whose manager hangs, for two minutes, ends the program with exit status 70.

    :raises Error: if a pool ends by itself, which it should not; the others are stopped.
    """
    if not pools:
        raise ValueError('start_pools requires at least 1 argument, got 0')
    if current_thread() is not main_thread():
        raise Error('start_pools must be called in the main thread, which gets the signals; '
                    'elsewhere use pool.start(handle_sigterm=False)')
    hear, tell = os.pipe()
    os.set_blocking(tell, False)

    def handle(number: int, frame: object) -> None:
        os.write(tell, b'!')  # and nothing else: what it interrupts may hold any lock

    before = {number: signal.signal(number, handle)
              for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        for pool in pools:
            pool.start(handle_sigterm=False, **start_options)
        log.info('press Ctrl-C or send SIGTERM to stop')
        poll = select.poll()
        poll.register(hear, select.POLLIN)
        signals = 0
        broken = False
        while any(pool.alive for pool in pools):
            # while pools stop, the end of the program should not be a second late
            if poll.poll(1000 * (SOON if signals or broken else WATCH)):
                signals += len(os.read(hear, 4096))
            for pool in pools:
                if pool.stalled > STALL:
                    # It cannot be joined, nor would anything be served: whoever restarts
                    # programs shall do so. The kernel sees to the children.
                    log.critical('%s has not gone round for %d seconds, and is given up',
                                 pool, pool.stalled)
                    os._exit(os.EX_SOFTWARE)
            broken = broken or not signals and not all(pool.alive for pool in pools)
            for pool in pools:
                if signals or broken:
                    pool.stop(join=False, grace=0 if signals > 1 else None)
        if broken or not signals:
            raise Error('a pool has ended by itself, see the log')
    finally:
        for pool in pools:
            pool.stop(join=False)
        for pool in pools:
            pool.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(hear)
        os.close(tell)


# -- a function in a process of its own ---------------------------------------------

class Process:
    """A process that ``run_in_subprocess`` started: a `subprocess.Popen`, and more names."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen

    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._popen.poll() is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, for `timeout` seconds at most."""
        try:
            self._popen.wait(timeout)
        except subprocess.TimeoutExpired:
            pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self._popen, name)

    def __repr__(self) -> str:
        return f'<Process {self._popen.pid}>'


def run_in_subprocess(func: Callable[..., Any], *args: Any, **kw: Any) -> Process:
    """Run a function in a new Python process, which finds it by module and name.

    Kept for programs written for WorQ 1.x: tests of pools use it.
    """
    data = pickle.dumps((child.preparation(), pickle.dumps((func, args, kw))))
    popen = start_child(['call'], stdin=subprocess.PIPE)
    assert popen.stdin is not None
    popen.stdin.write(len(data).to_bytes(8, 'little') + data)
    popen.stdin.flush()
    return Process(popen)
