"""The queue in a file: durable, with nothing to install or to start.

Any number of processes of one machine share it. Each verb is one transaction, see
``worq.queue.sqlite.store``; who only looks waits for nobody.
"""
from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, TypeVar

from worq import const
from worq.const import COMPLETED
from worq.lock import look_within
from worq.queue import base
from worq.queue.base import (
    Argument, Delivery, Held, Late, Lost, Message, Minute, Note, Outcome,
    Recent, Refusal, Revival, Totals, Turn,
)
from worq.queue.machine.book import enter, minutes
from worq.queue.machine.inspection import audit
from worq.queue.sqlite.address import parse
from worq.queue.sqlite.application import connection_of
from worq.queue.sqlite.bell import Alarm, Bell
from worq.queue.sqlite.check import check
from worq.queue.sqlite.deletion import delete
from worq.queue.sqlite.doorbell import Doorbell, ring
from worq.queue.sqlite.file import File
from worq.queue.sqlite.joined import Brought, Joined
from worq.queue.sqlite.reading import Readers
from worq.queue.sqlite.store import Rows, Writes
from worq.queue.sqlite.waiting import Waiting
from worq.queue.validation import (
    check_edges, check_held, check_limit, check_messages, check_minutes, check_note,
    check_outcomes, check_page, check_revivals, check_tally, check_wait, check_withdrawn,
)
from worq.shield import unbroken
from worq.tally import with_ends

__all__ = ['TaskQueue']

SEATS = 8           # of clients that are kept for when they wait again
PAUSE = 2.0         # seconds that a take sleeps at most: others' leases run out meanwhile
T = TypeVar('T')
News = list[tuple[str, bytes | None]]


def wall() -> int:
    """The clock, in ms. What is in a file outlives the machine's own time."""
    return time.time_ns() // 1_000_000


class TaskQueue(Readers):
    """A queue in a file.

    :param url: ``sqlite:///relative.db`` or ``sqlite:////absolute.db``.
    :param name: which of the queues in it this is.
    :param sync: when what was committed is written to the disk: ``full``, before a call returns;
        ``second``, within a second, the default; ``off``, when the system likes, as for tests. Only
        a loss of power, or of the system, makes a difference; none leaves a damaged file.
    :param retry_for: seconds to wait for others who write.
    :param anywhere: also on a disk that other machines may write to; that is not safe.
    :param clock: tells ms; tests move it.
    :raises ValueError: if there is a mistake in the URL. Nothing is opened yet.
    """

    handful = 64        # no more, for nobody else writes during a turn

    def __init__(self, url: str, name: str = const.DEFAULT, *, sync: str | None = None,
                 retry_for: float | None = None, anywhere: bool = False,
                 clock: Callable[[], int] = wall) -> None:
        address = parse(url, sync, retry_for)
        super().__init__(address.url, name)
        self.options = {'sync': sync, 'retry_for': retry_for, 'anywhere': anywhere}
        self.clock = clock
        self._key = name.encode()
        self._file = File(address, anywhere)
        self._set_up()

    def _set_up(self) -> None:
        self._pid = os.getpid()
        self._store = Rows(self._tell, const.BUDGET)
        self._looker = Rows(self._tell, const.BUDGET)
        self._looker.looking = True
        self._waiting = Waiting(self._store)
        self._bells: dict[str, Bell] = {}
        self._seats: dict[str, Doorbell] = {}   # by client: where it waited last
        self._alarm = Alarm()
        self._brought = Brought(self._announce)

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> TaskQueue:
        """A queue for this URL and name; `options` are those of the class."""
        unknown = options.keys() - {'sync', 'retry_for', 'anywhere'}
        if unknown:
            raise TypeError(f'a queue in a file has no option {min(unknown)!r}; '
                            'there are sync, retry_for, anywhere')
        return cls(url, name, **options)

    @property
    def shared(self) -> bool:   # type: ignore[override]
        return self._file.shared()

    # -- a verb -----------------------------------------------------------------

    def _write(self, verb: Callable[[Rows], T], ids: Iterable[str] = (), puts: int = 0,
               end: Callable[[Rows], None] | None = Rows.end) -> T:
        """Do a verb as a whole, and wake who may go on.

        :param ids: of tasks that it looks at.
        :param end: what follows from it.
        """
        self._look_around()
        store, waiting = self._store, self._waiting

        def work(db: sqlite3.Connection, q: int, meta: str | None) -> tuple[T, list[str]]:
            store.open(db, q, meta)
            store.begin(self.clock(), puts)
            waiting.open()
            if ids:
                store.lives.load(ids)   # type: ignore[attr-defined]
            answer = verb(store)
            if end is not None:
                end(store)
            store.save()
            return answer, waiting.awaken()
        answer, awake = self._locked(work)
        for _ in range(ring(awake)):
            self._ring_another()
        return answer

    def _look_around(self) -> None:
        """In a fork begin anew: what is there has been left amid a verb, perhaps."""
        if self._pid != os.getpid():
            self._set_up()

    def _locked(self, work: Callable[[sqlite3.Connection, int, str | None], T]) -> T:
        self._look_around()
        lock = self._file.lock
        if lock._is_owned():
            look_within(lock, __file__, self)
        self._file.check_within()
        with unbroken(), lock:
            return self._file.write(self._key, work)

    def _ring_another(self) -> None:
        """Who was entered has gone without a word: wake somebody else."""
        def work(db: sqlite3.Connection, q: int, meta: str | None) -> list[str]:
            self._store.open(db, q, meta)
            self._store.now = self._store.date(self.clock())
            self._waiting.open()
            self._store.woken = 1
            return self._waiting.awaken()
        while ring(self._locked(work)):
            pass

    def _look(self, verb: Callable[[Rows], T], ids: Iterable[str] = ()) -> T:
        """Do a verb that only looks, unless what it meets is too late to begin."""
        self._look_around()
        store = self._looker

        def work(db: sqlite3.Connection, q: int, meta: str | None) -> T:
            store.open(db, q, meta)
            store.begin(self.clock())
            if ids:
                store.lives.load(ids)   # type: ignore[attr-defined]
            return verb(store)
        lock = self._file.reading
        if lock._is_owned():
            look_within(lock, __file__, self)
        try:
            with unbroken(), lock:
                return self._file.read(self._key, work)
        except Writes:
            return self._write(verb, ids, end=Rows.defer)

    # -- producers ------------------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str = '', client: str = '',
            note: Note | None = None) -> list[Refusal]:
        check_messages(messages, gate, note)
        self._file.check_room()
        ids = [one.id for one in messages]
        ids += [argument.id for one in messages for argument in one.arguments]

        def verb(store: Rows) -> list[Refusal]:
            if client:
                self._waiting.inbox(client)
            return store.put(messages, gate, client, note)
        return self._write(verb, ids, len(messages), Rows.defer)

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        check_edges(id, start, arguments)
        self._file.check_room()
        return self._write(lambda store: store.edges(gate, id, nonce, start, arguments),
                           [gate, id, *(argument.id for argument in arguments)], end=Rows.defer)

    def using(self, connection: object) -> base.TaskQueue:
        self._look_around()
        if not self._file.has_content() and not connection_of(connection).in_transaction:
            self._locked(lambda db, q, meta: None)   # nobody has begun with it, so it is our own
        return Joined(self, self._file, self._key, self.clock, const.BUDGET, connection,
                      lambda: self._look(lambda store: store.lives_n), self._brought)

    def _announce(self, number: int) -> None:
        """Have those look that wait, as many as there is something for."""
        def verb(store: Rows) -> None:
            store.woken = number
        self._write(verb, end=None)

    def cancel(self, ids: Sequence[str], client: str | None = None) -> list[str]:
        return self._write(lambda store: [store.cancel(id, client) for id in ids], ids)

    def withdraw(self, ids: Sequence[str], reason: str) -> list[str]:
        check_withdrawn(reason)
        return self._write(lambda store: [store.withdraw(id, reason) for id in ids], ids)

    def purge(self) -> int:
        return self._write(Rows.purge)

    def revive(self, failures: Sequence[Revival], downstream: bool = False) -> list[str]:
        check_revivals(failures)
        return self._write(lambda store: [store.revive(one, downstream) for one in failures],
                           [one.id for one in failures])

    # -- readers --------------------------------------------------------------

    def results(self, ids: Sequence[str], whole: bool = True) -> list[bytes | None]:
        return self._look(lambda store: [
            life.record() if life else None for life in map(store.find, ids)], ids)

    def watch(self, client: str, ids: Sequence[str]) -> News:
        def verb(store: Rows) -> News:
            self._waiting.inbox(client)
            ended: News = []
            for id in ids:
                life = store.find(id)
                if life is None or life.state == COMPLETED:
                    ended.append((id, life.news() if life else None))
                    if life is not None:
                        store.want(life)
                else:
                    life.watch(client)
            return ended
        return self._write(verb, ids, end=Rows.defer)

    def wait(self, client: str, timeout: float) -> News:
        check_wait(timeout)
        until = time.monotonic() + timeout
        self._look_around()
        # Taken out: somebody else who waits for this client needs one of his own.
        seat = self._seats.pop(client, None)
        try:
            while (left := until - time.monotonic()) > 0:
                seat = seat or Doorbell()
                if seat.until > time.monotonic() and not self._called(seat, left):
                    continue
                news = self._locked(partial(self._collect, client, seat.address))
                seat.until = time.monotonic() + const.INBOX_TTL / 2
                if news is not None:
                    return news
            return self._locked(partial(self._collect, client, '')) or []
        finally:
            if seat is not None:
                if len(self._seats) < SEATS:
                    seat = self._seats.setdefault(client, seat)
                else:
                    seat.close()

    def _called(self, seat: Doorbell, seconds: float) -> bool:
        """Wait where others ring; whether one should look. A ring may be lost, with who rings, say:
        so from time to time it is asked whether the file has changed."""
        if seat.wait(min(seconds, PAUSE)):
            seat.until = 0.0
            return True
        with self._file.reading:
            now = self._file.changes()
        changed, seat.changes = now != seat.changes, now
        return changed

    def _collect(self, client: str, address: str, db: sqlite3.Connection, q: int,
                 meta: str | None) -> News | None:
        """The news of a client; None, and it is entered as one who waits, if there is none."""
        self._store.open(db, q, meta)
        self._store.now = self._store.date(self.clock())
        self._waiting.open()
        news = self._waiting.collect(client, address)
        self._store.save()
        return news

    def ring(self, client: str) -> None:
        self._write(lambda store: self._waiting.ring(client), end=None)

    def _tell(self, client: str, id: str, news: bytes | None) -> None:
        self._waiting.tell(client, id, news)

    def forget(self, ids: Sequence[str]) -> list[str]:
        return self._write(lambda store: [store.forget(id) for id in ids], ids, end=Rows.defer)

    # -- registers ------------------------------------------------------------

    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        check_note(name, value, if_was)
        if value:
            self._file.check_room()
        return self._write(lambda store: store.note(name, value, if_was), end=None)

    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        check_page(prefix, after, limit)
        return self._look(lambda store: store.registers.page(prefix, after, limit))

    # -- pools ----------------------------------------------------------------

    def join(self, pool: str, info: Mapping[str, str]) -> None:
        self._write(lambda store: store.join(pool, dict(info)), end=Rows.defer)

    def tell(self, pool: str, info: Mapping[str, str]) -> bool:
        return self._write(lambda store: store.tell(pool, info), end=Rows.defer)

    def leave(self, pool: str) -> None:
        self._write(lambda store: store.leave(pool), end=Rows.defer)

    def pools(self, beside: str = '') -> dict[str, dict[str, str]]:
        def verb(store: Rows) -> dict[str, dict[str, str]]:
            now, pools = store.now, dict(store.pools.items())
            for pool, (_, seen) in [*pools.items()]:
                if now - seen >= const.POOL_TTL * 1_000:
                    del pools[pool]
                    store.pools.pop(pool, None)
            found = store.beside(beside, now) if beside else \
                {pool: info for pool, (info, _) in pools.items()}
            return {pool: {**info, 'seen': str(now - pools[pool][1])}
                    for pool, info in found.items()}
        return self._write(verb, end=None)

    def take(self, pool: str, limit: int, timeout: float = 0,
             lease: int = const.LEASE) -> list[Delivery]:
        check_limit(limit, timeout, lease)
        until = time.monotonic() + timeout
        doorbell: Doorbell | None = None
        try:
            while True:
                if doorbell is None and until > time.monotonic():
                    doorbell = Doorbell()
                taken, pause = self._write(
                    partial(self._try, pool, limit, lease, until, doorbell), end=None)
                if taken or doorbell is None or pause is None:
                    whole = (one.fetch() if isinstance(one, Late) else one for one in taken)
                    return [one for one in whole if one is not None]   # else it is over by now
                doorbell.wait(pause)
        finally:
            if doorbell is not None:
                doorbell.close()

    def _try(self, pool: str, limit: int, lease: int, until: float, doorbell: Doorbell | None,
             store: Rows) -> tuple[list[Delivery | Late], float | None]:
        """What there is to take; or there is nothing, and for how long to wait."""
        store.hint = limit
        while True:
            store.tick()
            taken = store.take(pool, limit, lease)
            store.end()
            # else what it found had expired, and something has followed from that
            if taken or not store.offers:
                break
        left = until - time.monotonic()
        if taken or left <= 0 or doorbell is None:
            if doorbell is not None:
                self._waiting.leave(doorbell.address)
            return self._apart(store, taken), None
        pause = min(left, PAUSE, self._next_tick(store) or PAUSE)
        self._waiting.enter(doorbell.address, pause)
        return [], pause

    def _next_tick(self, store: Rows) -> float | None:
        """In how many seconds something may come due, or is to be done."""
        if store.lags or store.left_over or store.sides.more:
            return 0.001
        at = store.next_tick()
        return None if at is None else max(at - store.now, 1) / 1_000

    def beat(self, pool: str, held: Iterable[Held] = (),
             lease: int = const.LEASE) -> list[Lost]:
        held = check_held(held, lease)

        def verb(store: Rows) -> list[Lost]:
            # Renewed first: a pool's own late beat loses it nothing.
            lost = store.beat(pool, held, lease)
            store.tick()
            return lost
        return self._write(verb, [one.id for one in held])

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        check_outcomes(outcomes)
        if not outcomes:
            return []
        return self._write(lambda store: store.settle(pool, outcomes),
                           [outcome.id for outcome in outcomes])

    def turn(self, pool: str, outcomes: Sequence[Outcome] = (),
             held: Iterable[Held] | None = None, limit: int = 0,
             lease: int = const.LEASE) -> Turn:
        check_outcomes(outcomes)
        beats = None if held is None else check_held(held, lease)
        bell = self._bells.get(pool)

        def verb(store: Rows) -> Turn:
            words = store.settle(pool, outcomes)
            lost = [] if beats is None else store.beat(pool, beats, lease)
            store.tick()
            store.hint = max(limit, 1)
            taken = store.take(pool, limit, lease) if limit > 0 else []
            store.end()
            if bell is not None and len(taken) < limit and (bell.prompt or not taken):
                self._expect(store, bell)
            brought = self._apart(store, taken)
            return Turn(words, lost, [one for one in brought if isinstance(one, Delivery)],
                        [one for one in brought if isinstance(one, Late)])
        return self._write(verb, [one.id for one in (*outcomes, *(beats or ()))], end=None)

    def reconcile(self, pool: str, known: Iterable[bytes]) -> int:
        tokens = set(known)
        return self._stepped(lambda store: store.reconcile(pool, tokens))

    def abandon(self, pool: str, cause: str) -> int:
        return self._stepped(lambda store: store.abandon(pool, cause))

    def _stepped(self, verb: Callable[[Rows], int]) -> int:
        """Do it until a step does less than it could."""
        total = 0
        while True:
            number = self._write(verb)
            total += number
            if number < const.LEASES_LIMIT:
                return total

    def bell(self, pool: str) -> Bell:
        bell = self._bells[pool] = Bell(pool, self._arm, self._disarm)
        return bell

    def _expect(self, store: Rows, bell: Bell) -> None:
        """Enter a bell as one that waits, in the transaction that has found too little for it."""
        pause = min(PAUSE, self._next_tick(store) or PAUSE)
        if not bell.expects(pause):
            bell.entered(self._waiting.enter(bell.doorbell.address, pause))
        bell.expect(pause)
        if bell.armed:
            self._alarm.set(bell)

    def _arm(self, bell: Bell) -> None:
        if not bell.expected:
            def verb(store: Rows) -> bool:
                self._expect(store, bell)
                return store.offers
            if self._write(verb, end=None):
                ring([bell.doorbell.address])
        self._alarm.set(bell)

    def _disarm(self, bell: Bell) -> None:
        """It listens no more."""
        self._alarm.drop(bell)
        if self._bells.get(bell.pool) is bell:
            del self._bells[bell.pool]
        if bell.expected:
            self._write(lambda store: self._waiting.leave(bell.doorbell.address), end=None)

    # -- keepers --------------------------------------------------------------

    def queues(self) -> list[str]:
        return self._look(lambda store: sorted(name.decode() for name, in store.db.execute(
            'SELECT name FROM worq_queue WHERE q IN (SELECT q FROM worq_pool)')))

    def delete(self) -> None:
        delete(self._locked)

    def size(self) -> int:
        return self._look(lambda store: store.size)

    def stats(self) -> dict[str, int]:
        return self._look(Rows.stats)

    def oldest(self) -> list[int | None]:
        return self._look(Rows.oldest)

    def tally(self, pool: str, number: int, cells: Mapping[str, str],
              recent: Sequence[Recent] = ()) -> None:
        check_tally(number, cells, recent)

        def verb(store: Rows) -> None:
            if enter(store.book, store.now, store.sizes, store.ends, pool, number, cells, recent):
                store.ends = {}
        self._write(verb, end=Rows.defer)

    def minutes(self, last: int = 60) -> list[Minute]:
        check_minutes(last)
        return self._look(lambda store: minutes(store.book, store.now, store.ends, last))

    def totals(self) -> Totals:
        return self._look(lambda store: Totals(store.now, store.stats(), store.oldest(),
                                               with_ends(store.book.ever(), store.ends)))

    def audit(self, repair: bool = False) -> list[str]:
        return self._look(lambda store: [*audit(store), *check(store)])

    def within(self, seconds: float) -> AbstractContextManager[None]:
        return self._file.within(seconds)

    def close(self) -> None:
        while self._seats:
            self._seats.popitem()[1].close()
        self._file.close()
