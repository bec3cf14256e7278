"""Who fetches what is long: somebody who waits for it, in its own time and not in that of others.

One thread hands out the news to all who wait in a process. An outcome that takes seconds to come
is none of its business: a thread that waits for it fetches it, one for all that do. Coroutines, and
those who wait for several, have a thread that fetches for them.
"""
from __future__ import annotations

from contextlib import suppress
from functools import partial
from threading import Thread, get_ident
from typing import TYPE_CHECKING, Any, Callable, Sequence

from worq.errors import QueueError
from worq.latch import Latch
from worq.printable import logger
from worq.noted import Noted
from worq.queue.base import TaskQueue
from worq.waiters import Waiter

if TYPE_CHECKING:
    from worq.deferred import Deferred

__all__ = ['Fetching']

log = logger(__name__)


class Fetching(Noted):
    """Of those who wait: who fetches what."""

    backend: TaskQueue   # and what follows: the inbox has them
    _answer: Callable[[str, bytes | None, dict[str, Deferred]], None]
    _look: Callable[..., None]
    _insist: Callable[..., None]
    look: Callable[[Deferred], bool]

    def _nobody(self) -> None:
        super()._nobody()
        self._long: dict[str, Waiter | None] = {}   # by id: who fetches it; None: nobody yet
        self._fetcher: Thread | None = None

    def _fetch(self, ids: Sequence[str], lookers: dict[str, Deferred], fetch: bool = True) -> None:
        """Get long outcomes, but only for those who wait for them now; the others will have to
        look again.

        :param lookers: those who look, by id; the others wait.
        :param fetch: those of lookers are fetched here, whatever time it takes. All others that
            take long are handed over to somebody who waits for them.
        """
        with self._lock:
            for id in ids:
                self._asked.pop(id, None)
        ids = [id for id in ids if id in self._waiting or id in lookers]
        long = []
        for id, raw in zip(ids, self.backend.results(ids, whole=False)):
            if raw != b'':
                self._answer(id, raw, lookers)
            elif fetch and id in lookers:
                long.append(id)
            else:
                self._hand_over(id)
        for id in long:   # at the end, for it may end by an error
            self._answer(id, self.backend.results([id])[0], lookers)

    def _is_free(self, id: str) -> bool:
        """Whether it is to be fetched, and nobody does so, or who did has gone without a word."""
        if id not in self._long:
            return False
        fetcher = self._long[id]
        return fetcher is None or fetcher() is None

    def _is_its(self, waiter: Waiter) -> bool:
        """Whether somebody who waits may fetch what it waits for."""
        return bool(self._long) and waiter.what is not None and self._is_free(waiter.what.id)

    def _hand_over(self, id: str, but: Waiter | None = None) -> None:
        """Have it fetched by somebody who waits for it."""
        waiters = [waiter for waiter in list(self._waiting.get(id, ())) if waiter is not but]
        with self._lock:
            if not self._is_free(id) and id in self._long:
                return
            if not waiters:
                self._long.pop(id, None)
                return
            self._long[id] = None
            threads = [waiter for waiter in waiters if waiter in self._threads]
            if not threads and (self._fetcher is None or not self._fetcher.is_alive()):
                self._fetcher = Thread(target=self._fetch_all, name='worq-inbox-fetch', daemon=True)
                self._fetcher.start()
        for waiter in threads:   # the first one claims it
            waiter.wake()
            if waiter is self._leader and waiter.thread != get_ident():
                with suppress(QueueError):
                    self.backend.ring(self.client)

    def _claim(self, id: str, waiter: Waiter) -> bool:
        with self._lock:
            free = self._is_free(id)
            if free:
                self._long[id] = waiter
            return free

    def _give_back(self, id: str, waiter: Waiter, done: bool) -> None:
        """It is fetched no more: it has come, or its time is over and others go on with it."""
        with self._lock:
            if self._long.get(id) is waiter:
                del self._long[id]
        if not done:
            self._hand_over(id, waiter)

    def _fetch_its(self, waiter: Waiter, done: Callable[[], bool],
                   deadline: float | None) -> None:
        """In a thread that waits: fetch what it waits for, unless somebody else does."""
        deferred = waiter.what
        if not self._claim(deferred.id, waiter):
            return
        try:
            self._threads.pop(waiter, None)   # others lead meanwhile
            self._promote()
            self._insist(partial(self.look, deferred), done, deadline)
        finally:
            self._give_back(deferred.id, waiter, deferred.has_value())
            self._threads[waiter] = None

    def _pass_on(self, waiter: Waiter) -> None:
        """It waits no more. If it was to fetch something, and has not begun, others do."""
        if self._is_its(waiter):
            self._hand_over(waiter.what.id, waiter)

    def _fetch_all(self) -> None:
        """In a thread: fetch what only those wait for who cannot do so."""
        latch = Latch()
        me = Waiter(latch, None)
        while True:
            with self._lock:
                id = next((id for id in self._long if self._is_free(id) and not any(
                    waiter in self._threads for waiter in list(self._waiting.get(id, ())))), None)
                if id is None:
                    self._fetcher = None
                    return
                self._long[id] = me
            what: Any = next((waiter.what for waiter in list(self._waiting.get(id, ()))), None)
            try:
                if what is not None:
                    self._insist(partial(self._look, [what]), partial(self._come, what), None)
            except Exception as error:   # whoever leads will look again, and hand it over again
                # not by its repr, which would ask the queue again
                log.warning('cannot fetch [%s:%s]: %s', self.backend.name, id, error)
            self._give_back(id, me, True)
            del what   # it is nobody's while we go on

    def _come(self, deferred: Deferred) -> bool:
        return deferred.has_value() or not self._waiting.get(deferred.id)
