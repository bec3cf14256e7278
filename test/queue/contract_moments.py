"""The contract of a task queue as tests: what holds to the millisecond."""
from __future__ import annotations

from test.queue.contract import Contract, message
from worq import const


class Moments(Contract):

    def test_where_a_gap_begins(self) -> None:
        """A tick so long after the last one finds the lease over; a millisecond more is a gap."""
        for late, state in enumerate(['enqueued', 'processing']):
            id = f'a{late}'
            self.tick()
            self.put(message(id, lease=const.GAP))
            self.take_one(id)
            self.advance(const.GAP + late)
            self.q.beat('ticker')
            self.assertEqual(self.status(id), [state])
            self.q.cancel([id])

    def test_ready_before_the_clock_was_set_back(self) -> None:
        """What was ready before the clock was set back a little has waited no time, not less."""
        self.put(message('a'))
        self.advance(-const.TICK)
        self.assertEqual(self.q.oldest(), [None, 0, None])

    def due(self, id: str) -> int | None:
        one, = self.q.inspect([id])
        assert one is not None
        return one.due

    def test_how_far_the_clock_is_set_back(self) -> None:
        """As far back as one tick is from the next, it is believed. From there on it is not: for
        the queue it goes on from the last tick."""
        self.put(message('a', delay=9_000))
        self.tick()
        self.advance(-const.TICK)
        self.assertEqual(self.due('a'), 9_000)
        self.advance(-1)
        self.assertEqual(self.due('a'), 8_000)

    def test_how_far_the_clock_can_be_set_back(self) -> None:
        """Further back than any span is, the last tick is what is wrong, not the clock."""
        span = const.SPAN * 1_000
        for back, due in [(span, 8_000), (span + 1, 8_000 + span + 1)]:
            self.tearDown()
            self.setUp()
            self.put(message('a', delay=9_000))
            self.tick()
            self.advance(-back)
            self.assertEqual(self.due('a'), due)
            self.advance(back)

    def test_how_long_a_pool_is_taken_to_live(self) -> None:
        """Nobody else gets what a pool knows until its lease is over, and then all do."""
        for pool in 'ab':
            self.q.join(pool, {'tasks': pool, 'unknown_grace': '0'})
        for id, ms, got in [('a1', 0, []), ('a2', 1, ['a2'])]:
            self.tick(const.LEASE if not ms else ms)
            self.q.tell('b', {'tasks': 'b', 'unknown_grace': '0'})
            self.put(message(id, header=b'a'))
            self.assertEqual(self.ids(9, 'b'), got)
        self.tick()
        self.assertEqual(self.ids(9, 'b'), ['a1'])   # which stood aside
