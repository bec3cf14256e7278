"""What a run has found: figures, and whether what must hold did."""
from __future__ import annotations

from datetime import UTC, datetime
import os
import platform
from typing import Any

import redis

from worq import __version__

__all__ = ['Record', 'versions']


class Record:
    """The outcome of a run.

    :param number: of the run.
    :param title: what was done.
    :param seed: of what was left to chance.
    """

    def __init__(self, number: int, title: str, seed: int) -> None:
        self.number = number
        self.title = title
        self.seed = seed
        self.seconds = 0.0
        self.figures: dict[str, Any] = {}
        self.broken: list[str] = []

    def __repr__(self) -> str:
        return f'<Record {self.number} {self.verdict}>'

    @property
    def verdict(self) -> str:
        """'held', or 'broken'."""
        return 'broken' if self.broken else 'held'

    def demand(self, holds: bool, text: str) -> None:
        """Something must hold; what is broken is told, and the run goes on."""
        if not holds:
            self.broken.append(text)

    def add(self, figures: dict[str, Any], leg: str = '') -> dict[str, Any]:
        """Take figures, under the name of a leg of the run if there are several."""
        if leg:
            self.figures[leg] = figures
        else:
            self.figures.update(figures)
        return figures

    def safe(self, figures: dict[str, Any], leg: str = '', lossy: bool = False) -> None:
        """What must hold in every run: nothing lost, invented, doubled or out of turn.

        :param lossy: the server itself has lost something: that is measured, not demanded.
        """
        where = f'{leg}: ' if leg else ''
        names = ['hung', 'ghost', 'double', 'early', 'unfair', 'failed', 'audit', 'leaks', 'lost']
        if lossy:
            names = ['hung', 'audit', 'leaks']
        for name in names:
            self.demand(not figures[name], f'{where}{name}: {figures[name]}')
        if not lossy:
            told = figures['results'] + figures['expired']
            self.demand(told >= figures['put'] > 0,
                        f'{where}{figures["put"]} put, {told} came to an end')

    def quick(self, figures: dict[str, Any], name: str, most: float, leg: str = '') -> None:
        """Of a measured time, 99 of 100 must be below `most` seconds."""
        found = figures[name].get('p99', 0.0)
        where = f'{leg}: ' if leg else ''
        self.demand(found < most, f'{where}{name} p99 {found} s, not below {most} s')

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {'run': self.number, 'title': self.title, 'seed': self.seed,
                'seconds': round(self.seconds, 1), 'verdict': self.verdict,
                'broken': self.broken, 'figures': self.figures}


def versions(server: str = '') -> dict[str, Any]:
    """What was run on what, and when."""
    return {
        'worq': __version__, 'python': platform.python_version(), 'redis-py': redis.__version__,
        'server': server, 'processors': os.cpu_count(),
        'system': f'{platform.system()} {platform.release()}',
        'date': datetime.now(UTC).strftime('%Y-%m-%d'),
    }
