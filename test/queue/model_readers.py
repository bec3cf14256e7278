"""The same model, and those who look at its tasks in pages and as graphs."""
from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from test.queue.model import ENDED, IDS
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

    def was_purged(self, id: str) -> bool:
        raw, = self.q('results', [id])
        record = unpack(raw)
        return record.origin is None and record.data.endswith(b'the queue was purged')
