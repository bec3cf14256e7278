"""What no caller should send to a task queue, refused alike by every backend."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from worq import const

if TYPE_CHECKING:
    from worq.queue.base import Argument, Held, Message, Note, Outcome, Recent, Revival

__all__ = ['check_messages', 'check_edges', 'check_outcomes', 'check_held', 'check_limit',
           'check_wait', 'check_scan', 'check_family', 'check_contents', 'check_minutes',
           'check_tally', 'check_note', 'check_page', 'check_revivals', 'check_withdrawn']

WORDS = frozenset(['value', 'failure', 'retry', 'delegate', 'release', 'refuse', 'unknown', 'lost',
                   'expire'])
ID_BYTES = 512
SPAN = const.SPAN * 1_000   # ms
PRIORITIES = frozenset(const.PRIORITIES.values())
SCANNED = [state for state in const.STATES if state != const.UNKNOWN]


def check_messages(messages: Sequence[Message], gate: str = '', note: Note | None = None) -> None:
    """ValueError if the messages cannot be a put."""
    if note is not None:
        check_note(*note)
        if gate or any(message.flags & const.GATE for message in messages):
            raise ValueError(f'a gate and the register {note.name!r} in one put')
    if len(messages) > const.PUT_LIMIT:
        raise ValueError(f'{len(messages)} messages in one put; at most {const.PUT_LIMIT}')
    size = edges = 0
    for message in messages:
        # Unpacked at once: to read a field of a NamedTuple takes longer than to compare it.
        (id, nonce, header, body, arguments, flags, priority, delay, ttl, lease, deliveries,
         expires) = message
        # A character takes four bytes at most, so most ids need not be encoded here.
        if not id or (len(id) * 4 > ID_BYTES and len(id.encode()) > ID_BYTES):
            raise ValueError(f'not an id: {id!r}; it has 1 to {ID_BYTES} bytes as UTF-8')
        if len(nonce) != const.NONCE:
            raise ValueError(f'not a nonce: {nonce!r}; it has {const.NONCE} characters')
        if priority not in PRIORITIES:
            raise ValueError(f'not a priority: {priority!r}')
        # All of them at once: nearly always they are far from any bound.
        if not 0 <= delay | ttl | lease | expires <= SPAN or not 0 < deliveries <= const.COUNT:
            _check_numbers(id, delay, ttl, lease, expires, deliveries)
        if arguments:
            _check_arguments(id, arguments)
            edges += len(arguments)
        if flags & const.GATE:
            _check_gate(message, len(messages), gate)
        size += len(header) + len(body)
    if len(messages) == 1:
        return   # it may be of any size
    if len(messages) + const.EDGE * edges > const.PUT_LIMIT:
        raise ValueError(f'{len(messages)} messages with {edges} arguments in one put; at most '
                         f'{const.PUT_LIMIT}, where an argument counts as {const.EDGE}')
    if size > const.PUT_BYTES:
        raise ValueError(f'{size} bytes in one put of several; at most {const.PUT_BYTES}')


def _check_numbers(id: str, *numbers: int) -> None:
    *spans, deliveries = numbers
    if min(spans) < 0 or deliveries < 1:
        raise ValueError(f'{id!r}: spans cannot be negative, and it needs a delivery')
    if max(spans) > SPAN or deliveries > const.COUNT:
        raise ValueError(f'{id!r}: spans are of ten years at most, and deliveries '
                         f'no more than {const.COUNT:,}')


def _check_gate(message: Message, count: int, gate: str) -> None:
    if count > 1 or gate or message.arguments:
        raise ValueError(f'{message.id!r}: a gate is put alone, and has no arguments')
    if message.flags & const.IGNORE_RESULT or message.delay or message.expires:
        raise ValueError(f'{message.id!r}: a gate has a result, and neither delay nor expiry')


def check_edges(id: str, start: int, arguments: Sequence[Argument]) -> None:
    """ValueError if these cannot become arguments of that task."""
    if type(start) is not int or start < 0:
        raise ValueError(f'{id!r}: it cannot have {start!r} arguments')
    _check_arguments(id, arguments)


def _check_arguments(id: str, arguments: Sequence[Argument]) -> None:
    if len(arguments) > const.PUT_LIMIT:
        raise ValueError(f'{id!r}: {len(arguments)} arguments in one step; '
                         f'at most {const.PUT_LIMIT}')
    if any(len(argument.seal) > const.SEAL for argument in arguments):
        raise ValueError(f'{id!r}: a seal has {const.SEAL} bytes at most')
    names = {argument.id for argument in arguments}
    if len(names) < len(arguments) or id in names:
        raise ValueError(f'{id!r}: its arguments must be distinct, and other than itself')


def check_outcomes(outcomes: Sequence[Outcome]) -> None:
    """ValueError if one of them cannot be settled."""
    for outcome in outcomes:
        if outcome.word not in WORDS:
            raise ValueError(f'not an outcome: {outcome.word!r}')
        if outcome.word == 'delegate' and outcome.target is None:
            raise ValueError(f'{outcome.id!r}: to delegate needs a target')
        if outcome.word == 'delegate' and len(outcome.data) > const.SEAL:
            raise ValueError(f'{outcome.id!r}: a seal of {len(outcome.data)} bytes; '
                             f'at most {const.SEAL}')
        if not 0 <= outcome.delay <= SPAN:
            raise ValueError(f'{outcome.id!r}: a delay cannot be negative, '
                             'nor longer than ten years')
        if outcome.word == 'retry' and len(outcome.data) > const.MEMO:
            raise ValueError(f'{outcome.id!r}: a memo of {len(outcome.data)} bytes; '
                             f'at most {const.MEMO}')


def check_held(held: Iterable[Held], lease: int = const.LEASE) -> list[Held]:
    """The same as a list; ValueError if one of them cannot go with a beat."""
    deliveries = list(held)
    if not 0 <= lease <= SPAN:
        raise ValueError(f'a lease of {lease} ms; at most {SPAN:,}')
    for one in deliveries:
        if len(one.progress) > const.PROGRESS:
            raise ValueError(f'{one.id!r}: {len(one.progress)} bytes of progress; '
                             f'at most {const.PROGRESS}')
    return deliveries


def check_limit(limit: int, timeout: float = 0, lease: int = const.LEASE) -> None:
    """ValueError if so many cannot be taken, or not so."""
    if type(limit) is not int or limit < 1:
        raise ValueError(f'limit is {limit!r}; it must be a whole number from 1')
    if not timeout <= const.SPAN or not 0 <= lease <= SPAN:   # a negative one has passed already
        raise ValueError(f'a take cannot wait for {timeout} seconds, or lease for {lease} ms')


def check_tally(number: int, cells: Mapping[str, str], recent: Sequence[Recent]) -> None:
    """ValueError if no pool can have counted that."""
    if type(number) is not int or not 0 < number < 1 << 53:
        raise ValueError(f'a tally is numbered from 1, not {number!r}')
    if len(cells) > const.TELLS or len(recent) > const.RECENT:
        raise ValueError(f'{len(cells)} names and {len(recent)} tasks in a tally; at most '
                         f'{const.TELLS}, and {const.RECENT:,}')


def check_minutes(last: int) -> None:
    """ValueError if it is no number of minutes."""
    if type(last) is not int or last < 1:
        raise ValueError(f'last is {last!r}; it must be a whole number of minutes from 1')


def check_note(name: str, value: bytes, if_was: bytes | None) -> None:
    """ValueError if no register can have this name, or hold this."""
    if not name or len(name.encode()) > const.NOTE_NAME:
        raise ValueError(f'{name!r} names no register; '
                         f'a name has 1 to {const.NOTE_NAME} bytes in UTF-8')
    for held in value, if_was or b'':
        if len(held) > const.NOTE:
            raise ValueError(f'{len(held):,} bytes for the register {name!r}; it holds '
                             f'{const.NOTE:,} at most')


def check_page(prefix: str, after: str, limit: int) -> None:
    """ValueError if these ask for no page of registers."""
    for text in prefix, after:
        if len(text.encode()) > const.NOTE_NAME:
            raise ValueError(f'{text!r} begins no name of a register: it is too long')
    if type(limit) is not int or not 1 <= limit <= const.NOTES_PAGE:
        raise ValueError(f'limit is {limit!r}; it is a whole number from 1 to {const.NOTES_PAGE}')


def check_wait(timeout: float) -> None:
    """ValueError if nobody can wait for so long; a negative one has passed already."""
    if not timeout <= const.SPAN:
        raise ValueError(f'{timeout} seconds cannot be waited for')


def check_scan(state: str, names: Sequence[str], cursor: str, count: int) -> None:
    """ValueError if there can be no such page of tasks."""
    if state not in SCANNED:
        raise ValueError(f'not a state: {state!r}; there are {", ".join(SCANNED)}')
    if type(count) is not int or not 1 <= count <= const.ROWS:
        raise ValueError(f'{count!r} rows of a page; 1 to {const.ROWS}')
    if isinstance(names, str) or len(names) > const.PATTERNS:
        raise ValueError(f'names are a list, of {const.PATTERNS} at most')
    if not isinstance(cursor, str) or not cursor.isascii():
        raise ValueError(f'not a cursor: {cursor!r}')


def check_family(up: int, down: int, limit: int, also: Sequence[str]) -> None:
    """ValueError if no such graph can be told."""
    if type(up) is not int or type(down) is not int or min(up, down) < 0:
        raise ValueError(f'{up!r} levels upwards and {down!r} downwards; they are numbers from 0')
    if type(limit) is not int or not 1 <= limit <= const.NODES:
        raise ValueError(f'{limit!r} nodes; 1 to {const.NODES}')
    if len(also) > const.NODES:
        raise ValueError(f'{len(also)} more tasks to begin with; at most {const.NODES}')


def check_revivals(failures: Sequence[Revival]) -> None:
    """ValueError for what no failure can be run again with."""
    if len(failures) > const.REVIVALS:
        raise ValueError(f'{len(failures)} failures at a time; at most {const.REVIVALS}')
    for one in failures:
        if one.body and not one.header:
            raise ValueError(f'{one.id!r}: a body without a header')
        if one.priority != -1 and one.priority not in PRIORITIES:
            raise ValueError(f'not a priority: {one.priority!r}')


def check_contents(ids: Sequence[str], start: int = 0, argument: int = 0) -> None:
    """ValueError for more messages than can be told at a time, or parts that none has."""
    if len(ids) > const.CONTENTS:
        raise ValueError(f'{len(ids)} messages at a time; at most {const.CONTENTS}')
    if not (type(start) is type(argument) is int and 0 <= start <= const.PAYLOAD
            and 0 <= argument <= const.COUNT):
        raise ValueError(f'no message has a byte {start!r}, or an argument {argument!r}')


def check_withdrawn(reason: str) -> None:
    """ValueError if that is not said of what is withdrawn."""
    if not reason or len(reason.encode()) > const.PROGRESS:
        raise ValueError(f'{reason!r} does not say where a task has gone; '
                         f'that is 1 to {const.PROGRESS:,} bytes in UTF-8')
