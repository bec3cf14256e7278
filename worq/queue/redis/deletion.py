"""A queue on Redis deleted: all of its keys."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ['delete']

COUNT = 1_000   # keys that are looked at, and unlinked, in one step


def delete(commands: Callable[[Sequence[Sequence[Any]]], list[Any]], prefix: str) -> None:
    """Unlink all keys that begin so, in small steps, until a whole look finds none.

    :param commands: sends many commands at once and answers with their replies.
    """
    pattern = ''.join('\\' + c if c in '[]*?\\^' else c for c in prefix) + '*'
    left = True
    while left:
        left, cursor = False, b''
        while cursor != b'0':
            [(cursor, keys)] = commands([['SCAN', cursor or b'0', 'MATCH', pattern,
                                          'COUNT', COUNT]])
            if keys:
                commands([['UNLINK', *keys]])
                left = True
