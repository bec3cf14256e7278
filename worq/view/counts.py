"""What has been counted by the names of tasks, and the sizes of a queue, in one read."""
from __future__ import annotations

from typing import Any, NamedTuple

from worq import const
from worq.printable import line
from worq.queue.base import Totals
from worq.tally import Tally

__all__ = ['Counts', 'counts', 'ends', 'oldest']

ENDED = {const.SUCCESS: 'succeeded', const.FAILED: 'failed', const.EXPIRED: 'expired',
         const.CANCELLED: 'cancelled'}   # what ``stats`` calls them


class Counts(NamedTuple):
    """A queue in numbers that only grow, and its sizes."""

    queue: str
    sizes: dict[str, int]             #: how many tasks are in each state that is no end
    oldest: dict[str, float | None]   #: seconds, by priority
    ended: dict[str, int]             #: all tasks since the queue began, by how they ended
    redelivered: int                  #: how many times a lease was lost
    stale: int                        #: outcomes that came too late
    tallies: dict[str, Tally]         #: by the names of tasks
    now: int                          #: by the queue's clock, in ms since the epoch


def oldest(totals: Totals) -> dict[str, float | None]:
    """For how many seconds the oldest task that is ready has been so, by priority."""
    return {word: None if ms is None else ms / 1000
            for word, ms in zip(const.PRIORITIES, totals.oldest)}


def ends(stats: dict[str, int]) -> dict[str, int]:
    """How many tasks have ended ever, by the word for how."""
    return {word: stats[name] for word, name in ENDED.items()}


def counts(broker: Any) -> Counts:
    """The numbers of a broker's queue."""
    found = broker.backend.totals()
    stats = found.stats
    return Counts(
        line(broker.name), {state: stats[state] for state in const.LIVE},
        oldest(found), ends(stats), stats['redelivered'], stats['stale'],
        {line(name): Tally.read(cell) for name, cell in found.cells.items()},
        found.now)
