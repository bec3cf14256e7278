"""The same model, and people who look at what failed, and have it run again."""
from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from test.queue.model import ENDED, IDS, some_ids
from test.queue.model_readers import Lookers
from worq import const
from worq.queue import base
from worq.queue.base import Delivery, Revival

__all__ = ['Mourners']


class Mourners(Lookers):
    """Users, and those who look at what failed, and have it run again."""

    bounded = False

    def __init__(self) -> None:
        super().__init__()
        self.following: set[str] = set()   # nonces of what may be run again with any verb

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
                assert state in ENDED and (self.bounded or self.origin(id) or self.gated(id)
                                           or self.circular(id))
                continue
            assert (found.nonce, found.header, found.body) == (one.nonce, one.header, one.body)
            names = [argument.id for argument in one.arguments]
            assert list(found.arguments[:len(names)]) == names

    def origin(self, id: str) -> bool:
        """Whether its failure came from another."""
        raw, = self.q('results', [id])
        return base.unpack(raw).origin is not None

    def circular(self, id: str) -> bool:
        """Whether it had returned a Deferred that waits for itself, which is not kept."""
        raw, = self.q('results', [id])
        return base.unpack(raw).data.endswith(b'\nit returned a Deferred that waits for itself')

    def gated(self, id: str) -> bool:
        return self.lives[id].nonce in self.behind

    @precondition(lambda self: {'failed', 'expired'} & set(self.states.values()))
    @rule(picks=some_ids, downstream=st.booleans(), twice=st.booleans())
    def revive(self, picks: list[int], downstream: bool, twice: bool) -> None:
        """What is run again has failed, and has no outcome any more."""
        failed = [id for id in self.lives if self.states[id] in ('failed', 'expired')]
        ids = list(dict.fromkeys(failed[pick % len(failed)] for pick in picks))
        origins = {nonce: base.unpack(raw).origin for nonce, raw in self.records.items()}
        revivals = [Revival(id, self.lives[id].nonce) for id in ids]
        words = self.q('revive', revivals, downstream)
        assert set(words) <= {'revived', 'gone', 'pinned', 'arguments', 'failed', 'live'}
        for id, word in zip(ids, words, strict=True):
            nonce = self.lives[id].nonce
            if word == 'live':   # one before it in this very call has led to that
                assert nonce in self.following
            if word != 'revived':
                continue
            if downstream:
                self.following |= {other for other, origin in origins.items()
                                   if origin is not None and origin[1] == nonce}
            self.begin_again(id)
        if twice:
            later = self.q('revive', revivals, downstream)
            assert all(again == 'live' for word, again in zip(words, later, strict=True)
                       if word == 'revived'), (words, later)
            for id, word in zip(ids, later, strict=True):
                if word == 'revived':   # what had prevented it is done by now
                    self.begin_again(id)

    def begin_again(self, id: str, taken: bool = False) -> None:
        """It is live again, and may have another outcome."""
        life = self.lives[id].nonce
        self.following.discard(life)
        self.accepted.discard(life)
        self.records.pop(life, None)
        self.memos.pop(life, None)
        found = None if taken else self.q('inspect', [id])[0]
        if found is None or not found.target:
            self.delegated.pop(life, None)

    @invariant()
    def agreed(self) -> None:
        states = self.q('status', IDS)
        for id, state, raw in zip(IDS, states, self.q('results', IDS), strict=True):
            life = self.lives[id].nonce if id in self.lives else ''
            if life in self.following and state is not None \
                    and (state not in ENDED or raw != self.records.get(life)):
                self.begin_again(id)
        super().agreed()

    def received(self, pool: str, deliveries: list[Delivery], lost: bool,
                 fetched: Sequence[Delivery] = ()) -> None:
        for one in [*deliveries, *fetched]:
            if one.token[:const.NONCE].decode() in self.following:
                self.begin_again(one.id, True)
        super().received(pool, deliveries, lost, fetched)
