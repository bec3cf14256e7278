"""The manager of a pool of event loops: that of a process pool, but a child runs many at a time."""
from __future__ import annotations

from collections import deque
from typing import Any, Iterable

from worq.printable import logger
from worq.pool.aio.suspects import Suspects
from worq.pool.aio.worker import LEAKS, LoopWorker
from worq.pool.children.manager import YOUNG, Manager
from worq.pool.children.notes import Done
from worq.pool.children.worker import Worker
from worq.pool.worklog import named
from worq.queue.base import Delivery, Outcome

__all__ = ['LoopManager']

log = logger(__name__)


class LoopManager(Manager):
    """What is different: 1. how much a child gets; 2. suspects, which run alone in a child that is
    there for them; 3. whom a death is charged with; 4. what is told.

    :param concurrency: deliveries at a time in each child.
    """

    KIND = 'aio'
    workers: list[LoopWorker]   # type: ignore[assignment]

    def __init__(self, *args: Any, concurrency: int) -> None:
        self.each = concurrency
        self._suspects = Suspects()
        self._alone: deque[Delivery] = deque()   # leased, and to be run alone
        super().__init__(*args)

    def _patience(self, now: float) -> float:
        looks = [worker.watch.look_at - now for worker in self.workers if worker.sent]
        return max(0.0, min([super()._patience(now), *looks]))

    # 1. -- how much a child gets -----------------------------------------------

    def _wants(self, worker: Worker) -> int:
        if not worker.ready or worker.retiring or worker.leaving or worker.blocked \
                or worker.revoked is not None or worker.tasks.pending \
                or not isinstance(worker, LoopWorker) or worker.lone or worker.blocked_by:
            return 0
        free = worker.concurrency + worker.ahead - len(worker.sent)
        quota = self._quota(worker)
        return free if quota is None else min(free, quota)

    def _room(self) -> int:
        return super()._room() if len(self._alone) < self.each else 0

    # 2. -- suspects ------------------------------------------------------------

    def _deal(self, deliveries: list[Delivery]) -> list[Delivery]:
        alone = self._suspects.alone
        suspects = [delivery for delivery in deliveries if alone(delivery)]
        if suspects:
            self._alone.extend(suspects)
            deliveries = [delivery for delivery in deliveries if not alone(delivery)]
        return super()._deal(deliveries) if deliveries else []

    def _deal_backlog(self, now: float) -> None:
        held, alone = self.desk.held, self._suspects.alone
        if self._stop_at is None:   # first, for those that are left then are the last of them
            self._alone.extend(one for one, _ in self._backlog if one.token in held and alone(one))
            self._backlog = deque(entry for entry in self._backlog if not alone(entry[0]))
        if self._backlog:
            super()._deal_backlog(now)

    def _mend(self, now: float) -> None:
        super()._mend(now)
        for worker in self.workers:
            if worker.overdue:
                self._outcomes += worker.overdue
                worker.overdue = []
            if len(worker.abandoned) >= LEAKS and not worker.leaving:
                log.warning('%s: %d tasks in worker process %d do not let go: another takes its '
                            'place', self.label, len(worker.abandoned), worker.pid)
                worker.leaving, worker.generation = True, -1
        if self._alone or any(worker.lone for worker in self.workers):
            self._deal_alone(now)
        blocked = '; '.join(worker.blocked_by for worker in self.workers if worker.blocked_by)
        self.desk.tell('blocked', blocked, bool(blocked) != ('blocked' in self.desk.info))

    def _deal_alone(self, now: float) -> None:
        held = self.desk.held
        if self._stop_at is not None:
            self._outcomes += [Outcome(one.id, one.token, 'release') for one in self._alone
                               if one.token in held]
            self._alone.clear()
        while self._alone and self._alone[0].token not in held:   # cancelled meanwhile
            self._suspects.ended(self._alone.popleft())
        for worker in self.workers:
            if not self._alone:
                worker.leaving |= worker.lone and not worker.sent and worker.ready
            elif worker.ready and not worker.sent and not worker.leaving and not worker.retiring \
                    and not worker.blocked and worker.revoked is None and worker.lone:
                worker.send([self._alone.popleft()])

    def _missing(self) -> int:
        """And one more, beside those that go on together, while there are suspects."""
        if self._stop_at is not None:
            return 0
        lone = [worker for worker in self.workers
                if worker.lone and not worker.retiring and worker.generation == self._generation]
        wanted = bool(self._alone) and all(worker.leaving for worker in lone)
        return super()._missing() + len(lone) + wanted

    def _hire(self, now: float) -> None:
        before = len(self.workers)
        lone = bool(self._alone) and all(
            worker.leaving or worker.retiring for worker in self.workers if worker.lone)
        super()._hire(now)
        if len(self.workers) > before:
            self.workers[-1].lone = lone

    # 3. -- whom a death is charged with ------------------------------------------

    def _bury(self, worker: Worker, cause: str, now: float) -> None:
        assert isinstance(worker, LoopWorker)
        self._listen(worker)  # what it had still written
        self._ears.unregister(worker)
        self.workers.remove(worker)
        self._naming.tell(self.workers)
        late = self._stop_at is not None and now >= self._stop_at
        known = worker.page.sealed   # else nothing on its page is true
        begun = worker.all_begun() if known else [one for _, one in worker.sent]
        charged, outcome = None, None
        if worker.sentence is not None:
            charged, outcome = worker.sentence
        elif begun and not late:
            charged = self._suspects.died(begun, worker.stepping() if known else None,
                                          not known or bool(worker.fault or worker.page.threads))
            outcome = charged and Outcome(charged.id, charged.token, 'lost', cause.encode())
        self._say_death(worker, cause, charged, begun, late, now)
        if charged is not None and outcome is not None and charged.token in self.desk.held:
            self._outcomes.append(outcome)
        # All others go on elsewhere, and it is not counted: nobody is charged who was not alone.
        self._take_back([one for _, one in worker.sent if one is not charged], now)
        worker.close()

    def _say_death(self, worker: LoopWorker, cause: str, charged: Delivery | None,
                   begun: list[Delivery], late: bool, now: float) -> None:
        if worker.broken and not worker.retiring:
            self._failed(now, worker.why, worker.broken)
        elif not worker.retiring and not late and worker.sentence is None and (
                not worker.ready or not begun and now - worker.born < YOUNG):
            self._failed(now, f'{cause} before it had begun',
                         killed=(worker.process.returncode or 0) < 0)
        elif begun or not worker.retiring:
            who = f', running {named(charged.header, charged.id)}' if charged is not None else ''
            rest = len(begun) - (charged is not None)
            more = f'; {rest} more that it ran go back' if rest else ''
            log.error('%s: %s%s%s%s', self.label, cause, who, more,
                      ': it had to end, since the pool stops' if late else '')

    # 4. -- what is told ----------------------------------------------------------

    def _listen(self, worker: Worker) -> None:
        super()._listen(worker)
        assert isinstance(worker, LoopWorker)
        for one in worker.over:
            self._suspects.ended(one)
        worker.over.clear()

    def _say(self, worker: Worker, done: Iterable[Done] = ()) -> None:
        begun = worker.page.started
        last = max([worker.said, *(one.number for one in done)])
        new = [(one.number, one.delivery) for one in done]
        for number, delivery in sorted([*new, *worker.sent]):
            if worker.said < number <= max(begun, last):
                self._log.begun(delivery, worker.pid)
                worker.said = number
        for _, delivery, outcome, seconds in done:
            self._log.ended(delivery, worker.pid, seconds, outcome)

    def _end(self) -> None:
        self._alone.clear()
        super()._end()
