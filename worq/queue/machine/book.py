"""What tasks came to, counted by their names: minute by minute, and ever."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from worq import const
from worq.queue.records import Minute, Recent
from worq.tally import MINUTE, OTHER, merged, with_ends

__all__ = ['Book', 'EVER', 'enter', 'minutes', 'named']

EVER = -1           # in the place of a minute
INVENTED = const.TALLIED // 2   # names, beyond which the queue enters no more by itself

Cells = dict[str, str]
Sizes = tuple[int, int, int, int]


class Book:
    """Pages of cells, one for each minute and one for ever. Over rows it is another class."""

    def __init__(self) -> None:
        self.pages: dict[int, Cells] = {EVER: {}}
        self.sizes: dict[int, Sizes] = {}
        self._numbers: dict[str, tuple[int, int]] = {}   # that a pool told last, and when
        self._recent: deque[Recent] = deque(maxlen=const.RECENT)
        self._noted = 0     # when the last of them was told

    def names(self) -> Mapping[str, str] | set[str]:
        """Those that are entered."""
        return self.pages[EVER]

    def told(self, pool: str) -> int:
        """The number that a pool has told last; 0: none."""
        return self._numbers.get(pool, (0, 0))[0]

    def tell(self, pool: str, number: int, now: int) -> None:
        """A pool has told this. What others told long ago is forgotten."""
        self._numbers.pop(pool, None)
        self._numbers[pool] = number, now
        for other, (_, when) in list(self._numbers.items()):   # the longest silent first
            if now - when < const.POOL_TTL * 1_000:
                break
            del self._numbers[other]

    def add(self, at: int, cells: Mapping[str, str]) -> None:
        """Add cells to those of a page."""
        page = self.pages.setdefault(at, {})
        for name, cell in cells.items():
            page[name] = merged(page.get(name, ''), cell)

    def close_minute(self, at: int, sizes: Sizes) -> None:
        """The sizes of the queue, for now the last of this minute; and minutes end."""
        self.sizes[at] = sizes
        for old in [old for old in self.sizes if old <= at - const.MINUTES]:
            del self.sizes[old]
            self.pages.pop(old, None)

    def read(self, since: int) -> list[tuple[int, Cells, Sizes]]:
        """The minutes that are kept, from one on, in their order."""
        return [(at, dict(self.pages.get(at, {})), self.sizes[at])
                for at in sorted(self.sizes) if at >= since]

    def ever(self) -> Cells:
        """The page for ever."""
        return dict(self.pages[EVER])

    def note(self, entries: Iterable[Recent], now: int) -> None:
        """These have succeeded lately."""
        if now - self._noted >= const.MINUTES * MINUTE:
            self._recent.clear()
        self._recent.extend(entries)
        self._noted = now

    def recent(self, now: int) -> list[Recent]:
        """What has succeeded lately, the last one first."""
        return [*reversed(self._recent)] if now - self._noted < const.MINUTES * MINUTE else []


def named(book: Book, name: str, most: int, more: int = 0) -> str:
    """The name as it is entered: itself, or that of all others."""
    names = book.names()
    return name if name and (name in names or len(names) + more < most) else OTHER


def end_key(book: Book, ends: Mapping[str, int], letter: str, name: str) -> str:
    """Under which key the queue counts an end of its own until the next pool tells something."""
    key = letter + name
    return key if key in ends else letter + named(book, name, INVENTED, len(ends))


def enter(book: Book, now: int, sizes: Sizes, ends: Mapping[str, int], pool: str, number: int,
          cells: Mapping[str, str], recent: Sequence[Recent]) -> bool:
    """Do a ``tally``; whether it was new."""
    if number <= book.told(pool):
        return False
    book.tell(pool, number, now)
    at = now // MINUTE
    for name, cell in [*cells.items(), *with_ends({}, ends).items()]:
        one = {named(book, name, const.TALLIED): cell}
        book.add(EVER, one)
        book.add(at, one)
    book.close_minute(at, sizes)
    if recent:
        book.note([one._replace(ended=now - one.ended, pool=pool) for one in recent], now)
    return True


def minutes(book: Book, now: int, ends: Mapping[str, int], last: int) -> list[Minute]:
    """What ``minutes`` answers. What has not been entered yet belongs to the current minute."""
    at = now // MINUTE
    found = book.read(at - min(last, const.MINUTES) + 1)
    return [Minute(when * MINUTE, with_ends(cells, ends) if when == at else cells, sizes)
            for when, cells, sizes in found]
