"""The tasks, the same for all: plain functions that know of no library."""
from __future__ import annotations

import os
import time
from typing import Any, Callable

__all__ = ['TASKS']


def now(number: int = 0) -> float:
    """The no-op: it says when it ran, in seconds of the wall clock. It is called with a number,
    so that the messages of all libraries have an argument to carry."""
    return time.time()


def echo(payload: Any) -> Any:
    """Whatever it got."""
    return payload


def work(seconds: float) -> tuple[float, float]:
    """Wait, and say from when to when; as if for a disk or a network."""
    begin = time.time()
    time.sleep(seconds)
    return begin, time.time()


def who(seconds: float = 0.02) -> tuple[int, int]:
    """The process that it runs in, and its parent; it takes a while, so that others get some."""
    time.sleep(seconds)
    return os.getpid(), os.getppid()


def add(one: Any, other: Any) -> Any:
    """Two make one: a step of a reduction."""
    return one + other


def total(values: list[int]) -> int:
    """All make one: the end of a fan-in."""
    return sum(values)


def journal(folder: str, mark: str, seconds: float = 0.0) -> str:
    """Note when it begins and when it ends, in a file of this process.

    A line is ``begin MARK PID TIME`` or ``end MARK PID TIME``. It is one write to a file opened
    for appending, so a process that is killed leaves whole lines.
    """
    note(folder, 'begin', mark)
    time.sleep(seconds)
    note(folder, 'end', mark)
    return mark


def note(folder: str, word: str, mark: str) -> None:
    """Append one line to the journal of this process."""
    line = f'{word} {mark} {os.getpid()} {time.time():.6f}\n'
    file = os.open(os.path.join(folder, f'{os.getpid()}.journal'),
                   os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(file, line.encode())
    finally:
        os.close(file)


#: Those that every adapter registers under their names.
TASKS: dict[str, Callable[..., Any]] = {
    function.__name__: function for function in (now, echo, work, who, add, total, journal)
}
