"""Pause and resume a queue, or tasks by their names; and what is paused, in words."""
from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
import time
from typing import TYPE_CHECKING

from worq import const
from worq.printable import line
from worq.queue import registers
from worq.queue.pauses import ALL, Pause, Patterns, check_pattern, read, written
from worq.queue.registers import held

if TYPE_CHECKING:   # it is above this
    from worq.queue.base import TaskQueue

__all__ = ['pause', 'paused_by', 'pauses', 'resume', 'said']

TRIES = 20     # times that somebody else may be quicker
WHO = 100      # characters that are kept of a name


def pauses(queue: TaskQueue) -> list[Pause]:
    """What is paused, the oldest first."""
    return read(held(queue, const.PAUSES))


def pause(queue: TaskQueue, names: str | Sequence[str], who: str) -> list[str]:
    """Pause; which of them have not been so before."""
    asked = _patterns(names)
    now = time.time()

    def change(before: list[Pause]) -> list[Pause]:
        known = {one.pattern for one in before}
        return before + [Pause(name, line(who)[:WHO], now) for name in asked if name not in known]
    before, after = _change(queue, change)
    return [one.pattern for one in after if one not in before]


def resume(queue: TaskQueue, names: str | Sequence[str]) -> list[str]:
    """Resume; which of them were paused until now."""
    known = {one.pattern for one in pauses(queue)}   # whatever others have written there
    asked = _patterns(names, known)
    before, after = _change(queue, lambda before: [
        one for one in before if one.pattern not in asked])
    return [one.pattern for one in before if one not in after]


def paused_by(found: Sequence[Pause], name: str) -> Pause | None:
    """The pause that holds tasks of a name, the oldest if there are several."""
    return next((one for one in found
                 if Patterns(written([one])).held(name.encode('utf-8', 'replace'))), None)


def said(one: Pause) -> str:
    """What is paused, and by whom."""
    what = 'the queue' if one.pattern == ALL else line(one.pattern)
    return f'{what} by {line(one.who)}' if one.who else what


def _patterns(names: str | Sequence[str], known: Collection[str] = ()) -> list[str]:
    every = [names] if isinstance(names, str) else names
    return [name if name in known else check_pattern(name) for name in dict.fromkeys(every)]


def _change(queue: TaskQueue, change: Callable[[list[Pause]], list[Pause]],
            ) -> tuple[list[Pause], list[Pause]]:
    """What was paused before, and what is so now; others may change it meanwhile.

    :raises ValueError: if there would be more than the register holds.
    """
    before: list[Pause] = []
    after: list[Pause] = []

    def to(register: bytes) -> bytes:
        nonlocal before, after
        before = read(register)
        after = change(before)
        value = written(after)
        if len(value) > const.NOTE:
            raise ValueError(f'{len(after)} names of tasks are too many to be paused; '
                             "pause a prefix, as 'mail.*'")
        return value
    registers.change(queue, const.PAUSES, to, held(queue, const.PAUSES), TRIES,
                     'pause and resume things')
    return before, after
