"""The graph around a task, folded: a thousand tasks of one name that the same tasks wait for are
one stack."""
from __future__ import annotations

from collections import Counter
from hashlib import blake2b
from typing import Iterable, Sequence

from worq import const
from worq.printable import SHORT, line
from worq.progress import Progress
from worq.queue import base
from worq.view.drawing import ARGUMENT, GATE, TAIL, Edge, Graph, Node

__all__ = ['fold', 'missing']

LEAST = 5       # tasks in a stack
OPENED = 100    # of them that are shown one by one for each time that it is opened

BAD = const.FAILED, const.EXPIRED   # what is looked for stands apart

Edges = dict[str, dict[str, str]]   # by the one that waits: what it waits for, and how


def fold(found: Sequence[base.Node], open: Iterable[str] = (),
         most: int = const.NODES) -> Graph:
    """What is to be shown of these tasks.

    From those that nothing here waits for upwards, tasks of one name for which the same wait are
    gathered; what a stack waits for may so become a stack, too.

    :param found: the first is the one that was asked for, which stands alone.
    :param open: keys of stacks, each as often as `OPENED` more of it are to be shown.
    :param most: nodes that there may be; the farthest ones are left out.
    """
    tasks = {node.id: node for node in found}
    root = found[0].id
    edges = edges_of(tasks)
    waiting: Edges = {}
    for target, sources in edges.items():
        for source, kind in sources.items():
            waiting.setdefault(source, {})[target] = kind
    opened = Counter(open)
    group: dict[str, str] = {}             # of each task, the key of its node
    members: dict[str, list[str]] = {}     # of each node
    for level in downwards(tasks, edges, waiting):
        stacks: dict[tuple[object, ...], list[str]] = {}
        for id in level:
            consumers = sorted({(group[target], kind)
                                for target, kind in waiting.get(id, {}).items()
                                if target in group})
            alike: tuple[object, ...] = (id,) if id == root else \
                (tasks[id].name, tuple(consumers), 0 if consumers else tasks[id].level,
                 tasks[id].state in BAD)
            stacks.setdefault(alike, []).append(id)
        for of, ids in stacks.items():
            key = '+' + blake2b(repr(of).encode('utf-8', 'replace'), digest_size=6).hexdigest()
            alone = len(ids) if len(ids) < LEAST else opened[key] * OPENED
            if len(ids) - alone < 2:
                alone = len(ids)
            for id in ids[:alone]:
                shown = line(id)
                while shown in members:   # of another that looks the same
                    shown += "'"
                group[id] = shown
                members[shown] = [id]
            if ids[alone:]:
                members[key] = ids[alone:]
                group.update(dict.fromkeys(ids[alone:], key))
    nodes = sorted((stack(key, [tasks[id] for id in ids]) for key, ids in members.items()),
                   key=lambda node: (node.key != group[root], abs(node.level)))
    there = {node.key for node in nodes[:most]}
    made = {Edge(group[source], group[target], kind)
            for target, sources in edges.items() for source, kind in sources.items()}
    return Graph(
        group[root],
        tuple(with_more(node, [tasks[id] for id in members[node.key]], edges, waiting)
              for node in nodes[:most]),
        tuple(sorted(edge for edge in made if edge.source in there and edge.target in there)),
        sum(node.size for node in nodes[most:]))


def edges_of(tasks: dict[str, base.Node]) -> Edges:
    """What each waits for, or did, among these; each end of an edge may tell it."""
    edges: Edges = {}
    for node in tasks.values():
        for kind, ids in [(ARGUMENT, node.arguments), (TAIL, [node.target]), (GATE, [node.gate])]:
            for id in ids:
                if id in tasks and id != node.id:
                    edges.setdefault(node.id, {})[id] = kind
        for id in node.dependents:
            if id in tasks and id != node.id:
                kind = TAIL if tasks[id].target == node.id else ARGUMENT
                edges.setdefault(id, {}).setdefault(node.id, kind)
    return edges


def downwards(tasks: dict[str, base.Node], edges: Edges, waiting: Edges) -> list[list[str]]:
    """The tasks in steps, each after all that wait for it. A circle, which no queue lets be, but
    what others have written there may, is cut somewhere."""
    open = {id: len(waiting.get(id, ())) for id in tasks}
    left = dict.fromkeys(tasks)
    step = [id for id in tasks if not open[id]]
    steps: list[list[str]] = []
    while left:
        step = step or [next(iter(left))]
        steps.append(step)
        for id in step:
            del left[id]
        following: dict[str, None] = {}
        for id in step:
            for source in edges.get(id, ()):
                open[source] -= 1
                if not open[source] and source in left:
                    following[source] = None
        step = list(following)
    return steps


def stack(key: str, tasks: Sequence[base.Node]) -> Node:
    """A node of one task, or of several alike."""
    first = tasks[0]
    counts = Counter(task.state for task in tasks)
    states = {state: counts[state] for state in const.STATES if state in counts}
    if len(tasks) > 1:
        return Node(key, line(first.name, SHORT), first.state if len(states) == 1 else '',
                    len(tasks), states, first.level)
    progress = Progress.decode(first.progress) if first.progress else None
    return Node(
        key, line(first.name, SHORT), first.state, 1, states, first.level, line(first.pool),
        first.since / 1000 or None,
        None if progress is None else progress._replace(text=line(progress.text))._asdict())


def with_more(node: Node, tasks: Sequence[base.Node], edges: Edges, waiting: Edges) -> Node:
    """With how many neighbours it has that are not there."""
    above = sum(max(task.width - sum(kind == ARGUMENT for kind in edges.get(task.id, {}).values()),
                    0) for task in tasks)
    below = sum(max(task.fan - len(waiting.get(task.id, ())), 0) for task in tasks)
    return node._replace(above=above, below=below)


def missing(found: Sequence[base.Node], up: int, down: int) -> list[tuple[str, int]]:
    """The ids that edges name, within these levels, of tasks that are not among them; and the
    level of each."""
    tasks = {node.id for node in found}
    named: dict[str, int] = {}
    for node in found:
        if -up < node.level <= 0:
            for id in [*node.arguments, node.target]:
                if id and id not in tasks:
                    named.setdefault(id, node.level - 1)
        if 0 <= node.level < down:
            for id in node.dependents:
                if id not in tasks:
                    named.setdefault(id, node.level + 1)
    return list(named.items())
