"""Pickles read without loading them: what they would make is told, and nothing of it is made.

`read` goes through the operations of a pickle as the standard library takes them apart
(``pickletools``), and builds a tree: plain values; `Seq` and `Map`, where a pickle would make a
container; `Name`, where it would import something; `Made`, where it would call that. It
imports nothing, calls nothing that a pickle names, and hashes and compares nothing of it,
so it takes as long as there are operations, of which it looks at `STEPS`. Nor does it copy what
another operation has made. A tree may have a part in many places, or in itself: whoever shows it
has to bound that.
"""
from __future__ import annotations

import pickletools
from typing import Any, Callable, NamedTuple

__all__ = ['read', 'Seq', 'Map', 'Name', 'Made', 'Read']

STEPS = 50_000     # operations of a pickle that are looked at
LETTERS = 200      # of a name, of which a hostile pickle may make a long one with each operation


class Seq:
    """What a pickle would make a list, a tuple or a set: `kind` is its word."""

    __slots__ = 'kind', 'items'

    def __init__(self, kind: str, items: list[Any]) -> None:
        self.kind = kind
        self.items = items


class Map:
    """What a pickle would make a dict, as pairs."""

    __slots__ = 'pairs',

    def __init__(self, pairs: list[tuple[Any, Any]]) -> None:
        self.pairs = pairs


class Name:
    """What a pickle would import."""

    __slots__ = 'text',

    def __init__(self, text: str) -> None:
        self.text = text


class Made:
    """What a pickle would make by calling something."""

    __slots__ = 'what', 'args', 'state', 'items', 'pairs'

    def __init__(self, what: Any, args: list[Any]) -> None:
        self.what = what
        self.args = args                           #: of the call
        self.state: Any = None                     #: what would be its attributes
        self.items: list[Any] = []                 #: what would be appended, or added, to it ...
        self.pairs: list[tuple[Any, Any]] = []     #: ... and set in it


class Read(NamedTuple):
    """What could be read of a pickle: of a whole one there is one part."""

    parts: list[Any]
    whole: bool
    why: str = ''     #: it is not whole


def read(payload: bytes, steps: int = STEPS) -> Read:
    """What a pickle would make. Of one that is long, or damaged, what was on its stack then."""
    machine = Machine()
    count = 0
    try:
        for operation, argument, _ in pickletools.genops(payload):
            count += 1
            if count > steps:
                return Read(machine.rest(), False, 'it is long')
            if operation.name == 'STOP':
                return Read([machine.stack.pop()], True)
            machine.do(operation.name, argument)
    except Exception as error:   # of whatever kind a damaged one may provoke
        return Read(machine.rest(), False, f'it is damaged ({type(error).__name__})')
    return Read(machine.rest(), False, 'it is damaged (no end)')


class Machine:
    """The stack and the memo of a pickle."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []    # stacks that marks have put aside
        self.memo: dict[int, Any] = {}

    def do(self, name: str, argument: Any) -> None:
        if name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name in LITERALS:
            self.stack.append(argument)
        elif name in EMPTY:
            self.stack.append(EMPTY[name]())
        elif name in SMALL:
            size = SMALL[name]
            self.stack[-size:] = [Seq('tuple', self._last(size))]
        elif name in GETS:
            self.stack.append(self.memo[argument])
        elif name in PUTS:
            self.memo[argument] = self.stack[-1]
        elif name not in IGNORED:
            getattr(self, f'_{name.lower()}')(argument)

    def rest(self) -> list[Any]:
        """What is on the stack, each open part with what belongs to it so far."""
        while self.below:
            items, self.stack = self.stack, self.below.pop()
            last = self.stack[-1] if self.stack else None
            if isinstance(last, Seq) and last.kind != 'tuple':
                last.items += items
            elif isinstance(last, Map):
                last.pairs += pairs(items)
            else:
                self.stack.append(Seq('tuple', items))
        return self.stack

    # -- parts --

    def _last(self, size: int) -> list[Any]:
        if len(self.stack) < size:
            raise ValueError('nothing is there')
        return self.stack[-size:]

    def _since_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.below.pop()
        return items

    def _mark(self, argument: Any) -> None:
        self.below.append(self.stack)
        self.stack = []

    def _pop(self, argument: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, argument: Any) -> None:
        self._since_mark()

    def _dup(self, argument: Any) -> None:
        self.stack.append(self.stack[-1])

    def _memoize(self, argument: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _tuple(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(Seq('tuple', items))

    def _list(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(Seq('list', items))

    def _frozenset(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(Seq('frozenset', items))

    def _dict(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(Map(pairs(items)))

    def _append(self, argument: Any) -> None:
        item = self.stack.pop()
        self.stack[-1].items.append(item)

    def _appends(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack[-1].items.extend(items)

    _additems = _appends

    def _setitem(self, argument: Any) -> None:
        key, value = self._last(2)
        del self.stack[-2:]
        self.stack[-1].pairs.append((key, value))

    def _setitems(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack[-1].pairs.extend(pairs(items))

    def _global(self, argument: Any) -> None:
        self.stack.append(Name(named(*str(argument).split(' ', 1))))

    def _stack_global(self, argument: Any) -> None:
        module, name = self._last(2)
        self.stack[-2:] = [Name(named(module, name))]

    def _reduce(self, argument: Any) -> None:
        what, args = self._last(2)
        self.stack[-2:] = [made(what, args.items)]

    def _newobj_ex(self, argument: Any) -> None:
        what, args, kw = self._last(3)
        one = Made(what, args.items)
        one.pairs = kw.pairs
        self.stack[-3:] = [one]

    _newobj = _reduce

    def _inst(self, argument: Any) -> None:
        items = self._since_mark()
        self.stack.append(Made(Name(named(*str(argument).split(' ', 1))), items))

    def _obj(self, argument: Any) -> None:
        what, *items = self._since_mark()
        self.stack.append(Made(what, items))

    def _build(self, argument: Any) -> None:
        state = self.stack.pop()
        self.stack[-1].state = state

    def _persid(self, argument: Any) -> None:
        self.stack.append(Name('something that is kept elsewhere'))

    def _binpersid(self, argument: Any) -> None:
        self.stack[-1] = Name('something that is kept elsewhere')

    def _ext1(self, argument: Any) -> None:
        self.stack.append(Name(f'extension {argument}'))

    _ext2 = _ext4 = _ext1

    def _next_buffer(self, argument: Any) -> None:
        self.stack.append(Name('a buffer that is kept elsewhere'))


CONSTANTS: dict[str, Any] = {'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}
LITERALS = frozenset([
    'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4', 'STRING', 'BINSTRING',
    'SHORT_BINSTRING', 'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8', 'BYTEARRAY8', 'UNICODE',
    'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8', 'FLOAT', 'BINFLOAT'])
EMPTY: dict[str, Callable[[], Any]] = {
    'EMPTY_LIST': lambda: Seq('list', []), 'EMPTY_TUPLE': lambda: Seq('tuple', []),
    'EMPTY_SET': lambda: Seq('set', []), 'EMPTY_DICT': lambda: Map([])}
SMALL = {'TUPLE1': 1, 'TUPLE2': 2, 'TUPLE3': 3}
GETS = frozenset(['GET', 'BINGET', 'LONG_BINGET'])
PUTS = frozenset(['PUT', 'BINPUT', 'LONG_BINPUT'])
IGNORED = frozenset(['PROTO', 'FRAME', 'READONLY_BUFFER'])


OLD = {'__builtin__': 'builtins', 'copy_reg': 'copyreg'}   # modules, in protocols below 3


def pairs(items: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(items[::2], items[1::2]))


def named(module: Any, name: Any = '') -> str:
    """The full name of what would be imported."""
    if isinstance(module, str):
        module = OLD.get(module, module)
    return '.'.join(each[:LETTERS] for each in (module, name) if isinstance(each, str))


def made(what: Any, args: list[Any]) -> Any:
    """What a call would make, where that is known to be something plain."""
    name = what.text if isinstance(what, Name) else ''
    if name in ('builtins.set', 'builtins.frozenset') and len(args) == 1 \
            and isinstance(args[0], Seq):
        return Seq(name[9:], args[0].items)
    if name == 'copyreg._reconstructor' and args:
        return Made(args[0], [])
    return Made(what, args)
