"""The same model, and those who look at its tasks in pages and as graphs."""
from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from test.queue.model import ENDED, IDS, some_ids
from test.queue.model_gates import GATES
from test.queue.model_counting import Counters
from worq import const
from worq.queue.base import Row, TaskQueue, unpack

__all__ = ['Lookers']

LIVE = ['pending', 'scheduled', 'enqueued', 'processing']


def rows(queue: TaskQueue, state: str, newest: bool, count: int) -> list[Row]:
    """All pages of a queue."""
    found, cursor = queue.scan(state, (), newest, '', count)
    while cursor:
        page, cursor = queue.scan(state, (), newest, cursor, count)
        found += page
    return found


class Lookers(Counters):
    """Users, and those who look."""

    @rule(newest=st.booleans(), count=st.sampled_from([1, 2, 100]))
    def scan(self, newest: bool, count: int) -> None:
        """Each task is in the pages of its state, and of no other."""
        states = dict(zip([*IDS, *GATES], self.q('status', [*IDS, *GATES]), strict=True))
        for state in [*LIVE, *ENDED - {'success'}]:
            answers = [sorted(rows(queue, state, newest, count)) for queue in self.q.queues]
            assert answers == answers[:1] * len(answers), (state, answers)
            found = {row.id: row for row in answers[0]}
            assert len(found) == len(answers[0])
            there = {id for id in IDS if states[id] == state}
            if state == 'cancelled':
                there -= {id for id in there if self.was_purged(id)}
            assert found.keys() == there, (state, found.keys(), there)
            for id, row in found.items():
                one = self.lives[id]
                assert row.nonce == one.nonce and row.state == state
                assert row.name.encode() == one.header.partition(b'\n')[0]
                assert 0 < row.since <= self.q.now + const.REACH

    @rule(pick=some_ids, up=st.integers(0, 3), down=st.integers(0, 3),
          limit=st.sampled_from([1, 3, 100]))
    def family(self, pick: list[int], up: int, down: int, limit: int) -> None:
        """The graph around a task is what was put, as far as it is told."""
        id, *_ = self.known(pick)
        nodes = self.q('family', id, up, down, limit)
        states = self.q('status', [node.id for node in nodes])
        assert (nodes and nodes[0].id) == (id if self.q('status', [id]) != [None] else []), id
        assert len(nodes) <= limit
        for node, state in zip(nodes, states, strict=True):
            one = self.lives.get(node.id)
            assert -up <= node.level <= down and node.state == state
            if one is not None:
                assert node.nonce == one.nonce
                anew = self.anew.get(one.nonce, [])
                mine = [a.id for a in one.arguments] + anew
                assert [name for name in mine if name in node.arguments] == [*node.arguments]

    def was_purged(self, id: str) -> bool:
        raw, = self.q('results', [id])
        record = unpack(raw)
        return record.origin is None and record.data.endswith(b'the queue was purged')
