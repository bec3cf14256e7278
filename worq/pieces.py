"""Long lists, some of them at a time: what a queue is asked in one step is bounded."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

__all__ = ['pieces']

T = TypeVar('T')


def pieces(those: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """They in their order, `size` at a time, which is 1 at least."""
    size = max(size, 1)
    for start in range(0, len(those), size):
        yield those[start:start + size]
