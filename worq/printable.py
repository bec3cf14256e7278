"""Text made fit for people: what others have written may move a cursor, or begin a new line."""
from __future__ import annotations

import logging
import re
from typing import Any

__all__ = ['SHORT', 'line', 'lines', 'logger', 'task_name', 'middle_out', 'shortened',
           'unescaped', 'is_terminal']

SHORT = 300     #: characters of what is shown in short, as the name of a task: many are in a list
LONG = 100_000  # ... of what is looked at one by one, where some cannot be printed
ESCAPE = re.compile(r'\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U00(?:0[0-9a-f]|10)[0-9a-f]{4}|[nrt])')
SPACES = '\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\u3000'   # that texts of people have


def line(text: object, most: int = 0) -> str:
    """The text on one line, with an escape for each character that cannot be printed.

    A very long one with such characters loses its middle.

    :param most: characters, after which it is cut; 0: it is not.
    """
    text = str(text)
    if most and len(text) > most:
        text = text[:most] + '...'
    return text if text.isprintable() else escaped(bounded(text))


def escaped(text: str) -> str:
    """With an escape for each character that cannot be printed."""
    return ''.join(c if c.isprintable() or c in SPACES else c.encode('unicode_escape').decode()
                   for c in text)


def unescaped(text: str) -> str:
    """What an escaped text was; text that has a backslash of its own may become something else."""
    return ESCAPE.sub(lambda found: chr(int(found[0][2:], 16)) if found[0][2:]
                      else {'n': '\n', 'r': '\r', 't': '\t'}[found[0][1]], text)


def shortened(text: str, most: int = SHORT) -> str:
    """Any text, of several lines perhaps, as one line of at most so many characters."""
    return line(' '.join(text.split()), most)


def middle_out(text: str, limit: int) -> str:
    """`text` with at most about `limit` characters: its head and its tail."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = f'{len(text) - 2 * half:,} characters left out'
    return f'{text[:half]}\n... {left_out} ...\n{text[-half:]}'


def lines(text: str) -> str:
    """The same, for a text of several lines."""
    if text.replace('\n', '').replace('\t', '').isprintable():
        return text
    return '\n'.join('\t'.join(map(escaped, part.split('\t')))
                     for part in bounded(text).split('\n'))


def bounded(text: str) -> str:
    """A text of at most so many characters: who writes millions must not cost others seconds."""
    if len(text) <= LONG:
        return text
    half = LONG // 2
    return f'{text[:half]} ... {len(text) - 2 * half:,} characters left out ... {text[-half:]}'


def task_name(header: bytes) -> str:
    """The first line of the header of a call."""
    return header.partition(b'\n')[0].decode('utf-8', 'replace') or 'a task'


def logger(name: str) -> logging.Logger:
    """A logger whose messages can be printed, and are a line each unless their format has more."""
    log = logging.getLogger(name)
    log.addFilter(_filter)
    return log


def _filter(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    if not message.isprintable():
        plain = lines(message) if '\n' in record.msg else line(message)
        if plain != message:
            record.msg, record.args = plain, ()
    if record.exc_info and not record.exc_text:
        traceback = _formatter.formatException(record.exc_info)
        plain = lines(traceback)
        if plain != traceback:   # else it is left to formatters of other kinds
            record.exc_text = plain
    return True


_formatter = logging.Formatter()


def is_terminal(file: Any) -> bool:
    """Whether it is people who read what is written there."""
    try:
        return bool(file.isatty())
    except Exception:   # a program may have put anything there, or closed it
        return False
