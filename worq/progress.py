"""How far a task has come, in its own words: ``deferred.progress``."""
from __future__ import annotations

import json
from typing import Any, NamedTuple

from worq import const
from worq.printable import line

__all__ = ['Progress']

SHORT = 100    # characters that an error shows of what is no progress
MOST = 1e300    # of a number; one that no float can hold is none of a task


class Progress(NamedTuple):
    """How far a task has come, in its own words."""

    done: float
    total: float | None = None
    text: str = ''

    @classmethod
    def checked(cls, done: Any, total: Any, text: Any) -> Progress:
        """What a task says, refused where it says it if nobody could be told.

        :raises ValueError: for what is no number, or none from 0 that is finite.
        :raises TypeError: for a text that is no string.
        """
        if type(done) not in (int, float) or not 0 <= done <= MOST:
            done = number('done', done)
        if total is not None and (type(total) not in (int, float) or not 0 <= total <= MOST):
            total = number('total', total)
        if not isinstance(text, str):
            raise TypeError(f'the text of a progress is a string, not {line(repr(text), SHORT)}')
        return cls(done, total, text[:const.PROGRESS])

    def encode(self) -> bytes:
        """As it travels with a heartbeat; a long text is cut.

        :raises ValueError: if that does not help, since something else is too long.
        """
        text = self.text
        while True:
            raw = json.dumps([self.done, self.total, text]).encode()
            if len(raw) <= const.PROGRESS:
                return raw
            if not text or not isinstance(text, str):
                raise ValueError(f'{len(raw)} bytes of progress; at most {const.PROGRESS}')
            text = text[:len(text) // 2]

    @classmethod
    def decode(cls, raw: bytes) -> Progress | None:
        """What ``encode`` made; None for anything else."""
        try:
            done, total, text = json.loads(raw)
        except (ValueError, TypeError, RecursionError):
            return None
        try:
            return cls.checked(done, total, text)
        except (ValueError, TypeError):
            return None


def number(name: str, value: Any) -> int | float:
    """ValueError unless it is a number from 0 that a float can hold; it is returned as Python's."""
    found = const.plain_number(value)
    if found is None or not 0 <= found <= MOST:   # nan is neither
        shown = line(const.shown(found) if isinstance(found, int) else repr(value), SHORT)
        raise ValueError(f'invalid {name} of a progress: {shown}; it is a finite number from 0')
    return found
