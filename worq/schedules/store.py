"""The registers of schedules: read, and changed by compare-and-set."""
from __future__ import annotations

from typing import Callable

from worq import const
from worq.ids import new_nonce
from worq.queue import registers
from worq.queue.base import TaskQueue
from worq.queue.registers import held, those
from worq.schedules.record import NUMBER, PREFIX, Damaged, Record, decode, encode

__all__ = ['announce', 'born', 'change', 'check_name', 'number', 'read', 'read_all', 'value_of']

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
    return held(queue, NUMBER)


def born(number: bytes) -> bytes:
    """What a number begins with: another one only if all registers have been lost since."""
    return number.partition(b'.')[0]


def announce(queue: TaskQueue) -> bytes:
    """After a change: have all pools look. Who dies before it is found out some minutes later.

    :returns: the number now.
    """
    before = number(queue)
    if not before:   # of several that are the first at a time, one is
        before = queue.note(NUMBER, new_nonce().encode(), b'')
    return queue.note(NUMBER, born(before) + b'.' + new_nonce().encode())


def read(queue: TaskQueue, name: str) -> bytes:
    """What the register of a schedule holds; b'': nothing."""
    return held(queue, PREFIX + name)


def read_all(queue: TaskQueue) -> dict[str, bytes]:
    """What all of them hold, by the names of the schedules, in order."""
    return {name.removeprefix(PREFIX): value for name, value in those(queue, PREFIX)}


def change(queue: TaskQueue, name: str, to: Callable[[Record | None], Record | None],
           was: bytes | None = None) -> bytes:
    """Have a schedule be another.

    :param to: makes what it is to be of what it is; None: there is none. It may be called again.
    :param was: what the register holds, as far as is known.
    :returns: what it holds now.
    """
    def made(value: bytes) -> bytes:
        record = to(_decoded(value))
        return b'' if record is None else encode(record)
    return registers.change(queue, PREFIX + name, made, read(queue, name) if was is None else was,
                            TRIES, f'change the schedule {name!r}')


def _decoded(value: bytes) -> Record | None:
    try:
        return decode(value) if value else None
    except Damaged:   # by others; then it is made anew, or forgotten
        return None
