"""What is kept of a task for people, beside what the queue needs."""
from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
import json
from typing import Any, NamedTuple

from worq import const
from worq.queue.base import Argument, Death
from worq.queue.machine.life import Life

__all__ = ['Kept', 'Trace', 'NOTHING', 'dump', 'load', 'named']

Name = tuple[str, str]   # of a life: its id and nonce


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
    # Of one that has ended, what a graph tells of the edges that it had.
    width: int = 0                      # how many arguments ...
    arguments: tuple[Name, ...] = ()    # ... and the first of them
    target: Name | tuple[()] = ()       # what its tail call waited for
    fan: int = 0                        # how many waited for it when it ended ...
    dependents: tuple[Name, ...] = ()   # ... and the first of them

    def died(self, moment: int, pool: str, cause: str, progress: bytes) -> Trace:
        """With one delivery more that was lost."""
        text = cause.encode(errors='replace')[:const.CAUSE].decode(errors='replace')
        deaths = (*self.deaths, Death(moment, pool, text, progress))
        return self._replace(deaths=deaths[-const.DEATHS:])


NOTHING = Trace()


def named(lives: Iterable[Life]) -> tuple[Name, ...]:
    """The first of some lives, by their names."""
    return tuple((life.id, life.nonce) for life in islice(lives, const.KIN))


def dump(trace: Trace) -> str:
    """As JSON: deaths, what is kept of a failure, edges; without what is empty at the end."""
    deaths, kept, *edges = trace
    died = [[*one[:3], one.progress.decode('latin-1')] for one in deaths]
    rows: list[Any] = [died, None if kept is None else [
        *kept[:4], [*map(_row, kept.arguments)], kept.target and _row(kept.target)], edges]
    if not any(edges):
        del rows[1 if kept is None else 2:]
    return json.dumps(rows)


def load(text: str) -> Trace:
    """One that was written so."""
    rows: list[Any] = json.loads(text)
    deaths, kept, edges = [*rows, None, None][:3]
    width, arguments, target, fan, dependents = edges or (0, (), (), 0, ())
    died = [Death(moment, pool, text, progress.encode('latin-1'))
            for moment, pool, text, progress in deaths]
    return Trace(tuple(died), _kept(*kept) if kept else None, width,
                 tuple(map(tuple, arguments)), tuple(target), fan, tuple(map(tuple, dependents)))


def _row(one: Argument) -> list[str]:
    return [one.id, one.nonce, one.seal.decode('latin-1')]


def _kept(number: int, ends: int, expires: int, origin: int, arguments: Sequence[Any],
          target: Any) -> Kept:
    return Kept(number, ends, expires, origin, tuple(map(_argument, arguments)),
                target and _argument(target))


def _argument(row: Sequence[str]) -> Argument:
    id, nonce, seal = row
    return Argument(id, nonce, seal.encode('latin-1'))
