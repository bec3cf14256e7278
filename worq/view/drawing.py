"""A graph of tasks, folded, and drawn: as a tree in text, for Graphviz, for Mermaid."""
from __future__ import annotations

from typing import Any, NamedTuple

from worq import const

__all__ = ['Graph', 'Node', 'Edge']

ARGUMENT, TAIL, GATE = 'argument', 'tail', 'gate'
COLOURS = {
    const.PENDING: '#e8e8e8', const.SCHEDULED: '#d9d2e9', const.ENQUEUED: '#cfe2f3',
    const.PROCESSING: '#fff2cc', const.SUCCESS: '#d9ead3', const.FAILED: '#f4cccc',
    const.EXPIRED: '#f4cccc', const.CANCELLED: '#fce5cd', const.UNKNOWN: '#ffffff'}
LATE = 1000   # lines of a tree


class Node(NamedTuple):
    """A task, or a stack of tasks of one name that the same tasks wait for."""

    key: str                   #: the id of a task; what opens a stack, see `worq.view.View.graph`
    name: str
    state: str                 #: of a stack: empty, if they are in several
    size: int = 1              #: how many tasks it is; above 1: a stack
    states: dict[str, int] = {}   #: how many of them are in each
    level: int = 0             #: above 0: it waits for the root; below 0: the root waits for it
    pool: str = ''
    since: float | None = None   #: since when it is in its state
    progress: dict[str, Any] | None = None
    above: int = 0             #: arguments that are not in the graph
    below: int = 0             #: tasks that wait for it and are not in the graph

    @property
    def title(self) -> str:
        """Its name, and its id or how many there are."""
        name = self.name or '?'
        return f'{name} [{self.key}]' if self.size == 1 else f'{name} ×{self.size:,}'

    @property
    def standing(self) -> str:
        """How it stands, in words."""
        if self.size > 1:
            return ', '.join(f'{number:,} {state}' for state, number in self.states.items())
        text = self.state
        if self.progress:
            done, total = self.progress['done'], self.progress['total']
            text += f' {100 * done / total:.0f} %' if total else f' {done:,}'
        return text


class Edge(NamedTuple):
    """From a task to the one that waits for it, or for each of a stack."""

    source: str
    target: str
    kind: str       #: ``'argument'``; ``'tail'``: it was returned; ``'gate'``: it holds it back


class Graph(NamedTuple):
    """Some tasks and what is between them."""

    root: str                  #: the key of the task that was asked for
    nodes: tuple[Node, ...]    #: that one first
    edges: tuple[Edge, ...]
    left_out: int = 0          #: tasks that were found, and for which there was no room

    def text(self) -> str:
        """As a tree: the task, what it waits for below it, and then what waits for it."""
        return Tree(self).text()

    def dot(self) -> str:
        """In the language of Graphviz (``dot -Tsvg``)."""
        numbers = {node.key: f'n{number}' for number, node in enumerate(self.nodes)}
        lines = ['digraph {', '  rankdir=LR; node [shape=box, style="filled,rounded"];']
        for node in self.nodes:
            label = '\\n'.join(quoted(part) for part in [node.title, *standing(node)])
            more = ', peripheries=2' if node.size > 1 else ''
            bold = ', penwidth=2' if node.key == self.root else ''
            lines.append(f'  {numbers[node.key]} [label="{label}", '
                         f'fillcolor="{colour(node)}"{more}{bold}];')
        for edge in self.edges:
            style = {TAIL: ' [style=dashed]', GATE: ' [style=dotted]'}.get(edge.kind, '')
            lines.append(f'  {numbers[edge.source]} -> {numbers[edge.target]}{style};')
        return '\n'.join([*lines, '}', ''])

    def mermaid(self) -> str:
        """In the language of Mermaid, as Markdown shows it at many places."""
        numbers = {node.key: f'n{number}' for number, node in enumerate(self.nodes)}
        lines = ['graph LR']
        for node in self.nodes:
            label = '<br>'.join(entities(part) for part in [node.title, *standing(node)])
            before, after = ('[["', '"]]') if node.size > 1 else ('["', '"]')
            lines.append(f'  {numbers[node.key]}{before}{label}{after}')
            bold = ',stroke-width:3px' if node.key == self.root else ''
            lines.append(f'  style {numbers[node.key]} fill:{colour(node)},color:#000{bold}')
        for edge in self.edges:
            arrow = {TAIL: '-.->', GATE: '-.-'}.get(edge.kind, '-->')
            lines.append(f'  {numbers[edge.source]} {arrow} {numbers[edge.target]}')
        return '\n'.join([*lines, ''])

    def __str__(self) -> str:
        return self.text()


class Tree:
    """A graph as lines; what has been shown once is not opened again."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes = {node.key: node for node in graph.nodes}
        self.lines: list[str] = []
        self.shown: set[str] = set()

    def text(self) -> str:
        graph = self.graph
        sources: dict[str, list[tuple[str, str]]] = {}
        targets: dict[str, list[tuple[str, str]]] = {}
        for edge in graph.edges:
            sources.setdefault(edge.target, []).append((edge.source, edge.kind))
            targets.setdefault(edge.source, []).append((edge.target, edge.kind))
        self.branch(graph.root, '', '', sources, 'above', '')
        if targets.get(graph.root) or self.nodes[graph.root].below:
            self.lines.append('is waited for by')
            self.children(graph.root, '', targets, 'below')
        if graph.left_out:
            self.lines.append(f'... and {graph.left_out:,} more tasks')
        return '\n'.join(self.lines)

    def branch(self, key: str, first: str, rest: str, edges: dict[str, list[tuple[str, str]]],
               more: str, kind: str) -> None:
        """A line for a task, and those beyond it, without recursion for a chain may be long."""
        open = [(key, first, rest, kind)]
        while open and len(self.lines) < LATE:
            key, first, rest, kind = open.pop()
            if not key:
                self.lines.append(first)
                continue
            node = self.nodes[key]
            again = ' (see there)' if key in self.shown else ''
            word = {TAIL: 'returned ', GATE: 'held back by '}.get(kind, '')
            opens = f' [{node.key}]' if node.size > 1 else ''
            self.lines.append(f'{first}{word}{node.title}{opens} {node.standing}{again}')
            if not again:
                self.shown.add(key)
                open += reversed(self.beyond(key, rest, edges, more))

    def children(self, key: str, rest: str, edges: dict[str, list[tuple[str, str]]],
                 more: str) -> None:
        for child, first, after, kind in self.beyond(key, rest, edges, more):
            if child:
                self.branch(child, first, after, edges, more, kind)
            else:
                self.lines.append(first)

    def beyond(self, key: str, rest: str, edges: dict[str, list[tuple[str, str]]],
               more: str) -> list[tuple[str, str, str, str]]:
        """Its neighbours on one side: key, how its line begins, and those below it; the edge."""
        children = edges.get(key, [])
        hidden = getattr(self.nodes[key], more)
        found = []
        for number, (child, kind) in enumerate(children, 1):
            last = number == len(children) and not hidden
            found.append((child, rest + ('└─ ' if last else '├─ '),
                          rest + ('   ' if last else '│  '), kind if more == 'above' else ''))
        if hidden:
            found.append(('', f'{rest}└─ ... {hidden:,} more', '', ''))
        return found


def standing(node: Node) -> list[str]:
    return [text for text in [node.standing] if text]


def colour(node: Node) -> str:
    """By its state; of a stack, by that which matters most."""
    for state in [const.FAILED, const.EXPIRED, const.PROCESSING, const.CANCELLED, const.ENQUEUED,
                  const.SCHEDULED, const.PENDING, const.SUCCESS]:
        if state == node.state or node.states.get(state):
            return COLOURS[state]
    return COLOURS[const.UNKNOWN]


def quoted(text: str) -> str:
    """Within the quotes of Graphviz."""
    return text.replace('\\', '\\\\').replace('"', '\\"')


def entities(text: str) -> str:
    """Within the quotes of Mermaid: all that is no letter, digit or blank, as it writes it."""
    return ''.join(letter if letter.isalnum() or letter in ' .,×%-_:' else f'#{ord(letter)};'
                   for letter in text)
