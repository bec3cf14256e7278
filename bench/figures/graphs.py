"""Tasks that depend on tasks, with two worker processes."""
from __future__ import annotations

import time

from bench.figures import NotApplicable, Run


def fan(run: Run) -> dict[str, float]:
    """A thousand calls, and one that gets all their results."""
    run.peer.start(2)
    number = run.count(1000, 50)
    begin = time.perf_counter()
    result = run.peer.fan_in(number)
    elapsed = time.perf_counter() - begin
    if result != sum(range(number)):
        raise RuntimeError(f'the sum of 0 .. {number - 1} came out as {result}')
    return {'seconds': elapsed}


def reduction(run: Run) -> dict[str, float]:
    """The sum of ten thousand leaves by a balanced tree, each of its steps a task that gets
    the futures of two others."""
    if not run.peer.graphs:
        raise NotApplicable('its futures are no arguments')
    run.peer.start(2)
    number = run.count(10_000, 200)
    begin = time.perf_counter()
    result = run.peer.reduction(number, 600)
    elapsed = time.perf_counter() - begin
    if result != sum(range(number)):
        raise RuntimeError(f'the sum of 0 .. {number - 1} came out as {result}')
    return {'seconds': elapsed}
