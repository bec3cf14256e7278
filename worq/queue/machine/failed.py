"""What tasks that failed were put with, kept so that a person may have them run again."""
from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable

from worq import const
from worq.queue.base import EXPIRED, FAILURE, GATE, IGNORE_RESULT, NEEDED, Argument
from worq.queue.machine.life import Life
from worq.queue.machine.registers import Registers
from worq.queue.machine.traces import NOTHING, Kept, Trace
from worq.queue.records import Hop, Revival

__all__ = ['Failing', 'Failures']

BOUNDS = re.compile(rb'(\d{1,9}) (\d{1,15})')


class Failures:
    """The last failures of a queue by their numbers, and the bytes of each.

    Over rows it is another class.
    """

    def __init__(self) -> None:
        self._line: deque[tuple[int, Life]] = deque()
        # What failed because of another, by the number of that one; and those to be run again.
        self._followers: dict[int, deque[tuple[int, Life]]] = {}
        self._waiting: deque[deque[tuple[int, Life]]] = deque()
        self.number = 0     # of the last one
        self.bytes = 0      # of all

    def __len__(self) -> int:
        return len(self._line)

    def add(self, life: Life, size: int, origin: int) -> None:
        """One more, because of another, or 0."""
        self.number += 1
        if origin:
            self._followers.setdefault(origin, deque()).append((self.number, life))
        self.bytes += size
        self._line.append((size, life))

    def pop(self) -> Life | None:
        """The oldest; None if it is forgotten."""
        self._followers.pop(self.number - len(self) + 1, None)
        size, life = self._line.popleft()
        self.bytes -= size
        return life

    def begin(self, number: int) -> None:
        """All that failed because of this one is to be run again."""
        if number in self._followers:
            self._waiting.append(self._followers.pop(number))

    @property
    def waiting(self) -> bool:
        """Whether there is anything left to be run again."""
        return bool(self._waiting)

    def next(self) -> tuple[int, Life | None]:
        """The next of these, in the order in which they failed, and the number that it had then;
        None if it is forgotten."""
        found = self._waiting[0].popleft()
        if not self._waiting[0]:
            self._waiting.popleft()
        return found


class Failing:
    """The failures of a graph of tasks."""

    lives: dict[str, Life]
    now: int

    def __init__(self) -> None:
        self.registers = Registers()
        self.failed = Failures()
        self.traces: dict[Life, Trace] = {}   # of those that have one

    def weight(self, life: Life) -> int:
        """The bytes of its body. Rows need not read it for that."""
        return len(life.body)

    def renew(self, life: Life, what: Revival | None) -> None:
        """Have it put now, with another message or priority, if that is told. Rows write none of
        this anew otherwise."""
        life.put = self.now
        if what is not None and what.header:
            life.header, life.body = what.header, what.body
        if what is not None and what.priority >= 0:
            life.priority = what.priority

    def kept(self, life: Life) -> Kept | None:
        """What is kept of it, if it has failed."""
        kept = self.traces.get(life, NOTHING).kept
        return kept if kept is not None and kept.ends > self.now else None

    def keep(self, life: Life, kind: bytes, hops: tuple[Hop, ...], width: int) -> bool:
        """Keep what it was put with, now that it ends so; whether that is done.

        What failed because of another is of use only with that one, so it never takes its place.
        What a gate holds back has perhaps not got all its arguments yet.

        :param width: how many arguments it has.
        """
        if kind not in (FAILURE, EXPIRED) or life.flags & (GATE | IGNORE_RESULT) \
                or width > const.PUT_LIMIT or life.gate is not None:
            return False
        told = BOUNDS.fullmatch(self.registers.get(const.KEEP_FAILED))
        most, room = map(int, told.groups()) if told else (const.FAILURES, const.FAILURES_BYTES)
        failed, size = self.failed, len(life.header) + self.weight(life)
        room -= size
        if not most or room < 0:
            return False
        spared, by = failed.number + 1, 0
        if hops:
            origin = self.lives.get(hops[-1].id)
            kept = self.kept(origin) if origin and origin.nonce == hops[-1].nonce else None
            if kept is None:
                return False
            spared = by = kept.number
        steps = const.TICK_LIMIT   # after bounds were narrowed, the next failures go on
        while (len(failed) >= most or failed.bytes > room) and steps:
            number = failed.number - len(failed) + 1
            if number >= spared:
                return False
            steps -= 1
            oldest = failed.pop()
            if oldest is not None and self._number(oldest) == number:
                self.release(oldest)
        failed.add(life, size, by)
        target = life.target
        self._trace(life, Kept(
            failed.number, self.now + life.ttl, life.late and life.late - life.put, by, (),
            Argument(target.id, target.nonce, life.sealed(target)) if target else None))
        return True

    def _number(self, life: Life) -> int:
        kept = self.traces.get(life, NOTHING).kept
        return kept.number if kept else 0

    def _trace(self, life: Life, kept: Kept | None) -> None:
        self.traces[life] = self.traces.get(life, NOTHING)._replace(kept=kept)

    def _revive_some(self) -> None:
        """Go on to run failures again, see `worq.queue.machine.revival`."""
        raise NotImplementedError

    def release(self, life: Life) -> None:
        """Keep nothing of it any more."""
        self._trace(life, None)
        life.body = b''

    def let_off(self, life: Life, some: Iterable[Life]) -> None:
        """It has failed and lets go of some arguments: note them, if it is kept.

        Then they are kept for their time, needed or not, for it may need them again.
        """
        kept = self.traces.get(life, NOTHING).kept
        if kept is None:
            return
        self._trace(life, kept._replace(arguments=(*kept.arguments, *[
            Argument(one.id, one.nonce, life.sealed(one)) for one in some])))
        for one in some:
            one.flags &= ~NEEDED
