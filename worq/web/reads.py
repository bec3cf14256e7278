"""What the page asks of a queue. Each is a function of its `View` and of texts of an address."""
from __future__ import annotations

from collections.abc import Callable, Mapping
import json
import math
from typing import Any, NamedTuple

from worq import const
from worq.printable import line
from worq.view import View, plain

__all__ = ['MOST', 'READS', 'Read', 'as_json', 'chosen']

Asked = Mapping[str, str]

MOST = 1_000   # tasks that one act is done to
ROWS = 100     # of a page of tasks, at most
ACTS = 200     # the last ones, that are shown
LEVELS = 50    # of a graph, upwards or downwards
LETTERS = 2_000   # of anything in an address that is no id


class Read(NamedTuple):
    """One thing that can be asked."""

    answer: Callable[[View, Asked], Any]
    every: float     #: seconds between two looks, while somebody watches


def overview(view: View, asked: Asked) -> Any:
    return plain(view.overview())


def minutes(view: View, asked: Asked) -> Any:
    return plain(view.minutes(hours(asked), text(asked, 'name')))


def names(view: View, asked: Asked) -> Any:
    return plain(view.names(hours(asked), text(asked, 'name')))


def pools(view: View, asked: Asked) -> Any:
    return plain(view.pools())


def tasks(view: View, asked: Asked) -> Any:
    """A page of tasks in a state."""
    return plain(view.tasks(
        text(asked, 'state') or const.ENQUEUED, text(asked, 'name'), asked.get('order') != 'oldest',
        text(asked, 'cursor'), min(max(whole(asked, 'count', 50), 1), ROWS)))


def task(view: View, asked: Asked) -> Any:
    """All there is to see of a task; its arguments and its value only if they are asked for."""
    id = asked.get('id', '')
    return plain(view.task(id, arguments=asked.get('arguments') == '1')) if id else None


def graph(view: View, asked: Asked) -> Any:
    """The graph around a task; ``open`` has the keys of the stacks to be opened."""
    id = asked.get('id', '')
    opened = text(asked, 'open').split()[:const.NODES]
    return plain(view.graph(id, min(whole(asked, 'up', 3), LEVELS),
                            min(whole(asked, 'down', 3), LEVELS), opened)) if id else None


def failed(view: View, asked: Asked) -> Any:
    """What failed lately, in groups; of each the ids that one act takes."""
    found = view.failed(text(asked, 'name'), MOST)
    return plain([group._replace(ids=group.ids[:MOST]) for group in found[:ROWS]])


def count(view: View, asked: Asked) -> Any:
    """How many tasks an act would be done to; ``more``: there are more than it would take."""
    ids, more = chosen(view, text(asked, 'state'), text(asked, 'name'))
    return {'count': len(ids), 'more': more}


def schedules(view: View, asked: Asked) -> Any:
    """All schedules by their names: moments as seconds since the epoch, texts that can be shown."""
    return [{**one._asdict(), 'shown': line(one.name), 'task': line(one.task),
             'when': line(one.when), 'paused': line(one.paused), 'problem': line(one.problem),
             'next': one.next and one.next.timestamp(), 'last': one.last and one.last.timestamp(),
             'timing': None, 'zone': line(one.timing.zone) if one.timing else ''}
            for one in view.broker.schedules.list()]


def log(view: View, asked: Asked) -> Any:
    return plain(view.broker.acts(ACTS))


#: What can be asked, by its name in the address.
READS = {
    'overview': Read(overview, 1), 'pools': Read(pools, 1), 'task': Read(task, 1),
    'graph': Read(graph, 2),
    'tasks': Read(tasks, 2), 'minutes': Read(minutes, 5), 'names': Read(names, 5),
    'failed': Read(failed, 5), 'schedules': Read(schedules, 5), 'log': Read(log, 5),
    'count': Read(count, 5),
}


def chosen(view: View, state: str, name: str) -> tuple[list[str], bool]:
    """The ids of the tasks in a state, the oldest first, as many as one act is done to; and
    whether there are more."""
    ids: dict[str, None] = {}
    cursor = ''
    while True:
        page = view.tasks(state, name, newest=False, cursor=cursor, count=const.ROWS)
        ids.update(dict.fromkeys(row.id for row in page.rows))
        cursor = page.cursor
        if not cursor or len(ids) > MOST:
            return list(ids)[:MOST], len(ids) > MOST


# -- parts of an address --------------------------------------------------------------


def text(asked: Asked, name: str) -> str:
    """A text of bounded length.

    :raises ValueError: if it is longer.
    """
    found = asked.get(name, '')
    if len(found) > LETTERS:
        raise ValueError(f'{name} is too long: {len(found):,} letters, of at most {LETTERS:,}')
    return found


def whole(asked: Asked, name: str, default: int) -> int:
    found = asked.get(name, '')
    if not found:
        return default
    if not found.isdecimal() or len(found) > 9:
        raise ValueError(f'{name} is no whole number: {line(found, 40)}')
    return int(found)


def hours(asked: Asked) -> float:
    """From a minute to eight hours; one by default."""
    try:
        found = float(asked.get('hours') or 1)
    except ValueError:
        found = math.nan
    if not 0 < found <= 8:
        raise ValueError(f'hours are above 0, and at most 8: {line(asked["hours"], 40)}')
    return found


# -- answers ----------------------------------------------------------------------


def as_json(value: Any) -> str:
    """A value as browsers read it: numbers that JSON does not have become null."""
    try:
        return json.dumps(value, separators=(',', ':'), allow_nan=False)
    except ValueError:
        return json.dumps(finite(value), separators=(',', ':'), allow_nan=False)


def finite(value: Any) -> Any:
    """Without the numbers that are none."""
    if isinstance(value, dict):
        return {name: finite(part) for name, part in value.items()}
    if isinstance(value, list):
        return [finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
