"""Ends what a program has started, if the program itself cannot: it may be killed, too.

Death signals (``PR_SET_PDEATHSIG``) reach children only, and not the processes that those have
started. So a guard, a process of its own, holds the end of a pipe; when the program is gone, the
kernel closes the other one. Linux: it looks in /proc for whom to kill.
"""
from __future__ import annotations

from contextlib import suppress
import os
from pathlib import Path
import shutil
import signal
import subprocess
import sys
import time

__all__ = ['Guard', 'marked']


class Guard:
    """When this process has ended, in whatever way, nothing it has started is left.

    :param mark: a word, unique, in the environment of all that is started: it is killed.
    :param folders: are removed.
    """

    def __init__(self, mark: str, *folders: str) -> None:
        # In a session of its own: what a terminal or a caller sends to our group is not for it.
        # Without an environment: we may be marked ourselves, and it is to outlive us.
        self._process = subprocess.Popen(
            [sys.executable, '-I', '-S', __file__, mark, *folders], cwd='/', env={},
            stdin=subprocess.PIPE, start_new_session=True)

    def close(self) -> None:
        """Do now what is done at the end of this process. May be called twice."""
        self._process.communicate()


def marked(mark: str) -> list[int]:
    """The processes with a word in the environment that they were started with."""
    found = []
    for path in Path('/proc').glob('[0-9]*'):
        try:
            if mark.encode() in (path / 'environ').read_bytes():
                found.append(int(path.name))
        except OSError:
            pass
    return found


def main(mark: str, *folders: str) -> None:
    """Wait for the end of standard input, then kill and remove."""
    sys.stdin.read()
    while pids := marked(mark):   # what is dying may start another one
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == '__main__':
    main(*sys.argv[1:])
