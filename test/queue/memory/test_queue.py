"""The memory queue obeys the contract, and what only it can promise."""
from __future__ import annotations

import itertools
import os
import threading
import time
import unittest
from unittest import mock

from test.queue.contract import message, outcome
from test.queue.contract_pools import QueueContract
from worq import const
from worq.queue import base
from worq.queue.memory import queue as memory


class MemoryQueueTest(QueueContract, unittest.TestCase):

    now = 1_000_000

    def open(self, name: str) -> memory.TaskQueue:
        queue = memory.TaskQueue.open('memory://', name)
        queue.clock = lambda: self.now
        return queue

    def advance(self, ms: int) -> None:
        self.now += ms

    def tearDown(self) -> None:
        super().tearDown()
        memory.TaskQueue._opened.pop(('memory://', self.q.name), None)

    def test_no_test_is_hidden(self) -> None:
        """No two parts of the contract have a test of the same name: one would never run."""
        names = [name for part in QueueContract.__mro__ for name in vars(part)
                 if name.startswith('test_')]
        self.assertEqual(len(names), len(set(names)))

    def test_scans_of_many(self) -> None:
        """Of what is more than a few steps look at, the rest is read when it is asked for; what
        stands still comes once all the same."""
        with mock.patch.object(const, 'SCANNED', 1):
            self.test_order()
            self.q.purge()
            self.test_what_stands_still()
            many = [f'{i}' for i in range(30)]
            self.put(*map(message, many))
            for newest in False, True:
                _, cursor = self.q.scan('enqueued', newest=newest, count=1)
                self.q.cancel(['0', '29', '7'])
                self.put(message(f'new{newest}'))
                more: list[str] = []
                while cursor:
                    rows, cursor = self.q.scan('enqueued', newest=newest, cursor=cursor, count=1)
                    more += [row.id for row in rows]
                still = [id for id in many if id not in ('0', '29', '7')]
                self.assertEqual([id for id in more if id in many], still[::-1 if newest else 1])

    def test_open(self) -> None:
        """The same url and name are the same queue anywhere in the process."""
        self.assertIs(memory.TaskQueue.open('memory://', self.q.name), self.q)
        other = memory.TaskQueue.open('memory://other', self.q.name)
        self.assertIsNot(other, self.q)
        del memory.TaskQueue._opened['memory://other', self.q.name]

    def test_elsewhere(self) -> None:
        """In a pool's child every memory queue is one of the pool's process."""
        with mock.patch.object(memory, 'elsewhere', lambda *which: which):
            self.assertEqual(memory.TaskQueue.open('memory://', 'q'), ('memory://', 'q'))

    @unittest.skipUnless(hasattr(os, 'fork'), 'needs fork')
    def test_fork(self) -> None:
        """A forked child opens a queue of its own, even if a lock was held meanwhile."""
        self.put(message('a'))
        with self.q._lock:
            pid = os.fork()
            if not pid:
                try:
                    mine = memory.TaskQueue.open('memory://', self.q.name)
                    os._exit(int(mine.put([message('a')]) != [] or mine.size() != 1))
                finally:
                    os._exit(9)
        _, status = os.waitpid(pid, 0)
        self.assertEqual(os.waitstatus_to_exitcode(status), 0)

    def test_long_chain(self) -> None:
        """A failure goes down a chain of 100,000, which would overflow a recursion."""
        ids = [f'c{i}' for i in range(100_000)]
        self.put(message('c0'))
        for start in range(0, len(ids) - 1, const.PUT_LIMIT):
            pairs = itertools.pairwise(ids[start:start + const.PUT_LIMIT + 1])
            self.put(*[message(b, a) for a, b in pairs])
        self.assertEqual(self.q.size(), 100_000)
        self.complete('c0', b'because', 'failure')
        self.assertEqual(self.q.size(), 0)
        self.assertEqual(self.origin_of('c99999'), 'c0')
        self.assertEqual(self.q.purge(), 0)

    def test_delayed_wakes_take(self) -> None:
        """A take that waits gets what becomes due meanwhile, and what is put with a delay."""
        self.q.clock = memory.monotonic
        got: list[str] = []
        ready = threading.Event()

        def work() -> None:
            ready.set()
            got.extend(d.id for d in self.q.take('p1', 1, 20))

        thread = threading.Thread(target=work)
        thread.start()
        ready.wait(10)
        self.put(message('a', delay=30))
        thread.join(10)
        self.assertEqual(got, ['a'])

    def test_bell_thread(self) -> None:
        """The thread that rings bells ends with the last of them."""
        bells = [self.q.bell('p1') for _ in range(3)]
        for bell in bells:
            bell.arm()
        count = sum(thread.name == 'worq-memory-bell' for thread in threading.enumerate())
        self.assertEqual(count, 1)
        for bell in bells:
            bell.close()
        names = [thread.name for thread in threading.enumerate()]
        self.assertNotIn('worq-memory-bell', names)

    def test_expired_is_dropped_while_idle(self) -> None:
        """Outcomes whose time is over take no memory for long, though next to nothing is asked."""
        self.put(*(message(f'a{n}', ttl=1_000) for n in range(1_000)))
        self.settle(*(outcome(delivery) for delivery in self.take(1_000)))
        self.tick(3 * const.TICK)
        self.assertEqual(list(self.q._store.lives), [])

    def test_expired_go_as_fast_as_they_come(self) -> None:
        """Memory stays flat at any rate of outcomes that are kept for a second: by a few
        verbs for many tasks, by many verbs, and where one outcome completes many."""
        many = [f'a{n}' for n in range(1_000)]
        most = 0
        for round in range(21):
            way = round % 3
            if way == 2:
                self.put(message('f', ttl=1_000))
                self.put(*(message(id, 'f', ttl=1_000) for id in many))
                self.complete('f', b'', 'failure')
            else:
                self.put(*(message(id, ttl=1_000) for id in many))
                taken = self.take(len(many))
                n = [1_000, 10][way]
                for start in range(0, len(taken), n):
                    self.settle(*map(outcome, taken[start:start + n]))
            self.advance(250)
            self.q.beat('ticker')
            most = max(most, len(self.q._store.lives))
            many = [f'{id}+' for id in many]
        self.assertLess(most, 10 * len(many))   # those of two seconds, and what is left over
        self.advance(3_000)
        for _ in range(30):   # which an idle pool comes for at once
            self.q.beat('ticker')
        self.assertEqual(self.q._store.lives, {})

    def test_leftover_calls_for_a_pool(self) -> None:
        """A take does not sleep while there is more to forget."""
        self.put(*(message(f'a{n}', ttl=1_000) for n in range(2_500)))
        self.settle(*map(outcome, self.take(2_500)))
        self.advance(3_000)
        start = time.monotonic()
        self.assertEqual(self.take(timeout=1), [])
        self.assertEqual(self.q._store.lives, {})
        self.assertLess(time.monotonic() - start, 30)

    def test_results_of_a_clock_set_back(self) -> None:
        """Outcomes are forgotten after their time, also if the clock was set back."""
        self.put(message('a', ttl=3_000))
        self.complete('a')
        self.tick()
        self.advance(-3_600_000)
        self.q.beat('ticker')
        self.tick(5 * const.TICK)
        self.assertEqual(self.q._store.lives, {})

    def test_stale_entries_are_few(self) -> None:
        """What was cancelled, renewed or forgotten leaves no growing heap behind."""
        for _ in range(3_000):
            self.put(message('later', delay=10**9))
            self.q.cancel(['later'])
            self.q.forget(['later'])
        for agenda in [self.q._store.schedule, self.q._store._expiry]:
            self.assertLess(len(agenda), 1_100)

    def test_kept_anew(self) -> None:
        """An outcome that was an argument meanwhile is kept from then on, and no longer."""
        self.put(message('a', ttl=2_000))
        self.complete('a')
        self.put(message('b', 'a'))
        self.tick(1_500)
        self.complete('b')
        self.tick(1_500)
        self.assertEqual(sorted(self.q._store.lives), ['a', 'b'])
        self.tick(1_500)
        self.assertEqual(list(self.q._store.lives), ['b'])

    def test_one_end_one_entry(self) -> None:
        """An outcome that nothing depends on is entered once to be forgotten, and none never."""
        for flags, entries in [(0, 1), (base.IGNORE_RESULT, 1)]:
            self.put(message('a', flags=flags))
            self.complete('a')
            self.assertEqual(len(self.q._store._expiry), entries)
            self.q.forget(['a'])

    def test_idle_inbox_ends(self) -> None:
        """An inbox that no client comes for ends, and does not fill for ever."""
        self.put(message('a'))
        self.q.watch('gone', ['a'])
        self.advance(const.INBOX_TTL * 1_000 + 1)
        self.q.watch('here', ['a'])
        self.complete('a')
        self.assertEqual(list(self.q._inboxes._inboxes), ['here'])

    def test_audit_can_fail(self) -> None:
        """The audit sees each thing that may be wrong."""
        self.put(message('a'), message('b', 'a'), message('c', delay=99))
        self.complete('a')
        self.put(message('d', priority=0))
        self.take_one('d')
        store = self.q._store
        b, d = store.lives['b'], store.lives['d']
        self.assertEqual(self.q.audit(), [])

        def check(what: str) -> None:
            self.assertIn(what, '\n'.join(self.q.audit()))

        store.lives['a'].pins += 1
        check("'a' (completed): pins: 2, but should be 1")
        store.lives['a'].pins -= 1
        b.open = 1
        check("'b' (enqueued): open arguments")
        b.open = 0
        b.state = 'pending'
        check("'b' (pending): something to wait for")
        check("'b' (pending): place in a lane")
        b.state = 'enqueued'
        del store.leased[d]
        check("'d' (processing): lease")
        store.leased[d] = None
        del store.lives['d']
        check("'d': is forgotten, but kept")
        store.lives['d'] = d
        store.scheduled += 1
        check('2 are scheduled, but should be 1')
        store.scheduled -= 1
        store.lives['a'].expires = 5_000_000
        check("'a' (completed): end")
        store.lives['a'].expires = 0
        self.settle(outcome(self.take_one('b')))
