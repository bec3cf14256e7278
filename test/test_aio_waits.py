"""worq.aio: batches, as_completed, watch, and what dying loops leave behind, which is nothing."""
from __future__ import annotations

import asyncio
from contextvars import copy_context
import gc
import weakref

import worq
import worq.aio
from test.broker_case import on_every_queue
from test.support import eq_
from test.test_aio import Aio, Slow, UvloopMixin
from test.test_inbox import Counting
from worq import Task
from worq.errors import QueueError
from worq.progress import Progress
from worq.queue.base import Held


class Batches(Aio):
    """Calls that are put together."""

    __test__ = False

    def test_batch(self):
        """All calls of the block are put at its end, those of plain queues among them."""
        counting = self.counting()

        async def main():
            async with worq.aio.batch(self.aq) as batch:
                first = await self.aq.identity(1)
                more = worq.map(self.b.queue().identity, [2, 3])
                report = await self.aq.both(first, more)
                eq_((counting.calls, len(batch), batch.word), ([], 4, 'not put yet'))
            eq_((counting.calls.count('put'), batch.word), (1, 'put'))
            async with self.working():
                return await report
        eq_(self.run_(main()), (1, [2, 3]))

    def test_fails(self):
        """If the block raises, nothing is put; if the put does, it raises here."""
        named = worq.aio.Queue(Task(self.b.queue().identity, id='x'))

        async def main():
            with self.assertRaises(ZeroDivisionError):
                async with worq.aio.batch(self.aq):
                    deferred = await self.aq.identity(1)
                    1 / 0
            with self.assertRaisesRegex(RuntimeError, 'never put'):
                await deferred
            await named()
            with self.assertRaises(worq.DuplicateTask):
                async with worq.aio.batch(self.b.queue()) as batch:
                    await named()
                    await self.aq.identity(2)
            eq_(batch.word, 'never put')
        self.run_(main())
        eq_(self.work(self.worker), 1)

    def test_others(self):
        """Tasks of the loop that do not belong to the block put for themselves meanwhile."""
        async def main():
            go = asyncio.Event()

            async def other():
                await go.wait()
                return await self.aq.identity('other')
            other_ = asyncio.create_task(other())
            async with worq.aio.batch(self.aq) as batch:
                await self.aq.identity(1)
                go.set()
                await other_
                eq_((len(self.b), len(batch)), (1, 1))
        self.run_(main())
        eq_(self.work(self.worker), 2)

    def test_cancelled(self):
        """Who is cancelled while its block is put leaves when that is done."""
        slow = self.b.backend = Slow(self.b.backend)

        async def main():
            async def put():
                async with worq.aio.batch(self.aq) as batch:
                    batches.append(batch)
                    await self.aq.identity(1)
            batches = []
            task = asyncio.create_task(put())
            while not slow.begun.is_set():
                await asyncio.sleep(0)
            task.cancel()
            for _ in range(5):
                await asyncio.sleep(0)
            self.assertFalse(task.done())
            slow.go.set()
            with self.assertRaises(asyncio.CancelledError):
                await task
            eq_(batches[0].word, 'put')
        self.run_(main())
        eq_(self.work(self.worker), 1)


    def test_ends_elsewhere(self):
        """A block that ends in another context than it has begun in, as that of a generator may,
        is put, and collects no more; so with a plain one."""
        async def block():
            async with worq.aio.batch(self.aq):
                yield await self.aq.identity(1)

        def plain():
            with worq.batch(self.b.queue()):
                yield self.b.queue().identity(2)

        async def main():
            made = []
            generator, other = block(), plain()
            made.append(await asyncio.create_task(anext(generator)))
            made.append(copy_context().run(next, other))
            await anext(generator, None)
            next(other, None)
            await self.aq.identity(3)
            async with self.working():
                return [await deferred for deferred in made]
        eq_(self.run_(main()), [1, 2])


class Arriving(Aio):
    """as_completed and watch."""

    __test__ = False

    def test_as_completed(self):
        """Each is told of once, when it is done, those that failed among them."""
        async def main():
            made = [*await asyncio.gather(*[self.aq.identity(n) for n in range(300)]),
                    await self.aq.fail()]
            async with self.working():
                await made[0]
                found = [deferred async for deferred in worq.aio.as_completed([*made, *made])]
            eq_(len(found), 301)
            eq_(set(found), set(made))
            self.assertTrue(all(deferred.has_value() for deferred in found))
        self.run_(main())

    def test_ahead(self):
        """An endless source is taken as far as it may be."""
        taken = []

        async def source():
            while True:
                taken.append(await self.aq.identity(len(taken)))
                yield taken[-1]

        async def main():
            async with self.working():
                seen = 0
                async for deferred in worq.aio.as_completed(source(), ahead=3):
                    seen += 1
                    self.assertLessEqual(len(taken), seen + 3)
                    if await deferred >= 20:
                        break
        self.run_(main())

    def test_source_is_slow(self):
        """What is done is told of while the source makes the next one."""
        async def main():
            go = asyncio.Event()

            async def source():
                yield await self.aq.identity(1)
                await go.wait()
                yield await self.aq.identity(2)
            async with self.working():
                async for deferred in worq.aio.as_completed(source()):
                    await deferred
                    go.set()
        self.run_(main())

    def test_source_raises(self):
        """What the source raises comes when those before it are done; so do mistakes."""
        async def source():
            yield await self.aq.identity(1)
            raise KeyError('broken')

        async def main():
            wrong = [await self.aq.identity(2), None]
            for made, error in [(source(), KeyError), (wrong, TypeError)]:
                found = []
                with self.assertRaises(error):
                    async with self.working():
                        async for deferred in worq.aio.as_completed(made):
                            found.append(deferred)
                eq_(len(found), 1)
        self.run_(main())

    def test_source_is_cancelled(self):
        """What a source raises that is no `Exception`, since it has awaited what was cancelled,
        comes as any other."""
        async def source(error):
            yield await self.aq.identity(1)
            raise error

        async def main():
            for error in [asyncio.CancelledError('it'), BaseExceptionGroup('them', [
                    ValueError(), asyncio.CancelledError()])]:
                with self.assertRaises(type(error)):
                    async with self.working():
                        async for _ in worq.aio.as_completed(source(error)):
                            pass
                eq_(asyncio.current_task().cancelling(), 0)
        self.run_(main())

    def test_time_is_up(self):
        """After its time it raises, and has told of those that were done."""
        async def main():
            done, open_ = await self.aq.identity(1), await self.aq.identity(2)
            await asyncio.to_thread(self.work, self.worker, 1)
            await done
            found = []
            with self.assertRaisesRegex(TimeoutError, '^1 Deferred is not done after 0 seconds'):
                async for deferred in worq.aio.as_completed([done, open_], 0):
                    found.append(deferred)
            eq_(found, [done])
            with self.assertRaises(ValueError):
                worq.aio.as_completed([], -1)
        self.run_(main())

    def test_out_of_reach(self):
        """If the queue cannot be asked, that is what it raises."""
        class Away(Counting):
            def watch(self, *args):
                raise QueueError('away')

        async def main():
            deferred = await self.aq.identity(1)
            box = self.b.inbox
            box.backend = Away(self.b.backend)
            with self.assertRaises(QueueError):
                async for _ in worq.aio.as_completed([deferred]):
                    pass
            with self.assertRaises(QueueError):
                async for _ in deferred.watch():
                    pass
            box.backend = self.b.backend
        self.run_(main())

    def test_watch(self):
        """Progress is told when it is new, and it ends with the task; some watch at a time."""
        async def main():
            deferred = await self.aq.identity(1)
            delivery, = self.worker.backend.take('by-hand', 1)
            steps = iter([Progress(0, 2), Progress(1, 2, 'half')])

            def go_on():
                step = next(steps, None)
                if step is not None:
                    held = Held(delivery.id, delivery.token, step.encode())
                    self.worker.backend.beat('by-hand', [held])
                else:
                    from worq.pool.run import run
                    self.worker.backend.settle('by-hand', [run(self.worker, delivery)])

            async def watch():
                return [news async for news in deferred.watch(0.001)]
            beside = asyncio.create_task(watch())
            seen = []
            await asyncio.to_thread(go_on)
            async for news in deferred.watch(0.001):
                seen.append(news)
                await asyncio.to_thread(go_on)
            eq_(seen, [Progress(0, 2), Progress(1, 2, 'half')])
            self.assertTrue(deferred.has_value())
            self.assertLessEqual(set(await beside), set(seen))
            eq_([news async for news in deferred.watch()], [])
        self.run_(main())

    def test_watch_ends_at_once(self):
        """It ends when the task does, however seldom it looks; a failure is not raised here."""
        async def main():
            deferred = await self.aq.fail()
            async with self.working():
                eq_([news async for news in deferred.watch(3600)], [])
            with self.assertRaises(worq.TaskFailure):
                await deferred
        self.run_(main())


class Ends(Aio):
    """Loops that end in the midst of it."""

    __test__ = False

    def test_closed(self):
        """A loop that is closed with calls, waits and a put under way leaves nothing behind."""
        slow = self.b.backend = Slow(self.b.backend)
        loop = (self.new_loop() or asyncio.new_event_loop)()
        gone = weakref.WeakSet()

        async def begin():
            gone.add(self.aq.identity(1))   # goes on its way
            while not slow.begun.is_set():
                await asyncio.sleep(0)
            gone.add(self.aq.identity(2))   # and stays in this turn
        loop.run_until_complete(begin())
        loop.close()
        slow.go.set()
        self.b.background.close()
        del loop
        gc.collect()
        eq_(list(gone), [])
        eq_(len(worq.aio.turns), 0)
        self.assertLessEqual(self.work(self.worker), 2)

    def test_waits(self):
        """So does one with coroutines that wait."""
        async def begin():
            made = [await self.aq.identity(n) for n in range(5)]

            async def watch():
                async for _ in made[0].watch():
                    pass

            async def wait():
                async for _ in worq.aio.as_completed(made, ahead=2):
                    pass

            async def get():
                await made[1]
            tasks = [asyncio.create_task(each()) for each in (watch, wait, get)]
            while len(self.b.inbox._subscribed) < 4:
                await asyncio.sleep(0)
            return tasks
        tasks = self.run_(begin())   # which cancels them at its end
        self.assertTrue(all(task.cancelled() for task in tasks))
        self.b.close()
        eq_(self.b.inbox._subscribed, set())
        self.b.inbox._tidy()
        eq_(self.b.inbox._waiting, {})

    def test_broker_is_not_kept(self):
        """A broker that nobody has any more is gone."""
        broker = worq.get_broker(self.url(), self.name)
        gone = weakref.ref(broker)

        async def main(aq):
            await aq.identity(1)
        self.run_(main(worq.aio.Queue(broker.queue())))
        broker.close()
        del broker
        gc.collect()
        eq_(gone(), None)


for contract in Batches, Arriving, Ends:
    on_every_queue(globals(), contract, file=True)
    name = f'{contract.__name__}OnUvloop'
    globals()[name] = type(name, (UvloopMixin, contract), {'__module__': __name__})
del contract
