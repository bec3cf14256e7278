"""Keys as they are pressed, and the screen for as long as they are read."""
from __future__ import annotations

import os
import select
import termios
import tty
from typing import Any, Self

__all__ = ['Keyboard', 'keys']

NAMES = {'\x1b[A': 'up', '\x1b[B': 'down', '\x1b[C': 'right', '\x1b[D': 'left', '\x1bOA': 'up',
         '\x1bOB': 'down', '\x1b[5~': 'page up', '\x1b[6~': 'page down', '\x1b[Z': 'left',
         '\t': 'right', '\r': 'enter', '\n': 'enter', '\x1b': 'escape', '\x7f': 'delete',
         '\x08': 'delete', '\x03': 'q', '\x04': 'q'}
ENTER, LEAVE = '\x1b[?1049h\x1b[?25l', '\x1b[?25h\x1b[?1049l'


class Keyboard:
    """Use it as a ``with``: within, keys come at once and are not shown.

    :param descriptor: of the terminal.
    :param out: where the screen is, see `worq.cli.output`.
    """

    def __init__(self, descriptor: int, out: Any) -> None:
        self.descriptor = descriptor
        self.out = out

    def __enter__(self) -> Self:
        self._before = termios.tcgetattr(self.descriptor)
        tty.setcbreak(self.descriptor)
        self.out.raw(ENTER)
        return self

    def __exit__(self, *exc_info: object) -> None:
        termios.tcsetattr(self.descriptor, termios.TCSADRAIN, self._before)
        self.out.raw(LEAVE)

    def read(self, timeout: float) -> list[str]:
        """The keys that have been pressed, waiting for one; names of those that are no letters."""
        try:
            ready = select.select([self.descriptor], [], [], timeout)[0]
        except InterruptedError:
            return []
        if not ready:
            return []
        read = os.read(self.descriptor, 1024)
        return keys(read.decode('utf-8', 'replace')) if read else ['q']   # the terminal is gone


def keys(text: str) -> list[str]:
    """The keys that a terminal tells of so."""
    found = []
    while text:
        for sequence in sorted(NAMES, key=len, reverse=True):
            if text.startswith(sequence):
                found.append(NAMES[sequence])
                text = text[len(sequence):]
                break
        else:
            found.append(text[0])
            text = text[1:]
    return found
