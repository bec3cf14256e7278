"""The graph around a task, for people; see ``family`` in ``worq.queue.base``."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from worq import const
from worq.const import COMPLETED, PENDING, PROCESSING
from worq.queue.base import Node
from worq.queue.machine.graph import Graph
from worq.queue.machine.inspection import since, status
from worq.queue.machine.life import Life
from worq.queue.machine.traces import NOTHING, Trace
from worq.queue.validation import check_family

__all__ = ['family']

Names = Iterable[tuple[str, str]]


class Family:
    """The nodes, as they are found.

    :param graph: where they are.
    :param up: how many levels upwards.
    :param down: how many downwards.
    """

    def __init__(self, graph: Graph, up: int, down: int) -> None:
        self.graph = graph
        self.up = up
        self.down = down
        self.room = const.FAMILY_EDGES
        self.line: deque[tuple[str, str, int]] = deque()   # id, nonce, level of those to come
        self.seen: set[str] = set()

    def enter(self, names: Names, level: int) -> None:
        for id, nonce in names:
            if id not in self.seen:
                self.seen.add(id)
                self.line.append((id, nonce, level))

    def node(self, life: Life, level: int) -> Node:
        """A node; what it leads to is entered."""
        over, here = life.state == COMPLETED, life.state == PROCESSING
        trace = self.graph.traces.get(life, NOTHING)
        above = self.arguments(life, trace)
        self.room = max(self.room - len(above), 0)
        below = self.dependents(life, trace)
        self.room = max(self.room - len(below), 0)
        target = self.there([trace.target] if trace.target else []) if over else \
            [(life.target.id, life.target.nonce)] if life.target else []
        if level <= 0 and -level < self.up:
            self.enter([*above, *target], level - 1)
        if level >= 0 and level < self.down:
            self.enter(below, level + 1)
        return Node(
            life.id, life.nonce, life.name.decode(errors='replace'), status(life), level,
            trace.width if over else self.graph.width(life), tuple(id for id, _ in above),
            target[0][0] if target else '', len(life.dependents) or trace.fan,
            tuple(id for id, _ in below), life.gate.id if life.gate else '',
            life.progress if here else b'', since(life),
            life.owner or '' if over or here else '')

    def there(self, names: Names) -> list[tuple[str, str]]:
        """Without those whose id has another life by now."""
        found = []
        for id, nonce in names:
            life = self.graph.known(id)
            if life is None or life.nonce == nonce:
                found.append((id, nonce))
        return found

    def arguments(self, life: Life, trace: Trace) -> list[tuple[str, str]]:
        if life.state == COMPLETED:
            return self.there(trace.arguments)
        most = min(self.room, const.NODES)
        return [(one.id, one.nonce) for one in life.arguments[:most]] if most else []

    def dependents(self, life: Life, trace: Trace) -> list[tuple[str, str]]:
        if not life.dependents:
            return self.there(trace.dependents)
        most = min(self.room, const.NODES)
        return [(one.id, one.nonce) for one in (life.dependents[:most] if most else ())
                if one.state == PENDING and self.graph.known(one.id) is one]


def family(graph: Graph, id: str, up: int, down: int, limit: int,
           also: Sequence[str] = ()) -> list[Node]:
    """The nodes around a task, or some."""
    check_family(up, down, limit, also)
    found = Family(graph, up, down)
    found.enter([(one, '') for one in (id, *also)], 0)
    nodes: list[Node] = []
    while found.line and len(nodes) < limit:
        name, nonce, level = found.line.popleft()
        life = graph.find(name)
        if life is not None and nonce in ('', life.nonce):
            nodes.append(found.node(life, level))
    return nodes
