"""What is signed for one queue, signed for another: calls, what tasks came to, edges.

Nothing is loaded for that. Only what has verified is signed; all else goes as it is, so whoever
reads it there trusts it as little as before.
"""
from __future__ import annotations

from collections.abc import Sequence

from worq import seals
from worq.codec import Codec
from worq.errors import DecodeError
from worq.queue.base import FAILURE as FAILED, Argument, Hop, path, unpack
from worq.rotation import sealed_anew
from worq.trust import ARGUMENT, CALL, FAILURE, TAIL, VALUE

__all__ = ['Resealing']

WORDS = {b'v': 'value', b'f': 'failure'}


class Resealing:
    """Between two queues.

    :param source: the codec of the one, which verifies.
    :param target: that of the other, which signs.
    """

    def __init__(self, source: Codec, target: Codec) -> None:
        self.source = source
        self.target = target
        self.distrusted = 0   #: how much was not to be believed

    def call(self, id: str, nonce: str, header: bytes, body: bytes) -> bytes:
        """The body of a task."""
        try:
            payload = self.source.open(CALL, id, nonce, header, body)
        except DecodeError:
            self.distrusted += 1
            return body
        return sealed_anew(self.target, body, id, nonce, header, payload)

    def outcome(self, id: str, raw: bytes) -> bytes:
        """The value or the failure in an outcome on record, as one of the task's own."""
        record, hops = unpack(raw), path(raw)
        whose = (id, record.nonce)
        kind = FAILURE if record.kind == FAILED else VALUE
        try:
            if record.origin is not None:
                seals.follow(self.source, *whose, hops, kind == FAILURE)
            payload = self.source.open(kind, *(record.origin or whose), b'', record.data)
        except DecodeError:
            self.distrusted += 1
            return record.data
        return sealed_anew(self.target, record.data, *whose, b'', payload)

    def renewed(self, id: str, nonce: str, seal: bytes, source: str, raw: bytes) -> bytes:
        """The value of a task that comes along a tail call, which was about to be signed anew.

        :raises DecodeError: if it is not to be believed.
        """
        data = seals.renew(self.source, self.source.queue, id, nonce, seal, source, raw)
        payload = self.source.open(VALUE, id, nonce, b'', data)
        return sealed_anew(self.target, data, id, nonce, b'', payload)

    def arguments(self, id: str, nonce: str, arguments: Sequence[Argument],
                  ) -> tuple[Argument, ...]:
        """The edges of a task from its arguments, with seals."""
        made = seals.sealed(self.target, id, nonce, [one._replace(seal=b'') for one in arguments])
        if self.source.keys is None:
            return made
        return tuple(new if self._fits(ARGUMENT, id, nonce, old) else new._replace(seal=b'')
                     for old, new in zip(arguments, made))

    def tail(self, id: str, nonce: str, to: Argument) -> bytes:
        """The seal of a tail call."""
        if self.source.keys is not None and not self._fits(TAIL, id, nonce, to):
            return b''
        return seals.tail_call(self.target, id, nonce, to.id, to.nonce)

    def _fits(self, kind: int, id: str, nonce: str, to: Argument) -> bool:
        """Whether the seal of an edge is one."""
        if not to.seal:   # then no failure is to come along it
            return False
        try:
            seals.check(self.source, kind, id, nonce, Hop(*to))
        except DecodeError:
            self.distrusted += 1
            return False
        return True
