"""The chart of the README: WorQ beside the others, on Redis."""
from __future__ import annotations

from pathlib import Path
from statistics import median
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from bench.figures import FIGURES
from bench.peers import PEERS
from bench.report import number

__all__ = ['draw']

PANELS = [('enqueue', 'rate', 'Enqueue, one at a time (tasks/s)'),
          ('drain', 'rate', 'Work off, one worker process (tasks/s)'),
          ('drain2', 'rate', 'Work off, two worker processes (tasks/s)'),
          ('fan', 'seconds', '1,000 tasks, and one that gets their results (s)')]
OURS, THEIRS, SPREAD = '#b5432a', '#8fa3b0', '#33414a'


def draw(results: dict[str, Any], path: Path) -> None:
    """Bars of medians with least and greatest, the best on top; figures with no values
    are left out.

    :param path: of the SVG file to write.
    """
    panels = [panel for panel in PANELS if bars(results, panel[0], panel[1])]
    with matplotlib.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': 'worq',
                                'font.family': 'sans-serif', 'font.size': 9}):
        figure = Figure(figsize=(10, 3.4 * ((len(panels) + 1) // 2)), layout='constrained')
        for index, (name, key, caption) in enumerate(panels):
            axes = figure.add_subplot((len(panels) + 1) // 2, min(2, len(panels)), index + 1)
            found = bars(results, name, key)
            middles = [median(values) for _, values in found]
            axes.barh(range(len(found)), middles, height=0.72, color=[
                OURS if peer.startswith('worq') else THEIRS for peer, _ in found])
            for row, (_, values) in enumerate(found):
                axes.plot([min(values), max(values)], [row, row], color=SPREAD, linewidth=1)
                axes.text(max(values), row, f' {number(middles[row])}', va='center', fontsize=8)
            axes.set_yticks(range(len(found)), [PEERS[peer].title for peer, _ in found])
            axes.set_title(caption, loc='left', fontsize=10)
            axes.set_xlim(0, 1.15 * max(max(values) for _, values in found))
            axes.spines[['top', 'right', 'left']].set_visible(False)
            axes.tick_params(axis='y', length=0)
        figure.savefig(path, format='svg', metadata={'Date': None})


def bars(results: dict[str, Any], figure: str, key: str) -> list[tuple[str, list[float]]]:
    """(peer, values) on Redis, from the worst to the best, as they are drawn from below."""
    found = [(name, entry['values'][key])
             for name, entry in results['figures'].get(figure, {}).items()
             if entry['values'].get(key) and PEERS[name].kind == 'redis']
    sign = -1 if FIGURES[figure].best == 'least' else 1
    return sorted(found, key=lambda bar: sign * median(bar[1]))
