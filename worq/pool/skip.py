"""Arguments that failed, left out of the lists in which they stand (``on_error='skip'``)."""
from __future__ import annotations

from collections import deque
from typing import Any, Collection, Iterable, NamedTuple

from worq.errors import TaskFailure

__all__ = ['Skipped', 'leave_out', 'one_of_two']


class Skipped(NamedTuple):
    """What has been left out of the arguments of a call."""

    number: int = 0                     #: how many times a failure stood in a list
    first: TaskFailure | None = None    #: the first of these
    fatal: TaskFailure | None = None    #: one that stands elsewhere, so the call fails with it


def leave_out(call: Iterable[Any], given: Collection[object]) -> Skipped:
    """Leave failures out of the lists of a call, in place.

    It looks into lists, tuples and the values of dicts, to any depth, but not into what
    arguments came to. A failure that is in anything else counts as one that stands elsewhere.

    :param call: its positional arguments, and those by name.
    :param given: what its arguments that are Deferreds came to.
    """
    values = {id(value) for value in given}
    open = {id(value): value for value in given if isinstance(value, TaskFailure)}
    left: list[TaskFailure] = []
    fatal: TaskFailure | None = None
    rest: deque[Any] = deque(call)
    seen: set[int] = set()
    while rest:
        part = rest.popleft()
        if isinstance(part, TaskFailure):
            open.pop(id(part), None)
            fatal = fatal or part
        elif id(part) in values or id(part) in seen:
            pass
        elif isinstance(part, list):
            seen.add(id(part))
            failed = [each for each in part if isinstance(each, TaskFailure)]
            if failed:
                left += failed
                for each in failed:
                    open.pop(id(each), None)
                part[:] = [each for each in part if not isinstance(each, TaskFailure)]
            rest.extend(part)
        elif isinstance(part, (tuple, dict)):
            seen.add(id(part))
            rest.extend(part.values() if isinstance(part, dict) else part)
    return Skipped(len(left), left[0] if left else None,
                   fatal or next(iter(open.values()), None))


def one_of_two(args: tuple[Any, ...]) -> tuple[Skipped, Any]:
    """For a node of `reduce`: what it hands on without being called.

    :returns: with a number of 1 the other one; with none that failed, or with both, nothing.
    """
    failed = [each for each in args if isinstance(each, TaskFailure)]
    if len(failed) == len(args):
        return Skipped(0, None, failed[0]), None
    if not failed:
        return Skipped(), None
    return Skipped(1, failed[0]), next(each for each in args if each is not failed[0])
