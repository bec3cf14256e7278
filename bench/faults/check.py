"""Reads the journals of a run and counts what went wrong, if anything did.

=========== ======================================================================
figure      counts
=========== ======================================================================
lost        acknowledged tasks of which nobody was told an outcome, or only that the
            queue does not know them; one that is told to have failed is not lost
hung        of these, the ones whose waiter was told nothing at all
ghost       runs of tasks that nobody put, and results that no run has made
double      tasks of which two different results were seen, by whoever
duplicates  runs beyond the first
reruns      of these, the ones of tasks that had ended before
early       runs of tasks that began before one of their arguments had ended
expired     tasks that failed since they lost their workers too often
unfair      of these, the ones that were begun less often than they may be
failed      tasks that failed otherwise (dependents of failed ones, too)
displaced   by how many places a task that stands alone and ran once started out of the
            order in which they were put; the greatest
recovery    seconds from the death of a worker until what it was running runs again ...
again       ... and the same for tasks that had lost a worker before, which have to pause
told        seconds from the end of the run to its waiter's being told; the greatest
waited      seconds from the put to the waiter's being told; the greatest
after       seconds from the put, or from the last fault if that was later, to the same
=========== ======================================================================
"""
from __future__ import annotations

from collections import defaultdict
from typing import Any, Iterable, Sequence

from bench.faults import journal
from bench.faults.journal import Entry

__all__ = ['check', 'quantiles', 'recoveries', 'begun_by', 'UNKNOWN']

#: What a waiter is told of a task that the queue does not know.
UNKNOWN = 'task expired before a result was returned'
SLACK = 0.05     # seconds: a kill is written down just before it happens


class Facts:
    """Entries, sorted out by task."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.by_event: dict[str, list[Entry]] = defaultdict(list)
        for entry in entries:
            self.by_event[entry.event].append(entry)
        self.tried = {e.key: e.detail.split() for e in self[journal.TRY]}
        self.acknowledged = {e.key: e.time for e in self[journal.PUT]}
        self.begins = self._by_key(journal.BEGIN)
        self.ends = self._by_key(journal.END)
        self.ended = {e.detail: e.time for e in self[journal.END]}    # by run
        self.failed = {e.key: e.detail for e in self[journal.FAILED]}

    def __getitem__(self, event: str) -> list[Entry]:
        return self.by_event[event]

    def _by_key(self, event: str) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = defaultdict(list)
        for entry in self[event]:
            found[entry.key].append(entry)
        return found

    def cut(self, key: str) -> list[Entry]:
        """The runs of a task that have begun and not ended."""
        return [e for e in self.begins.get(key, []) if e.detail not in self.ended]


def check(entries: Sequence[Entry], max_deliveries: int = 3) -> dict[str, Any]:
    """The figures of a run, see above.

    :param max_deliveries: how often a task may be begun before it expires.
    """
    facts = Facts(entries)
    results = {e.key for e in facts[journal.RESULT]}
    unknown = {key for key, text in facts.failed.items() if UNKNOWN in text}
    lost = set(facts.acknowledged) - results - (set(facts.failed) - unknown)
    expired = {key for key, text in facts.failed.items()
               if text.startswith('TaskExpired') and f':{key}]' in text and key not in unknown}
    extra = [e for key in facts.begins for e in facts.begins[key][1:]]
    recovered, again = recoveries(facts)
    return {
        'tried': len(facts.tried),
        'put': len(facts.acknowledged),
        'unsure': len(facts[journal.UNSURE]),
        'results': len(results),
        'expired': len(expired),
        'unfair': sum(len(facts.begins.get(key, [])) < max_deliveries for key in expired),
        'failed': len(set(facts.failed) - expired - unknown),
        'lost': len(lost),
        'hung': len(lost - set(facts.failed)),
        'ghost': ghosts(facts),
        'double': doubles(facts),
        'duplicates': len(extra),
        'reruns': sum(any(e.time < again.time for e in facts.ends.get(again.key, []))
                      for again in extra),
        'early': early(facts),
        'displaced': displaced(facts),
        'faults': len(facts[journal.KILL]) + len(facts[journal.FAULT]),
        'in flight': sum(len(facts.cut(key)) for key in facts.begins),
        'recovery': quantiles(recovered),
        'again': quantiles(again),
        'told': round(max((e.time - facts.ended[e.detail] for e in facts[journal.RESULT]
                           if e.detail in facts.ended), default=0.0), 3),
        'waited': waited(facts),
        'after': waited(facts, max(
            (e.time for event in (journal.FAULT, journal.HEALED, journal.KILL)
             for e in facts[event]), default=0.0)),
        'slowest put': slowest_put(facts),
    }


def ghosts(facts: Facts) -> int:
    runs = {(e.key, e.detail) for e in facts[journal.BEGIN]}
    return sum(e.key not in facts.tried for e in facts[journal.BEGIN]) \
        + sum((e.key, e.detail) not in runs
              for event in (journal.RESULT, journal.SEEN) for e in facts[event])


def doubles(facts: Facts) -> int:
    seen: dict[str, set[str]] = defaultdict(set)
    for event in (journal.RESULT, journal.SEEN):
        for entry in facts[event]:
            seen[entry.key].add(entry.detail)
    return sum(len(runs) > 1 for runs in seen.values())


def early(facts: Facts) -> int:
    count = 0
    for key, begins in facts.begins.items():
        ends = [min((e.time for e in facts.ends.get(source, [])), default=float('inf'))
                for source in facts.tried.get(key, [])]
        count += sum(begin.time < max(ends) for begin in begins if ends)
    return count


def displaced(facts: Facts) -> int:
    alone = [key for key, sources in facts.tried.items()
             if not sources and key in facts.acknowledged and len(facts.begins.get(key, [])) == 1]
    order = sorted(alone, key=lambda key: facts.begins[key][0].time)
    places = {key: place for place, key in enumerate(order)}
    return max((places[key] - place for place, key in enumerate(alone)), default=0)


def recoveries(facts: Facts) -> tuple[list[float], list[float]]:
    """Seconds from the death of a worker until the task that it was running runs again.

    Those of the first death, after which it is to run at once, and those of further ones.
    """
    deaths: dict[int, list[float]] = defaultdict(list)
    for entry in facts[journal.KILL]:
        for pid in [entry.key, *entry.detail.split()[1:]]:
            deaths[int(pid)].append(entry.time)
    first: list[float] = []
    further: list[float] = []
    for key, begins in facts.begins.items():
        found = first
        for begin, again in zip(begins, begins[1:]):
            moments = [t for t in deaths[begin.pid] if t > begin.time - SLACK]
            if begin.detail not in facts.ended and moments:
                found.append(max(0.0, again.time - min(moments)))
                found = further
    return first, further


def waited(facts: Facts, since: float = 0.0) -> float:
    """Seconds that somebody waited at most, not counting those before `since`."""
    return round(max((e.time - max(since, facts.acknowledged[e.key])
                      for event in (journal.RESULT, journal.FAILED) for e in facts[event]
                      if e.key in facts.acknowledged and e.time > since), default=0.0), 3)


def slowest_put(facts: Facts) -> float:
    """Seconds that the slowest call of a producer took, well or ill."""
    begun = {e.key: e.time for e in facts[journal.TRY]}
    return round(max((e.time - begun[e.key] for event in (journal.PUT, journal.UNSURE)
                      for e in facts[event]), default=0.0), 3)


def begun_by(entries: Iterable[Entry], pids: Iterable[int]) -> list[Entry]:
    """The runs that these processes have begun."""
    wanted = set(pids)
    return [e for e in entries if e.event == journal.BEGIN and e.pid in wanted]


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """How many there are, the middle one, the one that 99 of 100 do not exceed, the greatest."""
    ordered = sorted(values)
    if not ordered:
        return {'n': 0}
    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 4)
    return {'n': len(ordered), 'p50': at(0.5), 'p99': at(0.99), 'max': round(ordered[-1], 4)}
