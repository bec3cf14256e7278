"""What the tasks of one name came to, and how long that took: counts that can be added.

As a text, a *cell*, they cross the contract of a task queue and are stored: tokens with spaces in
between, in any order. A token ``KEY:NUMBER`` is a count, and a cell that is added to another adds
to it; ``KEY=TEXT`` takes the place of one that was there. Whoever adds need not know what a key
means, so new ones may come. A key never changes its meaning, and neither do the bounds::

    v f x c   how many succeeded, failed, expired, were cancelled
    r d       attempts that are followed by another one, and those that returned a Deferred
    t a0..    the time that attempts took: microseconds in all, how many in each bucket
    u b0..    the time that they had been ready before a pool took them: ms, how many in each
    e0..      one attempt of that bucket: its microseconds, a comma, the id of its task

Bucket n has what took up to ``BOUNDS[n]`` ms, and more than the bound before; the last one has no
bound. Redis adds cells in Lua, see ``prelude/9_cells.lua``; one file of examples holds both to
the same answers.
"""
from __future__ import annotations

from bisect import bisect_left
import re
from typing import Iterable, Mapping, NamedTuple, Sequence

__all__ = ['BOUNDS', 'MINUTE', 'OTHER', 'Tally', 'bucket', 'mean', 'merged', 'quantile', 'tokens',
           'with_ends']

#: ms: 27 of them from a millisecond to an hour, each nearly 1.8 times the one before.
BOUNDS = (1, 2, 3, 6, 10, 18, 30, 60, 100, 180, 300, 600, 1_000, 1_800, 3_000, 6_000, 10_000,
          18_000, 30_000, 60_000, 100_000, 180_000, 300_000, 600_000, 1_000_000, 1_800_000,
          3_600_000)
BUCKETS = len(BOUNDS) + 1
OTHER = '_other'   #: the name of all tasks for whose names there is no room
MINUTE = 60_000    #: ms: each has cells of its own
LONGEST = 16_384   # bytes of a cell that is one of ours

TOKEN = re.compile(r'(?<!\S)([a-z][0-9]*)(?::([0-9]{1,18})|=(\S+))(?!\S)')
ENDED = 'success', 'failed', 'expired', 'cancelled'   # as in ``const.ENDS``


def bucket(ms: float) -> int:
    """In which bucket a time is counted."""
    return bisect_left(BOUNDS, ms)


def tokens(*cells: str) -> dict[str, int | str]:
    """The tokens of these cells added up, by their keys; what is none is left out."""
    sums: dict[str, int | str] = {}
    for cell in cells:
        for key, number, text in TOKEN.findall(cell[:LONGEST]):
            value, old = int(number) if number else text, sums.get(key)
            sums[key] = old + value if isinstance(old, int) and isinstance(value, int) else value
    return sums


def merged(*cells: str) -> str:
    """These cells added up."""
    return ' '.join(f'{key}:{value}' if isinstance(value, int) else f'{key}={value}'
                    for key, value in tokens(*cells).items())


def with_ends(cells: Mapping[str, str], ends: Mapping[str, int | str]) -> dict[str, str]:
    """Cells by name, with what a queue itself has counted since.

    :param ends: counts, by the key of their token and the name together. What is none is left out.
    """
    found = dict(cells)
    for what, count in ends.items():
        key, name = what[:1], what[1:]
        if key:
            found[name] = merged(found.get(name, ''), f'{key}:{count}')
    return found


class Tally(NamedTuple):
    """What tasks of one name came to. To be read: pools count by `worq.pool.tally`."""

    success: int = 0
    failed: int = 0
    expired: int = 0
    cancelled: int = 0
    retried: int = 0            #: attempts that failed, and were followed by another
    runs: tuple[int, ...] = (0,) * BUCKETS      #: attempts by how long they took
    run_seconds: float = 0.0                    #: what they took together
    waits: tuple[int, ...] = (0,) * BUCKETS     #: ... by how long they had been ready before
    wait_seconds: float = 0.0                   #: ... together
    exemplars: dict[int, tuple[str, float]] = {}   #: by bucket of `runs`: a task, its seconds

    @classmethod
    def read(cls, *cells: str) -> Tally:
        """The sum of these cells."""
        found = tokens(*cells)

        def number(key: str) -> int:
            value = found.get(key, 0)
            return value if isinstance(value, int) else 0

        exemplars = {}
        for n in range(BUCKETS):
            micros, comma, id = str(found.get(f'e{n}', '')).partition(',')
            if comma and micros.isdecimal() and len(micros) < 18:
                exemplars[n] = id, int(micros) / 1e6
        return cls(number('v'), number('f'), number('x'), number('c'), number('r'),
                   tuple(number(f'a{n}') for n in range(BUCKETS)), number('t') / 1e6,
                   tuple(number(f'b{n}') for n in range(BUCKETS)), number('u') / 1e3, exemplars)

    @property
    def ended(self) -> dict[str, int]:
        """How many ended, by the word for how."""
        return dict(zip(ENDED, self[:4]))

    @property
    def attempts(self) -> int:
        """How many attempts came to something."""
        return sum(self.runs)

    @property
    def mean(self) -> float | None:
        """Seconds that an attempt took in the mean; None if there was none."""
        return mean([self])


def mean(tallies: Iterable[Tally]) -> float | None:
    """Seconds that an attempt took in the mean; None if there was none."""
    attempts, seconds = 0, 0.0
    for tally in tallies:
        attempts += tally.attempts
        seconds += tally.run_seconds
    return seconds / attempts if attempts else None


def quantile(counts: Sequence[int], part: float) -> float | None:
    """About how many seconds a part of all took at most, as 0.95; None if there are none.

    Within a bucket they count as evenly spread; the last one has but its lower bound.
    """
    rank = part * sum(counts)
    if not rank:
        return None
    below = 0
    for n, count in enumerate(counts):
        if count and below + count >= rank:
            low = BOUNDS[n - 1] if n else 0
            high = BOUNDS[n] if n < len(BOUNDS) else low
            return (low + (high - low) * (rank - below) / count) / 1e3
        below += count
    return BOUNDS[-1] / 1e3
