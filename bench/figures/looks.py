"""What it takes a queue to be looked at: the longest step of each view, with a million tasks."""
from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import wraps
from itertools import count
from statistics import median
import time
from typing import Any, Iterator

import worq
from worq import const
from worq.tally import BOUNDS

from bench.figures import Run
from bench.figures.cost import connect
from bench.figures.server import spent

FILL = 50_000     # calls that are made before their Deferreds are dropped
TIMES = 5         # each view is looked at, of which the median counts: others use the machine, too
FAN = 1_000       # arguments of one task, and tasks that wait for one
NAMES = [f'mail.send{n}' for n in range(const.TALLIED)]
VERBS = ['scan', 'family', 'inspect', 'message', 'results', 'pools', 'totals', 'minutes', 'tally',
         'notes']
FULL = ' '.join([*(f'{key}:999999' for key in 'vfrdtu'),
                 *(f'{letter}{n}:9999' for letter in 'ab' for n in range(len(BOUNDS) + 1)),
                 *(f'e{n}=1000,{"x" * 30}' for n in range(len(BOUNDS) + 1))])


def looks(run: Run) -> dict[str, float]:
    """Milliseconds of the longest step of each view, and of the fullest tally: on Redis of a
    script, else of a verb, which in memory holds up all others, and in a file nobody but who looks;
    both by the time of the processor."""
    broker, backend = run.peer.broker, run.peer.broker.backend
    backend.join('bench', {'tasks': '\n'.join(NAMES)})
    missing = run.count(1_000_000, 2_000)
    while missing > 0:
        run.peer.put_bulk('now', [(n,) for n in range(min(missing, FILL))])
        missing -= FILL
    queue = run.peer.queue
    parts = worq.map(queue.echo, range(run.count(FAN, 50)))
    whole = queue.total(parts)
    after = worq.map(queue.echo, [parts[0]] * run.count(FAN, 50))
    for number, start in enumerate(range(0, len(NAMES), const.TELLS), 1):
        backend.tally('bench', number, dict.fromkeys(NAMES[start:start + const.TELLS], FULL))
    view = broker.view()

    def every_state(**options: Any) -> None:
        for state in const.STATES[:-1]:
            for newest in True, False:
                view.tasks(state, newest=newest, **options)

    numbers = count(1_000)

    def fullest() -> None:
        backend.tally('bench', next(numbers), dict.fromkeys(NAMES[:const.TELLS], FULL))
    views: dict[str, Callable[[], Any]] = {
        'overview': view.overview, 'pools': view.pools, 'eight hours': lambda: view.minutes(8),
        'a page of tasks': every_state, 'tasks of a name that none has':
        lambda: every_state(name='none.such'), 'failed': view.failed,
        'a task': lambda: view.task(parts[-1].id), 'explain': lambda: view.explain(parts[-1].id),
        'a task of a thousand arguments': lambda: view.task(whole.id),
        'the graph of a thousand arguments': lambda: view.graph(whole.id),
        'the graph of a thousand that wait': lambda: view.graph(parts[0].id),
        'the graph of one of these': lambda: view.graph(after[-1].id), 'the fullest tally': fullest}
    with (by_redis if run.name == 'worq' else by_verbs)(run) as steps:
        values: dict[str, float] = {}
        for what, look in views.items():
            longest = []
            for _ in range(TIMES):
                look()
                longest.append(max(steps()))
            values[what] = median(longest)
    return values


@contextmanager
def by_redis(run: Run) -> Iterator[Callable[[], list[float]]]:
    """Tells the ms of the scripts since it was asked before; a little more, for they are asked for
    before and after each."""
    backend = run.peer.broker.backend
    script = backend._run
    took: list[float] = []
    with connect(run.url) as client:
        def call(*args: Any, **kw: Any) -> Any:
            begin = spent(client)
            try:
                return script(*args, **kw)
            finally:
                took.append((spent(client) - begin) / 1e3)

        def steps() -> list[float]:
            found, took[:] = took.copy(), []
            return found
        backend._run = call
        yield steps
        del backend._run


@contextmanager
def by_verbs(run: Run) -> Iterator[Callable[[], list[float]]]:
    """The same of verbs of a queue in this process, by the time of its processor."""
    backend = run.peer.broker.backend
    took: list[float] = []

    def timed(verb: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(verb)
        def call(*args: Any, **kw: Any) -> Any:
            begin = time.thread_time()
            try:
                return verb(*args, **kw)
            finally:
                took.append(1e3 * (time.thread_time() - begin))
        return call

    def steps() -> list[float]:
        found, took[:] = took.copy(), []
        return found
    for name in VERBS:
        setattr(backend, name, timed(getattr(backend, name)))
    yield steps
    for name in VERBS:
        delattr(backend, name)
