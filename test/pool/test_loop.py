"""A worker has one event loop for its life: what is bound to it serves all of its tasks, and what a
task leaves there ends with the task."""
from __future__ import annotations

import asyncio
import gc
import signal
import socket
import threading
import unittest
import warnings

from test import leaks
from test.broker_case import MemoryMixin
from test.pool import tasks as pool_tasks
from test.pool.contract import WAIT, PoolCase
from test.pool.process.test_pool import Processes
from test.pool.tasks import PATIENCE, lines, touch
from test.pool.thread.test_pool import Threads
from test.support import eventually
from worq import Cancelled, Task, TaskSpace, TaskTimeout
from worq.current import CurrentTask
from worq.pool.interrupt import Interrupter
from worq.pool.loop import Loop
from worq.queue.base import Delivery
from worq.testing import Bench

__all__ = ['LoopOfAThread', 'LoopOfAProcess', 'LoopOfABench', 'LoopAlone']

loops = TaskSpace()


class Client:
    """Bound to the loop in which it has connected, as most clients are."""

    ends = ()

    async def ask(self, text):
        if not self.ends:
            self.ends = [await asyncio.open_connection(sock=each) for each in socket.socketpair()]
            self.lock = asyncio.Lock()
        async with self.lock:
            self.ends[0][1].write(text.encode() + b'\n')
            return (await self.ends[1][0].readline()).decode().strip()

    async def close(self):
        for _, writer in self.ends:
            writer.close()
            await writer.wait_closed()
        self.ends = ()


client = Client()


@loops.task
async def ask(text, path=None):
    """Ask by the module's client; then wait for ever, if there is a path."""
    said = await client.ask(text)
    if path is not None:
        touch(path)
        await asyncio.sleep(PATIENCE)
    return said


@loops.task
async def disconnect():
    await client.close()


@loops.task
def loop_of_its_own():
    """A function that makes a loop for itself."""
    return asyncio.run(asyncio.sleep(0, 'its own'))


async def note(path, name, go=None):
    try:
        if go is not None:
            await asyncio.to_thread(pool_tasks.await_file, go)
        await asyncio.sleep(PATIENCE)
    finally:
        await asyncio.sleep(0)
        touch(f'{path} {name}')


async def generate(path):
    try:
        yield 1
    finally:
        await asyncio.sleep(0)
        touch(f'{path} generator')


kept = []


@loops.task
async def leave_things(path):
    """Leave a task, a generator that has begun, and a call in a thread."""
    kept.append(generate(path))
    async for _ in kept[-1]:
        break
    kept.append(asyncio.create_task(note(path, 'task')))
    asyncio.get_running_loop().run_in_executor(None, touch, f'{path} thread')
    await asyncio.sleep(0)


@loops.task
async def look(*paths):
    """What others have left: how many tasks there are besides this one, and which paths."""
    return len(asyncio.all_tasks()) - 1, [len(lines(path)) for path in paths]


@loops.task
async def leave_by_a_handler():
    """Thrown out of the midst of the loop, by a signal handler of the task's own."""
    class Out(Exception):
        pass

    def handler(*_):
        raise Out

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        await asyncio.sleep(PATIENCE)
    finally:
        signal.signal(signal.SIGALRM, before)


def init(url, name):
    """The broker of a child."""
    broker = pool_tasks.init(url, name)
    broker.expose(loops)
    return broker


class OneLoop(PoolCase):
    """What holds in each kind of pool."""

    def test_client(self):
        """What is bound to a loop serves one task after the other, also beside functions that make
        loops of their own."""
        self.start()
        for n in range(3):
            self.assertEqual(self.q.ask(str(n)).result(WAIT), str(n))
            self.assertEqual(self.q.loop_of_its_own().result(WAIT), 'its own')
        self.q.disconnect().result(WAIT)

    def test_after_an_interrupt(self):
        """So it does after a task that was cancelled while it waited, or was beyond its limit."""
        self.start()
        self.assertEqual(self.q.ask('before').result(WAIT), 'before')
        late = Task(self.q.ask, timeout=0.05)('late', self.path('late'))
        self.assertIsInstance(late.exception(WAIT), TaskTimeout)
        gone = self.q.ask('gone', self.path('gone'))
        eventually(lambda: len(lines(self.path('gone'))), 1, timeout=WAIT)
        gone.cancel()
        self.assertEqual(self.q.ask('after').result(WAIT), 'after')
        self.q.disconnect().result(WAIT)

    def test_what_is_left_ends(self):
        """Tasks that nobody awaits, generators and calls in threads end with the task that has left
        them, and before the next one begins."""
        self.start()
        path = self.path('left')
        names = [f'{path} {name}' for name in ('task', 'generator', 'thread')]
        for n in range(1, 3):
            self.q.leave_things(path).result(WAIT)
            self.assertEqual(self.q.look(*names).result(WAIT), (0, [n] * 3))


class LoopOfAThread(MemoryMixin, OneLoop, Threads):

    def pool(self, workers=1):
        self.broker.expose(loops)
        return super().pool(workers)

    def test_it_is_closed(self):
        """A worker that ends closes its loop, also one that has been started again."""
        pool = self.start()
        for _ in range(2):
            self.q.look().result(WAIT)
            loop, = (worker.interrupter._loop._loop for worker in pool._team)
            self.assertFalse(loop.is_closed())
            pool.stop()
            self.assertTrue(loop.is_closed())
            pool.start()


class LoopOfAProcess(MemoryMixin, OneLoop, Processes):

    def pool(self, workers=1):
        return super().pool(workers, init=init)

    def test_thrown_out(self):
        """What throws a task out of the midst of its loop costs the loop, and nobody else."""
        self.start()
        self.assertIn('Out', self.q.leave_by_a_handler().exception(WAIT).error)
        self.assertEqual(self.q.look().result(WAIT), (0, []))


class LoopOfABench(unittest.TestCase):

    def test_client(self):
        """A bench has one loop, too, until it is closed or forgotten."""
        with Bench(loops) as bench:
            for n in range(2):
                deferred = bench.queue.ask(str(n))
                bench.run()
                self.assertEqual(deferred.value, str(n))
            bench.queue.disconnect()
            bench.run()
        bench = Bench(loops)
        bench.queue.look()
        bench.run()
        with warnings.catch_warnings():
            warnings.simplefilter('error')   # as an unclosed loop would give one
            del bench


class LoopAlone(unittest.TestCase):

    def setUp(self):
        leaks.watch(self)

    def test_left_for_ever(self):
        """What starts another each time that it is cancelled is left behind with its loop."""
        loop = Loop()
        begun = []

        async def again():
            begun.append(asyncio.get_running_loop())
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                if len(begun) < 100:
                    begun.append(asyncio.create_task(again()))

        async def main():
            begun.append(asyncio.create_task(again()))
            await asyncio.sleep(0)
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            loop.run(main())
            self.assertIsNone(loop._loop)
            self.assertLess(len(begun), 100)
            begun[:] = [0] * 100
            gc.collect()   # here, for it complains
        self.assertEqual(loop.run(asyncio.sleep(0, 'well')), 'well')
        loop.close()

    def test_failures_of_what_is_left(self):
        """What fails while it is cancelled or closed is told to the loop's handler."""
        loop, told = Loop(), []

        async def fail():
            try:
                await asyncio.sleep(PATIENCE)
            finally:
                raise ValueError('as a task')

        async def generate():
            try:
                yield
            finally:
                raise ValueError('as a generator')

        async def main():
            asyncio.get_running_loop().set_exception_handler(
                lambda loop, context: told.append(str(context['exception'])))
            task, generator = asyncio.create_task(fail()), generate()
            await anext(generator)
            await asyncio.sleep(0)
            return task, generator
        loop.run(main())
        self.assertEqual(told, ['as a task', 'as a generator'])
        loop.close()

    def test_interrupts_at_random(self):
        """Cancels at any moment hit a coroutine's own code, never that of the loop: it goes on."""
        interrupter = Interrupter()
        self.addCleanup(interrupter.close)
        case = OneByOne(interrupter)
        before = signal.signal(signal.SIGALRM, lambda *_: interrupter.interrupt('cancelled'))
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.0007)
        case.play(700)
        self.assertGreater(len(case.hits), 7)
        self.assertEqual(len(case.loops), 1)
        self.assertEqual(threading.active_count(), 1)


class OneByOne:
    """Runs coroutines by an interrupter, and counts how they end and in which loops."""

    def __init__(self, interrupter):
        self.interrupter = interrupter
        self.hits = []
        self.loops = set()

    def play(self, times):
        with Bench() as bench:
            for n in range(times):
                delivery = Delivery('id', b'n' * 12 + b'%d' % n, 1, b'f', b'')
                task = CurrentTask(bench.broker, delivery, 'f')
                try:
                    coroutine = self.coroutine(n)
                    try:
                        self.interrupter.begin(task, None, None)
                        self.interrupter.complete(coroutine)
                    finally:
                        self.interrupter.end()
                except Cancelled:
                    coroutine.close()   # it may have come before the coroutine had begun
                    self.hits.append(n)

    async def coroutine(self, n):
        self.loops.add(id(asyncio.get_running_loop()))
        for _ in range(n % 7):
            await asyncio.sleep(0)
        if n % 5 == 0:
            await asyncio.sleep(0.001)
        sum(range(n % 300))


if __name__ == '__main__':
    unittest.main()
