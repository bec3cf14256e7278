"""Which tasks the children of a pool can run, while some of them are of newer code than others."""
from __future__ import annotations

from collections.abc import Callable, Sequence

from worq.codec import Codec
from worq.pool.base import Desk
from worq.pool.children.worker import Worker
from worq.pool.schedules import Scheduler
from worq.queue.base import Delivery, Outcome

__all__ = ['Naming']


class Naming:
    """During a reload, and where the code has changed under a pool, its children may differ. The
    queue knows pools only, so a pool tells what each of its children can run. What one of them
    does not know after all goes to another that does, without a way to the queue and back.

    :param desk: of the pool.
    :param codec: of the broker's, for the schedules that they declare.
    :param schedules: whether the pool takes part in those.
    """

    def __init__(self, desk: Desk, codec: Codec, schedules: bool) -> None:
        self._desk = desk
        self._scheduler = Scheduler(desk.backend, codec, schedules)
        self._passed: set[bytes] = set()   # tokens of what went from one child to another

    def close(self) -> None:
        """Put nothing more of schedules."""
        self._scheduler.stop()

    def tell(self, workers: Sequence[Worker]) -> None:
        """Tell the names that all of them have which are ready, and stay; declare schedules."""
        names = [worker.names for worker in workers if stays(worker)]
        if names:
            self._desk.tell_names(frozenset.intersection(*names))
            # the youngest has the newest code
            youngest = max(filter(stays, workers), key=lambda worker: worker.born)
            self._scheduler.declare(youngest.timings)

    def pass_on(self, worker: Worker, workers: Sequence[Worker],
                quota: Callable[[Worker], int | None]) -> list[Outcome]:
        """Give what a child does not know to others; the outcomes of what none of them does."""
        left = []
        for delivery, outcome in worker.strange:
            other = self._other(delivery, workers)
            if other is None or quota(other) == 0:
                left.append(outcome)
            else:
                other.send([delivery])
        worker.strange.clear()
        return left

    def _other(self, delivery: Delivery, workers: Sequence[Worker]) -> Worker | None:
        """Once for each delivery: a child may have told a name, and not know it after all."""
        name = delivery.header.partition(b'\n')[0].decode('utf-8', 'replace')
        held = self._desk.held
        able = [worker for worker in workers if name in worker.names and stays(worker)
                and not worker.blocked and worker.revoked is None]
        if not able or delivery.token in self._passed or delivery.token not in held:
            return None
        self._passed = {token for token in self._passed if token in held} | {delivery.token}
        return min(able, key=lambda worker: len(worker.sent))


def stays(worker: Worker) -> bool:
    """Whether it is ready, and not about to go."""
    return worker.ready and not worker.leaving and not worker.retiring
