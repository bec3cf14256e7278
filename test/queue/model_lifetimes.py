"""The same model, and whether what goes before its time may, and what should go does."""
from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from test.queue.model import CLIENTS, ENDED, IDS, OVER, some_ids
from test.queue.model_gates import Builders
from worq import const
from worq.queue import base
from worq.queue.base import Message, unpack

__all__ = ['Lenders']


class Lenders(Builders):
    """Users some of whose tasks are needed by others only."""

    def __init__(self) -> None:
        super().__init__()
        self.watched: set[str] = set()    # nonces of what somebody has asked for
        self.foreseen: set[str] = set()   # ... or may have, by a put
        self.forgotten: set[str] = set()
        self.before: dict[str, str] = {}  # by id: the nonce of what was completed a step ago
        self.q.listener = self.hear

    def hear(self, verb: str, args: tuple[Any, ...]) -> None:
        """Note what is asked of the queues."""
        if verb == 'watch':
            self.watched |= {self.lives[id].nonce for id in args[1] if id in self.lives}
        elif verb == 'put' and len(args) > 2 and args[2]:
            self.foreseen |= {one.nonce for one in args[0]}
        elif verb == 'forget':
            self.forgotten |= {self.lives[id].nonce for id in args[0] if id in self.lives}

    def lent(self, one: Message) -> bool:
        """Whether it is to go when nothing needs it, and something has."""
        return bool(one.flags & base.NEEDED) and one.nonce not in self.watched \
            and any(one.nonce in edges for edges in self.edges.values())

    @rule(picks=some_ids, client=st.sampled_from(['', *CLIENTS]))
    def cancel_what_nobody_needs(self, picks: list[int], client: str) -> None:
        ids = self.known(picks)
        live = {one.nonce: one for id, one in self.lives.items() if self.states.get(id) not in OVER}
        for id, word in zip(ids, self.q('cancel', ids, client), strict=True):
            if word == 'cancelled' and not self.lagging:
                assert not [one for one in live.values() if one.id not in ids
                            and self.lives[id].nonce in self.edges[one.nonce]], id

    @rule(picks=some_ids, twice=st.booleans())
    def withdraw(self, picks: list[int], twice: bool) -> None:
        """Some that were moved elsewhere leave; nothing goes with them."""
        ids = self.known(picks)
        states = dict(zip(ids, self.q('status', ids), strict=True))
        words = self.q('withdraw', ids, 'moved')
        for id, word in zip(ids, words, strict=True):
            if word == 'withdrawn':
                assert states[id] not in (*OVER, 'processing'), id
        if twice:
            assert 'withdrawn' not in [
                word for word, before in zip(self.q('withdraw', ids, 'moved'), words, strict=True)
                if before != 'needed']

    @invariant()
    def nothing_goes_too_early(self) -> None:
        """What is gone that was there is needed by nothing, and nobody has asked for it."""
        live = {one.nonce for id, one in self.lives.items()
                if self.states.get(id) not in OVER}
        for id, life in self.before.items():
            one = self.lives[id]
            if one.nonce == life and self.states[id] is None and life not in self.forgotten:
                assert self.lent(one), (id, 'has gone')
                raw = self.records[life]
                assert unpack(raw).kind == base.VALUE, (id, raw)
                assert not [other for other in live if life in self.edges[other]], (id, 'is needed')
        self.before = {id: self.lives[id].nonce for id in IDS
                       if self.states.get(id) in ENDED}

    def agreed_at_last(self) -> None:
        """Nothing waits any more, and so all has gone that was an argument of what has run."""
        run = {d.token[:const.NONCE].decode() for _, d in self.taken}
        used = {life for one in self.messages if one.nonce in run
                for life in self.edges[one.nonce][:len(one.arguments)]}
        for id, raw in zip(IDS, self.q('results', IDS), strict=True):
            if raw is not None and self.lent(self.lives[id]) \
                    and self.lives[id].nonce in used - self.foreseen:
                assert unpack(raw).kind != base.VALUE, (id, raw)
