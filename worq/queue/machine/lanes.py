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

    A lane is a function of the task alone, so it need not be kept anywhere.
    """

    def __init__(self) -> None:
        self.pairs: list[tuple[OrderedDict[Life, None], OrderedDict[Life, None]]] = [
            (OrderedDict(), OrderedDict()) for _ in const.PRIORITIES]
        # By priority: how many have overtaken the first fresh one, and the nonce of that.
        self._passed = [(0, '') for _ in const.PRIORITIES]

    def __bool__(self) -> bool:
        return any(deep or fresh for deep, fresh in self.pairs)

    def __len__(self) -> int:
        return sum(len(deep) + len(fresh) for deep, fresh in self.pairs)

    def __iter__(self) -> Iterator[Life]:
        return (life for pair in self.pairs for lane in pair for life in lane)

    def __contains__(self, life: Life) -> bool:
        return life in self._of(life)

    def _of(self, life: Life) -> OrderedDict[Life, None]:
        return self.pairs[life.priority][not life.arguments]

    def add(self, life: Life) -> None:
        self.pairs[life.priority][not life.arguments][life] = None

    def add_first(self, life: Life) -> None:
        lane = self._of(life)
        lane[life] = None
        lane.move_to_end(life, last=False)

    def discard(self, life: Life) -> None:
        self.pairs[life.priority][not life.arguments].pop(life, None)

    def clear_out(self, gone: Callable[[Life], bool]) -> None:
        """Take out all for which this is so, whichever lane they stand in."""
        for pair in self.pairs:
            for lane in pair:
                for life in [life for life in lane if gone(life)]:
                    del lane[life]

    def before(self, life: Life) -> int | None:
        """How many are before it, if that is not too many to count."""
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
        for priority, (deep, fresh) in enumerate(self.pairs):
            while deep or fresh:
                life = next(iter(deep or fresh))
                if life.late and over(life):
                    continue
                if not fresh or not deep:
                    return life
                first = next(iter(fresh))
                if first.late and over(first):
                    continue
                return life if self._overtakes(priority, first) else first
        return None

    def _overtakes(self, priority: int, first: Life) -> bool:
        """Whether another one may go before the first fresh one; it is counted."""
        times, nonce = self._passed[priority]
        if nonce != first.nonce:
            times = 0
        if times >= const.OVERTAKEN:
            return False
        self._passed[priority] = times + 1, first.nonce
        return True
