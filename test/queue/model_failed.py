"""The same model, and what is kept of its tasks that failed."""
from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from test.queue.model import ENDED, IDS
from test.queue.model_readers import Lookers
from worq import const
from worq.queue import base

__all__ = ['Mourners']


class Mourners(Lookers):
    """Users, and those who look at what failed."""

    bounded = False

    @rule(most=st.sampled_from([0, 1, 2, 3, 10]))
    def bound(self, most: int) -> None:
        """Narrower bounds."""
        value = b'%d 100000' % most
        assert self.q('note', const.KEEP_FAILED, value) == value
        self.registers[const.KEEP_FAILED] = value
        self.bounded = True

    @rule()
    def look_at_failures(self) -> None:
        """What is kept of a failure is what it was put with."""
        states = dict(zip(IDS, self.q('status', IDS), strict=True))
        for id, found in zip(IDS, self.q('message', IDS), strict=True):
            state = states[id]
            if state is None or state in ENDED and state not in ('failed', 'expired'):
                assert found is None, (id, state)
                continue
            one = self.lives[id]
            if found is None:
                assert state in ENDED and (self.bounded or self.origin(id) or self.gated(id))
                continue
            assert (found.nonce, found.header, found.body) == (one.nonce, one.header, one.body)
            names = [argument.id for argument in one.arguments]
            assert list(found.arguments[:len(names)]) == names

    def origin(self, id: str) -> bool:
        """Whether its failure came from another."""
        raw, = self.q('results', [id])
        return base.unpack(raw).origin is not None

    def gated(self, id: str) -> bool:
        return self.lives[id].nonce in self.behind
