"""Tasks of one queue put into another, behind a gate that is held there; see ``worq.moving``."""
from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from worq import const, seals
from worq.builder import TASKS, WIDE, size, trimmed, weight
from worq.errors import DecodeError, QueueError
from worq.pieces import pieces
from worq.queue.base import (
    CANCELLED, EXPIRED, FAILURE, Argument, Content, Inspection, Message, Outcome, Refusal, Row,
    TaskQueue, unpack,
)
from worq.resealing import Resealing

__all__ = ['Conflict', 'Copying']


class Conflict(QueueError):
    """Something is there that does not let it be done, or not now."""


class Copying:
    """Puts tasks, each as it is now.

    :param gate: that is held at the target, and which all is put behind.
    :param rows: those that are there, by id.
    :param beat: is called from time to time.
    """

    def __init__(self, source: TaskQueue, target: TaskQueue, gate: str, rows: Mapping[str, Row],
                 resealing: Resealing, beat: Callable[[], None]) -> None:
        self.source = source
        self.target = target
        self.gate = gate
        self.rows = rows
        self.resealing = resealing
        self.beat = beat
        self.results = 0                    # that were put
        self.copies: list[str] = []
        self.left: set[str] = set()         # that are not to be put now
        self.nonces: dict[str, str] = {}    # of completed tasks that are there, too
        self.step: list[Message] = []       # to be put ...
        self.ends: dict[str, Outcome | None] = {}   # ... and ended at once; None: cancelled
        self.tails: list[Outcome] = []      # tail calls to be made when all is there
        self.weight = self.bytes = 0

    def copy(self, order: Sequence[str]) -> list[str]:
        """Put them, and what they need; which of them are there now.

        :param order: each behind its arguments.
        """
        for some in pieces(order, const.CONTENTS):
            for id, content, seen in zip(some, self.source.message(some),
                                         self.source.inspect(some)):
                self._add(self.rows[id], content, seen)
            self.beat()
        self._flush()
        there = set(self.copies)
        for tails in pieces(self.tails, const.CONTENTS):
            self.target.settle(self.gate, [one for one in tails if self._target_of(one) in there])
            there -= {one.id for one in tails if self._target_of(one) not in there}
            self.beat()
        return [id for id in self.copies if id in there]

    @staticmethod
    def _target_of(tail: Outcome) -> str:
        return tail.target.id if tail.target else ''

    def _add(self, row: Row, content: Content | None, seen: Inspection | None) -> None:
        """Put one with the next step, unless it has changed, or a gate holds it back here."""
        id = row.id
        if content is None or seen is None or not content.nonce == seen.nonce == row.nonce \
                or seen.gate or seen.state not in const.LIVE or seen.state == const.PROCESSING:
            self.left.add(id)
            return
        body, arguments = self._body(id, content), self._arguments(id, content)
        if body is None or arguments is None:   # it has changed meanwhile
            self.left.add(id)
            return
        message = Message(
            id, row.nonce, content.header,
            self.resealing.call(id, row.nonce, content.header, body), (), content.flags,
            content.priority, seen.due or 0, content.ttl, content.lease, content.max_deliveries,
            seen.expires or 0)
        if seals.is_seal(seen.memo):
            self._append(message, self._renewed(message, seen.memo, arguments[-1:]))
        elif seen.target:
            self._append_caller(message, seen.target, content.tail)
        elif (edges := [self._edge(*one) for one in arguments]) and None in edges:
            self.left.add(id)
        else:
            sources = [edge for edge in edges if edge]
            self._append(message._replace(arguments=tuple(sources) if content.flags & const.PASS
                                          else self.resealing.arguments(id, row.nonce, sources)))

    def _body(self, id: str, content: Content) -> bytes | None:
        """All of a body, of which that is known that came with others."""
        body = content.body
        while len(body) < content.size:
            more, = self.source.message([id], len(body))
            if more is None or more.nonce != content.nonce or not more.body:
                return None
            body += more.body
            self.beat()
        return body

    def _arguments(self, id: str, content: Content) -> list[tuple[str, bytes]] | None:
        """The ids of all its arguments, with seals."""
        found = sealed(content)
        more: Content | None = content
        while more is not None and len(more.arguments) == const.PUT_LIMIT:
            more, = self.source.message([id], content.size, len(found))
            if more is None or more.nonce != content.nonce:
                return None
            found += sealed(more)
        return found

    def _edge(self, name: str, seal: bytes) -> Argument | None:
        """An edge from an argument that is there, or is put now; None if it cannot be."""
        if name in self.rows:
            return None if name in self.left else Argument(name, self.rows[name].nonce, seal)
        if name not in self.nonces:
            self.nonces[name] = self._bring(name)
        return Argument(name, self.nonces[name], seal) if self.nonces[name] else None

    def _bring(self, name: str) -> str:
        """Put a completed task; its life, or '' if it is not completed."""
        self.beat()
        raw, = self.source.results([name])
        seen, = self.source.inspect([name])
        if not raw or seen is None:
            return ''
        record = unpack(raw)
        there, = self.target.inspect([name])
        if there is not None and there.nonce == record.nonce:
            if there.state == seen.state:
                return record.nonce
            if there.state not in const.LIVE:   # it was moved to here, and from here
                self.target.forget([name])
        message = Message(name, record.nonce, seen.header, b'', flags=const.NEEDED)
        text = record.data.partition(b'\n')[2]
        self._append(message, None if record.kind == CANCELLED else Outcome(
            name, token(message), *(('expire', text) if record.kind == EXPIRED else
            ('failure' if record.kind == FAILURE else 'value', self.resealing.outcome(name, raw)))))
        self.results += 1
        return record.nonce

    def _renewed(self, message: Message, memo: bytes,
                 last: Sequence[tuple[str, bytes]]) -> Outcome:
        """What one comes to that was about to sign the value of its tail call anew."""
        id, source = message.id, last[0][0] if last else ''
        raw, = self.source.results([source]) if last else [None]
        try:
            data = self.resealing.renewed(id, message.nonce, memo, source, raw or b'')
        except DecodeError as error:
            return Outcome(id, token(message), 'expire', str(error).encode())
        return Outcome(id, token(message), 'value', data)

    def _append_caller(self, message: Message, target: str, seal: bytes) -> None:
        """Put one that has made a tail call. It must never begin, so it is not due before that is
        made there, too."""
        if target not in self.rows:
            self.left.add(message.id)
            return
        to = Argument(target, self.rows[target].nonce, seal)
        tail = self.resealing.tail(message.id, message.nonce, to)
        self.tails.append(Outcome(message.id, token(message), 'delegate', tail,
                                  target=to._replace(seal=b'')))
        self._append(message._replace(delay=const.SPAN * 1_000, expires=0))

    # -- steps ------------------------------------------------------------------------

    def _append(self, message: Message, end: Outcome | None | bool = False) -> None:
        """Put one with the next step.

        :param end: what it comes to at once; None: it is cancelled; False: to nothing yet.
        """
        wide = len(message.arguments) > WIDE
        length = size(message) + (len(end.data) if isinstance(end, Outcome) else 0)
        self.weight += weight(message)
        self.bytes += length
        if self.step and (wide or self.weight > TASKS or self.bytes > const.PUT_BYTES):
            self._flush()
            self.weight, self.bytes = weight(message), length
        self.step.append(message)
        if not isinstance(end, bool):
            self.ends[message.id] = end
        if wide:
            self._flush()

    def _flush(self) -> None:
        """Put what has gathered."""
        step, ends = self.step, self.ends
        self.step, self.ends, self.weight, self.bytes = [], {}, 0, 0
        while step and (refusals := self.target.put([trimmed(one) for one in step], self.gate)):
            step = self._without(step, refusals[0])
        stored = {one.id for one in step}
        self.target.settle(self.gate, [end for id, end in ends.items() if end and id in stored])
        if cancelled := [id for id, end in ends.items() if end is None and id in stored]:
            self.target.cancel(cancelled)
        for message in step:
            self._widen(message)
        self.copies += [one.id for one in step if one.id in self.rows and one.id not in self.left]

    def _without(self, step: list[Message], refusal: Refusal) -> list[Message]:
        """A step without the one that was refused, which is left for later.

        :raises Conflict: if it is refused for good.
        """
        if self.gate in (refusal.id, refusal.argument):
            raise Conflict(f'the gate in {self.target!r} was ended by somebody: do it again')
        if refusal.word != 'unknown':
            raise Conflict(f'{refusal.id!r} is in {self.target!r} already, and {refusal.word}')
        self.left.add(refusal.id)
        return [one for one in step if one.id != refusal.id]

    def _widen(self, message: Message) -> None:
        """Add what `trimmed` has left out."""
        for start in range(WIDE, len(message.arguments), WIDE):
            if self.target.edges(self.gate, message.id, message.nonce, start,
                                 message.arguments[start:start + WIDE]):
                self.left.add(message.id)   # it is there, and is added to when it is put again
                return
            self.beat()


def token(message: Message) -> bytes:
    """By which whoever holds the gate ends one."""
    return f'{message.nonce}0'.encode()


def sealed(content: Content) -> list[tuple[str, bytes]]:
    """The arguments that it tells, with seals; of a part that has none it tells no seals."""
    return list(zip(content.arguments, content.seals or [b''] * len(content.arguments)))
