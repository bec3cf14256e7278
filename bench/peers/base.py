"""What an adapter does, and how its worker processes are started and stopped."""
from __future__ import annotations

import os
from pathlib import Path
import subprocess
import sys
import tempfile
import time
from typing import Any, Self, Sequence

from bench.guard import Guard

__all__ = ['Peer', 'AsyncPeer', 'ROOT', 'LIMIT', 'children', 'script', 'waited_for_processor']

ROOT = Path(__file__).resolve().parent.parent.parent
LIMIT = 120.0      # seconds to wait for a result, unless told otherwise

Calls = Sequence[tuple[Any, ...]]


class Peer:
    """A library, set up as its documentation advises, results stored.

    Duties: 1. workers; 2. calls; 3. results; 4. what else is measured. Tasks are named as in
    ``tasks.TASKS``. A handle is whatever the library returns for a call. Not for several
    threads at once.

    :param name: in ``PEERS``.
    :param url: where its queue is.
    """

    #: Whether one call enqueues many.
    bulk = False
    #: Whether calls can be made one at a time (joblib has none).
    single = True
    #: Whether a handle may be an argument of another call.
    graphs = False
    #: Whether a worker process does one task at a time, so that more are had by more processes.
    one_each = False
    #: Of (pid, parent's pid) of a running task, which names the worker.
    worker_pid = 0
    #: Seconds that workers have to end after SIGTERM; then they are killed.
    farewell = 10.0
    #: No-ops a second, in order of magnitude: so that measurements take alike long.
    pace = 1000

    def __init__(self, name: str, url: str) -> None:
        self.name = name
        self.url = url
        self.processes: list[subprocess.Popen[bytes]] = []
        self._folder = ''
        self._guard: Guard | None = None
        self.folder: tempfile.TemporaryDirectory[str] | None = None   # of its queue, in a file

    def __repr__(self) -> str:
        return f'<Peer {self.name} at {self.url}, {len(self.processes)} processes>'

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    # 1. -- workers -----------------------------------------------------------

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        """The command lines that start so many worker processes (see `start`)."""
        raise NotImplementedError

    def start(self, processes: int = 1, slots: int | None = None, mixed: bool = False,
              wait: bool = True) -> None:
        """Start workers as processes of their own; ``self.processes`` are those started here.

        :param processes: how many of them run tasks.
        :param slots: how many tasks each of them runs at a time, where that can be chosen;
            None: as the documentation advises.
        :param mixed: be set up for tasks of very different lengths, where there is a setting.
        :param wait: return when all of them have been seen to run a task.
        :raises RuntimeError: if one ends while it is waited for; with what it printed.
        """
        if self.processes:
            raise RuntimeError(f'{self!r} runs already')
        self._folder = tempfile.mkdtemp(prefix=f'bench-{self.name}-')
        self._guard = Guard(self._folder, self._folder)
        for command in self.commands(processes, slots, mixed):
            with open(self.log, 'ab') as log:
                self.processes.append(subprocess.Popen(
                    command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env={**self.environment(), 'BENCH_WORKERS': self._folder}))
        if wait:
            self._see_all(processes)

    def start_slots(self, slots: int) -> None:
        """Start workers that run so many tasks at a time, for tasks of mixed lengths."""
        if self.one_each:
            self.start(slots, mixed=True)
        else:
            self.start(1, slots, mixed=True)

    def environment(self) -> dict[str, str]:
        """Of the worker processes: the checkout can be imported in them."""
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
        return {**os.environ, 'PYTHONPATH': path}

    @property
    def log(self) -> Path:
        """What the workers print."""
        return Path(self._folder, 'log')

    def _see_all(self, processes: int) -> None:
        seen: set[int] = set()
        limit = time.monotonic() + 60
        failure: Exception | None = None
        while len(seen) < processes:
            self._check()
            if time.monotonic() > limit:
                raise RuntimeError(f'{len(seen)} of {processes} workers of {self.name} run tasks:\n'
                                   + self.printed()) from failure
            try:
                for handle in self.put_each('who', [(0.02,)] * 2 * processes):
                    seen.add(tuple(self.get(handle, 5))[self.worker_pid])
            except Exception as error:  # each library has its own for "not yet"
                failure = error

    def _check(self) -> None:
        for process in self.processes:
            if process.poll() is not None:
                raise RuntimeError(f'a worker of {self.name} ended with {process.returncode}:\n'
                                   + self.printed())

    def printed(self) -> str:
        """The end of what the workers have printed."""
        return self.log.read_text(errors='replace')[-4000:] if self.log.exists() else ''

    def stop(self) -> None:
        """End the workers: SIGTERM, and SIGKILL for what is still there after a while."""
        processes, self.processes = self.processes, []
        for process in processes:
            process.terminate()
        limit = time.monotonic() + self.farewell
        for process in processes:
            try:
                process.wait(max(0.0, limit - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._guard is not None:
            # Those that they have started too, even where who started them is dead.
            self._guard.close()
            self._guard = None
            self._folder = ''

    def disconnect(self) -> None:
        """Let go of this process's connections; the workers go on."""

    def close(self) -> None:
        """Stop and disconnect; after this it is of no more use."""
        self.stop()
        self.disconnect()
        if self.folder is not None:
            self.folder.cleanup()

    # 2. -- calls -------------------------------------------------------------

    def put(self, task: str, *args: Any) -> Any:
        """Enqueue one call; returns its handle."""
        raise NotImplementedError

    def put_each(self, task: str, calls: Calls) -> list[Any]:
        """Enqueue calls one at a time: each is acknowledged before the next is made."""
        put = self.put
        return [put(task, *args) for args in calls]

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        """Enqueue calls with what the library has for many; one at a time if it has nothing."""
        return self.put_each(task, calls)

    # 3. -- results -----------------------------------------------------------

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        """Wait for the result of a call, blocking as the documentation advises.

        :raises Exception: what the library raises after `timeout` seconds, or if it failed.
        """
        raise NotImplementedError

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        """Wait for the results of many calls."""
        limit = time.monotonic() + timeout
        return [self.get(handle, max(1.0, limit - time.monotonic())) for handle in handles]

    # 4. -- what else is measured ---------------------------------------------

    def round_trips(self, task: str, calls: Calls) -> list[float]:
        """Call and wait for the result, one call after the other; the seconds of each."""
        times = []
        for args in calls:
            begin = time.perf_counter()
            self.get(self.put(task, *args))
            times.append(time.perf_counter() - begin)
        return times

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        """Call `echo` with 0 .. number - 1, and `total` with all the results.

        With what the library has for it; if it has nothing, this process collects the
        results and sends them.
        """
        values = self.get_all(self.put_bulk('echo', [(n,) for n in range(number)]), timeout)
        result: int = self.get(self.put('total', values), timeout)
        return result


class AsyncPeer(Peer):
    """One whose calls are coroutines. They run in a loop of this object's own, many in one go,
    so that what is measured is the library and not the way into a loop and out of it."""

    def __init__(self, name: str, url: str) -> None:
        import asyncio   # here: the workers of all peers import this module, and few need it
        super().__init__(name, url)
        self._runner = asyncio.Runner()
        self._closed = False
        self.run(self.open())

    def run(self, coroutine: Any) -> Any:
        """Run a coroutine of the library to its end."""
        return self._runner.run(coroutine)

    async def open(self) -> None:
        """Connect."""

    async def shut(self) -> None:
        """Disconnect."""

    async def aput(self, task: str, *args: Any) -> Any:
        raise NotImplementedError

    async def aput_bulk(self, task: str, calls: Calls) -> list[Any]:
        return [await self.aput(task, *args) for args in calls]

    async def aget(self, handle: Any, timeout: float = LIMIT) -> Any:
        raise NotImplementedError

    async def aget_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        import asyncio
        # some at a time, since with many libraries each waits on a connection of its own
        return [value for start in range(0, len(handles), 50) for value in await asyncio.gather(
            *(self.aget(handle, timeout) for handle in handles[start:start + 50]))]

    async def afan_in(self, number: int, timeout: float = LIMIT) -> Any:
        handles = await self.aput_bulk('echo', [(n,) for n in range(number)])
        values = await self.aget_all(handles, timeout)
        return await self.aget(await self.aput('total', values), timeout)

    def put(self, task: str, *args: Any) -> Any:
        return self.run(self.aput(task, *args))

    def put_each(self, task: str, calls: Calls) -> list[Any]:
        async def each() -> list[Any]:
            return [await self.aput(task, *args) for args in calls]
        return self.run(each())

    def put_bulk(self, task: str, calls: Calls) -> list[Any]:
        return self.run(self.aput_bulk(task, calls))

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return self.run(self.aget(handle, timeout))

    def get_all(self, handles: Sequence[Any], timeout: float = LIMIT) -> list[Any]:
        return self.run(self.aget_all(handles, timeout))

    async def acall(self, task: str, *args: Any) -> Any:
        return await self.aget(await self.aput(task, *args))

    def round_trips(self, task: str, calls: Calls) -> list[float]:
        async def trips() -> list[float]:
            times = []
            for args in calls:
                begin = time.perf_counter()
                await self.acall(task, *args)
                times.append(time.perf_counter() - begin)
            return times
        return self.run(trips())

    def fan_in(self, number: int, timeout: float = LIMIT) -> int:
        return self.run(self.afan_in(number, timeout))

    def disconnect(self) -> None:
        if not self._closed:
            self._closed = True
            self.run(self.shut())
            self._runner.close()


# -- what adapters use --------------------------------------------------------------

def script(name: str) -> str:
    """The path of a command that a package has installed beside this Python."""
    path = Path(sys.executable).parent / name
    return str(path) if path.exists() else name


def children(pid: int) -> dict[int, str]:
    """A process and all that descend from it; with the time when each began, since a number
    alone may soon be another one's."""
    found = {}
    stats = {one: stat for one in map(int, filter(str.isdigit, os.listdir('/proc')))
             if (stat := _stat(one))}
    todo = [pid] if pid in stats else []
    while todo:
        one = todo.pop()
        found[one] = stats[one][1]
        todo += [child for child, (parent, _) in stats.items() if parent == one]
    return found


def waited_for_processor(pid: int) -> float:
    """Seconds that a process's main thread was ready to run, and another had the processor."""
    return int(Path(f'/proc/{pid}/task/{pid}/schedstat').read_text().split()[1]) / 1e9


def _stat(pid: int) -> tuple[int, str] | None:
    """The parent of a process, and when it began; None if it is gone."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return None
    return None if fields[0] == 'Z' else (int(fields[1]), fields[19])
