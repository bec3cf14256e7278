"""The task that runs here, as its own code sees it: ``worq.current_task()``."""
from __future__ import annotations

from datetime import datetime
from types import CoroutineType
from typing import Any, Protocol, cast

from worq.blame import Unsendable
from worq.core import Broker
from worq.errors import Cancelled, TaskTimeout
from worq.printable import line
from worq.progress import Progress
from worq.queue.base import Delivery, Outcome
from worq.schedules import call
from worq.shield import Shield, running
from worq.task import Queue

__all__ = ['CurrentTask', 'Control', 'current_task', 'overtime']


class CurrentTask(Unsendable):
    """One delivery of a task, while it runs.

    :ivar id: the task's id.
    :ivar name: its dotted name.
    :ivar attempt: 1, and one more after each retry.
    :ivar deadline: when its time limit ends, on the clock of ``time.monotonic``; None: it
        has none.
    """

    __slots__ = ('id', 'name', 'attempt', 'deadline', 'reported', 'shield',
                 'waits_for',
                 '_broker', '_delivery', '_stopped')
    __instead__ = 'send what is wanted of it, as its id'

    def __init__(self, broker: Broker, delivery: Delivery, name: str, attempt: int = 1) -> None:
        self.id = delivery.id
        self.name = name
        self.attempt = attempt
        self.deadline: float | None = None
        self.reported: Progress | None = None   #: the last progress; for the pool, which sends it
        self.shield: Shield | None = None       #: of the pool that may interrupt it
        self.waits_for = ''                     #: id of another task, while it waits for that
        self._broker = broker
        self._delivery = delivery
        self._stopped = ''

    @property
    def delivery(self) -> int:
        """How many times this attempt has been delivered to a worker, from 1."""
        return self._delivery.number

    @property
    def token(self) -> str:
        """Names this delivery and no other: a guard for what must happen once."""
        return self._delivery.token.decode('ascii')

    @property
    def queue(self) -> Queue:
        """The queue that it came from, to call other tasks: ``current_task().queue.other(1)``."""
        return self._broker.queue()

    @property
    def slot(self) -> datetime | None:
        """The moment that this run of a schedule stands for, in its zone; None: it is no such run.
        """
        return call.slot_of(self._delivery.header)

    @property
    def missed(self) -> int:
        """How many slots of its schedule had no run since the run before this one."""
        told = call.told(self._delivery.header)
        return 0 if told is None else told[2]

    @property
    def cancelled(self) -> bool:
        """Whether it has been cancelled: nobody wants its result any more."""
        return self._stopped == 'cancelled'

    def progress(self, done: float, total: float | None = None, text: str = '') -> None:
        """Tell how far it has come; others see it as ``deferred.progress``.

        The pool sends the latest with its next heartbeat, once a second. So it costs next to
        nothing, however often it is called.

        :param done: a number from 0.
        :param total: a number from 0; None: nobody knows.
        :param text: anything else; a long one is cut.
        :raises ValueError: for anything else as a number, also NaN and infinity.
        :raises TypeError: for a text that is no string.
        """
        self.reported = Progress.checked(done, total, text)

    def stop(self, word: str, error: str = '') -> BaseException:
        """For the pool: note that it is to stop, and get the exception to raise in it.

        :param word: 'cancelled' or 'timeout'.
        :param error: what the latter says.
        """
        self._stopped = word
        if word == 'cancelled':
            return Cancelled('the task was cancelled')
        return TaskTimeout(self.name, self._broker.name, self.id, error)

    def __repr__(self) -> str:
        return line(f'<CurrentTask {self.name} [{self._broker.name}:{self.id}] {self.token}>')


class Control(Protocol):
    """A pool's hold on what its worker runs: between the first and the last of these calls it
    may raise a `Cancelled` or a `TaskTimeout` there, once, at any place.

    :ivar exposes: where its tasks are exposed, if that is not where the pool was made.
    """

    exposes: str = ''

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        """The task's function is about to be called, in this thread.

        :param limit: seconds that it may take; None: any time.
        :param will: what it came to if it has to be killed for taking longer; with a limit only.
        """

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        """Run the coroutine that the function has returned, and return its value."""

    def end(self) -> None:
        """It has returned or raised. Even this call may still be interrupted."""


def overtime(limit: float) -> str:
    """What a TaskTimeout says, wherever it is made.

    :param limit: seconds.
    """
    return f'it took longer than its limit of {limit:g} second{"" if limit == 1 else "s"}'


def current_task() -> CurrentTask:
    """The task that this code is part of.

    Known in the task's own thread, in its coroutines and in ``asyncio.to_thread``; not in
    other threads.

    :raises RuntimeError: if no task runs here.
    """
    try:
        return cast(CurrentTask, running.get())
    except LookupError:
        raise RuntimeError('no task runs here: current_task() is for the code of a task') from None
