"""Between the words of the contract and the flat lists that Redis and its scripts know."""
from __future__ import annotations

import re
from typing import Any, Sequence

from worq import const
from worq.queue import base
from worq.queue.base import (
    Argument, Content, Death, Inspection, Lost, Message, Node, Outcome, Refusal, Row, Times,
)
from worq.queue.records import now
from worq.queue.validation import check_outcomes

__all__ = ['HEAVY', 'LETTERS', 'STATES', 'News', 'affordable', 'all_words', 'content',
           'flat_arguments', 'flat_messages', 'flat_outcomes', 'inspection', 'is_heavy', 'losses',
           'news', 'node', 'page', 'refusals', 'text']

SETTLE = 64         # outcomes in one command: each may have dependents, too
SETTLE_BYTES = 64 << 20  # of outcomes in one command, unless a single one is longer

HEAVY = 512 << 10   # bytes that go, and come, by themselves: less than any limit of a server

STATES = {b'p': const.PENDING, b's': const.SCHEDULED, b'e': const.ENQUEUED,
          b'a': const.PROCESSING, b'c': const.FAILED,   # its outcome is damaged
          **{kind.upper(): end for kind, end in const.ENDS.items()}}
#: The letter by which ``scan.lua`` knows a state.
LETTERS = {state: letter for letter, state in STATES.items() if letter != b'c'}
ENDED = {kind.upper() for kind in const.ENDS} | {b'c'}
RECORDED = {'value': base.VALUE, 'failure': base.FAILURE, 'refuse': base.FAILURE,
            'unknown': base.FAILURE}
PLAIN = Message('', '', b'', b'')[4:]
LENDABLE = Message('', '', b'', b'', flags=const.NEEDED)[4:]
DEATH = re.compile(rb'(\d{1,15}) (\d{1,4}) (\d{1,3}) (\d{1,4}) ')
USUAL = [PLAIN[1], PLAIN[2], PLAIN[4], PLAIN[5], PLAIN[6]]

News = list[tuple[str, bytes | None]]
Lives = list[tuple[bytes, bytes]]   # ids and nonces; an empty one is any

# -- to Redis -----------------------------------------------------------------------


def flat_messages(messages: Sequence[Message]) -> list[Any]:
    """Messages as `put.lua` reads them: id, nonce, header, body, options, arguments."""
    argv: list[Any] = []
    for message in messages:
        argv += message[:4]
        argv += options(message)
        argv += flat_arguments(message.arguments)
    return argv


def flat_arguments(arguments: Sequence[Argument]) -> list[Any]:
    """Arguments as `9_arguments.lua` reads them: id, and nonce, behind which the seal may be."""
    argv: list[Any] = []
    for id, nonce, seal in arguments:
        argv += (id, nonce.ljust(const.NONCE).encode() + seal if seal else nonce)
    return argv


def options(message: Message) -> list[str]:
    """What differs from a plain task, as `put.lua` reads it."""
    (arguments, flags, priority, delay, ttl, lease, most, expires) = given = message[4:]
    if given == PLAIN:
        return ['']
    if given == LENDABLE:   # as a map makes them
        return ['n']
    fields: list[str] = []
    for name, value, usual in zip('fptlm', (flags, priority, ttl, lease, most), USUAL):
        if value != usual:
            fields += (name, str(value))
    return [f'{delay} {expires} {len(fields) // 2} {len(arguments)}', *fields]


def flat_outcomes(outcomes: Sequence[Outcome]) -> list[Any]:
    """Outcomes as `settle.lua` reads them: id, token, word, data, age.

    An outcome on record is put together here, since in Lua that would copy it once more.
    """
    check_outcomes(outcomes)
    argv: list[Any] = []
    moment = now()
    for outcome in outcomes:
        id, token, word, data, delay, target, *_ = outcome
        if word in RECORDED:
            data = b'%b%b%b' % (token[:const.NONCE], RECORDED[word], data)
        elif word == 'retry':
            data = b'%d %b' % (delay, data)
        elif target is not None and word == 'delegate':
            data = b'%b%d:%b%b' % (target.nonce.ljust(const.NONCE).encode(), len(data), data,
                                   target.id.encode())
        argv += (id, token, word, data, outcome.age(moment))
    return argv


def affordable(outcomes: Sequence[Outcome]) -> list[Sequence[Outcome]]:
    """Groups of outcomes that Redis takes in one command, in order.

    It serves nobody else during one. And it drops a client that sends more than it may (a
    gigabyte, unless set otherwise), which would be so again each time they are sent.
    """
    if len(outcomes) <= SETTLE and sum(len(one.data) for one in outcomes) <= SETTLE_BYTES:
        return [outcomes] if outcomes else []
    groups: list[list[Outcome]] = []
    room = 0
    for outcome in outcomes:
        if not groups or len(groups[-1]) == SETTLE or len(outcome.data) > room:
            groups.append([])
            room = SETTLE_BYTES
        groups[-1].append(outcome)
        room -= len(outcome.data)
    return list(groups)


# -- from Redis ---------------------------------------------------------------------


def refusals(answer: Sequence[bytes] | None) -> list[Refusal]:
    if not answer:
        return []
    id, word, argument, *held = answer
    return [Refusal(id.decode(), word.decode(), argument.decode(), *held)]


def inspection(state: bytes, nonce: bytes, header: bytes = b'', due: int | None = None,
               expires: int | None = None, open: int = 0, arguments: Sequence[bytes] = (),
               target: bytes = b'', ahead: int | None = None, pool: bytes = b'',
               taken: int | None = None, deliveries: int = 0, progress: bytes = b'',
               memo: bytes = b'', gate: bytes = b'', lost: bytes = b'', ignored: int = 0,
               moments: Sequence[bytes] = (), aside: int | None = None,
               grace: int | None = None, died: bytes = b'') -> Inspection:
    """Read what `inspect.lua` answers."""
    names = tuple(map(text, arguments))
    if state in ENDED:
        header = header.partition(b'\n')[0]
    return Inspection(STATES.get(state, '?'), header, due, expires, open, names, text(target),
                      ahead, text(pool), taken, deliveries, progress, memo, text(gate),
                      text(nonce), text(lost), bool(ignored), times(state, *moments),
                      aside, grace, deaths(died))


def deaths(raw: bytes) -> tuple[Death, ...]:
    """Read what `7_lost.lua` keeps of deliveries that were lost."""
    found, at = [], 0
    while told := DEATH.match(raw, at):
        moment, *sizes = map(int, told.groups())
        parts, at = [], told.end()
        for size in sizes:
            parts.append(raw[at:at + size])
            at += size
        found.append(Death(moment, text(parts[0]), text(parts[1]), parts[2]))
    return tuple(found[-const.DEATHS:])


def content(nonce: bytes, header: bytes, body: bytes, size: int, options: Sequence[bytes],
            arguments: Sequence[bytes], seals: Sequence[bytes | None], tail: bytes) -> Content:
    """Read what `message.lua` answers."""
    flags, priority, ttl, lease, most = [number(raw) if raw.isdigit() else usual
                                         for raw, usual in zip(options, USUAL)]
    return Content(text(nonce), header, body, size, tuple(map(text, arguments)),
                   flags & ~const.LENT, priority, ttl, lease, most,
                   tuple(seal or b'' for seal in seals) if any(seals) else (), tail)


def number(raw: bytes) -> int:
    """A field that is empty, or may be anything."""
    return int(raw) if raw.isdigit() and len(raw) < 16 else 0


def page(state: str, flat: Sequence[Sequence[bytes]]) -> list[Row]:
    """Read what `scan.lua` answers."""
    return [Row(text(id), text(nonce), text(name), state, number(since), number(due), text(pool),
                number(tries) + 1)
            for id, nonce, name, since, due, pool, tries in flat]


def node(id: bytes, level: int, nonce: bytes, name: bytes, state: bytes, width: int,
         arguments: Sequence[bytes], target: Sequence[bytes], fan: int,
         dependents: Sequence[bytes], gate: bytes, progress: bytes, since: bytes,
         pool: bytes) -> tuple[Node, Lives, Lives, Lives]:
    """Read what `family.lua` answers: a node, and the lives of its arguments, its target, its
    dependents."""
    above, goal, below = map(lives, (arguments, target, dependents))
    return Node(text(id), text(nonce), text(name), STATES.get(state, '?'), level, width,
                tuple(text(id) for id, _ in above), text(goal[0][0]) if goal else '', fan,
                tuple(text(id) for id, _ in below), text(gate), progress, number(since),
                text(pool)), above, goal, below


def lives(flat: Sequence[bytes]) -> Lives:
    """Pairs of an id and a nonce."""
    return list(zip(flat[::2], flat[1::2]))


def times(state: bytes, *moments: bytes) -> Times:
    """Read fields of a task as `inspect.lua` answers them; they are empty, or may be anything."""
    if len(moments) != 6:
        return Times()
    *_, age = moments
    put, ready, taken, ended, tries = map(number, moments[:5])
    begun, before, peak, skipped = map(number, (age.split() + [b''] * 4)[:4])
    if not ready and (taken or state == b'e'):
        ready = put   # at once
    return Times(put, ready, taken, ended - begun if ended and age else 0,
                 ended - before if ended else 0, tries + 1, peak << 10, skipped)


def all_words(n: int, others: Sequence[Any]) -> list[str]:
    """The words of n outcomes as scripts answer them: those that are not ok, by their index."""
    words = ['ok'] * n
    for index, word in zip(others[::2], others[1::2]):
        words[index] = word.decode()
    return words


def losses(found: list[Any]) -> list[Lost]:
    return [Lost(id.decode(), token, word.decode()) for id, token, word in found]


def news(entry: bytes) -> News:
    """Read an entry of an inbox: letter, length of the id, colon, id, outcome.

    One that makes no sense is no news, and so is an empty one, with which ``ring`` wakes us.
    """
    size, _, rest = entry[1:].partition(b':')
    try:
        id, record = rest[:int(size)].decode(), rest[int(size):]
    except ValueError:
        return []
    return [(id, None if entry[:1] == b'n' else record)]


def text(raw: bytes) -> str:
    """What a program may be shown, whatever it is."""
    return raw.decode('utf-8', 'replace')


def is_heavy(body: bytes | int, flat: list[Any] | int) -> bool:
    """Whether it may take long to fetch what `take.lua` answers the lengths of, if so much."""
    if isinstance(flat, int) or None in flat:
        return True
    return sum(part for part in [body, *flat[1::2]] if isinstance(part, int)) > HEAVY
