"""What there is to see of the tasks: one of them for people, all of them for tests."""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import Content, Inspection, Times
from worq.queue.machine.graph import PURGED, Graph
from worq.queue.machine.keeping import Keeping
from worq.queue.machine.life import Life
from worq.queue.machine.traces import NOTHING

__all__ = ['contents', 'inspect', 'since', 'status', 'audit']


def inspect(graph: Keeping, life: Life, start: int = -1) -> Inspection:
    """What there is to know of a task, see ``worq.queue.base``."""
    state, now = life.state, graph.now
    deaths = graph.traces.get(life, NOTHING).deaths
    if state == COMPLETED:
        name = life.header.partition(b'\n')[0]
        return Inspection(status(life), name, pool=life.owner or '', nonce=life.nonce,
                          times=times(life), deaths=deaths)
    here = state == PROCESSING
    due = max(life.due - now, 0) if state == SCHEDULED \
        else life.due - now if state == PENDING and not life.target and life.due > now else None
    names: list[str] = []
    span = const.PUT_LIMIT
    if state == PENDING and life.target is None:
        if start >= 0:
            names = open_ones(life.arguments[start:start + span])
        else:
            names = (open_ones(life.arguments[:span]) or open_ones(life.arguments[-span:]))[
                :const.LOOK]
    return Inspection(
        state, life.header, due, max(life.late - now, 0) if life.late else None,
        life.open - (life.gate is not None), tuple(names),
        life.target.id if life.target else '',
        graph.lanes.before(life) if state == ENQUEUED else None,
        life.owner or '' if here else '', now - life.taken if here else None,
        life.deliveries, life.progress if here else b'', life.memo,
        life.gate.id if life.gate else '', life.nonce, '',
        bool(life.flags & const.IGNORE_RESULT), times(life),
        *(graph.sides.since(life, now) if state == ENQUEUED else (None, None)), deaths)


def contents(graph: Graph, lives: Iterable[Life | None], start: int = 0,
             argument: int = 0) -> list[Content | None]:
    """What tasks were put with, see ``worq.queue.base``."""
    found: list[Content | None] = []
    room = const.CONTENT
    last = argument + const.PUT_LIMIT
    for life in lives:
        kept = graph.kept(life) if life is not None and life.state == COMPLETED else None
        if life is None or life.state == COMPLETED and kept is None:
            found.append(None)
            continue
        body = life.body
        size, body = len(body), bytes(body[start:start + room])
        if kept:   # it lets go of them one by one, and then all are known by this
            arguments = [one.id for one in kept.arguments]
            arguments += [one.id for one in life.arguments[:const.PUT_LIMIT]]
            ids, seals = arguments[argument:last], []
        else:
            some = life.arguments[argument:last]
            ids = [one.id for one in some]
            seals = [] if life.target else graph.seals_of(life, some, argument)
        tail = graph.seal_of(life, life.target) if not kept and life.target else b''
        found.append(Content(life.nonce, life.header, body, size, tuple(ids),
                             life.flags & ~const.LENT, life.priority, life.ttl, life.lease,
                             life.max_deliveries,
                             tuple(seals) if any(seals) else (), tail))
        room -= len(body)
    return found


def times(life: Life) -> Times:
    """When what became of it. Of its outcome only what ended it tells."""
    told = map(int, life.age.split()) if life.over else ()
    begun, ended, peak, skipped = (*told, 0, 0, 0, 0)[:4]
    ready = life.ready or (life.put if life.taken else 0)   # a gate is taken from the start
    return Times(life.put, ready, life.taken, life.over - begun if life.over and life.age else 0,
                 life.over - ended if life.over else 0, life.tries + 1, peak << 10, skipped)


def since(life: Life) -> int:
    """When it came to its state, see `Row.since`."""
    if life.state == COMPLETED:
        return life.over
    if life.state == ENQUEUED:
        return life.ready
    return life.taken or life.put


def status(life: Life) -> str:
    """How it stands with a task, or how it ended."""
    return const.ENDS[life.kind] if life.state == COMPLETED else life.state


def open_ones(arguments: tuple[Life, ...]) -> list[str]:
    return [life.id for life in arguments if life.state != COMPLETED]


def audit(graph: Graph) -> list[str]:
    """What is wrong, a line each; see ``worq.queue.base``."""
    every = list(graph.lives.values())   # but what was purged is in no list, and waits to end
    lives = [life for life in every if life.late != PURGED or life.state == COMPLETED]
    # Those whose dependents a later verb tells: they were too late when a reader met them, or there
    # were too many for the verb that ended them.
    untold = {life: set(life.dependents) for life in lives
              if life.state == COMPLETED and life.dependents}

    def sources(life: Life) -> list[Life]:
        """What it waits for."""
        if life.state == COMPLETED:   # it has arguments as long as they are to be let go
            return []
        gate = [life.gate] if life.gate else []
        return [one for one in ([life.target, *gate] if life.target else [*life.arguments, *gate])
                if one.state != COMPLETED or life in untold.get(one, ())]

    left_over = set(graph._ended)   # they pin some yet, though they may be forgotten
    pins = Counter(argument for life in {*every, *left_over} for argument in life.arguments)
    edges = Counter(dependent for life in lives for dependent in set(life.dependents)
                    if life in sources(dependent))
    scheduled = graph.schedule.lives()
    wrong = []
    for life in lives:
        state, waiting = life.state, sources(life)
        waits = len(waiting)
        for what, one, other in [
            ('lease', life in graph.leased, state == PROCESSING),
            ('place in a lane', life in graph.lanes, state == ENQUEUED),
            ('place in the schedule', life in scheduled, state == SCHEDULED),
            ('outcome', life.kind != b'', state == COMPLETED),
            ('end', life.expires != 0, state == COMPLETED and not life.pins
             and not life.dependents),
            ('left over', life in left_over, state == COMPLETED and (
                life in left_over or bool(life.dependents or life.arguments))),
            ('something to wait for', waits > 0, state == PENDING),
            ('edges', edges[life], waits),
            ('open arguments', life.open, sum(one is not life.target for one in waiting)),
            ('pins', life.pins, pins[life]),
        ]:
            if one != other:
                wrong.append(f'{life.id!r} ({state}): {what}: {one}, but should be {other}')
    kept = [*graph.leased, *graph.lanes]
    wrong += [f'{life.id!r}: is forgotten, but kept' for life in kept
              if graph.lives.get(life.id) is not life]
    counts = Counter(life.state for life in lives)
    for state, n in graph.counts.items():
        if n != counts[state]:
            wrong.append(f'{n} are {state}, but should be {counts[state]}')
    if counts[PENDING] and counts[PENDING] + counts[COMPLETED] == len(lives) and not left_over:
        wrong.append(f'{counts[PENDING]} are pending, and nothing will release them')
    return wrong
