"""Who did what to a queue: what people cancelled, purged and the like, the last thousand of it.

It is kept in registers of the queue, as many as there are kept acts: the number of an act tells
which of them it takes, from one that is long gone. So nothing has to be thrown away, and whoever
dies half-way leaves nothing behind.
"""
from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, NamedTuple

from worq.ids import new_nonce
from worq.printable import line, logger
from worq.queue.registers import change, those

if TYPE_CHECKING:   # it is above this
    from worq.queue.base import TaskQueue

__all__ = ['Act', 'acts', 'enter']

log = logger(__name__)

KEPT = 1_000      # acts
COUNTER, PREFIX = 'acts', 'act:'
WHO, ABOUT = 200, 1_000   # characters that are kept of either
TRIES = 20        # times that somebody else may be quicker
DIGITS = 16       # no number of an act has as many


class Act(NamedTuple):
    """What somebody did."""

    moment: float    #: when, in seconds since the epoch, by the clock of whoever did it
    who: str         #: as it was told: a name, a host
    what: str        #: a verb of a Broker, as 'cancel' or 'purge'
    tasks: int       #: how many it was done to
    about: str       #: to which: ids, or what they have in common; it may be cut


def enter(queue: TaskQueue, who: str, what: str, count: int, about: str = '') -> None:
    """Note what has been done. That it could not be noted is logged, for it is done all the same.

    :param who: nothing is noted for nobody.
    """
    if not who:
        return
    act = {'at': time.time(), 'who': line(who)[:WHO], 'what': what, 'tasks': count,
           'about': line(about)[:ABOUT]}
    try:
        number = _number(queue)
        queue.note(f'{PREFIX}{number % KEPT}', json.dumps({'n': number, **act}).encode())
    except Exception as error:
        log.warning('%s of %d tasks by %s could not be noted: %s', what, count, who, error)
    else:
        log.info('%s: %s of %d tasks by %s: %s', queue.name, what, count, who, act['about'])


def _number(queue: TaskQueue) -> int:
    """The number of a new act, from 1: each is given once."""
    def to(held: bytes) -> bytes:
        last = held.partition(b' ')[0]
        number = int(last) + 1 if last.isdigit() and len(last) < DIGITS else 1
        # with something of its own, to tell it from what another one notes
        return f'{number} {new_nonce()}'.encode()
    return int(change(queue, COUNTER, to, b'', TRIES, 'note things').partition(b' ')[0])


def acts(queue: TaskQueue, limit: int = KEPT) -> list[Act]:
    """The last acts, the newest first."""
    found = [act for _, value in those(queue, PREFIX) if (act := _read(value)) is not None]
    return [act for _, act in sorted(found, reverse=True)[:limit]]


def _read(value: bytes) -> tuple[int, Act] | None:
    """An act, and its number; None if others have written it, and it makes no sense."""
    try:
        told = json.loads(value)
        return int(told['n']), Act(float(told['at']), line(str(told['who']))[:WHO],
                                   line(str(told['what']))[:WHO], int(told['tasks']),
                                   line(str(told['about']))[:ABOUT])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
