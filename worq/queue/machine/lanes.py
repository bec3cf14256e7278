"""What is ready, in the order in which it is to be taken."""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import islice

from worq import const
from worq.queue.machine.life import Life

__all__ = ['Lanes']


class Lanes:
    """Two lanes for each priority. What has arguments goes before what never had any, so that what
    has been begun is finished first; but of the latter, one that many have overtaken goes next.

    A lane is a function of the task alone, so it need not be kept anywhere. Beside each lane there
    are *side lines*, by name, of what has been put aside since who asked may not take it.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[OrderedDict[Life, None], OrderedDict[Life, None]]] = [
            (OrderedDict(), OrderedDict()) for _ in const.PRIORITIES]
        # By priority: how many have overtaken the first fresh one, and the nonce of that.
        self.passed = [(0, '') for _ in const.PRIORITIES]
        self.lines: list[dict[bytes, OrderedDict[Life, None]]] = [{} for _ in 2 * self.pairs]
        self.aside: dict[Life, int] = {}   # who is there: since when, in us, no two the same
        self.freed: set[Life] = set()      # what has waited there in vain
        self.serial = 0

    def __bool__(self) -> bool:
        """Whether there is something in a lane."""
        return any(deep or fresh for deep, fresh in self.pairs)

    def __len__(self) -> int:
        return sum(len(deep) + len(fresh) for deep, fresh in self.pairs) + len(self.aside)

    def __iter__(self) -> Iterator[Life]:
        yield from self.aside
        for pair in self.pairs:
            for lane in pair:
                yield from lane

    def __contains__(self, life: Life) -> bool:
        return (life in self._of(life)) != (life in self.aside)

    def lane(self, number: int) -> OrderedDict[Life, None]:
        return self.pairs[number // 2][number % 2]

    def _of(self, life: Life) -> OrderedDict[Life, None]:
        return self.pairs[life.priority][not life.arguments]

    def add(self, life: Life) -> None:
        self.pairs[life.priority][not life.arguments][life] = None

    def add_first(self, life: Life) -> None:
        lane = self._of(life)
        lane[life] = None
        lane.move_to_end(life, last=False)

    def discard(self, life: Life) -> None:
        if self.aside and life in self.aside:
            self._step_out(life)
        else:
            self.pairs[life.priority][not life.arguments].pop(life, None)

    # -- beside them ------------------------------------------------------------

    def put_aside(self, life: Life, now: int) -> None:
        """Move one to the line of its name."""
        self.discard(life)
        serial = self.serial = max(now * 1_000, self.serial + 1)
        self.aside[life] = serial
        self._lines(life).setdefault(life.name, OrderedDict())[life] = None

    def free(self, life: Life) -> None:
        """Take one out of its line for good: it has waited in vain."""
        self._step_out(life)
        self.freed.add(life)

    def bind(self, life: Life) -> None:
        """Forget that it has waited in vain."""
        self.freed.discard(life)

    def oldest(self, lane: int, names: frozenset[bytes]) -> Life | None:
        """Of those aside with these names, the one that has stood there for longest."""
        lines = self.lines[lane]
        mine = [next(iter(lines[name])) for name in lines.keys() & names]
        return min(mine, key=self.aside.__getitem__, default=None)

    def since(self, life: Life) -> int | None:
        """Since when one stands aside, in us; None if it does not."""
        return self.aside.get(life)

    def names(self) -> set[bytes]:
        """The names of those aside."""
        return {name for lines in self.lines for name in lines}

    def line(self, lane: int, name: bytes, most: int) -> list[tuple[Life, int]]:
        """The first of a line, and since when they stand there, in us."""
        line = self.lines[lane].get(name, ())
        return [(life, self.aside[life]) for life in islice(line, most)]

    def _lines(self, life: Life) -> dict[bytes, OrderedDict[Life, None]]:
        return self.lines[2 * life.priority + (not life.arguments)]

    def _step_out(self, life: Life) -> None:
        lines = self._lines(life)
        line = lines[life.name]
        line.pop(life, None)
        if not line:
            del lines[life.name]
        del self.aside[life]

    def clear_out(self, gone: Callable[[Life], bool]) -> None:
        """Take out all for which this is so, whichever lane they stand in."""
        for pair in self.pairs:
            for lane in pair:
                for life in [life for life in lane if gone(life) or life in self.aside]:
                    del lane[life]
        self.aside = {life: serial for life, serial in self.aside.items() if not gone(life)}
        self.freed = {life for life in self.freed
                      if life.state in (const.ENQUEUED, const.PROCESSING)}
        self.lines = [{} for _ in self.lines]
        for life in sorted(self.aside, key=self.aside.__getitem__):
            line = self._lines(life).setdefault(life.name, OrderedDict())
            line[life] = None

    def before(self, life: Life) -> int | None:
        """How many are before it, in its line if it is aside, if that is not too many to count."""
        if life in self.aside:
            line = self._lines(life)[life.name]
            return next((n for n, other in enumerate(line) if other is life), None)
        lanes = [lane for pair in self.pairs for lane in pair]
        here = 2 * life.priority + (not life.arguments)
        for n, other in enumerate(islice(lanes[here], const.AHEAD)):
            if other is life:
                return n + sum(map(len, lanes[:here]))
        return None

    def next(self, over: Callable[[Life], bool]) -> Life | None:
        """The one that is to be taken now; it is asked for in order to be taken.

        :param over: ends a life that is too late to begin, and answers whether it was.
        """
        for deep, fresh in self.pairs:
            if not deep:   # as in most queues: no more is looked at for each task
                for life in fresh:
                    if not life.late:
                        return life
                    break
                else:
                    continue
            found = self._next_of(deep, fresh, over)
            if found is not None:
                return found
        return None

    def _next_of(self, deep: OrderedDict[Life, None], fresh: OrderedDict[Life, None],
                 over: Callable[[Life], bool]) -> Life | None:
        while deep or fresh:
            life = next(iter(deep or fresh))
            if life.late and over(life):
                continue
            if not fresh or not deep:
                return life
            first = next(iter(fresh))
            if first.late and over(first):
                continue
            return life if self.overtakes(life.priority, first) else first
        return None

    def overtakes(self, priority: int, first: Life) -> bool:
        """Whether another one may go before the first fresh one; it is counted."""
        times, nonce = self.passed[priority]
        if nonce != first.nonce:
            times = 0
        if times >= const.OVERTAKEN:
            return False
        self.passed[priority] = times + 1, first.nonce
        return True
