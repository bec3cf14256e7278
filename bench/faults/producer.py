"""Puts tasks, and waits for each of them, as a program of its own: ``producer.py '{JSON}'``.

Some of the tasks stand alone, the others are graphs: chains, fan-ins and diamonds. It
journals what was acknowledged and what it was told.
"""
from __future__ import annotations

import asyncio
import json
import logging
import random
import sys
import threading
import time
from typing import Any, Iterator, NamedTuple

from bench.faults import journal, tasks
from worq import Deferred, QueueError, Task, TaskFailure, get_broker

RETRY = 0.25     # seconds between two tries of a waiter that was told the queue is away


class Node(NamedTuple):
    """A task to be: its number, its seconds and the numbers of its arguments."""

    number: int
    seconds: float
    arguments: tuple[int, ...]


def plan(rand: random.Random, count: int, shortest: float, longest: float,
         graphs: float) -> Iterator[list[Node]]:
    """Tasks in groups that belong together, `count` in all.

    :param graphs: the share of groups that are graphs.
    """
    number = 0
    while number < count:
        edges: list[tuple[int, ...]] = [()]
        if rand.random() < graphs:
            edges = rand.choice([
                [(), (0,), (1,)],                                # a chain
                [(), (), (), (), (0, 1, 2, 3)],                  # a fan-in
                [(), (0,), (0,), (0,), (1, 2, 3)],               # a diamond
                [(), (), (0, 1), (0, 1, 2), (2, 3), (4, 0)],     # many readers of one result
            ])
        edges = edges[:count - number]
        yield [Node(number + index, rand.uniform(shortest, longest),
                    tuple(number + source for source in sources))
               for index, sources in enumerate(edges)]
        number += len(edges)


class Waiter:
    """Waits for Deferreds in an event loop of a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._futures: list[tuple[str, Any]] = []

    def add(self, key: str, deferred: Deferred) -> None:
        """Wait for one more."""
        future = asyncio.run_coroutine_threadsafe(self._wait(key, deferred), self._loop)
        self._futures.append((key, future))

    async def _wait(self, key: str, deferred: Deferred) -> None:
        while True:
            try:
                value = await deferred
            except TaskFailure as failure:
                tasks.write(journal.FAILED, key, f'{type(failure).__name__}: {failure}')
            except QueueError:
                await asyncio.sleep(RETRY)
                continue
            else:
                tasks.write(journal.RESULT, key, value['run'])
            return

    def finish(self, patience: float) -> None:
        """Give them `patience` seconds; journal those of which nothing was heard."""
        limit = time.monotonic() + patience
        for key, future in self._futures:
            try:
                future.result(max(0.0, limit - time.monotonic()))
            except TimeoutError:
                tasks.write(journal.NOTHING, key)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _end(self) -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


def main(url: str, name: str, seed: int, count: int, over: float, prefix: str = 'n',
         shortest: float = 0.001, longest: float = 0.02, graphs: float = 0.3,
         options: dict[str, Any] | None = None, busy: bool = False,
         patience: float = 60) -> None:
    """Put `count` tasks within `over` seconds; end when all of them are done.

    :param options: of each `worq.Task`.
    :param patience: seconds after the last put until it stops waiting.
    """
    rand = random.Random(seed)
    broker = get_broker(url, name)
    q = broker.queue()
    waiter = Waiter()
    made: dict[int, Deferred] = {}
    begin = time.monotonic()
    for group in plan(rand, count, shortest, longest, graphs):
        for node in group:
            due = begin + over * node.number / count
            time.sleep(max(0.0, due - time.monotonic()))
            put(q, waiter, made, node, prefix, options or {}, busy)
    waiter.finish(patience)
    broker.close()


def put(q: Any, waiter: Waiter, made: dict[int, Deferred], node: Node, prefix: str,
        options: dict[str, Any], busy: bool) -> None:
    """Put one task, unless one of its arguments could not be put."""
    key = f'{prefix}{node.number}'
    sources = ' '.join(f'{prefix}{number}' for number in node.arguments)
    try:
        arguments = [made[number] for number in node.arguments]
    except KeyError:
        return
    tasks.write(journal.TRY, key, sources)
    try:
        deferred = Task(q.work, id=key, **options)(key, node.seconds, arguments, busy)
    except (QueueError, TaskFailure) as error:
        tasks.write(journal.UNSURE, key, f'{type(error).__name__}: {error}')
        return
    tasks.write(journal.PUT, key, sources)
    made[node.number] = deferred
    waiter.add(key, deferred)


if __name__ == '__main__':
    logging.basicConfig(format='%(asctime)s %(process)d %(levelname)s %(message)s',
                        level=logging.INFO)
    main(**json.loads(sys.argv[1]))
