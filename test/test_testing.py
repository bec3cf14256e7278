"""worq.testing: graphs run in the test's own thread, when and how far the test says."""
from __future__ import annotations

import asyncio
import doctest
import threading
import unittest

import worq
from worq import Task, TaskSpace, const, current_task, testing

space = TaskSpace('lab')


@space.task
def add(a, b):
    return a + b


@space.task
def fib(n):
    q = current_task().queue
    return n if n < 2 else q.lab.add(q.lab.fib(n - 1), q.lab.fib(n - 2))


class Benches(unittest.TestCase):

    def bench(self, *tasks, **options):
        bench = testing.Bench(*tasks, **options)
        self.addCleanup(bench.close)
        self.addCleanup(lambda: self.assertEqual(bench.broker.backend.audit(), []))
        return bench

    def test_functions_stand_alone(self):
        """What is in a space can be called and tested like any function, without a broker."""
        self.assertEqual(add(1, 2), 3)
        with self.assertRaisesRegex(RuntimeError, 'no task runs here'):
            fib(2)   # but for what needs a queue

    def test_graph(self):
        """A graph with tail calls runs in this thread, and only when run is called."""
        threads = set()

        def note(value):
            threads.add(threading.get_ident())
            return value
        bench = self.bench(space, note)
        d = bench.queue.note(bench.queue.lab.fib(7))
        self.assertFalse(d)
        self.assertGreater(bench.run(), 40)
        self.assertEqual((d.value, threads), (13, {threading.get_ident()}))
        self.assertEqual(bench.run(), 0)

    def test_one_at_a_time(self):
        """A limit says how many tasks run."""
        bench = self.bench(space)
        made = [bench.queue.lab.add(n, 1) for n in range(3)]
        self.assertEqual(bench.run(limit=2), 2)
        self.assertEqual([bool(d) for d in made], [True, True, False])

    def test_codec(self):
        """Arguments and results go through the codec, so what cannot be sent is found."""
        bench = self.bench(space, codec='json')
        with self.assertRaises(worq.EncodeError):
            bench.queue.lab.add({1}, 2)
        d = bench.queue.lab.add((1,), [2])
        bench.run()
        self.assertEqual(d.value, [1, 2])   # json knows no tuples

    def test_clock(self):
        """Time goes by only when the test says so, and each task runs at its moment."""
        moments = []

        def note():
            moments.append(bench.now)
        bench = self.bench(note)
        for delay in (50, 10, 3600):
            Task(bench.queue.note, delay=delay)()
        bench.queue.note()
        self.assertEqual((bench.run(), moments), (1, [0]))
        self.assertEqual(bench.advance(9.9), 0)
        self.assertEqual(bench.advance(50.1), 2)
        self.assertEqual((moments, bench.now), ([0, 10, 50], 60))
        self.assertEqual(bench.advance(3600), 1)
        for seconds in (-1, float('nan'), float('inf')):
            with self.assertRaises(ValueError):
                bench.advance(seconds)

    def test_tail_calls_leave_nothing(self):
        """What tail calls have made is forgotten with the outcome that it came to."""
        def down(n):
            queue = worq.current_task().queue
            return queue.down(n - 1) if n else 'ground'
        bench = self.bench(down)
        d = Task(bench.queue.down, result_timeout=1)(20)
        self.assertEqual(bench.run(), 21)
        self.assertEqual(d.value, 'ground')
        bench.advance(5)
        self.assertEqual(bench._backend._store.lives, {})

    def test_clock_set_back(self):
        """Where a test sets the clock back, what is put off is run after the time it asked for."""
        bench = self.bench(space)
        first = Task(bench.queue.lab.add, delay=60)(1, 2)
        bench.advance(20)
        bench._now -= 3600
        later = Task(bench.queue.lab.add, delay=30)(1, 2)
        self.assertEqual((bench.advance(29), bench.advance(2), later.status), (0, 1, 'success'))
        self.assertEqual((bench.advance(8), first.status), (0, 'scheduled'))
        self.assertEqual((bench.advance(2), first.status), (1, 'success'))

    def test_many_come_due(self):
        """However many come due at one moment, all of them run then."""
        bench = self.bench(space)
        made = worq.map(Task(bench.queue.lab.add, delay=5), range(1000), range(1000))
        self.assertEqual(bench.advance(5), 1000)
        self.assertTrue(all(d.has_value() or d for d in made))

    def test_retries(self):
        """Retries take place when they are due; one without a pause needs no time."""
        moments = []

        def f():
            moments.append(bench.now)
            raise ValueError(len(moments))
        bench = self.bench(f)
        d = Task(bench.queue.f, retries=4, backoff=[10, 20, 0])()
        bench.run()
        self.assertEqual((d.status, moments), (const.SCHEDULED, [0]))
        bench.advance(25)
        self.assertEqual(moments, [0, 10])
        bench.advance(25)
        self.assertEqual(moments, [0, 10, 30, 30, 30])
        self.assertEqual(d.exception(0).error, 'ValueError: 5 (attempt 5 of 5)')

    def test_expires(self):
        """What was not begun in time has expired."""
        bench = self.bench(space)
        bench.broker.expose(bench.advance)
        busy = Task(bench.queue.advance, priority='high')(6)
        late, good = (Task(bench.queue.lab.add, expires=n)(1, 2) for n in (5, 7))
        self.assertEqual(bench.run(), 2)
        self.assertEqual((bench.now, busy.value, good.value), (6, 0, 3))
        self.assertIsInstance(late.exception(0), worq.TaskExpired)

    def test_time_limit(self):
        """A task that says that it takes longer than its limit gets a TaskTimeout just then."""
        seen = []

        def slow(seconds):
            try:
                bench.advance(seconds)
            except worq.TaskTimeout:
                seen.append(bench.now)
                raise
            return 'done'
        bench = self.bench(slow)
        task = Task(bench.queue.slow, timeout=5)
        good, bad = task(4), task(60)
        bench.run()
        self.assertEqual(good.value, 'done')
        self.assertIsInstance(bad.exception(0), worq.TaskTimeout)
        self.assertIn('longer than its limit of 5 seconds', str(bad.exception(0)))
        self.assertEqual((seen, bench.now), ([9], 9))

    def test_time_limit_handled(self):
        """A task may go on after its limit, to clean up; it is told once."""
        def slow():
            try:
                bench.advance(60)
            except worq.TaskTimeout:
                bench.advance(2)
                return current_task().cancelled
        bench = self.bench(slow)
        d = Task(bench.queue.slow, timeout=5)()
        bench.run()
        self.assertEqual((d.value, bench.now), (False, 7))

    def test_cancel_while_it_runs(self):
        """A task that is cancelled while it runs gets Cancelled when time goes by."""
        seen = []

        def work():
            d.cancel()
            try:
                bench.advance(1)
            finally:
                seen.append(current_task().cancelled)
        bench = self.bench(work)
        d = bench.queue.work()
        bench.run()
        self.assertEqual(seen, [True])
        self.assertIsInstance(d.exception(0), worq.TaskCancelled)

    def test_progress(self):
        """Progress is seen once time goes by."""
        seen = []

        def work():
            current_task().progress(1, 4, 'sweeping')
            bench.advance(1)
            seen.append(d.progress)
        bench = self.bench(work)
        d = bench.queue.work()
        bench.run()
        self.assertEqual(seen, [(1, 4, 'sweeping')])
        self.assertIsNone(d.progress)

    def test_long_task(self):
        """A lease is kept however long a task says that it takes."""
        ran = []

        def work():
            ran.append(bench.now)
            for _ in range(10):
                bench.advance(3600)
        bench = self.bench(work)
        d = bench.queue.work()
        bench.run()
        bench.advance(60)
        self.assertEqual((d.status, ran), ('success', [0]))

    def test_crash(self):
        """A worker may die with a task: it is delivered again, and has expired in the end."""
        bench = self.bench(space)
        d = bench.queue.lab.add(1, 2)
        self.assertEqual(bench.crash(), d.id)
        bench.run()
        self.assertEqual(d.value, 3)
        with self.assertRaises(LookupError):
            bench.crash()
        d = Task(bench.queue.lab.add, max_deliveries=2)(1, 2)
        for _ in range(2):
            self.assertEqual(bench.crash('out of memory'), d.id)
        self.assertIsInstance(d.exception(0), worq.TaskExpired)
        self.assertIn('out of memory', str(d.exception(0)))

    def test_waiting_is_in_vain(self):
        """Who waits for what is not done is told at once, and not never."""
        async def wait_for(*deferreds):
            return await asyncio.gather(*deferreds)
        bench = self.bench(space)
        d = bench.queue.lab.add(1, 2)
        for wait in [d.result, lambda: d.wait(5), lambda: worq.wait([d], timeout=5),
                     lambda: list(worq.as_completed([d])), lambda: asyncio.run(wait_for(d))]:
            with self.assertRaisesRegex(
                    RuntimeError, r'nothing runs while you wait.*\nlab\.add \[.*\] is enqueued'):
                wait()
        self.assertFalse(d.wait(0))
        bench.run()
        self.assertEqual((d.result(), asyncio.run(wait_for(d, d))), (3, [3, 3]))
        later = Task(bench.queue.lab.add, delay=5)(d, 2)
        with self.assertRaisesRegex(RuntimeError, r'advance\(\) .*\n.* is scheduled'):
            later.result()
        self.assertEqual((bench.advance(5), asyncio.run(wait_for(d, later))), (1, [3, 5]))
        self.assertEqual(worq.wait([d, later]), ({d, later}, set()))
        self.assertIsNone(bench.broker.inbox._listener)

    def test_not_in_a_task(self):
        """A task does not run others, and says so."""
        bench = self.bench(space)
        bench.broker.expose(bench.run)
        bench.broker.expose(bench.crash)
        for d in [bench.queue.run(), bench.queue.crash()]:
            bench.run()
            self.assertIn('cannot call', d.exception(0).error)

    def test_alone(self):
        """Benches of one name share nothing, with each other or with a queue in memory."""
        one, other = self.bench(space), self.bench(space)
        one.queue.lab.add(1, 2)
        self.assertEqual(len(other.queue), 0)
        self.assertEqual(len(worq.get_queue('memory://', 'bench')), 0)
        self.assertEqual(repr(one), '<Bench [bench] 1 tasks, at 0 s>')
        one.run()

    def test_batch(self):
        """Batches and map work as on any queue."""
        with testing.Bench(space) as bench:
            with worq.batch(bench.queue):
                d = worq.reduce(bench.queue.lab.add, worq.map(bench.queue.lab.add, 'abc', 'xyz'))
                with self.assertRaisesRegex(RuntimeError, 'not put yet'):
                    bench.run()   # whose calls would the tasks' own calls be?
            bench.run()
            self.assertEqual(d.value, 'axbycz')


def test_documented():
    """The example in the module's documentation runs as it is shown."""
    failed, tried = doctest.testmod(testing)
    assert (failed, tried > 4) == (0, True)


class Schedules(unittest.TestCase):

    def test_schedules(self):
        """The clock of a bench goes through them: each slot runs at its moment."""
        space, seen = TaskSpace(), []

        @space.task(every=600, missed='all')
        def often():
            seen.append((current_task().slot.timestamp(), bench.now))

        @space.task(cron='0 * * * *', retries=1, backoff=60)
        def hourly():
            seen.append('hourly')
        with testing.Bench(space) as bench:
            bench.run()
            self.assertEqual(seen, [])
            bench.advance(7200)
            slots = [one for one in seen if one != 'hourly']
            self.assertEqual(len(slots), 12)
            self.assertEqual(len(seen), 14)
            first, began = slots[0]
            self.assertEqual([slot - first for slot, _ in slots], [n * 600 for n in range(12)])
            for slot, moment in slots:
                self.assertAlmostEqual(slot - first, moment - began, delta=1.1)
