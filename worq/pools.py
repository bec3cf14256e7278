"""The pools of a queue, and what their workers do, as pools tell it and others read it."""
from __future__ import annotations

import json
import time
from typing import Iterable, Mapping, NamedTuple

from worq import const
from worq.printable import line

__all__ = ['Pool', 'Worker', 'engine', 'known', 'live', 'read', 'told']

STARTING, IDLE, RUNNING, WAITING = STATES = 'starting', 'idle', 'running', 'waiting'

BYTES = 32 << 10   # of what a pool tells of its workers; those that do nothing come last
BEHIND = 100       # tasks that wait behind the one that a worker runs, that are told of


class Worker(NamedTuple):
    """What a worker of a pool does: a thread, or a child process."""

    number: int                   #: of the thread, or the process id of the child
    #: ``'starting'``, ``'idle'``, ``'running'``; or ``'waiting'``: its task waits for another one,
    #: for example by ``.result()``, so the worker can do nothing else.
    state: str
    id: str = ''                  #: of the task that it runs
    name: str = ''                #: ... and its name
    seconds: float = 0.0          #: for how long it has done so
    waits_for: str = ''           #: the id of the task that this one waits for
    behind: tuple[str, ...] = ()  #: the ids of the tasks that it will run next

    @property
    def since(self) -> float:
        """When it began the task, in seconds since the epoch by the clock of this machine."""
        return time.time() - self.seconds


class Pool(NamedTuple):
    """A pool, as ``broker.pools()`` tells of it. What it has not told is empty, or 0."""

    id: str
    kind: str                     #: ``'thread'``, ``'process'`` or ``'aio'``
    host: str
    pid: int
    engine: str                   #: of the queue that it works on, as ``'redis'``
    version: str                  #: of WorQ
    seen: float                   #: seconds since it was last heard of
    size: int                     #: how many workers it is to have
    workers: tuple[Worker, ...]   #: of many those that do something, and some of the others
    tasks: tuple[str, ...] | None  #: the names of the tasks that it can run; None: not told (yet)
    broken: str                   #: why none of its workers could begin, as long as that is so
    blocked: str = ''             #: which event loop is blocked, by whom and where, if one is

    @property
    def alive(self) -> bool:
        """Whether it was heard of within a minute."""
        return self.seen * 1000 <= const.SILENT

    @property
    def starting(self) -> bool:
        """Whether none of its workers is ready yet."""
        return not self.broken and bool(self.workers) \
            and all(worker.state == STARTING for worker in self.workers)

    @property
    def stuck(self) -> bool:
        """Whether all of its workers run tasks that wait for others."""
        return 0 < self.size <= len(self.workers) \
            and all(worker.state == WAITING for worker in self.workers)

    def running(self, id: str) -> Worker | None:
        """The worker that runs this task, or before which it is to be run."""
        return next((worker for worker in self.workers
                     if id == worker.id or id in worker.behind), None)


def told(workers: Iterable[Worker]) -> str:
    """What a pool tells of its workers, as text."""
    texts: list[str] = []
    size = 0
    order = [WAITING, RUNNING, STARTING, IDLE]
    for worker in sorted(workers, key=lambda worker: (order.index(worker.state), worker.number)):
        number, state, id, name, seconds, waits_for, behind = worker
        fields = [number, STATES.index(state)]
        more = [id, name, int(seconds * 1000), waits_for, *behind[:BEHIND]] if id else []
        text = json.dumps([*fields, *more], separators=(',', ':'))
        size += len(text) + 1
        if size > BYTES:
            break
        texts.append(text)
    return f'[{",".join(texts)}]' if texts else ''


def _read_workers(text: str, seen: int) -> tuple[Worker, ...]:
    """What was told, so many ms ago; nothing if it makes no sense."""
    try:
        workers = []
        for number, state, *more in json.loads(text):
            if not more:
                workers.append(Worker(int(number), STATES[state]))
                continue
            id, name, ms, waits_for, *behind = more
            workers.append(Worker(int(number), STATES[state], str(id), line(name),
                                  (int(ms) + seen) / 1000, str(waits_for),
                                  tuple(map(str, behind))))
        return tuple(workers)
    except (ValueError, TypeError, IndexError):   # others have written it
        return ()


def read(id: str, info: Mapping[str, str], url: str = '') -> Pool:
    """A pool of what the queue knows of it, see ``TaskQueue.pools``."""
    def number(word: str) -> int:
        text = info.get(word, '')
        return int(text) if text.isdecimal() and len(text) < 19 else 0
    seen = number('seen')
    names = info.get('tasks')
    return Pool(
        line(id), line(info.get('kind', '')), line(info.get('host', '')), number('pid'),
        engine(url), line(info.get('version', '')), seen / 1000,
        number('size'), _read_workers(info.get('workers', '') or '[]', seen),
        None if names is None else tuple(names.split('\n')), info.get('broken', ''),
        line(info.get('blocked', '')))


def engine(url: str) -> str:
    """The word for the engine of the queue of this url, as ``'redis'``."""
    word = url.partition(':')[0].partition('+')[0]
    return 'redis' if word in ('rediss', 'unix') else word


def known(found: Mapping[str, Mapping[str, str]], url: str = '') -> list[Pool]:
    """The pools that a queue knows, also those that have been silent for long."""
    return [read(id, info, url) for id, info in found.items()]


def live(found: Mapping[str, Mapping[str, str]], url: str = '') -> list[Pool]:
    """Those that are alive."""
    return [pool for pool in known(found, url) if pool.alive]
