"""Pages of the tasks that are in a state, for people; see ``scan`` in ``worq.queue.base``."""
from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Reversible, Sequence
from functools import partial
from heapq import heappop
from itertools import chain, islice
from operator import attrgetter
from typing import NamedTuple, Protocol

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED, SUCCESS
from worq.queue.base import GATE, Row
from worq.queue.machine.graph import Graph
from worq.queue.machine.inspection import status
from worq.queue.machine.life import Life
from worq.queue.reading import wanted

__all__ = ['Scans', 'Seen', 'row', 'stands']

KEPT = 4          # scans that may go on at a time ...
UNUSED = 60_000   # ms: ... if they do so in time
FIRST = 60        # steps for which no copy is made
CURSOR = re.compile(r'(\d{1,15}):(\d{1,15})')


class Seen(NamedTuple):
    """What a page tells of a task, or is told by; each as in `Life`."""

    id: str
    nonce: str
    name: bytes
    flags: int
    state: str
    late: int
    target: object
    due: int
    owner: str | None
    tries: int
    put: int
    ready: int
    taken: int
    over: int
    expires: int


FIELDS = attrgetter(*Seen._fields)   # of a Life


class Ordered(Protocol):
    """Lives in their order, as far as they are asked for."""

    def __getitem__(self, part: slice) -> list[Life]:
        """Those of some places."""


class Scan(NamedTuple):
    """One that goes on."""

    state: str
    newest: bool
    lives: Ordered


class ByDue:
    """What is scheduled: a copy of a heap, sorted as far as is asked."""

    def __init__(self, heap: list[tuple[int, str, int, Life]]) -> None:
        self.heap = heap
        self.first: list[Life] = []

    def __getitem__(self, part: slice) -> list[Life]:
        while self.heap and len(self.first) < part.stop:
            life = heappop(self.heap)[3]
            if not self.first or self.first[-1] is not life:   # it was entered twice for a moment
                self.first.append(life)
        return self.first[part]


class Standing:
    """Lives that stand somewhere in an order: the first of them, and all when more are asked for.

    Most who look want one page, and pay for no copy of a million.

    :param walk: goes through them as they stand now.
    :param place: tells of one where it stands, in a way that differs once it has moved; None if it
        stands there no more.
    """

    def __init__(self, walk: Callable[[], Iterator[Life]],
                 place: Callable[[Life], object]) -> None:
        self.walk = walk
        self.place = place
        self.lives = list(islice(walk(), FIRST * const.SCANNED + 1))
        self.places: list[tuple[Life, object]] = []   # of those that were asked for
        self.whole = len(self.lives) <= FIRST * const.SCANNED

    def __getitem__(self, part: slice) -> list[Life]:
        if part.stop > len(self.lives) and not self.whole:
            self.whole = True
            every = [*self.walk()]
            # behind the last of the first ones that has not moved: others may have come before it
            last = next((life for life, place in reversed(self.places)
                         if place is not None and place == self.place(life)), None)
            told = self.lives[:len(self.places)]
            every[:0 if last is None else every.index(last) + 1] = told
            self.lives = every
        found = self.lives[part]
        if not self.whole:
            self.places += [(life, self.place(life))
                            for life in self.lives[len(self.places):part.stop]]
        return found


class Scans:
    """The scans of a graph in memory.

    Most of what it keeps has no order in which one could go on, so a scan that has more pages is a
    list of lives, as they were when more than some first steps were asked for. It costs some
    milliseconds for a million. It is kept for a while, for the last few that began.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.kept: OrderedDict[int, tuple[Scan, int]] = OrderedDict()   # ... and when it was used
        self.serial = 0

    def page(self, state: str, names: Sequence[str], newest: bool, cursor: str,
             count: int) -> tuple[list[Row], str]:
        now = self.graph.now
        for number, (_, used) in list(self.kept.items()):
            if now - used > UNUSED:
                del self.kept[number]
        told = CURSOR.fullmatch(cursor)
        number, at = map(int, told.groups()) if told else (0, 0)
        scan, _ = self.kept.get(number, (None, 0))
        if scan is None or scan[:2] != (state, newest):
            self.serial += 1
            number, at = self.serial, 0
            scan = Scan(state, newest, self._lives(state, newest))
        rows: list[Row] = []
        is_wanted = wanted(names)
        lives = scan.lives[at:at + const.SCANNED]
        for life in lives:
            if len(rows) == count:
                break
            at += 1
            if is_wanted(life.name) and self._is_in(life, state):
                seen = Seen._make(FIELDS(life))
                if stands(seen, now):
                    rows.append(row(seen, state, now))
        if not scan.lives[at:at + 1]:
            return rows, ''
        self.kept[number] = scan, now
        self.kept.move_to_end(number)
        while len(self.kept) > KEPT:
            self.kept.popitem(last=False)
        return rows, f'{number}:{at}'

    def _lives(self, state: str, newest: bool) -> Ordered:
        graph = self.graph
        if state == SCHEDULED and not newest:
            return ByDue(graph.schedule.copy())
        if state in (ENQUEUED, PENDING):
            return Standing(partial(self._walk, state, newest), partial(self._place, state))
        lives: Collection[Life]
        if state == SCHEDULED:
            lives = sorted(graph.schedule.lives(), key=lambda life: (life.due, life.id))
        elif state == PROCESSING:
            lives = sorted(graph.leased, key=lambda life: (life.deadline, life.id))
        elif state == SUCCESS:
            told = reversed(graph.book.recent(graph.now))
            lives = [life for one in told if (life := graph.lives.get(one.id)) is not None
                     and life.nonce == one.nonce]
        else:
            kind = next(kind for kind, end in const.ENDS.items() if end == state)
            lives = graph.failures.get(kind, ())
        return [*lives][::-1 if newest else 1]

    def _walk(self, state: str, newest: bool) -> Iterator[Life]:
        """Through all that are enqueued, or among which are those that are pending."""
        lanes = self.graph.lanes
        there: list[Reversible[Life]] = [self.graph.lives.values()] if state == PENDING else \
            [*(lane for pair in lanes.pairs for lane in pair), lanes.aside]
        return chain.from_iterable(map(reversed, reversed(there)) if newest else there)

    def _place(self, state: str, life: Life) -> object:
        """What changes when it moves to another place among these; None if it left."""
        if state == PENDING:   # among all there are, where it was put
            return life if self.graph.lives.get(life.id) is life else None
        if not self._is_in(life, state):
            return None
        return life.ready, life.taken, life.due, self.graph.lanes.since(life)

    def _is_in(self, life: Life, state: str) -> bool:
        """Whether it is in that state still. It may be forgotten, perhaps without any outcome."""
        return self.graph.lives.get(life.id) is life and status(life) == state


def stands(task: Seen, now: int) -> bool:
    """Whether a task is in its state also for somebody who asks for it."""
    if task.flags & GATE:
        return False
    if task.state == COMPLETED:
        return not 0 < task.expires <= now
    return task.state == PROCESSING or task.target is not None or not task.late or task.late > now


def row(task: Seen, state: str, now: int) -> Row:
    """A task as a page tells it."""
    if task.state == COMPLETED:
        since = task.over
    else:
        since = task.ready if task.state == ENQUEUED else task.taken or task.put
    is_due = task.state == SCHEDULED \
        or task.state == PENDING and task.target is None and task.due > now
    return Row(task.id, task.nonce, task.name.decode(errors='replace'), state, since,
               task.due if is_due else 0,
               task.owner or '' if task.state in (PROCESSING, COMPLETED) else '', task.tries + 1)
