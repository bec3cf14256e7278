"""What a `View` answers: records of plain values, all of whose texts can be printed.

Spans are seconds, moments are seconds since the epoch by the clock of the queue. None is: not
known, or it does not apply.
"""
from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ['Overview', 'Running', 'PoolRow', 'WorkerRow', 'Details', 'Arguments', 'plain']


class Running(NamedTuple):
    """A task that a worker runs."""

    id: str
    name: str
    seconds: float        #: for how long
    pool: str
    worker: int           #: its number, as in `WorkerRow`


class Overview(NamedTuple):
    """A queue in numbers."""

    queue: str
    url: str                         #: without password
    engine: str                      #: ``'memory'``, ``'sqlite'`` or ``'redis'``
    sizes: dict[str, int]            #: how many tasks are in each state that is no end
    oldest: dict[str, float | None]  #: by priority: for how long the oldest has been ready
    drain: float | None              #: in how many seconds what is ready will be done, as it goes
    grows: float | None              #: ... or by how many tasks a minute it grows
    totals: dict[str, int]           #: since the queue began: ends, and more of ``stats``
    pools: int                       #: that are alive ...
    workers: int                     #: ... how many workers they have ...
    busy: int                        #: ... and how many of those run something
    longest: Running | None          #: what has run for longest


class WorkerRow(NamedTuple):
    """A worker, as `worq.pools.Worker`."""

    number: int
    state: str
    id: str
    name: str
    seconds: float
    waits_for: str
    behind: tuple[str, ...]


class PoolRow(NamedTuple):
    """A pool, as `worq.pools.Pool`; also one that is silent, as long as it is remembered."""

    id: str
    kind: str
    host: str
    pid: int
    version: str
    seen: float               #: seconds since it was last heard of
    alive: bool               #: whether that is within a minute
    size: int                 #: workers that it is to have
    busy: int                 #: ... of which run something
    stuck: bool               #: whether all of them run what waits for other tasks
    broken: str               #: why none of them could begin
    tasks: tuple[str, ...] | None   #: the names that it can run
    workers: tuple[WorkerRow, ...]


class Arguments(NamedTuple):
    """The arguments of a call, as texts; nothing was loaded for them."""

    args: tuple[str, ...]
    kw: dict[str, str]
    note: str = ''            #: what could not be shown, and why


class Details(NamedTuple):
    """All there is to see of a task."""

    id: str
    name: str = ''
    state: str = ''                        #: a word of ``worq.const.STATES``
    put: float | None = None               #: when that was
    ready: float | None = None             #: ... when its arguments were there and it was due, last
    begun: float | None = None             #: ... when a worker began it, last
    ended: float | None = None
    due: float | None = None               #: seconds until then
    expires: float | None = None           #: seconds until it will be too late to begin
    attempt: int = 0                       #: from 1; 0: not known
    deliveries: int = 0                    #: to a worker, in this attempt
    pool: str = ''                         #: that has it, or has run it last
    worker: int | None = None              #: of that pool, its number
    running: float | None = None           #: for how many seconds it has run
    progress: dict[str, Any] | None = None #: ``done``, ``total``, ``text``: as it told last
    open: int = 0                          #: how many of its arguments it waits for ...
    waits_for: tuple[str, ...] = ()        #: ... some of their ids, or `target`
    target: str = ''                       #: the id of the task which it has returned
    gate: str = ''                         #: the id of the gate that holds it back
    peak: int | None = None                #: bytes of memory that its worker has had, at most
    skipped: int = 0                       #: failed arguments that were left out
    options: tuple[str, ...] = ()          #: lines of its header, as ``retries 3``
    errors: tuple[str, ...] = ()           #: of earlier attempts
    result: str = ''                       #: the value, as text; nothing was loaded for it
    error: str = ''                        #: of a failure
    traceback: str = ''
    origin: str = ''                       #: the id of the task whose failure, or value, it is
    explain: str = ''                      #: in words
    note: str = ''                         #: what is not known, and why


def plain(value: Any) -> Any:
    """A record, and what is in it, as dicts, lists, texts and numbers, as JSON has them."""
    if isinstance(value, tuple) and hasattr(value, '_asdict'):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value
