"""What is known of a task: ``deferred.info()``."""
from __future__ import annotations

from typing import Any, NamedTuple

from worq import const, pools
from worq.printable import line
from worq.queue.base import Inspection, Times

__all__ = ['Info', 'info', 'begun_at']

NOTHING = ('nothing is known of it: it was never put, or its result was ignored, or its '
           'result_timeout is over')
IGNORED = 'nothing will be known of it once it has ended, for its result is ignored'


class Info(NamedTuple):
    """What is known of a task. Nothing of it changes any more once the task has ended.

    Times are seconds since the epoch, by the clock of the queue; None: not yet, or not known.
    """

    id: str
    name: str                #: of the task
    status: str              #: as `Deferred.status`
    put: float | None        #: when it was put
    ready: float | None      #: when it last became ready: its arguments were there, and it was due
    begun: float | None      #: when a worker last began it
    ended: float | None      #: when it ended
    attempt: int             #: the number of the attempt, from 1; 0: not known
    where: str               #: the id of the pool that has it or ran it last, see ``pools()``
    peak: int | None         #: peak memory of its worker process until then, in bytes
    skipped: int             #: how many failed arguments ``on_error='skip'`` has left out
    note: str                #: why nothing is known, or will be; mostly empty


def info(broker: Any, id: str, name: str) -> Info:
    """Ask the queue of `broker` for a task.

    :param name: of the task, should the queue not know it.
    """
    found, = broker.backend.inspect([id])
    if found is None:
        return Info(id, name, const.UNKNOWN, None, None, None, None, 0, '', None, 0, NOTHING)
    header = found.header.partition(b'\n')[0].decode('utf-8', 'replace')
    times = found.times
    return Info(id, line(header) if header else name, found.state, _seconds(times.put),
                _seconds(times.ready), _begun(broker, id, found), _seconds(times.ended),
                times.attempt, found.pool, times.peak or None, times.skipped,
                IGNORED if found.ignored else '')


def _begun(broker: Any, id: str, found: Inspection) -> float | None:
    if found.state != const.PROCESSING:
        return _seconds(found.times.begun)
    # Its pool knows, and tells with its heartbeats.
    told = broker.backend.pools().get(found.pool)
    return begun_at(id, found, pools.read(found.pool, told).running(id) if told else None)


def begun_at(id: str, found: Inspection, worker: pools.Worker | None) -> float | None:
    """When a worker began a task that runs, in seconds since the epoch.

    :param worker: that has it, as its pool has told; None if it has told of none.
    """
    times: Times = found.times
    if worker is None or worker.id != id or found.taken is None:
        return None
    # never before it was taken: a pool counts from when its worker was last heard
    return max(times.taken, times.taken + found.taken - int(worker.seconds * 1000)) / 1000


def _seconds(ms: int) -> float | None:
    return ms / 1000 if ms else None
