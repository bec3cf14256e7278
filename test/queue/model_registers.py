"""The same model, with registers: what was noted is there, and what is put with it, too."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule

from test.queue.model import plans
from test.queue.model_lifetimes import Lenders
from worq import const
from worq.queue.base import Delivery, Message, Note
from worq.queue.pauses import Patterns

__all__ = ['Keepers']

names = st.sampled_from(['a', 'a:1', 'a:2', 'é'])
values = st.sampled_from([b'', b'1', b'2'])
pauses = st.sampled_from([b'', b'', b'other\t\n', b'mod.*\t1\tann\n', b'*\t1\tbob\n',
                          b'nobody\t\nthird\t\n'])


class Keepers(Lenders):
    """Users who keep registers, too."""

    def __init__(self) -> None:
        super().__init__()
        self.registers: dict[str, bytes] = {}

    @rule(value=pauses, twice=st.booleans())
    def pause(self, value: bytes, twice: bool) -> None:
        for _ in range(1 + twice):
            assert self.q('note', const.PAUSES, value) == value
        self.noted(const.PAUSES, value)

    def received(self, pool: str, deliveries: list[Delivery], lost: bool,
                 fetched: Sequence[Delivery] = ()) -> None:
        paused = Patterns(self.registers.get(const.PAUSES, b''))
        for one in [*deliveries, *fetched]:
            assert not paused.held(one.header.partition(b'\n')[0]), 'taken while it was paused'
        super().received(pool, deliveries, lost, fetched)

    def drain(self) -> None:
        self.pause(b'', False)
        super().drain()

    def noted(self, name: str, value: bytes) -> None:
        self.registers.pop(name, None)
        if value:
            self.registers[name] = value

    @rule(name=names, value=values, if_was=st.one_of(st.none(), values), twice=st.booleans())
    def note(self, name: str, value: bytes, if_was: bytes | None, twice: bool) -> None:
        before = self.registers.get(name, b'')
        held = value if if_was in (None, before) else before
        for _ in range(1 + twice):
            assert self.q('note', name, value, if_was) == held
        self.noted(name, held)

    @rule(name=names, value=values, if_was=values, plans=st.lists(plans, max_size=2),
          twice=st.booleans())
    def put_noted(self, name: str, value: bytes, if_was: bytes, plans: list[dict[str, Any]],
                  twice: bool) -> None:
        messages: list[Message] = []
        for plan in plans:
            messages.append(self.message({**self.lives, **{m.id: m for m in messages}}, **plan))
        before = self.registers.get(name, b'')
        refusals = self.q('put', messages, '', '', Note(name, value, if_was))
        if before != if_was and (before != value or messages):
            (_, word, _, held), = refusals
            assert word == 'changed' and held == before
        if refusals:
            return
        self.noted(name, value)
        for one in messages:
            self.lives[one.id] = one
            self.edges[one.nonce] = [self.lives[a.id].nonce for a in one.arguments]
        self.messages += messages
        if twice and not any(one.flags for one in messages):
            assert self.q('put', messages, '', '', Note(name, value, if_was)) == []

    @invariant()
    def kept(self) -> None:
        assert self.q('notes') == sorted(self.registers.items(), key=lambda one: one[0].encode())
