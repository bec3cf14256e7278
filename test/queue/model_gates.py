"""A model of those who build behind gates and of chains, beside all other users of a queue."""
from __future__ import annotations

from itertools import pairwise
from typing import Any, Sequence

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from test.queue.contract import message
from test.queue.model import ENDED, FINAL, IDS, LONG, OVER, Users, picks, plans, pools
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Held, Message, Outcome

GATES = ['a gate', 'b gate']

MOVED = ['value', 'failure', 'expire', 'delegate', 'delegate', 'retry']
PLAIN = {'duplicate': True, 'arguments': [], 'priority': 0}

gates = st.sampled_from(GATES)


class Builders(Users):
    """Users who put tasks behind gates, in steps, and may die on the way."""

    def __init__(self) -> None:
        super().__init__()
        self.gates: dict[str, Message] = {}    # the last one stored of each id
        self.opened: set[str] = set()          # nonces of gates that ended with a value
        self.lives_of: dict[str, str] = {}     # by nonce of a task: that of its gate

    def held_gates(self) -> list[str]:
        states = self.q('status', list(self.gates))
        return [id for id, state in zip(self.gates, states, strict=True) if state == 'processing']

    @rule(gate=gates, lease=st.sampled_from([0, 4_000, 40_000]))
    def open_gate(self, gate: str, lease: int) -> None:
        one = message(gate, flags=base.GATE, lease=lease, ttl=LONG, body=b'')
        answers = [self.q('put', [one]) for _ in range(2)]
        assert answers[0] == answers[1]
        if not answers[0]:
            self.gates[gate] = one

    @precondition(lambda self: self.gates)
    @rule(gate=gates, plans=st.lists(plans, min_size=1, max_size=3), twice=st.booleans())
    def put_behind(self, gate: str, plans: list[dict[str, Any]], twice: bool) -> None:
        before = len(self.messages)
        self.put(plans, twice, gate)
        for one in self.messages[before:]:
            self.lives_of[one.nonce] = self.gates[gate].nonce

    @precondition(lambda self: self.held_gates())
    @rule(pick=picks, arguments=st.lists(st.integers(0, 20), max_size=3),
          shift=st.sampled_from([0] * 5 + [-1, 1]), other=st.sampled_from([False] * 5 + [True]))
    def add_edges(self, pick: int, arguments: list[int], shift: int, other: bool) -> None:
        """More arguments for a task behind a gate; mostly one that may have some."""
        waiting = [one for one in self.lives.values() if one.nonce in self.behind
                   and (other or self.q('status', [one.id]) == ['pending'])]
        if not waiting:
            return
        one = waiting[-1 - pick % len(waiting)]
        names = {id for id, in map(self.known, ([n] for n in arguments))}
        fresh = sorted(names - {one.id} - {a.id for a in one.arguments})
        edges = tuple(Argument(id, '') for id in fresh)
        start = max(len(one.arguments) + shift, 0)
        gate = self.behind[one.nonce]
        answers = [self.q('edges', gate, one.id, one.nonce, start, edges) for _ in range(2)]
        assert answers[0] == answers[1]
        if not answers[0] and start == len(one.arguments) \
                and self.q('status', [one.id]) == ['pending']:
            more = one._replace(arguments=one.arguments + edges)
            self.lives[one.id] = more
            self.messages[self.messages.index(one)] = more
            self.edges[one.nonce] += [self.lives[id].nonce for id in fresh]

    @precondition(lambda self: self.held_gates())
    @rule(gate=gates, pick=picks, word=st.sampled_from(MOVED), goal=st.integers(0, 9))
    def settle_behind(self, gate: str, pick: int, word: str, goal: int) -> None:
        """Something that a gate holds back was begun elsewhere, as whoever holds it tells."""
        waiting = [one for one in self.lives.values() if one.nonce in self.behind]
        if not waiting:
            return
        one = waiting[-1 - pick % len(waiting)]
        to, = self.known([goal])
        life = self.lives[to].nonce if pick % 2 and to in self.lives else ''
        outcomes = [Outcome(one.id, f'{one.nonce}0'.encode(), word, b'moved', 0,
                            Argument(to, life))]
        self.held.setdefault(gate, {})
        self.settled(gate, outcomes, self.q('settle', gate, outcomes))

    @precondition(lambda self: self.held_gates())
    @rule(gate=gates, word=st.sampled_from(
        ['value'] * 6 + ['failure', 'release', 'retry', 'lost', 'refuse', 'delegate', 'expire']))
    def end_gate(self, gate: str, word: str) -> None:
        if gate in self.gates:
            nonce = self.gates[gate].nonce
            it = Outcome(gate, f'{nonce}1'.encode(), word, b'x', 0, Argument('a', ''))
            told, = self.q('settle', gate, [it])
            if told == 'ok' and word == 'value':
                self.opened.add(nonce)

    @precondition(lambda self: self.held_gates())
    @rule(gate=gates, event=st.sampled_from(['beat', 'beat', 'cancel', 'abandon', 'reconcile']))
    def to_a_gate(self, gate: str, event: str) -> None:
        if gate not in self.gates:
            return
        token = f'{self.gates[gate].nonce}1'.encode()
        if event == 'beat':
            self.q('beat', gate, [Held(gate, token)])
        elif event == 'cancel':
            self.q('cancel', [gate])
        else:
            self.q(event, gate, 'killed' if event == 'abandon' else [])

    def received(self, pool: str, deliveries: list[Delivery], lost: bool,
                 fetched: Sequence[Delivery] = ()) -> None:
        for delivery in [*deliveries, *fetched]:
            life = delivery.token[:const.NONCE].decode()
            gate = self.lives_of.get(life)
            assert gate is None or gate in self.opened or life in self.anew \
                or life in self.delegated, 'taken before its gate had ended'
        super().received(pool, deliveries, lost, fetched)

    @invariant()
    def gates_agreed(self) -> None:
        """All queues show the same of gates, and who waits for one says so."""
        self.q('results', GATES)
        self.q('message', IDS)
        lives = list(self.lives.values())
        found = self.q('inspect', [*GATES, *(one.id for one in lives)])
        for id, state, seen in zip(GATES, self.q('status', GATES), found):
            assert state in {*OVER, 'processing'} and state == (seen and seen.state)
        for one, seen in zip(lives, found[len(GATES):], strict=True):
            if seen and seen.state not in ENDED and not self.lagging:
                gate = self.lives_of.get(one.nonce)
                waits = gate is not None and gate not in self.opened \
                    and one.nonce not in self.anew   # that is signed, not begun
                assert seen.gate == (self.behind[one.nonce] if waits else ''), (seen, gate)
                assert not waits or seen.state == 'pending'

    def drain(self) -> None:
        super().drain()
        assert set(self.q('forget', GATES)) <= {'forgotten', 'unknown'}

    # -- long chains --------------------------------------------------------------

    @rule(pool=pools, n=st.integers(2, 6), word=st.sampled_from(FINAL), wait=st.booleans())
    def tail_calls(self, pool: str, n: int, word: str, wait: bool) -> None:
        """New tasks of which each returns the next one; the last one ends, first or last."""
        free = [id for id in IDS if self.states.get(id) in OVER][:n]
        for id in free:
            self.put([{**PLAIN, 'id': id}], False)
        deliveries = self.q('take', pool, n)
        self.received(pool, deliveries, False)
        outcomes = [Outcome(d.id, d.token, 'delegate', b'seal', 0, Argument(next.id, ''))
                    for d, next in pairwise(deliveries)]
        outcomes += [Outcome(d.id, d.token, word, b'the end') for d in deliveries[-1:]]
        outcomes = outcomes if wait else outcomes[::-1]
        self.settled(pool, outcomes, self.q('settle', pool, outcomes))
