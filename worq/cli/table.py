"""Text tables as wide as there is room for."""
from __future__ import annotations

from typing import Any, Callable, NamedTuple, Sequence
from unicodedata import combining, east_asian_width

from worq.printable import line

__all__ = ['Column', 'cells', 'cut', 'table', 'width_of']

LEAST = 6     # characters that a column is cut to, at least
GAP = '  '


class Column(NamedTuple):
    """A column of a table."""

    head: str
    get: Callable[[Any], object]     #: the cell of an item; None and '' are shown as nothing
    right: bool = False              #: numbers
    cut: int = 0                     #: 1: it may be cut when there is no room; 2: before others
    style: Callable[[Any], str] = lambda item: ''   #: a colour, where there are colours


def cells(items: Sequence[Any], columns: Sequence[Column]) -> list[list[str]]:
    """What is in a table, fit to be printed."""
    return [['' if (value := column.get(item)) is None else line(value) for column in columns]
            for item in items]


def width_of(text: str) -> int:
    """Columns of a terminal that a text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(char) else 1 + (east_asian_width(char) in 'WF') for char in text)


def cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis."""
    if width_of(text) <= width:
        return text
    kept = ''
    for char in text:
        if width_of(kept + char) >= width:
            break
        kept += char
    return kept + '…' if width > 0 else ''


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], room: int = 0,
          whole: bool = True) -> list[str]:
    """The lines of a table.

    Where there is too little room, columns that may be cut are; if that is not enough, each row
    becomes a block of lines, in which nothing is cut.

    :param room: characters of a line; 0: any number.
    :param whole: if not, there are no blocks, but lines that are too long.
    """
    shown = [n for n, column in enumerate(columns) if any(row[n] for row in rows)]
    columns = [columns[n] for n in shown]
    rows = [[row[n] for n in shown] for row in rows]
    if not rows or not columns:
        return []
    widths = [max(width_of(text) for text in [column.head, *(row[n] for row in rows)])
              for n, column in enumerate(columns)]
    if room:
        over = sum(widths) + len(GAP) * (len(widths) - 1) - room
        while over > 0:
            may = [(columns[n].cut, width, n) for n, width in enumerate(widths)
                   if columns[n].cut and width > max(LEAST, len(columns[n].head))]
            if may:
                widths[max(may)[2]] -= 1
                over -= 1
            elif whole:
                return blocks(columns, rows)
            else:
                break
    lines = []
    for row in [[column.head for column in columns], *rows]:
        texts = [cut(text, width) for text, width in zip(row, widths)]
        padded = [' ' * (width - width_of(text)) + text if column.right
                  else text + ' ' * (width - width_of(text))
                  for text, width, column in zip(texts, widths, columns)]
        lines.append(GAP.join(padded).rstrip())
    return lines


def blocks(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> list[str]:
    """Each row as lines of its own: for a terminal that is very narrow."""
    widest = max(width_of(column.head) for column in columns[1:]) if columns[1:] else 0
    lines = []
    for row in rows:
        lines.append(row[0])
        lines += [f'  {column.head}{" " * (widest - width_of(column.head))}  {text}'
                  for column, text in zip(columns[1:], row[1:]) if text]
    return lines
