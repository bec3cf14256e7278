"""What tasks came to lately, by minutes and by names, out of what pools have counted."""
from __future__ import annotations

from typing import Iterable, Sequence

from worq import const
from worq.printable import line
from worq.queue.base import Minute
from worq.queue.reading import wanted
from worq.tally import MINUTE, Tally, quantile
from worq.view.pace import Sample
from worq.view.records import MinuteRow, NameRow, Work

__all__ = ['by_minute', 'by_name', 'ended', 'patterns', 'samples', 'tallies_by_name']


def patterns(name: str) -> list[str]:
    """The names, and beginnings of names, that somebody asks for, with commas in between."""
    return [part for part in map(str.strip, name.split(',')) if part]


def tallies_by_name(minutes: Iterable[Minute], names: Sequence[str] = ()) -> dict[str, Tally]:
    """What there was of each name in all minutes; of those that match, if some are asked for."""
    is_wanted = wanted(names)
    cells: dict[str, list[str]] = {}
    for minute in minutes:
        for name, cell in minute.cells.items():
            if is_wanted(name.encode()):
                cells.setdefault(name, []).append(cell)
    return {name: Tally.read(*parts) for name, parts in cells.items()}


def by_minute(minutes: Iterable[Minute], names: Sequence[str]) -> tuple[MinuteRow, ...]:
    """What there was in each minute, of the names that match."""
    is_wanted = wanted(names)
    return tuple(MinuteRow(
        minute.at / 1000, dict(zip(const.LIVE, minute.sizes)),
        work(Tally.read(*(cell for name, cell in minute.cells.items()
                          if is_wanted(name.encode())))))
        for minute in minutes)


def by_name(minutes: Iterable[Minute], names: Sequence[str]) -> tuple[NameRow, ...]:
    """What there was of each name in all minutes, the one that took most time first."""
    tallies = tallies_by_name(minutes, names)
    order = sorted(tallies, key=lambda name: (-tallies[name].run_seconds, name))
    return tuple(NameRow(line(name), work(tallies[name])) for name in order)


def ended(minutes: Iterable[Minute]) -> dict[str, int]:
    """How many tasks ended, by the word for how."""
    return Tally.read(*(cell for minute in minutes for cell in minute.cells.values())).ended


def samples(minutes: Iterable[Minute], now: int) -> list[Sample]:
    """How many tasks were ready at the ends of the minutes that are over."""
    return [Sample((minute.at + MINUTE) / 1000, minute.sizes[const.LIVE.index(const.ENQUEUED)])
            for minute in minutes if minute.at + MINUTE <= now]


def work(tally: Tally) -> Work:
    """Counts as people read them."""
    attempts, waited = tally.attempts, sum(tally.waits)
    id, seconds = tally.exemplars.get(max(tally.exemplars, default=0), ('', None))
    return Work(
        tally.success, tally.failed, tally.expired, tally.cancelled, tally.retried, attempts,
        tally.run_seconds, tally.mean, quantile(tally.runs, 0.5), quantile(tally.runs, 0.95),
        tally.wait_seconds / waited if waited else None, quantile(tally.waits, 0.5),
        quantile(tally.waits, 0.95), line(id), seconds)
