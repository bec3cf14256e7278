"""What a command prints: JSON, or text, with colours where rich is installed."""
from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
import json
import os
import re
import sys
from textwrap import wrap
from typing import Any, Mapping, Sequence

from worq.cli.table import Column, cells, table
from worq.printable import is_terminal, line, lines
from worq.view import plain

__all__ = ['STYLES', 'Output', 'has_rich', 'tell', 'width']

STYLES = {'success': 'green', 'failed': 'red', 'expired': 'red', 'cancelled': 'yellow',
          'processing': 'cyan', 'running': 'cyan', 'waiting': 'yellow', 'pending': 'blue',
          'scheduled': 'magenta'}

EMPTY: Mapping[str, str] = {}


def has_rich() -> bool:
    """Whether rich is installed, see ``WorQ[cli]``."""
    return find_spec('rich') is not None


class Output:
    """Where a command prints.

    :param as_json: objects only, one a line.
    """

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json
        self.file = sys.stdout
        self.terminal = is_terminal(sys.stdout)
        self.colours = self.terminal and not as_json and not os.environ.get('NO_COLOR') \
            and os.environ.get('TERM') != 'dumb' and has_rich()

    @property
    def room(self) -> int:
        """Characters of a line; 0: any number, for it is no terminal."""
        return width() if self.terminal else 0

    def text(self, text: str = '', style: str = '') -> None:
        """Print a text of some lines, if it is people who read."""
        if self.as_json:
            return
        text = lines(text)
        if self.room:
            text = '\n'.join(wrapped(each, self.room) for each in text.split('\n'))
        self._print(text, style)

    def drawing(self, text: str) -> None:
        """Print lines that are not to be broken, with states in their colours, if it is people who
        read."""
        if not self.as_json:
            for each in text.rstrip('\n').split('\n'):
                self._print(each, words=STYLES)

    def object(self, value: Any) -> None:
        """Print one line of JSON, if it is a program that reads."""
        if self.as_json:
            text = json.dumps(plain(value), ensure_ascii=False, default=str)
            try:
                text.encode(getattr(self.file, 'encoding', None) or 'utf-8')
            except UnicodeEncodeError:   # what is escaped for a terminal would be no JSON
                text = json.dumps(plain(value), default=str)
            print(text, file=self.file, flush=True)

    def note(self, text: str) -> None:
        """Tell something beside, on the standard error."""
        tell(text)

    def rows(self, items: Sequence[Any], columns: Sequence[Column]) -> None:
        """Print a table, or an object for each item."""
        if self.as_json:
            for item in items:
                self.object(item)
            return
        shown = cells(items, columns)
        words = {row[n]: style for item, row in zip(items, shown)
                 for n, column in enumerate(columns)
                 if (style := column.style(item) or STYLES.get(row[n], ''))}
        for n, text in enumerate(table(columns, shown, self.room)):
            self._print(text, 'bold' if n == 0 else '', words if n else {})

    def _print(self, text: str, style: str = '', words: Mapping[str, str] = EMPTY) -> None:
        if self.colours and (style or words):
            made = import_module('rich.text').Text(text, style)
            for word, its in words.items():
                made.highlight_regex(rf'(?<!\S){re.escape(word)}(?!\S)', its)
            self._console().print(made, soft_wrap=True)
        else:
            print(text, file=self.file, flush=self.terminal)

    def raw(self, text: str) -> None:
        """Send a terminal what it understands as an order."""
        print(text, end='', file=self.file, flush=True)

    def frame(self, texts: Sequence[tuple[str, str]]) -> None:
        """Draw the whole screen: lines and their styles."""
        self.raw('\x1b[H')
        for n, (text, style) in enumerate(texts):
            self.raw('\n' * (n > 0))
            if style and self.colours:
                made = import_module('rich.text').Text(line(text), style)
                self._console().print(made, end='', soft_wrap=True)
            else:
                self.raw('\x1b[7m' * (style == 'reverse') + line(text)
                         + '\x1b[0m' * (style == 'reverse'))
            self.raw('\x1b[K')
        self.raw('\x1b[J')

    def _console(self) -> Any:
        return import_module('rich.console').Console(
            file=self.file, highlight=False, markup=False, emoji=False, width=self.room or None)


def tell(text: str) -> None:
    """Print a text on the standard error, where people may read it on a terminal."""
    text = lines(text)
    if is_terminal(sys.stderr):
        room = width(sys.stderr)
        text = '\n'.join(wrapped(each, room) for each in text.split('\n'))
    print(text, file=sys.stderr, flush=True)


def wrapped(text: str, room: int) -> str:
    """One line as several, as wide as there is room for; ids and the like are left whole."""
    if len(text) <= room:
        return text
    indent = ' ' * (len(text) - len(text.lstrip()) + 2)
    return '\n'.join(wrap(text, room, subsequent_indent=indent[:room // 2],
                          break_long_words=False, break_on_hyphens=False))


def width(file: Any = None) -> int:
    """Columns of the terminal: that of the standard output, or of another file."""
    told = os.environ.get('COLUMNS', '')
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size((file or sys.stdout).fileno()).columns or 80
    except (OSError, ValueError, AttributeError):
        return 80
