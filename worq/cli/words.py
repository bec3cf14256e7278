"""Times in words, and how far something has come."""
from __future__ import annotations

from datetime import datetime
import time

from worq.explain import span
from worq.printable import line

__all__ = ['spell', 'ago', 'figures', 'clock', 'bar']

BAR = 24     # characters


def spell(seconds: float) -> str:
    """How long something is."""
    return span(int(seconds * 1000))


def figures(seconds: float | None) -> str:
    """The same in a table, in one unit; nothing if it is not known."""
    if seconds is None:
        return ''
    for unit, size in (('s', 1), ('min', 60), ('h', 3600)):
        if seconds < 100 * size:
            return f'{seconds / size:.0f} {unit}'
    return f'{seconds / 86400:,.0f} d'


def ago(seconds: float) -> str:
    """How long ago something was."""
    return f'{spell(seconds)} ago'


def clock(moment: float | None) -> str:
    """A moment, as the time of a day, and how long ago it was, or how long it is until then."""
    if moment is None:
        return ''
    at = datetime.fromtimestamp(moment)
    day = '' if at.date() == datetime.now().date() else '%Y-%m-%d '
    away = time.time() - moment
    return at.strftime(f'{day}%H:%M:%S') + (f'  {ago(away)}' if away >= 0 else
                                            f'  in {spell(-away)}')


def bar(done: float, total: float | None, text: str) -> str:
    """How far a task has come, drawn."""
    more = f' {line(text)}' if text else ''
    if not total:
        return f'{done:,.6g}{more}'
    part = min(done / total, 1.0)
    full = int(part * BAR)
    return (f'[{"#" * full}{"-" * (BAR - full)}] {100 * part:.0f} %  '
            f'{done:,.6g} of {total:,.6g}{more}')
