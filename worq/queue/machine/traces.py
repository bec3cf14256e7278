"""What is kept of a task for people, beside what the queue needs."""
from __future__ import annotations

import json
from typing import Any, NamedTuple, Sequence

from worq import const
from worq.queue.base import Argument, Death

__all__ = ['Kept', 'Trace', 'NOTHING', 'dump', 'load']


class Kept(NamedTuple):
    """What a task that failed was put with; its body is still in its life."""

    number: int          #: which failure of the queue this was, from 1
    ends: int            #: ms, when it is kept no longer
    expires: int         #: see `Message.expires`
    origin: int          #: the number of the failure that it came from; 0: it is its own
    arguments: tuple[Argument, ...] = ()   #: those that it has let go of
    target: Argument | None = None         #: what its tail call waited for


class Trace(NamedTuple):
    """What most tasks have nothing of."""

    deaths: tuple[Death, ...] = ()
    kept: Kept | None = None

    def died(self, moment: int, pool: str, cause: str) -> Trace:
        """With one delivery more that was lost."""
        text = cause.encode(errors='replace')[:const.CAUSE].decode(errors='replace')
        deaths = (*self.deaths, Death(moment, pool, text))
        return self._replace(deaths=deaths[-const.DEATHS:])


NOTHING = Trace()


def dump(trace: Trace) -> str:
    """As JSON."""
    deaths, kept = trace
    if kept is None:
        return json.dumps([deaths])
    return json.dumps([deaths, [*kept[:4], [*map(_row, kept.arguments)],
                                kept.target and _row(kept.target)]])


def load(text: str) -> Trace:
    """One that was written so."""
    deaths, *more = json.loads(text)
    return Trace(tuple(Death(*death) for death in deaths), _kept(*more[0]) if more else None)


def _row(one: Argument) -> list[str]:
    return [one.id, one.nonce, one.seal.decode('latin-1')]


def _kept(number: int, ends: int, expires: int, origin: int, arguments: Sequence[Any],
          target: Any) -> Kept:
    return Kept(number, ends, expires, origin, tuple(map(_argument, arguments)),
                target and _argument(target))


def _argument(row: Sequence[str]) -> Argument:
    id, nonce, seal = row
    return Argument(id, nonce, seal.encode('latin-1'))
