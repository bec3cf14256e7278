"""Tasks cancelled with what they wait for, level by level, as far as nobody else needs that.

A cancel goes along the arrows of a graph: what depends on a task cannot run without it. Against the
arrows it has to be asked of each task whether anything else wants it. The queue decides that in one
step with the cancel of it; which tasks to ask for is seen from here, before they let go of each
other. If this is interrupted, what has not been asked for just runs.
"""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from worq.const import PUT_LIMIT
from worq.queue.base import Inspection, TaskQueue

__all__ = ['cancel_upstream', 'open_arguments', 'waits_for']

STEP = 100   # tasks that are looked at, and cancelled, at a time


def cancel_upstream(queue: TaskQueue, ids: Sequence[str], client: str,
                    awaited: Callable[[], Collection[str]]) -> list[str]:
    """Cancel tasks, and then what they wait for that nothing else needs, and so on.

    :param client: of who asks for it. What it has watched does not count as needed ...
    :param awaited: ... unless somebody waits for it there now: then it is among these.
    :returns: what ``TaskQueue.cancel`` does, of the tasks themselves.
    """
    told: list[str] = []
    level, mine = list(ids), None
    while level:
        words: list[str] = []
        above: dict[str, None] = {}
        for start in range(0, len(level), STEP):
            some = level[start:start + STEP]
            sources = waits_for(queue, some)   # now, for none of them is known of what is over
            words += queue.cancel(some, mine)
            for id, word in zip(some, words[start:]):
                if word == 'cancelled':
                    above.update(dict.fromkeys(sources[id]))
        told = told or words
        mine = client
        waited = awaited()
        level = [id for id in above if id not in waited]
    return told


def waits_for(queue: TaskQueue, ids: Sequence[str]) -> dict[str, list[str]]:
    """What each task waits for: its open arguments, or the task that it has returned."""
    return {id: open_arguments(queue, id, seen) + ([seen.target] if seen and seen.target else [])
            for id, seen in zip(ids, queue.inspect(ids, 0))}


def open_arguments(queue: TaskQueue, id: str, seen: Inspection | None) -> list[str]:
    """The open arguments of a task.

    :param seen: what was told of it from its first argument on.
    """
    names: dict[str, None] = {}
    start = 0
    while seen is not None:
        names.update(dict.fromkeys(seen.arguments))
        start += PUT_LIMIT
        if len(names) >= seen.open or seen.lost:
            break
        seen, = queue.inspect([id], start)
    return list(names)
