"""Tries mutants: ``python -m test.mutants.run`` tries all of them and writes ``results.rst``.

Each is tried in a copy of the checkout, by the tests that ``mutants.toml`` names for it. It is
killed if one of them fails, or if they take far too long. A mutant that lives either shows a test
that is missing, or changes nothing that anybody can see: then ``equivalent.toml`` says why.
"""
from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import date
import os
from pathlib import Path
from queue import SimpleQueue
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from typing import Sequence

from test.mutants.make import HERE, ROOT, Mutant, all_mutants

LIMIT = 300     # seconds that the tests of one mutant may take
COPIED = 'worq', 'test', 'doc', 'bench', 'examples', 'setup.py', 'README.rst', 'pyproject.toml'


class Folder:
    """A copy of the checkout, in which one mutant at a time is tried."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name,
                                ignore=shutil.ignore_patterns('__pycache__', '_build'))
            else:
                shutil.copy(source, root / name)

    def survives(self, mutant: Mutant | None, tests: Sequence[str]) -> bool:
        """Whether all these tests pass; without a mutant, in the code as it is."""
        path = self.root / mutant.file if mutant else None
        before = path.read_bytes() if path else b''
        try:
            if path and mutant:
                path.write_text(mutant.source, 'utf-8')
            return self._pass(tests)
        finally:
            if path:
                path.write_bytes(before)

    def _pass(self, tests: Sequence[str]) -> bool:
        environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', 'WORQ_REQUIRE_REDIS': '1'}
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                [sys.executable, '-m', 'pytest', '-x', '-q', *tests], cwd=self.root,
                env=environment, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                start_new_session=True)
            try:
                return process.wait(LIMIT) == 0
            except subprocess.TimeoutExpired:
                return False
            finally:   # with all that a mutant may have started and not ended
                with_group(process.pid)
                process.wait()


def with_group(pid: int) -> None:
    """Kill a process and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def try_all(mutants: Sequence[Mutant], workers: int) -> dict[Mutant, bool]:
    """Which of them live.

    :raises RuntimeError: if tests fail in the code as it is: then they would kill any mutant.
    """
    with tempfile.TemporaryDirectory() as root, ThreadPoolExecutor(workers) as threads:
        folders: SimpleQueue[Folder] = SimpleQueue()
        for n in range(workers):
            folders.put(Folder(Path(root, str(n))))

        def attempt(mutant: Mutant | None, tests: Sequence[str]) -> bool:
            folder = folders.get()
            try:
                begin = time.monotonic()
                lives = folder.survives(mutant, tests)
                if mutant:
                    print(f'{"LIVES" if lives else "killed"} in {time.monotonic() - begin:.0f} s: '
                          f'{mutant.name}', flush=True)
                return lives
            finally:
                folders.put(folder)

        tests = sorted({mutant.tests for mutant in mutants})
        for chosen, passed in zip(tests, threads.map(lambda each: attempt(None, each), tests)):
            if not passed:
                raise RuntimeError(f'{" ".join(chosen)}: fails without any mutant')
        return dict(zip(mutants, threads.map(lambda each: attempt(each, each.tests), mutants)))


def excuses() -> dict[str, str]:
    """Why mutants that live are no fault, by their names."""
    return tomllib.loads((HERE / 'equivalent.toml').read_text('utf-8'))


def table(found: dict[Mutant, bool], when: date) -> str:
    """The results as a page."""
    excused = excuses()
    files = sorted({mutant.file for mutant in found})
    width = max(len(name) for name in [*files, 'all']) + 4
    rule = f'{"=" * width} ====== ====== ==========\n'
    text = ('=======\nMutants\n=======\n\n'
            'Made by ``make mutants``, see ``test/mutants/run.py``; do not edit.\n'
            f'Of {when:%Y-%m-%d}.\n\n{rule}'
            f'{"file":{width}} killed living equivalent\n{rule}')
    for name in [*files, 'all']:
        lives = [alive for mutant, alive in found.items() if name in (mutant.file, 'all')]
        alike = sum(alive and mutant.name in excused for mutant, alive in found.items()
                    if name in (mutant.file, 'all'))
        label = f'``{name}``' if name != 'all' else name
        text += f'{label:{width}} {lives.count(False):6} {lives.count(True) - alike:6} {alike:10}\n'
    text += rule
    living = [mutant for mutant, alive in found.items() if alive]
    for title, some in [('Living', [m for m in living if m.name not in excused]),
                        ('Equivalent', [m for m in living if m.name in excused])]:
        if some:
            text += f'\n\n{title}\n{"=" * len(title)}\n'
        for mutant in some:
            text += f'\n* ``{mutant.name}``\n'
            if mutant.name in excused:
                text += f'\n  {excused[mutant.name]}\n'
    return text


def main(argv: Sequence[str]) -> int:
    """Run the command; returns the exit status: 1 if a mutant lives that has no excuse."""
    parser = argparse.ArgumentParser(prog='python -m test.mutants.run', description=__doc__)
    parser.add_argument('--some', type=int, metavar='N', help='only N, other ones each day')
    parser.add_argument('--only', metavar='TEXT', help='only those with TEXT in their names')
    parser.add_argument('--list', action='store_true', help='print their names, and try none')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N')
    options = parser.parse_args(argv)
    mutants = all_mutants()
    if options.only:
        mutants = [mutant for mutant in mutants if options.only in mutant.name]
    if options.some:
        start = date.today().toordinal() * options.some % len(mutants)
        mutants = (mutants + mutants)[start:start + options.some]
    if options.list:
        print(*(mutant.name for mutant in mutants), sep='\n')
        return 0
    found = try_all(mutants, options.workers)
    living = [mutant.name for mutant, lives in found.items() if lives]
    if not (options.only or options.some):
        (HERE / 'results.rst').write_text(table(found, date.today()), 'utf-8')
    bad = [name for name in living if name not in excuses()]
    print(f'{len(found)} mutants: {len(found) - len(living)} killed, {len(living) - len(bad)} '
          f'equivalent, {len(bad)} living')
    for name in bad:
        print(f'  {name}')
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
