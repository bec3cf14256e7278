"""worq.aio: calls that are awaited, on every queue and loop."""
from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from importlib.util import find_spec
import os
import sqlite3
import threading

import worq
import worq.aio
from test import leaks
from test.broker_case import BrokerCase, MemoryMixin, on_every_queue
from test.interrupts import interrupted
from test.support import eq_, folder, forked
from test.test_inbox import Counting
from worq import Task, builder
from worq.errors import EncodeError, QueueError, TooLarge
from worq.task import parts

WAIT = 60.0   # seconds that nothing here takes


def identity(x=None):
    return x


def both(*values):
    return values


def fail():
    raise ValueError('it fails')


class Slow(Counting):
    """Puts nothing before it may."""

    def __init__(self, backend):
        super().__init__(backend)
        self.begun, self.go = threading.Event(), threading.Event()

    def put(self, *args):
        self.begun.set()
        self.go.wait(WAIT)
        return self.backend.put(*args)


class Aio(BrokerCase):
    """A program with an event loop, and a broker that works."""

    __test__ = False

    def setUp(self):
        leaks.watch(self)
        super().setUp()
        self.b = self.broker()
        self.worker = self.broker()
        for broker in self.b, self.worker:
            for function in identity, both, fail:
                broker.expose(function)
        self.aq = worq.aio.Queue(self.b.queue())

    def new_loop(self):
        """None: asyncio's own."""
        return None

    def run_(self, coroutine):
        with asyncio.Runner(loop_factory=self.new_loop()) as runner:
            return runner.run(asyncio.wait_for(coroutine, WAIT))

    def counting(self):
        backend = self.b.backend = Counting(self.b.backend)
        return backend

    @asynccontextmanager
    async def working(self):
        """Somebody works meanwhile."""
        over = threading.Event()

        def work():
            while not over.is_set():
                if not self.work(self.worker):
                    over.wait(0.002)
        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            over.set()
            await asyncio.to_thread(thread.join)


class UvloopMixin(MemoryMixin):
    """Another loop; skips, loudly, where it is not installed."""

    def setUp(self):
        if not find_spec('uvloop'):
            self.skipTest('uvloop is not installed')
        self.new_loop()().close()   # the first one opens what all share
        super().setUp()

    def new_loop(self):
        import uvloop
        return uvloop.new_event_loop


class Calls(Aio):
    """Calls that are awaited."""

    __test__ = False

    def test_call(self):
        """A call comes to its Deferred, which comes to the value; Deferreds are arguments."""
        async def main():
            async with self.working():
                first = await self.aq.identity(1)
                self.assertIsInstance(first, worq.Deferred)
                second = await self.aq.both(first, x := await self.aq.identity(2))
                return await second, await x, await first
        eq_(self.run_(main()), ((1, 2), 2, 1))

    def test_one_put(self):
        """Calls of one turn of the loop are one put, by whatever name; those of the next too."""
        counting = self.counting()

        async def main():
            made = await asyncio.gather(*[self.aq.identity(n) for n in range(200)], self.aq.both())
            eq_(counting.calls.count('put'), 1)
            await self.aq.both()
            eq_(counting.calls.count('put'), 2)
            return len({deferred.id for deferred in made})
        eq_(self.run_(main()), 201)

    def test_many(self):
        """Two thousand calls of a turn take a few puts, and all results come."""
        counting = self.counting()

        async def main():
            made = await asyncio.gather(*[self.aq.identity(n) for n in range(2000)])
            async with self.working():
                return await asyncio.gather(*made)
        eq_(self.run_(main()), list(range(2000)))
        self.assertLess(counting.calls.count('put'), 8)

    def test_loop_goes_on(self):
        """The loop goes round while a put is under way, and what is called then goes as one."""
        slow = self.b.backend = Slow(self.b.backend)

        async def main():
            first = self.aq.identity(1)
            while not slow.begun.is_set():
                await asyncio.sleep(0)
            later = []
            for n in range(10):
                later.append(self.aq.identity(n))
                await asyncio.sleep(0)
            counting = self.b.backend = Counting(slow.backend)
            self.assertFalse(first.done())
            slow.go.set()
            await asyncio.gather(first, *later)
            eq_(counting.calls.count('put'), 1)
        self.run_(main())

    def test_each_its_own(self):
        """Calls of a turn have nothing to do with each other: each fails by its own mistake."""
        named = worq.aio.Queue(Task(self.b.queue().identity, id='x'))

        async def main():
            ends = await asyncio.gather(
                self.aq.identity(1), named(2), self.aq.identity(threading.Lock()), named(3),
                self.aq.identity(4), self.aq(5), return_exceptions=True)
            async with self.working():
                good = [await ends[at] for at in (0, 1, 4)]
            return good, [type(ends[at]) for at in (2, 3, 5)]
        eq_(self.run_(main()), ([1, 2, 4], [EncodeError, worq.DuplicateTask, TypeError]))

    def test_odd_errors(self):
        """Also where what an argument raises is no error that a future takes, or none at all."""
        class Exits:
            def __reduce__(self):
                raise SystemExit(3)

        stops = worq.aio.Queue(Task(self.b.queue().identity, id=lambda *_: next(iter(()))))

        async def main():
            calls = [self.aq.identity(1), stops(2), self.aq.identity(Exits()), self.aq.identity(4)]
            await asyncio.wait(calls)
            return [type(call.exception()) for call in calls]   # to await it would be to exit
        eq_(self.run_(main()), [type(None), RuntimeError, SystemExit, type(None)])
        eq_(self.work(self.worker), 2)

    def test_from_within(self):
        """A signal handler may call while a call is made: each gets its own."""
        async def main():
            first = step = 0
            while more := first == step:
                step += 1
                made = []

                def call(n):
                    made.append((n, self.aq.identity(n)))   # noqa: B023
                more = interrupted(lambda: [call(1), call(2)], step, lambda: call(3), 'aio.py')
                for n, future in made:
                    eq_((await future)._args, (n,))
                first += more
            self.assertGreater(step, 20)
        self.run_(main())
        self.b.discard_pending_tasks()

    def test_options(self):
        """Options are those of a Task; without a result there is no Deferred."""
        silent = worq.aio.Queue(Task(self.b.queue().identity, ignore_result=True))

        async def main():
            eq_(await silent(1), None)
            eq_(await asyncio.gather(silent(2), silent(3)), [None, None])
        self.run_(main())
        eq_(self.work(self.worker), 3)

    def test_wide(self):
        """A call with more arguments than a put takes goes beside others."""
        async def main():
            parts = await asyncio.gather(*[self.aq.identity(n) for n in range(builder.WIDE + 50)])
            total, one = await asyncio.gather(self.aq.both(*parts), self.aq.identity(1))
            async with self.working():
                return len(await total), await one
        eq_(self.run_(main()), (builder.WIDE + 50, 1))

    def test_out_of_reach(self):
        """All calls of a turn raise what the put raises; nothing more is tried meanwhile."""
        class Away(Counting):
            def put(self, *args):
                self.calls.append('put')
                raise QueueError('away')
        away = self.b.backend = Away(self.b.backend)

        async def main():
            return await asyncio.gather(*[self.aq.identity(n) for n in range(1200)],
                                        return_exceptions=True)
        eq_({str(end) for end in self.run_(main())}, {'away'})
        eq_(away.calls, ['put'])
        self.b.backend = away.backend

    def test_too_large(self):
        """What is too large together goes alone; only who is too large alone fails."""
        class Small(Counting):
            def put(self, messages, *args):
                if len(messages) > 1 or len(messages[0].body) > 10_000:
                    raise TooLarge('no')
                return self.backend.put(messages, *args)
        self.b.backend = Small(self.b.backend)

        async def main():
            ends = await asyncio.gather(self.aq.identity(1), self.aq.identity(bytes(20_000)),
                                        self.aq.identity(2), return_exceptions=True)
            async with self.working():
                return await ends[0], type(ends[1]), await ends[2]
        eq_(self.run_(main()), (1, TooLarge, 2))

    def test_habit(self):
        """Whoever calls and awaits, time and again, asks for nothing but news."""
        counting = self.counting()
        self.b.inbox.backend = counting

        async def main():
            async with self.working():
                for n in range(4):
                    eq_(await (await self.aq.identity(n)), n)
                counting.calls.clear()
                eq_(await (await self.aq.identity(4)), 4)
                self.assertNotIn('watch', counting.calls)
        self.run_(main())

    def test_cancelled(self):
        """A call that is cancelled before its turn ends is not put; a later one is."""
        slow = self.b.backend = Slow(self.b.backend)

        async def main():
            early, late = self.aq.identity(1), self.aq.identity(2)
            early.cancel()
            while not slow.begun.is_set():
                await asyncio.sleep(0)
            late.cancel()
            slow.go.set()
            await self.aq.identity(3)
        self.run_(main())
        eq_(self.work(self.worker), 2)

    def test_no_loop(self):
        """Without a loop a call says so."""
        with self.assertRaises(RuntimeError):
            self.aq.identity(1)

    def test_closes(self):
        """As a context manager it puts what has been called, and closes its broker."""
        async def main():
            async with worq.aio.Queue(self.b.queue()) as aq:
                aq.identity(1)
            self.assertNotIn('worq-background', [each.name for each in threading.enumerate()])
        self.run_(main())
        eq_(self.work(self.worker), 1)

    def test_threads(self):
        """Loops of several threads use one queue."""
        async def main(n):
            return await (await self.aq.identity(n))

        async def all_():
            async with self.working():
                return await asyncio.gather(*[
                    asyncio.to_thread(self.run_, main(n)) for n in range(5)])
        eq_(self.run_(all_()), list(range(5)))

    def test_fork(self):
        """A forked child calls by a thread of its own."""
        if self.url() == 'memory://':
            self.skipTest('a forked child has no part in the memory of its parent')

        async def main():
            await self.aq.identity(1)
        self.run_(main())
        eq_(forked(lambda: self.run_(main())), 0)
        eq_(self.work(self.worker), 2)

    def test_fork_while_it_is_used(self):
        """A fork can close a broker, though another thread of the parent was just calling."""
        async def main():
            await self.aq.identity(1)
        self.run_(main())
        used, over = threading.Event(), threading.Event()

        def use():
            with self.b.background._lock:
                used.set()
                over.wait(WAIT)
        thread = threading.Thread(target=use)
        thread.start()
        try:
            used.wait(WAIT)
            eq_(forked(self.b.background.close), 0)
        finally:
            over.set()
            thread.join()


on_every_queue(globals(), Calls, file=True)


class CallsOnUvloop(UvloopMixin, Calls):
    """The same on another loop."""


class Words(MemoryMixin, BrokerCase):
    """What it says."""

    def test_words(self):
        """It is shown with its name, two of the same queue are equal, and mistakes are told."""
        q = worq.get_queue('memory://', f'test-{os.urandom(6).hex()}')
        aq = worq.aio.Queue(q)
        eq_(repr(aq.a.b), f'<aio.Queue of {q.a.b!r}>')
        eq_((aq, hash(aq)), (worq.aio.Queue(q), hash(worq.aio.Queue(q))))
        self.assertNotEqual(aq, q)
        with self.assertRaises(TypeError):
            worq.aio.Queue('text.count')
        with self.assertRaises(TypeError):
            worq.aio.batch('text.count')

    def test_transaction(self):
        """What belongs to a transaction is refused: it is not put by another thread."""
        q = worq.get_queue(f'sqlite:///{folder(self)}/queue.db', secret=worq.UNSIGNED)
        connection = sqlite3.connect(parts(q)[0].backend.url.removeprefix('sqlite:///'))
        self.addCleanup(connection.close)
        for kind in worq.aio.Queue, worq.aio.batch:
            with self.assertRaisesRegex(TypeError, 'transaction'):
                kind(q.using(connection).identity)
