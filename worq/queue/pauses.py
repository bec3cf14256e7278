"""What is paused: the register of a queue that says so, as the queue itself reads it.

It has a line for each pause: what it is of, a tab, when and who in any form. It is of a name of
tasks, of all names that begin alike (``mail.*``), or of the whole queue (``*``).
"""
from __future__ import annotations

import re
from typing import NamedTuple

from worq import const

__all__ = ['ALL', 'Pause', 'Patterns', 'check_pattern', 'read', 'written']

ALL = '*'     # as a pattern: the whole queue
LINE = re.compile(rb'([^\t\n]+)\t([^\n]*)')   # a script has the same, see `5_pauses.lua`


class Pause(NamedTuple):
    """Something that is paused."""

    pattern: str     #: a name, or ``mail.*`` for all names that begin with ``mail.``; `ALL`
    who: str         #: who did so, as told; it may be empty
    moment: float    #: when, in seconds since the epoch, by the clock of whoever did it


class Patterns:
    """The patterns of a register.

    :param register: what it holds. What makes no sense is passed over.
    """

    def __init__(self, register: bytes) -> None:
        self.register = register
        every = {found[1] for found in LINE.finditer(register)}
        self.all = ALL.encode() in every
        self.prefixes = tuple(one[:-1] for one in every if one.endswith(b'.*'))
        self.names = every

    def __bool__(self) -> bool:
        return bool(self.names)

    def held(self, name: bytes) -> bool:
        """Whether tasks of this name are paused."""
        return self.all or name in self.names or name.startswith(self.prefixes)


def read(register: bytes) -> list[Pause]:
    """The pauses that a register holds, the oldest first."""
    return [Pause(pattern.decode('utf-8', 'replace'), *_details(rest.decode('utf-8', 'replace')))
            for pattern, rest in LINE.findall(register)]


def _details(rest: str) -> tuple[str, float]:
    at, _, who = rest.partition('\t')
    return who, int(at) / 1_000 if re.fullmatch('[0-9]{1,15}', at) else 0.0


def written(pauses: list[Pause]) -> bytes:
    """The register that holds these."""
    return ''.join(f'{one.pattern}\t{int(one.moment * 1_000)}\t{one.who}\n'
                   for one in pauses).encode()


def check_pattern(pattern: str) -> str:
    """A pattern as it is.

    :raises ValueError: if it is none.
    :raises TypeError: if it is no text.
    """
    if not isinstance(pattern, str):
        raise TypeError(f'names of tasks to pause are texts, not {pattern!r}')
    bare = pattern.removesuffix('.*')
    if pattern == ALL or bare and not set('\t\n*') & set(bare) \
            and 0 < size(pattern) <= const.NOTE_NAME:
        return pattern
    raise ValueError(f"invalid names of tasks to pause: {pattern!r}; there are a name, as "
                     "'mail.send', a prefix with '.*', as 'mail.*', and '*' for all")


def size(pattern: str) -> int:
    """Its bytes in UTF-8; 0 if it cannot be told so."""
    try:
        return len(pattern.encode())
    except UnicodeEncodeError:   # half a surrogate pair
        return 0
