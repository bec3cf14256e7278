"""A child process with an event loop, as its manager sees it."""
from __future__ import annotations

import time
from typing import Iterable, NamedTuple

from worq import pools
from worq.pool.aio.page import LoopPage
from worq.pool.aio.protocol import ABANDON, ORDER, pack_order
from worq.pool.children.frames import FrameError
from worq.pool.children.notes import Limit, Order
from worq.pool.children.protocol import Page
from worq.pool.children.worker import Watcher, Worker
from worq.pool.interrupt import GRACE
from worq.queue.base import Delivery, Outcome

__all__ = ['LEAKS', 'LoopWorker', 'Sentence']

AHEAD = 0.05         # seconds in which what a child is sent ahead will probably have begun
WAVE = 0.15         # seconds that it has more than in a child with one task: many may end at once
COUNTED = 0.2       # seconds over which is counted how much ends
AGAIN = 1.0         # seconds after which one is told again that has swallowed it
LEAKS = 10          # deliveries that do not let go, after which their child gets no more


class Sentence(NamedTuple):
    """Why we have killed a child."""

    culprit: Delivery | None    #: for whom
    outcome: Outcome | None     #: what that comes to; None: nobody wants to know


class LoopWorker(Worker):
    """As `Worker`, but all that it has been sent runs at the same time, and ends in any order.

    :param concurrency: how many it has at most; and `threads`, see ``WorkerPool``.
    :ivar ahead: how many more it is sent, which it begins as others end.
    :ivar lone: it has one at a time: a suspect, see `Suspects`.
    :ivar overdue: what has come of deliveries that do not let go; for the manager to take.
    :ivar sentence: why we have killed it.
    :ivar blocked_by: what there is to say of its loop, while that is blocked.
    :ivar over: what has ended, since this was emptied.
    :ivar abandoned: the deliveries that do not let go, and still run, by their tokens.
    """

    MODULE = 'worq.pool.aio.child'
    PAGE: type[Page] = LoopPage
    page: LoopPage

    def __init__(self, first: bytes, watch: Watcher, asks: bool = False, *, concurrency: int = 1,
                 threads: int = 0) -> None:
        self.concurrency = concurrency
        self.lone = False
        self.overdue: list[Outcome] = []
        self.sentence: Sentence | None = None
        self.blocked_by = ''
        self.abandoned: dict[bytes, Delivery] = {}
        self.over: list[Delivery] = []
        self.ahead = 0
        self._counted = 0                        # outcomes since ...
        self._count_at = 0.0                     # ... when; monotonic
        self._since: dict[int, float] = {}       # when each was sent, by number
        self._limits: dict[int, Limit] = {}      # also by number, and so the orders
        self._orders: dict[int, Order] = {}
        self._waiting: dict[bytes, str] = {}     # ids that they wait for, by token
        super().__init__(first, watch, asks, [str(concurrency), str(threads)])

    # 2. -- send --------------------------------------------------------------

    def send(self, deliveries: Iterable[Delivery]) -> None:
        before = self.number
        super().send(deliveries)
        now = time.monotonic()
        for number in range(before + 1, self.number + 1):
            self._since[number] = now

    # 3. -- receive -----------------------------------------------------------

    def receive(self) -> list[Outcome]:
        outcomes = super().receive()
        now = time.monotonic()
        self._counted += len(outcomes)
        if now - self._count_at > COUNTED:
            rate = self._counted / (now - self._count_at)
            self.ahead = min(int(AHEAD * rate), self.concurrency)
            self._counted, self._count_at = 0, now
        return outcomes

    def revoke(self, now: float) -> None:
        super().revoke(now)
        self.ahead = 0   # it was too much

    def _ended(self, outcome: Outcome) -> tuple[int, Delivery, bool] | None:
        for index, (number, delivery) in enumerate(self.sent):
            if delivery[:2] == outcome[:2]:
                order = self._orders.get(number)
                del self.sent[index]
                self._forget(number, delivery)
                self.over.append(delivery)
                return number, delivery, order is None or order.word == 'timeout'
        if self.abandoned.pop(outcome.token, None) is None:
            raise FrameError('the outcome of a task that it was not running')
        return None

    def _forget(self, number: int, delivery: Delivery) -> None:
        self._since.pop(number, None)
        if self._limits:
            self._limits.pop(number, None)
        if self._orders:
            self._orders.pop(number, None)
        if self._waiting:
            self._waiting.pop(delivery.token, None)

    def _has_limit(self, limit: Limit) -> None:
        self._limits[limit.number] = limit

    def _has_wait(self, token: bytes, id: str) -> None:
        if any(delivery.token == token for _, delivery in self.sent):
            self._waiting[token] = id

    # 4. -- take back ---------------------------------------------------------

    @property
    def has_unbegun(self) -> bool:
        return bool(self.sent) and self.sent[-1][0] > self.page.started

    @property
    def backed_up(self) -> bool:
        return self.has_unbegun

    @property
    def unsaid(self) -> bool:
        return bool(self.sent) and self.sent[-1][0] > self.said

    def stuck_for(self, now: float) -> float:
        begun = self.page.started
        if begun != self.seen[0]:
            self.seen = begun, now
        if not self.has_unbegun:
            return 0.0
        return now - max(self.seen[1], self._since[self.sent[-1][0]]) - WAVE

    def recover(self, now: float) -> list[Delivery]:
        recovered = super().recover(now)
        if recovered:
            left = {number for number, _ in self.sent}
            for number in [number for number in self._since if number not in left]:
                del self._since[number]
        return recovered

    # 5. -- interrupt ---------------------------------------------------------

    def all_doing(self, now: float) -> list[pools.Worker]:
        """One for each that runs: many are at work in a child."""
        sent, begun = list(self.sent), self.page.started
        found = []
        for number, delivery in sent:
            waits_for = self._waiting.get(delivery.token, '') if self._waiting else ''
            if number <= begun:
                found.append(pools.Worker(
                    self.pid, pools.WAITING if waits_for else pools.RUNNING, delivery.id,
                    delivery.header.partition(b'\n')[0].decode('utf-8', 'replace'),
                    now - self._since.get(number, now), waits_for))
        return found or [pools.Worker(self.pid, pools.IDLE if self.ready else pools.STARTING)]

    def all_begun(self) -> list[Delivery]:
        """What it runs, or ran when it died."""
        begun = self.page.started
        return [delivery for number, delivery in self.sent if number <= begun]

    def runs(self, token: bytes) -> Delivery | None:
        return next((one for one in self.all_begun() if one.token == token), None)

    def stepping(self) -> Delivery | None:
        """The one whose code runs in the loop, or ran there when it died."""
        number = self.page.stepping
        return next((one for each, one in self.sent if each == number), None) if number else None

    def interrupt(self, word: str, token: bytes, now: float) -> None:
        for number, delivery in self.sent:
            if delivery.token == token and number not in self._orders:
                self._orders[number] = Order(number, word, now + AGAIN, now + GRACE)
                self.tasks.send(pack_order(ORDER, token, word))

    def disown(self, token: bytes, word: str, now: float) -> bool:
        self.interrupt('cancelled', token, now)   # the others go on, so it is not killed for that
        return True

    @property
    def watched(self) -> bool:
        return bool(self._limits or self._orders)

    def watch_over(self, now: float) -> float | None:
        """See to those that have been told to let go: the child does so when a limit ends.

        :returns: when to look again, monotonic; None: there are none.
        """
        look = now + AGAIN
        for number, delivery in list(self.sent):
            limit, order = self._limits.get(number), self._orders.get(number)
            if limit is None and order is None:
                continue
            until = order.until if order is not None else float('inf')
            if limit is not None:
                until = min(until, limit.until + GRACE)
            if now >= until:
                will = limit.will if limit is not None and order is None else None
                self._give_up(number, delivery, will)
            elif order is not None and now >= order.again:
                self._orders[number] = order._replace(again=float('inf'))
                self.tasks.send(pack_order(ORDER, delivery.token, order.word))
            look = min(look, until)
        return max(look, now + 0.001) if self.watched else None

    def _give_up(self, number: int, delivery: Delivery, will: Outcome | None) -> None:
        """One does not let go. If it blocks the loop, the child ends; else it is left to run."""
        if self.page.stepping == number:
            if self.sentence is None:
                self.sentence = Sentence(delivery, will)
                self.kill()
            return
        self.sent.remove((number, delivery))
        self._forget(number, delivery)
        self.abandoned[delivery.token] = delivery
        self.tasks.send(pack_order(ABANDON, delivery.token))
        if will is not None:
            self.overdue.append(will)
