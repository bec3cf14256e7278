"""map, reduce, wait and as_completed, on every queue; and the options that order tasks."""
from __future__ import annotations

import operator
import threading
from unittest import mock

import worq
from test.broker_case import BrokerCase, on_every_queue
from test.support import eventually
from test.test_inbox import Counting
from worq import Task, const


def join(a, b):
    return f'({a}{b})'


def slow_sum(*numbers):
    return sum(numbers)


def picky(n):
    if n == 3:
        raise ValueError('not three')
    return n


class FlowContract(BrokerCase):
    """Free functions over Deferreds."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [join, slow_sum, picky, operator.mul, sum]:
            self.b.expose(function)
        self.q = self.b.queue()

    def background(self):
        """Work in another thread, once, with a broker of its own."""
        worker = self.broker()
        worker.tasks.update(self.b.tasks)
        thread = threading.Thread(target=self.work, args=[worker])
        thread.start()
        self.addCleanup(thread.join)

    # -- map ------------------------------------------------------------------

    def test_map(self):
        """map calls the task with the items of its iterables, in order, up to the shortest."""
        made = worq.map(self.q.mul, range(2000), [3] * 1500)
        self.work(self.b)
        self.assertEqual([d.result(30) for d in made], [3 * n for n in range(1500)])

    def test_map_puts_in_batches(self):
        """A thousand calls are put in a few steps."""
        counting = self.b.backend = Counting(self.b.backend)
        made = worq.map(self.q.picky, range(1000))
        self.assertLessEqual(counting.calls.count('put'), 3)
        self.assertEqual(len({d.id for d in made}), 1000)

    def test_map_takes_deferreds(self):
        """Items may be Deferreds."""
        numbers = worq.map(self.q.picky, [1, 2])
        total = self.q.sum(worq.map(self.q.mul, numbers, numbers))
        self.work(self.b)
        self.assertEqual(total.result(30), 5)

    def test_map_chunks(self):
        """With a chunksize there is a Deferred for each chunk, of the list of its results."""
        chunks = worq.map(self.q.mul, range(10), range(10), chunksize=4)
        self.work(self.b)
        self.assertEqual([d.result(30) for d in chunks],
                         [[0, 1, 4, 9], [16, 25, 36, 49], [64, 81]])

    def test_map_chunk_fails(self):
        """A chunk fails if one of its calls does; the others do not."""
        good, bad = worq.map(self.q.picky, range(4), chunksize=2)
        self.work(self.b)
        self.assertEqual(good.result(30), [0, 1])
        self.assertEqual(bad.exception(30).error, 'ValueError: not three')

    def test_map_options(self):
        """A Task's options hold for each call; an id made of the arguments may be refused."""
        task = Task(self.q.picky, id=lambda n: f'n-{n}', ignore_result=True)
        self.assertEqual(worq.map(task, [1, 2]), [None, None])
        with self.assertRaises(worq.DuplicateTask):
            worq.map(Task(self.q.picky, id=lambda n: f'n-{n}'), [5, 2, 6])
        self.assertEqual(len(self.q), 3)   # up to the refused one

    def test_map_of_broken_iterable(self):
        """An iterable that breaks off leaves whole steps put, and no put that nobody ends."""
        def broken():
            yield from range(1400)
            raise KeyError('no more')
        for _ in range(2):
            with self.assertRaises(KeyError):
                worq.map(self.q.picky, broken())
        self.assertEqual(len(self.q), 2 * 1000)
        made = worq.map(self.q.mul, range(1200), [2] * 1200)
        self.work(self.b)
        self.assertEqual([d.result(30) for d in made], list(range(0, 2400, 2)))

    def test_map_of_forgotten(self):
        """A result that only this process still knows goes along by value in a map, too."""
        d = self.q.picky(7)
        self.work(self.b)
        self.assertEqual(d.result(30), 7)
        self.b.backend.forget([d.id])
        made = worq.map(self.q.mul, [d, 2], [3, 3])
        self.work(self.b)
        self.assertEqual([m.result(30) for m in made], [21, 6])

    def test_map_of_nothing(self):
        """No items, no tasks; no iterable, or a senseless chunksize, is an error."""
        self.assertEqual(worq.map(self.q.mul, [], []), [])
        self.assertEqual(worq.map(self.q.mul, [], [], chunksize=3), [])
        with self.assertRaises(TypeError):
            worq.map(self.q.mul)
        with self.assertRaisesRegex(TypeError, 'q.module.function'):
            worq.map(len, [1])
        for chunksize in [0, -1, 1.5, True]:
            with self.assertRaisesRegex(ValueError, 'chunksize'):
                worq.map(self.q.mul, [1], [1], chunksize=chunksize)

    # -- reduce ---------------------------------------------------------------

    def test_reduce(self):
        """reduce keeps the order of its items, and makes a balanced tree."""
        top = worq.reduce(self.q.join, 'abcdefg')
        self.work(self.b)
        self.assertEqual(top.result(30), '(((ab)(cd))((ef)g))')

    def test_reduce_of_many(self):
        """Deferreds and plain values may be mixed."""
        items = [self.q.picky(n) if n % 7 == 0 else n for n in range(500)]
        top = worq.reduce(Task(self.q.slow_sum), items)
        self.work(self.b)
        self.assertEqual(top.result(30), sum(range(500)))

    def test_reduce_of_few(self):
        """One item comes back as it is; none is an error."""
        d = self.q.picky(1)
        self.assertIs(worq.reduce(self.q.mul, [d]), d)
        with self.assertRaisesRegex(ValueError, 'no items'):
            worq.reduce(self.q.mul, [])
        with self.assertRaisesRegex(ValueError, 'ignore_result'):
            worq.reduce(Task(self.q.mul, ignore_result=True), [1, 2])

    # -- wait and as_completed ------------------------------------------------

    def test_wait_for_all(self):
        """wait returns all as done when they are; a Deferred given twice counts once."""
        made = worq.map(self.q.picky, range(50))
        self.background()
        done, not_done = worq.wait([*made, made[0]], timeout=30)
        self.assertEqual((done, not_done), (set(made), set()))
        self.assertTrue(all(d.has_value() for d in made))

    def test_wait_for_the_first(self):
        """FIRST_COMPLETED returns when one is done, FIRST_EXCEPTION when one has failed."""
        made = worq.map(self.q.picky, range(6))
        self.work(self.b, limit=1)
        done, not_done = worq.wait(made, 30, worq.FIRST_COMPLETED)
        self.assertEqual((done, not_done), ({made[0]}, set(made[1:])))
        self.work(self.b, limit=3)
        done, not_done = worq.wait(made, 30, worq.FIRST_EXCEPTION)
        self.assertIn(made[3], done)
        self.assertLessEqual({made[4], made[5]}, not_done)

    def test_wait_in_vain(self):
        """At the end of the timeout wait tells what is done and what is not."""
        made = worq.map(self.q.picky, range(3))
        self.work(self.b, limit=1)
        self.assertEqual(worq.wait(made, timeout=0.2), ({made[0]}, set(made[1:])))
        self.assertEqual(worq.wait([], timeout=0), (set(), set()))

    def test_wait_for_many_costs_little(self):
        """Ten thousand are waited for with a few round trips."""
        made = worq.map(self.q.picky, [1] * 10_000)
        while self.b.backend.size():
            deliveries = self.b.backend.take('pool', 500)
            from worq.pool.run import run
            self.b.backend.settle('pool', [run(self.b, d) for d in deliveries])
        counting = self.b.inbox.backend = Counting(self.b.backend)
        done, _ = worq.wait(made, timeout=60)
        self.assertEqual(len(done), 10_000)
        self.assertLessEqual(counting.calls.count('watch'), 30)

    def test_wait_for_what_is_none(self):
        """What is no Deferred, and a return_when that does not exist, are told of."""
        with self.assertRaisesRegex(TypeError, 'only Deferreds'):
            worq.wait([1])
        with self.assertRaisesRegex(ValueError, 'return_when'):
            worq.wait([], return_when='SOME')

    def test_as_completed(self):
        """as_completed yields each Deferred once, when it is done."""
        made = worq.map(self.q.picky, range(30))
        self.background()
        self.assertCountEqual(list(worq.as_completed(made, timeout=30)), made)
        self.assertCountEqual(list(worq.as_completed(made)), made)   # all are there already

    def test_what_is_no_deferred(self):
        """Only Deferreds can be waited for; None is what a call returns that ignores its result."""
        ignored = worq.map(Task(self.q.double, ignore_result=True), range(3))
        for strange, text in [(ignored, 'not None .*ignored'), ([1], 'not 1'),
                              ([self.q.double], 'not <Queue ')]:
            for function in worq.wait, worq.as_completed:   # at once, not with the first one
                with self.assertRaisesRegex(TypeError, text):
                    function(strange)

    def test_as_completed_counts_from_the_call(self):
        """The time-out is that of all, from the call on, not from the first one asked for."""
        never = self.q.double(1)
        with mock.patch('worq.flow.time.monotonic', lambda: 1_000.0):
            arriving = worq.as_completed([never], timeout=5)
        with mock.patch('worq.flow.time.monotonic', lambda: 1_006.0), \
                self.assertRaises(TimeoutError):
            next(arriving)

    def test_chunks_have_no_id_function(self):
        """A function that makes an id of a call's arguments has nothing to make one of a chunk."""
        with self.assertRaisesRegex(ValueError, 'id .* chunk'):
            worq.map(Task(self.q.double, id=str), range(4), chunksize=2)
        self.assertEqual(len(self.q), 0)

    def test_as_completed_over_queues(self):
        """Deferreds of several brokers may be waited for together."""
        other = self.broker('other')
        other.expose(picky)
        made = [self.q.picky(1), other.queue().picky(2)]
        self.work(self.b)
        self.work(other)
        self.assertEqual({d.value for d in worq.as_completed(made, timeout=30)}, {1, 2})

    def test_as_completed_in_vain(self):
        """It raises TimeoutError when they are not all done in time, and leaves nothing."""
        made = worq.map(self.q.picky, range(3))
        self.work(self.b, limit=1)
        arrived = []
        with self.assertRaisesRegex(TimeoutError, '^2 Deferreds are not done after 0.2 seconds$'):
            for d in worq.as_completed(made, timeout=0.2):
                arrived.append(d)
        self.assertEqual(arrived, [made[0]])
        with self.assertRaisesRegex(TimeoutError, '^1 Deferred is not done after 0 seconds$'):
            list(worq.as_completed(made[1:2], timeout=0))
        box = self.b.inbox
        self.assertEqual(box._subscribed, set())
        eventually(lambda: (box._tidy(), box._waiting), (None, {}))

    # -- arguments that failed ------------------------------------------------

    def test_skip(self):
        """With Task.SKIP what failed is left out of lists; the log says how many, and why."""
        numbers = worq.map(self.q.picky, range(6))
        total = Task(self.q.sum, on_error=Task.SKIP)(numbers)
        nested = Task(self.q.join, on_error=Task.SKIP)([numbers], {'all': numbers[2:4]})
        later = self.q.picky(total)
        with self.assertLogs('worq.pool.run', 'INFO') as logs:
            self.work(self.b)
        self.assertEqual(total.result(30), 12)
        self.assertEqual(later.result(30), 12)
        self.assertEqual(nested.result(30), "([[0, 1, 2, 4, 5]]{'all': [2]})")
        self.assertRegex('\n'.join(logs.output), r'sum .* runs without 1 of its arguments, which '
                         r'failed: picky .* not three')

    def test_skip_elsewhere(self):
        """What failed and stands in no list fails the task, which does not run."""
        called = []
        self.b.expose(called.append)
        failed = self.q.picky(3)
        task = Task(self.q.append, on_error=Task.SKIP)
        made = [task(failed), task((1, failed)), task({'a': failed})]
        cancelled = self.q.picky(1)
        cancelled.cancel()
        made += [task(cancelled)]
        self.work(self.b)
        for deferred in made[:3]:
            self.assertEqual(deferred.exception(30).error, 'ValueError: not three')
        self.assertIn('cancelled', str(made[3].exception(30)))
        self.assertEqual(called, [])

    def test_skip_at_the_queue(self):
        """It may be an option of a queue, and all may have failed."""
        q = self.b.queue(on_error='skip')
        total = q.sum([q.picky(3), q.picky(3)])
        self.work(self.b)
        self.assertEqual(total.result(30), 0)
        with self.assertRaisesRegex(ValueError, 'Task.SKIP'):
            Task(q.sum, on_error='skipp')

    def test_reduce_skips(self):
        """In a reduction the one that is left is handed on; with none it fails."""
        task = Task(self.q.join, on_error=Task.SKIP)
        for items, expect in [([3, 'b', 'c'], '(bc)'), (['a', 3, 3, 'd', 3], '(ad)'),
                              ([3, 3, 3, 'd'], 'd'), (['a', 'b', 'c'], '((ab)c)')]:
            top = worq.reduce(task, worq.map(self.q.picky, items))
            self.work(self.b)
            self.assertEqual(top.result(30), expect)
        top = worq.reduce(task, worq.map(self.q.picky, [3, 3, 3]))
        self.work(self.b)
        self.assertEqual(top.exception(30).error, 'ValueError: not three')

    # -- when a task runs -----------------------------------------------------

    def test_priority(self):
        """Ready tasks run by priority, then in the order in which they were put."""
        order = []
        self.b.expose(order.append)
        for n, priority in enumerate(['low', 'normal', 'high', 'low', 'high']):
            Task(self.q.append, priority=priority)(n)
        self.work(self.b)
        self.assertEqual(order, [2, 4, 1, 0, 3])

    def test_delay(self):
        """A delayed task is scheduled, and runs when its time has come."""
        later = Task(self.q.picky, delay=0.1)(1)
        self.assertEqual(later.status, const.SCHEDULED)
        self.assertEqual(Task(self.q.picky, delay=3600)(1).status, const.SCHEDULED)
        while not self.work(self.b):
            pass
        self.assertEqual(later.result(30), 1)

    def test_senseless_order(self):
        """A priority or a delay that makes no sense is refused at once."""
        for options in [{'priority': 'urgent'}, {'priority': 1}, {'delay': -1},
                        {'delay': 'soon'}, {'delay': float('inf')}]:
            name, = options
            with self.subTest(options=options), \
                    self.assertRaisesRegex(ValueError, f'invalid {name}'):
                Task(self.q.f, **options)


on_every_queue(globals(), FlowContract)
