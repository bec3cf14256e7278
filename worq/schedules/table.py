"""``broker.schedules``: the schedules of a queue, seen and steered."""
from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Iterable, NamedTuple, TypeVar

from worq import timing
from worq.acts import enter
from worq.codec import Codec
from worq.deferred import Deferred
from worq.errors import DecodeError
from worq.ids import new_nonce
from worq.printable import line
from worq.queue.base import Note
from worq.schedules import call, store
from worq.schedules.record import (
    PREFIX, Damaged, Plan, Record, Run, beside, changed, created, decode, decode_plan, encode,
)
from worq.slots import due_at
from worq.task import Queue, Task, parts

__all__ = ['Schedule', 'Schedules', 'shown']

T = TypeVar('T')


class Schedule(NamedTuple):
    """A schedule, as it stood a moment ago. Moments are in its own zone."""

    name: str
    task: str                #: the name of the task that it calls
    when: str                #: its timing in words
    next: datetime | None    #: the next slot; None: there is none
    last: datetime | None    #: the slot of the last run, or when somebody had it run
    run: str                 #: the id of that run
    paused: str              #: by whom; empty: it is not
    orphaned: bool           #: no pool has declared it for an hour, though code once did
    fired: int               #: runs ever
    missed: int              #: slots ever that had none
    skipped: int             #: slots ever that were skipped, since the run before was not done
    late: float = 0          #: seconds since a slot is due that has no run yet
    problem: str = ''        #: why it cannot run, if what is stored is not as it should be
    timing: timing.Timing | None = None

    def __repr__(self) -> str:
        state = self.problem or self.paused and f'paused by {self.paused}' or \
            (f'next {self.next:%Y-%m-%d %H:%M:%S %Z}' if self.next else 'over')
        return line(f'<Schedule {self.name}: {self.task} {self.when}; {state}>')


class Schedules:
    """The schedules of a broker's queue; `worq.schedules` tells what they mean.

    ::

        broker.schedules.set('hourly', q.report.make, every=3600, args=['all'])
        broker.schedules.pause('hourly')

    What it is told takes effect at once, in all pools: within some seconds.

    :param broker: the `Broker` of the queue.
    """

    def __init__(self, broker: Any) -> None:
        self._broker = broker

    def __repr__(self) -> str:
        return f'<Schedules of {self._broker!r}>'

    def set(self, name: str, target: Queue | Task, *, args: Iterable[Any] = (),
            kw: dict[str, Any] | None = None, by: str = '', **when: Any) -> Schedule:
        """Have a task called at regular times. An earlier schedule of this name is replaced.

        :param name: of the schedule: 1 to 150 bytes.
        :param target: a Queue or Task, as ``q.report.make`` or ``Task(q.report.make, retries=3)``.
        :param args: of the call, as `kw`: a few thousand bytes at most.
        :param by: who does it, for ``broker.acts()``.
        :param when: `cron`, `every` or `at`; `zone`, `missed`, `grace`, `overlap`, `spread`.
        :raises ValueError: for what makes no sense, and if it would never run.
        :raises TypeError: for other options.
        """
        store.check_name(name)
        unknown = when.keys() - timing.OPTIONS
        if unknown:
            raise TypeError(f'{min(unknown)!r} is no option of a schedule; there are '
                            f'{", ".join(timing.OPTIONS)}')
        plan = self._plan(name, target, timing.checked(**when))
        envelope = call.encode(self._broker.codec, plan, tuple(args), kw)
        now = self._now()
        fresh = created(plan, envelope, now)
        if fresh.next is None:
            raise ValueError('it would never run: the moment is past')
        store.value_of(fresh)

        def to(record: Record | None) -> Record:
            return fresh if record is None else changed(record, plan, envelope, now)
        return _there(name, self._changed(name, to, 'schedule', by))

    def _plan(self, name: str, target: Queue | Task, when: timing.Timing) -> Plan:
        broker, task, options = parts(target)
        if broker is not self._broker and \
                (broker.url, broker.name) != (self._broker.url, self._broker.name):
            raise ValueError(f'{target!r} is of another queue than {self._broker!r}')
        if not task:
            raise TypeError('a queue is no task: name one, as in q.module.function')
        for option in 'id', 'delay', 'eta':
            if getattr(options, option):
                raise ValueError(f'{option}= makes no sense for the calls of a schedule: it says '
                                 'when they are, and names them')
        lines, stamp = options.stamp()
        return Plan(name, task, when, lines.decode(), stamp)

    def get(self, name: str) -> Schedule | None:
        """A schedule; None: there is none of this name."""
        value = store.read(self._broker.backend, name)
        return self._shown(name, value, self._now()) if value else None

    def list(self) -> list[Schedule]:
        """All of them, by their names."""
        now = self._now()
        return [self._shown(name, value, now)
                for name, value in store.read_all(self._broker.backend).items()]

    def pause(self, name: str, by: str = '') -> Schedule:
        """Put no run of it until it is resumed. Its slots are missed then.

        :param by: who does it, for ``broker.acts()``; and so below.
        :raises LookupError: if there is no such schedule; and so below.
        """
        def to(record: Record | None) -> Record:
            return _there(name, record)._replace(paused=line(by)[:100] or 'somebody')
        return _there(name, self._changed(name, to, 'pause schedule', by))

    def resume(self, name: str, by: str = '') -> Schedule:
        """Go on with what is paused; slots that were missed have runs as its timing says.

        :param by: who does it.
        """
        def to(record: Record | None) -> Record:
            return _there(name, record)._replace(paused='')
        return _there(name, self._changed(name, to, 'resume schedule', by))

    def run(self, name: str, by: str = '') -> Deferred:
        """Put a run now, beside those for slots; also if it is paused, or a run is not done yet.

        :param by: who does it.
        :returns: its Deferred.
        """
        broker = self._broker
        held, more = store.read(broker.backend, name), ''
        for _ in range(store.TRIES):
            record = _there(name, decode(held) if held else None)
            plan, payload = call.opened(broker.codec, name, record)
            now = self._now()
            message = call.message(broker.codec, plan, record.call, payload, now, 0,
                                   call.run_id(name, now) + more)
            run = Run(now, message.id, message.nonce, now)
            note = Note(PREFIX + name, encode(beside(record, run)), held)
            refusals = broker.backend.put([message], note=note)
            if not refusals:
                store.announce(broker.backend)
                enter(broker.backend, by, 'run schedule', 1, name)
                deferred: Deferred = broker.deferred(message.id)
                return deferred
            if refusals[0].word == 'changed':
                held = refusals[0].held
            else:   # somebody else has it run at the very same moment
                more = f'-{new_nonce()}'
        raise RuntimeError(f'others change the schedule {name!r} all the time')

    def forget(self, name: str, by: str = '') -> bool:
        """Forget a schedule; its runs go on. If code declares it, it is back with the next pool.

        :param by: who does it.
        :returns: whether there was one.
        """
        if not store.read(self._broker.backend, name):
            return False
        self._changed(name, lambda record: None, 'forget schedule', by)
        return True

    # -- within -----------------------------------------------------------------------

    def _now(self) -> int:
        now: int = self._broker.backend.totals().now
        return now

    def _changed(self, name: str, to: Callable[[Record | None], Record | None], what: str,
                 by: str) -> Schedule | None:
        backend = self._broker.backend
        value = store.change(backend, name, to)
        store.announce(backend)
        enter(backend, by, what, 1, name)
        return self._shown(name, value, self._now()) if value else None

    def _shown(self, name: str, value: bytes, now: int) -> Schedule:
        return shown(self._broker.codec, name, value, now)


def shown(codec: Codec, name: str, value: bytes, now: int) -> Schedule:
    """What the register of a schedule says, for people.

    :param codec: tells whether what was declared is to be trusted.
    :param now: ms by the queue's clock.
    """
    try:
        record = decode(value)
        plan = decode_plan(record.plan)
    except Damaged as error:
        return Schedule(name, '?', '?', None, None, '', '', False, 0, 0, 0, problem=str(error))
    when, problem = plan.timing, ''
    try:
        call.opened(codec, name, record)
    except DecodeError as error:
        problem = str(error)
    try:
        words = timing.words(when)
        if when.cron:
            timing.zone_of(when.zone)   # which pools need for the next slot
    except (ImportError, ValueError) as error:
        words, problem = when.cron, str(error)
    late = 0.0
    if record.next is not None and not record.paused:
        late = max(0, now - due_at(name, when, record.next)) / 1000
    slots = [None if each is None else call.moment(each, when.zone)
             for each in (record.next, record.run and record.run.slot)]
    return Schedule(name, plan.task, words, slots[0], slots[1],
                    record.run.id if record.run else '', record.paused, record.orphaned(now),
                    record.fired, record.missed, record.skipped, late, problem, when)


def _there(name: str, record: T | None) -> T:
    if record is None:
        raise LookupError(f'there is no schedule {name!r}')
    return record
