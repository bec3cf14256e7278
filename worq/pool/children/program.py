"""The way to run pools of children as a program."""
from __future__ import annotations

import os
import pickle
import select
import signal
import subprocess
from threading import current_thread, main_thread
from typing import Any, Callable, Iterable

from worq import const
from worq.printable import logger
from worq.pool.base import Error
from worq.pool.children import begin
from worq.pool.children.pool import ChildPool, pickled
from worq.pool.children.launch import start_child
from worq.pool.forks import Handlers
from worq.streams import pipe

__all__ = ['run_in_subprocess', 'start_pools']

log = logger(__name__)

STALL = 120.0              # seconds; a queue that is out of reach takes it some ten
WATCH, SOON = 1.0, 0.02    # seconds between two looks at the managers; while they stop

Pools = ChildPool | Iterable[ChildPool]


def start_pools(*pools: ChildPool | Callable[[], Pools], **start_options: Any) -> None:
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
    make = pools[0] if len(pools) == 1 and not isinstance(pools[0], ChildPool) else None
    if not pools:
        raise ValueError('start_pools requires at least 1 argument, got 0')
    for pool in pools:
        if make is None and not isinstance(pool, ChildPool) or make is not None \
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
        self.pools: list[ChildPool] = []
        self.gone: list[ChildPool] = []   # a SIGHUP has stopped them
        self.late: list[ChildPool] = []   # of these, those to start again when they have ended
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

    def _start(self, pool: ChildPool) -> None:
        pool.start(handle_sigterm=False, **self.start_options)
        self.pools.append(pool)

    def _made(self) -> list[ChildPool]:
        made = self.make()
        pools = [made] if isinstance(made, ChildPool) else list(made)
        if not pools:
            raise ValueError('there is no pool to run')
        for pool in pools:
            if not isinstance(pool, ChildPool):
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
    data = pickle.dumps((begin.preparation(), pickled((func, args, kw))))
    popen = start_child(['call'], stdin=subprocess.PIPE)
    assert popen.stdin is not None
    with popen.stdin:
        popen.stdin.write(len(data).to_bytes(8, 'little') + data)
    return Process(popen)
