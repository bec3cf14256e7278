"""What a queue in a file keeps in numbers, as JSON: most verbs change a few of them."""
from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

__all__ = ['KEPT', 'Numbers']

#: What is nothing but a number, and what is more, each by the name that it has in the file.
WHOLE = {name.strip('_'): name for name in (
    'completed', 'scheduled', 'purged', '_soonest', '_clock_at', '_skew', '_calm', 'total',
    'leases', 'back', 'front', 'seq', 'last', 'left_over_n', 'lives_n', 'longs_n', 'generation',
    'serial', 'aside_n', 'freed_n', 'failed_last', 'failed_n', 'failed_bytes',
    'again_n')}
MORE = {name.strip('_'): name for name in (
    'counters', '_ticked', 'lags', 'ready', 'passed', 'soon', 'names', 'ends')}
KEPT = WHOLE | MORE
FORM = ', '.join(f'"{name}": %d' for name in WHOLE)


class Numbers:
    """Writes them. What has not changed since the last time is not put in words again."""

    def __init__(self) -> None:
        self._was: list[Any] = []
        self._words = ''

    def text(self, values: dict[str, Any], names: list[Any], known: Mapping[str, Any]) -> str:
        """All of them, as JSON.

        :param values: the numbers, by attribute.
        :param names: in the place of those that `values` has.
        :param known: what the file told; a newer program may keep more in it.
        """
        values['names'] = names
        more = {name: known[name] for name in known.keys() - KEPT.keys()}
        now = [values['passed'], names, values['lags'], values['ends'], more]
        if now != self._was:
            passed, ends = [*values['passed']], {**values['ends']}   # of the others no part changes
            self._was = [passed, names, values['lags'], ends, more]
            self._words = json.dumps({'passed': passed, 'names': names, 'lags': values['lags'],
                                      'ends': ends, **more})[1:]
        counters = ', '.join([f'"{name}": {n}' for name, n in values['counters'].items()])
        soon = ', '.join([f'"{column}": {"null" if at is None else at}'
                          for column, at in values['soon'].items()])
        ticked = values['_ticked']
        return (f'{{{FORM % tuple([values[attr] for attr in WHOLE.values()])}, '
                f'"counters": {{{counters}}}, "ready": {values["ready"]}, "soon": {{{soon}}}, '
                f'"ticked": {"null" if ticked is None else ticked}, '
                f'{self._words}')
