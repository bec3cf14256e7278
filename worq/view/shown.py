"""Arguments and values as texts, of a bounded length, without loading them.

An envelope has to verify first. Then pickles are read as `worq.view.pickles` does, json and
msgpack as they are: both run nothing.
"""
from __future__ import annotations

from datetime import date, datetime, time
import json
from typing import Any, Callable, Iterable

from worq import codec as codecs
from worq.codec import Codec, msgpack
from worq.errors import DecodeError
from worq.printable import line
from worq.seals import opened
from worq.trust import CALL
from worq.view.pickles import Made, Map, Name, Read, Seq, read
from worq.view.records import Arguments

__all__ = ['Redact', 'Show', 'show_call', 'show_value']

Redact = Callable[[str, str, str], str]

DEPTH = 8          # of containers within each other that are shown
ITEMS = 100        # of each of them
LETTERS = 300      # of a text
ROOM = 20_000      # letters that all arguments of a task have together
BITS = 2_000       # of a whole number that is written out
HIDDEN = '(hidden)'
MORE = '...'


class Show:
    """Makes texts of values, as long as there is room.

    :param name: of the task whose values they are.
    :param redact: see `worq.view.View`.
    """

    def __init__(self, name: str, redact: Redact | None = None) -> None:
        self.name = name
        self.redact = redact
        self.room = ROOM

    def named(self, key: str, value: Any, depth: int = 0) -> str:
        """A value that has a name, by which it may be hidden."""
        text = self.text(value, depth)
        if self.redact is None:
            return text
        try:
            return line(self.redact(self.name, key, text), ROOM)
        except Exception:   # it was to hide something, perhaps this
            return HIDDEN

    def text(self, value: Any, depth: int = 0) -> str:
        """A value, much as Python would write it."""
        if self.room <= 0:
            return MORE
        if isinstance(value, CONTAINERS):
            return self._container(value, depth)
        text = leaf(value)
        self.room -= len(text)
        return text

    def _container(self, value: Any, depth: int) -> str:
        self.room -= 3
        if isinstance(value, Made) and (plain := self._known(value, depth)) is not None:
            self.room -= len(plain)
            return plain
        if isinstance(value, Made) and STANDS_FOR == callee(value) and len(value.args) == 1:
            value = value.args[0]
            return self.text(value, depth + 1) if depth < DEPTH else MORE
        if depth >= DEPTH:
            return MORE
        if isinstance(value, Seq):
            return self._seq(value, depth)
        if isinstance(value, Map):
            return '{' + self._all(value.pairs, self._pair, depth) + '}'
        if isinstance(value, list):   # of json and msgpack
            return '[' + self._all(value, self.text, depth) + ']'
        return self._made(value, depth)

    def _seq(self, seq: Seq, depth: int) -> str:
        text = self._all(seq.items, self.text, depth)
        if seq.kind == 'list':
            return f'[{text}]'
        if seq.kind == 'tuple':
            return f'({text},)' if len(seq.items) == 1 else f'({text})'
        if seq.kind == 'set' and seq.items:
            return f'{{{text}}}'
        return f'{seq.kind}({{{text}}})' if seq.items else f'{seq.kind}()'

    def _all(self, parts: Any, show: Callable[[Any, int], str], depth: int) -> str:
        texts = []
        for part in parts[:ITEMS]:
            if self.room <= 0:
                break
            texts.append(show(part, depth + 1))
            self.room -= 2
        if len(texts) < len(parts):
            texts.append(f'{MORE} {len(parts) - len(texts):,} more')
        return ', '.join(texts)

    def _pair(self, pair: tuple[Any, Any], depth: int) -> str:
        key, value = pair
        shown = self.text(key, depth)
        return f'{shown}: ' + (self.named(key, value, depth) if isinstance(key, str)
                               else self.text(value, depth))

    def _attribute(self, pair: tuple[Any, Any], depth: int) -> str:
        key, value = pair
        if isinstance(key, str):
            return f'{line(key, LETTERS)}={self.named(key, value, depth)}'
        return f'{self.text(key, depth)}={self.text(value, depth)}'

    def _made(self, one: Made, depth: int) -> str:
        what = callee(one)
        if what in BY_VALUE:
            return f'<{BY_VALUE[what]}, sent by value>'
        parts = [self._all(one.args, self.text, depth)] if one.args else []
        attributes, state = fields(one.state)
        if attributes:
            parts.append(self._all(attributes, self._attribute, depth))
        if state is not None:
            parts.append(f'state={self.text(state, depth + 1)}')
        if one.items:
            parts.append(f'[{self._all(one.items, self.text, depth)}]')
        if one.pairs:
            parts.append('{' + self._all(one.pairs, self._pair, depth) + '}')
        name = line(what.removeprefix('builtins.'), LETTERS) or self.text(one.what, depth + 1)
        return f'{name}({", ".join(parts)})'

    def _known(self, one: Made, depth: int) -> str | None:
        """What a program would write, for some that pickles write otherwise; None for others."""
        name, args = callee(one), one.args
        if name == REFERENCE and args and isinstance(args[0], str):
            return f'<Deferred {line(args[0], LETTERS)}>'
        if name in MOMENTS and 0 < len(args) < 3 and isinstance(args[0], bytes):
            try:
                text = repr(MOMENTS[name](args[0]))   # of plain bytes, which it checks
            except (TypeError, ValueError):
                return None
            zone = ''.join(f', tzinfo={self.text(each, depth + 1)}' for each in args[1:])
            return f'{text[:-1]}{zone})'
        if name == 'uuid.UUID' and isinstance(one.state, Map) and len(one.state.pairs) == 1:
            number = one.state.pairs[0][1]
            if type(number) is int and 0 <= number < 1 << 128:
                digits = f'{number:032x}'
                return f"uuid.UUID('{'-'.join(digits[start:end] for start, end in UUID)}')"
        return None


CONTAINERS = Seq, Map, Made, list
STANDS_FOR = 'worq.codec.stands_for'
REFERENCE = 'worq.codec.resolve_reference'
BY_VALUE = {'cloudpickle.cloudpickle._make_function': 'a function',
            'cloudpickle.cloudpickle._make_skeleton_class': 'a class'}
MOMENTS: dict[str, Any] = {'datetime.datetime': datetime, 'datetime.date': date,
                           'datetime.time': time}


def leaf(value: Any) -> str:
    """A value that has no parts."""
    if isinstance(value, str | bytes | bytearray):
        text = repr(value[:LETTERS])
        return text if len(value) <= LETTERS else f'{text}{MORE} {len(value):,} long'
    if isinstance(value, Name):
        return f'<{line(value.text, LETTERS)}>'
    if isinstance(value, int) and value.bit_length() > BITS:
        return f'<a number of {value.bit_length():,} bits>'
    return line(repr(value), LETTERS)


def callee(one: Made) -> str:
    return one.what.text if isinstance(one.what, Name) else ''


UUID = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)]


def fields(state: Any) -> tuple[list[tuple[Any, Any]], Any]:
    """The attributes that a state has, as pairs; and the state, if it is something else."""
    if isinstance(state, Map):
        return state.pairs, None
    if isinstance(state, Seq) and state.kind == 'tuple' and len(state.items) == 2 \
            and all(part is None or isinstance(part, Map) for part in state.items):
        return [pair for part in state.items if part is not None for pair in part.pairs], None
    return [], state


# -- envelopes ---------------------------------------------------------------------------


def show_call(codec: Codec, id: str, nonce: str, header: bytes, body: bytes,
              show: Show) -> Arguments:
    """The arguments of a call."""
    try:
        found = parsed(codec.open(CALL, id, nonce, header, body), body[2])
    except DecodeError as error:
        return Arguments((), {}, line(error))
    args, pairs = call_of(found)
    names = {line(key) if isinstance(key, str) else show.text(key): (key, value)
             for key, value in pairs}
    note = '' if found.whole else f'not all of it can be shown: {found.why}'
    return Arguments(
        tuple(show.named(str(number), value) for number, value in enumerate(args, 1)),
        {name: show.named(key if isinstance(key, str) else name, value)
         for name, (key, value) in names.items()}, note)


def show_value(codec: Codec, id: str, raw: bytes, show: Show) -> str:
    """The value of an outcome on record.

    :raises DecodeError: if it is not to be believed, or cannot be read here.
    """
    found = parsed(*opened(codec, id, raw))
    if not found.parts:
        return f'({found.why})'
    return show.named('result', found.parts[0]) + ('' if found.whole else f' ({found.why})')


def call_of(found: Read) -> tuple[list[Any], list[tuple[Any, Any]]]:
    """The arguments by position, and those by name, of what was read of a call."""
    parts = found.parts
    if found.whole and isinstance(parts[0], Seq | list):
        parts = items_of(parts[0])
    if len(parts) == 2 and isinstance(parts[1], Map) and isinstance(parts[0], Seq | list):
        return items_of(parts[0]), parts[1].pairs
    if len(parts) == 1 and isinstance(parts[0], Seq) and not found.whole:
        return parts[0].items, []
    return parts, []


def items_of(value: Seq | list[Any]) -> list[Any]:
    return value.items if isinstance(value, Seq) else value


def parsed(payload: bytes, format: int) -> Read:
    """What a payload says, in one of the formats of the codec."""
    try:
        if format == codecs.FORMATS['pickle'].number:
            return read(payload)
        if format == codecs.JSON:
            return Read([json.loads(payload, object_pairs_hook=from_json)], True)
        if format == codecs.FORMATS['msgpack'].number and msgpack is not None:
            return Read([msgpack.unpackb(payload, ext_hook=from_msgpack,
                                                object_pairs_hook=from_map)], True)
    except Exception as error:   # of whatever kind a damaged one may provoke
        return Read([], False, f'it is damaged ({type(error).__name__})')
    return Read([], False, 'its format cannot be read here')


def from_json(pairs: list[tuple[str, Any]]) -> Any:
    if len(pairs) == 1 and pairs[0][0] == codecs.MARK and isinstance(pairs[0][1], list):
        return Made(Name(REFERENCE), pairs[0][1])
    return Map(pairs)


def from_map(pairs: Iterable[tuple[Any, Any]]) -> Map:
    return Map(list(pairs))


def from_msgpack(code: int, data: bytes) -> Any:
    if code == codecs.EXTENSION:
        return Made(Name(REFERENCE), msgpack.unpackb(data))
    return Name(f'extension {code}')
