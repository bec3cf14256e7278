"""Counts what a test may leave behind: threads, child processes, descriptors, Redis keys.

In a test case::

    def setUp(self):
        leaks.watch(self)

What is there more after the test than was before fails it, once it has had some time to
go away by itself. Call ``watch`` first: clean-ups run in reverse order, so that it looks when
the test's other clean-ups have run.
"""
from __future__ import annotations

import os
from pathlib import Path
import threading
import time
from typing import Callable
import unittest

import redis

from worq.queue.redis.audit import KEPT

SETTLE = 30  # seconds that something may take to end


def threads() -> set[str]:
    """The threads of this process, by name and identity."""
    return {f'{thread.name} ({thread.ident})' for thread in threading.enumerate()}


def children() -> set[str]:
    """The child processes of this process that have not been reaped; Linux only."""
    found = set()
    for path in Path('/proc/self/task').glob('*/children'):
        try:
            found.update(path.read_text().split())
        except OSError:
            pass  # the thread has just ended
    return found


def descriptors() -> set[str]:
    """The open file descriptors, and what each is open on; Linux only."""
    found = set()
    for name in _listdir('/proc/self/fd'):
        try:
            found.add(f'{name} -> {os.readlink(f"/proc/self/fd/{name}")}')
        except OSError:
            pass  # the one that was listing
    return found


def keys(url: str, queue: str | None = None) -> Callable[[], set[str]]:
    """A counter of the Redis keys of a queue (or all) that would never expire.

    The ones that a queue keeps for ever, see the key table in the documentation, do
    not count.
    """
    prefix = f'worq:{{{queue}}}:' if queue else ''
    def count() -> set[str]:
        with redis.Redis.from_url(url) as client:
            names = [name.decode() for name in client.scan_iter(match='*', count=1000)]
            return {name for name in names
                    if name.startswith(prefix)
                    and name.partition('}:')[2].partition(':')[0] not in KEPT
                    and client.ttl(name) == -1}
    return count


def watch(case: unittest.TestCase,
          *counters: Callable[[], set[str]], settle: float = SETTLE) -> None:
    """Fail `case` if, after it, any counter counts what it did not count before.

    :param counters: functions that return a set of texts; by default `threads`, `children`
        and `descriptors`.
    :param settle: seconds to wait for what is ending by itself.
    """
    counters = counters or (threads, children, descriptors)
    before = [counter() for counter in counters]

    def check() -> None:
        deadline = time.monotonic() + settle
        while True:
            left = {counter.__name__: sorted(counter() - known)
                    for counter, known in zip(counters, before)}
            left = {name: more for name, more in left.items() if more}
            if not left:
                return
            if time.monotonic() > deadline:
                raise AssertionError(f'left behind: {left}')
            time.sleep(0.01)
    case.addCleanup(check)


def _listdir(path: str) -> list[str]:
    try:
        return os.listdir(path)
    except FileNotFoundError:
        return []
