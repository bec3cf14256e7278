"""Forks: which signal handlers are this process's own, and where the copy of a task ends.

A task may fork, and so may any thread of a program that has a pool. The copy has what this
process had: its signal handlers, and the stack that leads back into a pool's loop. Neither is
for the copy.
"""
from __future__ import annotations

from contextlib import suppress
import os
from queue import Empty
import signal
import sys
import threading
import traceback
from typing import Any, Coroutine, NoReturn

__all__ = ['Handlers', 'generation', 'leave', 'only_here']

#: How many forks there are between this process and the first one. A task is called with one
#: number and comes back with another: so it is told from its copy without a system call.
generation = 0


# -- signal handlers ------------------------------------------------------------------

class Handlers:
    """Signal handlers that only this process has: a fork has those of before.

    With ours a fork could not be ended by SIGTERM, or it would tell this process, by a pipe that
    both have, to stop.
    """

    def __init__(self) -> None:
        self._set: dict[int, tuple[Any, Any]] = {}   # by number: ours, that of before

    def set(self, number: int, handler: Any) -> None:
        """Have `handler` called; in the main thread only."""
        self._set[number] = handler, signal.getsignal(number)   # first: a thread may fork
        if self not in _in_force:
            _in_force.append(self)
        signal.signal(number, handler)

    def restore(self) -> None:
        """Have those of before back."""
        for number, (_, before) in self._set.items():
            if before is not None:   # None: not Python's
                signal.signal(number, before)
        self._set.clear()
        if self in _in_force:
            _in_force.remove(self)

    def numbers(self) -> list[int]:
        return list(self._set)

    def forget(self) -> None:
        """In a fork: those of before, unless the program has set others on top of ours."""
        for number, (ours, before) in self._set.items():
            if before is not None and signal.getsignal(number) is ours:
                signal.signal(number, before)
        self._set.clear()


_in_force: list[Handlers] = []
_mask = threading.local()


def _before_fork() -> None:
    # A signal that reaches the copy before `_in_copy` has run would be answered by our handler,
    # or be dropped by the interpreter. So it waits: a program may well send one at once.
    _mask.before = None
    numbers = {number for handlers in list(_in_force) for number in handlers.numbers()}
    if numbers:
        _mask.before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def _unblock() -> None:
    before = getattr(_mask, 'before', None)   # unset if this module was just being imported
    if before is not None:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _in_copy() -> None:
    global generation
    generation += 1
    while _in_force:
        _in_force.pop().forget()   # the last ones first: they may stand on the others
    _end_executor()
    _unblock()


def _end_executor() -> None:
    """A copy made by a thread of an executor goes no further than to the end of that call.

    That thread is all there is in the copy, and it would do what the original is to do next, or
    wait for ever.
    """
    module: Any = sys.modules.get('concurrent.futures.thread')
    work = module._threads_queues.get(threading.current_thread()) if module else None
    if work is not None:
        with suppress(Empty):
            while True:
                work.get_nowait()
        module._shutdown = True
        work.put(None)   # it ends with this


os.register_at_fork(before=_before_fork, after_in_parent=_unblock, after_in_child=_in_copy)


# -- copies of a task -----------------------------------------------------------------

def leave(error: BaseException | None) -> NoReturn:
    """End this process, a copy that has come back from a task; only the original goes on.

    As if the task had been all of the program: what it raised is printed, and is the status.
    No ``atexit``: what is registered there belongs to the original.

    :param error: what the task raised in the copy.
    """
    code = 0
    try:
        if isinstance(error, SystemExit) and isinstance(error.code, int | None):
            code = error.code or 0
        elif isinstance(error, SystemExit):
            code = 1
            print(error.code, file=sys.stderr)
        elif error is not None:
            code = 1
            traceback.print_exception(error)
    finally:
        for stream in sys.stdout, sys.stderr:
            with suppress(Exception):
                stream.flush()
        os._exit(code & 0xff)


async def only_here(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Await it; a copy of this process does not come back from there.

    Here, and not when its event loop is done: to close that in the copy would take
    from the original what both have in the kernel, and the original would never wake up.
    """
    here = generation
    try:
        return await coroutine
    finally:
        if generation != here:
            leave(sys.exc_info()[1])
