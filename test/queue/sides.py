"""The queues that a model drives: they get the same calls, and must give the same answers."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
import uuid

from worq import const
from worq.queue.base import Delivery, Message, TaskQueue
from worq.queue.memory import queue as memory
from worq.tally import tokens

__all__ = ['Sides', 'check_order']


class Sides:
    """Queues that get the same calls and must give the same answers."""

    #: is told of each call before it is made
    listener: Callable[[str, tuple[Any, ...]], None] = staticmethod(lambda verb, args: None)

    def __init__(self) -> None:
        self.now = 1_700_000_000_000   # as of a server: no span is as long
        self.name = uuid.uuid4().hex
        self.queues = self.open()

    def open(self) -> list[TaskQueue]:
        return [memory.TaskQueue('memory://', self.name, clock=lambda: self.now)]

    def advance(self, ms: int) -> None:
        self.now += ms

    def close(self) -> None:
        for queue in self.queues:
            queue.close()

    def __call__(self, verb: str, *args: Any) -> Any:
        self.listener(verb, args)
        answers = [getattr(queue, verb)(*args) for queue in self.queues]
        if verb == 'wait':   # several may become completed in one step, in any order
            answers = [sorted(answer, key=repr) for answer in answers]
        if verb == 'inspect':   # how many are ahead is not exact: some may be dead
            answers = [[one and one._replace(ahead=one.ahead is None) for one in answer]
                       for answer in answers]
        if verb == 'message':   # seals of one whose value was signed anew are of no use to it
            answers = [[one and one._replace(seals=()) for one in answer] for answer in answers]
        if verb == 'totals':   # counts are in any order
            answers = [one._replace(cells=read(one.cells)) for one in answers]
        if verb == 'minutes':
            answers = [[page._replace(cells=read(page.cells)) for page in one] for one in answers]
        for answer, queue in zip(answers[1:], self.queues[1:], strict=True):
            assert answer == answers[0], \
                f'{verb}{args!r}:\n {self.queues[0]!r} says {answers[0]!r},\n' \
                f' {queue!r} says {answer!r}'
        return answers[0]


def read(cells: dict[str, str]) -> dict[str, Any]:
    """Cells as what they say."""
    return {name: tokens(cell) for name, cell in cells.items()}


def check_order(messages: Sequence[Message], deliveries: Sequence[Delivery]) -> None:
    """Higher priorities come first, and what has no arguments is not overtaken too often."""
    of = {one.nonce: one for one in messages}
    lives = [of[d.token[:const.NONCE].decode()] for d in deliveries]
    assert [one.priority for one in lives] == sorted(one.priority for one in lives)
    overtaken, priority = 0, -1
    for one, delivery in zip(lives, deliveries, strict=True):
        if one.priority != priority:
            overtaken, priority = 0, one.priority
        if delivery.arguments:
            overtaken += 1
        else:
            assert overtaken <= const.OVERTAKEN, [one.id for one in lives]
            overtaken = 0
