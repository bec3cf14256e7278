"""Makes the table of figures: results.json into doc/reliability_figures.rst."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Iterator, Sequence

__all__ = ['write', 'load', 'store', 'RESULTS', 'DOCUMENT']

HERE = Path(__file__).resolve().parent
RESULTS = HERE / 'results.json'
DOCUMENT = HERE.parent.parent / 'doc' / 'reliability_figures.rst'

TITLES = {
    'worq': 'WorQ', 'rq-fork': 'RQ', 'celery': 'Celery', 'celery-late': 'Celery, acks_late',
    'dramatiq': 'Dramatiq', 'arq': 'arq', 'huey': 'Huey',
}
PEER_RUNS = {1: 'a worker process killed every second', 2: 'a program killed every 5 s',
             4: 'Redis killed ten times', 6: 'Redis stopped for half of the time'}
COUNTS = ['put', 'faults', 'lost', 'double', 'duplicates', 'expired']
ODD = {   # what else a run has measured, and how it is called
    'orphans': 'orphans', 'late': 'late ends', 'resumes': 'resumes after s',
    'slowest refusal': 'slowest refusal s', 'held': 'held when stopped',
    'late outcomes accepted': 'late outcomes accepted', 'replies lost': 'replies lost',
    'poison': 'poisonous', 'unsure': 'puts refused', 'ghost': 'ghosts', 'hung': 'hung',
    'early': 'early', 'unfair': 'expired too soon', 'failed': 'failed otherwise',
    'audit': 'audit lines', 'leaks': 'keys leaked',
}
ALWAYS_TOLD = {'orphans', 'resumes', 'slowest refusal', 'held', 'replies lost',
               'late outcomes accepted', 'poison'}


def load(path: Path = RESULTS) -> dict[str, Any]:
    """What has been stored; empty if nothing has."""
    found: dict[str, Any] = json.loads(path.read_text('utf-8')) if path.exists() else {}
    return {'runs': {}, 'peers': {}, **found}


def store(path: Path, runs: dict[str, Any] | None = None,
          peers: dict[str, Any] | None = None) -> None:
    """Put results into a file, in place of older ones of the same."""
    found = load(path)
    found['runs'].update(runs or {})
    for name, results in (peers or {}).items():
        found['peers'].setdefault(name, {}).update(results)
    found['runs'] = dict(sorted(found['runs'].items(), key=lambda item: int(item[0])))
    path.write_text(json.dumps(found, indent=1) + '\n', 'utf-8')


def write(results: Path = RESULTS, document: Path = DOCUMENT) -> None:
    """Write the document; RuntimeError if there is nothing to write."""
    found = load(results)
    if not found['runs']:
        raise RuntimeError(f'{results} has no runs: make some with --json {results}')
    document.write_text('\n'.join(lines(found)) + '\n', 'utf-8')


def lines(found: dict[str, Any]) -> Iterator[str]:
    runs = found['runs'].values()
    yield '.. Made by bench/faults/run.py table of bench/faults/results.json: do not edit.'
    yield ''
    yield from provenance(runs)
    if 'remark' in found:   # written by hand: what else was special
        yield ''
        yield found['remark']
    yield ''
    yield from table(
        ['run', 'put', 'faults', 'lost', 'two results', 'ran again', 'expired',
         'runs again after, s: p50, p99, max', 'waited at most, s',
         'after the last fault, s', 'and', 'held'],
        [row for run in runs for row in standard(run)])
    yield ''
    yield from table(['run', 'leg', 'figures', 'held'],
                     [row for run in runs for row in other(run)])
    broken = [(run, text) for run in runs for text in run['broken']]
    yield ''
    yield 'What did not hold:' if broken else 'All that must hold did.'
    yield ''
    for run, text in broken:
        yield f'* run {run["run"]}, {plain(text)}'
    yield ''
    if found['peers']:
        yield from peers(found['peers'])


def provenance(runs: Any) -> Iterator[str]:
    """When, on what and with which seeds."""
    last = max(runs, key=lambda run: run['date'])
    dates = sorted({run['date'] for run in runs})
    seeds = ', '.join(f'{run["run"]}: {run["seed"]}' for run in runs)
    short = [str(run['run']) for run in runs if run['quick']]
    days = ' to '.join([dates[0], dates[-1]][:len(dates)])
    yield (f'Run on {days}, WorQ {last["worq"]}, Python {last["python"]}, redis-py '
           f'{last["redis-py"]}, {last["server"]}, {last["processors"]} processors. '
           f'Seeds by run: {seeds}.')
    if short:
        yield ''
        yield f'These were the short variants: {", ".join(short)}.'


def legs(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The legs of a run with their figures; a run without has one, without a name."""
    figures = run['figures']
    named = {name: value for name, value in figures.items()
             if isinstance(value, dict) and name not in ('recovery', 'again', 'wrong')}
    if 'put' not in figures and named:
        yield from named.items()
        rest = {name: value for name, value in figures.items() if name not in named}
        if rest:
            yield 'all', rest
    else:
        yield '', figures


def standard(run: dict[str, Any]) -> Iterator[list[str]]:
    """Rows of what kills and cuts led to."""
    for leg, figures in legs(run):
        if 'put' not in figures:
            continue
        again = figures['recovery']
        more = [f'{text} {figures[name]}' for name, text in ODD.items()
                if name in figures and (figures[name] or name in ALWAYS_TOLD)]
        if paused := figures.get('again', {}).get('n'):
            more.append(f'{paused} ran a third time, after {seconds(figures["again"]["max"])} s '
                        'at most')
        title = f'{run["run"]} {run["title"]}' + (f': {leg}' if leg else '')
        yield [title, *(str(figures[name]) for name in COUNTS),
               ', '.join(seconds(again[name]) for name in ('p50', 'p99', 'max'))
               if again['n'] else '', seconds(figures['waited']),
               seconds(figures['after']) if 'after' in figures else '',   # older runs have none
               ', '.join(more), run['verdict']]


def seconds(value: float) -> str:
    return f'{value:.2f}' if value < 10 else f'{value:.0f}'


def other(run: dict[str, Any]) -> Iterator[list[str]]:
    """Rows of the rest: sizes and times."""
    for leg, figures in legs(run):
        if 'put' not in figures:
            yield [f'{run["run"]} {run["title"]}', leg, short_text(figures), run['verdict']]


def short_text(figures: dict[str, Any]) -> str:
    parts = []
    for name, value in figures.items():
        if isinstance(value, dict):
            value = ', '.join(f'{key} {one}' for key, one in value.items() if key != 'n')
        parts.append(f'{name}: {value}')
    return '; '.join(parts)


def peers(found: dict[str, Any]) -> Iterator[str]:
    """The other libraries, side by side."""
    some = next(iter(next(iter(found.values())).values()))
    yield 'Beside others'
    yield '============='
    yield ''
    yield ('The same harness, tasks, lengths and faults for all, Redis with '
           '``appendfsync always``, two workers each, whatever ends started again at once; each '
           'library is set up as its documentation advises, see ``bench/peers``. *Not done* '
           'are the tasks that were acknowledged and had not been run to their end '
           f'{some["patience s"]:g} seconds after the last was put: lost, marked as failed, or '
           'to come only later. All that was running when its worker was killed is *cut short*. '
           'Tasks come as fast as two workers can do them, so what takes long to start again is '
           'behind for a while.')
    for number, text in PEER_RUNS.items():
        rows = []
        for name, title in TITLES.items():
            one = found.get(name, {}).get(str(number))
            if one is None:
                continue
            again = one['recovery']
            version = ' '.join(list(one['versions'].values())[:1]) if name != 'worq' else ''
            rows.append([
                f'{title} {version}'.strip(), str(one['put']), str(one['unsure']),
                str(one['cut short']), str(one['not done']), str(one['duplicates']),
                ', '.join(seconds(again[key]) for key in ('p50', 'max')) if again['n'] else 'never'
                if one['cut short'] else '',
                seconds(one['slowest put']) + (', hangs' if 'producer' in one else '')])
        if rows:
            yield ''
            yield f'**{text[0].upper()}{text[1:]}**'
            yield ''
            yield from table(['library', 'put', 'refused', 'cut short', 'not done', 'ran again',
                              'again after, s: p50, max', 'slowest put, s'], rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A list-table, which does not mind how long its cells are."""
    yield '.. list-table::'
    yield '   :header-rows: 1'
    yield ''
    for row in [head, *rows]:
        for index, cell in enumerate(row):
            yield f'   {"* -" if index == 0 else "  -"} {plain(cell)}'.rstrip()


def plain(text: str) -> str:
    """A cell in which nothing is markup."""
    return ''.join('\\' + c if c in '\\*`|_' else c for c in text.replace('\n', ' '))
