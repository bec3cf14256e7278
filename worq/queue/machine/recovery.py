"""A store in which a verb was interrupted half-way, made whole.

A signal handler may raise anywhere in it, as Ctrl-C does. What had been decided is then done to
the end, what had not is as if it had never begun; and all that can be counted or looked up from
the tasks themselves is made anew. So this may be interrupted in turn, and done again.

It looks at all tasks in one step, whatever the budget of the store: what earlier verbs have left
to be let go or to be cancelled is done here, and dependents are told anew as far as the budget
reaches. This is for memory: a storage that takes back what a verb has begun needs none of it.
"""
from __future__ import annotations

from typing import TYPE_CHECKING

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import GATE, IGNORE_RESULT, VALUE
from worq.queue.machine.graph import PURGED
from worq.queue.machine.life import Life

if TYPE_CHECKING:   # it is told of its own parts
    from worq.queue.machine.store import Store

__all__ = ['redo']


def redo(store: Store) -> None:
    """Make it whole: it is as after one of its verbs, and all who wait should look at it."""
    publish(store)
    store.sides.pause(store.registers.get(const.PAUSES))
    store.sides.mix(store.now)
    lives = list(store.lives.values())
    doomed = [life for life in lives if life.late == PURGED and life.state != COMPLETED]
    store.doomed = list(dict.fromkeys([*store.doomed, *doomed]))
    known = {life for life in lives if life.state != COMPLETED or not life.flags & IGNORE_RESULT}
    for life in lives:
        life.pins = life.open = 0
        life.dependents = ()
    connect(store, lives)
    keep(store, lives)
    line_up(store, lives, known)
    for life in lives:
        if life.state == COMPLETED:
            if life.watchers is not None:
                store._tell_of(life)
            if life not in known:
                del store.lives[life.id]
                store.completed -= 1
            elif life.dependents:
                store._ended.append(life)
        elif life.kind:   # its end had been decided
            store.finish(life, life.kind, life.data, life.hops, life.owner)
        elif life.state == PENDING and not life.open and life.target is None:
            if life.flags & GATE:
                store.hold(life)
            else:
                store._make_ready(life)
    store.cancel_doomed()
    store.purged = 0
    store.fresh, store.noting, store.holder = {}, None, None
    store.woken = len(lives)


def publish(store: Store) -> None:
    """Store all of a put, if some of it has been."""
    for life in store.fresh.values():
        if life.state != COMPLETED:
            store.lives[life.id] = life
            if life.state == PENDING and not life.kind and not life.flags & GATE:
                life.gate = store.holder
    if store.noting is not None:
        store.register(store.noting.name, store.noting.value)


def connect(store: Store, lives: list[Life]) -> None:
    """Make the edges anew. What ended is told to all that are pending once more."""
    store._ended.clear()
    for life in lives:
        if life.state == COMPLETED:
            if life.arguments or life.target:
                store.remember(life, life.arguments, store.width(life))
            kept = store.kept(life)
            if kept is None:
                life.body = b''
            elif not kept.arguments:
                store.let_off(life, life.arguments)
            life.arguments = ()
            life.target = life.gate = life.seals = None
            life.progress = life.memo = b''
            continue
        if not life.kind and (kept := store.kept(life)) is not None:   # it was being run again
            store.begin_anew(life, kept)
        for argument in life.arguments:
            argument.lend()
        if life.state != PENDING:
            life.gate = None
            if life.target not in life.arguments[-1:]:   # else its value is to be signed anew
                life.target = None
        elif life.target is not None:
            life.target.tells(life)
            if life.gate is not None:   # it has been moved, see `move`
                life.gate.tells(life)
                life.open = 1
        elif not life.kind:
            sources = [*life.arguments, life.gate] if life.gate else life.arguments
            for source in sources:
                source.tells(life)
            life.open = len(sources)


def keep(store: Store, lives: list[Life]) -> None:
    """Count what has completed, and know when it expires."""
    store._expiry.clear()
    store.completed = 0
    for life in lives:
        if life.state != COMPLETED:
            life.expires = 0
            continue
        store.completed += 1
        if life.kind not in (VALUE, b'') and life not in store.failures[life.kind]:
            store.enlist(life)
        if life.pins or life.dependents:
            life.expires = 0
        elif life.expires:
            store._expiry.add(life, len(lives))
        else:
            store._let_expire(life)


def line_up(store: Store, lives: list[Life], known: set[Life]) -> None:
    """Have each task in the place of its state, and in no other; who stands in line stays there."""
    first = {life for life in store._first if life.state == ENQUEUED and life in known}
    store._first[:] = [life for life in store._first if life in first]
    store.lanes.clear_out(lambda life: life.state != ENQUEUED or life not in known)
    for life in list(store.leased):
        if life.state != PROCESSING or life not in known:
            del store.leased[life]
    store.schedule.clear()
    store._late.clear()
    store.scheduled = sum(life.state == SCHEDULED for life in lives)
    for life in lives:
        if life.state == ENQUEUED and life not in first and life not in store.lanes.aside:
            store.lanes.add(life)   # where it stands already
        elif life.state == SCHEDULED:
            store.schedule.add(life, store.scheduled)
        elif life.state == PROCESSING:
            store.leased[life] = None
        if life.late and life.state != COMPLETED:
            store._late.add(life, len(lives))
    store._soonest = min((life.deadline for life in store.leased), default=0)
