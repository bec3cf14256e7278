"""The queue in this process's memory: nothing to install, and the same answers as Redis.

It obeys `worq.queue.base` to the last word, which one suite and one model hold it to. Where
Redis works in bounded steps it does the same work at once, but never recursively: a step is
cheap here, and nobody else waits for this process.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import wraps
import os
import time
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar

from worq import const
from worq.const import COMPLETED
from worq.errors import QueueError
from worq.latch import Latch
from worq.lock import Lock, look_within
from worq.queue import base
from worq.queue.base import (
    Argument, Content, Delivery, Held, Inspection, Lost, Message, Minute, Node, Note, Outcome,
    Recent, Refusal, Revival, Row, Totals, Turn,
)
from worq.queue.validation import (
    check_contents, check_edges, check_held, check_limit, check_messages, check_minutes, check_note,
    check_outcomes, check_page, check_revivals, check_scan, check_tally, check_wait,
    check_withdrawn,
)
from worq.queue.machine.book import enter, minutes
from worq.queue.machine.recovery import redo
from worq.queue.machine.scanning import Scans
from worq.queue.machine.store import Store
from worq.queue.machine.family import family
from worq.queue.machine.inspection import audit, contents, inspect, status
from worq.queue.memory.bell import Bell, Bells
from worq.queue.memory.inbox import Inboxes
from worq.shield import running, shield_here
from worq.tally import with_ends

__all__ = ['TaskQueue']

#: In a child of a pool: makes what stands there for a queue in the memory of the pool's process.
elsewhere: Callable[[str, str], base.TaskQueue] | None = None

PAUSE = 2.0   # seconds that a take sleeps at most: others' leases run out meanwhile

#: What the clock of the machine was ahead of that which is never set, in ms, at the beginning.
AHEAD = (time.time_ns() - time.monotonic_ns()) // 1_000_000


def monotonic() -> int:
    """The clock, in ms since the epoch. Nothing here outlives the process, so it need not follow
    when the clock of the machine is set."""
    return time.monotonic_ns() // 1_000_000 + AHEAD


P = ParamSpec('P')
T = TypeVar('T')


def whole(verb: Callable[Concatenate[TaskQueue, P], T]) -> Callable[Concatenate[TaskQueue, P], T]:
    """Do a verb of a queue under its lock, and as a whole, whatever interrupts it.

    A task is not interrupted in it. In the main thread a signal handler can raise anywhere: then
    what was begun is set right before the lock is given to others (see `redo`), or by the
    first of these if that is interrupted too.
    """
    @wraps(verb)
    def call(self: TaskQueue, /, *args: P.args, **kw: P.kwargs) -> T:
        lock, store = self._lock, self._store
        if lock._is_owned():
            look_within(lock, __file__, self)
        shield = None if running.get(None) is None else shield_here()   # most often there is none
        if shield is not None:
            shield.raise_it(None)
        try:
            with lock:
                if store.unsure:
                    self._redo()
                result = verb(self, *args, **kw)
                store.unsure = False
            return result
        except BaseException:
            while lock._is_owned():   # by the end of the `with`, if a debugger has raised in it
                lock.release()
            if store.unsure:
                with lock:
                    self._redo()
            raise
        finally:
            if shield is not None:
                shield.lower_it()
    return call


class TaskQueue(base.TaskQueue):
    """A queue in memory: one lock around a `Store`, and those who wait.

    :param clock: tells ms; tests move it.
    """

    _opened: ClassVar[dict[tuple[str, str], TaskQueue]] = {}

    def __init__(self, url: str, name: str = const.DEFAULT,
                 clock: Callable[[], int] = monotonic) -> None:
        super().__init__(url, name)
        self.clock = clock
        self._forked = False
        self._joined = False    # a pool has, ever
        self._set_up()

    def _set_up(self) -> None:
        self._lock = Lock()
        self._store = Store(self._tell)
        self._scans = Scans(self._store)
        self._takers: list[Latch] = []   # of those who wait for something to take
        self._bells = Bells(self._lock, self._next_tick)
        self._inboxes = Inboxes()

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> base.TaskQueue:
        """The queue of this url and name in this process, always the same."""
        if options:
            raise TypeError(f'a queue in memory has no option {min(options)!r}')
        if elsewhere is not None:
            return elsewhere(url, name)
        key = url, name
        found = cls._opened.get(key)
        # In one step: who waited here for a lock might be a signal handler.
        return cls._opened.setdefault(key, cls(url, name)) if found is None else found

    @classmethod
    def after_fork(cls) -> None:
        """A child begins with nothing: the queues are its parent's.

        The copies that it has cannot reach their pools, and may be locked for ever.
        """
        for queue in cls._opened.values():
            queue._set_up()
            queue._forked = True
        cls._opened = {}

    def _end(self) -> None:
        self._store.end()
        self._wake()

    def _defer(self) -> None:
        self._store.defer()
        self._wake()

    def _each(self, verb: Callable[[Any], T], those: Iterable[Any],
              changes: bool = True) -> list[T]:
        """Do something to each of some tasks; whether that changes them."""
        self._store.begin(self.clock())
        answers = [verb(one) for one in those]
        (self._end if changes else self._defer)()
        return answers

    def _wake(self) -> None:
        """Something may be ready: wake as many as may get some.

        What was scheduled wakes them too, for they sleep until what was due first before.
        """
        if self._store.woken:
            if self._takers:
                for taker in self._takers:
                    taker.set()
                self._takers.clear()
            self._bells.ring()

    def _redo(self) -> None:
        """A verb was interrupted half-way: have the store as it should be, and all look at it."""
        redo(self._store)
        self._end()
        self._inboxes.look()
        self._store.unsure = False

    # -- producers ------------------------------------------------------------

    @whole
    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        if self._forked:
            raise QueueError('this process was forked; the memory queue lives in its parent')
        check_messages(messages, gate, note)
        self._store.begin(self.clock(), len(messages))
        if client:
            self._inboxes.of(client, self._store.now)
        refusals = self._store.put(messages, gate, client, note)
        self._defer()
        return refusals

    @whole
    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        check_edges(id, start, arguments)
        self._store.begin(self.clock())
        refusals = self._store.edges(gate, id, nonce, start, arguments)
        self._defer()
        return refusals

    @whole
    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        return self._each(lambda id: self._store.cancel(id, client), ids)

    @whole
    def withdraw(self, ids: Sequence[str], reason: str) -> list[str]:
        check_withdrawn(reason)
        return self._each(lambda id: self._store.withdraw(id, reason), ids)

    @whole
    def purge(self) -> int:
        self._store.begin(self.clock())
        n = self._store.purge()
        self._end()
        return n

    @whole
    def revive(self, failures: Sequence[Revival], downstream: bool = False) -> list[str]:
        check_revivals(failures)
        return self._each(lambda one: self._store.revive(one, downstream), failures)

    # -- readers --------------------------------------------------------------

    @whole
    def status(self, ids: Sequence[str]) -> list[str | None]:
        return self._each(lambda life: status(life) if life else None,
                          map(self._store.find, ids), False)

    @whole
    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        store = self._store
        return self._each(lambda life: inspect(store, life, start) if life else None,
                          map(store.find, ids), False)

    @whole
    def message(self, ids: Sequence[str], start: int = 0, argument: int = 0,
                ) -> list[Content | None]:
        check_contents(ids, start, argument)
        self._store.begin(self.clock())
        found = contents(self._store, map(self._store.find, ids), start, argument)
        self._defer()
        return found

    @whole
    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        check_scan(state, names, cursor, count)
        self._store.begin(self.clock())
        return self._scans.page(state, names, newest, cursor, count)

    @whole
    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100,
               also: Sequence[str] = ()) -> list[Node]:
        self._store.begin(self.clock())
        found = family(self._store, id, up, down, limit, also)
        self._defer()
        return found

    @whole
    def results(self, ids: Sequence[str], whole: bool = True) -> list[bytes | None]:
        return self._each(lambda life: life.record() if life else None,
                          map(self._store.find, ids), False)

    @whole
    def watch(self, client: str, ids: Sequence[str]) -> list[tuple[str, bytes | None]]:
        ended: list[tuple[str, bytes | None]] = []
        self._store.begin(self.clock())
        self._inboxes.of(client, self._store.now)
        for id in ids:
            life = self._store.find(id)
            if life is None or life.state == COMPLETED:
                ended.append((id, life.news() if life else None))
                if life is not None:
                    self._store.want(life)
            else:
                life.watch(client)
        self._defer()
        return ended

    def wait(self, client: str, timeout: float) -> list[tuple[str, bytes | None]]:
        check_wait(timeout)
        end = time.monotonic() + timeout
        while True:
            news, changed = self._collect(client, timeout)
            if changed is None:
                return news
            changed.wait(timeout)   # as a Condition does, without the lock
            timeout = end - time.monotonic()

    @whole
    def _collect(self, client: str,
                 timeout: float) -> tuple[list[tuple[str, bytes | None]], Latch | None]:
        """The news of a client; or there is none, and what is set when there is."""
        inbox = self._inboxes.of(client, self.clock())
        if not inbox.news and not inbox.rung and timeout > 0:
            inbox.waiting = True
            inbox.changed.clear()
            return [], inbox.changed
        inbox.waiting = inbox.rung = False
        news, inbox.news = inbox.news, []
        return news, None

    @whole
    def ring(self, client: str) -> None:
        inbox = self._inboxes.of(client, self.clock())
        inbox.rung = True
        inbox.changed.set()

    def _tell(self, client: str, id: str, news: bytes | None) -> None:
        self._inboxes.tell(client, id, news)

    @whole
    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._each(self._store.forget, ids, False)

    # -- registers ------------------------------------------------------------

    @whole
    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        check_note(name, value, if_was)
        self._store.begin(self.clock())
        held = self._store.note(name, value, if_was)
        self._defer()
        return held

    @whole
    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        check_page(prefix, after, limit)
        return self._store.registers.page(prefix, after, limit)

    # -- pools ----------------------------------------------------------------

    @whole
    def join(self, pool: str, info: Mapping[str, str]) -> None:
        self._store.begin(self.clock())
        self._store.join(pool, dict(info))
        self._defer()
        self._joined = True

    @whole
    def tell(self, pool: str, info: Mapping[str, str]) -> bool:
        self._store.begin(self.clock())
        known = self._store.tell(pool, info)
        self._defer()
        return known

    @whole
    def leave(self, pool: str) -> None:
        self._store.begin(self.clock())
        self._store.leave(pool)
        self._defer()

    @whole
    def pools(self, beside: str = '') -> dict[str, dict[str, str]]:
        self._store.begin(self.clock())
        now, pools = self._store.now, self._store.pools
        for pool, (_, seen) in list(pools.items()):
            if now - seen >= const.POOL_TTL * 1_000:
                del pools[pool]
        found = self._store.beside(beside, now) if beside else \
            {pool: info for pool, (info, _) in pools.items()}
        return {pool: {**info, 'seen': str(now - pools[pool][1])}
                for pool, info in found.items()}

    def take(self, pool: str, limit: int, timeout: float = 0,
             lease: int = const.LEASE) -> list[Delivery]:
        check_limit(limit, timeout, lease)
        end = time.monotonic() + timeout
        changed = Latch()
        while True:
            taken, pause = self._try(pool, limit, lease, end, changed)
            if pause is None:
                return taken
            changed.wait(pause)

    @whole
    def _try(self, pool: str, limit: int, lease: int, end: float,
             changed: Latch) -> tuple[list[Delivery], float | None]:
        """What there is to take; or there is nothing, and for how long to wait for a latch."""
        store, takers = self._store, self._takers
        while True:
            store.begin(self.clock())
            store.tick()
            taken = store.take(pool, limit, lease)
            self._end()
            # else what it found had expired, and something has followed from that
            if taken or not store.offers:
                break
        left = end - time.monotonic()
        if taken or left <= 0:
            if changed in takers:
                takers.remove(changed)
            return taken, None
        changed.clear()
        if changed not in takers:
            takers.append(changed)
        return taken, min(left, PAUSE, self._next_tick() or PAUSE)

    def _next_tick(self) -> float | None:
        """In how many seconds something may come due, or is to be done."""
        if self._store.lags or self._store.left_over:
            return 0.001
        at = self._store.next_tick()
        return None if at is None else max(at - self._store.date(self.clock()), 1) / 1_000

    @whole
    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        held = check_held(held, lease)
        self._store.begin(self.clock())
        # Renewed first: a pool's own late beat loses it nothing.
        lost = self._store.beat(pool, held, lease)
        self._store.tick()
        self._end()
        return lost

    @whole
    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        check_outcomes(outcomes)
        if not outcomes:
            return []   # and no leftover work is done, as Redis is not even asked
        self._store.begin(self.clock())
        words = self._store.settle(pool, outcomes)
        self._end()
        return words

    @whole
    def turn(self, pool: str, outcomes: Sequence[Outcome] = (),
             held: Iterable[Held] | None = None, limit: int = 0,
             lease: int = const.LEASE) -> Turn:
        check_outcomes(outcomes)
        held = None if held is None else check_held(held, lease)
        store = self._store
        store.begin(self.clock())
        words = store.settle(pool, outcomes)
        lost = [] if held is None else store.beat(pool, held, lease)
        store.tick()
        taken = store.take(pool, limit, lease) if limit > 0 else []
        self._end()
        return Turn(words, lost, taken)

    @whole
    def reconcile(self, pool: str, known: Iterable[bytes]) -> int:
        self._store.begin(self.clock())
        n = self._store.reconcile(pool, set(known))
        self._end()
        return n

    @whole
    def abandon(self, pool: str, cause: str) -> int:
        self._store.begin(self.clock())
        n = self._store.abandon(pool, cause)
        self._end()
        return n

    def bell(self, pool: str) -> Bell:
        return self._bells.bell()

    # -- keepers --------------------------------------------------------------

    def queues(self) -> list[str]:
        return sorted(name for (url, name), queue in list(self._opened.items())
                      if url == self.url and queue._joined)

    @whole
    def delete(self) -> None:
        self._inboxes.look()
        self._store, self._inboxes = Store(self._tell), Inboxes()
        self._scans = Scans(self._store)
        self._joined = False
        self._store.woken = 1
        self._wake()

    @whole
    def size(self) -> int:
        return self._store.size

    @whole
    def stats(self) -> dict[str, int]:
        return self._store.stats()

    @whole
    def oldest(self) -> list[int | None]:
        self._store.begin(self.clock())
        return self._store.oldest()

    @whole
    def tally(self, pool: str, number: int, cells: Mapping[str, str],
              recent: Sequence[Recent] = ()) -> None:
        check_tally(number, cells, recent)
        store = self._store
        store.begin(self.clock())
        if enter(store.book, store.now, store.sizes, store.ends, pool, number, cells, recent):
            store.ends = {}
        self._defer()

    @whole
    def minutes(self, last: int = 60) -> list[Minute]:
        check_minutes(last)
        store = self._store
        return minutes(store.book, store.date(self.clock()), store.ends, last)

    @whole
    def totals(self) -> Totals:
        store = self._store
        store.begin(self.clock())
        return Totals(store.now, store.stats(), store.oldest(),
                      with_ends(store.book.ever(), store.ends))

    @whole
    def audit(self, repair: bool = False) -> list[str]:
        self._store.begin(self.clock())
        return audit(self._store)


if hasattr(os, 'register_at_fork'):
    os.register_at_fork(after_in_child=TaskQueue.after_fork)
