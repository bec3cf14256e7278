"""Who calls and waits may be interrupted anywhere, or given up half-way: nobody else is missed."""
from __future__ import annotations

import asyncio
from functools import partial
import gc
import itertools
import os
import sys
import threading
from typing import Any, Callable
import unittest
from unittest import mock

import worq
from test import support
from test.interrupts import at_steps, in_time, interrupted
from test.support import eq_, eventually
from worq import inbox
from worq.pool.thread import WorkerPool

EVERY = int(os.environ.get('WORQ_TEST_STEPS', 149))   # 1: at each of some ten thousand
CLOSE = -(-EVERY // 12)   # the same where there are fewer, and most happens
HERE = 'inbox.py waiters.py flow.py latch.py'


def ident(x: object) -> object:
    return x


def waiting(broker: worq.Broker) -> dict[str, Any]:
    """Who waits there, by what for."""
    broker.inbox._tidy()
    return broker.inbox._waiting


class Waits(unittest.TestCase):

    coarse = 1

    def setUp(self) -> None:
        self.b = self.enterContext(worq.get_broker(self.url(), support.unique()))
        self.b.expose(ident)
        self.q = self.b.queue()
        self.never = worq.Task(self.q.ident, delay=3600)(1)
        self.enterContext(WorkerPool(self.b, 1))

    def url(self) -> str:
        return 'memory://'

    def calls(self) -> list[Callable[[], object]]:
        q, never = self.q, self.never
        return [
            lambda: q.ident(1).result(timeout=10),
            lambda: worq.wait([q.ident(1), q.ident(2)], timeout=10),
            lambda: [d.result(0) for d in worq.as_completed([q.ident(1), q.ident(2)])],
            lambda: never.wait(0.001),
            lambda: worq.wait([q.ident(1), never], return_when=worq.FIRST_COMPLETED),
            lambda: (len(q), never.status, never.explain(), q.ident(1).cancel()),
        ]

    def works(self) -> None:
        """Other threads and this one can call and wait."""
        eq_(in_time(lambda: self.q.ident(3).result(timeout=15)), 3)
        eq_(self.q.ident(4).result(timeout=15), 4)
        eq_(len(worq.wait([self.q.ident(5)], timeout=15).done), 1)

    def test_interrupted(self) -> None:
        """After an interruption at any step of a call or a wait all works, and one who waits
        beside it gets what comes as soon as ever."""
        for call, (every, where) in itertools.product(
                self.calls(), [(EVERY * self.coarse, ''), (CLOSE * self.coarse, HERE)]):
            for step in at_steps(every):
                beside = worq.Task(self.q.ident, delay=3600)(7)
                got: list[object] = []
                thread = threading.Thread(
                    target=lambda d=beside, got=got: got.append(d.exception(timeout=8)))
                thread.start()
                more = interrupted(call, step, within=where)
                beside.cancel()
                thread.join(20)
                self.assertIsInstance(got[0], worq.TaskCancelled, f'{call} at {step}')
                if not more:
                    break
            self.works()
        eventually(partial(waiting, self.b), {})
        eq_(self.b.inbox._threads, {})

    def test_collected(self) -> None:
        """What is given up half-way, and collected as garbage at any step of any call, waits for
        no lock and leaves nothing behind."""
        gc.collect()
        gc.freeze()   # there is less to look through each time
        gc.disable()
        self.addCleanup(gc.unfreeze)
        self.addCleanup(gc.enable)
        for call in self.calls():
            for step in at_steps(CLOSE * self.coarse):
                self.give_up()
                if not interrupted(call, step, gc.collect, HERE):
                    break
            self.works()
        gc.collect()
        self.works()
        eventually(partial(waiting, self.b), {})
        eq_(self.b.inbox._subscribed, set())

    def give_up(self) -> None:
        """Leave garbage that only the collector finds, which waits for the outcome of a task."""
        class Holder:
            pass

        async def waits(holder: Any) -> None:
            holder.task = asyncio.current_task()
            await self.never

        holder: Any = Holder()
        holder.me = holder
        holder.iterator = worq.as_completed([self.q.ident(1), self.never])
        next(holder.iterator)
        loop = asyncio.new_event_loop()
        holder.waits = loop.create_task(waits(holder))
        holder.waits._log_destroy_pending = False
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    def test_collected_at_each_allocation(self) -> None:
        """The collector may run at each allocation."""
        before = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *before)
        gc.set_threshold(1)
        for _ in range(5):
            self.give_up()
            eq_([self.q.ident(n).result(timeout=10) for n in range(2)], [0, 1])
        self.works()

    def test_from_within(self) -> None:
        """What a signal handler calls works or raises at once, whatever it has interrupted."""
        within = [
            lambda: self.q.ident(1), lambda: len(self.q), lambda: bool(self.never),
            lambda: self.q.ident(8).result(timeout=10),
            lambda: worq.wait([self.q.ident(9)], timeout=10),
            lambda: next(iter(worq.as_completed([self.q.ident(9)], timeout=10))),
            lambda: self.never.cancel(), lambda: self.never.explain(), lambda: repr(self.q),
            lambda: worq.get_queue(self.url(), self.b.name),
        ]
        refused: list[str] = []

        def act(call: Callable[[], object]) -> None:
            try:
                call()
            except RuntimeError as error:
                refused.append(str(error))

        number = itertools.count()
        for call in self.calls()[:5]:
            for step in at_steps(CLOSE * self.coarse):
                if not interrupted(call, step, partial(act, within[next(number) % len(within)]),
                                   HERE):
                    break
            self.never = worq.Task(self.q.ident, delay=3600)(1)
        self.works()
        for text in refused:
            self.assertIn('signal handler', text)

    def test_waits_within_a_wait(self) -> None:
        """A signal handler that has interrupted the one who hands out the news can look for an
        outcome, and is told at once that it cannot wait for one."""
        told: list[object] = []
        done = self.q.ident(1)
        done.wait(10)
        other = worq.Task(self.q.ident, delay=3600)(2)

        def listen(timeout: float) -> list[Any]:
            if not told:
                told.append(bool(done) and self.never.wait(0))
                for wait in (lambda: self.never.wait(5), lambda: worq.wait([self.never])):
                    with self.assertRaisesRegex(RuntimeError, 'timeout of 0'):
                        wait()
                told.append(other.cancel())
            return real(timeout)

        real = self.b.inbox._listen_once
        with mock.patch.object(self.b.inbox, '_listen_once', listen):
            self.assertIsInstance(other.exception(timeout=10), worq.TaskCancelled)
        eq_(told, [False, True])
        self.works()

    def test_leader_gone(self) -> None:
        """One that leads and goes without a word, for its farewell was interrupted too, is
        replaced."""
        with mock.patch.object(inbox, 'REWATCH', 0.05):
            thread = threading.Thread(target=self.never.wait, args=[0.3])
            with mock.patch.object(inbox.Inbox, '_leave', side_effect=KeyboardInterrupt), \
                    mock.patch.object(inbox.Inbox, '_follow', self.vanish):
                with self.assertRaises(KeyboardInterrupt):
                    self.never.wait(1)
            self.assertIsNotNone(self.b.inbox._leader)
            thread.start()
            thread.join(10)
            self.assertFalse(thread.is_alive())
            self.works()

    def vanish(self, waiter: Any, *args: object) -> None:
        self.b.inbox._leader = waiter


class RedisWaits(Waits):

    coarse = 5

    def url(self) -> str:
        return support.redis_url()

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(support.clean, self.url(), self.b.name)


class CoroutineTest(unittest.TestCase):

    def setUp(self) -> None:
        self.b = self.enterContext(worq.get_broker('memory://', support.unique()))
        self.b.expose(ident)
        self.q = self.b.queue()
        self.never = worq.Task(self.q.ident, delay=3600)(1)

    async def value(self, d: worq.Deferred) -> object:
        return await d

    def test_cancel_many(self) -> None:
        """To cancel one of many coroutines that wait costs the same, however many there are."""
        async def cancel(n: int) -> float:
            tasks = [asyncio.ensure_future(self.value(self.never)) for _ in range(n)]
            await asyncio.sleep(0)
            eq_(len(self.b.inbox._subscribed), n)
            calls = 0

            def count(frame: Any, event: str, arg: object) -> Any:
                nonlocal calls
                if 'worq' in frame.f_code.co_filename:
                    frame.f_trace_opcodes, frame.f_trace_lines = True, False
                    calls += event == 'opcode'
                    return count
                return None

            for task in tasks:
                task.cancel()
            sys.settrace(count)
            try:
                await asyncio.gather(*tasks, return_exceptions=True)
            finally:
                sys.settrace(None)
            eq_(len(self.b.inbox._subscribed), 0)
            eventually(partial(waiting, self.b), {})
            return calls / n

        few, many = asyncio.run(cancel(50)), asyncio.run(cancel(400))
        self.assertLess(many, 1.2 * few)

    def test_cancel_many_in_time(self) -> None:
        """Nor does C code hidden in it: of thousands each is found at once."""
        async def hashes() -> int:
            tasks = [asyncio.ensure_future(self.value(self.never)) for _ in range(3_000)]
            await asyncio.sleep(0)
            waiters, = self.b.inbox._waiting.values()
            self.assertIsInstance(waiters, dict)
            for task in tasks:
                task.cancel()
            await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 30)
            return len(waiters)
        eq_(asyncio.run(hashes()), 0)

    def test_closed_loop(self) -> None:
        """Coroutines whose loop is closed are let go, whether anybody has the loop or not."""
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)
        loops = []
        for _ in range(20):
            loop = asyncio.new_event_loop()
            task: Any = loop.create_task(self.value(self.never))
            task._log_destroy_pending = False
            loop.run_until_complete(asyncio.sleep(0))
            loop.close()
            loops.append(loop)
            del task
        eq_(len(self.b.inbox._subscribed), 20)
        gc.collect()
        eq_(len(self.b.inbox._subscribed), 0)
        eventually(partial(waiting, self.b), {})

    def test_nobody_else_has_it(self) -> None:
        """A coroutine that only waits, and that nobody has a reference to, is not collected."""
        got: list[object] = []

        async def waits(d: worq.Deferred) -> None:
            got.append(await d)

        async def main() -> None:
            d = self.q.ident(1)
            asyncio.get_running_loop().create_task(waits(d))
            del d
            await asyncio.sleep(0)
            gc.collect()
            delivery = await asyncio.to_thread(self.b.next_task, 10)
            from worq.pool.run import run
            self.b.backend.settle(self.b.hand, [run(self.b, delivery)])
            while not got:
                await asyncio.sleep(0.001)

        asyncio.run(asyncio.wait_for(main(), 20))
        eq_(got, [1])
