"""What a pool tells of its workers, and says of them if none is left."""
from __future__ import annotations

from typing import Callable

from worq import pools
from worq.printable import logger

__all__ = ['Report']

log = logger(__name__)


class Report:
    """What a pool tells of its workers, and says in the log if none of them can do anything.

    :param tell: as ``Desk.tell``.
    :param label: names the pool in the log.
    """

    def __init__(self, tell: Callable[[str, str, bool], None], label: str) -> None:
        self._tell = tell
        self._label = label
        self._stuck = False

    def __repr__(self) -> str:
        return f'<Report of {self._label}>'

    def look(self, workers: list[pools.Worker]) -> None:
        """Tell with the beat that is just being made what the workers do now."""
        self._tell('workers', pools.told(workers), False)
        stuck = len(workers) > 0 and all(worker.state == pools.WAITING for worker in workers)
        if stuck and not self._stuck:
            first = workers[0]
            log.warning('%s: all workers (%d) run tasks that wait for other tasks, as %s [%s] does '
                        'for [%s], so that none is left to run those: let a task return the '
                        'Deferred, or take it as an argument', self._label, len(workers),
                        first.name, first.id, first.waits_for)
        self._stuck = stuck
