"""A pool of child processes, and the way to run pools as a program."""
from __future__ import annotations

import atexit
from io import BytesIO
import os
import pickle
import select
import signal
import subprocess
from threading import Thread, current_thread, main_thread
import time
from types import FunctionType
from typing import Any, Callable, Iterable, Mapping, Self
from weakref import WeakSet

from worq import const
from worq.core import Broker
from worq.latch import JoinableThread
from worq.lock import Lock
from worq.printable import logger
from worq.pool.base import Error, check_broker, check_schema
from worq.pool.forks import Handlers
from worq.pool.process import child
from worq.pool.process.frames import pack
from worq.pool.process.watchdog import Watchdog
from worq.pool.process.manager import Manager
from worq.pool.process.protocol import INIT
from worq.pool.process.worker import Worker, start_child
from worq.streams import pipe

__all__ = ['WorkerPool', 'start_pools', 'run_in_subprocess', 'Error']

_pools: WeakSet[WorkerPool] = WeakSet()

log = logger(__name__)

CO_VARARGS = 4             # of a function's code: it takes any number of arguments
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
        self.name = broker.name if name is None and broker.name != const.DEFAULT else name
        self._changing = Lock()
        self._manager: Manager | None = None
        self._thread: Thread | None = None
        _pools.add(self)

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
        :raises QueueError: if the data of the queue is for another version of WorQ.
        """
        const.check_timeout(timeout)
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
            check_schema(self.broker.backend)
            self._manager = Manager(
                self.broker.backend, self._spawner(), self.workers,
                self.max_worker_tasks, self.grace, str(self), self.broker.codec)
            # A daemon, so that a program which forgets its pool can end; see _at_exit.
            thread = JoinableThread(target=self._manager.run, name=f'worq-{self}', daemon=True)
            try:
                thread.start()
                self._thread = thread   # not before: `join` looks at it without the lock
                atexit.register(self._at_exit)
            except BaseException:   # it may run already
                self._manager.stop(0)
                raise

    def _spawner(self) -> Callable[[], Worker]:
        """What starts a child, as this pool is configured now."""
        init = _pickled((self.init_func, self.init_args, self.init_kwargs))
        data = pickle.dumps({
            'preparation': child.preparation(), 'init': init, 'url': self.broker.url,
            'place': self.broker.backend.place})
        first = pack([INIT, data, self.broker.name.encode()])
        in_memory = self.broker.url.startswith('memory:')
        return lambda: Worker(first, Watchdog(), in_memory)

    def reload(self, other: WorkerPool | None = None) -> None:
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
                for option in ('init_func', 'init_args', 'init_kwargs', 'workers',
                               'max_worker_tasks', 'grace'):
                    setattr(self, option, getattr(other, option))
            log.info('%s is reloaded: new worker processes take the place of the old ones', self)
            manager.renew(spawn, self.workers, self.max_worker_tasks, self.grace)

    @property
    def _queue(self) -> tuple[str, str]:
        return self.broker.url, self.broker.name

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


def _pickled(call: tuple[Any, ...]) -> bytes:
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
    if pickler.of_main and child.main_script() == (None, None):
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

Pools = WorkerPool | Iterable[WorkerPool]


def start_pools(*pools: WorkerPool | Callable[[], Pools], **start_options: Any) -> None:
    """Run pools until SIGTERM or SIGINT; it must be called in the main thread.

    The first signal lets running tasks end, within the pools' grace time. A second one
    kills them and gives their tasks back. The handlers of before are restored at the end.

    SIGHUP replaces the children by new ones, which import all code anew, as ``pool.reload``
    does. If a function was given it is called again: pools that it makes anew are compared with
    those that run by their names and queues. The same one goes on with the new configuration,
    one that is new is started, one that is gone is stopped. If the function raises, the log says
    so and all goes on as it is. Where SIGHUP is ignored at the start, as under nohup, it stays so.

    A pool whose manager hangs, for two minutes, ends the program with exit status 70.

    :param pools: what to run; or one function that makes a pool, or several.
    :raises Error: if a pool ends by itself, which it should not; the others are stopped.
    """
    make = pools[0] if len(pools) == 1 and not isinstance(pools[0], WorkerPool) else None
    if not pools:
        raise ValueError('start_pools requires at least 1 argument, got 0')
    for pool in pools:
        if make is None and not isinstance(pool, WorkerPool) or make is not None \
                and not callable(make):
            raise TypeError(f'start_pools takes pools, or one function that makes them; '
                            f'not {pool!r}')
    if current_thread() is not main_thread():
        raise Error('start_pools must be called in the main thread, which gets the signals; '
                    'elsewhere use pool.start(handle_sigterm=False)')
    _Program(make or (lambda: pools), start_options).run()  # type: ignore[arg-type,return-value]


class _Program:
    """The main thread of a program that runs pools: it has its eye on them, and on signals.

    :param make: makes the pools; called again at each SIGHUP.
    :param start_options: for the ``start`` of each.
    """

    def __init__(self, make: Callable[[], Pools], start_options: dict[str, Any]) -> None:
        self.make = make
        self.start_options = start_options
        self.pools: list[WorkerPool] = []
        self.gone: list[WorkerPool] = []   # a SIGHUP has stopped them
        self.late: list[WorkerPool] = []   # of these, those to start again when they have ended
        self._signals = 0                  # to stop
        self._broken = False
        self._hear, self._tell = pipe()
        os.set_blocking(self._tell, False)

    def _handle(self, number: int, frame: object) -> None:
        # and nothing else: what it interrupts may hold any lock
        os.write(self._tell, b'h' if number == signal.SIGHUP else b'!')

    def run(self) -> None:
        numbers = [signal.SIGTERM, signal.SIGINT]
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:   # as nohup has it
            numbers.append(signal.SIGHUP)
        handlers = Handlers()
        for number in numbers:
            handlers.set(number, self._handle)
        try:
            self.pools = self._made()
            for pool in self.pools:
                pool.start(handle_sigterm=False, **self.start_options)
            log.info('press Ctrl-C or send SIGTERM to stop')
            while any(pool.alive for pool in self.pools + self.gone):
                self._look()
            if self._broken or not self._signals:
                raise Error('a pool has ended by itself, see the log')
        finally:
            for pool in self.pools:
                pool.stop(join=False)
            for pool in self.pools + self.gone:
                pool.join()
            handlers.restore()
            os.close(self._hear)
            os.close(self._tell)

    def _look(self) -> None:
        poll = select.poll()
        poll.register(self._hear, select.POLLIN)
        # while pools stop, the end of the program should not be a second late
        if poll.poll(1000 * (SOON if self._signals or self._broken else WATCH)):
            heard = os.read(self._hear, 4096)
            self._signals += heard.count(b'!')
            if b'h' in heard and not self._signals and not self._broken:
                self._reload()
        for pool in self.pools + self.gone:
            if pool.stalled > STALL:
                # It cannot be joined, nor would anything be served: whoever restarts
                # programs shall do so. The kernel sees to the children.
                log.critical('%s has not gone round for %d seconds, and is given up',
                             pool, pool.stalled)
                os._exit(os.EX_SOFTWARE)
        alive = all(pool.alive for pool in self.pools)
        self._broken = self._broken or not self._signals and not alive
        if self._signals or self._broken:
            for pool in self.pools + self.gone:
                pool.stop(join=False, grace=0 if self._signals > 1 else None)
        else:
            self._follow_the_gone()

    def _follow_the_gone(self) -> None:
        for pool in [pool for pool in self.gone if not pool.alive]:
            pool.join()
            self.gone.remove(pool)
            if pool in self.late:
                self.late.remove(pool)
                self._start(pool)

    def _start(self, pool: WorkerPool) -> None:
        pool.start(handle_sigterm=False, **self.start_options)
        self.pools.append(pool)

    def _made(self) -> list[WorkerPool]:
        made = self.make()
        pools = [made] if isinstance(made, WorkerPool) else list(made)
        if not pools:
            raise ValueError('there is no pool to run')
        for pool in pools:
            if not isinstance(pool, WorkerPool):
                raise TypeError(f'what makes the pools made {pool!r}')
        return pools

    def _reload(self) -> None:
        try:
            made = self._made()
            for pool in made:
                pool._spawner()  # raises what would be raised half-way
        except (Exception, SystemExit):
            log.exception('the pools cannot be made anew, and go on as they are')
            return
        old, self.pools, self.late = self.pools, [], []
        for pool in made:
            same = next((one for one in old if one is pool), None) or next(
                (one for one in old if (one.name, one._queue) == (pool.name, pool._queue)), None)
            if same is not None:
                old.remove(same)
                self.pools.append(same)
                if same.alive:   # else the next look will find that it has ended
                    same.reload(None if same is pool else pool)
            elif pool in self.gone:
                self.late.append(pool)
            else:
                self._start(pool)
        for pool in old:
            log.info('%s is no more among the pools, and stops', pool)
            pool.stop(join=False)
        self.gone += old


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
        const.check_timeout(timeout)
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
    data = pickle.dumps((child.preparation(), _pickled((func, args, kw))))
    popen = start_child(['call'], stdin=subprocess.PIPE)
    assert popen.stdin is not None
    with popen.stdin:
        popen.stdin.write(len(data).to_bytes(8, 'little') + data)
    return Process(popen)
