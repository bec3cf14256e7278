"""What the queue in a file answers to those who look."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from worq.queue import base
from worq.queue.base import Content, Inspection, Node, Row
from worq.queue.machine.family import family
from worq.queue.machine.inspection import contents, inspect, status
from worq.queue.sqlite.scanning import page
from worq.queue.sqlite.store import Rows
from worq.queue.validation import check_contents, check_scan

__all__ = ['Readers']

T = TypeVar('T')


class Readers(base.TaskQueue):
    """The verbs that change nothing."""

    def _look(self, verb: Callable[[Rows], T], ids: Iterable[str] = ()) -> T:
        raise NotImplementedError

    def status(self, ids: Sequence[str]) -> list[str | None]:
        return self._look(lambda store: [
            status(life) if life else None for life in map(store.find, ids)], ids)

    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        return self._look(lambda store: [
            inspect(store, life, start) if life else None for life in map(store.find, ids)], ids)

    def message(self, ids: Sequence[str]) -> list[Content | None]:
        check_contents(ids)
        return self._look(lambda store: contents(store, map(store.find, ids)), ids)

    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        check_scan(state, names, cursor, count)
        return self._look(lambda store: page(store, state, names, newest, cursor, count))

    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100) -> list[Node]:
        return self._look(lambda store: family(store, id, up, down, limit))
