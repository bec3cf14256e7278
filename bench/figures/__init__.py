"""What is measured: a table of figures, each a function in a module of its family.

A function gets a ``Run`` and returns numbers by name. It raises ``NotApplicable`` where a peer
has nothing that could be measured. It runs in a process of its own (``bench/drive.py``).
"""
from __future__ import annotations

from importlib import import_module
import random
from typing import Any, Callable, NamedTuple

__all__ = ['FIGURES', 'FILES', 'Figure', 'Run', 'NotApplicable', 'applies', 'measure',
           'percentile', 'MIX']

REDIS = ('redis',)
BOTH = ('redis', 'memory')

#: Seconds of the tasks of mixed lengths.
MIX = (0.001, 0.01, 0.1)


class NotApplicable(Exception):
    """This peer has nothing of that kind; the text says what is missing."""


class Figure(NamedTuple):
    """One line of the table."""

    module: str
    title: str
    unit: str                      # of the numbers, for people
    kinds: tuple[str, ...] = BOTH  # of the peers that have it
    best: str = 'most'             # or 'least'
    rounds: int = 100              # at most; counts need no repetition
    only: tuple[str, ...] = ()     # peers; empty: all
    limit: int = 180               # seconds until a measurement is given up
    proxied: bool = False          # whether round trips are counted


#: Peers whose workers are event loops.
LOOPS = ('worq-aio', 'arq', 'saq', 'taskiq', 'streaq', 'docket')

FIGURES = {
    'limits': Figure('limits', 'limits of this machine', '', only=('limits',)),
    'enqueue': Figure('speed', 'enqueue, one call at a time', 'tasks/s', REDIS),
    'bulk': Figure('speed', 'enqueue in bulk', 'tasks/s', REDIS),
    'drain': Figure('speed', 'drain, one worker process', 'tasks/s', REDIS),
    'drain2': Figure('speed', 'drain, two worker processes', 'tasks/s', REDIS),
    'round-trip': Figure('speed', 'round trip on an idle worker', 'ms', best='least'),
    'throughput': Figure('speed', 'call and collect, two workers', 'tasks/s', ('memory',)),
    'chunks': Figure('speed', 'map in chunks of 100, two workers', 'items/s', ('memory',)),
    'payload': Figure('speed', 'call and collect by size of payload', 'tasks/s', rounds=3),
    'even': Figure('speed', 'useful share of the time of four workers', '', rounds=3),
    'fan': Figure('graphs', 'fan-out and fan-in', 's', best='least'),
    'reduction': Figure('graphs', 'reduction by tasks of two arguments', 's', best='least',
                        rounds=2, limit=600, only=(
                            'worq', 'worq-threads', 'worq-memory', 'worq-memory-threads',
                            'dask', 'dask-threads')),
    'memory': Figure('cost', 'memory of Redis for a queued task', 'bytes', REDIS, 'least', 2),
    'traffic': Figure('cost', 'traffic of a task in its whole life', '', REDIS, 'least', 1,
                      proxied=True),
    'idle': Figure('cost', 'an idle pool', 'commands/s and MiB', REDIS, 'least', 1,
                   proxied=True),
    'cold': Figure('cost', 'cold start to first result', 's', best='least'),
    'server': Figure('server', 'processor time of the Redis server for a task', 'µs', REDIS,
                     'least', rounds=3, limit=300),
    'crowd': Figure('server', 'processor time of the Redis server, by number of pools', 'µs',
                    rounds=3, only=('worq',), limit=400),
    'naps': Figure('loops', 'useful share of two hundred places of an event loop', '',
                   only=LOOPS),
    'blocked': Figure('loops', 'a hundred tasks beside one that blocks its loop', '',
                      best='least', rounds=1, only=LOOPS, limit=400),
    'growth': Figure('growth', 'taking from long queues', '', only=('worq',), limit=600),
    'clients': Figure('growth', 'many waiting clients', 'tasks/s', rounds=3, only=('worq',)),
    'width': Figure('growth', 'wide fan-out and fan-in', '', only=('worq',), limit=600),
    'looks': Figure('looks', 'the longest step of each view, with a million tasks', 'ms',
                    best='least', rounds=1, only=('worq', 'worq-memory'), limit=900),
}

OURS = ('worq', 'worq-threads', 'worq-file', 'worq-file-threads', 'worq-file-full')

#: What is measured of queues in files, beside WorQ on Redis; see ``--files``.
FILES = {
    'file-enqueue': Figure('speed', 'enqueue, one call at a time', 'tasks/s',
                           only=('worq', 'worq-file', 'worq-file-full', 'huey-file')),
    'file-bulk': Figure('speed', 'enqueue in bulk', 'tasks/s', only=('worq', 'worq-file')),
    'file-drain': Figure('speed', 'drain, one worker process', 'tasks/s',
                         only=(*OURS, 'huey-file')),
    'file-append': Figure('files', 'the same of tasks that append a line to a file', 'tasks/s',
                          only=OURS),
    'file-round-trip': Figure('speed', 'round trip on an idle worker', 'ms', best='least',
                              only=('worq', 'worq-threads', 'worq-file', 'worq-file-threads',
                                    'huey-file')),
    'file-taken': Figure('files', 'from a call to its beginning in an idle pool', 'ms',
                         best='least', only=('worq', 'worq-file')),
    'file-bytes': Figure('files', 'a queued task in its file', 'bytes', best='least', rounds=2,
                         only=('worq-file', 'huey-file')),
    'file-rest': Figure('files', 'an idle pool', '% of a core', best='least', rounds=2,
                        only=('worq', 'worq-file', 'worq-file-threads')),
    'file-writers': Figure('files', 'two processes that write without a pause, sync=full', '',
                           only=('worq-file-full',)),
    'file-growth': Figure('growth', 'taking from long queues', '', only=('worq-file',), rounds=1,
                          limit=900),
    'file-looks': Figure('looks', 'the longest step of each view, with a million tasks', 'ms',
                         best='least', rounds=1, only=('worq-file',), limit=900),
    'file-steps': Figure('files', 'the longest transaction that writes', 'ms', rounds=1,
                         only=('worq-file',), limit=900),
}
FIGURES |= FILES


def applies(figure: str, name: str, kind: str) -> bool:
    """Whether a figure is measured of a peer of this kind."""
    entry = FIGURES[figure]
    return name in entry.only if entry.only else kind in entry.kinds


class Run:
    """What a figure's function works with.

    :param peer: the adapter (None for the limits).
    :param name: of the peer.
    :param url: of the Redis server.
    :param quick: measure little, to see that all works.
    :param proxy: through which the peer talks to the server, if its round trips are counted.
    """

    def __init__(self, peer: Any, name: str, url: str, quick: bool, proxy: Any = None) -> None:
        self.peer = peer
        self.name = name
        self.url = url
        self.quick = quick
        self.proxy = proxy
        self.random = random.Random(1)

    def count(self, number: float, quick: int) -> int:
        """How many of something: `number`, or the smaller one if it has to be quick."""
        return min(quick, int(number)) if self.quick else int(number)

    def no_ops(self, seconds: float, quick: int) -> list[tuple[int]]:
        """Calls of no-ops for about so many seconds of the peer's time."""
        return [(n,) for n in range(max(self.count(self.peer.pace * seconds, quick), 10))]


def measure(figure: str, run: Run) -> dict[str, float]:
    """Measure one figure of one peer."""
    module = import_module(f'bench.figures.{FIGURES[figure].module}')
    name = figure.removeprefix('file-').replace('-', '_')
    function: Callable[[Run], dict[str, float]] = getattr(module, name)
    return function(run)


def percentile(values: list[float], share: float) -> float:
    """The value below which so large a share of them lies (the nearest one)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
