"""The slots of a schedule: which follows, which is due, which was missed. Pure functions.

Moments are ms since the epoch; the clock is an argument.
"""
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from hashlib import blake2b
from itertools import chain, takewhile
from typing import Iterator, NamedTuple

from worq.timing import HOUR, MINUTE, Timing, cron, zone_of

__all__ = ['Step', 'due_at', 'following', 'grace_of', 'step']

WALK = 1_000   # slots that are walked one by one: more that were missed are not counted
ALL = 1_000    # slots that missed='all' makes up for at most
LOOK = 43_200  # seconds in which a zone changes its offset once at most


class Step(NamedTuple):
    """What is to become of the slots that are due."""

    run: int | None    #: the slot that has a run now; None: none
    missed: int        #: how many before it, or all, have none; at least so many
    next: int | None   #: the slot after those; None: there is no other


def following(timing: Timing, after: int) -> int | None:
    """The first slot after a moment; None: there is no other.

    :raises ValueError, ImportError: if it cannot be told here, see ``timing.cron``.
    """
    if timing.every:
        return after // timing.every * timing.every + timing.every
    if timing.at is not None:
        return timing.at if timing.at > after else None
    return next(_cron(timing, after), None)


def due_at(name: str, timing: Timing, slot: int) -> int:
    """When a slot of the schedule of that name is due: at its moment, or a spread later."""
    if not timing.spread:
        return slot
    digest = blake2b(f'{name}\n{slot}'.encode(), digest_size=8).digest()
    return slot + (int.from_bytes(digest, 'big') * timing.spread >> 64)


def grace_of(timing: Timing, slot: int) -> int | None:
    """For how many ms after it is due a slot is worth a run; None: for ever."""
    if timing.grace is not None:
        return timing.grace
    if timing.missed == 'all' or timing.at is not None and timing.missed == 'last':
        return None
    most = MINUTE if timing.missed == 'none' else HOUR
    after = following(timing, slot)
    return most if after is None else min(after - slot, most)


def step(name: str, timing: Timing, slot: int, now: int) -> Step | None:
    """What is to become of the slot that is next, and of those after it.

    :param slot: the first that had no run yet.
    :returns: None if nothing is due. After this step others may be due, with ``missed='all'``.
    """
    if due_at(name, timing, slot) > now:
        return None
    if timing.missed == 'all':
        return _oldest(name, timing, slot, now)
    newest, passed = _newest(name, timing, slot, now)
    after = following(timing, newest)
    if _worth(name, timing, newest, now):
        return Step(newest, passed, after)
    return Step(None, passed + 1, after)


def _worth(name: str, timing: Timing, slot: int, now: int) -> bool:
    grace = grace_of(timing, slot)
    return grace is None or now <= due_at(name, timing, slot) + grace


def _oldest(name: str, timing: Timing, slot: int, now: int) -> Step:
    """The oldest of those that are due and worth a run."""
    newest, passed = _newest(name, timing, slot, now)
    first, missed = slot, 0
    if passed >= ALL:   # whatever is before the newest of them has none
        first = _back(timing, slot, newest, ALL)
        missed = _count(timing, slot, first)
    for one in chain([first], _after(timing, first)):
        after = following(timing, one)
        if _worth(name, timing, one, now):
            return Step(one, missed, after)
        missed += 1
        if one >= newest or after is None:
            return Step(None, missed, after)
    return Step(None, missed, None)


def _newest(name: str, timing: Timing, slot: int, now: int) -> tuple[int, int]:
    """The newest slot that is due, and how many there were before it: at least so many."""
    if timing.every:
        last = max(slot, now // timing.every * timing.every)
        while last > slot and due_at(name, timing, last) > now:
            last -= timing.every
        return last, (last - slot) // timing.every
    newest, passed = slot, 0
    for after in _after(timing, slot):
        if due_at(name, timing, after) > now:
            return newest, passed
        newest, passed = after, passed + 1
        if passed >= WALK:   # a long time: look from the other end
            return max(newest, _near(name, timing, newest, now)), passed
    return newest, passed


def _near(name: str, timing: Timing, slot: int, now: int) -> int:
    """The newest slot that is due, found from the present backwards; `slot` is an older one."""
    window = MINUTE
    while now - window > slot:
        due = list(takewhile(lambda one: due_at(name, timing, one) <= now,
                             _after(timing, now - window)))
        if due:
            return due[-1]
        window *= 2
    return slot


def _back(timing: Timing, slot: int, newest: int, count: int) -> int:
    """The first of so many slots of which `newest` is the last, and none is before `slot`.

    It is found by halves: a pure function of its arguments, and nothing is walked for long.
    """
    if timing.every:
        return max(slot, newest - (count - 1) * timing.every)
    low, high = slot - 1, newest   # after `low` there are too many, perhaps; after `high` too few
    while high - low > 1:
        middle = (low + high) // 2
        if _count(timing, middle + 1, newest + 1, count) >= count:
            low = middle
        else:
            high = middle
    return following(timing, low) or newest


def _count(timing: Timing, start: int, end: int, most: int = WALK) -> int:
    """How many slots there are from `start` on and before `end`; `most` if there are more."""
    if timing.every:
        return min(most, max(0, -(-end // timing.every) - -(-start // timing.every)))
    found = 0
    for one in _after(timing, start - 1):
        if one >= end or found >= most:
            break
        found += 1
    return found


def _after(timing: Timing, slot: int) -> Iterator[int]:
    """All slots after a moment."""
    if timing.cron:
        yield from _cron(timing, slot)
        return
    after = following(timing, slot)
    while after is not None:
        yield after
        after = following(timing, after)


def _cron(timing: Timing, after: int) -> Iterator[int]:
    """All slots of a cron expression after a moment."""
    zone, fields = zone_of(timing.zone), timing.cron.split()
    if zone is not UTC and (len(fields) == 6 or '*' in (fields[0][0], fields[1][0])):
        yield from _passing(timing.cron, zone, after)
        return
    # In an hour that comes twice, and behind one that was skipped, cronsim tells some again.
    last = after
    for found in cron(timing.cron, datetime.fromtimestamp(after // 1000, zone)):
        slot = int(found.timestamp()) * 1000
        if slot > last:
            yield slot
            last = slot


def _passing(text: str, zone: tzinfo, after: int) -> Iterator[int]:
    """All slots of an expression that goes by the time that passes.

    cronsim is told one offset at a time, for it would take each change to be of whole hours.
    """
    at = after // 1000
    offset = _offset(zone, at)
    while True:
        for found in cron(text, datetime.fromtimestamp(at, timezone(offset))):
            slot = int(found.timestamp())
            change = _change(zone, offset, at, slot)
            if change is not None:
                break
            yield slot * 1000
            at = slot
        else:
            return
        at, offset = change - 1, _offset(zone, change)


def _offset(zone: tzinfo, at: int) -> timedelta:
    return datetime.fromtimestamp(at, zone).utcoffset() or timedelta()


def _change(zone: tzinfo, offset: timedelta, start: int, end: int) -> int | None:
    """The first second after `start`, and up to `end`, at which the offset is another; or None."""
    while start < end:
        then = min(start + LOOK, end)
        if _offset(zone, then) != offset:
            while then - start > 1:
                middle = (start + then) // 2
                start, then = (start, middle) if _offset(zone, middle) != offset else (middle, then)
            return then
        start = then
    return None
