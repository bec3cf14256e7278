"""Tasks that are moved: they leave one queue, and in another they are what they were."""
from __future__ import annotations

from worq.const import COMPLETED, PENDING, PROCESSING
from worq.queue.base import CANCELLED, EXPIRED, FAILURE, GATE, VALUE, Argument, Outcome
from worq.queue.machine.graph import PURGED
from worq.queue.machine.life import Life
from worq.queue.machine.revival import Reviving

__all__ = ['Moving']

#: How a task stood that was begun before it came here.
MOVED = frozenset(['value', 'failure', 'expire', 'delegate'])


class Moving(Reviving):
    """The graph, and how tasks leave it and come to it in the midst of their life."""

    def withdraw(self, id: str, reason: str) -> str:
        life = self.find(id)
        if life is None:
            return 'unknown'
        if life.state == COMPLETED:
            return 'completed'
        if life.state == PROCESSING or self.awaited(life):
            return 'needed'
        self.verdict(life, CANCELLED, reason)
        self._follow_all()
        return 'withdrawn'

    def settle_held(self, life: Life, pool: str, word: str, outcome: Outcome) -> str:
        """What is held back by a gate, and was begun elsewhere: by whoever holds that."""
        if life.owner == pool:
            return 'again'
        gate = life.gate
        if word not in MOVED or life.state != PENDING or life.late == PURGED or gate is None \
                or gate.id != pool or not self._holds(gate) or self.width(life) or life.target:
            self.counters['stale'] += 1
            return 'stale'
        if word == 'delegate':
            assert outcome.target is not None
            life.owner = pool
            self._delegate(life, outcome.target, outcome.data)
        elif word == 'expire':
            self.verdict(life, EXPIRED, outcome.data.decode(errors='replace'), pool)
        else:
            self.finish(life, VALUE if word == 'value' else FAILURE, outcome.data, (), pool)
        if self._ended:
            self._follow_all()
        return 'ok'

    def _holds(self, gate: Life | None) -> bool:
        return gate is not None and gate.state == PROCESSING and gate.flags & GATE != 0

    def _delegate(self, life: Life, to: Argument, seal: bytes) -> None:
        """Let it wait for another."""
        raise NotImplementedError
