"""The invariants of a queue on Redis, checked key by key against each other.

It reads with plain commands and in Python, so that a long audit holds up nobody. What
changes while it reads may be reported, therefore: ask twice.
"""
from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Iterator, Sequence

from worq import const

__all__ = ['audit']

Commands = Callable[[Sequence[Sequence[Any]]], list[Any]]

READ = {   # how a key is read, by the first part of its name
    'm': 'HGETALL', 't': 'HGETALL', 'w': 'SMEMBERS',
    **dict.fromkeys(['q', 'a', 'u', 'd', 'rel', 'unpin', 'trash'], 'LRANGE'),
    **dict.fromkeys(['sched', 'lease', 'wait', 'exp', 'ends'], 'ZRANGE'),
}
KEPT = {'m', 'q', 'sched', 'lease', 'wait', 'exp', 'rel', 'unpin', 'trash', 'wake', 'pools', 'ends',
        'clock', 'x'}
INDEX = {'s': 'sched', 'a': 'lease', 'p': 'wait'}
CHUNK = 1000


def audit(commands: Commands, prefix: str) -> list[str]:
    """What is wrong in the queue whose keys have this prefix, a line each.

    :param commands: sends many commands at once and answers with their replies.
    """
    return list(Store(commands, prefix).check())


class Store:
    """All keys of a queue, as they were read: `keys['t']['id']` is a task's hash."""

    def __init__(self, commands: Commands, prefix: str) -> None:
        self.commands = commands
        self.prefix = prefix
        self.keys: dict[str, dict[str, Any]] = {}
        self.ends: set[tuple[str, str]] = set()
        names = sorted(self.scan())
        pieces = [name.partition(':') for name in names]
        replies: list[Any] = []
        for start in range(0, len(names), CHUNK):
            wanted: list[list[Any]] = []
            for (kind, _, rest), name in zip(pieces[start:], names[start:start + CHUNK]):
                verb = READ.get(kind, 'EXISTS')
                if kind == 'x':
                    verb = 'LRANGE' if ':q:' in name else 'ZRANGE'
                span = [0, -1] if verb in ('LRANGE', 'ZRANGE') else []
                wanted += [[verb, prefix + name, *span], ['PTTL', prefix + name]]
            replies += commands(wanted)
        for (kind, _, rest), value, ttl in zip(pieces, replies[::2], replies[1::2]):
            if value in ([], 0):
                continue   # it has ended since it was found
            self.keys.setdefault(kind, {})[rest] = decode(value, kind in ('t', 'm'))
            if ttl >= 0:
                self.ends.add((kind, rest))
        for name in self.of('ends').get('', []):   # with a clock that tests move
            kind, _, rest = name.removeprefix(prefix).partition(':')
            self.ends.add((kind, rest))

    def scan(self) -> Iterator[str]:
        escaped = ''.join('\\' + c if c in '[]*?\\^' else c for c in self.prefix)
        cursor, seen = b'0', set[str]()
        while True:
            [(cursor, found)] = self.commands([['SCAN', cursor, 'MATCH', escaped + '*',
                                                'COUNT', CHUNK]])
            seen.update(name.decode()[len(self.prefix):] for name in found)
            if cursor == b'0':
                return iter(seen)

    def of(self, kind: str) -> dict[str, Any]:
        return self.keys.get(kind, {})

    def check(self) -> Iterator[str]:
        self.edges = Counter(edge for edges in self.of('d').values() for edge in edges)
        self.pins = Counter(name for kind in 'au' for names in self.of(kind).values()
                            for name in names)
        lanes = self.of('x')
        self.ready = {entry for entries in self.of('q').values() for entry in entries}
        self.purged = {entry for lane, entries in lanes.items() for entry in entries}
        for id, task in self.of('t').items():
            yield from (f'task {id!r}: {what}' for what in self.task(id, task))
        yield from self.indexes()
        yield from self.owners()
        yield from self.liveness()

    def task(self, id: str, task: dict[str, str]) -> Iterator[str]:
        state, entry = task['s'], task['n'] + id
        pins = int(task.get('i', 0))
        if pins != self.pins[id]:
            yield f'{pins} pins, but {self.pins[id]} argument lists name it'
        if state == 'e':
            if entry not in self.ready and entry not in self.purged:
                yield 'enqueued, but in no ready list'
        elif state in INDEX:
            if id not in self.of(INDEX[state]).get('', []) and id not in self.purged:
                yield f'{state}, but not in {INDEX[state]}'
        if state == 'p':
            yield from self.pending(task, entry)
        if 'z' in task and state in 'pse' and 'x' not in task \
                and id not in self.of('exp').get('', []):
            yield 'not begun, but not in exp'
        if state == 'c':
            yield from self.completed(id, task, pins)
        else:
            if ('t', id) in self.ends:
                yield 'live, but it expires'
            listed = len(self.of('a').get(id, []))
            if listed != int(task.get('a', 0)):
                yield f'{task.get("a", 0)} arguments, but {listed} listed'
            if 'G' in task and (state != 'p' or entry not in self.of('d').get(task['G'], [])):
                yield f'held back by {task["G"]!r}, which does not know'
            if 'b' not in task and id not in self.of('b') and 'x' not in task:
                yield 'no body'

    def pending(self, task: dict[str, str], entry: str) -> Iterator[str]:
        if 'x' in task:
            if entry not in self.of('d').get(task['x'], []):
                yield f'waits for {task["x"]!r}, which does not know'
            return
        unmet = int(task.get('u', 0))
        if unmet <= 0 or unmet != self.edges[entry]:
            yield f'{unmet} arguments are open, but {self.edges[entry]} edges lead here'

    def completed(self, id: str, task: dict[str, str], pins: int) -> Iterator[str]:
        long = id in self.of('r')
        if not long and 'r' not in task:
            yield 'completed without an outcome'
        held = pins > 0 or id in self.of('d')
        for kind in ('t', 'r') if long else ('t',):
            if held == ((kind, id) in self.ends):
                yield f'its {kind} {"expires" if held else "does not expire"}'
        if rest := set(task) & set('hbcdmlpuvxgwakqjyzG'):
            yield f'completed, but with fields {sorted(rest)}'

    def indexes(self) -> Iterator[str]:
        tasks = self.of('t')
        for state, name in INDEX.items():
            for id in self.of(name).get('', []):
                if tasks.get(id, {}).get('s') != state:
                    yield f'{id!r} is in {name}, but not {state}'
        for id in self.of('exp').get('', []):
            if 'z' not in tasks.get(id, {}):
                yield f'{id!r} is in exp, but does not expire'
        dead = sum(len(entries) for entries in self.of('q').values())
        for id, task in tasks.items():
            dead -= task['s'] == 'e' and task['n'] + id in self.ready
        counted = int(self.of('m').get('', {}).get('dead', 0))
        if dead != counted:
            yield f'{dead} dead entries in ready lists, but {counted} counted'

    def owners(self) -> Iterator[str]:
        tasks = self.of('t')
        for kind, rests in self.keys.items():
            for rest in rests:
                task = tasks.get(rest, {})
                state = task.get('s', '')
                if kind in KEPT or kind == 't':
                    owned = True
                elif kind in ('in', 'pool'):
                    owned = (kind, rest) in self.ends
                elif kind == 'r':
                    owned = state == 'c'
                elif kind == 'd':
                    owned = bool(state)
                elif kind == 'u':
                    owned = rest in self.of('unpin').get('', [])
                else:
                    owned = kind in ('a', 'b', 'w') and state not in ('', 'c')
                if not owned:
                    yield f'key {kind}:{rest} has no owner and no end'

    def liveness(self) -> Iterator[str]:
        busy = any(self.of(kind) for kind in ('sched', 'lease', 'rel', 'unpin', 'trash', 'x'))
        states = Counter(task['s'] for task in self.of('t').values())
        if not busy and not states['e'] and states['p']:
            yield f'{states["p"]} tasks are {const.PENDING} for ever'


def decode(value: Any, fields: bool) -> Any:
    """Text for bytes; a dictionary for the flat list of a hash."""
    if not isinstance(value, list):
        return value
    texts = [item.decode('utf-8', 'replace') for item in value]
    return dict(zip(texts[::2], texts[1::2])) if fields else texts
