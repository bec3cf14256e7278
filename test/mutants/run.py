"""Tries mutants: ``python -m test.mutants.run`` tries all of them and writes ``results.rst``.

A full run takes hours. So what each came to is kept in ``results.json``, with its date, and one
that is there is not tried again as long as its line is as it was; ``--anew`` tries all.

Each is tried in a copy of the checkout, by the tests that ``mutants.toml`` names for it. It is
killed if one of them fails, or if they take far too long. A mutant that lives either shows a test
that is missing, or changes nothing that anybody can see: then ``equivalent.toml`` says why.

It needs what ``requires.txt`` and ``requires-ci.txt`` name.
"""
from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from datetime import date
import json
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
from threading import Lock
from typing import Callable, Sequence

from test.mutants.make import HERE, ROOT, Mutant, draws, mutants
from test.support import die_with_parent

LIMIT = 300     # seconds that the tests of one mutant may take ...
LONGER = 4      # ... or as many times as long as they take in the code as it is
KEPT = HERE / 'results.json'
COPIED = 'worq', 'test', 'doc', 'bench', 'examples', 'setup.py', 'README.rst', 'pyproject.toml'


class Folder:
    """A copy of the checkout, in which one mutant at a time is tried."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.told = ''   #: the end of what the tests printed that failed last
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, root / name,
                                ignore=shutil.ignore_patterns('__pycache__', '_build'))
            else:
                shutil.copy(source, root / name)

    def survives(self, mutant: Mutant | None, tests: Sequence[str], limit: float) -> bool:
        """Whether all these tests pass; without a mutant, in the code as it is.

        :raises TimeoutError: if they take longer than this.
        """
        path = self.root / mutant.file if mutant else None
        before = path.read_bytes() if path else b''
        try:
            if path and mutant:
                path.write_text(mutant.source, 'utf-8')
            return self._pass(tests, limit)
        finally:
            if path:
                path.write_bytes(before)

    def _pass(self, tests: Sequence[str], limit: float) -> bool:
        with tempfile.TemporaryFile() as output, tempfile.TemporaryDirectory() as own:
            environment = {**os.environ, 'PYTHONDONTWRITEBYTECODE': '1', 'TMPDIR': own,
                           'WORQ_REQUIRE_REDIS': '1'}
            process = subprocess.Popen(
                [sys.executable, '-m', 'pytest', '-x', '-q', '-p', 'no:cacheprovider', *tests],
                cwd=self.root, env=environment, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with_parent if sys.platform == 'linux' else None)
            try:
                if process.wait(limit) == 0:
                    return True
                output.seek(0)
                self.told = output.read()[-3000:].decode(errors='replace')
                return False
            except subprocess.TimeoutExpired:
                raise TimeoutError from None
            finally:   # with all that it has started and not ended; servers end with it
                with_group(process.pid)
                process.wait()


def with_group(pid: int) -> None:
    """Kill a process and what it has started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


class Trial:
    """Tries mutants in so many folders at a time, until a moment.

    :param begin: whether the tests are tried without any mutant first.
    :param tell: called with each mutant and whether it lives, at once.
    """

    def __init__(self, root: Path, workers: int, until: float, begin: bool,
                 tell: Callable[[Mutant, bool], None]) -> None:
        self.until = until
        self.begin = begin
        self.tell = tell
        self.limits: dict[tuple[str, ...], float] = {}   # of these tests, in seconds
        self.threads = ThreadPoolExecutor(workers)
        self.folders: SimpleQueue[Folder] = SimpleQueue()
        for n in range(workers):
            self.folders.put(Folder(root / str(n)))

    def run(self, mutants: Sequence[Mutant]) -> dict[Mutant, bool]:
        """Which of them live, of those that there was time for.

        :raises RuntimeError: if tests fail in the code as it is: then they would kill any mutant.
        """
        with self.threads as threads:
            if self.begin:
                all(threads.map(self._measure, sorted({mutant.tests for mutant in mutants})))
            return {mutant: lives for mutant, lives in zip(mutants, threads.map(self._try, mutants))
                    if lives is not None}

    def _measure(self, tests: tuple[str, ...]) -> bool:
        folder, begin = self.folders.get(), time.monotonic()
        try:
            passed = folder.survives(None, tests, LIMIT)
        except TimeoutError:
            passed = False
        finally:
            self.folders.put(folder)
        if not passed:
            raise RuntimeError(f'{" ".join(tests)}: fails without any mutant\n{folder.told}')
        self.limits[tests] = LONGER * (time.monotonic() - begin)
        return True

    def _try(self, mutant: Mutant) -> bool | None:
        folder, begin = self.folders.get(), time.monotonic()
        limit = self.limits.get(mutant.tests, LIMIT)
        try:
            if begin > self.until:
                return None
            lives = folder.survives(mutant, mutant.tests, min(limit, self.until - begin))
        except TimeoutError:
            if time.monotonic() - begin < limit or mutant.tests not in self.limits:
                return None   # it may be the machine
            lives = False
        finally:
            self.folders.put(folder)
        print(f'{"LIVES" if lives else "killed"} in {time.monotonic() - begin:.0f} s: '
              f'{mutant.name}', flush=True)
        self.tell(mutant, lives)
        return lives


class Results:
    """What has come of mutants so far, by their names, in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lock = Lock()
        self.known: dict[str, dict[str, str]] = (
            json.loads(path.read_text('utf-8')) if path.exists() else {})

    def tell(self, mutant: Mutant, lives: bool) -> None:
        """Enter one, and write all."""
        with self.lock:
            found = 'lives' if lives else 'killed'
            self.known[mutant.name] = {'date': f'{date.today()}', 'found': found}
            text = json.dumps(self.known, indent=0, sort_keys=True, ensure_ascii=False)
            self.path.write_text(text + '\n', 'utf-8')

    def of(self, mutants: Sequence[Mutant]) -> dict[Mutant, bool]:
        """Which of these were found to live, of those that were tried."""
        return {mutant: self.known[mutant.name]['found'] == 'lives'
                for mutant in mutants if mutant.name in self.known}


def excuses() -> dict[str, str]:
    """Why mutants that live are no fault, by their names."""
    return tomllib.loads((HERE / 'equivalent.toml').read_text('utf-8'))


def table(mutants: Sequence[Mutant], found: dict[Mutant, bool], since: str) -> str:
    """The results as a page: which of the mutants were found to live, and the day of the oldest."""
    excused = excuses()
    files = sorted({mutant.file for mutant in mutants})
    width = max(len(name) for name in [*files, 'all']) + 4
    rule = f'{"=" * width} ====== ====== ========== =========\n'
    text = ('=======\nMutants\n=======\n\n'
            'Made by ``make mutants``, see ``test/mutants/run.py``; do not edit.\n'
            f'Since {since}: {len(found)} of {len(mutants)} mutants were tried.\n\n{rule}'
            f'{"file":{width}} killed living equivalent not tried\n{rule}')
    for name in [*files, 'all']:
        these = [mutant for mutant in mutants if name in (mutant.file, 'all')]
        lives = [found[mutant] for mutant in these if mutant in found]
        alike = sum(found.get(mutant, False) and mutant.name in excused for mutant in these)
        label = f'``{name}``' if name != 'all' else name
        text += (f'{label:{width}} {lives.count(False):6} {lives.count(True) - alike:6} '
                 f'{alike:10} {len(these) - len(lives):9}\n')
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
    parser.add_argument('--minutes', type=float, metavar='N', default=float('inf'),
                        help='try as many as there is time for in N minutes')
    parser.add_argument('--passed', action='store_true',
                        help='the tests have passed without any mutant: do not begin by that')
    parser.add_argument('--anew', action='store_true', help='also those that were tried before')
    parser.add_argument('--tell', action='store_true',
                        help='0 is the exit status even if a mutant lives')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, metavar='N')
    options = parser.parse_args(argv)
    until = time.monotonic() + 60 * options.minutes
    chosen = draws()
    if options.some:
        start = date.today().toordinal() * options.some % len(chosen)
        chosen = (chosen + chosen)[start:start + options.some]
    made = mutants(chosen)
    if options.only:
        made = [mutant for mutant in made if options.only in mutant.name]
    if options.list:
        print(*(mutant.name for mutant in made), sep='\n')
        return 0
    results = Results(KEPT)
    anew = options.anew or options.some   # which are tried each day to see whether they still die
    left = [mutant for mutant in made if anew or mutant.name not in results.known]
    with tempfile.TemporaryDirectory() as root:
        tell = results.tell if not options.some else lambda mutant, lives: None
        tried = Trial(Path(root), options.workers, until, not options.passed, tell).run(left)
    found = tried if options.some else results.of(made)
    living = [mutant.name for mutant, lives in found.items() if lives]
    if not (options.only or options.some):
        names = {mutant.name for mutant in made}
        since = min((told['date'] for name, told in results.known.items() if name in names),
                    default=f'{date.today()}')
        (HERE / 'results.rst').write_text(table(made, found, since), 'utf-8')
    bad = [name for name in living if name not in excuses()]
    print(f'{len(made)} mutants: {len(found) - len(living)} killed, {len(bad)} living, '
          f'{len(living) - len(bad)} equivalent, {len(made) - len(found)} not tried in time')
    for name in bad:
        print(f'  {name}')
    return bool(bad) and not options.tell


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
