"""How far a task has come, in its own words: ``deferred.progress``."""
from __future__ import annotations

import json
from typing import NamedTuple

from worq import const

__all__ = ['Progress']

MOST = 10 ** 300    # of a number; one that no float can hold is none of a task


class Progress(NamedTuple):
    """How far a task has come, in its own words."""

    done: float
    total: float | None = None
    text: str = ''

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
        if not isinstance(done, int | float) or not isinstance(text, str) \
                or not isinstance(total, int | float | None):
            return None
        if any(isinstance(n, int) and abs(n) > MOST for n in (done, total)):
            return None
        return cls(done, total, text)
