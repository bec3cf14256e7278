"""The queue in this process's memory: nothing to install, and the same answers as Redis.

It obeys `worq.queue.base` to the last word, which one suite and one model hold it to. Where
Redis works in bounded steps it does the same work at once, but never recursively: a step is
cheap here, and nobody else waits for this process.
"""
from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
import os
import threading
import time
from typing import Any, ClassVar

from worq import const
from worq.const import COMPLETED
from worq.current import shield_here
from worq.errors import QueueError
from worq.latch import Latch
from worq.queue import base
from worq.queue.base import (
    Argument, Delivery, Held, Inspection, Lost, Message, Outcome, Refusal, Turn,
)
from worq.queue.bell import Bell, Bells
from worq.queue.checks import check_edges, check_held, check_limit, check_messages, check_outcomes
from worq.queue.store import Store
from worq.queue.view import audit, inspect

__all__ = ['TaskQueue']

#: In a child of a pool: makes what stands there for a queue in the memory of the pool's process.
elsewhere: Callable[[str, str], base.TaskQueue] | None = None

PAUSE = 2.0   # seconds that a take sleeps at most: others' leases run out meanwhile


def monotonic() -> int:
    """The clock, in ms. Nothing here outlives the process, so it need not tell the date."""
    return time.monotonic_ns() // 1_000_000


class Inbox:
    """What became of the tasks that a client watches, until it waits for the news."""

    def __init__(self) -> None:
        self.changed = Latch()   # set while somebody waits, under the queue's lock
        self.news: list[tuple[str, bytes | None]] = []
        self.rung = False
        self.waiting = False
        self.used = 0    # ms, when the client was last here


class Whole:
    """A lock under which no task is interrupted: half of a change would be everybody's end.

    (It cannot be `unbroken` and a lock: a `Condition` lets go of the lock and takes it again.)
    """

    def __init__(self, lock: threading.Lock) -> None:
        self.lock = lock

    def __enter__(self) -> None:
        shield = shield_here()
        if shield is not None:
            shield.raise_it(None)
        self.lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self.lock.release()
        shield = shield_here()
        if shield is not None:
            shield.lower_it()


class TaskQueue(base.TaskQueue):
    """A queue in memory: one lock around a `Store`, and those who wait.

    :param clock: tells ms; tests move it.
    """

    _opened: ClassVar[dict[tuple[str, str], TaskQueue]] = {}
    _opening: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, url: str, name: str = const.DEFAULT,
                 clock: Callable[[], int] = monotonic) -> None:
        super().__init__(url, name)
        self.clock = clock
        self._forked = False
        self._set_up()

    def _set_up(self) -> None:
        lock = threading.Lock()
        self._lock = Whole(lock)
        self._store = Store(self._tell)
        self._changed = threading.Condition(lock)
        self._takers = 0
        self._bells = Bells(self._next_due)
        self._inboxes: OrderedDict[str, Inbox] = OrderedDict()   # the longest unused first

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> base.TaskQueue:
        """The queue of this url and name in this process, always the same."""
        if options:
            raise TypeError(f'a queue in memory has no option {min(options)!r}')
        if elsewhere is not None:
            return elsewhere(url, name)
        key = url, name
        with cls._opening:
            if key not in cls._opened:
                cls._opened[key] = cls(url, name)
            return cls._opened[key]

    @classmethod
    def after_fork(cls) -> None:
        """A child begins with nothing: the queues are its parent's.

        The copies that it has cannot reach their pools, and may be locked for ever.
        """
        for queue in cls._opened.values():
            queue._set_up()
            queue._forked = True
        cls._opened = {}
        cls._opening = threading.Lock()

    def _end(self) -> None:
        self._store.end()
        self._wake()

    def _defer(self) -> None:
        self._store.defer()
        self._wake()

    def _wake(self) -> None:
        """Something may be ready: wake as many as may get some.

        What was scheduled wakes them too, for they sleep until what was due first before.
        """
        store = self._store
        if store.woken:
            if self._takers:
                self._changed.notify(store.woken)
            self._bells.ring()

    # -- producers ------------------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str = '') -> list[Refusal]:
        if self._forked:
            raise QueueError('this process was forked; the memory queue lives in its parent')
        check_messages(messages, gate)
        with self._lock:
            self._store.begin(self.clock())
            refusals = self._store.put(messages, gate)
            self._defer()
        return refusals

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        check_edges(id, start, arguments)
        with self._lock:
            self._store.begin(self.clock())
            refusals = self._store.edges(gate, id, nonce, start, arguments)
            self._defer()
        return refusals

    def cancel(self, ids: Sequence[str]) -> list[str]:
        with self._lock:
            self._store.begin(self.clock())
            words = [self._store.cancel(id) for id in ids]
            self._end()
        return words

    def purge(self) -> int:
        with self._lock:
            self._store.begin(self.clock())
            n = self._store.purge()
            self._end()
        return n

    # -- readers --------------------------------------------------------------

    def status(self, ids: Sequence[str]) -> list[str | None]:
        with self._lock:
            self._store.begin(self.clock())
            states = [life.state if life else None for life in map(self._store.find, ids)]
            self._defer()
        return states

    def inspect(self, ids: Sequence[str]) -> list[Inspection | None]:
        with self._lock:
            store = self._store
            store.begin(self.clock())
            seen = [inspect(store, life) if life else None for life in map(store.find, ids)]
            self._defer()
        return seen

    def results(self, ids: Sequence[str]) -> list[bytes | None]:
        with self._lock:
            self._store.begin(self.clock())
            records = [life.record() if life else None for life in map(self._store.find, ids)]
            self._defer()
        return records

    def watch(self, client: str, ids: Sequence[str]) -> list[tuple[str, bytes | None]]:
        ended: list[tuple[str, bytes | None]] = []
        with self._lock:
            self._store.begin(self.clock())
            self._inbox(client)
            for id in ids:
                life = self._store.find(id)
                if life is None or life.state == COMPLETED:
                    ended.append((id, life.news() if life else None))
                elif life.watchers is None:
                    life.watchers = {client}
                else:
                    life.watchers.add(client)
            self._defer()
        return ended

    def wait(self, client: str, timeout: float) -> list[tuple[str, bytes | None]]:
        with self._lock:
            self._store.begin(self.clock())
            inbox = self._inbox(client)
            if not inbox.news and not inbox.rung and timeout > 0:
                self._wait_at(inbox, timeout)
            inbox.rung = False
            news, inbox.news = inbox.news, []
        return news

    def _wait_at(self, inbox: Inbox, timeout: float) -> None:
        """Wait as a Condition does, without the lock. (It was a good part of a round trip.)"""
        end = time.monotonic() + timeout
        lock = self._lock.lock
        inbox.waiting = True
        inbox.changed.clear()
        try:
            while timeout > 0 and not inbox.news and not inbox.rung:
                lock.release()
                try:
                    inbox.changed.wait(timeout)
                finally:
                    lock.acquire()
                timeout = end - time.monotonic()
        finally:
            inbox.waiting = False

    def ring(self, client: str) -> None:
        with self._lock:
            self._store.begin(self.clock())
            inbox = self._inbox(client)
            inbox.rung = True
            inbox.changed.set()

    def _inbox(self, client: str) -> Inbox:
        """The client's inbox, which is in use. One that no client comes for ends meanwhile."""
        inboxes, now = self._inboxes, self._store.now
        inbox = inboxes.get(client)
        if inbox is None:
            inbox = inboxes[client] = Inbox()
        inbox.used = now
        if len(inboxes) > 1:
            inboxes.move_to_end(client)
            oldest = next(iter(inboxes))
            if inboxes[oldest].waiting:
                inboxes.move_to_end(oldest)
            elif inboxes[oldest].used < now - const.INBOX_TTL * 1_000:
                del inboxes[oldest]
        return inbox

    def _tell(self, client: str, id: str, news: bytes | None) -> None:
        inbox = self._inboxes.get(client)
        if inbox is not None:
            inbox.news.append((id, news))
            if inbox.waiting:
                inbox.changed.set()

    def forget(self, ids: Sequence[str]) -> list[str]:
        with self._lock:
            self._store.begin(self.clock())
            words = [self._store.forget(id) for id in ids]
            self._defer()
        return words

    # -- pools ----------------------------------------------------------------

    def join(self, pool: str, info: Mapping[str, str]) -> None:
        with self._lock:
            self._store.pools[pool] = dict(info), self.clock()

    def leave(self, pool: str) -> None:
        with self._lock:
            self._store.pools.pop(pool, None)

    def pools(self) -> dict[str, dict[str, str]]:
        with self._lock:
            now, pools = self.clock(), self._store.pools
            for pool, (_, seen) in list(pools.items()):
                if now - seen >= const.POOL_TTL * 1_000:
                    del pools[pool]
            return {pool: {**info, 'seen': str(now - seen)}
                    for pool, (info, seen) in pools.items()}

    def take(self, pool: str, limit: int, timeout: float = 0,
             lease: int = const.LEASE) -> list[Delivery]:
        check_limit(limit)
        end = time.monotonic() + timeout
        with self._lock:
            while True:
                self._store.begin(self.clock())
                self._store.tick()
                taken = self._store.take(pool, limit, lease)
                self._end()
                if not taken and any(self._store.lanes):
                    continue   # what it found had expired, and something has followed from that
                left = end - time.monotonic()
                if taken or left <= 0:
                    return taken
                soon = self._next_tick()
                self._takers += 1
                try:
                    self._changed.wait(min(left, PAUSE, soon or PAUSE))
                finally:
                    self._takers -= 1

    def _next_tick(self) -> float | None:
        """In how many seconds something may come due."""
        at = self._store.next_tick()
        return None if at is None else max(at - self.clock(), 1) / 1_000

    def _next_due(self) -> float | None:
        with self._lock:
            return self._next_tick()

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        held = check_held(held)
        with self._lock:
            self._store.begin(self.clock())
            # Renewed first: a pool's own late beat loses it nothing.
            lost = self._store.beat(pool, held, lease)
            self._store.tick()
            self._end()
        return lost

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        check_outcomes(outcomes)
        if not outcomes:
            return []   # and no leftover work is done, as Redis is not even asked
        with self._lock:
            self._store.begin(self.clock())
            words = [self._store.settle(pool, outcome) for outcome in outcomes]
            self._end()
        return words

    def turn(self, pool: str, outcomes: Sequence[Outcome] = (),
             held: Iterable[Held] = (), limit: int = 0,
             lease: int = const.LEASE) -> Turn:
        check_outcomes(outcomes)
        held = check_held(held)
        with self._lock:
            store = self._store
            store.begin(self.clock())
            words = [store.settle(pool, outcome) for outcome in outcomes]
            lost = store.beat(pool, held, lease) if held else []
            store.tick()
            taken = store.take(pool, limit, lease) if limit > 0 else []
            self._end()
        return Turn(words, lost, taken)

    def reconcile(self, pool: str, known: Iterable[bytes]) -> int:
        with self._lock:
            self._store.begin(self.clock())
            n = self._store.reconcile(pool, set(known))
            self._end()
        return n

    def abandon(self, pool: str, cause: str) -> int:
        with self._lock:
            self._store.begin(self.clock())
            n = self._store.abandon(pool, cause)
            self._end()
        return n

    def bell(self, pool: str) -> Bell:
        return self._bells.bell()

    # -- keepers --------------------------------------------------------------

    def size(self) -> int:
        with self._lock:
            return len(self._store.lives) - self._store.completed

    def stats(self) -> dict[str, int]:
        with self._lock:
            sizes = {state: n for state, n in self._store.counts.items() if state != COMPLETED}
            return {**sizes, **self._store.counters}

    def audit(self, repair: bool = False) -> list[str]:
        with self._lock:
            self._store.begin(self.clock())
            return audit(self._store)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=TaskQueue.after_fork)
