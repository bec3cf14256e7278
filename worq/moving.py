"""A queue moved into another one, of whatever engine: each task is in one of them, and runs once.

**What is moved.** All that is queued, scheduled or pending: in the same life, with what it was put
with, its edges, its tail call, the time that is left of its delay and until it expires. What such a
task needs of a completed one goes along as a result. Attempts are counted anew, and so are
deliveries; who was to hear of a task is told that it is cancelled, for it was moved, and where to.
Everything is signed anew for its new place (see ``worq.resealing``).

**What is not.** What runs is waited for. Results that no such task needs, failures that might be
run again, schedules, pauses, the log, what pools and minutes tell: all of it stays where it is.

**How.** The source is paused, so nothing of it begins, and it is waited until nothing runs. Then in
bounded steps, and in turns until nothing is left:

1. A gate is put into the target, leased for years: a crash of ours must not end it.
2. Behind it all tasks are put, each after its arguments. Nothing of that runs.
3. They are withdrawn at the source, each before its arguments (see `TaskQueue.withdraw`), and only
   if the target has them.
4. When nothing is at both, the gate is opened.

The register `REGISTER` of the source says how far that is: which gate, and whether something was
withdrawn. So it can be interrupted anywhere: done again, it goes on. What was put stays as it is
when it is put once more. What is put behind a gate was read after that gate was there, and a gate
that is open takes nothing more; so even two that move at a time would put nothing twice. But they
do not: who moves holds a gate at the source, too, and beats for it. What somebody cancels at the
source meanwhile is cancelled in the target, too, unless it ignores its result.

If it cannot be done, for a task of the target has an id that is moved, say, all is put back,
unless something was withdrawn before.
"""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
import json
import time
from typing import Any, NamedTuple, Protocol

from worq import acts, const, pausing
from worq.codec import Codec
from worq.copying import Conflict, Copying
from worq.ids import new_nonce
from worq.pieces import pieces
from worq.printable import logger
from worq.queue.base import CANCELLED, Held, Inspection, Message, Outcome, Row, TaskQueue, unpack
from worq.queue.pauses import ALL
from worq.queue.registers import held
from worq.resealing import Resealing
from worq.rotation import pages
from worq.upstream import open_arguments

__all__ = ['Conflict', 'Moved', 'Side', 'forget_move', 'move', 'moving_to', 'place']

log = logger(__name__)

REGISTER = 'move'       # of the source
MOVER = 'worq.move'     # the id of a gate there, which is held by whoever moves ...
LEASE = 10_000          # ms ... and is over so long after the last sign of life, or a while later:
AFTER = const.GRACE + 3 * const.TICK   # ms; if no pool was there
BEAT = 3.0              # seconds between two of them
FOREVER = const.SPAN * 1_000   # ms
STEP = 100              # ids that are asked for, or withdrawn, at a time
SHORTEST, LONGEST = 0.05, 1.0   # seconds between two looks at what others do
SHOWN = 3               # ids in an error
COPY, TAKE = 'copy', 'take'   # how far it is: whether something was withdrawn


class Side(Protocol):
    """A queue, and the codec of its messages; a Broker is one."""

    backend: TaskQueue
    codec: Codec


class Moved(NamedTuple):
    """What was moved."""

    tasks: int        #: that were queued, scheduled or pending
    results: int      #: completed ones that they need
    distrusted: int   #: how much of it was not to be believed; nor is it where it is now


class Overtaken(Conflict):
    """Somebody else has begun to move it, who goes on."""


def move(source: Side, target: Side, timeout: float | None = 60, by: str = '') -> Moved:
    """Move all that has not begun.

    :param timeout: seconds to wait for what runs, or is being put; None: for ever.
    :param by: who does it.
    :raises Conflict: if it cannot be done, or not now.
    :raises QueueError: if a queue cannot be reached.
    """
    if (source.backend.url, source.backend.name) == (target.backend.url, target.backend.name):
        raise ValueError(f'{source.backend!r} cannot be moved to itself')
    mover = Mover(source, target, timeout)
    done = mover.run()
    count = done.tasks
    acts.enter(source.backend, by, 'move', count, f'to {mover.where}')
    acts.enter(target.backend, by, 'move', count, f'from {place(source.backend)}')
    return done


def moving_to(queue: TaskQueue) -> str:
    """Where a queue is being moved to, or has to be moved on to; '' if it is not."""
    return str(register(held(queue, REGISTER)).get('to', ''))


def forget_move(queue: TaskQueue) -> None:
    """Have a queue know nothing of a move that was interrupted, and will not go on."""
    queue.note(REGISTER, b'')


def place(queue: TaskQueue) -> str:
    """Which queue it is, for people."""
    return f'{queue.name} at {queue.safe_url}'


class Mover:
    """Moves one queue. Duties: 1. hold it; 2. look; 3. copy; 4. withdraw; 5. put back.

    :param timeout: seconds to wait for what others do.
    """

    def __init__(self, source: Side, target: Side, timeout: float | None) -> None:
        self.source = source.backend
        self.target = target.backend
        self.codec = target.codec
        self.resealing = Resealing(source.codec, target.codec)
        self.where = place(target.backend)
        self.reason = f'moved to {self.where}'[:const.PROGRESS // 4]
        self.timeout = timeout
        self.nonce = new_nonce()         # of the gate that we hold at the source
        self.note: dict[str, Any] = {}   # what the register says ...
        self.held = b''                  # ... as it says it
        self.beaten = time.monotonic()
        self.rows: dict[str, Row] = {}      # what was there when we looked last
        self.lives: dict[str, str] = {}     # what may be at both, by id: which life
        self.moved = self.results = 0

    def run(self) -> Moved:
        """Do it."""
        self._hold()
        try:
            self._begin()
            try:
                self._move_all()
            except Overtaken:
                raise
            except (Conflict, TimeoutError) as error:
                self._put_back()
                raise Conflict(f'{place(self.source)} cannot be moved: {error}') from error
            self._end()
        finally:
            with suppress(Exception), self.source.within(0):
                self.source.settle(MOVER, [Outcome(MOVER, self._token, 'value')])
        return Moved(self.moved, self.results, self.resealing.distrusted)

    def _move_all(self) -> None:
        pauses = Pauses(self.timeout)
        while self._look():
            before = self.moved
            self._turn()
            if self.moved > before:
                pauses = Pauses(self.timeout)
            else:
                self._wait(pauses, f'{len(self.lives):,} tasks are still being put, or are needed, '
                           f'as {named(self.lives)}')
        self._open()

    # 1. -- hold it -----------------------------------------------------------------

    @property
    def _token(self) -> bytes:
        return f'{self.nonce}1'.encode()

    def _hold(self) -> None:
        """Be the only one who moves it; one that has died is waited for."""
        gate = Message(MOVER, self.nonce, MOVER.encode(), b'', flags=const.GATE, ttl=1,
                       lease=LEASE)
        pauses = Pauses((LEASE + AFTER) / 1_000)
        while True:
            self.source.beat(MOVER)   # a tick, which may find it dead
            if not self.source.put([gate]):
                return
            if not pauses.number:
                log.info('somebody moves %s, or has died doing so; waiting', place(self.source))
            try:
                pauses.next('')
            except TimeoutError:
                raise Conflict(f'somebody else moves {place(self.source)}') from None

    def _beat(self) -> None:
        """A sign of life, if it is time for that."""
        now = time.monotonic()
        if now - self.beaten > BEAT:
            self.beaten = now
            if self.source.beat(MOVER, [Held(MOVER, self._token)], LEASE):
                raise Overtaken(f'{place(self.source)} is moved by somebody else now: it had not '
                                'heard of us for too long')

    def _wait(self, pauses: Pauses, what: str) -> None:
        pauses.next(what)
        self._beat()

    def _begin(self) -> None:
        """Note that it is moved, and pause it."""
        self.held = held(self.source, REGISTER)
        self.note = register(self.held)
        if self.note and self.note.get('to') != self.where:
            raise Conflict(f'{place(self.source)} is being moved to {self.note.get("to")}: that '
                           'has to be done first')
        if not self.note:
            self.note = {'to': self.where, 'paused': self._is_paused(), 'phase': COPY,
                         'gate': new_nonce()}
        else:
            self.lives = self._held_back()
        self._write()
        if held(self.target, REGISTER) == self.held:
            self.source.note(REGISTER, b'')
            raise ValueError(f'{place(self.source)} and {self.where} are one and the same')
        pausing.pause(self.source, ALL, self.reason)

    def _is_paused(self) -> bool:
        return any(one.pattern == ALL for one in pausing.pauses(self.source))

    def _write(self, **changes: str) -> None:
        """Have the register say how far it is."""
        self.note |= {**changes, 'by': self.nonce}
        value = json.dumps(self.note).encode()
        if self.source.note(REGISTER, value, self.held) != value:
            raise Overtaken(f'{place(self.source)} is moved by somebody else')
        self.held = value

    def _end(self) -> None:
        """It is done, or undone."""
        if not self.note.get('paused'):
            pausing.resume(self.source, ALL)
        self.source.note(REGISTER, b'', self.held)

    # 2. -- look ----------------------------------------------------------------------

    def _look(self) -> bool:
        """See what there is to be moved, as soon as nothing runs; whether there is anything."""
        pauses = Pauses(self.timeout)
        while running := [row for rows in pages(self.source, const.PROCESSING) for row in rows]:
            self._wait(pauses, f'{len(running):,} tasks still run, as '
                       f'{named([row.id for row in running])}')
        self.rows = {}
        for state in const.ENQUEUED, const.SCHEDULED, const.PENDING:
            for rows in pages(self.source, state):
                for row in rows:
                    self.rows.setdefault(row.id, row)
                self._beat()
        self._end_there()
        return bool(self.lives)

    def _held_back(self) -> dict[str, str]:
        """What whoever began it has put behind the gate; it may have ended here since."""
        found: dict[str, str] = {}
        for rows in pages(self.target, const.PENDING):
            ids = [row.id for row in rows]
            found.update((id, seen.nonce) for id, seen in zip(ids, self.target.inspect(ids, 0))
                         if seen is not None and seen.gate == self.note['gate'])
            self._beat()
        return found

    def _end_there(self) -> None:
        """What was put there, and somebody has cancelled here since, is cancelled there, too."""
        lives = {id: row.nonce for id, row in self.rows.items()}
        over = [id for id, nonce in self.lives.items() if lives.get(id) != nonce]
        for some in pieces(over, STEP):
            there = self._copied(some)
            for id, state, raw in zip(there, self.source.status(there), self.source.results(there)):
                if state == const.CANCELLED:   # else it is a result that was about to be put
                    self._is_ours(id, raw)
                elif state in const.LIVE and id in lives:   # another life
                    self.target.cancel([id])
                elif state in const.LIVE:   # it went from one state to another as we looked
                    lives[id] = self.lives[id]
            self._beat()
        self.lives = lives

    def _sources(self) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
        """What pending tasks wait for: their open arguments, and what they have returned."""
        arguments: dict[str, list[str]] = {}
        targets: dict[str, list[str]] = {}
        ids = [id for id, row in self.rows.items() if row.state == const.PENDING]
        for some in pieces(ids, STEP):
            for id, seen in zip(some, self.source.inspect(some, 0)):
                arguments[id] = open_arguments(self.source, id, seen)
                if seen is not None and seen.target:
                    targets[id] = [seen.target]
            self._beat()
        return arguments, targets

    # 3. -- copy ----------------------------------------------------------------------

    def _turn(self) -> None:
        """Move what can be moved of what is there."""
        self._put_gate()
        arguments, targets = self._sources()
        self._check()
        copying = Copying(self.source, self.target, self.note['gate'], self.rows, self.resealing,
                          self._beat)
        copies = copying.copy(ordered(self.rows, arguments))
        self.results += copying.results
        waits = {id: arguments.get(id, []) + targets.get(id, []) for id in copies}
        if self._withdraw(ordered(copies, waits)):
            self._open()

    def _put_gate(self) -> None:
        """Put the gate, if it is not there. What was behind one that is gone has gone with it."""
        for gate in self.note['gate'], new_nonce():
            refusals = self.target.put([Message(gate, gate, MOVER.encode(), b'', flags=const.GATE,
                                                ttl=const.MINUTE * 1_000, lease=FOREVER)])
            if not refusals and self.target.status([gate]) == [const.PROCESSING]:
                if gate != self.note['gate']:
                    self._write(phase=COPY, gate=gate)
                return
        raise Conflict(f'{self.where} takes no gate')

    def _check(self) -> None:
        """See that nothing else has these ids there. What has a life of ours that was cancelled,
        as by an earlier move back, makes room."""
        for some in pieces(list(self.rows), STEP):
            stale = []
            for id, seen in self._there(some):
                ours = seen.nonce == self.rows[id].nonce
                if seen.state in const.LIVE and not (ours and seen.gate == self.note['gate']):
                    raise Conflict(f'a task {id!r} is in {self.where} already: one of the two has '
                                   'to end before')
                if ours and seen.state == const.CANCELLED:
                    stale.append(id)
            if stale:
                self.target.forget(stale)
            self._beat()

    def _there(self, ids: Sequence[str]) -> list[tuple[str, Inspection]]:
        """Those that the target knows."""
        known = [id for id, status in zip(ids, self.target.status(ids)) if status is not None]
        return [(id, seen) for id, seen in zip(known, self.target.inspect(known)) if seen]

    def _copied(self, ids: Sequence[str]) -> list[str]:
        """Those of which the target has this very life."""
        return [id for id, seen in self._there(ids) if seen.nonce == self.lives[id]]

    # 4. -- withdraw ------------------------------------------------------------------

    def _withdraw(self, order: Sequence[str]) -> bool:
        """Withdraw what was put, each before what it waits for; whether nothing is at both now."""
        self._write(phase=TAKE)
        left = list(reversed(order))
        while left:
            needed = [id for some in pieces(left, STEP) for id in self._withdraw_some(some)]
            if len(needed) == len(left):
                break
            left = needed
        # What this turn has not put may have been put by one that was interrupted.
        for some in pieces(list(self.lives), STEP):
            if self._copied(some):
                return False
            self._beat()
        return True

    def _withdraw_some(self, ids: Sequence[str]) -> list[str]:
        """Withdraw some, if the target has them; those that something needs still."""
        self._beat()
        there = self._copied(ids)
        if self.target.status([self.note['gate']]) != [const.PROCESSING]:
            raise Conflict(f'the gate in {self.where} was ended by somebody: do it again')
        needed = []
        for id, word in zip(there, self.source.withdraw(there, self.reason)):
            if word == 'needed':
                needed.append(id)
                continue
            self.moved += word == 'withdrawn' or self._is_ours(id, *self.source.results([id]))
            del self.lives[id]
        return needed

    def _is_ours(self, id: str, raw: bytes | None) -> bool:
        """Whether one that was over has been withdrawn by us, as its outcome tells. If it has ended
        otherwise, it ends in the target, too."""
        record = unpack(raw) if raw else None
        if record is None or record.nonce != self.lives[id] or record.kind == CANCELLED \
                and record.data.endswith(self.reason.encode()):
            return True
        self.target.cancel([id])
        return False

    def _open(self) -> None:
        """Open the gate: all that is behind it is in the target only."""
        if self.note['phase'] == TAKE:
            gate = self.note['gate']
            self.target.settle(gate, [Outcome(gate, f'{gate}1'.encode(), 'value',
                                              self.codec.encode_value(gate, gate, None))])
            self._write(phase=COPY, gate=new_nonce())

    # 5. -- put back ------------------------------------------------------------------

    def _put_back(self) -> None:
        """Undo it, unless something was withdrawn that is still behind the gate."""
        if self.note['phase'] != COPY:
            return
        gate = self.note['gate']
        for some in pieces(list(self.lives)[::-1], STEP):
            self._beat()
            copies = [id for id, seen in self._there(some) if seen.gate == gate]
            if copies:
                self.target.cancel(copies)
                self.target.forget(copies)
        self.target.cancel([gate])
        self._end()


class Pauses:
    """Growing pauses between two looks at what others do.

    :param most: seconds in all; None: for ever.
    """

    def __init__(self, most: float | None) -> None:
        self.until = None if most is None else time.monotonic() + most
        self.number = 0

    def next(self, what: str) -> None:
        """Wait a moment.

        :raises TimeoutError: if there has been enough of that; `what` is still so.
        """
        if self.until is not None and time.monotonic() > self.until:
            raise TimeoutError(what)
        time.sleep(min(SHORTEST * 2 ** self.number, LONGEST))
        self.number = min(self.number + 1, 30)


def ordered(ids: Iterable[str], before: Mapping[str, Sequence[str]]) -> list[str]:
    """In this order, but each behind those that come before it, as far as they are among them.

    Of a circle, which is only one with a tail call in it, some edge does not count.
    """
    among, done, entered = set(ids), dict[str, None](), set[str]()
    for first in ids:
        stack = [first]
        while stack:
            id = stack[-1]
            if id in entered:
                done.setdefault(stack.pop())
                continue
            entered.add(id)
            stack += [one for one in reversed(before.get(id, ()))
                      if one in among and one not in entered]
    return list(done)


def named(ids: Iterable[str]) -> str:
    """Some of them, for people."""
    return ', '.join(map(repr, islice(ids, SHOWN)))


def register(value: bytes) -> dict[str, Any]:
    """What the register says; nothing, if others have written there what makes no sense."""
    try:
        found = json.loads(value or b'{}')
        return found if isinstance(found, dict) and isinstance(found.get('gate'), str) \
            and found.get('phase') in (COPY, TAKE) else {}
    except ValueError:
        return {}
