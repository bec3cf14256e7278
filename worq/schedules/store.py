"""The registers of schedules: read, and changed by compare-and-set."""
from __future__ import annotations

from typing import Callable

from worq import const
from worq.ids import new_nonce
from worq.queue.base import TaskQueue
from worq.schedules.record import NUMBER, PREFIX, Damaged, Record, decode, encode

__all__ = ['announce', 'change', 'check_name', 'number', 'read', 'read_all', 'value_of']

TRIES = 50        # times that others may be quicker
RESERVE = 1_024   # bytes of a register for how a schedule stands


def check_name(name: object) -> None:
    """ValueError unless it can be the name of a schedule: one line, and not too long."""
    if not isinstance(name, str) or not name.isprintable() \
            or not 0 < len(name.encode()) <= const.SCHEDULE_NAME:
        raise ValueError(f'invalid name of a schedule: {name!r}; it has 1 to '
                         f'{const.SCHEDULE_NAME} bytes in UTF-8, all of them printable')


def value_of(record: Record) -> bytes:
    """What the register of a new schedule holds.

    :raises ValueError: if it is too long.
    """
    value = encode(record)
    if len(value) > const.NOTE - RESERVE:
        raise ValueError(f'the call of the schedule takes {len(value):,} bytes, and at most '
                         f'{const.NOTE - RESERVE:,} are kept: have it look up what is long')
    return value


def number(queue: TaskQueue) -> bytes:
    """What is another after each change."""
    found = queue.notes(NUMBER, limit=1)
    return found[0][1] if found and found[0][0] == NUMBER else b''


def announce(queue: TaskQueue) -> None:
    """After a change: have all pools look. Who dies before it is found out a few minutes later."""
    queue.note(NUMBER, new_nonce().encode())


def read(queue: TaskQueue, name: str) -> bytes:
    """What the register of a schedule holds; b'': nothing."""
    found = queue.notes(PREFIX + name, limit=1)
    return found[0][1] if found and found[0][0] == PREFIX + name else b''


def read_all(queue: TaskQueue) -> dict[str, bytes]:
    """What all of them hold, by the names of the schedules, in order."""
    found: dict[str, bytes] = {}
    last = ''
    while page := queue.notes(PREFIX, last, const.NOTES_PAGE):
        last = page[-1][0]
        found.update((name.removeprefix(PREFIX), value) for name, value in page)
    return found


def change(queue: TaskQueue, name: str, to: Callable[[Record | None], Record | None],
           was: bytes | None = None) -> bytes:
    """Have a schedule be another.

    :param to: makes what it is to be of what it is; None: there is none. It may be called again.
    :param was: what the register holds, as far as is known.
    :returns: what it holds now.
    """
    held = read(queue, name) if was is None else was
    for _ in range(TRIES):
        record = to(_decoded(held))
        value = b'' if record is None else encode(record)
        if value == held:
            return held
        found = queue.note(PREFIX + name, value, held)
        if found == value:
            return found
        held = found
    raise RuntimeError(f'others change the schedule {name!r} all the time')


def _decoded(value: bytes) -> Record | None:
    try:
        return decode(value) if value else None
    except Damaged:   # by others; then it is made anew, or forgotten
        return None
