"""Runs programs of the checkout as separate processes, as a reader of the README would."""
from __future__ import annotations

import contextlib
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
from typing import Any, Callable, Iterator
from urllib.error import HTTPError

from test import support

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 120  # seconds for a program that ends by itself


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the checkout on the path of modules, as it would be
    installed."""
    path = os.pathsep.join([str(ROOT), str(ROOT / 'examples')])
    return {**os.environ, 'PYTHONPATH': path, **more}


def python(*args: str, cwd: Path = ROOT, **environ: str) -> str:
    """Run Python to its end; returns all that it printed.

    :raises AssertionError: with that, if it failed.
    """
    done = subprocess.run([sys.executable, *args], cwd=cwd, timeout=LIMIT, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, env=environment(**environ))
    if done.returncode != 0:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout}')
    return done.stdout


@contextlib.contextmanager
def running(*args: str, cwd: Path = ROOT, **environ: str) -> Iterator[subprocess.Popen[str]]:
    """A Python program that runs meanwhile; SIGTERM ends it, and has to end it well."""
    with tempfile.TemporaryFile('w+') as log:
        process = subprocess.Popen([sys.executable, *args], cwd=cwd, text=True,
                                   stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                   env=environment(**environ))
        try:
            yield process
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT)
        finally:
            process.kill()
            process.wait()
            log.seek(0)
            text = log.read()
        if process.returncode not in (0, -signal.SIGTERM):
            raise AssertionError(f'{args} ended with {process.returncode}:\n{text}')


def reached(call: Callable[[], Any]) -> bool:
    """Whether it could be called, or a server has refused it."""
    try:
        call().close()
    except HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


def shown_redis() -> str:
    """The tests' Redis for programs whose queues have names that others use too: a database
    of its own, without what was in it. SkipTest if there is no Redis."""
    url = support.redis_url().rpartition('/')[0] + '/9'
    for name in ('default', 'guide', 'slow', 'wordcount'):
        support.clean(url, name)
    return url
