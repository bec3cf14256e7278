"""A pool's side of what is long, or is refused: it goes alone, and leases are renewed meanwhile."""
from __future__ import annotations

import threading
import time
import unittest
from typing import Any
from unittest import mock

import worq
from test import leaks, support
from test.queue.contract import message
from test.support import eq_, eventually
from worq import QueueError, TooLarge, const
from worq.pool.base import Desk
from worq.pool.children import heartbeat
from worq.queue.base import Outcome
from worq.queue.memory import queue as memory

MB = 1 << 20
PATIENCE = 30


class Faulty(memory.TaskQueue):
    """A queue in memory that refuses some outcomes."""

    heavy = 1000

    def __init__(self) -> None:
        super().__init__('memory://', 'faulty')
        self.refused: dict[str, QueueError] = {}
        self.sent: list[list[str]] = []

    def settle(self, pool: str, outcomes: Any) -> list[str]:
        self.sent.append([one.id for one in outcomes])
        for one in outcomes:
            if one.id in self.refused and one.word != 'expire':
                raise self.refused[one.id]
        return super().settle(pool, outcomes)

    def turn(self, pool: str, outcomes: Any = (), *rest: Any) -> Any:
        words = self.settle(pool, outcomes) if outcomes else []
        return super().turn(pool, (), *rest)._replace(settled=words)


class Company(unittest.TestCase):

    def setUp(self) -> None:
        leaks.watch(self)
        self.queue = Faulty()
        self.desk = Desk(self.queue, 15_000)
        ids = [*'abcd']
        self.queue.put([message(id) for id in ids])
        self.outcomes = [Outcome(one.id, one.token, 'value', b'x')
                         for one in self.desk.turn([], 4)[0]]
        self.addCleanup(self.desk.leave)

    def turns(self) -> None:
        self.desk._retry_at = 0
        self.desk.turn([], 0)

    def test_refused(self) -> None:
        """One that is refused, whatever for, holds up the others only until it goes alone."""
        self.queue.refused['b'] = QueueError('not this one')
        with self.assertLogs('worq.pool', 'WARNING'):
            self.desk.turn(self.outcomes, 0)
            eq_(self.queue.status([*'abcd']), ['processing'] * 4)
            self.turns()
            eventually(lambda: self.queue.status([*'abcd']),
                       ['success', 'processing', 'success', 'success'])
            eventually(lambda: self.queue.sent.count(['b']) > 1)
        self.assertEqual({one.id for one in self.desk.held.values()}, {'b'})
        self.queue.refused.clear()
        eventually(lambda: self.queue.status(['b']), ['success'])
        eventually(lambda: self.desk.owes, False)

    def test_too_large(self) -> None:
        """One that is too large ends its task, and the queue is not taken for lost."""
        self.queue.refused['b'] = TooLarge('no more than 5 bytes', 9, 5)
        with self.assertLogs('worq.pool', 'WARNING') as logs:
            self.desk.turn(self.outcomes, 0)
            eventually(lambda: self.queue.status([*'abcd']),
                       ['success', 'expired', 'success', 'success'])
        line, = logs.output
        self.assertIn('its result, 1 bytes, cannot be stored: no more than 5 bytes', line)
        record = self.queue.results(['b'])[0] or b''
        eq_(record[const.NONCE:const.NONCE + 1], b'x')

    def test_heavy_ones_go_alone(self) -> None:
        """A long outcome never travels with others, and no more is taken than goes."""
        a, b, c, d = self.outcomes
        with mock.patch('worq.pool.base.FULL', 1500):
            held = threading.Event()
            real = self.queue.settle

            def settle(pool: str, outcomes: Any) -> list[str]:
                if outcomes[0].id == 'b':
                    held.wait(PATIENCE)
                return real(pool, outcomes)
            with mock.patch.object(self.queue, 'settle', settle):
                self.desk.turn([a, b._replace(data=bytes(1000)), c, d._replace(data=bytes(1000))],
                               0)
                eq_(self.queue.status([*'abcd']),
                    ['success', 'processing', 'success', 'processing'])
                self.queue.put([message('e')])
                eq_(self.desk.turn([], 1), ([], []))   # more comes than goes
                self.assertTrue(self.desk.owes)
                held.set()
                eventually(lambda: self.queue.status([*'bd']), ['success'] * 2)
        eventually(lambda: self.desk.owes, False)
        eq_([one.id for one in self.desk.turn([], 1)[0]], ['e'])
        self.desk.settle([Outcome('e', [*self.desk.held][0], 'value')])
        eq_([sent for sent in self.queue.sent if len(sent) > 1], [['a', 'c']])


class Beats(unittest.TestCase):

    def test_while_a_batch_is_put(self) -> None:
        """A batch whose put takes longer than its gate is leased for is not given up."""
        broker = worq.get_broker('memory://', support.unique())
        self.addCleanup(broker.close)
        beats = threading.Event()
        backend = broker.backend
        real, put = backend.beat, backend.put

        def beat(pool: str, held: Any, lease: int) -> Any:
            lost = real(pool, held, lease)
            eq_((lost, [one.id for one in held]), ([], [pool]))
            beats.set()
            return lost

        def slowly(messages: Any, gate: str = '') -> Any:
            if any(len(message.body) > MB for message in messages):
                beats.clear()   # those between two steps are no help now
                self.assertTrue(beats.wait(5))
            return put(messages, gate)
        with mock.patch.object(backend, 'beat', beat), mock.patch.object(backend, 'put', slowly), \
                mock.patch('worq.builder.BEAT', 0.01), worq.batch(broker.queue()) as q:
            for _ in range(600):
                broker.queue().same()
            broker.queue().same(bytes(2 * MB))
        assert q
        eq_(len(broker), 601)

    def test_while_a_turn_hangs(self) -> None:
        """While the one thread of a pool waits for an answer, its leases are renewed, and what a
        beat tells comes with the next turn."""
        queue = memory.TaskQueue('memory://', 'beats')
        queue.put([message('a', header=b'f\nlease 300', lease=300), message('b')])
        woken = threading.Event()
        desk = Desk(queue, 15_000, wake=woken.set)
        desk.turn([], 2)
        with mock.patch.object(heartbeat, 'SLACK', 0.01):
            beating = heartbeat.Heartbeat(desk)
            self.addCleanup(beating.close)
            time.sleep(0.7)   # more than two leases, in which nothing else is done
            eq_(queue.status(['a', 'b']), ['processing'] * 2)
            eq_(queue.stats()['redelivered'], 0)
            queue.cancel(['b'])
            self.assertTrue(woken.wait(PATIENCE))
        eq_([(one.id, one.word) for one in desk.turn([], 0)[1]], [('b', 'cancelled')])
