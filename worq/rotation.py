"""With which secrets what is in a queue is signed: before an old one is taken away, none is to be.

Nothing is verified or loaded for it; each message and each outcome names its key. And how what
goes elsewhere is signed anew.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from worq import const
from worq.codec import HEAD, MAGIC, NO_KEY, Codec
from worq.pieces import pieces
from worq.queue.records import FAILURE, VALUE, Content, Row, unpack

if TYPE_CHECKING:   # it is above this
    from worq.queue.base import TaskQueue

__all__ = ['Use', 'sealed_anew', 'uses']

FIRST, OTHER, UNKNOWN, NONE, DAMAGED = 'first', 'other', 'unknown here', 'not signed', 'damaged'
ENDS = (const.SUCCESS, const.FAILED)   # whose outcome is signed ...
OVER = (*ENDS, const.EXPIRED)          # ... and what is over and listed


class Use(NamedTuple):
    """What is signed with one secret."""

    key: str       #: 8 digits that every message has of its key; '' of what names none
    secret: str    #: 'first', 'other', 'unknown here', 'not signed' or 'damaged'
    tasks: int     #: that are not over, or failed and may be revived: their arguments, or a retry
    results: int   #: of those that are listed, or are arguments of such a task


def uses(queue: TaskQueue, codec: Codec) -> list[Use]:
    """What is in a queue by its secrets, the most used first.

    All tasks that are not over are looked at, and outcomes as far as they are known by name: those
    that are listed (see ``scan``), and arguments of what is not over. It reads all of them once.
    """
    tasks, results = Counter[bytes](), Counter[bytes]()
    seen, needed = set[str](), set[str]()
    for state in const.LIVE:
        for rows in pages(queue, state):
            fresh = [row.id for row in rows if row.id not in seen]
            seen.update(fresh)
            for one, content in zip(queue.inspect(fresh), contents(queue, fresh)):
                if content is not None:
                    needed.update(content.arguments)
                    if content.size:   # else a gate
                        memo = one.memo if one is not None else b''
                        tasks.update({key_of(data) for data in (content.body, memo) if data})
    for state in OVER:
        for rows in pages(queue, state):
            ids = [row.id for row in rows]
            if state in ENDS:
                needed.update(ids)
            if state != const.SUCCESS:   # which may be revived
                tasks.update(key_of(one.body) for one in contents(queue, ids) if one and one.size)
    for id in sorted(needed):
        raw, = queue.results([id])
        record = unpack(raw) if raw else None
        if record is not None and record.kind in (VALUE, FAILURE):
            results[key_of(record.data)] += 1
    return [Use(key.hex() if key not in (NO_KEY, b'') else '', role(codec, key), tasks[key],
                results[key])
            for key, _ in (tasks + results).most_common()]


def sealed_anew(codec: Codec, data: bytes, id: str, nonce: str, header: bytes,
                payload: bytes) -> bytes:
    """The payload of an envelope for another life, or another header: of its kind and format, by
    the first secret.

    :param data: the envelope, which has been opened: `payload` was in it.
    """
    key_id = codec.keys.signs.id if codec.keys else NO_KEY
    return codec.seal(bytes([MAGIC, data[1], data[2]]) + key_id, id, nonce, header, payload)


def contents(queue: TaskQueue, ids: Sequence[str]) -> Iterator[Content | None]:
    """What tasks were put with, at least the first bytes of it."""
    for some in pieces(ids, const.CONTENTS):
        for id, found in zip(some, queue.message(some)):
            if found is not None and found.size and len(found.body) < HEAD:
                found, = queue.message([id])   # others before it have taken all the room
            yield found


def pages(queue: TaskQueue, state: str) -> Iterator[list[Row]]:
    """The tasks in a state."""
    cursor = ''
    while True:
        rows, cursor = queue.scan(state, (), False, cursor)
        yield rows
        if not cursor:
            return


def key_of(data: bytes) -> bytes:
    """The key that an envelope names; b'' if it is none."""
    return bytes(data[3:HEAD]) if len(data) >= HEAD and data[0] == MAGIC else b''


def role(codec: Codec, key: bytes) -> str:
    """What a key is to this program."""
    if key == b'':
        return DAMAGED
    if key == NO_KEY:
        return NONE if codec.keys is not None else FIRST
    if codec.keys is None or codec.keys.find(key) is None:
        return UNKNOWN
    return FIRST if key == codec.keys.signs.id else OTHER
