"""The invariants of a queue on Redis, checked key by key against each other.

It reads with plain commands and in Python, so that a long audit holds up nobody. What
changes while it reads may be reported, therefore: ask twice. What is damaged so that scripts
would fail on it is reported first; `worq.queue.redis.repair` repairs.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any, Callable, Iterator, NamedTuple, Sequence

from worq import const
from worq.printable import line
from worq.queue.pauses import Patterns

__all__ = ['Fault', 'Store', 'raw']

Commands = Callable[[Sequence[Sequence[Any]]], list[Any]]

READ = {   # how a key is read, by the first part of its name
    'm': 'HGETALL', 't': 'HGETALL', 'w': 'SMEMBERS', 'pool': 'HGETALL',
    **dict.fromkeys(['q', 'a', 'u', 'd', 'rel', 'unpin', 'trash', 'loops',
                     'again'], 'LRANGE'),
    **dict.fromkeys(['sched', 'lease', 'wait', 'exp', 'ends', 'aside', 'lines'], 'ZRANGE'),
    **dict.fromkeys(['b', 'r'], 'STRLEN'), 's': 'HGETALL',
    'failed': 'LLEN', 'fh': 'HLEN', 'fb': 'STRLEN', 'fs': 'HLEN',
    **dict.fromkeys(['fa', 'fd', 'fr'], 'LLEN'),
    **dict.fromkeys(['wake', 'bell', 'in', 'loop0', 'loop1'], 'LLEN'), 'names': 'HGETALL',
    **dict.fromkeys(['seen0', 'seen1', 'knows'], 'SCARD'),
    **dict.fromkeys(['pools', 'on', 'unknown', 'over'], 'ZCARD'),
    **dict.fromkeys(['tot', 'ended', 'min'], 'HLEN'), 'recent': 'LLEN', 'tally': 'STRLEN',
    'note': 'HKEYS', 'noted': 'ZRANGE',
}
WORK = ['rel', 'unpin', 'trash', 'loops', 'again']   # left over
SEARCH = {'loop0', 'loop1', 'seen0', 'seen1'}
KEPT = {'m', 'q', 'sched', 'lease', 'wait', 'exp', 'wake', 'pools', 'ends', 'clock', 'mending', 'x',
        'aside', 'lines', 'names', 'unknown', 'tot', 'ended', 'recent', 'over', 'note',
        'noted', 'failed', *WORK, *SEARCH}
LASTING = KEPT - {'q', 'x', 'aside', 'lines', 'over'}
ENDLESS = KEPT - {'clock', 'mending', 'ends', 'recent', 'over'} | {
    'a', 'b', 'd', 's', 'u', 'w'}
OWNED = {'a', 'b', 'd', 'r', 's', 'u', 'w',   # by a task, or with an end
         'in', 'pool', 'on', 'bell', 'min', 'tally', 'fh', 'fb', 'fa', 'fs', 'fd', 'fr'}
ENDING = {'in', 'pool', 'on', 'bell', 'min', 'tally', 'fh', 'fb', 'fa', 'fs', 'fd', 'fr'}
INDEX = {'s': 'sched', 'a': 'lease', 'p': 'wait'}
NUMBERS = 'edfmlpiutvgacqzK'   # the fields of a task that are numbers
LANE = re.compile(r'x:\d+:((q|aside):c?[012]|wait|sched)')
LANES = re.compile('(q|aside|lines):c?[012]|over:[fxc]')
SHAPES = {'cursor': r'\d{1,20}', 'purges': r'\d{1,15}',   # of fields of `m` ...
          'aside': r'\d{1,18}', 'version': r'(?=.{1,12}$)\d+(\.\d*)?',
          **dict.fromkeys(['passed0', 'passed1', 'passed2'], r'(?s)\d\d? .{1,12}')}
META = {*SHAPES, 'tick', 'skew', 'calm', 'more', 'dead', 'looked', 'redelivered', 'stale', 'alarm',
        'told', 'v', 'f', 'x', 'c', 'names', 'grace', 'failures',
        'fbytes'}   # ... and all that we know
CHUNK = 1000
FIELDS = 50   # of a task at most


class Fault(NamedTuple):
    """Something that is wrong, and where.

    `kind` is that of a key (``'t'``), and `name` the rest of its name; or ``'key'`` and a
    whole name, of a key that no task owns; ``'end'`` and the whole name of one that expires; an
    index (``'lease'``) and a member of it; ``'pins'`` and an id; ``'field'`` and one of ``m``;
    ``'more'``; or ``'dead'`` and by how many the count is wrong.
    """

    kind: str
    name: str
    what: str

    def __str__(self) -> str:
        return line(self.what)


class Store:
    """All keys of a queue, as they were read: `keys['t']['id']` is a task's hash.

    :param commands: sends many commands at once and answers with their replies; a wrong
        type is a reply too.
    :param prefix: of the names of the keys.
    :param newer: whether programs of a newer revision use the queue: what we do not know is theirs.
    """

    def __init__(self, commands: Commands, prefix: str, newer: bool = False) -> None:
        self.commands = commands
        self.prefix = prefix
        self.newer = newer
        self.keys: dict[str, dict[str, Any]] = {}
        self.ends: set[tuple[str, str]] = set()
        self.damaged: list[Fault] = []
        self.scores: dict[str, dict[str, float]] = {}
        names = sorted(self.scan())
        pieces = [split(name) for name in names]
        replies: list[Any] = []
        for start in range(0, len(names), CHUNK):
            wanted: list[list[Any]] = []
            for (kind, rest), name in zip(pieces[start:], names[start:start + CHUNK]):
                verb = READ.get(kind, 'EXISTS')
                if kind == 'x':
                    verb = 'LRANGE' if ':q:' in name else 'ZRANGE'
                span = [0, -1] if verb in ('LRANGE', 'ZRANGE') else []
                scores = ['WITHSCORES'] if kind in ('lease', 'sched') else []
                wanted += [[verb, raw(prefix + name), *span, *scores],
                           ['PTTL', raw(prefix + name)]]
            replies += commands(wanted)
        for (kind, rest), value, ttl in zip(pieces, replies[::2], replies[1::2]):
            if isinstance(value, Exception):
                what = f'key {join(kind, rest)} has the wrong type'
                self.damaged.append(Fault('key', join(kind, rest), what) if kind in KEPT | {'?'}
                                    else Fault(kind, rest, what))
                continue
            if ttl == -2:
                continue   # it has ended since it was found
            if kind in ('lease', 'sched'):
                flat = decode(value, False)
                self.scores[kind] = {id: float(at) for id, at in zip(flat[::2], flat[1::2])}
                value = value[::2]
            self.keys.setdefault(kind, {})[rest] = decode(value, kind in ('t', 'm', 'names'))
            if ttl >= 0:
                self.ends.add((kind, rest))
        for name in self.of('ends').get('', []):   # with a clock that tests move
            self.ends.add(split(name.removeprefix(prefix)))
        for id, task in list(self.of('t').items()):
            if not sane(task):
                self.damaged.append(Fault('t', id, f'task {id!r}: its record makes no sense'))
                del self.keys['t'][id]
        for name, value in list(self.of('m').get('', {}).items()):
            if not re.fullmatch(SHAPES.get(name, r'-?\d{1,15}'), value) \
                    and not (newer and name not in META):
                self.damaged.append(Fault('field', name, f'field {name!r} of m is no number'))
                del self.keys['m'][''][name]

    def scan(self) -> Iterator[str]:
        escaped = ''.join('\\' + c if c in '[]*?\\^' else c for c in self.prefix)
        cursor, seen = b'0', set[str]()
        while True:
            [(cursor, found)] = self.commands([['SCAN', cursor, 'MATCH', escaped + '*',
                                                'COUNT', CHUNK]])
            seen.update(text(name)[len(self.prefix):] for name in found)
            if cursor == b'0':
                return iter(seen)

    def of(self, kind: str) -> dict[str, Any]:
        return self.keys.get(kind, {})

    def check(self) -> Iterator[Fault]:
        """What is wrong."""
        yield from self.damaged
        self.edges = Counter(edge for edges in self.of('d').values() for edge in edges)
        self.pins = Counter(name for kind in 'au' for names in self.of(kind).values()
                            for name in names)
        self.lanes = {lane: set(entries) for lane, entries in self.of('q').items()}
        self.ready = set[str]().union(*self.lanes.values())
        self.aside = {lane: {entry.partition('\n')[2] for entry in entries}
                      for lane, entries in self.of('aside').items()}
        self.purged = {entry.partition('\n')[2] if 'aside' in lane else entry
                       for lane, entries in self.of('x').items() for entry in entries}
        for id, task in self.of('t').items():
            yield from (Fault('t', id, f'task {id!r}: {what}') for what in self.task(id, task))
            pins = int(task.get('i', 0))
            if pins != self.pins[id]:
                yield Fault('pins', id, f'task {id!r}: {pins} pins, but {self.pins[id]} argument '
                            'lists name it')
        yield from self.indexes()
        yield from self.owners()
        for kind, rest in sorted(self.ends):
            if kind in ENDLESS and rest in self.of(kind):
                yield Fault('end', join(kind, rest), f'key {join(kind, rest)} expires')
        yield from self.liveness()

    def task(self, id: str, task: dict[str, str]) -> Iterator[str]:
        state, entry = task['s'], task['n'] + id
        pins = int(task.get('i', 0))
        if state == 'e':
            lane = ('c' if 'a' in task else '') + task.get('p', '1')
            if task.get('L', '-') != '-':
                if task['L'] + entry not in self.aside.get(lane, set()) | self.purged:
                    yield 'put aside, but in no line'
            elif entry not in self.lanes.get(lane, ()) and entry not in self.purged:
                yield 'enqueued, but in no ready list'
        elif state in INDEX:
            if id not in self.of(INDEX[state]).get('', []) and id not in self.purged:
                yield f'{state}, but not in {INDEX[state]}'
        if state == 'p':
            yield from self.pending(task, entry)
        if 'z' in task and state in 'pse' and 'x' not in task \
                and id not in self.of('exp').get('', []):
            yield 'not begun, but not in exp'
        if int(task.get('g', 0)) > int(self.of('m').get('', {}).get('purges', 0)):
            yield 'of a purge that is yet to come'
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
            if id in self.of('w') and 'w' not in task:
                yield 'those who wait would not be told'

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
        if id in self.of('d') and id not in self.of('rel').get('', []):
            yield 'its dependents are not told of its end'
        held = pins > 0 or id in self.of('d')
        for kind in ('t', 'r') if long else ('t',):
            if held == ((kind, id) in self.ends):
                yield f'its {kind} {"expires" if held else "does not expire"}'
        if rest := set(task) & set('bcdmlpuvxgwakjyzGSL'):
            yield f'completed, but with fields {sorted(rest)}'

    def indexes(self) -> Iterator[Fault]:
        tasks = self.of('t')
        [time] = self.commands([['TIME']])
        now = int(time[0]) * 1000 + int(self.of('m').get('', {}).get('skew', 0))
        for state, name in INDEX.items():
            for id in self.of(name).get('', []):
                if tasks.get(id, {}).get('s') != state:
                    yield Fault(name, id, f'{id!r} is in {name}, but not {state}')
        for id in self.of('exp').get('', []):
            if 'z' not in tasks.get(id, {}):
                yield Fault('exp', id, f'{id!r} is in exp, but does not expire')
        for name, scores in self.scores.items():
            for id, at in scores.items():
                if at > now + const.REACH and not self.of('clock'):
                    yield Fault(name, id, f'{id!r} is in {name} for a time that never comes')
        calm = int(self.of('m').get('', {}).get('calm', 0))
        if calm > now + const.REACH and not self.of('clock'):
            yield Fault('field', 'calm', 'no lease is ever reaped')
        work = any(self.of(name) for name in WORK)
        if work and 'more' not in self.of('m').get('', {}):
            yield Fault('more', '', 'there is work left over, but no note of it')
        for lane in {*self.aside, *self.of('lines')}:
            names = {entry.partition('\n')[0] for entry in self.of('aside').get(lane, [])}
            if names != set(self.of('lines').get(lane, [])):
                yield Fault('lines', lane, f'lines:{lane} has other names than those put aside')
        [pauses] = self.commands([['HGET', self.prefix + 'note', const.PAUSES]])
        if isinstance(pauses, bytes) and len(pauses) <= const.NOTE and Patterns(pauses) \
                and self.of('m').get('', {}).get('names') != '1':
            yield Fault('paused', '', 'something is paused, but that is not looked at')
        if set(self.of('note').get('', [])) != set(self.of('noted').get('', [])):
            yield Fault('noted', '', 'noted has other names than there are registers')
        for name in self.of('trash').get('', []):
            if not LANE.fullmatch(name) and not self.newer:
                yield Fault('trash', name, f'{name!r} is in trash, and cannot be thrown away')
        dead = sum(len(entries) for kind in ('q', 'aside') for entries in self.of(kind).values())
        ready = self.ready.union(*self.aside.values())
        for id, task in tasks.items():
            dead -= task['s'] == 'e' and task.get('L', '').strip('-') + task['n'] + id in ready
        counted = int(self.of('m').get('', {}).get('dead', 0))
        if dead != counted:
            yield Fault('dead', str(dead - counted),
                        f'{dead} dead entries in ready lists, but {counted} counted')

    def owners(self) -> Iterator[Fault]:
        tasks = self.of('t')
        for kind, rests in self.keys.items():
            for rest in rests:
                task = tasks.get(rest, {})
                state = task.get('s', '')
                if kind in SEARCH:
                    owned = bool(self.of('loops'))
                elif kind == 'x':
                    owned = f'x:{rest}' in self.of('trash').get('', [])
                elif kind == 't' or kind in KEPT or kind == '?' and self.newer:
                    owned = True
                elif kind == 'knows':
                    owned = rest in self.of('names').get('', {}).values()
                elif kind in ENDING:
                    owned = (kind, rest) in self.ends
                elif kind == 'r':
                    owned = state == 'c'
                elif kind == 'd':
                    owned = bool(state) or rest in self.of('rel').get('', [])
                elif kind == 'u':
                    owned = rest in self.of('unpin').get('', [])
                else:
                    owned = kind in ('a', 'b', 's', 'w') and state not in ('', 'c')
                if not owned:
                    what = f'key {join(kind, rest)} has no owner and no end'
                    yield Fault(kind, rest, what) if kind in OWNED \
                        else Fault('key', join(kind, rest), what)

    def liveness(self) -> Iterator[Fault]:
        busy = any(self.of(kind) for kind in ('sched', 'lease', *WORK, 'x'))
        states = Counter(task['s'] for task in self.of('t').values())
        if not busy and not states['e'] and states['p']:
            for id, task in self.of('t').items():
                if task['s'] == 'p':
                    yield Fault('t', id, f'task {id!r} is {const.PENDING} for ever')


def sane(task: dict[str, str]) -> bool:
    """Whether scripts can work on a task's record; `repair.lua` has the same in Lua."""
    state = task.get('s', '')
    return (len(task) <= FIELDS
            and len(raw(task.get('n', ''))) == const.NONCE and state in [*'pseac']
            and all(re.fullmatch('[0-9]{1,15}', task.get(name, '0')) is not None
                    for name in NUMBERS)
            and int(task.get('m', 1)) <= const.COUNT
            and max(int(task.get(name, 0)) for name in 'lt') <= const.SPAN * 1000
            and task.get('p', '1') in [*'012']
            and re.fullmatch(r'[0-9]{18}|-', task.get('L', '-')) is not None
            and (state == 'c' or 'h' in task or 'c' in task)
            and (state != 'a' or task.keys() >= {'e', 'q'}))


def split(name: str) -> tuple[str, str]:
    """The kind of a key, and the rest of its name; '?' if there is none of this name."""
    kind, colon, rest = name.partition(':')
    if name in LASTING or colon and (
            kind in ('t', 'knows') or kind in OWNED or LANES.fullmatch(name)
            or LANE.fullmatch(name)):
        return kind, rest
    return '?', name


def join(kind: str, rest: str) -> str:
    """The name of a key again."""
    return rest if kind == '?' else kind if kind in LASTING else f'{kind}:{rest}'


def decode(value: Any, fields: bool) -> Any:
    """Text for bytes; a dictionary for the flat list of a hash."""
    if not isinstance(value, list):
        return value
    texts = [text(item) for item in value]
    return dict(zip(texts[::2], texts[1::2])) if fields else texts


def text(item: bytes) -> str:
    """Bytes as text, also those that are none; `raw` turns it back."""
    return item.decode('utf-8', 'surrogateescape')


def raw(text: str) -> bytes:
    """The bytes that were read as this text."""
    return text.encode('utf-8', 'surrogateescape')
