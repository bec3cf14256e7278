"""Small values under names, in memory."""
from __future__ import annotations

from bisect import bisect_right
from itertools import islice, takewhile

__all__ = ['Registers']


class Registers:
    """Registers by name. Text compares as its bytes in UTF-8 do."""

    def __init__(self) -> None:
        self._values: dict[str, bytes] = {}
        self._order: list[str] | None = []   # all names in order; None: not known

    def __len__(self) -> int:
        return len(self._values)

    def get(self, name: str) -> bytes:
        """What it holds."""
        return self._values.get(name, b'')

    def set(self, name: str, value: bytes) -> None:
        """Have it hold something; b'': have none of it. To be done twice does no harm."""
        if not value or name not in self._values:
            self._order = None   # first, for what is begun may be interrupted
        if value:
            self._values[name] = value
        else:
            self._values.pop(name, None)

    def page(self, prefix: str, after: str, limit: int) -> list[tuple[str, bytes]]:
        """See ``TaskQueue.notes``."""
        if self._order is None:
            self._order = sorted(self._values)
        order = self._order
        at = bisect_right(order, after)
        if after < prefix:
            at = bisect_right(order, prefix) - (prefix in self._values)
        names = takewhile(lambda name: name.startswith(prefix), islice(order, at, None))
        return [(name, self._values[name]) for name in islice(names, limit)]
