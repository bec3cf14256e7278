"""What a `View` answers: records of plain values, all of whose texts can be printed.

Spans are seconds, moments are seconds since the epoch by the clock of the queue. None is: not
known, or it does not apply.
"""
from __future__ import annotations

import math
from typing import Any, NamedTuple

__all__ = ['Overview', 'Paused', 'Running', 'PoolRow', 'WorkerRow', 'Row', 'Page', 'Failed',
           'Details', 'Death', 'Arguments', 'Work', 'MinuteRow', 'NameRow', 'plain']


class Running(NamedTuple):
    """A task that a worker runs."""

    id: str
    name: str
    seconds: float        #: for how long
    pool: str
    worker: int           #: its number, as in `WorkerRow`


class Paused(NamedTuple):
    """Something that is paused."""

    names: str            #: of tasks, as ``mail.*``; ``*``: the whole queue
    who: str              #: as told; it may be empty
    moment: float         #: when, by the clock of whoever did it


class Overview(NamedTuple):
    """A queue in numbers."""

    queue: str
    url: str                         #: without password
    engine: str                      #: ``'memory'``, ``'sqlite'`` or ``'redis'``
    sizes: dict[str, int]            #: how many tasks are in each state that is no end
    oldest: dict[str, float | None]  #: by priority: for how long the oldest has been ready
    due: float | None                #: in how many seconds the next one is due
    drain: float | None              #: seconds until what is ready is done, at the present pace
    grows: float | None              #: ... or by how many tasks a minute it grows
    ended: dict[str, int]            #: how many ended in the last hour, by the word for how
    totals: dict[str, int]           #: since the queue began: ends, 'redelivered', 'stale'
    pools: int                       #: that are alive ...
    workers: int                     #: ... how many workers they have ...
    busy: int                        #: ... and how many of those run something
    longest: Running | None          #: the task that has run for longest
    paused: tuple[Paused, ...] = ()  #: what is paused, the oldest first

    @property
    def waited(self) -> float | None:
        """For how long the oldest task has been ready, of whatever priority."""
        return max((age for age in self.oldest.values() if age is not None), default=None)


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
    blocked: str = ''         #: which event loop is blocked, by whom and where


class Row(NamedTuple):
    """A task in a list."""

    id: str
    name: str
    state: str
    since: float | None       #: since when it is ready, has been taken, or had ended; else when put
    due: float | None         #: when it is due, if that is later
    pool: str                 #: that has it, or has run it last
    attempt: int              #: from 1


class Page(NamedTuple):
    """Some tasks, and how to ask for more."""

    rows: tuple[Row, ...]
    cursor: str               #: for the next page; empty: there is none


class Failed(NamedTuple):
    """Failures of one name with the same error, but for numbers and what is in quotes."""

    name: str
    state: str                #: ``'failed'`` or ``'expired'``
    error: str                #: in one line; an ellipsis where that of one differs from another's
    origin: str               #: the id of what they failed because of, if that is not told itself
    tasks: int                #: how many they are
    followers: int            #: how many more failed because of one of these
    first: float | None       #: when the first of them failed
    last: float | None
    ids: tuple[str, ...]      #: of all of them, as they are, the newest first


class Death(NamedTuple):
    """A delivery whose worker was lost."""

    moment: float | None
    pool: str                 #: that had it
    text: str                 #: how it died
    progress: dict[str, Any] | None = None   #: how far it had come, as in `Details`


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
    size: int | None = None               #: bytes of its arguments, while they are kept
    arguments: Arguments | None = None    #: ... and what they are
    sources: tuple[str, ...] = ()         #: ... and the ids of the tasks among them, done or not
    deaths: tuple[Death, ...] = ()        #: deliveries that were lost, the last one last
    errors: tuple[str, ...] = ()           #: of earlier attempts
    result: str = ''                       #: the value, as text; nothing was loaded for it
    error: str = ''                        #: of a failure
    traceback: str = ''
    origin: str = ''                       #: the id of the task whose failure, or value, it is
    explain: str = ''                      #: in words
    note: str = ''                         #: what is not known, and why


class Work(NamedTuple):
    """What tasks came to in some time, as pools and the queue have counted; spans are seconds.

    An attempt ends in a value, a failure or another attempt. How long half of them took, or nearly
    all, is known about.
    """

    success: int
    failed: int
    expired: int
    cancelled: int
    retried: int                 #: attempts that failed, and were followed by another
    attempts: int
    run_sum: float               #: what they took together ...
    run_mean: float | None       #: ... and in the mean
    run_median: float | None     #: half of them took this at most ...
    run_95: float | None         #: ... and 95 of 100 this
    wait_mean: float | None      #: for how long they had been ready before a pool took them
    wait_median: float | None
    wait_95: float | None
    slow: str                    #: the id of one of those that took longest ...
    slow_seconds: float | None   #: ... and how long that took


class MinuteRow(NamedTuple):
    """A minute, as far as pools have told of it."""

    at: float                    #: when it began
    sizes: dict[str, int]        #: how many tasks were in each state when pools told last
    work: Work


class NameRow(NamedTuple):
    """The tasks of one name."""

    name: str
    work: Work


def plain(value: Any) -> Any:
    """A record, and what is in it, as dicts, lists, texts and numbers, as JSON has them; None for
    a number that it does not have."""
    if isinstance(value, tuple) and hasattr(value, '_asdict'):
        return {name: plain(part) for name, part in value._asdict().items()}
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
