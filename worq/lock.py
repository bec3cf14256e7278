"""A lock that can tell when its own thread asks for it again, from a signal handler say.

What can be interrupted: a signal handler runs in the main thread between any two steps of the
interpreter, and may raise there, as Ctrl-C does; the collector of garbage runs in any thread, and
calls what objects wish to have done at their end. Either may call WorQ, which may have been
interrupted half-way in this very thread, and hold a lock. To wait for that would be for ever.

An `RLock` is taken and let go by ``with`` in one step, and knows its owner. (A `Condition`, an
`Event` and a `queue.Queue` are written in Python: what is interrupted in them can leave their locks
taken for ever. So nothing that a signal handler may reach is one of them.)
"""
from __future__ import annotations

import sys
import threading
from types import FrameType
from typing import Any

__all__ = ['Lock', 'beneath', 'look_within']

Lock: Any = threading.RLock   # `_is_owned` of it is not in the type


def beneath(file: str) -> bool:
    """Whether this call has interrupted another one of the code in this file, in this thread.

    The frames of the call itself do not count: those of the file that are the nearest, and
    those above them.
    """
    frame: FrameType | None = sys._getframe(1)
    state = 0   # above them, among them, below
    while frame is not None:
        same = frame.f_code.co_filename == file
        if same and state == 2:
            return True
        if same != (state == 1):
            state += 1
        frame = frame.f_back
    return False


def look_within(lock: Any, file: str, what: object) -> None:
    """For a thread that has the lock, and is about to take it: has this call interrupted another?

    If none is under way beneath, it was left so where only a debugger can interrupt, in the
    midst of a ``with``, and is let go.

    :param file: where the lock is taken.
    :param what: is in use, for the message.
    :raises RuntimeError: if one is; it would not be safe to go on, nor to wait.
    """
    if beneath(file):
        raise RuntimeError(
            f'{what!r} is in use by the code that was interrupted here: a signal handler, or '
            'what the collector of garbage calls, cannot use it at this moment')
    while lock._is_owned():
        lock.release()
