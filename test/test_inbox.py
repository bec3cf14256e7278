"""The inbox: many who wait, one call below."""
from __future__ import annotations

import asyncio
import gc
import os
import threading
from unittest import mock
import weakref

import worq
import worq.aio
from test.broker_case import BrokerCase, on_every_queue
from test.support import eventually
from worq import Task, inbox
from worq.errors import QueueError


def identity(x):
    return x


class Counting:
    """Stands before a backend and counts what is called."""

    def __init__(self, backend):
        self.backend = backend
        self.calls = []

    def __getattr__(self, name):
        method = getattr(self.backend, name)
        if not callable(method) or name == 'within':
            return method

        def counted(*args, **kw):
            self.calls.append(name)
            return method(*args, **kw)
        return counted


class InboxContract(BrokerCase):
    """Waiting, from threads and from coroutines."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        self.b.expose(identity)
        self.q = self.b.queue()
        self.worker = self.broker()
        self.worker.expose(identity)

    def test_ten_thousand_cost_few_round_trips(self):
        """Waiting for ten thousand completed Deferreds, one by one, costs some twenty looks."""
        many = worq.map(self.q.identity, range(10_000))
        while self.worker.backend.size():
            deliveries = self.worker.backend.take('pool', 500)
            from worq.pool.run import run
            self.worker.backend.settle('pool', [run(self.worker, d) for d in deliveries])
        counting = self.b.inbox.backend = Counting(self.b.backend)
        self.assertTrue(all(d.wait(30) for d in many))
        self.assertEqual([d.value for d in many], list(range(10_000)))
        self.assertLessEqual(len(counting.calls), 30, counting.calls[:50])

    def test_many_threads(self):
        """A hundred threads that wait, each for its own, all get it, whoever leads."""
        many = [self.q.identity(n) for n in range(100)]
        got = {}

        def wait(d):
            got[d.id] = d.result(timeout=30)

        threads = [threading.Thread(target=wait, args=[d]) for d in many]
        for thread in threads:
            thread.start()
        self.work(self.worker)
        for thread in threads:
            thread.join(30)
        self.assertEqual(got, {d.id: n for n, d in enumerate(many)})

    def test_expiry_without_pools(self):
        """That an argument has expired is heard by who waits for its dependents, without a pool."""
        late = Task(self.q.identity, expires=0.05)(1)
        last = self.q.identity(self.q.identity(late))
        with mock.patch.object(inbox, 'REWATCH', 0.1):
            self.assertTrue(last.wait(20))
        self.assertIsInstance(last.exception(), worq.TaskExpired)

    def test_threads_that_wait_for_the_same(self):
        """Threads that wait for the same Deferreds do not sleep on results that are there."""
        before, inbox.REWATCH = inbox.REWATCH, 1000   # a thread that sleeps would do so for long
        self.addCleanup(setattr, inbox, 'REWATCH', before)
        for _ in range(5):
            many = [self.q.identity(n) for n in range(300)]
            self.work(self.worker)
            threads = [threading.Thread(target=lambda many=many: [d.wait() for d in many],
                                        daemon=True) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            self.assertFalse(any(thread.is_alive() for thread in threads))

    def test_leader_hands_over(self):
        """When the one that leads has its result, or no time left, another goes on waiting."""
        first, second, third = [self.q.identity(n) for n in range(3)]
        got = []
        threads = [threading.Thread(target=lambda: got.append(first.wait(0.2))),
                   threading.Thread(target=lambda: got.append(second.wait(30))),
                   threading.Thread(target=lambda: got.append(third.wait(30)))]
        for thread in threads:
            thread.start()
        threads[0].join(30)
        self.assertEqual(got, [False])
        self.work(self.worker)
        for thread in threads:
            thread.join(30)
        self.assertEqual(got, [False, True, True])

    def test_two_deferreds_of_one_task(self):
        """Two Deferreds of one id, waited for by two threads, both get the outcome."""
        d = self.q.identity('x')
        twin = self.b.deferred(d.id)
        got = []
        threads = [threading.Thread(target=lambda one=one: got.append(one.result(30)))
                   for one in [d, twin]]
        for thread in threads:
            thread.start()
        self.work(self.worker)
        for thread in threads:
            thread.join(30)
        self.assertEqual(got, ['x', 'x'])

    def test_long_results(self):
        """Results too long to travel with their announcement arrive as well."""
        many = [self.q.identity('x' * 100_000) for _ in range(20)]
        self.work(self.worker)
        self.assertEqual({len(d.result(30)) for d in many}, {100_000})

    def test_lost_queue_is_waited_for(self):
        """A queue that cannot be reached for a while is waited for, or raises when time is up."""
        d = self.q.identity(1)
        down = threading.Event()
        down.set()
        tried = threading.Event()
        backend = self.b.backend

        class Flaky(Counting):
            def watch(self, *args):
                if down.is_set():
                    tried.set()
                    raise QueueError('away')
                return backend.watch(*args)

        self.b.inbox.backend = Flaky(backend)
        with self.assertLogs('worq.inbox', 'WARNING'):
            with self.assertRaisesRegex(QueueError, 'away'):
                d.wait(0.1)
            got = []
            thread = threading.Thread(target=lambda: got.append(d.wait(30)))
            tried.clear()
            thread.start()
            self.assertTrue(tried.wait(10))
            down.clear()
            self.work(self.worker)
            thread.join(30)
        self.assertEqual(got, [True])

    def test_id_used_again(self):
        """News of an earlier life of an id is not taken for the end of the new one."""
        task = Task(self.q.identity, id='x')
        old = task('old')
        self.assertFalse(old)   # watched, and its news will lie in the inbox
        self.work(self.worker)
        new = task('new')
        got = []
        thread = threading.Thread(target=lambda: got.append(new.result(timeout=30)))
        thread.start()
        self.work(self.worker)
        thread.join(30)
        self.assertEqual(got, ['new'])
        self.assertIsInstance(old.exception(10), worq.TaskExpired)

    def test_failed_look(self):
        """Deferreds that were to be asked for when the queue was away are asked for again."""
        many = [self.q.identity(n) for n in range(20)]
        self.work(self.worker)
        backend = self.b.backend

        class Away(Counting):
            def watch(self, *args):
                raise QueueError('away')

        self.b.inbox.backend = Away(backend)
        for d in many[:5]:
            with self.assertRaises(QueueError):
                d.wait(0)
        self.assertIn('out of reach', repr(many[0]))
        self.b.inbox.backend = backend
        self.assertEqual([d.result(timeout=5) for d in many], list(range(20)))

    def test_await_while_away(self):
        """An await that cannot ask the queue raises, and leaves nothing behind."""
        async def main():
            with self.assertRaises(QueueError):
                await self.q.identity(1)

        class Away(Counting):
            def watch(self, *args):
                while box._leader is None:  # until the listener tries to reach it, too
                    pass
                raise QueueError('away')

        box = self.b.inbox
        box.backend = Away(self.b.backend)
        asyncio.run(main())
        self.assertEqual(box._subscribed, set())
        eventually(lambda: (box._tidy(), box._waiting), (None, {}))
        eventually(lambda: box._listener, None)

    def test_interrupted_before_it_is_subscribed(self):
        """A wait that is interrupted before it has begun leaves others that wait alone."""
        async def main():
            d = self.q.identity(1)
            waits = asyncio.ensure_future(_value(d))
            while not self.b.inbox._subscribed:
                await asyncio.sleep(0)
            with mock.patch.object(self.b.inbox, 'subscribe', side_effect=KeyboardInterrupt), \
                    self.assertRaises(KeyboardInterrupt):
                worq.wait([self.q.identity(2)])
            self.assertTrue(self.b.inbox._subscribed)
            await asyncio.to_thread(self._work_one)
            self.assertEqual(await asyncio.wait_for(waits, 30), 1)

        async def _value(d):
            return await d
        asyncio.run(main())

    def test_producers_beside_waiters(self):
        """Threads that call and threads that wait do not get into each other's way."""
        errors = []
        done = threading.Event()

        def produce():
            while not done.is_set():
                self.q.identity(1)

        def wait():
            try:
                for _ in range(300):
                    self.q.identity(1).wait(0)
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=wait) for _ in range(3)]
        producer = threading.Thread(target=produce)
        for thread in [producer, *threads]:
            thread.start()
        for thread in threads:
            thread.join(60)
        done.set()
        producer.join(60)
        self.assertEqual(errors, [])

    def test_lost_inbox_heals(self):
        """News that never came is asked for again."""
        d = self.q.identity(1)
        backend = self.b.backend
        lost = []

        class Deaf(Counting):
            def wait(self, client, timeout):
                if not lost:
                    lost.append(client)
                    return []
                return backend.wait(client, min(timeout, 0.05))

        self.b.inbox.backend = Deaf(backend)
        before, inbox.REWATCH = inbox.REWATCH, 0.1
        self.addCleanup(setattr, inbox, 'REWATCH', before)
        thread = threading.Thread(target=d.wait, args=[30])
        thread.start()
        while not lost:
            pass
        # the announcement goes to a client that is not ours
        real, self.b.inbox.client = self.b.inbox.client, 'nobody'
        self.work(self.worker)
        thread.join(30)
        self.assertTrue(d.has_value())
        self.assertNotEqual(real, self.b.inbox.client)

    def test_lost_news_of_many(self):
        """When the news of many is lost, they are not found one after the other."""
        many = [self.q.identity(n) for n in range(50)]
        for d in many:
            self.assertFalse(d)   # all are asked for
        backend = self.b.backend
        self.work(self.worker)

        class Deaf(Counting):
            def wait(self, client, timeout):
                backend.wait(client, 0)
                return []

        deaf = self.b.inbox.backend = Deaf(backend)
        before, inbox.REWATCH = inbox.REWATCH, 0.05
        self.addCleanup(setattr, inbox, 'REWATCH', before)
        self.assertEqual([d.result(timeout=30) for d in many], list(range(50)))
        self.assertLess(deaf.calls.count('watch'), 20)

    def test_dropped_deferreds_are_not_kept(self):
        """The inbox keeps no Deferred alive that nobody waits for."""
        d = self.q.identity(1)
        gone = weakref.ref(d)
        del d
        gc.collect()
        self.assertIsNone(gone())
        for _ in range(3000):
            self.q.identity(1)
        self.assertLess(len(self.b.inbox._fresh), 2500)

    def test_await(self):
        """Coroutines await Deferreds; a thousand at once need one thread and few round trips."""
        counting = self.b.inbox.backend = Counting(self.b.backend)
        many = [self.q.identity(n) for n in range(1000)]

        async def gather():
            task = asyncio.ensure_future(asyncio.gather(*many))
            await asyncio.sleep(0)
            threads.extend(t for t in threading.enumerate() if t.name == 'worq-inbox')
            await asyncio.get_running_loop().run_in_executor(None, self.work, self.worker)
            return await task

        threads = []
        self.assertEqual(asyncio.run(gather()), list(range(1000)))
        self.assertEqual(len(threads), 1)
        self.assertLessEqual(counting.calls.count('watch'), 30)

    def test_await_failure_and_cancellation(self):
        """An awaited failure raises; an await that is cancelled leaves nothing behind."""
        async def main():
            with self.assertRaises(worq.TaskFailure):
                await self.q.identity()   # it wants an argument
            forgotten = asyncio.ensure_future(_value(self.q.identity(1)))
            await asyncio.sleep(0)
            forgotten.cancel()
            await asyncio.gather(forgotten, return_exceptions=True)

        async def _value(d):
            return await d

        worker = threading.Thread(target=self._work_one)
        worker.start()
        asyncio.run(main())
        worker.join(30)
        box = self.b.inbox
        self.assertEqual(box._subscribed, set())
        eventually(lambda: (box._tidy(), box._waiting), (None, {}))

    def _work_one(self):
        from worq.pool.run import run
        delivery = None
        while delivery is None:
            delivery = self.worker.next_task(1)
        self.worker.backend.settle(self.worker.hand, [run(self.worker, delivery)])

    def test_close_ends_the_thread(self):
        """Closing the broker ends the thread that listens for coroutines."""
        async def main():
            task = asyncio.ensure_future(_value(self.q.identity(1)))
            await asyncio.sleep(0)
            task.cancel()

        async def _value(d):
            return await d

        asyncio.run(main())
        self.b.close()
        self.assertNotIn('worq-inbox', [t.name for t in threading.enumerate()])

    def test_close_while_coroutines_wait(self):
        """Who waits while the broker is closed gets what comes, as a thread does."""
        async def main():
            deferred = self.q.identity(1)
            watched = worq.Task(self.q.identity, delay=0.01)(2)
            waits = [asyncio.ensure_future(each) for each in (_value(deferred), _watched(watched))]
            await asyncio.sleep(0)
            for _ in range(2):
                await asyncio.to_thread(self.b.close)
            for _ in range(2):
                await asyncio.to_thread(self._work_one)
            return await asyncio.wait_for(asyncio.gather(*waits), 30)

        async def _value(d):
            return await d

        async def _watched(d):
            async for _ in worq.aio.as_completed([d]):
                return await d

        self.assertEqual(asyncio.run(main()), [1, 2])

    def test_fork(self):
        """A forked child has an inbox of its own, so it takes no news of its parent's."""
        if self.url() == 'memory://':
            self.skipTest('a forked child has no part in the memory of its parent')
        d = self.q.identity(1)
        self.assertFalse(d.wait(0))
        client = self.b.inbox.client
        pid = os.fork()
        if not pid:
            ok = False
            try:
                ok = self.b.inbox.client != client and not d.wait(0.05)
            finally:
                os._exit(0 if ok else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.work(self.worker)
        self.assertEqual(d.result(30), 1)


on_every_queue(globals(), InboxContract)
