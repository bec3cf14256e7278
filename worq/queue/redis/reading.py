"""The verbs of a queue on Redis by which people see what is in it."""
from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from contextlib import suppress
from typing import Any, Sequence

from worq import const
from worq.queue import base
from worq.queue.base import Content, Inspection, Node, Row
from worq.queue.redis.encoding import LETTERS, STATES, content, inspection, node, page
from worq.queue.redis.repair import Repairer
from worq.queue.validation import check_contents, check_family, check_scan

__all__ = ['Readers']

LOOKS = 10          # ids in one inspect, each of which may be a look at thousands of others
RELATED = 100       # ... and in one family
IDS = 500           # tasks that one call asks for


class Readers(base.TaskQueue):
    """What a queue on Redis answers to those who look."""

    _repairer: Repairer

    def _run(self, verb: str, *argv: Any, again: bool = True, durable: bool = False) -> Any:
        """Run the script of a verb."""
        raise NotImplementedError

    def _chunked(self, verb: str, ids: Sequence[str], *first: Any,
                 durable: bool = False, size: int = IDS) -> list[Any]:
        found: list[Any] = []
        for start in range(0, len(ids), size):
            found += self._run(verb, *first, *ids[start:start + size], durable=durable)
        return found

    def status(self, ids: Sequence[str]) -> list[str | None]:
        return [letter and STATES.get(letter) for letter in self._chunked('status', ids)]

    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        seen: list[Inspection | None] = []
        while len(seen) < len(ids):   # a step tells as many as it may look at
            some = ids[len(seen):len(seen) + LOOKS]
            seen += [found and inspection(*found) for found in self._run('inspect', start, *some)]
        if any(found and found.lost for found in seen):
            self._repairer.alarm()
        return seen

    def message(self, ids: Sequence[str], start: int = 0, argument: int = 0,
                ) -> list[Content | None]:
        check_contents(ids, start, argument)
        return [found and content(*found) for found in self._run('message', start, argument, *ids)]

    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        check_scan(state, names, cursor, count)
        last = b''
        with suppress(ValueError):
            last = urlsafe_b64decode(cursor)
        last, *flat = self._run('scan', LETTERS[state], '1' if newest else '', last, count, *names)
        return page(state, flat), urlsafe_b64encode(last).decode()

    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100,
               also: Sequence[str] = ()) -> list[Node]:
        check_family(up, down, limit, also)
        nodes: list[Node] = []
        seen = dict.fromkeys(one.encode() for one in (id, *also))
        line = [(one, b'', 0) for one in seen]   # id, nonce, level of those to come
        room = const.FAMILY_EDGES
        while line and len(nodes) < limit:
            some = [part for one in line[:min(limit - len(nodes), RELATED)] for part in one[:2]]
            answers = self._run('family', room, *some)   # a step tells as many as it may look at
            told, line = line[:len(answers)], line[len(answers):]
            for (name, _, level), answer in zip(told, answers):
                if answer is None:
                    continue
                found, above, target, below = node(name, level, *answer)
                nodes.append(found)
                room = max(room - len(found.arguments) - len(found.dependents), 0)
                ways = [(above + target, level - 1)] * (-up < level <= 0) \
                    + [(below, level + 1)] * (0 <= level < down)
                for lives, beyond in ways:
                    for other, nonce in lives:
                        if other not in seen:
                            seen[other] = None
                            line.append((other, nonce, beyond))
        return nodes
