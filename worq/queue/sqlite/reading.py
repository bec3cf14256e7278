"""What the queue in a file answers to those who look."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

from worq.const import PROCESSING
from worq.queue import base
from worq.queue.base import Content, Delivery, Inspection, Late, Node, Row
from worq.queue.machine.family import family
from worq.queue.machine.inspection import contents, inspect, status
from worq.queue.sqlite.scanning import page
from worq.queue.sqlite.store import Rows
from worq.queue.validation import check_contents, check_scan

__all__ = ['Readers']

PAGE = 1_000   # arguments that are read at a time
T = TypeVar('T')


class Readers(base.TaskQueue):
    """The verbs that change nothing."""

    def _look(self, verb: Callable[[Rows], T], ids: Iterable[str] = ()) -> T:
        raise NotImplementedError

    def _apart(self, store: Rows, taken: list[Delivery]) -> list[Delivery | Late]:
        """What was taken, in its order; what is wide of it is to be fetched yet."""
        return [Late(one.id, one.token, one.header, partial(self._fetch, one), one.waited)
                if one.token in store.wide else one for one in taken]

    def _fetch(self, delivery: Delivery) -> Delivery | None:
        """One with its arguments, read in pages, so that nobody waits; None if it is over."""
        arguments: list[tuple[str, bytes]] = []
        while True:
            page = self._look(partial(self._page, delivery, len(arguments)), [delivery.id])
            if page is None:
                return None
            arguments += page
            if len(page) < PAGE:
                return delivery._replace(arguments=tuple(arguments))

    @staticmethod
    def _page(delivery: Delivery, start: int, store: Rows) -> list[tuple[str, bytes]] | None:
        life: Any = store.known(delivery.id)
        if life is None or life.token != delivery.token or life.state != PROCESSING:
            return None
        return [(one.id, one.record() or b'')
                for one in store.links.arguments_from(life, start, PAGE)]

    def status(self, ids: Sequence[str]) -> list[str | None]:
        return self._look(lambda store: [
            status(life) if life else None for life in map(store.find, ids)], ids)

    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        return self._look(lambda store: [
            inspect(store, life, start) if life else None for life in map(store.find, ids)], ids)

    def message(self, ids: Sequence[str], start: int = 0, argument: int = 0,
                ) -> list[Content | None]:
        check_contents(ids, start, argument)
        return self._look(lambda store: contents(store, map(store.find, ids), start, argument), ids)

    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        check_scan(state, names, cursor, count)
        return self._look(lambda store: page(store, state, names, newest, cursor, count))

    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100,
               also: Sequence[str] = ()) -> list[Node]:
        return self._look(lambda store: family(store, id, up, down, limit, also))
