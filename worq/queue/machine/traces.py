"""What is kept of a task for people, beside what the queue needs."""
from __future__ import annotations

from typing import Any, NamedTuple, Sequence

from worq import const
from worq.queue.base import Death

__all__ = ['Trace', 'NOTHING', 'load']


class Trace(NamedTuple):
    """What most tasks have nothing of."""

    deaths: tuple[Death, ...] = ()

    def died(self, moment: int, pool: str, cause: str) -> Trace:
        """With one delivery more that was lost."""
        text = cause.encode(errors='replace')[:const.CAUSE].decode(errors='replace')
        deaths = (*self.deaths, Death(moment, pool, text))
        return self._replace(deaths=deaths[-const.DEATHS:])


NOTHING = Trace()


def load(fields: Sequence[Any]) -> Trace:
    """One that was written as JSON."""
    deaths, = fields
    return Trace(tuple(Death(*death) for death in deaths))
