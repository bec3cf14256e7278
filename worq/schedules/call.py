"""The call of a schedule: signed once by whoever declares it, and anew for each run.

Who fires knows no function and loads no argument: it verifies what was signed, and signs the very
same bytes for the task of the run.
"""
from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NoReturn

from worq.codec import Codec
from worq.ids import new_nonce
from worq.printable import line
from worq.queue.base import Message
from worq.rotation import sealed_anew
from worq.schedules.record import PREFIX, Plan, Record, decode_plan, encode_plan
from worq.timing import zone_of
from worq.trust import CALL

__all__ = ['encode', 'message', 'moment', 'opened', 'run_id', 'slot_of', 'told', 'words_of']

SLOT, MISSED = b'\nslot ', b'\nmissed '   # lines of a header


def encode(codec: Codec, plan: Plan, args: tuple[Any, ...] = (),
           kw: dict[str, Any] | None = None) -> bytes:
    """The arguments of a schedule's call, signed with all that its plan says.

    :raises EncodeError: naming the argument that is the matter; a Deferred can be none.
    """
    # No task has an empty nonce: this is the message of none.
    return codec.encode_call(PREFIX + plan.name, '', _header(plan.task, encode_plan(plan)),
                             args, kw or {}, _refuse)


def opened(codec: Codec, name: str, record: Record) -> tuple[Plan, bytes]:
    """The plan of a schedule, and the payload of its call, once they have verified.

    :raises UntrustedMessage: if they do not.
    :raises Damaged: if it is none of that name.
    """
    plan = decode_plan(record.plan)
    payload = codec.open(CALL, PREFIX + name, '', _header(plan.task, record.plan), record.call)
    return plan, payload


def message(codec: Codec, plan: Plan, call: bytes, payload: bytes, slot: int, missed: int,
            id: str) -> Message:
    """The task of a run.

    :param call: the envelope of `payload`.
    """
    nonce = new_nonce()
    header = f'{plan.task}\nslot {slot} {plan.timing.zone} {plan.name}'.encode()
    if missed:
        header += b'\nmissed %d' % missed
    header += plan.lines.encode()
    body = sealed_anew(codec, call, id, nonce, header, payload)
    flags, priority, _, ttl, lease, deliveries, expires = plan.stamp
    return Message(id, nonce, header, body, (), flags, priority, 0, ttl, lease, deliveries, expires)


def run_id(name: str, slot: int) -> str:
    """The id of the run for a slot."""
    return f'{name}@{moment(slot):%Y-%m-%dT%H:%M:%S}{f".{slot % 1000:03}" if slot % 1000 else ""}Z'


def moment(ms: int, zone: str = 'UTC') -> datetime:
    """A moment as people read it; in UTC, if this machine does not know the zone."""
    try:
        where = zone_of(zone)
    except ValueError:
        where = UTC
    return datetime.fromtimestamp(ms / 1000, where)


def told(header: bytes) -> tuple[int, str, int, str] | None:
    """What the header of a task says: its slot in ms, the zone, how many were missed before it, and
    the name of the schedule.

    :returns: None if it is no run of a schedule.
    """
    if SLOT not in header:
        return None
    slot, zone, missed, name = 0, 'UTC', 0, ''
    for each in header.split(b'\n')[1:]:
        word, _, rest = each.decode('utf-8', 'replace').partition(' ')
        number, _, where = rest.partition(' ')
        if word == 'slot' and number.isdecimal() and len(number) < 15:
            zone, _, name = where.partition(' ')
            slot = int(number)
        elif word == 'missed' and number.isdecimal() and len(number) < 15:
            missed = int(number)
    return slot, zone, missed, name


def slot_of(header: bytes) -> datetime | None:
    """The slot that a task is a run for, in the zone of its schedule; None: it is no run."""
    found = told(header)
    return None if found is None else moment(found[0], found[1])


def words_of(header: bytes) -> str:
    """Of a run of a schedule, in words: which schedule, which slot; else ''."""
    found = told(header)
    if found is None:
        return ''
    slot, zone, missed, name = found
    more = f', {missed:,} missed before it' if missed else ''
    when = f'{moment(slot, zone):%Y-%m-%d %H:%M:%S %Z}'
    return line(f'a run of the schedule {name}, slot {when}{more}')


def _header(task: str, plan: str) -> bytes:
    """What is signed as the header of a schedule's call; errors name the task by its first line."""
    return f'{task}\nschedule {plan}'.encode()


def _refuse(obj: object) -> NoReturn:
    raise TypeError('a schedule can have no Deferred among its arguments: the task itself may call '
                    'others')
