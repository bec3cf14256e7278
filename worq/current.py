"""The task that runs here, as its own code sees it: ``worq.current_task()``."""
from __future__ import annotations

from contextvars import ContextVar
import json
from threading import get_ident
from types import CoroutineType
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Protocol, Self

from worq import const
from worq.errors import Cancelled, TaskTimeout
from worq.plain import line

if TYPE_CHECKING:
    from worq.core import Broker
    from worq.queue.base import Delivery, Outcome
    from worq.task import Queue

__all__ = [
    'CurrentTask', 'Control', 'Progress', 'Shield', 'current_task', 'overtime', 'running',
    'shield_here', 'unbroken',
]


MOST = 10 ** 300    # of a number; one that no float can hold is none of a task


class Progress(NamedTuple):
    """How far a task has come, in its own words."""

    done: float
    total: float | None = None
    text: str = ''

    def encode(self) -> bytes:
        """As it travels with a heartbeat; a long text is cut.

        :raises ValueError: if that does not help, since something else is too long.
        """
        text = self.text
        while True:
            raw = json.dumps([self.done, self.total, text]).encode()
            if len(raw) <= const.PROGRESS:
                return raw
            if not text or not isinstance(text, str):
                raise ValueError(f'{len(raw)} bytes of progress; at most {const.PROGRESS}')
            text = text[:len(text) // 2]

    @classmethod
    def decode(cls, raw: bytes) -> Progress | None:
        """What ``encode`` made; None for anything else."""
        try:
            done, total, text = json.loads(raw)
        except (ValueError, TypeError, RecursionError):
            return None
        if not isinstance(done, int | float) or not isinstance(text, str) \
                or not isinstance(total, int | float | None):
            return None
        if any(isinstance(n, int) and abs(n) > MOST for n in (done, total)):
            return None
        return cls(done, total, text)


class CurrentTask:
    """One delivery of a task, while it runs.

    :ivar id: the task's id.
    :ivar name: its dotted name.
    :ivar attempt: 1, and one more after each retry.
    :ivar deadline: when its time limit ends, on the clock of ``time.monotonic``; None: it
        has none.
    """

    __slots__ = ('id', 'name', 'attempt', 'deadline', 'reported', 'shield',
                 '_broker', '_delivery', '_stopped')

    def __init__(self, broker: Broker, delivery: Delivery, name: str, attempt: int = 1) -> None:
        self.id = delivery.id
        self.name = name
        self.attempt = attempt
        self.deadline: float | None = None
        self.reported: Progress | None = None   #: the last progress; for the pool, which sends it
        self.shield: Shield | None = None       #: of the pool that may interrupt it
        self._broker = broker
        self._delivery = delivery
        self._stopped = ''

    @property
    def delivery(self) -> int:
        """The how-manieth delivery this is, from 1; a retry counts anew."""
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
    def cancelled(self) -> bool:
        """Whether it has been cancelled, so that nobody wants what it does any more."""
        return self._stopped == 'cancelled'

    def progress(self, done: float, total: float | None = None, text: str = '') -> None:
        """Say how far it has come; others see it as ``deferred.progress``.

        The pool sends the last word with its next heartbeat. So it costs next to nothing,
        however often it is called.
        """
        self.reported = Progress(done, total, text)

    def stop(self, word: str, error: str = '') -> BaseException:
        """For the pool: note that it is to stop, and get the exception to raise in it.

        :param word: 'cancelled' or 'timeout'.
        """
        self._stopped = word
        if word == 'cancelled':
            return Cancelled('the task was cancelled')
        return TaskTimeout(self.name, self._broker.name, self.id, error)

    def __repr__(self) -> str:
        return line(f'<CurrentTask {self.name} [{self._broker.name}:{self.id}] {self.token}>')


class Control(Protocol):
    """A pool's hold on what its worker runs: between the first and the last of these calls it
    may raise a `Cancelled` or a `TaskTimeout` there, once, at any place."""

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        """The task's function is about to be called, in this thread.

        :param limit: seconds that it may take; None: any time.
        :param will: what it came to if it has to be killed for taking longer; with a limit only.
        """

    def complete(self, coroutine: CoroutineType[Any, Any, Any]) -> Any:
        """Run the coroutine that the function has returned, and return its value."""

    def end(self) -> None:
        """It has returned or raised. Even this call may still be interrupted."""


class Shield(Protocol):
    """Where a task must not be interrupted just now; see `unbroken`."""

    ident: int             #: of the thread in which it would be interrupted
    interrupted: bool      #: whether it is to be, at the end of this

    def raise_it(self, wake: Callable[[], object] | None) -> None:
        """Put off what comes from now on."""

    def lower_it(self) -> None:
        """The end of the last one; raises what has been put off, if that was the outermost."""


def shield_here() -> Shield | None:
    """That of the task whose own thread this is, if it can be interrupted."""
    task = running.get(None)
    if task is None:   # most often: it is asked at each lock of a queue in memory
        return None
    shield = task.shield
    return shield if shield is not None and shield.ident == get_ident() else None


class unbroken:
    """A ``with`` whose content is done whole, though its task be interrupted meanwhile.

    For what is shared with other tasks: half-done it would be their undoing. The exception is
    raised at the end. Outside of a task, and in other threads than its own, this does nothing.

    :param wake: called in some thread then, to end what waits here. It should look at `interrupted`
        before it waits.
    """

    __slots__ = ('_wake', '_shield')

    def __init__(self, wake: Callable[[], object] | None = None) -> None:
        self._wake = wake
        self._shield: Shield | None = None

    def __enter__(self) -> Self:
        shield = shield_here()
        if shield is not None:
            shield.raise_it(self._wake)
            self._shield = shield
        return self

    @property
    def shielded(self) -> bool:
        """Whether there is a task that may be interrupted meanwhile."""
        return self._shield is not None

    @property
    def interrupted(self) -> bool:
        """Whether an exception will be raised at the end."""
        return self._shield is not None and self._shield.interrupted

    def __exit__(self, *exc_info: object) -> None:
        if self._shield is not None:
            self._shield.lower_it()


def overtime(limit: float) -> str:
    """What a TaskTimeout says, wherever it is made.

    :param limit: seconds.
    """
    return f'it took longer than its limit of {limit:g} second{"" if limit == 1 else "s"}'


running: ContextVar[CurrentTask] = ContextVar('worq.running')


def current_task() -> CurrentTask:
    """The task that this code is part of.

    Known in the task's own thread, in its coroutines and in ``asyncio.to_thread``; not in
    other threads.

    :raises RuntimeError: if no task runs here.
    """
    try:
        return running.get()
    except LookupError:
        raise RuntimeError('no task runs here: current_task() is for the code of a task') from None
