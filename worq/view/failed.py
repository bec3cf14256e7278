"""What failed lately, and why: by names and errors."""
from __future__ import annotations

import re
from typing import Any, Iterable, NamedTuple, Sequence

from worq import const
from worq.errors import DecodeError, TaskFailure
from worq.pieces import pieces
from worq.printable import SHORT, line
from worq.queue import base
from worq.queue.reading import wanted
from worq.view.records import Failed

__all__ = ['failed']

STATES = [const.FAILED, const.EXPIRED]
MANY = 200      # outcomes that are asked for at a time
SHAPED = 1_000  # characters of an error that are looked at for what varies
# A word is looked at from its beginning only, or a long one would take the square of its length.
VARIES = re.compile(r"""'[^']*'|"[^"]*"|(?<![\w.+-])[\w.+-]*(?:\d|\b@)[\w.+@-]*""")


class One(NamedTuple):
    """A task that failed."""

    row: base.Row
    error: str
    origin: str          #: the id of what it failed because of; empty: its own failure


def failed(broker: Any, names: Sequence[str], most: int, error: str = '') -> list[Failed]:
    """The last failures in groups, the largest first."""
    ones = [one for state in STATES for one in told(broker, list(rows(broker, state, most)))]
    followers: dict[str, int] = {}
    for one in ones:
        if one.origin:
            followers[one.origin] = followers.get(one.origin, 0) + 1
    here = {one.row.id for one in ones if not one.origin}
    groups: dict[tuple[str, str, str, str], list[One]] = {}
    shapes = {one.error: shape(one.error) for one in ones}
    is_wanted = wanted(names)
    for one in ones:
        like = shapes[one.error]
        if not is_wanted(one.row.name.encode()) or error not in one.error and error not in like:
            continue
        if one.origin in here:
            continue   # it is told with that one
        key = one.row.name, one.row.state, like, one.origin
        groups.setdefault(key, []).append(one)
    found = [group(key, some, followers) for key, some in groups.items()]
    return sorted(found, key=lambda one: (-one.tasks - one.followers, -(one.last or 0)))


def shape(error: str) -> str:
    """An error without what may differ from one task to the next: numbers, words with digits in
    them, addresses, and what is in quotes are an ellipsis."""
    return VARIES.sub('…', error[:SHAPED]) + error[SHAPED:]


def group(key: tuple[str, str, str, str], some: list[One], followers: dict[str, int]) -> Failed:
    """One group as it is told; those in it are in any order."""
    name, state, error, origin = key
    some.sort(key=lambda one: one.row.since, reverse=True)
    if len({one.error for one in some}) == 1:
        error = some[0].error
    return Failed(line(name, SHORT), state, error, line(origin), len(some),
                  sum(followers.get(one.row.id, 0) for one in some),
                  some[-1].row.since / 1000 or None, some[0].row.since / 1000 or None,
                  tuple(one.row.id for one in some))


def rows(broker: Any, state: str, most: int) -> Iterable[base.Row]:
    """The last ones in a state, the newest first; each once."""
    cursor, seen = '', set[str]()
    while True:
        page, cursor = broker.backend.scan(state, (), True, cursor, const.ROWS)
        for row in page:
            if row.id not in seen and len(seen) < most:
                seen.add(row.id)
                yield row
        if not cursor or len(seen) >= most:
            return


def told(broker: Any, some: list[base.Row]) -> Iterable[One]:
    """They, and why they failed; without those that have changed meanwhile."""
    for part in pieces(some, MANY):
        for row, raw in zip(part, broker.backend.results([row.id for row in part], False)):
            if raw is not None and raw[const.NONCE:const.NONCE + 1].lower() != base.VALUE:
                yield One(row, *why(broker, row.id, raw))


def why(broker: Any, id: str, raw: bytes) -> tuple[str, str]:
    """The error, and where it came from."""
    try:
        record = base.unpack(raw)
        failure = broker.decode(id, raw)
    except (DecodeError, ValueError) as error:
        return f'({line(error)})', ''
    text = failure.error if isinstance(failure, TaskFailure) else ''
    return line(text), record.origin[0] if record.origin else ''
