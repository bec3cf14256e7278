"""Coroutines that run beside each other in a child."""
from __future__ import annotations

import os
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin
from test.pool.aio import tasks as aio_tasks
from test.pool.aio.test_pool import Loops
from test.pool.contract import WAIT
from test.pool.tasks import init_with_a_context, lines, trace
from test.support import eventually
from worq import Progress, Task, wait
from worq.pool.aio import WorkerPool, start_pools, worker
from worq.pool.process import WorkerPool as ProcessPool

__all__ = ['BesideOnMemory', 'BesideOnRedis', 'Begins', 'Mistakes']


class Beside(Loops):
    """What many at a time do."""

    def pool(self, workers=1, init=aio_tasks.init, more=(), concurrency=50, **options):
        return super().pool(workers, init, more, concurrency, **options)

    def test_all_at_a_time(self):
        """As many as `concurrency` run at a time in a child, and no more."""
        self.start(1, concurrency=20)
        loop = self.q.loop
        met = [loop.meet(self.path('begun'), 20, n) for n in range(20)]
        self.assertEqual([d.result(WAIT) for d in met], list(range(20)))
        held = [loop.hold(self.path('held'), self.path('go'), n) for n in range(30)]
        eventually(lambda: len(lines(self.path('held'))), 20, timeout=WAIT)
        eventually(lambda: self.broker.backend.stats()['processing'], 20, timeout=WAIT)
        self.assertEqual(len(lines(self.path('held'))), 20)
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in held], list(range(30)))

    def ahead(self):
        """A child with two places, which is sent two more; these, the first two and another two."""
        for name, value in ('COUNTED', 0.0), ('AHEAD', 1e6), ('WAVE', WAIT):
            self.patch(worker, name, value)
        self.running = self.start(1, concurrency=2)
        for n in range(4):
            self.assertEqual(self.q.loop.same(n).result(WAIT), n)
        first = [self.q.loop.hold(self.path('first'), self.path('go'), n) for n in range(2)]
        eventually(lambda: len(lines(self.path('first'))), 2, timeout=WAIT)
        ahead = [self.q.loop.hold(self.path('ahead'), self.path('go'), n) for n in range(2)]
        eventually(lambda: self.broker.backend.stats()['processing'], 4, timeout=WAIT)
        return first, ahead

    def patch(self, module, name, value):
        patch = mock.patch.object(module, name, value)
        patch.start()
        self.addCleanup(patch.stop)

    def test_ahead(self):
        """What is sent ahead begins when others end, and not before."""
        first, ahead = self.ahead()
        more = self.q.loop.same('more')
        self.assertFalse(more.wait(0.1))
        self.assertEqual(lines(self.path('ahead')), [])
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in [*first, *ahead, more]], [0, 1, 0, 1, 'more'])

    def test_ahead_cancelled(self):
        """One that is cancelled before it has begun never begins; those behind it do."""
        first, (one, other) = self.ahead()
        self.assertTrue(one.cancel())
        eventually(lambda: other.status, 'enqueued', timeout=WAIT)   # both came back, one for good
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in [*first, other]], [0, 1, 1])
        self.assertEqual(one.status, 'cancelled')
        self.assertEqual(len(lines(self.path('ahead'))), 1)

    def test_ahead_stopped(self):
        """A pool that stops gives back what was sent ahead, uncounted."""
        first, ahead = self.ahead()
        self.running.stop(join=False)
        eventually(lambda: {d.status for d in ahead}, {'enqueued'}, timeout=WAIT)
        self.open('go')
        self.running.join()
        self.assertEqual([d.result(WAIT) for d in first], [0, 1])
        self.assertEqual(lines(self.path('ahead')), [])
        self.assertEqual([one.number for one in self.broker.backend.take('another', 2)], [1, 1])

    def test_ahead_waits_in_vain(self):
        """What has waited for too long behind long tasks is given back."""
        first, ahead = self.ahead()
        self.patch(worker, 'WAVE', 0.0)
        eventually(lambda: {d.status for d in ahead}, {'enqueued'}, timeout=WAIT)
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in [*first, *ahead]], [0, 1, 0, 1])

    def test_calls(self):
        """Tail calls, awaited calls, failures, retries, graphs, chunks of calls."""
        self.start()
        q = self.q.loop
        self.assertEqual(q.same(q.tail(q.ask(1))).result(WAIT), 2)
        self.assertEqual(q.fail('too low').exception(WAIT).error, 'ValueError: too low')
        self.assertIn('tasks.py', q.fail('too low').exception(WAIT).traceback)
        self.assertNotIn('worq/pool', q.fail('too low').exception(WAIT).traceback)
        bad = Task(q.fail, retries=2, backoff=0)('again')
        self.assertIn('(attempt 3 of 3)', bad.exception(WAIT).error)
        self.assertEqual(self.q.add(*[q.same(n) for n in range(50)]).result(WAIT), 1225)
        self.assertIn('TypeError', q.same().exception(WAIT).error)

    def test_functions(self):
        """Functions that are no coroutines run in threads, beside the loop; and what they return
        that is one runs in the loop."""
        self.start()
        q = self.q.loop
        functions = [q.function(self.path('begun'), self.path('go')) for _ in range(3)]
        eventually(lambda: len(lines(self.path('begun'))), 3, timeout=WAIT)
        self.assertEqual(q.same(1).result(WAIT), 1)
        self.open('go')
        self.assertEqual({d.result(WAIT) for d in functions}, {(True, 'loop.function')})
        self.assertEqual(q.made('made').result(WAIT), 'made')

    def test_large(self):
        """What is large comes and goes whole, beside what is not."""
        self.start()
        datas = [os.urandom(3 << 20), os.urandom(100 << 10)]
        large = [self.q.loop.large(data) for data in datas]
        self.assertEqual(self.q.loop.same(1).result(WAIT), 1)
        for deferred, data in zip(large, datas):
            self.assertEqual(deferred.result(WAIT), data + data)

    def test_progress(self):
        """The progress of each can be seen, and who runs; how many may, also after a reload."""
        running = self.start()
        both = [self.q.loop.progress(self.path('begun'), self.path('go')) for _ in range(2)]

        def seen():
            return [found.progress and Progress.decode(found.progress)
                    for found in self.broker.backend.inspect([d.id for d in both])]
        eventually(seen, [Progress(10, 10, '')] * 2, timeout=WAIT)
        eventually(lambda: {worker.id for pool in self.broker.pools() for worker in pool.workers},
                   {d.id for d in both}, timeout=WAIT)
        pool, = self.broker.pools()
        self.assertEqual((pool.kind, pool.size), ('aio', 50))
        self.assertIn(f'Worker {pool.workers[0].number} has run it for', both[1].explain())
        self.open('go')
        wait(both, WAIT)
        old = running.pids
        running.reload()
        eventually(lambda: running.pids not in ([], old), timeout=WAIT)
        eventually(lambda: [pool.size for pool in self.broker.pools()], [50], timeout=WAIT)

    def test_loop_is_ended(self):
        """What ends an event loop, as an exit in one of its tasks, ends nothing but its own task:
        all others in that child go on."""
        pool = self.start()
        held = [self.q.loop.hold(self.path('begun'), self.path('go'), n) for n in range(10)]
        eventually(lambda: len(lines(self.path('begun'))), 10, timeout=WAIT)
        pids = pool.pids
        failed = {how: str(self.q.loop.end_the_loop(how, how).exception(WAIT)) for how in
                  ['task', 'group', 'interrupt']}
        for how, error in failed.items():
            self.assertIn('KeyboardInterrupt' if how == 'interrupt' else 'SystemExit', error)
        for how in 'callback', 'stop', 'threads':
            self.assertEqual(self.q.loop.end_the_loop(how, how).result(WAIT), how)
        self.assertEqual(self.q.loop.large(bytes(100_000)).result(WAIT), bytes(200_000))
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in held], list(range(10)))
        self.assertEqual((pool.pids, len(lines(self.path('begun')))), (pids, 10))

    def test_all_are_cancelled(self):
        """Who cancels all tasks of the loop cancels itself, and nobody else."""
        pool = self.start()
        held = [self.q.loop.hold(self.path('begun'), self.path('go'), n) for n in range(10)]
        eventually(lambda: len(lines(self.path('begun'))), 10, timeout=WAIT)
        pids = pool.pids
        self.assertIn('CancelledError', str(self.q.loop.cancel_all().exception(WAIT)))
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in held], list(range(10)))
        self.assertEqual((pool.pids, len(lines(self.path('begun')))), (pids, 10))

    def test_stop(self):
        """A pool that stops lets all end that run; one that may not wait gives them back."""
        pool = self.start()
        held = [self.q.loop.hold(self.path('begun'), self.path('go'), n) for n in range(10)]
        eventually(lambda: len(lines(self.path('begun'))), 10, timeout=WAIT)
        pool.stop(join=False)
        self.open('go')
        pool.join()
        self.assertEqual([d.result(WAIT) for d in held], list(range(10)))
        pool.start(handle_sigterm=False)
        held = [self.q.loop.hold(self.path('again'), self.path('never')) for n in range(10)]
        eventually(lambda: len(lines(self.path('again'))), 10, timeout=WAIT)
        pool.stop(grace=0)
        self.assertEqual({d.status for d in held}, {'enqueued'})
        delivered, = self.broker.backend.take('another', 1)
        self.assertEqual(delivered.number, 1)

    def test_reload(self):
        """Children are replaced by new ones, and nothing is lost."""
        pool = self.start()
        before = self.q.loop.pid().result(WAIT)
        held = [self.q.loop.hold(self.path('begun'), self.path('go'), n) for n in range(5)]
        eventually(lambda: len(lines(self.path('begun'))), 5, timeout=WAIT)
        pool.reload()
        eventually(lambda: self.q.loop.pid().result(WAIT) != before, timeout=WAIT)
        self.open('go')
        self.assertEqual([d.result(WAIT) for d in held], list(range(5)))
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)


class BesideOnMemory(MemoryMixin, Beside):
    pass


class BesideOnRedis(RedisMixin, Beside):
    pass


class Begins(MemoryMixin, Loops):
    """How a child begins and ends; it has nothing to do with the queue."""

    def pool(self, workers=1, init=aio_tasks.init, more=(), concurrency=50, **options):
        return super().pool(workers, init, more, concurrency, **options)

    def test_context_manager(self):
        """What init opens in the loop is there for each task, and closed after the last."""
        pool = self.start(init=aio_tasks.init_in_the_loop, more=(self.path('closed'),))
        held = self.q.loop.hold(self.path('begun'), self.path('go'))
        self.assertEqual(self.q.loop.what_init_opened().result(WAIT),
                         (['a pool of connections'], True))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        pool.stop(join=False)
        self.assertEqual(lines(self.path('closed')), [])
        self.open('go')
        self.assertIsNone(held.result(WAIT))
        pool.join()
        self.assertEqual(len(lines(self.path('closed'))), 1)

    def test_cannot_be_closed(self):
        """What ended before is told, however long it is, though what init opened raises then."""
        pool = self.start(init=aio_tasks.init_cannot_close)
        held = self.q.loop.hold(self.path('begun'), self.path('go'), bytes(20_000_000))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        pool.stop(join=False)
        self.open('go')
        pool.join()
        self.assertEqual(held.status, 'success')

    def test_awaited(self):
        """Or it is a coroutine."""
        self.start(init=aio_tasks.init_awaited)
        self.assertEqual(self.q.loop.what_init_opened().result(WAIT), ([], True))

    def test_breaks(self):
        """What goes wrong there is told, as in any pool."""
        self.start(init=aio_tasks.init_breaks)
        deferred = self.q.loop.same(1)
        eventually(lambda: 'RuntimeError: no database today' in deferred.explain(), timeout=WAIT)

    def test_contexts(self):
        """Each task has a fresh copy of what init has set."""
        self.start(init=init_with_a_context)
        q = self.q
        found = {call().result(WAIT) for call in [q.leave_traces, q.leave_traces_in_a_loop] * 3}
        self.assertEqual(found, {('of init_func', 33, False)})
        self.assertEqual(trace.get(), 'nothing')

    def test_no_threads(self):
        """Without threads functions are left to other pools, by their names."""
        self.start(threads=0)
        deferred = self.q.loop.made(1)
        self.assertEqual(self.q.loop.same(1).result(WAIT), 1)
        eventually(lambda: [pool.tasks is not None and 'loop.same' in pool.tasks
                            for pool in self.broker.pools()], [True], timeout=WAIT)
        self.assertNotIn('loop.made', self.broker.pools()[0].tasks)
        other = ProcessPool(self.broker, aio_tasks.init, (self.name,), workers=1)
        self.addCleanup(other.stop)
        other.start(handle_sigterm=False)
        self.assertEqual(deferred.result(WAIT), 1)


class Mistakes(MemoryMixin, Loops):

    def test_options(self):
        """Numbers that make no sense are refused at once."""
        for wrong in [{'workers': 0}, {'concurrency': 0}, {'concurrency': 'many'},
                      {'threads': -1}, {'block_limit': -1}, {'block_limit': 'soon'}]:
            with self.assertRaises((ValueError, TypeError), msg=wrong):
                WorkerPool(self.broker, aio_tasks.init, **wrong)
        with self.assertRaises(TypeError):
            start_pools(aio_tasks.init, self.broker)
        self.assertIn('aio.WorkerPool', repr(self.pool()))
