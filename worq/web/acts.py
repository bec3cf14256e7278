"""What the page does to a queue. Each act is told how many tasks a person has seen that it would be
done to, and is refused when that is not so any more."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from worq.view import View
from worq.view.lately import patterns
from worq.web.reads import MOST, chosen

__all__ = ['ACTS', 'Changed', 'act']

ALL = '*'    # the whole queue, as a pause has it
TENTH = 10   # more than a tenth more, or less, than somebody saw is something else


class Changed(Exception):
    """It would be done to another number of tasks than somebody has seen.

    :param count: to how many.
    """

    def __init__(self, count: int, seen: int) -> None:
        super().__init__(f'it would now be {count:,} tasks, not {seen:,} as it was when you '
                         'looked; nothing was done')
        self.count = count


class Order(NamedTuple):
    """What somebody wants done."""

    seen: int                    #: how many tasks they saw
    ids: list[str]               #: these ...
    state: str                   #: ... or else those in this state ...
    name: str                    #: ... of these names
    upstream: bool               #: also what they wait for
    downstream: bool             #: also all that failed because of them
    by: str                      #: who it is


def act(view: View, what: str, asked: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Do it; how many tasks it was done to, and more.

    :param what: a word of `ACTS`.
    :param asked: fields of an `Order`.
    :raises ValueError: if they make no sense.
    :raises Changed: if the number of tasks is not what it was.
    """
    return ACTS[what](view, order(asked, by))


def cancel(view: View, order: Order) -> dict[str, Any]:
    """Cancel tasks by their ids, or all in a state, up to `MOST`."""
    ids = order.ids or chosen(view, order.state, order.name)[0]
    same(len(ids), order.seen)
    words = view.broker.cancel_shown(ids, order.upstream, order.by) if ids else []
    return {'done': words.count('cancelled'), 'words': dict(Counter(words))}


def revive(view: View, order: Order) -> dict[str, Any]:
    """Run failed tasks again, by their ids."""
    same(len(order.ids), order.seen)
    words = view.broker.revive_all(order.ids, order.downstream, by=order.by) if order.ids else []
    return {'done': words.count('revived'), 'words': dict(Counter(words))}


def purge(view: View, order: Order) -> dict[str, Any]:
    """Cancel all that has not begun."""
    sizes = view.totals().stats
    same(sum(sizes[state] for state in ('enqueued', 'scheduled', 'pending')), order.seen)
    return {'done': view.broker.discard_pending_tasks(by=order.by)}


def pause(view: View, order: Order) -> dict[str, Any]:
    """Have no pool take tasks of some names; without a name: any. No task is lost, so nobody
    needs to have seen how many there are."""
    return {'done': len(view.broker.pause(patterns(order.name) or ALL, by=order.by))}


def resume(view: View, order: Order) -> dict[str, Any]:
    """End a pause."""
    return {'done': len(view.broker.resume(patterns(order.name) or ALL, by=order.by))}


def schedule(what: str) -> Callable[[View, Order], dict[str, Any]]:
    """An act on one schedule, by its name: 'run', 'pause', 'resume' or 'forget'."""
    def act(view: View, order: Order) -> dict[str, Any]:
        try:
            getattr(view.broker.schedules, what)(order.name, by=order.by)
        except LookupError as error:
            raise ValueError(str(error)) from None
        return {'done': 1}
    return act


ACTS: dict[str, Callable[[View, Order], dict[str, Any]]] = {
    'cancel': cancel, 'purge': purge, 'revive': revive, 'pause': pause, 'resume': resume,
    **{f'schedule-{what}': schedule(what) for what in ('run', 'pause', 'resume', 'forget')}}


def same(count: int, seen: int) -> None:
    """Whether it is about as many as somebody saw."""
    if abs(count - seen) * TENTH > seen:
        raise Changed(count, seen)


def order(asked: Mapping[str, Any], by: str) -> Order:
    """What was sent, checked: it may be anything."""
    ids = asked.get('ids', [])
    if not isinstance(ids, list) or len(ids) > MOST \
            or not all(isinstance(id, str) and id for id in ids):
        raise ValueError(f'ids are a list of at most {MOST:,} texts')
    ids = list(dict.fromkeys(ids))
    seen = asked.get('seen')
    if type(seen) is not int or seen < 0:
        raise ValueError('seen is missing: how many tasks you saw that this would be done to')
    state, name = asked.get('state', ''), asked.get('name', '')
    if not isinstance(state, str) or not isinstance(name, str):
        raise ValueError('state and name are texts')
    return Order(seen, ids, state, name, asked.get('upstream') is True,
                 asked.get('downstream') is True, by)
