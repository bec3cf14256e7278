"""The standard streams: nothing of ours may lie on descriptors 0, 1 and 2.

Where a program was started without one of them (``pool.py >&-``), the next file that is opened
gets its number, be it a pipe or a connection of ours. What C code prints there, and it prints by
number, would be read as a frame or a reply.
"""
from __future__ import annotations

import os

__all__ = ['fill', 'pipe']


def fill() -> None:
    """Open the null device on those of the three that are closed; before we open anything."""
    fd = 0
    while fd <= 2:   # the system gives the lowest number that is free
        try:
            fd = os.open(os.devnull, os.O_RDWR)
        except OSError:   # then neither can be opened what should come after this
            return
        if fd <= 2:
            os.set_inheritable(fd, True)   # as such streams are
    os.close(fd)


def pipe() -> tuple[int, int]:
    """``os.pipe``, beyond the standard streams."""
    fill()
    return os.pipe()
