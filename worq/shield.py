"""What must be done whole, though the task that does it be interrupted meanwhile.

It stands below the queues, whose locks and connections need it, so it knows of the task that runs
here only that somebody may interrupt it.
"""
from __future__ import annotations

from contextvars import ContextVar
from threading import get_ident
from typing import Callable, Protocol, Self

__all__ = ['Running', 'Shield', 'running', 'shield_here', 'unbroken', 'waiting']


class Shield(Protocol):
    """Where a task must not be interrupted just now; see `unbroken`."""

    ident: int             #: of the thread in which it would be interrupted
    interrupted: bool      #: whether it is to be, at the end of this

    def raise_it(self, wake: Callable[[], object] | None) -> None:
        """Put off what comes from now on."""

    def lower_it(self) -> None:
        """The end of the last one; raises what has been put off, if that was the outermost."""


class Running(Protocol):
    """The task that runs here."""

    shield: Shield | None   #: of the pool that may interrupt it
    waits_for: str          #: the id of another task that it waits for; empty: none


running: ContextVar[Running] = ContextVar('worq.running')


def shield_here() -> Shield | None:
    """That of the task whose own thread this is, if it can be interrupted."""
    task = running.get(None)
    if task is None:   # most often: it is asked at each lock of a queue in memory
        return None
    shield = task.shield
    return shield if shield is not None and shield.ident == get_ident() else None


class waiting:
    """A ``with`` in which the task that runs here, if any, waits for another one.

    :param id: of that one.
    """

    __slots__ = ('_id', '_task')

    def __init__(self, id: str) -> None:
        self._id = id
        self._task = running.get(None)

    def __enter__(self) -> None:
        if self._task is not None:
            self._task.waits_for = self._id

    def __exit__(self, *exc_info: object) -> None:
        if self._task is not None:
            self._task.waits_for = ''


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
