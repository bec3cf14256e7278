"""Measures WorQ beside the others, and writes and draws what came out.

    python bench/run.py                                 all that is installed, five rounds
    python bench/run.py --only worq huey drain          some peers, some figures
    python bench/run.py --quick                         little of each: to see that it works
    python bench/run.py --json FILE --resume            go on with a run that was stopped
    python bench/run.py --files                         queues in files, beside WorQ on Redis

Every measurement runs in a process of its own; all of them use one Redis server, which is
started here and emptied each time. Nothing else should run on the machine.
"""
from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
import platform
import signal
import subprocess
import sys
import time
import uuid
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[0] = str(ROOT)  # where `bench` and `test` are; a script's own folder is of no use

from bench import report  # noqa: E402
from bench.figures import FIGURES, FILES, applies  # noqa: E402
from bench.guard import Guard  # noqa: E402
from bench.peers import PEERS  # noqa: E402
from test import support  # noqa: E402

LIMITS = 'limits'  # is measured like a peer
#: As its documentation advises for data that should last; no rewriting of the file meanwhile.
SERVER = ['--appendonly', 'yes', '--appendfsync', 'everysec', '--auto-aof-rewrite-percentage', '0']


def main(args: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or '').partition('\n\n')[0],
        epilog=f'peers: {" ".join(PEERS)}. figures: {" ".join(FIGURES)}.')
    parser.add_argument('--only', nargs='+', default=[], metavar='NAME',
                        choices=[*PEERS, *FIGURES], help='names of peers and of figures')
    parser.add_argument('--rounds', type=int, default=5, help='default 5')
    parser.add_argument('--quick', action='store_true', help='one round of very little')
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the results there')
    parser.add_argument('--resume', action='store_true',
                        help='go on where the run that wrote the --json file was stopped')
    parser.add_argument('--python', action='append', default=[], metavar='PEER=PATH',
                        help='the Python that has this peer, if it is another one')
    parser.add_argument('--publish', action='store_true',
                        help='write bench/results.json, and the tables and the chart of doc/')
    parser.add_argument('--files', action='store_true',
                        help='measure queues in files, in place of all others')
    parser.add_argument('--from', type=Path, metavar='FILE', dest='source',
                        help='measure nothing: report, or publish, what --json has written')
    options = parser.parse_args(args)
    if options.publish and (options.quick or options.only):
        parser.error('--publish is for a full run, without --quick and --only')
    if options.source:
        return tell(load(parser, options.source), options.publish, options.files)
    if options.rounds < 1:
        parser.error('--rounds is at least 1')
    pythons = dict.fromkeys([*PEERS, LIMITS], sys.executable)
    for word in options.python:
        name, equals, path = word.partition('=')
        if name not in PEERS or not equals:
            parser.error(f'--python {word}: write PEER=PATH')
        pythons[name] = path
    chosen = [name for name in options.only if name in PEERS] or list(PEERS)
    figures = [name for name in options.only if name in FIGURES] or [
        name for name in FIGURES if (name in FILES) == options.files]

    begun = None
    if options.resume:
        if options.json is None:
            parser.error('--resume needs --json FILE, which it goes on with')
        begun = load(parser, options.json)
    bench = Bench(pythons, options.quick, 1 if options.quick else options.rounds)
    try:
        return tell(bench.run(chosen, figures, options.json, begun), options.publish,
                    options.files)
    except Mismatch as error:
        parser.error(f'--resume {options.json}: {error}')


def load(parser: argparse.ArgumentParser, file: Path) -> Any:
    """What --json has written."""
    try:
        return json.loads(file.read_text('utf-8'))
    except (OSError, ValueError) as error:
        parser.error(f'{file}: {error}')


class Mismatch(Exception):
    """A run that was begun is not this one."""


def tell(results: dict[str, Any], publish: bool, files: bool = False) -> int:
    """Print, publish; returns the exit status: 1 if something could not be measured."""
    print(report.text(results))
    if publish and files:
        report.publish_files(results, ROOT)
    elif publish:
        from bench import chart   # needs a library that nothing else here does
        report.publish(results, ROOT, chart.draw)
    return 1 if any(entry.get('errors') for peers in results['figures'].values()
                    for entry in peers.values()) else 0


class Bench:
    """One run: its server, its processes, and what they have said.

    :param pythons: the interpreter for each peer.
    :param rounds: how often each figure is measured; the rounds of all peers are interleaved.
    """

    def __init__(self, pythons: dict[str, str], quick: bool, rounds: int) -> None:
        self.pythons = pythons
        self.quick = quick
        self.rounds = rounds

    def run(self, chosen: list[str], figures: list[str], file: Path | None,
            begun: dict[str, Any] | None = None) -> dict[str, Any]:
        """Measure; what there is after each figure is written to `file`.

        :param begun: what a run that was stopped has written; it is continued.
        :raises Mismatch: if that was not the same code, machine, peers and figures.
        """
        steps = [(number, figure) for number in range(self.rounds) for figure in figures]
        versions = {name: found for name in chosen
                    if (found := self._drive(name, 'check', '-', 60)) is not None}
        for name in chosen:
            if name not in versions:
                say(f'{name} is not installed, and left out')
        with support.start_redis(*SERVER) as server:
            results: dict[str, Any] = {
                'about': about(server, self.quick),
                'versions': versions,
                'figures': {figure: {} for figure in figures},
                'steps': 0,   # of `steps`, that are done
            }
            if begun is not None:
                for what in 'about', 'versions':
                    if begun[what] | {'date': ''} != results[what] | {'date': ''}:
                        raise Mismatch(f'it has {what} {begun[what]}, and here: {results[what]}')
                if list(begun['figures']) != figures:
                    raise Mismatch('it is of other figures')
                results = begun
            for number, figure in steps[results['steps']:]:
                if figure == figures[0]:
                    say(f'round {number + 1} of {self.rounds}')
                for name in self._peers(figure, versions, number):
                    self._measure(results, server, figure, name)
                results['steps'] += 1
                if file:
                    file.write_text(json.dumps(results, indent=1) + '\n', 'utf-8')
        return results

    @staticmethod
    def _peers(figure: str, versions: dict[str, Any], number: int) -> list[str]:
        """Whom to measure in a round; each round begins with another one."""
        if number >= FIGURES[figure].rounds:
            return []
        names = [name for name in [*versions, LIMITS]
                 if applies(figure, name, PEERS[name].kind if name in PEERS else '')]
        first = number % len(names) if names else 0
        return names[first:] + names[:first]

    def _measure(self, results: dict[str, Any], server: support.Server, figure: str,
                 name: str) -> None:
        server.cli('FLUSHALL', 'SYNC')
        server.cli('CONFIG', 'RESETSTAT')
        begin = time.monotonic()
        try:
            answer = self._drive(name, figure, server.url, FIGURES[figure].limit)
        except RuntimeError as error:
            answer = {'error': str(error)}
        entry = results['figures'][figure].setdefault(name, {'values': {}})
        for key, value in answer.get('values', {}).items():
            entry['values'].setdefault(key, []).append(value)
        if 'skip' in answer:
            entry['skip'] = answer['skip']
        if 'error' in answer:
            entry.setdefault('errors', []).append(answer['error'])
        shown = ', '.join(f'{key} {report.number(value)}'
                          for key, value in answer.get('values', {}).items())
        say(f'{figure:11} {name:20} {time.monotonic() - begin:5.1f} s  '
            + (shown or answer.get('skip') or 'FAILED: ' + answer['error'][-2000:]))

    def _drive(self, name: str, figure: str, url: str, limit: int) -> Any:
        """Run ``bench.drive``; it and all that it has started are gone afterwards."""
        command = [self.pythons[name], '-m', 'bench.drive', name, figure, url]
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH', '')]))
        mark = f'bench-{uuid.uuid4().hex}'
        guard = Guard(mark)
        # WorQ is measured from a checkout, and must be compiled as what was installed is.
        environment = {**os.environ, 'PYTHONPATH': path, 'BENCH_DRIVE': mark}
        environment.pop('PYTHONDONTWRITEBYTECODE', None)
        process = subprocess.Popen(
            command + ['quick'] * self.quick, cwd=ROOT, text=True, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env=environment)
        try:
            out, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f'it had not ended after {limit} seconds') from None
        finally:
            guard.close()
            process.wait()
        if process.returncode != 0:
            raise RuntimeError(f'it ended with {process.returncode}:\n{out[-4000:]}')
        return json.loads(out.rstrip().rpartition('\n')[2])


def about(server: support.Server, quick: bool) -> dict[str, Any]:
    """When and where this was."""
    info = server.cli('INFO', 'server')
    return {
        'date': time.strftime('%Y-%m-%d', time.gmtime()),
        'quick': quick,
        'commit': subprocess.run(['git', 'rev-parse', '--short', 'HEAD'], cwd=ROOT, text=True,
                                 capture_output=True).stdout.strip(),
        'python': platform.python_version(),
        'redis': info['redis_version'] if isinstance(info, dict) else
        next(line.partition(':')[2].strip() for line in info.decode().splitlines()
             if line.startswith('redis_version:')),
        'system': f'{platform.system()} {platform.release()}',
        'processor': processor(),
        'cores': os.cpu_count(),
    }


def processor() -> str:
    """Its model, as Linux tells it."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    return next((line.partition(': ')[2] for line in lines if line.startswith('model name')),
                platform.machine())


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda *args: sys.exit(143))   # and clean up
    sys.exit(main())
