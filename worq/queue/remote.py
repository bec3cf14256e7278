"""The memory queue as the children of a pool see it: they ask the process in which it lives.

What they ask, and what they are answered, is a word, a text in JSON, and the byte strings that it
refers to. Nobody evaluates anything of it, and what a child asks is checked before it gets to
the queue, as if a stranger had sent it.
"""
from __future__ import annotations

import json
import time
from typing import Any, Callable, Iterable, Sequence

from worq import const
from worq.errors import QueueError
from worq.latch import Latch
from worq.printable import logger
from worq.queue import base
from worq.queue.base import (
    Argument, Content, Death, Held, Inspection, Lost, Message, Minute, Node, Note, Outcome, Refusal,
    Revival, Row, Times, Totals,
)
from worq.queue.validation import check_scan, check_wait

__all__ = ['TaskQueue', 'answer', 'unpack_answer']

log = logger(__name__)

PAUSE = 0.001, 0.05   # seconds between two looks at an inbox: first and last
HIGHEST = 1 << 53     # of a number; beyond, some arithmetic would fail


# -- values on a pipe ---------------------------------------------------------------

def pack_value(value: object) -> list[bytes]:
    """Lists, texts, numbers, bytes and None, as byte strings; a tuple becomes a list."""
    blobs: list[bytes] = []

    def refer(data: object) -> dict[str, int]:
        if not isinstance(data, bytes):
            raise TypeError(f'{data!r} cannot be sent')
        blobs.append(data)
        return {'': len(blobs) - 1}

    return [json.dumps(value, default=refer).encode(), *blobs]


def unpack_value(parts: Sequence[bytes]) -> Any:
    """What ``pack_value`` made; ValueError for anything else."""
    text, *blobs = parts

    def deref(found: dict[str, Any]) -> Any:
        return blobs[found['']] if '' in found else found

    try:
        return json.loads(text, object_hook=deref)
    except (IndexError, TypeError, RecursionError) as error:
        raise ValueError(f'not a value: {error}') from None


# -- what may be asked --------------------------------------------------------------

Reader = Callable[[Any], Any]   # what it makes of a value, or ValueError


def text(value: Any) -> str:
    """A text that can be written as bytes."""
    if not isinstance(value, str):
        raise ValueError(f'not a text: {value!r}')
    value.encode()   # UnicodeEncodeError is a ValueError
    return value


def nonce(value: Any) -> str:
    if not isinstance(value, str) or not value.isascii():
        raise ValueError(f'not a nonce: {value!r}')
    return value


def data(value: Any) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError(f'not bytes: {value!r}')
    return value


def number(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < HIGHEST:
        raise ValueError(f'not a number from 0: {value!r}')
    return value


def whole(value: Any) -> int:
    return -1 if type(value) is int and value == -1 else number(value)


def perhaps(read: Reader) -> Reader:
    """Such a value, or None."""
    return lambda value: None if value is None else read(value)


def many(read: Reader) -> Reader:
    """A list of such values."""
    def reader(value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise ValueError(f'not a list: {value!r}')
        return [read(one) for one in value]
    return reader


def record(kind: Callable[..., Any], *fields: Reader) -> Reader:
    """A named tuple of all of these fields."""
    def reader(value: Any) -> Any:
        if not isinstance(value, list) or len(value) != len(fields):
            raise ValueError(f'not a {kind.__name__}: {value!r}')
        return kind(*(read(one) for read, one in zip(fields, value)))
    return reader


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f'neither true nor false: {value!r}')
    return value


def nothing(value: Any) -> None:
    if value is not None:
        raise ValueError(f'not nothing: {value!r}')


ids = many(text)
argument = record(Argument, text, nonce, data)


def arguments(value: Any) -> tuple[Argument, ...]:
    return tuple(many(argument)(value))


message = record(Message, text, nonce, data, data, arguments, *[number] * 7)
outcome = record(Outcome, text, data, text, data, number, nothing, number, number, number,
                 number)
held = record(Held, text, data, data)
note = record(Note, text, data, data)
revival = record(Revival, text, nonce, number, data, data, whole)

#: What a child may ask, and of what its arguments are made. All else is for pools.
VERBS: dict[str, list[Reader]] = {
    'put': [many(message), text, text, perhaps(note)],
    'note': [text, data, perhaps(data)], 'notes': [text, text, number],
    'edges': [text, text, nonce, number, many(argument)],
    'cancel': [ids, perhaps(text)], 'purge': [], 'revive': [many(revival), boolean],
    'status': [ids],
    'inspect': [ids, whole], 'message': [ids, number, number], 'results': [ids],
    'scan': [text, many(text), boolean, text, number],
    'family': [text, number, number, number, ids],
    'watch': [text, ids], 'wait': [text], 'forget': [ids],
    'beat': [text, many(held), number], 'settle': [text, many(outcome)],
    'pools': [text], 'queues': [], 'size': [], 'stats': [], 'oldest': [], 'audit': [],
    'minutes': [number], 'totals': [],
}


# -- the side of the queue ----------------------------------------------------------

def answer(queue: base.TaskQueue, parts: Sequence[bytes]) -> list[bytes]:
    """Do what is asked, and put the answer into byte strings; never raises.

    :param queue: the pool's; if another one is meant, it is one of the same process.
    :param parts: a verb, and a value: the url and the name of the queue, and the arguments.
    """
    try:
        return [b'ok', *pack_value(_act(queue, parts))]
    except ValueError as error:
        return [b'value', *pack_value(str(error))]
    except QueueError as error:
        return [b'queue', *pack_value(str(error))]
    except Exception as error:   # a fault of ours must not be the end of the pool
        log.exception('could not do what a worker process had asked')
        return [b'queue', *pack_value(f'{type(error).__name__}: {error}')]


def _act(queue: base.TaskQueue, parts: Sequence[bytes]) -> Any:
    verb, *rest = parts
    asked = unpack_value(rest) if rest else None
    readers = VERBS.get(verb.decode('ascii', 'replace'))
    if readers is None or not isinstance(asked, list) or len(asked) != len(readers) + 2:
        raise ValueError('a worker process asked for what it may not')
    url, name, *given = asked
    if (url, name) != (queue.url, queue.name):
        queue = type(queue).open(text(url), text(name))
    args = [read(one) for read, one in zip(readers, given)]
    if verb == b'wait':
        args.append(0)   # it comes again
    elif verb in (b'beat', b'settle') and any(one.id != args[0] for one in args[1]):
        raise ValueError('a worker process may beat and settle for a gate only')
    return getattr(queue, verb.decode())(*args)


def unpack_answer(parts: Sequence[bytes]) -> Any:
    """What the queue answered; raises what it raised."""
    value = unpack_value(parts[1:])
    if parts[0] == b'value':
        raise ValueError(value)
    if parts[0] == b'queue':
        raise QueueError(value)
    return value


# -- the side of the child ----------------------------------------------------------

class TaskQueue(base.TaskQueue):
    """Stands for a memory queue of the pool's own process. See `worq.queue.base`.

    A child can put, look, wait and cancel. The verbs of pools are not for it; but a gate is held
    and settled by whoever has put it.

    :param ask: sends a verb and a value as byte strings, waits, and returns the answer.
    """

    def __init__(self, url: str, name: str, ask: Callable[[list[bytes]], list[bytes]]) -> None:
        super().__init__(url, name)
        self._channel = ask
        self._rung: dict[str, Latch] = {}

    def open(self, url: str, name: str = const.DEFAULT,  # type: ignore[override]
             **options: Any) -> TaskQueue:
        """Another queue of the same process."""
        return TaskQueue(url, name, self._channel)

    def _ask(self, verb: str, *args: Any) -> Any:
        return unpack_answer(self._channel(
            [verb.encode(), *pack_value([self.url, self.name, *args])]))

    # -- producers ------------------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        refusals = self._ask('put', list(messages), gate, client, note)
        return [Refusal(*refusal) for refusal in refusals]

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        refusals = self._ask('edges', gate, id, nonce, start, list(arguments))
        return [Refusal(*refusal) for refusal in refusals]

    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        words: list[str] = self._ask('cancel', list(ids), client)
        return words

    def revive(self, failures: Sequence[Revival], downstream: bool = False) -> list[str]:
        words: list[str] = self._ask('revive', list(failures), downstream)
        return words

    def purge(self) -> int:
        n: int = self._ask('purge')
        return n

    # -- readers --------------------------------------------------------------

    def status(self, ids: Sequence[str]) -> list[str | None]:
        words: list[str | None] = self._ask('status', list(ids))
        return words

    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        return [None if found is None else _inspection(found)
                for found in self._ask('inspect', list(ids), start)]

    def message(self, ids: Sequence[str], start: int = 0, argument: int = 0,
                ) -> list[Content | None]:
        return [None if found is None else _content(found)
                for found in self._ask('message', list(ids), start, argument)]

    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        check_scan(state, names, cursor, count)
        rows, cursor = self._ask('scan', state, list(names), newest, cursor, count)
        return [Row(*row) for row in rows], cursor

    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100,
               also: Sequence[str] = ()) -> list[Node]:
        nodes = [Node(*found) for found in self._ask('family', id, up, down, limit, list(also))]
        return [node._replace(arguments=tuple(node.arguments), dependents=tuple(node.dependents))
                for node in nodes]

    def results(self, ids: Sequence[str], whole: bool = True) -> list[bytes | None]:
        records: list[bytes | None] = self._ask('results', list(ids))
        return records

    def watch(self, client: str, ids: Sequence[str]) -> list[tuple[str, bytes | None]]:
        return [(id, raw) for id, raw in self._ask('watch', client, list(ids))]

    def wait(self, client: str, timeout: float) -> list[tuple[str, bytes | None]]:
        check_wait(timeout)
        rung = self._rung.setdefault(client, Latch())
        deadline = time.monotonic() + timeout
        pause, last = PAUSE
        while True:
            news = [(id, raw) for id, raw in self._ask('wait', client)]
            left = deadline - time.monotonic()
            # The one that waits is here, and so is whoever rings for it.
            if news or left <= 0 or rung.wait(min(pause, left)):
                rung.clear()
                return news
            pause = min(1.3 * pause, last)

    def ring(self, client: str) -> None:
        self._rung.setdefault(client, Latch()).set()

    def forget(self, ids: Sequence[str]) -> list[str]:
        words: list[str] = self._ask('forget', list(ids))
        return words

    # -- registers ------------------------------------------------------------

    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        held: bytes = self._ask('note', name, value, if_was)
        return held

    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        return [(name, value) for name, value in self._ask('notes', prefix, after, limit)]

    # -- pools ----------------------------------------------------------------

    def pools(self, beside: str = '') -> dict[str, dict[str, str]]:
        pools: dict[str, dict[str, str]] = self._ask('pools', beside)
        return pools

    def queues(self) -> list[str]:
        names: list[str] = self._ask('queues')
        return names

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        return [Lost(*lost) for lost in self._ask('beat', pool, list(held), lease)]

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        words: list[str] = self._ask('settle', pool, list(outcomes))
        return words

    def _refuse(self, *args: Any, **kw: Any) -> Any:
        raise QueueError('this process is the child of a pool, which has the memory queue: '
                         'tasks can be put and waited for here, but pools must be there')

    join = tell = leave = take = turn = reconcile = abandon = bell = tally = withdraw = _refuse

    # -- keepers --------------------------------------------------------------

    def size(self) -> int:
        n: int = self._ask('size')
        return n

    def oldest(self) -> list[int | None]:
        ages: list[int | None] = self._ask('oldest')
        return ages

    def stats(self) -> dict[str, int]:
        sizes: dict[str, int] = self._ask('stats')
        return sizes

    def minutes(self, last: int = 60) -> list[Minute]:
        return [Minute(at, cells, (*sizes,)) for at, cells, sizes in self._ask('minutes', last)]

    def totals(self) -> Totals:
        return Totals(*self._ask('totals'))

    def audit(self, repair: bool = False) -> list[str]:
        lines: list[str] = self._ask('audit')
        return lines


def _content(fields: list[Any]) -> Content:
    found = Content(*fields)
    return found._replace(arguments=tuple(found.arguments), seals=tuple(found.seals))


def _inspection(fields: list[Any]) -> Inspection:
    found = Inspection(*fields)
    return found._replace(arguments=tuple(found.arguments), times=Times(*found.times),
                          deaths=tuple(Death(*death) for death in found.deaths))
