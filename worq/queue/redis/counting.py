"""What tasks came to, counted by their names, on Redis. A cell is added to another by a script."""
from __future__ import annotations

from typing import Any, Mapping, Sequence

from worq import const
from worq.queue import counting
from worq.queue.records import Minute, Recent, Totals
from worq.queue.redis.encoding import text
from worq.queue.validation import check_minutes, check_tally
from worq.tally import MINUTE, with_ends

__all__ = ['Counting']

PAGES = 20   # minutes in one step


class Counting(counting.Counting):
    """The verbs of counting, for a class that can run scripts."""

    def _run(self, verb: str, *argv: Any, again: bool = True, durable: bool = False) -> Any:
        raise NotImplementedError

    def tally(self, pool: str, number: int, cells: Mapping[str, str],
              recent: Sequence[Recent] = ()) -> None:
        check_tally(number, cells, recent)
        flat = [part for item in cells.items() for part in item]
        for id, nonce, name, ended, _ in recent:
            flat += [id, nonce, name, str(ended)]
        self._run('tally', pool, number, len(cells), *flat)

    def minutes(self, last: int = 60) -> list[Minute]:
        check_minutes(last)
        found: list[Minute] = []
        left = min(last, const.MINUTES)
        since = 1 - left   # of the current one; then that is known
        while left > 0:
            now, *pages = self._run('minutes', since, min(left, PAGES))
            since = (now + since if since <= 0 else since) + PAGES
            left -= PAGES
            found += [minute(*page) for page in pages]
        return found

    def totals(self) -> Totals:
        now, stats, ages, flat, ends = self._run('totals')
        return Totals(now, dict(zip(map(text, stats[::2]), stats[1::2])),
                      [None if age < 0 else age for age in ages],
                      with_ends(pairs(flat), pairs(ends)))


def pairs(flat: Sequence[bytes]) -> dict[str, str]:
    """A hash, as it is answered."""
    return {text(name): text(value) for name, value in zip(flat[::2], flat[1::2])}


def minute(at: int, flat: Sequence[bytes], ends: Sequence[bytes]) -> Minute:
    """A page as a script answers it."""
    cells = pairs(flat)
    told = cells.pop('', '').split()
    sizes = [int(size) if size.isdecimal() else 0 for size in [*told, '', '', '', '']][:4]
    cells = with_ends({name[1:]: cell for name, cell in cells.items()}, pairs(ends))
    return Minute(at * MINUTE, cells, (sizes[0], sizes[1], sizes[2], sizes[3]))
