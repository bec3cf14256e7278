"""A queue whose tasks keep their edges elsewhere, as rows of a table do."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from worq.queue.base import Message
from worq.queue.machine.life import Life
from worq.queue.machine.scanning import Scans
from worq.queue.machine.store import Store
from worq.queue.memory import queue as memory

__all__ = ['Rows', 'RowQueue']


class Edges:
    """Arguments in the table. They are read when they are walked, and never counted."""

    def __init__(self, rows: list[Life]) -> None:
        self.rows = rows
        self.walks = 0

    def __bool__(self) -> bool:
        return self.rows != []

    def __iter__(self) -> Iterator[Life]:
        self.walks += 1
        return iter(self.rows)

    def __getitem__(self, part: slice) -> tuple[Life, ...]:
        return tuple(self.rows[part])


class Row(Life):
    """A life whose arguments are entered and taken off one by one, but never written anew."""

    __slots__ = ('edges',)

    @property
    def arguments(self) -> Any:
        return self.edges

    @arguments.setter
    def arguments(self, lives: tuple[Life, ...]) -> None:
        assert lives == () or not hasattr(self, 'edges'), 'written anew'
        self.edges = Edges(list(lives))


class Rows(Store):
    """The machine over them."""

    def __init__(self, tell: Callable[[str, str, bytes | None], None], budget: int) -> None:
        super().__init__(tell, self.make, budget)

    def make(self, message: Message, arguments: tuple[Life, ...], now: int) -> Life:
        return Row(message, arguments, now)

    def width(self, life: Life) -> int:
        return len(life.arguments.rows)

    def argue(self, life: Life, more: Iterable[Life]) -> None:
        life.arguments.rows.extend(more)

    def shed(self, life: Life, most: int) -> Iterable[Life]:
        rows = life.arguments.rows
        some = rows[:most]
        del rows[:most]
        return some


class RowQueue(memory.TaskQueue):
    """The queue in memory over them, in small steps where it has a budget."""

    budget = 0

    def _set_up(self) -> None:
        super()._set_up()
        self._store = Rows(self._tell, self.budget)
        self._scans = Scans(self._store)
