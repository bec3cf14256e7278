"""Each process writes down what it does, in a file of its own, as it does it.

A line is handed to the kernel by one call, so that what has been written survives the
death of its writer. Times are of the monotonic clock, which all processes of a machine share.
"""
from __future__ import annotations

import os
from pathlib import Path
import time
from typing import Iterator, NamedTuple

__all__ = ['Journal', 'Entry', 'read']

# -- what is written down: event, key of the task, detail ---------------------------
TRY = 'try'          #: a producer begins to put a task; detail: the keys of its arguments
PUT = 'put'          #: and it was acknowledged
UNSURE = 'unsure'    #: or the call raised (detail: what), so nobody knows whether it is stored
READY = 'ready'      #: a worker is ready; detail: its manager's process id
BEGIN = 'begin'      #: a run of a task begins; detail: the run, see `new_run`
SEEN = 'seen'        #: somebody read a result; detail: the run that made it
END = 'end'          #: the run ends, and returns itself as the result; detail: the run
RESULT = 'result'    #: the waiter was told of a result; detail: the run
FAILED = 'failed'    #: or of a failure; detail: its type and text
NOTHING = 'nothing'  #: or was told nothing until its patience ended
KILL = 'kill'        #: a fault: the process (key) was sent a signal; detail: what it was
FAULT = 'fault'      #: any other fault; detail: what it was
HEALED = 'healed'    #: its end; detail: what it was


class Entry(NamedTuple):
    """A line of a journal."""

    time: float      #: seconds, monotonic
    event: str
    key: str
    pid: int         #: of the process that wrote it
    detail: str


class Journal:
    """Where this process writes.

    :param folder: of all the processes' files.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._pid = 0
        self._fd = -1

    def __repr__(self) -> str:
        return f'<Journal {self.folder}>'

    def write(self, event: str, key: str = '', detail: object = '') -> None:
        """Add a line."""
        if self._pid != os.getpid():   # also after a fork: a file has one writer
            self._pid = os.getpid()
            path = self.folder / f'{self._pid}-{time.monotonic_ns()}.journal'
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        text = str(detail).replace('\n', ' ').replace('\t', ' ')
        line = f'{time.monotonic():.6f}\t{event}\t{key}\t{self._pid}\t{text}\n'
        os.write(self._fd, line.encode())

    def close(self) -> None:
        """Close the file. Another line opens another."""
        if self._pid == os.getpid():
            os.close(self._fd)
        self._pid = 0


def new_run() -> str:
    """A name for a run of a task, which no other run has."""
    return f'{os.getpid()}-{time.monotonic_ns()}'


def read(folder: str | os.PathLike[str]) -> list[Entry]:
    """All that has been written until now, in order of time.

    Not what is written meanwhile: else, of a task and one that it waited for, the beginning of the
    one may be there without the end of the other, whose journal was read before it.
    """
    now = time.monotonic() + 1e-6   # lines are rounded
    return sorted(entry for path in Path(folder).glob('*.journal') for entry in lines(path)
                  if entry.time <= now)


def lines(path: Path) -> Iterator[Entry]:
    for line in path.read_text().splitlines(keepends=True):
        if line.endswith('\n'):   # another is being written
            moment, event, key, pid, detail = line[:-1].split('\t')
            yield Entry(float(moment), event, key, int(pid), detail)
