"""TaskSpace: functions under names, and what is to happen when they fail."""
from __future__ import annotations

import builtins
from datetime import datetime
from functools import lru_cache
from typing import Any, Callable, Sequence, TypeVar, overload

from worq import const, retry, timing
from worq.timing import Timing

__all__ = ['TaskSpace', 'check_name', 'definition', 'header_of', 'scheduled']

F = TypeVar('F', bound=Callable[..., Any])

#: The options that a task may have where it is defined: those that its worker keeps to.
DEFINABLE = 'retries', 'backoff', 'retry_on', 'timeout'
NAME = 512    # bytes of a task's name


def definition(options: dict[str, Any]) -> retry.Policy | None:
    """What a task is defined with; None: nothing.

    :raises TypeError: for an option that belongs to calls, or does not exist.
    :raises ValueError: for one that makes no sense.
    """
    unknown = options.keys() - {*DEFINABLE, *timing.OPTIONS}
    if unknown:
        raise TypeError(f'{min(unknown)!r} is no option of a definition; there are '
                        f'{", ".join(DEFINABLE + timing.OPTIONS)}. Others belong to the call: '
                        'Task(q.function, ...)')
    policy = retry.checked(**{option: options[option] for option in DEFINABLE
                              if option in options})
    return None if policy == retry.Policy() else policy


def scheduled(options: dict[str, Any]) -> Timing | None:
    """When a task is to be called that is defined with these options; None: nothing says so.

    :raises ValueError, ImportError: see ``timing.checked``.
    """
    given = {option: options[option] for option in timing.OPTIONS if option in options}
    return timing.checked(**given) if given else None


def check_name(name: object) -> None:
    """Refuse what cannot be a task's name: it stands on a line of its own wherever it is stored.

    :raises ValueError: naming it.
    """
    if not isinstance(name, str) or not name.isprintable() or not 0 < len(name.encode()) <= NAME:
        raise ValueError(f'invalid task name: {name!r}; it has 1 to {NAME} bytes in UTF-8, '
                         'all of them printable')


def check_schedule(name: str, function: Callable[..., Any]) -> None:
    """Refuse what cannot be called at regular times.

    :raises ValueError: if its name is too long for a schedule, or it needs arguments.
    """
    if len(name.encode()) > const.SCHEDULE_NAME:
        raise ValueError(f'task {name!r} is called at regular times, and its name is longer '
                         f'than the {const.SCHEDULE_NAME} bytes that a schedule may have')
    from inspect import signature   # most programs have no schedule
    try:
        found = signature(function)
    except (TypeError, ValueError):   # of some that are built in nobody knows what they need
        return
    try:
        found.bind()
    except TypeError as error:
        raise ValueError(f'task {name!r} is called at regular times, without arguments, and is '
                         f'{error}; broker.schedules.set() has arguments') from None


@lru_cache(1000)
def header_of(name: str, extra: bytes, lines: bytes) -> bytes:
    """The header of a task: one object for all calls alike, for a queue in memory keeps it.

    :raises ValueError: if the name cannot be one.
    """
    check_name(name)
    return name.encode() + extra + lines


class TaskSpace:
    """A namespace of functions that can be called through a queue.

    ::

        ts = TaskSpace('images')

        @ts.task
        def resize(path): ...

        @ts.task(name='thumb', retries=3, timeout=60)
        def make_thumbnail(path): ...

    A broker that exposes it (``broker.expose(ts)``) runs ``q.images.resize(path)``. The
    functions themselves are untouched: call them, test them, without any broker; and
    `worq.testing` runs graphs of them.

    :param name: dotted prefix of its tasks' names; empty: none.
    """

    def __init__(self, name: str = '') -> None:
        self.name = name
        self.tasks: dict[str, Callable[..., Any]] = {}
        self.defaults: dict[str, retry.Policy] = {}
        self.timings: dict[str, Timing] = {}   #: of those that are called at regular times

    @overload
    def task(self, callable: F, name: str | None = None, **options: Any) -> F: ...

    @overload
    def task(self, callable: None = None, name: str | None = None, *,
             retries: int | None = None,
             backoff: float | Sequence[float] | Callable[[int], float] | None = None,
             retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = None,
             timeout: float | None = None, cron: str | None = None,
             every: float | None = None, at: datetime | None = None, zone: str = 'UTC',
             missed: str = 'last', grace: float | None = None, overlap: str | None = None,
             spread: float = 0) -> Callable[[F], F]: ...

    def task(self, callable: Any = None, name: str | None = None, **options: Any) -> Any:
        """Add a function; usable as a decorator, with and without arguments.

        :param callable: anything that can be called.
        :param name: its name in this space; by default its ``__name__``.
        :param options: `retries`, `backoff`, `retry_on` and `timeout`, as of a `Task`; they
            hold for calls that do not give their own. And when it is called by itself, without
            arguments: `cron`, `every` (seconds) or `at` (a datetime), with `zone`, `missed`,
            `grace`, `overlap` and `spread`, see `worq.schedules`.
        :returns: the function, unchanged.
        :raises ValueError: if the name is taken, or there is none, or it cannot be one, since
            something in it is not printable; for an option that makes no sense; if it is to be
            called by itself, and needs arguments.
        :raises TypeError: for other options, which belong to calls.
        """
        policy, when = definition(options), scheduled(options)
        if callable is None:
            return lambda function: self.task(function, name, **options)
        if not builtins.callable(callable):
            raise TypeError(f'{callable!r} cannot be called, so it cannot be a task')
        if name is None:
            name = getattr(callable, '__name__', None)
            if name in (None, '<lambda>'):
                raise ValueError(f'{callable!r} has no name to be called by: '
                                 'name it with TaskSpace.task(callable, name)')
        full = f'{self.name}.{name}' if self.name else name
        check_name(full)
        if full in self.tasks:
            raise ValueError(f'task {full!r} conflicts with existing task')
        if when is not None:
            check_schedule(full, callable)
        self.tasks[full] = callable
        if policy is not None:
            self.defaults[full] = policy
        if when is not None:
            self.timings[full] = when
        return callable

    def __repr__(self) -> str:
        return f'<TaskSpace {self.name or "(root)"}: {", ".join(self.tasks) or "empty"}>'
