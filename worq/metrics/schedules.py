"""Schedules, of which each scrape reads a part."""
from __future__ import annotations

from collections import Counter
from typing import Any

from worq import const
from worq.printable import line
from worq.schedules.record import NUMBER, PREFIX
from worq.schedules.table import Schedule, shown
from worq.tally import OTHER

__all__ = ['NAMED', 'Glance', 'add_schedules']

NAMED = 200   # schedules that have labels of their own, the first by name
STATES = 'active', 'paused', 'orphaned', 'broken'
#: The register that changes with each of them comes right after theirs, and tells where they end.
ALL = 'schedule'
assert PREFIX.startswith(ALL) and NUMBER.startswith(ALL) and NUMBER > PREFIX


class Glance:
    """The schedules of a queue as they were seen last.

    A look is one read, however many there are. Up to a hundred are as they stand; of a thousand
    each was seen in one of the last ten looks or so.

    :param broker: the `Broker` of the queue.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker
        self._seen: dict[str, Schedule] = {}   # by the names of their registers
        self._after = ''                       # the last register that was read; '': all were

    def look(self, now: int) -> list[Schedule]:
        """Read the next of them; all that are known, by their names.

        :param now: ms by the queue's clock.
        :raises QueueError: if the queue is away.
        """
        page = self._broker.backend.notes(ALL, self._after, const.NOTES_PAGE)
        more = bool(page) and page[-1][0] < NUMBER
        found = {name: value for name, value in page if name.startswith(PREFIX)}
        for name in list(self._seen):
            if self._after < name and (not more or name <= page[-1][0]):
                del self._seen[name]   # it is among those, or forgotten
        for name, value in found.items():
            self._seen[name] = shown(self._broker.codec, name.removeprefix(PREFIX), value, now)
        self._after = page[-1][0] if more else ''
        return [self._seen[name] for name in sorted(self._seen)]


def add_schedules(queue: str, known: list[Schedule], found: dict[str, Any]) -> None:
    """What became of their slots; of those without labels only how late the latest one is."""
    states = Counter(state(one) for one in known)
    for word in STATES:
        found['schedules'].add_metric([queue, word], states[word])
    known = sorted(known, key=lambda one: one.name == OTHER)   # a label that others have, too
    for one in known[:NAMED]:
        labels = [queue, line(one.name)]
        found['schedule_lag_seconds'].add_metric(labels, one.late)
        for word in 'fired', 'missed', 'skipped':
            found[f'schedule_{word}'].add_metric(labels, getattr(one, word))
    if known[NAMED:]:
        late = max(one.late for one in known[NAMED:])
        found['schedule_lag_seconds'].add_metric([queue, OTHER], late)


def state(one: Schedule) -> str:
    """Why it would not run; or 'active'."""
    if one.problem:
        return 'broken'
    return 'paused' if one.paused else 'orphaned' if one.orphaned else 'active'
