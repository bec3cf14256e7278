"""Put what is due: for any number of pools at a time; `worq.schedules` tells why that is safe.

Duties: 1. know the schedules; 2. declare those of the code; 3. put each slot once.
"""
from __future__ import annotations

from collections import deque
import os
import time
from typing import Callable, Mapping, NamedTuple

from worq import const, slots
from worq.codec import Codec
from worq.errors import DecodeError, QueueError
from worq.ids import new_nonce
from worq.options import Options
from worq.printable import logger
from worq.queue.base import Note, TaskQueue
from worq.schedules import call, store
from worq.schedules.record import (
    PREFIX, Damaged, Plan, Record, Run, changed, created, decode, digest, encode, fired, passed,
)
from worq.slots import Step
from worq.timing import Timing

__all__ = ['LOOK', 'Clock', 'Firing', 'plan_of']

log = logger(__name__)

LOOK = 5.0           # seconds between two looks whether schedules have changed
ALL_AGAIN = 900.0    # ... until all are read again: who has changed one may have died half-way
SYNC = 60.0          # ... between two questions what the queue's clock says
SEEN = 1_200_000     # ms after which it is noted anew that a pool declares a schedule
FEW = 10             # schedules that are tried one by one, however many pools there are
STEPS = 100          # slots of a schedule in one look


class Clock:
    """The queue's clock, as it is known here: never ahead of it.

    :param queue: tells what it shows; from the moment on at which the answer has come it is counted
        on, by a clock of this machine that nobody sets.
    """

    def __init__(self, queue: TaskQueue) -> None:
        self._queue = queue
        self._told = self._at = 0.0   # ms of the queue; monotonic seconds
        self._sync_at = 0.0

    def now(self) -> int:
        """Its time in ms since the epoch."""
        now = time.monotonic()
        if now >= self._sync_at:
            self._told = self._queue.totals().now
            self._at = time.monotonic()
            self._sync_at = self._at + SYNC
        return int(self._told + (time.monotonic() - self._at) * 1000)


def plan_of(name: str, timing: Timing) -> Plan:
    """The plan of what is declared with the task of this name."""
    lines, stamp = Options().stamp()
    return Plan(name, name, timing, lines.decode(), stamp)


class Known(NamedTuple):
    """A schedule that is usable: how it stands, and what it is, which has been verified."""

    record: Record
    plan: Plan
    payload: bytes   #: of its call


class Firing:
    """A pool's part in the schedules of its queue.

    It is used by one thread, but for ``declare``.

    :param queue: whose schedules.
    :param codec: of the broker: it verifies what was declared, and signs what is put.
    :param now: the queue's clock, in ms; by default it is asked.
    """

    def __init__(self, queue: TaskQueue, codec: Codec,
                 now: Callable[[], int] | None = None) -> None:
        self.queue = queue
        self.codec = codec
        self._now = now or Clock(queue).now
        self._number: bytes | None = None       # as it was when all were read
        self._birth = b''                       # what it began with
        self._all_again = 0.0                   # monotonic
        self._held: dict[str, bytes] = {}       # what the registers hold, as far as is known ...
        self._known: dict[str, Known] = {}      # ... and what that means, unless it is not usable
        self._wanted: Mapping[str, Timing] = {}   # what the code of the pool declares ...
        self._declared: Mapping[str, Timing] = self._wanted   # ... and what of it is declared
        self._beaten = False                    # whether another pool was quicker, just now
        self._told: dict[str, str] = {}         # digests of what has been declared

    def __repr__(self) -> str:
        return f'<Firing of {self.queue!r}: {len(self._known)} schedules>'

    def declare(self, timings: Mapping[str, Timing]) -> None:
        """Say what the code declares, by the names of tasks; from any thread."""
        self._wanted = dict(timings)

    def look(self, stopping: Callable[[], bool] = lambda: False) -> float:
        """Declare and put what there is to be.

        :param stopping: whether to leave the rest to others.
        :returns: seconds until there may be something to do.
        :raises QueueError: if the queue is away; then look again later.
        """
        read = self._read()
        if not self._known and not self._wanted:
            return LOOK
        failure = self._declare_all(read)
        again = self._fire_all(stopping)
        if failure is not None:
            raise failure
        return again

    def due(self) -> int | None:
        """When something is due, in ms by the queue's clock; None: nothing is."""
        self._read()
        return min(self._dues().values(), default=None)

    def _dues(self) -> dict[str, int]:
        """When the next slot of each schedule is due, by name."""
        return {name: slots.due_at(name, plan.timing, record.next)
                for name, (record, plan, _) in self._known.items()
                if record.next is not None and not record.paused}

    # 1. -- know ----------------------------------------------------------------------

    def _read(self) -> bool:
        """Know what has changed; whether all were read."""
        number, now = store.number(self.queue), time.monotonic()
        birth = store.born(number)
        if number == self._number and birth == self._birth and now < self._all_again:
            return False
        if self._birth and birth != self._birth:   # nobody has forgotten them: all is lost
            log.warning('the schedules of the queue are lost: what code declares is declared anew')
            self._told.clear()
            self._declared = {}
        self._birth = birth
        held = store.read_all(self.queue)
        for name in self._held.keys() - held.keys():
            self._learn(name, b'')
        for name, value in held.items():
            self._learn(name, value)
        self._number, self._all_again = number, now + ALL_AGAIN
        return True

    def _catch_up(self, name: str) -> None:
        """Read those whose names are the next ones, for others have put some of them."""
        page = dict(self.queue.notes(PREFIX, PREFIX + name, const.NOTES_PAGE))
        for register, value in page.items():
            self._learn(register.removeprefix(PREFIX), value)

    def _learn(self, name: str, value: bytes) -> None:
        """A register holds this."""
        if value == self._held.get(name, b''):
            return
        self._known.pop(name, None)
        self._held.pop(name, None)
        if not value:
            return
        self._held[name] = value
        try:
            record = decode(value)
            self._known[name] = Known(record, *call.opened(self.codec, name, record))
        except (Damaged, DecodeError) as error:
            log.error('the schedule %s is not put by this pool: %s', name, error)

    def _give_up(self, name: str, error: Exception) -> None:
        """Until it is another one."""
        self._known.pop(name, None)
        log.error('the schedule %s is not put by this pool, and by no other unless that can: %s',
                  name, error)

    # 2. -- declare -------------------------------------------------------------------

    def _declare_all(self, read: bool) -> QueueError | None:
        """Declare what is new; after all were read also say that the rest is still declared.

        Not at other times: then all pools would, and be refused but for the first one.

        :returns: what kept one from it. What there is, is put all the same.
        """
        wanted = self._wanted
        if wanted is self._declared and not read:
            return None
        now = self._now()
        for name in wanted:
            try:
                self._declare(name, now)
            except QueueError as error:   # there may be too many registers
                log.error('the schedule %s could not be declared: %s', name, error)
                return error
            except Exception:
                log.exception('the schedule %s could not be declared', name)
        self._declared = wanted
        return None

    def _declare(self, name: str, now: int) -> None:
        plan = plan_of(name, self._wanted[name])
        code = digest(plan)
        fresh = self._told.get(name) != code
        known = self._known.get(name)
        record = known and known.record
        if record is None and not fresh or record is not None and record.code == code \
                and now - record.seen < SEEN:
            self._told[name] = code
            return

        envelope = b''

        def to(record: Record | None) -> Record | None:
            if record is None:   # somebody has forgotten it since, if it is not new
                return created(plan, sealed(), now, code) if fresh else None
            if fresh and not self._usable(name, record):   # by a secret that is not known any more
                return changed(record, plan, sealed(), now, code)
            if record.code == code or not fresh:   # an older pool goes on, but says nothing new
                return record._replace(seen=max(record.seen, now)) \
                    if record.code == code and now - record.seen >= SEEN else record
            return changed(record, plan, sealed(), now, code)

        def sealed() -> bytes:
            nonlocal envelope
            envelope = envelope or call.encode(self.codec, plan)
            return envelope

        before = self._held.get(name, b'')
        if not before and slots.following(plan.timing, now) is None:
            log.warning('the schedule %s is never run: its moment is past', name)
        value = store.change(self.queue, name, to, before)
        if fresh and value != before:
            log.info('the schedule %s is declared', name)
            self._birth = store.born(store.announce(self.queue))
        self._learn(name, value)
        self._told[name] = code

    def _usable(self, name: str, record: Record) -> bool:
        try:
            call.opened(self.codec, name, record)
        except (Damaged, DecodeError):
            return False
        return True

    # 3. -- put -----------------------------------------------------------------------

    def _fire_all(self, stopping: Callable[[], bool]) -> float:
        """Put what is due; seconds until there is more.

        All pools do so at the same moment. So each begins somewhere else, and if many are due, who
        was not the first with one of them looks what else is done, and goes on somewhere else.
        """
        now = self._now()
        names = deque(sorted(name for name, due in self._dues().items() if due <= now))
        elsewhere = True
        while names and not stopping():
            if elsewhere:
                names.rotate(int.from_bytes(os.urandom(4), 'big') % len(names))
            name = names.popleft()
            self._beaten = False
            try:
                self._fire(name, stopping)
            except QueueError:
                raise
            except Exception as error:   # others have written what is no schedule: the rest goes on
                log.debug('the schedule %s', name, exc_info=True)
                self._give_up(name, error)
            elsewhere = self._beaten and len(names) > FEW
            if elsewhere:
                self._catch_up(name)
                dues = self._dues()
                names = deque(one for one in names if dues.get(one, now + 1) <= now)
        now = self._now()   # others have put some of it, and may be gone when the next is due
        return min([LOOK, *(max(0.0, (due - now) / 1000) for due in self._dues().values())])

    def _fire(self, name: str, stopping: Callable[[], bool]) -> None:
        """Put the slots of a schedule that are due, some of them if there are many."""
        for _ in range(STEPS):
            known = self._known.get(name)
            if known is None or known.record.paused or known.record.next is None or stopping():
                return
            record, plan, payload = known
            now = self._now()
            try:
                step = slots.step(name, plan.timing, known.record.next, now)
            except (ValueError, ImportError) as error:
                self._give_up(name, error)
                return
            if step is None:
                return
            self._step(name, record, plan, payload, step, now)

    def _step(self, name: str, record: Record, plan: Plan, payload: bytes, step: Step,
              now: int) -> None:
        """Try to be the one who does this step; whoever it is, know how the schedule stands."""
        if step.run is None:
            self._pass(name, record, passed(record, step))
            return
        if record.run is not None and plan.timing.overlap != 'queue' \
                and self.queue.status([record.run.id])[0] in const.LIVE:
            if plan.timing.overlap == 'skip':
                log.warning('the schedule %s skips the slot %s: the run %s is not done', name,
                            call.moment(step.run, plan.timing.zone), record.run.id)
                self._pass(name, record, passed(record, step, step.run))
                return
            self.queue.cancel([record.run.id])
        self._put(name, record, plan, payload, step, now, call.run_id(name, step.run))

    def _pass(self, name: str, record: Record, after: Record) -> None:
        if after.missed > record.missed:
            log.warning('%d slots of the schedule %s were missed', after.missed - record.missed,
                        name)
        value = _value(after)
        held = self.queue.note(PREFIX + name, value, self._held[name])
        self._beaten = held != value
        self._learn(name, held)

    def _put(self, name: str, record: Record, plan: Plan, payload: bytes, step: Step, now: int,
             id: str) -> None:
        assert step.run is not None
        message = call.message(self.codec, plan, record.call, payload, step.run,
                               record.lost + step.missed, id)
        after = fired(record, step, Run(step.run, id, message.nonce, now))
        value = _value(after)
        note = Note(PREFIX + name, value, self._held[name])
        refusals = self.queue.put([message], note=note)
        if not refusals:
            self._learn(name, value)
        elif refusals[0].word == 'changed':   # another pool was quicker
            self._beaten = True
            self._learn(name, refusals[0].held)
        else:   # a task that somebody has named so
            self._put(name, record, plan, payload, step, now, f'{id}-{new_nonce()}')


def _value(record: Record) -> bytes:
    """What the register is to hold: nothing, if it ran once and is over."""
    return b'' if record.next is None and not record.code else encode(record)
