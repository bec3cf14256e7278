"""Calls that are a part of the caller's own transaction: they are put if that commits."""
from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

__all__ = ['Transaction', 'is_connection', 'joined']

B = TypeVar('B')


def is_connection(value: object) -> bool:
    """Whether it has the manners of a connection with a database. Such a thing cannot be sent, so
    it is no argument of a task."""
    has = {name for name in ('commit', 'rollback', 'cursor', 'execute')
           if callable(getattr(value, name, None))}
    return {'commit', 'rollback'} < has


class Transaction:
    """What the Deferreds of a transaction know of it. They cannot be waited for while it is open:
    nobody takes their tasks before it ends.

    :param broker: whose Deferreds they are.
    :param queue: the queue by the caller's connection.
    :param mark: how far it was when they were put, see `Joined.is_over`; 0: they may yet be.
    """

    __slots__ = 'broker', 'queue', 'mark'
    word = 'in a transaction'   #: how it stands with its tasks

    def __init__(self, broker: Any, queue: Any, mark: int = 0) -> None:
        self.broker = broker
        self.queue = queue
        self.mark = mark

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Transaction) and other.queue == self.queue

    def __hash__(self) -> int:
        return hash(self.queue)

    def refuse(self, what: Any) -> RuntimeError | None:
        """What to raise if somebody asks for the outcome of what was put in it; None if it is over,
        and so was put or was not."""
        if not self.queue.is_open(self.mark):
            return None
        what = f'{what.name} [{self.broker.name}:{what.id}]' if hasattr(what, 'id') else what
        return RuntimeError(f'{what} belongs to a transaction that is still open, and does not '
                            'begin before it commits: commit it first, and ask after that')

    def now(self) -> Transaction:
        """The same, for what has been put in it so far."""
        return Transaction(self.broker, self.queue, self.queue.mark)

    # -- in the place of an inbox --

    def foresee(self, deferred: Any) -> str:
        """Nobody watches what is not there yet."""
        return ''

    def note(self, deferreds: Iterable[Any]) -> None:
        """These were put in it."""
        put = self.now()
        for deferred in deferreds:
            deferred.broker, deferred._batch = self.broker, put


def joined(broker: B, connection: object) -> B:
    """A broker like this one, whose calls are put by a connection of the caller's."""
    origin: Any = broker
    if origin.transaction is not None:
        origin = origin.transaction.broker
    made: Any = object.__new__(type(origin))
    made.__dict__.update(origin.__dict__)
    made.backend = origin.backend.using(connection)
    made.transaction = made.inbox = Transaction(origin, made.backend)
    found: B = made
    return found
