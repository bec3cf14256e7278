"""The tasks of the fault runs: plain functions, which any queue can run, and WorQ's init."""
from __future__ import annotations

import ctypes
import os
import resource
import signal
import time
from typing import Any, Iterator

from bench.faults import journal
from bench.faults.journal import Journal
from worq import Broker, TaskSpace, get_broker

__all__ = ['space', 'work', 'init', 'FOLDER']

FOLDER = 'WORQ_FAULTS_FOLDER'   # environment: where the journals are
BALLAST = 1 << 30               # bytes that a hungry task may have beyond what there is

space = TaskSpace()
_journal: Journal | None = None


def write(event: str, key: str = '', detail: object = '') -> None:
    """Add a line to this process's journal."""
    global _journal
    if _journal is None:
        _journal = Journal(os.environ[FOLDER])
    _journal.write(event, key, detail)


def parts(value: Any) -> Iterator[tuple[str, str]]:
    """The results of tasks, wherever they are in an argument."""
    if isinstance(value, dict):
        yield value['key'], value['run']
    elif isinstance(value, list | tuple):
        for item in value:
            yield from parts(item)


@space.task
def work(key: str, seconds: float, arguments: Any = (), busy: bool = False) -> dict[str, str]:
    """Take some time and return which run of which task this was.

    :param arguments: results of other tasks, nested in any way.
    :param busy: compute all the time, rather than sleep.
    """
    run = journal.new_run()
    write(journal.BEGIN, key, run)
    for other, made_by in parts(arguments):
        write(journal.SEEN, other, made_by)
    limit = time.monotonic() + seconds
    if busy:
        while time.monotonic() < limit:
            pass
    else:
        time.sleep(seconds)
    write(journal.END, key, run)
    return {'key': key, 'run': run}


@space.task
def same(value: Any, after: Any = None) -> Any:
    return value


@space.task
def count(values: list[Any]) -> int:
    return len(values)


@space.task
def add(one: int, other: int) -> int:
    return one + other


@space.task
def fail() -> None:
    raise ValueError('on purpose')


@space.task
def moment() -> float:
    """When it begins, in seconds of the monotonic clock."""
    return time.monotonic()


# -- poison ------------------------------------------------------------------------

@space.task
def segfault(key: str) -> None:
    write(journal.BEGIN, key)
    ctypes.string_at(0)


@space.task
def leave(key: str) -> None:
    write(journal.BEGIN, key)
    os._exit(3)


@space.task
def abort(key: str) -> None:
    """What a library does that finds its memory damaged, or has none left."""
    write(journal.BEGIN, key)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.abort()


@space.task
def killed(key: str) -> None:
    """What the kernel does to a process when the machine has no memory left."""
    write(journal.BEGIN, key)
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()


@space.task
def hungry(key: str) -> None:
    """Ask for memory until there is none, as far as this process is allowed."""
    write(journal.BEGIN, key)
    with open('/proc/self/statm') as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + BALLAST, before[1]))
    try:
        hoard = []
        while True:
            hoard.append(bytearray(BALLAST // 8))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@space.task
def endless(key: str) -> None:
    """Deaf to polite signals and to exceptions, and keeps the interpreter busy."""
    write(journal.BEGIN, key)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while True:
        try:
            while True:
                pass
        except BaseException:
            pass


def expose(url: str, name: str) -> Broker:
    """A broker that runs these tasks."""
    broker = get_broker(url, name)
    broker.expose(space)
    return broker


def init(url: str, name: str) -> Broker:
    """The broker of a child."""
    broker = expose(url, name)
    write(journal.READY, detail=os.getppid())
    return broker
