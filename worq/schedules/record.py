"""What the register of a schedule holds, and how that changes. Pure functions.

It is JSON: what the schedule is, as a text of its own that is signed with its call; and how it
stands. The latter nobody signs: who can write to the queue can have slots run early, late or never,
but nothing run that its owner has not signed.
"""
from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import blake2b
import json
from typing import NamedTuple

from worq.errors import WorqError
from worq.printable import line
from worq.queue.validation import ID_BYTES
from worq.slots import Step, following
from worq.timing import LAST, Timing, restored

__all__ = ['Plan', 'Record', 'Run', 'Damaged', 'beside', 'changed', 'created', 'decode', 'encode',
           'encode_plan', 'decode_plan', 'digest', 'fired', 'passed', 'PREFIX', 'NUMBER']

PREFIX = 'schedule:'    # of the registers, one for each schedule
NUMBER = 'schedules'    # the register that is another after each change
ORPHANED = 3_600_000    # ms without a pool that declares it
STAMP = 7               # fields of a message that options decide, see ``Options.stamp``


class Damaged(WorqError):
    """What a register holds is no schedule: somebody else has written it."""


class Plan(NamedTuple):
    """What a schedule is. What it calls has its arguments beside it, see `Record`."""

    name: str
    task: str
    timing: Timing
    lines: str = ''                        #: of the header, by the options of the call
    stamp: tuple[int, ...] = ()            #: the other fields of its message


class Run(NamedTuple):
    """The last run."""

    slot: int
    id: str
    nonce: str
    at: int              #: when it was put, in ms by the queue's clock


class Record(NamedTuple):
    """A schedule and how it stands; moments are ms since the epoch."""

    plan: str            #: as `encode_plan` writes it
    call: bytes          #: the arguments, an envelope that is signed along with `plan`
    next: int | None     #: the first slot that had no run yet; None: there is none
    code: str = ''       #: what code declared last, a digest; empty: nothing
    seen: int = 0        #: when a pool has declared it last
    paused: str = ''     #: by whom
    run: Run | None = None
    fired: int = 0       #: runs ever
    missed: int = 0      #: slots that had none, ever ...
    lost: int = 0        #: ... and since the last run
    skipped: int = 0     #: slots that were skipped, ever
    skip: int | None = None   #: the last of them
    done: int = 0        #: the last slot that had a run, or was skipped

    def orphaned(self, now: int) -> bool:
        """Whether no pool has declared it for an hour, though code once did."""
        return bool(self.code) and now - self.seen > ORPHANED


# -- changes ------------------------------------------------------------------------

def created(plan: Plan, call: bytes, now: int, code: str = '') -> Record:
    """A new schedule: its first slot is after the present."""
    return Record(encode_plan(plan), call, following(plan.timing, now), code, now)


def changed(record: Record, plan: Plan, call: bytes, now: int, code: str = '') -> Record:
    """Another plan for a schedule. A slot that is due, and had no run yet, has one all the same, if
    it is one of the new timing too; none that had one has another."""
    since = now if record.next is None else min(now, record.next - 1)
    since = max(since, record.done)   # the present of another pool may be ahead of ours
    return record._replace(plan=encode_plan(plan), call=call, next=following(plan.timing, since),
                           code=code or record.code, seen=now if code else record.seen)


def fired(record: Record, step: Step, run: Run) -> Record:
    """After a run for a slot."""
    return passed(record, step)._replace(run=run, fired=record.fired + 1, lost=0, done=run.slot)


def beside(record: Record, run: Run) -> Record:
    """After a run for no slot, by somebody who did not want to wait."""
    return record._replace(run=run, fired=record.fired + 1)


def passed(record: Record, step: Step, skip: int | None = None) -> Record:
    """After slots without a run.

    :param skip: the slot that has none since the run before it is not done.
    """
    record = record._replace(next=step.next, missed=record.missed + step.missed,
                             lost=record.lost + step.missed)
    if skip is None:
        return record
    return record._replace(skipped=record.skipped + 1, skip=skip, done=skip)


# -- as text ------------------------------------------------------------------------

def encode_plan(plan: Plan) -> str:
    """A plan as text: the same for the same plan."""
    return json.dumps([plan.name, plan.task, list(plan.timing), plan.lines, list(plan.stamp)],
                      separators=(',', ':'))


def decode_plan(text: str) -> Plan:
    """The plan in a text; Damaged if it is none. What is signed was written by us."""
    try:
        name, task, timing, lines, stamp = json.loads(text)
        if len(stamp) != STAMP or not all(isinstance(one, str) for one in (name, task, lines)):
            raise ValueError('its fields are of other types')
        f'{name}{task}{lines}'.encode()   # of half a character nothing can be made
        return Plan(name, task, restored(timing), lines, tuple(map(_number, stamp)))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Damaged(f'no plan of a schedule: {line(str(error))}') from None


def digest(plan: Plan) -> str:
    """Tells plans apart."""
    return blake2b(encode_plan(plan).encode(), digest_size=12).hexdigest()


def encode(record: Record) -> bytes:
    """What the register is to hold."""
    fields = record._asdict()
    fields['call'] = b64encode(record.call).decode('ascii')
    fields['run'] = None if record.run is None else list(record.run)
    return json.dumps({name: value for name, value in fields.items()
                       if value not in (None, '', 0)}, separators=(',', ':')).encode()


def decode(value: bytes) -> Record:
    """What a register holds.

    :raises Damaged: if that is no schedule.
    """
    try:
        found = json.loads(value)
        run = found.get('run')
        found['plan'].encode()   # of half a character nothing can be made
        return Record(
            plan=found['plan'], call=b64decode(found['call'], validate=True),
            next=_moment(found.get('next')), code=str(found.get('code', '')),
            seen=_number(found.get('seen', 0)), paused=str(found.get('paused', '')),
            run=None if run is None else _run(*run),
            fired=_number(found.get('fired', 0)), missed=_number(found.get('missed', 0)),
            lost=_number(found.get('lost', 0)), skipped=_number(found.get('skipped', 0)),
            skip=_moment(found.get('skip')), done=_number(found.get('done', 0)))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError,
            AttributeError) as error:
        raise Damaged(f'no schedule: {line(str(error))}') from None


def _run(slot: object, id: object, nonce: object, at: object) -> Run:
    if not isinstance(id, str) or not 0 < len(id.encode()) <= ID_BYTES \
            or not isinstance(nonce, str):
        raise ValueError(f'{id!r} is no run')
    return Run(_moment(slot) or 0, id, nonce, _number(at))


def _moment(value: object) -> int | None:
    if value is not None and _number(value) >= LAST:
        raise ValueError(f'{value!r} is no moment')
    return None if value is None else _number(value)


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 53:
        raise ValueError(f'{value!r} is no such number')
    return value
