"""How many workers a queue could do with: by the time that its tasks take, not by their number."""
from __future__ import annotations

import math
from typing import Any, NamedTuple

from worq import const
from worq.tally import Tally, mean
from worq.view.lately import tallies_by_name

__all__ = ['Scale', 'scale']

MINUTES = 10      # whose run times tell how long tasks take
LOOK = 200        # tasks that are ready, whose names stand for those of all
SOON = 60.0       # seconds; what is due until then counts, too
UNKNOWN = 1.0     # seconds of a task, while nothing is known of any


class Scale(NamedTuple):
    """What there is to do, and for how many."""

    queue: str
    wanted: int           #: workers, to do it in `target` seconds
    work_seconds: float   #: of a single worker
    target: float
    ready: int            #: tasks that are ready ...
    soon: int             #: ... or due within a minute, as far as was looked
    running: int


def scale(broker: Any, target: float = 60.0) -> Scale:
    """How many workers would do what is ready, is due soon, and runs, in about `target` seconds.

    An hour of work asks for as many as it takes, be it one task or a thousand. Each task counts as
    the mean of its name in the last minutes; what runs counts whole, since nobody knows how much is
    left of it. Of a long queue the names of the first tasks stand for all.
    """
    target = const.check_span('target', target, above=True)
    backend = broker.backend
    totals = backend.totals()
    lately = tallies_by_name(backend.minutes(MINUTES))
    usual = mean(lately.values()) or mean(map(Tally.read, totals.cells.values())) or UNKNOWN

    def seconds(name: str) -> float:
        known = lately.get(name, Tally()).mean or Tally.read(totals.cells.get(name, '')).mean
        return usual if known is None else known

    ready, running = totals.stats[const.ENQUEUED], totals.stats[const.PROCESSING]
    first, _ = backend.scan(const.ENQUEUED, count=LOOK)
    work = ready * sum(seconds(row.name) for row in first) / len(first) if first else ready * usual
    due, _ = backend.scan(const.SCHEDULED, count=LOOK)
    soon = [row for row in due if row.due <= totals.now + SOON * 1000]
    runs, _ = backend.scan(const.PROCESSING, count=LOOK)
    held = [seconds(row.name) for row in runs]
    work += sum(seconds(row.name) for row in soon)
    work += running * sum(held) / len(held) if held else running * usual
    return Scale(broker.name, math.ceil(work / target), round(work, 3), target, ready, len(soon),
                 running)
