"""What a manager notes of the tasks of a child: their limits, its orders, how they ended."""
from __future__ import annotations

from typing import NamedTuple

from worq.queue.base import Delivery, Outcome

__all__ = ['Done', 'Limit', 'Order']


class Limit(NamedTuple):
    """The time limit of a task."""

    number: int
    until: float     # monotonic
    will: Outcome    # what it comes to if it has to be killed


class Order(NamedTuple):
    """An order to interrupt a task, and what follows if it does not let go."""

    number: int
    word: str
    again: float     # monotonic; when the child is told again
    until: float     # ... and when it is killed


class Done(NamedTuple):
    """A task that it has run."""

    number: int
    delivery: Delivery
    outcome: Outcome | None   # None: it was cancelled
    seconds: float
