"""Calls that are waited for, one after the other, are watched by the put that stores them."""
from __future__ import annotations

import asyncio
import gc
import unittest
from unittest import mock

from test.broker_case import BrokerCase, on_every_queue
from test.support import eq_
from worq import Task, inbox
from worq.errors import QueueError
from worq.habit import MOST, Habit
from worq.ids import new_nonce
from worq.shield import running


def identity(x):
    return x


class Score(unittest.TestCase):
    """The guess alone."""

    def call(self, habit, n, waits):
        """How many of n calls are guessed to be waited for; and whether they are."""
        guessed = 0
        for _ in range(n):
            id = new_nonce()
            guess = habit.guess(id)
            guessed += guess
            if waits:
                habit.waited(id, not guess)
                habit.waited(id, False)   # a second wait is none
        return guessed

    def test_waits(self):
        """Two waits in a row, and it begins; nobody waits any more, and it ends."""
        habit = Habit()
        eq_(self.call(habit, 1000, False), 0)
        eq_(self.call(habit, 2, True), 0)
        eq_(self.call(habit, 1000, True), 1000)
        self.assertLess(self.call(habit, 1000, False), MOST)
        eq_(self.call(habit, 1000, False), 0)
        eq_(self.call(habit, 2, True), 0)
        eq_(self.call(habit, 10, True), 10)

    def test_few_waits(self):
        """Who waits for one of ten calls has next to none of them watched."""
        habit = Habit()
        self.call(habit, 100, True)
        guessed = sum(self.call(habit, 9, False) + self.call(habit, 1, True) for _ in range(100))
        self.assertLess(guessed, MOST)

    def test_forgets(self):
        """What was guessed wrong does not pile up."""
        habit = Habit()
        for _ in range(1000):
            self.call(habit, 2, True)
            self.call(habit, 1, False)
        self.assertLessEqual(len(habit._watched), 100)

    def test_in_a_task(self):
        """No call of a task is watched: nobody may have asked for a tail call."""
        habit = Habit()
        self.call(habit, 100, True)
        token = running.set(mock.Mock())
        try:
            eq_(self.call(habit, 10, True), 0)
        finally:
            running.reset(token)
        eq_(self.call(habit, 1, True), 1)


class HabitContract(BrokerCase):
    """What becomes of such calls, and of their Deferreds."""

    __test__ = False

    def setUp(self):
        super().setUp()
        before, inbox.REWATCH = inbox.REWATCH, 1000   # nothing hangs on it
        self.addCleanup(setattr, inbox, 'REWATCH', before)
        self.b = self.broker()
        self.b.expose(identity)
        self.q = self.b.queue()
        self.worker = self.broker()
        self.worker.expose(identity)
        self.real, self.clients, self.watches = self.b.backend, [], 0
        for _ in range(4):
            d = self.q.identity(1)
            self.work(self.worker)
            eq_(d.result(30), 1)
        self.put, self.watch = self.real.put, self.real.watch
        self.replace('put', self.counted)
        self.replace('watch', self.watched)

    def replace(self, verb, other):
        patch = mock.patch.object(self.real, verb, other)
        patch.start()
        self.addCleanup(patch.stop)

    def counted(self, messages, gate='', client=''):
        self.clients.append(client)
        return self.put(messages, gate, client)

    def watched(self, client, ids):
        self.watches += 1
        return self.watch(client, ids)

    def test_no_look(self):
        """Whoever calls and waits, time and again, asks for nothing but news; so do coroutines."""
        for n in range(3):
            d = self.q.identity(n)
            self.work(self.worker)
            eq_(d.result(30), n)

        async def main():
            for n in range(3):
                d = self.q.identity(n)
                self.work(self.worker)
                eq_(await d, n)
        asyncio.run(main())
        eq_((self.clients, self.watches), ([self.b.inbox.client] * 6, 0))

    def test_not_waited_for(self):
        """When nobody waits any more that ends; what was watched in vain leaves nothing behind."""
        many = [self.q.identity(n) for n in range(100)]
        self.assertLess(sum(map(bool, self.clients)), MOST)
        eq_(self.clients[MOST:], [''] * (100 - MOST))
        last = many[-1]
        del many
        gc.collect()
        self.work(self.worker)
        eq_(last.result(30), 99)
        news = self.real.wait(self.b.inbox.client, 0)
        eq_(len(news), sum(map(bool, self.clients)))
        self.b.inbox._take_hints(news)
        eq_(self.b.inbox._asked, {})

    def test_bulk(self):
        """Calls that are put together are not watched."""
        made = list(self.b.enqueue_all('identity', [(n,) for n in range(10)], Task(
            self.q.identity)._options))
        eq_(len(made), 10)
        self.assertFalse(any(self.clients))

    def test_never(self):
        """Nor are those without a result, and those of a given id, which may have had a life."""
        Task(self.q.identity, ignore_result=True)(1)
        Task(self.q.identity, id='x')(1)
        eq_(self.clients, ['', ''])

    def test_news_before_the_put_is_over(self):
        """Whoever else leads may get the news while the caller has no Deferred yet."""
        for length in 1, 100_000:
            def put(messages, gate, client):
                eq_(self.put(messages, gate, client), [])
                self.assertTrue(client)
                self.work(self.worker)
                self.b.inbox._take_hints(self.real.wait(client, 5))
                return []

            with mock.patch.object(self.real, 'put', put):
                d = self.q.identity('x' * length)
            eq_(d.has_value(), length == 1)   # what is long is fetched by who waits for it
            eq_(d.result(30), 'x' * length)

    def test_doubts_before_the_put_is_over(self):
        """Nobody looks for what the queue may not know yet, though news of others was missed."""
        for n in range(3):
            d = self.q.identity(n)
            self.work(self.worker)
            eq_(d.result(30), n)
        box, real = self.b.inbox, self.b.backend.put
        doubted = []

        def put(messages, gate='', client=''):
            box._doubt()
            doubted.extend(one.id for one in messages if one.id in box._fresh)
            return real(messages, gate, client)
        with mock.patch.object(self.b.backend, 'put', put):
            deferred = self.q.identity(3)
        eq_(doubted, [])
        self.assertIn(deferred.id, box._asked)   # so it was foreseen
        box._doubt()
        self.assertIn(deferred.id, box._fresh)   # and now it may be looked for
        eq_(box._putting, set())

    def test_put_that_fails(self):
        """A call that cannot be put, as far as anybody knows, is not waited for."""
        def put(messages, gate, client):
            self.put(messages, gate, client)
            raise QueueError('away')

        with mock.patch.object(self.real, 'put', put), self.assertRaises(QueueError):
            self.q.identity(1)
        self.work(self.worker)
        d = self.q.identity(2)
        self.work(self.worker)
        eq_(d.result(30), 2)
        eq_(self.real.wait(self.b.inbox.client, 0), [])

    def test_lost_news(self):
        """News that never came is asked for, as that of any other."""
        d = self.q.identity(1)
        self.work(self.worker)
        eq_([id for id, _ in self.real.wait(self.b.inbox.client, 5)], [d.id])
        with mock.patch.object(inbox, 'REWATCH', 0.05):
            self.b.inbox._rewatch_at = 0.0   # it was far away, see above
            eq_(d.result(30), 1)
        d = self.q.identity(2)
        self.work(self.worker)
        self.real.wait(self.b.inbox.client, 5)
        self.assertTrue(d.wait(0.05))   # and at the end of its time by all means


on_every_queue(globals(), HabitContract)
