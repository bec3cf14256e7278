"""What is long is fetched by somebody who waits for it, and holds up nobody else."""
from __future__ import annotations

import asyncio
import threading
import time
from unittest import mock

import worq
from test import leaks
from test.broker_case import BrokerCase, RedisMixin, on_every_queue
from test.support import eq_, eventually
from worq import inbox
from worq.errors import Unfinished

WAIT = 30


def identity(x):
    return x


class Slow:
    """A backend that needs as long as the test likes for the outcomes of some ids."""

    def __init__(self, backend, *ids):
        self.backend = backend
        self.ids = ids
        self.come = threading.Event()
        self.fetchers = []          # the threads that fetched
        self.unfinished = 0         # seconds after which the first of them gives up
        self.broken = False         # whether all that is long cannot be had

    def __getattr__(self, name):
        return getattr(self.backend, name)

    def results(self, ids, whole=True):
        slow = [id for id in ids if id in self.ids]
        if not whole:
            return [b'' if id in slow else raw for id, raw in zip(ids, self.backend.results(ids))]
        if slow:
            self.fetchers.append(threading.current_thread())
            if self.broken:
                raise RuntimeError('a fault')
            if self.unfinished:
                pause, self.unfinished = self.unfinished, 0
                time.sleep(pause)
                raise Unfinished('its time is over')
            assert self.come.wait(WAIT)
        return self.backend.results(ids)

    def watch(self, client, ids):
        return [(id, b'' if raw and id in self.ids else raw)
                for id, raw in self.backend.watch(client, ids)]

    def wait(self, client, timeout):
        return [(id, b'' if raw and id in self.ids else raw)
                for id, raw in self.backend.wait(client, timeout)]


class FetchingContract(BrokerCase):

    __test__ = False

    def setUp(self):
        super().setUp()
        leaks.watch(self)
        patch = mock.patch.object(inbox, 'REWATCH', 3 * WAIT)   # nobody just looks again in time
        patch.start()
        self.addCleanup(patch.stop)
        self.b = self.broker()
        self.b.expose(identity)
        self.q = self.b.queue()
        self.long, self.short = self.q.identity('long'), self.q.identity('short')
        self.slow = self.b.inbox.backend = Slow(self.b.backend, self.long.id)
        self.got = []
        self.threads = []
        self.worker = self.broker()
        self.worker.expose(identity)

    def tearDown(self):
        self.slow.come.set()
        for thread in self.threads:
            thread.join(WAIT)
        self.b.inbox.close()
        super().tearDown()

    def waiting(self, deferred, timeout=None):
        """A thread that waits for it by now."""
        waiters = len(self.b.inbox._threads)
        thread = threading.Thread(
            target=lambda: self.got.append(deferred.wait(timeout) and deferred.value))
        self.threads.append(thread)
        thread.start()
        eventually(lambda: len(self.b.inbox._threads), waiters + 1, timeout=WAIT)
        eventually(lambda: self.b.inbox._leader is not None, timeout=WAIT)
        return thread

    def work_one(self):
        eq_(self.work(self.worker, 1), 1)

    def test_others_lead(self):
        """Who has the news, and waits for something short, gets it while the long one comes."""
        for long_leads in False, True:
            waiters = [self.waiting(self.long if long_leads else self.short),
                       self.waiting(self.short if long_leads else self.long)]
            self.work_one()   # the long one
            eventually(lambda: bool(self.slow.fetchers), timeout=WAIT)
            eq_(self.slow.fetchers, [waiters[not long_leads]])
            self.work_one()
            eventually(lambda: self.got, ['short'], timeout=WAIT)
            self.slow.come.set()
            eventually(lambda: self.got, ['short', 'long'], timeout=WAIT)
            self.long, self.short = self.q.identity('long'), self.q.identity('short')
            self.slow.ids = [self.long.id]
            self.slow.come.clear()
            self.got, self.slow.fetchers = [], []
        self.assertEqual(self.b.inbox._long, {})

    def test_one_for_all(self):
        """Several that wait for the same have it fetched once."""
        for _ in range(3):
            self.waiting(self.long)
        self.work_one()
        eventually(lambda: bool(self.slow.fetchers), timeout=WAIT)
        self.slow.come.set()
        eventually(lambda: self.got, 3 * ['long'], timeout=WAIT)
        eq_(len(self.slow.fetchers), 1)

    def test_time_over(self):
        """Whose time is over while it comes leaves it to another one."""
        first = self.waiting(self.long, 0.2)
        self.slow.unfinished = 0.3
        self.waiting(self.short)
        second = self.waiting(self.long)
        with self.assertNoLogs('worq'):
            self.work_one()
            eventually(lambda: len(self.slow.fetchers), 2, timeout=WAIT)
            eventually(lambda: self.got, [False], timeout=WAIT)
        self.slow.come.set()
        eventually(lambda: self.got, [False, 'long'], timeout=WAIT)
        eq_(self.slow.fetchers, [first, second])
        self.work_one()

    def test_coroutines(self):
        """What coroutines wait for, and who waits for several, comes in the order in which it is
        there."""
        async def both():
            order = []

            async def one(deferred):
                order.append(await deferred)
            async with asyncio.TaskGroup() as group:
                group.create_task(one(self.long))
                group.create_task(one(self.short))
                await asyncio.to_thread(self.work_both)
                while not order:
                    await asyncio.sleep(0.001)
                self.slow.come.set()
            return order
        eq_(asyncio.run(asyncio.wait_for(both(), WAIT)), ['short', 'long'])

    def test_cannot_be_fetched(self):
        """What cannot be had waits for the next look, and is not tried again and again."""
        self.slow.broken = True

        async def get(deferred):
            return await deferred

        async def both():
            long, short = map(asyncio.ensure_future, map(get, [self.long, self.short]))
            await asyncio.to_thread(self.work_both)
            eq_(await short, 'short')
            await asyncio.to_thread(eventually, lambda: bool(self.slow.fetchers), timeout=WAIT)
            await asyncio.to_thread(eventually, lambda: self.b.inbox._fetcher, None, timeout=WAIT)
            long.cancel()
        with self.assertLogs('worq', 'WARNING') as logs:
            asyncio.run(asyncio.wait_for(both(), 3 * WAIT))
        eq_({record.msg for record in logs.records}, {'cannot fetch [%s:%s]: %s'})
        self.assertLessEqual(len(logs.records), 2)   # its news may come twice

    def work_both(self):
        eventually(lambda: len(self.b.inbox._subscribed), 2, timeout=WAIT)
        self.work_one()
        self.work_one()

    def test_as_completed(self):
        """So it is for who takes them as they come: after the end of both, and before."""
        for late in True, False:
            if late:
                self.work_one()
                self.work_one()
            else:
                threading.Timer(0, self.work_both).start()
            order = []
            for deferred in worq.as_completed([self.long, self.short], timeout=WAIT):
                order.append(deferred.value)
                self.slow.come.set()
            eq_(order, ['short', 'long'])
            self.long, self.short = self.q.identity('long'), self.q.identity('short')
            self.slow.ids = [self.long.id]
            self.slow.come.clear()


on_every_queue(globals(), FetchingContract, file=True)


class Real(RedisMixin, BrokerCase):
    """What Redis takes for long."""

    def test_long(self):
        """It is left out where the caller does not want to wait for it."""
        broker = self.broker()
        broker.expose(identity)
        long, short = (broker.queue().identity(bytes(size)) for size in (600_000, 60_000))
        self.work(broker)
        found = broker.backend.results([long.id, short.id], whole=False)
        eq_([found[0], len(found[1]) > 60_000], [b'', True])
        self.assertGreater(len(broker.backend.results([long.id])[0]), 600_000)
        eq_(len(long.result(WAIT)), 600_000)
