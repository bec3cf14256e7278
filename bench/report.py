"""What came out of a run: as text, as tables of the documentation, and against the targets."""
from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any, Callable, Iterator, NamedTuple

from bench.figures import FIGURES, FILES
from bench.peers import PEERS

__all__ = ['text', 'tables', 'publish', 'verdicts', 'number', 'Values']

OURS = ('worq', 'worq-threads', 'worq-memory', 'worq-memory-threads')
OURS_IN_FILES = ('worq-file', 'worq-file-threads')
LOCAL = ('worq-memory', 'worq-memory-threads')
CHART = 'performance.svg'


class Values:
    """The medians of a run."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.figures = results['figures']

    def of(self, figure: str, peer: str, key: str) -> float | None:
        """The median; None if there is none."""
        values = self.figures.get(figure, {}).get(peer, {}).get('values', {}).get(key)
        return median(values) if values else None

    def best(self, figure: str, key: str, names: Iterator[str] | list[str],
             least: bool = False) -> tuple[float, str] | None:
        """The best of these peers that have it, and who it is."""
        found = [(value, name) for name in names
                 if (value := self.of(figure, name, key)) is not None]
        return (min if least else max)(found) if found else None

    def others(self, kind: str) -> list[str]:
        """The peers of a kind that are not WorQ."""
        return [name for name, entry in PEERS.items() if entry.kind == kind and name not in OURS]


class Verdict(NamedTuple):
    """A figure of WorQ's against its target."""

    title: str
    target: str
    found: str
    beside: str            # what it is compared with
    reached: bool | None   # None: not measured


# -- targets ------------------------------------------------------------------------

def verdicts(results: dict[str, Any]) -> list[Verdict]:
    """Each target: whether it is reached, by the medians of one run."""
    values = Values(results)
    if any(figure in FILES for figure in results['figures']):
        return file_verdicts(values)
    redis, memory = values.others('redis'), values.others('memory')
    pools = ['worq', 'worq-threads']

    def ratio(title: str, figure: str, key: str, factor: float, names: list[str] = pools,
              against: list[str] = redis, most: bool = True) -> Verdict:
        """Ours over theirs: at least `factor`; or at most, where less is better."""
        target = f'{">=" if most else "<="} {fraction(factor)} x'
        ours = values.best(figure, key, names, not most)
        theirs = values.best(figure, key, against, not most)
        if ours is None or theirs is None:
            return Verdict(title, target, '', '', None)
        found = ours[0] / theirs[0]
        return Verdict(
            title, target, f'{found:.2f} x: {number(ours[0])} {FIGURES[figure].unit} '
            f'({PEERS[ours[1]].title})', f'{number(theirs[0])} ({PEERS[theirs[1]].title})',
            found >= factor if most else found <= factor)

    def bound(title: str, figure: str, key: str, limit: float, unit: str,
              names: list[str] = pools[:1], most: bool = False) -> Verdict:
        """Ours alone: at most `limit`; or at least."""
        ours = values.best(figure, key, names, not most)
        target = f'{">=" if most else "<="} {limit:g} {unit}'.strip()
        if ours is None:
            return Verdict(title, target, '', '', None)
        return Verdict(title, target, f'{number(ours[0])} {unit}'.strip(), '',
                       ours[0] >= limit if most else ours[0] <= limit)

    def quotient(title: str, figure: str, key: str, base: tuple[str, str, str], factor: float,
                 most: bool = True, beside: str = '') -> Verdict:
        """Ours over another number of the run."""
        ours, other = values.of(figure, 'worq', key), values.of(*base)
        target = f'{">=" if most else "<="} {factor:g} x'
        if ours is None or other is None:
            return Verdict(title, target, '', '', None)
        found = ours / other
        return Verdict(title, target, f'{found:.2f} x: {number(ours)}',
                       f'{number(other)} {beside}'.strip(),
                       found >= factor if most else found <= factor)

    long, short = ('growth', 'worq', 'rate at 1000'), ('growth', 'worq', 'p99 at 1000')
    return [
        ratio('drain, one worker process', 'drain', 'rate', 12),
        ratio('drain, two worker processes', 'drain2', 'rate', 5),
        ratio('enqueue, one call at a time', 'enqueue', 'rate', 1, ['worq']),
        quotient('the same, of a bare EVALSHA round trip', 'enqueue', 'rate',
                 ('limits', 'limits', 'EVALSHA round trips'), 0.8),
        ratio('bulk enqueue', 'bulk', 'rate', 5, ['worq']),
        ratio('round trip on an idle worker, p50', 'round-trip', 'p50', 0.7, most=False),
        ratio('round trip on an idle worker, p99', 'round-trip', 'p99', 1, most=False),
        ratio('fan-out of 1,000 and fan-in', 'fan', 'seconds', 1 / 6, most=False),
        ratio('reduction of 10,000 leaves, on Redis', 'reduction', 'seconds', 1 / 8,
              against=memory, most=False),
        bound('memory of Redis for a queued no-op', 'memory', 'bytes', 380, 'bytes'),
        bound('round trips per task in a drain', 'traffic', 'round trips', 0.1, ''),
        bound('commands that an idle pool sends', 'idle', 'sent', 2, 'a second'),
        ratio('server time of a task, enqueued alone', 'server', 'enqueue', 1.2, ['worq'],
              most=False),
        ratio('server time of a task, drained', 'server', 'drain', 0.5, ['worq'], most=False),
        bound('memory of an idle manager', 'idle', 'manager', 30, 'MiB'),
        bound('cold start to first result, one child', 'cold', 'seconds', 0.4, 's'),
        bound('useful time of four workers, mixed tasks', 'even', 'share', 0.95, '', most=True),
        quotient('take from a million queued, rate', 'growth', 'rate at 1000000', long, 0.8,
                 beside='from a thousand'),
        quotient('take from a million queued, p99', 'growth', 'p99 at 1000000', short, 1.2,
                 False, 'from a thousand'),
        bound('slowest script with 100,000 dependents', 'width', 'slowest script', 15, 'ms'),
        ratio('process pool beside ProcessPoolExecutor.submit', 'throughput', 'rate', 3,
              ['worq-memory'], ['process-executor']),
        ratio('process pool beside Pool.apply_async', 'throughput', 'rate', 1,
              ['worq-memory'], ['multiprocessing']),
        ratio('map in chunks beside ProcessPoolExecutor.map', 'chunks', 'rate', 0.5,
              ['worq-memory'], ['process-executor']),
        ratio('thread pool beside ThreadPoolExecutor.submit', 'throughput', 'rate', 0.5,
              ['worq-memory-threads'], ['thread-executor']),
        ratio('round trip, process pool, p50', 'round-trip', 'p50', 1,
              ['worq-memory'], ['process-executor'], most=False),
        ratio('reduction of 10,000 leaves, in memory', 'reduction', 'seconds', 1 / 20,
              list(LOCAL), memory, most=False),
    ]


def file_verdicts(values: Values) -> list[Verdict]:
    """Each target of queues in files."""
    def beside(title: str, figure: str, key: str, factor: float, ours: tuple[str, ...],
               theirs: str, most: bool = True) -> Verdict:
        """Ours over that of another: at least `factor`; or at most, where less is better."""
        target = f'{">=" if most else "<="} {factor:g} x'
        best = values.best(figure, key, [*ours], not most)
        other = values.of(figure, theirs, key)
        if best is None or other is None:
            return Verdict(title, target, '', '', None)
        found = best[0] / other
        return Verdict(title, target, f'{found:.2f} x: {number(best[0])} '
                       f'{FIGURES[figure].unit} ({PEERS[best[1]].title})',
                       f'{number(other)} ({PEERS[theirs].title})',
                       found >= factor if most else found <= factor)

    def bound(title: str, figure: str, key: str, limit: float, unit: str, peer: str = 'worq-file',
              most: bool = False) -> Verdict:
        found = values.of(figure, peer, key)
        target = f'{">=" if most else "<="} {limit:g} {unit}'.strip()
        if found is None:
            return Verdict(title, target, '', '', None)
        return Verdict(title, target, f'{number(found)} {unit}'.strip(), '',
                       found >= limit if most else found <= limit)

    def rise(title: str, key: str, factor: float, most: bool) -> Verdict:
        """From a million tasks beside a thousand."""
        long, short = (values.of('file-growth', 'worq-file', f'{key} at {size}')
                       for size in (1_000_000, 1000))
        target = f'{">=" if most else "<="} {factor:g} x'
        if long is None or short is None:
            return Verdict(title, target, '', '', None)
        return Verdict(title, target, f'{long / short:.2f} x: {number(long)}', number(short),
                       long / short >= factor if most else long / short <= factor)

    ours = OURS_IN_FILES
    return [
        beside('drain, one worker process', 'file-drain', 'rate', 0.4, ours[:1], 'worq'),
        beside('the same', 'file-drain', 'rate', 8, ours, 'huey-file'),
        beside('the same of tasks that append a line', 'file-append', 'rate', 0.7, ours[:1],
               'worq'),
        beside('drain with sync=full', 'file-drain', 'rate', 0.7, ('worq-file-full',),
               'worq-file'),
        beside('enqueue, one call at a time', 'file-enqueue', 'rate', 1.5, ours[:1],
               'huey-file'),
        beside('bulk enqueue', 'file-bulk', 'rate', 0.6, ours[:1], 'worq'),
        beside('round trip on an idle worker, p50', 'file-round-trip', 'p50', 1.5, ours[:1],
               'worq', False),
        beside('the same', 'file-round-trip', 'p50', 0.15, ours, 'huey-file', False),
        bound('from a call to its beginning in an idle pool, p50', 'file-taken', 'p50', 2, 'ms'),
        bound('a queued task in its file', 'file-bytes', 'bytes', 600, 'bytes'),
        bound('an idle pool', 'file-rest', '% of a core', 0.5, '% of a core'),
        bound('least share of two writers, sync=full', 'file-writers', 'least share', 0.4, '',
              'worq-file-full', True),
        bound('longest wait of two writers, sync=full', 'file-writers', 'longest wait', 250, 'ms',
              'worq-file-full'),
        rise('take from a million queued beside a thousand, rate', 'rate', 0.8, True),
        rise('the same, p99', 'p99', 1.5, False),
        *(bound(f'longest transaction, {what}', 'file-steps', what, 30, 'ms')
          for what in ('100,000 dependents', '100,000 that fail', 'a gate of 100,000',
                       'a put of 1,000', 'a purge of 1,000,000')),
    ]


#: Which limit bounds a figure: (figure, peer, number), the limit, and how many of it make one.
BOUNDS: list[tuple[str, str, str, str, Callable[[float], float]]] = [
    ('enqueue', 'worq', 'rate', 'EVALSHA round trips', lambda rate: rate),
    ('bulk', 'worq', 'rate', 'pipelined SETs', lambda rate: rate),
    ('drain', 'worq', 'rate', 'pipelined SETs', lambda rate: rate),
    ('drain2', 'worq', 'rate', 'pipelined SETs', lambda rate: rate),
    ('round-trip', 'worq', 'p50', 'EVALSHA round trips', lambda ms: 1000 / ms),
    ('throughput', 'worq-memory', 'rate', 'messages pickled and unpickled', lambda rate: rate),
    ('throughput', 'worq-memory-threads', 'rate', 'messages pickled and unpickled',
     lambda rate: rate),
    ('chunks', 'worq-memory', 'rate', 'strings over pipes', lambda rate: rate),
    ('round-trip', 'worq-memory', 'p50', 'pipe round trips', lambda ms: 1000 / ms),
    ('round-trip', 'worq-memory-threads', 'p50', 'thread round trips', lambda ms: 1000 / ms),
]


# -- as text ------------------------------------------------------------------------

def number(value: float) -> str:
    """Three figures that count, thousands set off."""
    if value == 0:
        return '0'
    if abs(value) >= 100:
        return f'{value:,.0f}'
    return f'{value:.3g}'


def fraction(factor: float) -> str:
    """1/6 as such, and not as a decimal."""
    return f'1/{round(1 / factor)}' if factor < 0.5 and (1 / factor).is_integer() else f'{factor:g}'


def spread(values: list[float]) -> str:
    """The median, with least and greatest if there are several."""
    if len(values) == 1:
        return number(values[0])
    return f'{number(median(values))} ({number(min(values))} - {number(max(values))})'


def rows(results: dict[str, Any], figure: str) -> list[list[str]]:
    """A table of one figure, the best first; its first row is the head."""
    peers = {name: entry['values'] for name, entry in results['figures'][figure].items()
             if entry['values']}
    keys = list(dict.fromkeys(key for values in peers.values() for key in values))
    if figure == 'limits' or len(FIGURES[figure].only) == 1:
        # one peer with many numbers: they are the rows
        return [['', FIGURES[figure].unit or 'found'],
                *([key, spread(values[key])] for values in peers.values() for key in values)]
    unit = FIGURES[figure].unit
    head = ['', *(key if len(keys) > 1 else unit for key in keys)]
    least = FIGURES[figure].best == 'least'
    first = keys[0] if keys else ''
    order = sorted(peers, key=lambda name: median(peers[name][first]) * (1 if least else -1))
    return [head, *([title(name, figure), *(spread(peers[name][key]) for key in keys)]
                    for name in order)]


def title(name: str, figure: str) -> str:
    """For people; it says where WorQ is, if figures of both kinds stand together."""
    entry = PEERS[name]
    if name in OURS and len(FIGURES[figure].kinds) == 2 and figure not in FILES:
        return f'{entry.title}, {"Redis" if entry.kind == "redis" else "memory"}'
    if figure in FILES and entry.kind == 'redis':
        return f'{entry.title}, Redis'
    return entry.title


def text(results: dict[str, Any]) -> str:
    """All of it, for a terminal."""
    lines: list[str] = []
    for figure in results['figures']:
        table = rows(results, figure)
        if len(table) > 1:
            lines += ['', FIGURES[figure].title, *plain(table)]
    measured = [verdict for verdict in verdicts(results) if verdict.reached is not None]
    if measured:
        lines += ['', 'targets', *plain(verdict_rows(measured))]
    lines += ['', *caveats(results)]
    return '\n'.join(lines)


def plain(table: list[list[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return ['  ' + '  '.join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
            for row in table]


def verdict_rows(found: list[Verdict]) -> list[list[str]]:
    words = {True: 'yes', False: 'no', None: 'not measured'}
    return [['figure', 'target', 'found', 'beside', 'reached'],
            *([verdict.title, verdict.target, verdict.found, verdict.beside,
               words[verdict.reached]] for verdict in found)]


def fractions(results: dict[str, Any]) -> list[list[str]]:
    """Figures of WorQ's as fractions of what bounds them."""
    values = Values(results)
    table = [['figure', '', 'bounded by', '', 'fraction']]
    for figure, peer, key, limit, per_second in BOUNDS:
        ours, its = values.of(figure, peer, key), values.of('limits', 'limits', limit)
        if ours is not None and its is not None:
            table.append([f'{FIGURES[figure].title}: {title(peer, "fan")}',
                          f'{number(per_second(ours))}/s', limit, f'{number(its)}/s',
                          f'{per_second(ours) / its:.2f}'])
    return table


def caveats(results: dict[str, Any]) -> list[str]:
    """What was not measured, and why."""
    lines = []
    for figure, peers in results['figures'].items():
        for name, entry in peers.items():
            if entry.get('errors'):
                last = entry['errors'][-1].strip().splitlines()[-1][:200]
                lines.append(f'{figure}, {name}: {len(entry["errors"])} failed, the last with: '
                             f'{last}')
    return lines


# -- as documentation ---------------------------------------------------------------

def tables(results: dict[str, Any], chart: str = '') -> str:
    """All tables in reStructuredText, for a document of ``doc/``.

    :param chart: a picture that belongs to them.
    """
    about = results['about']
    versions = sorted({f'{package} {version}' for found in results['versions'].values()
                       for package, version in found.items()})
    out = ['.. Written by bench/run.py --publish; do not edit.', '',
           f'Measured on {about["date"]}, at {about["commit"]}: medians of up to '
           f'{most(results)} interleaved rounds, with least and greatest. '
           f'{about["processor"]}, {about["cores"]} cores, {about["system"]}; '
           f'Python {about["python"]}, Redis {about["redis"]} (append-only file, every second); '
           f'{", ".join(versions)}.', '']
    if about['quick']:
        out += ['**A quick run, whose figures mean nothing.**', '']
    if chart:
        out += [f'.. image:: {chart}', '   :alt: WorQ beside the others on Redis', '']
    out += heading('Targets') + list_table(verdict_rows(verdicts(results)))
    if len(bounded := fractions(results)) > 1:
        out += heading('What bounds them') + list_table(bounded)
    for figure in results['figures']:
        table = rows(results, figure)
        if len(table) > 1:
            out += heading(FIGURES[figure].title[0].upper() + FIGURES[figure].title[1:])
            out += list_table(table)
    if failed := caveats(results):
        out += heading('Not measured') + [f'* {line}' for line in failed] + ['']
    return '\n'.join(out)


def most(results: dict[str, Any]) -> int:
    """How often the figures were measured that were measured most often."""
    return max((len(values) for peers in results['figures'].values()
                for entry in peers.values() for values in entry['values'].values()), default=0)


def heading(name: str) -> list[str]:
    return [name, '-' * len(name), '']


def list_table(table: list[list[str]]) -> list[str]:
    lines = ['.. list-table::', '   :header-rows: 1', '']
    for row in table:
        for index, cell in enumerate(row):
            lines.append(f'   {"*" if index == 0 else " "} - {cell}'.rstrip())
    return [*lines, '']


def publish(results: dict[str, Any], root: Path,
            draw: Callable[[dict[str, Any], Path], None]) -> None:
    """Write the results, the tables and the chart to where the documentation has them.

    :param draw: draws the chart of the results into a file.
    """
    (root / 'bench/results.json').write_text(json.dumps(results, indent=1) + '\n', 'utf-8')
    (root / 'bench/results.rst').write_text(tables(results, CHART) + '\n', 'utf-8')
    draw(results, root / 'doc' / CHART)


def publish_files(results: dict[str, Any], root: Path) -> None:
    """The same of a run with ``--files``."""
    (root / 'bench/files.json').write_text(json.dumps(results, indent=1) + '\n', 'utf-8')
    (root / 'bench/files.rst').write_text(tables(results) + '\n', 'utf-8')
