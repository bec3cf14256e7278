"""Which way an outcome may come from one task to another: edges, each of them signed.

An outcome is signed for the task whose own it is. When it comes to another along an edge, the queue
says so, and the queue can sign nothing; whoever can write there could say of any outcome that
it has come from anywhere. So who may speak for a task signs the edges that lead to it:

============ ======================= ========================================================
kind         by                      what it says
============ ======================= ========================================================
`TAIL`       the worker of the task  what that one comes to is what I come to
`ARGUMENT`   who puts the task       if that one fails, I may fail with it
============ ======================= ========================================================

"That one" is a life of an id, or any life, if all that is known of it is the id. The queue keeps
these seals and tells them with the outcome, see ``worq.queue.base``. A reader follows them from the
task that it has asked for, and believes the outcome if each leads to the next.
"""
from __future__ import annotations

from typing import Any, NoReturn, Sequence

from worq import const
from worq.codec import LENGTHS, MAGIC, SIGNED, Codec
from worq.errors import DecodeError, TaskCancelled, TaskExpired, UntrustedMessage
from worq.printable import line
from worq.queue import base
from worq.queue.base import Argument, Hop, Record
from worq.rotation import sealed_anew
from worq.trust import ARGUMENT, TAIL, VALUE, hmac_halves

__all__ = ['tail_call', 'sealed', 'is_seal', 'follow', 'check', 'sign_anew', 'read', 'is_value',
           'opened', 'renew']


def tail_call(codec: Codec, id: str, nonce: str, to: str, life: str) -> bytes:
    """The seal of a tail call from this life of a task; empty where nothing is signed."""
    return _seal(codec, TAIL, id, nonce, to, life)


def sealed(codec: Codec, id: str, nonce: str,
           arguments: Sequence[Argument]) -> tuple[Argument, ...]:
    """The arguments of this life of a task, with seals."""
    if codec.keys is None:
        return tuple(arguments)
    key = codec.keys.signs
    head = bytes([MAGIC, ARGUMENT, 0]) + key.id
    task, own = id.encode(), nonce.encode()
    inner, outer = hmac_halves(key.derived[ARGUMENT])
    # As the codec signs, but there may be thousands: what they all begin with is hashed once.
    begun = {}
    for size in {len(life) for _, life, _ in arguments}:
        begun[size] = inner.copy()
        begun[size].update(b''.join((
            head, codec.scope, LENGTHS(len(task), len(own), size), task, own)))
    made = []
    for to, life, _ in arguments:
        inner, last = begun[len(life)].copy(), outer.copy()
        inner.update((life + to).encode())
        last.update(inner.digest())
        made.append(Argument(to, life, head + last.digest()[:16]))
    return tuple(made)


def is_seal(memo: bytes) -> bool:
    """Whether the memo of a delivery is the seal of a tail call: its value is to be signed anew."""
    return len(memo) == SIGNED and memo[0] == MAGIC and memo[1] == TAIL


def follow(codec: Codec, id: str, nonce: str, hops: Sequence[Hop], failed: bool) -> None:
    """Make sure that an outcome of this life of a task may come from the last one of its hops.

    A failure that came along many edges has lost those in the middle, see ``worq.queue.base``.
    Its origin is believed then if all that are left are signed.

    :raises UntrustedMessage: if it may not.
    """
    if codec.keys is None:
        return
    for n, hop in enumerate(hops, 1):
        if failed and n == len(hops) >= const.LINKS and not hop.seal:
            return
        kind = hop.seal[1] if len(hop.seal) == SIGNED else 0
        if kind != TAIL and not (failed and kind == ARGUMENT):
            _distrust(codec, id, hop)
        check(codec, kind, id, nonce, hop)
        id, nonce = hop.id, hop.nonce


def sign_anew(codec: Codec, id: str, nonce: str, origin: tuple[str, str], data: bytes) -> bytes:
    """A value of `origin` as one of this life of a task. It is not loaded for that.

    :raises UntrustedMessage: if it does not verify.
    """
    return sealed_anew(codec, data, id, nonce, b'', codec.open(VALUE, *origin, b'', data))


def _seal(codec: Codec, kind: int, id: str, nonce: str, to: str, life: str) -> bytes:
    if codec.keys is None:
        return b''
    head = bytes([MAGIC, kind, 0]) + codec.keys.signs.id
    return codec.seal(head, id, nonce, life.encode(), to.encode())[:SIGNED]


def check(codec: Codec, kind: int, id: str, nonce: str, hop: Hop) -> None:
    """Make sure that the seal of an edge is one of this kind.

    :raises UntrustedMessage: if it is not.
    """
    data = hop.seal + hop.id.encode()
    try:
        codec.open(kind, id, nonce, hop.nonce.encode(), data)
    except UntrustedMessage as error:
        if error.unknown_key:
            raise
        codec.open(kind, id, nonce, b'', data)   # all that was known of it is its id


def _distrust(codec: Codec, id: str, hop: Hop) -> NoReturn:
    raise UntrustedMessage(
        f'the outcome of [{codec.queue}:{id}] is not trusted: it is said to come from '
        f'[{codec.queue}:{hop.id}], and no signature says that it may')


def read(codec: Codec, queue: str, id: str, raw: bytes) -> Any:
    """The value in an outcome on record of a task, or the TaskFailure that it is (not raised).

    :param queue: its name.
    :raises DecodeError: if it cannot be read here.
    """
    try:
        record = base.unpack(raw)
    except ValueError as error:
        raise DecodeError(line(f'[{queue}:{id}]: {error}')) from error
    nonce = record.nonce
    if record.origin is not None:
        if record.kind in b'vf':   # the others are the queue's own, and not signed
            follow(codec, id, nonce, base.path(raw), record.kind == base.FAILURE)
        id, nonce = record.origin
    if record.kind == base.VALUE:
        return codec.decode_value(id, nonce, record.data)
    if record.kind == base.FAILURE:
        return codec.decode_failure(id, nonce, record.data)
    failure = TaskExpired if record.kind == base.EXPIRED else TaskCancelled
    name, _, text = record.data.decode('utf-8', 'replace').partition('\n')
    return failure(line(name), queue, id, line(text))


def is_value(raw: bytes) -> bool:
    """Whether an outcome on record is a value, its own or that of another task."""
    return raw[const.NONCE:const.NONCE + 1].lower() == base.VALUE


def opened(codec: Codec, id: str, raw: bytes) -> tuple[bytes, int]:
    """The payload of a value on record of a task, and its format, once all has verified: for who
    is not to load it.

    :raises DecodeError: if it is not to be believed, or is none.
    """
    record, hops = _value(codec.queue, id, raw)
    nonce = record.nonce
    if record.origin is not None:
        follow(codec, id, nonce, hops, False)
        id, nonce = record.origin
    return codec.open(VALUE, id, nonce, b'', record.data), record.data[2]


def renew(codec: Codec, queue: str, id: str, nonce: str, seal: bytes, source: str,
          raw: bytes) -> bytes:
    """The value of a task, as its own, that comes along a tail call from a record of another.

    :param seal: of that tail call.
    :raises DecodeError: if it is not to be believed, or is none.
    """
    record, path = _value(queue, source, raw)
    hops = [Hop(source, record.nonce, seal), *path]
    follow(codec, id, nonce, hops, False)
    return sign_anew(codec, id, nonce, (hops[-1].id, hops[-1].nonce), record.data)


def _value(queue: str, id: str, raw: bytes) -> tuple[Record, list[Hop]]:
    """An outcome on record that is a value, and the edges that it came along. Nothing of it has
    been verified.

    :raises DecodeError: if it is damaged, or is none.
    """
    try:
        record, path = base.unpack(raw), base.path(raw)
    except ValueError as error:
        raise DecodeError(line(f'[{queue}:{id}]: {error}')) from error
    if record.kind != base.VALUE:
        raise DecodeError(line(f'[{queue}:{id}] has no value'))
    return record, path
