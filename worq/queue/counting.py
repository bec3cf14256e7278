"""The contract of a task queue, continued: what tasks came to, counted by their names."""
from __future__ import annotations

from typing import Mapping, Sequence

from worq.queue.records import Minute, Recent, Totals

__all__ = ['Counting']


class Counting:
    """What pools count, told to the queue and kept by it.

    Pools count what they settle as value or failure, each attempt with the time that it took and
    the time that it had waited; the queue counts by their names those that end otherwise: expired,
    cancelled, by a failed argument, by a tail call. So all that ends is counted once, but for
    what is settled by no pool, and what a pool had not told yet when it died: a second's.

    There are at most `const.TALLIED` names, for ever; what comes later counts as
    ``worq.tally.OTHER``, and so does what has no name. So does what the queue itself has counted,
    once there are half as many: a caller can invent names, and is not to use them up.
    """

    def tally(self, pool: str, number: int, cells: Mapping[str, str],
              recent: Sequence[Recent] = ()) -> None:
        """Add what a pool has counted to this minute, and to what has been counted ever.

        A minute is kept for `const.MINUTES`, and bears the sizes of the queue as they are now.
        What the queue has counted itself since goes with it; of many names some with later ones.

        :param number: counts what this pool tells, from 1. One that is not above the last has been
            told before, and changes nothing; that is remembered for `const.POOL_TTL`, also of a
            pool that has left.
        :param cells: by the names of tasks, at most `const.TELLS`; see `worq.tally`.
        :param recent: tasks that have succeeded lately, the last one last; `ended` is how many ms
            ago. The last `const.RECENT` are kept, until none was told for `const.MINUTES`.
        """
        raise NotImplementedError

    def minutes(self, last: int = 60) -> list[Minute]:
        """What was told in each of the last minutes, the current one included, the oldest first.

        Of a minute in which no pool has told anything there is none.

        :param last: how many minutes back, from 1; at most `const.MINUTES` are kept.
        """
        raise NotImplementedError

    def totals(self) -> Totals:
        """How the queue stands, and what has been counted ever, in one step."""
        raise NotImplementedError
