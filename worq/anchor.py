"""What an event loop keeps alive while it may still run, and no longer.

A coroutine that waits is kept by whatever will wake it: a timer, a socket. Nobody else may have a
reference to it. WorQ must not have one either, or what nobody can wake any more, since its loop
is closed, would stay until the queue says so. So the loop has it: in a timer that is far away, for
a loop lets go of its timers when it is closed.
"""
from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

if TYPE_CHECKING:   # it is dear to load, and whoever has a loop has it
    from asyncio import AbstractEventLoop

__all__ = ['kept_by']

FAR = 86_400.0   # seconds; a loop sleeps no longer anyway


_kept: WeakKeyDictionary[AbstractEventLoop, ref[set[Any]]] = WeakKeyDictionary()


def kept_by(loop: AbstractEventLoop) -> set[Any]:
    """What this loop keeps until it is closed; to be called in its thread."""
    known = _kept.get(loop)
    kept = known() if known is not None else None
    if kept is None:
        kept = set()
        _kept[loop] = ref(kept)
        loop.call_later(FAR, _renew, loop, kept)
    return kept


def _renew(loop: AbstractEventLoop, kept: set[Any]) -> None:
    if kept:
        loop.call_later(FAR, _renew, loop, kept)
