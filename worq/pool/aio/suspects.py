"""Whom a death is charged with, when a hundred ran in the child that died.

What a child has said on its page before each step is the best witness. It names whose code ran in
the loop. While nothing ran there, and nothing in threads, nobody who is known did it: most often
the child was killed from outside. Still it may have been someone, by a thread of a library's, or
by the memory that it has taken. Who is charged wrongly fails for nothing, after a few deaths, so
nobody is charged who was not alone.
"""
from __future__ import annotations

from typing import Iterable

from worq import const
from worq.queue.records import Delivery

__all__ = ['Suspects']

ALONE = 2      # signs against a life after which it runs alone ...
CHARGED = 4    # ... and from which on it is charged with a death at which it was alone
LAST = 3       # the delivery that is most often the last one: nobody else is to be the cause of it
MANY = 100_000  # lives of which signs are known


class Suspects:
    """Knows the signs against each life. Pure: it does nothing by itself."""

    def __init__(self) -> None:
        self._signs: dict[tuple[str, bytes], int] = {}

    def __repr__(self) -> str:
        return f'<Suspects: {len(self._signs)}>'

    def alone(self, delivery: Delivery) -> bool:
        """Whether it is to run with nobody else in its child."""
        if delivery.number >= LAST:
            return True
        return bool(self._signs) and self._signs.get(life(delivery), 0) >= ALONE

    def died(self, begun: Iterable[Delivery], stepping: Delivery | None, threads: bool,
             ) -> Delivery | None:
        """Take note of a death that nobody has ordered.

        :param begun: those that had begun in the child.
        :param stepping: the one whose code ran in the loop.
        :param threads: whether there ran anything in threads: it may have been any of them.
        :returns: who is to be charged with it.
        """
        begun = list(begun)
        if len(begun) == 1:
            known = self._add(begun[0], 2 if stepping or threads else 1)
            return begun[0] if known >= CHARGED else None
        if stepping is not None and not threads:
            self._add(stepping, 2)
            return None   # the others had no part in it
        for each in begun:
            self._add(each, 2 if threads else 1)
        return None

    def ended(self, delivery: Delivery) -> None:
        """It has ended, or is not ours any more."""
        if self._signs:
            self._signs.pop(life(delivery), None)

    def _add(self, delivery: Delivery, signs: int) -> int:
        if len(self._signs) >= MANY:
            self._signs.pop(next(iter(self._signs)))
        found = self._signs.get(life(delivery), 0) + signs
        self._signs[life(delivery)] = found
        return found


def life(delivery: Delivery) -> tuple[str, bytes]:
    """What stays the same from one delivery to the next."""
    return delivery.id, delivery.token[:const.NONCE]
