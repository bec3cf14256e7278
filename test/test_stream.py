"""Streams: map and as_completed with a bound on what is put at a time, on every queue."""
from __future__ import annotations

import itertools
import threading
import time
from unittest import mock

import worq
from test.broker_case import BrokerCase, on_every_queue
from test.test_inbox import Counting
from worq import DuplicateTask, QueueError, Task, TaskFailure, const, stream


def double(n):
    if n == 3:
        raise ValueError('not three')
    return 2 * n


class StreamContract(BrokerCase):
    """Results of endless iterables, in order, and as they come."""

    __test__ = False

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        self.b.expose(double)
        self.q = self.b.queue()

    def background(self):
        """Work in another thread, with a broker of its own, until the test is over."""
        worker = self.broker()
        worker.tasks.update(self.b.tasks)
        over = threading.Event()

        def work():
            while not over.is_set():
                self.work(worker)
                over.wait(0.001)
        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(over.set)

    def test_endless(self):
        """An endless iterable is read as far as it is asked for, and results come in order."""
        taken = []
        items = (taken.append(n) or n for n in itertools.count(10))
        self.background()
        results = worq.map(self.q.double, items, ahead=7)
        got = []
        for _ in range(200):
            got.append(next(results))
            self.assertLessEqual(len(self.q), 7)
            self.assertLessEqual(len(taken), len(got) + 7)
        self.assertEqual(got, [2 * n for n in range(10, 210)])
        self.assertIs(iter(results), results)
        self.assertRegex(repr(results), '^<Stream double .* of 7 ahead>$')

    def test_begins_at_once(self):
        """The first ones are put by the call, and no more."""
        results = worq.map(self.q.double, itertools.count(), [0] * 99, ahead=4)
        self.assertEqual(len(self.q), 4)
        del results
        self.assertEqual(len(self.q), 4)   # they are left to be run

    def test_nothing_is_kept(self):
        """What a stream has told of is forgotten, so that an endless one does not fill the queue;
        but not failures, nor what the caller has said how long to keep."""
        made = []
        enqueue_all = self.b.enqueue_all
        self.b.enqueue_all = lambda *args: made.append(enqueue_all(*args)) or made[-1]
        self.background()
        for target, kept in [(self.q.double, 1), (Task(self.q.double, result_timeout=60), 31)]:
            results = worq.map(target, range(31), ahead=5)
            got = [next(results) for _ in range(3)]
            with self.assertRaises(TaskFailure):
                next(results)
            self.assertEqual([*got, *results], [2 * n for n in range(31) if n != 3])
            states = self.b.backend.status([one.id for some in made for one in some])
            self.assertEqual((len(states), 31 - states.count(None)), (31, kept))
            made.clear()

    def test_few_steps(self):
        """Calls are put together: those that follow, too, if results come quickly."""
        counting = self.b.backend = Counting(self.b.backend)
        with mock.patch.object(stream, 'GATHER', 60):
            results = worq.map(self.q.double, range(10, 110), ahead=100)
            self.assertEqual(counting.calls.count('put'), 1)
            self.work(self.b)
            self.assertEqual(list(results), [2 * n for n in range(10, 110)])
            results = worq.map(self.q.double, range(10, 210), ahead=20)
            for n in range(10, 210):
                self.work(self.b)
                self.assertEqual(next(results), 2 * n)
        self.assertLess(counting.calls.count('put'), 25)

    def test_slow_items(self):
        """Of items that come slowly each is put when it is there."""
        put = []

        def items():
            for n in range(3):
                put.append(len(self.q))
                yield n
        with mock.patch.object(stream, 'GATHER', -1):
            results = worq.map(self.q.double, items(), ahead=3)
            self.assertEqual(put, [0])
            self.work(self.b)
            self.assertEqual(next(results), 0)
        self.assertEqual(put, [0, 0])

    def test_chunks(self):
        """With chunks a task has several calls, and each result is told of by itself."""
        self.background()
        results = worq.map(self.q.double, itertools.count(10), chunksize=5, ahead=2)
        self.assertEqual([next(results) for _ in range(23)], [2 * n for n in range(10, 33)])
        self.assertEqual(list(worq.map(self.q.double, [], chunksize=5, ahead=2)), [])

    def test_failure(self):
        """One that fails raises, in its place, and the stream goes on."""
        self.background()
        results = worq.map(self.q.double, range(2, 5), ahead=2)
        self.assertEqual(next(results), 4)
        with self.assertRaisesRegex(TaskFailure, 'not three'):
            next(results)
        self.assertEqual(list(results), [8])
        self.assertEqual(list(results), [])

    def test_refused(self):
        """One that cannot be put raises, in its place; none is lost or put twice for that."""
        task = Task(self.q.double, id=lambda n: f'id-{min(n, 6)}')
        results = worq.map(task, range(4, 9), ahead=5)
        self.background()   # not before: what is done may be replaced
        self.assertEqual([next(results), next(results), next(results)], [8, 10, 12])
        for _ in range(2):
            with self.assertRaises(DuplicateTask):
                next(results)
        self.assertEqual(list(results), [])

    def test_broken_items(self):
        """What the items raise comes after the results before it."""
        def items():
            yield 1
            yield 2
            raise KeyError('no more')
        self.background()
        results = worq.map(self.q.double, items(), ahead=10)
        self.assertEqual([next(results), next(results)], [2, 4])
        with self.assertRaises(KeyError):
            next(results)
        self.assertEqual(list(results), [])

    def test_out_of_reach(self):
        """If the queue is out of reach no item is lost: the next time they are put again."""
        self.background()
        with mock.patch.object(self.b.backend, 'put', side_effect=QueueError('away')), \
                mock.patch.object(self.b.backend, 'begin_put', side_effect=QueueError('away')):
            results = worq.map(self.q.double, [], ahead=3)
            results._calls = iter([(5,), (6,)])
            with self.assertRaises(QueueError):
                next(results)
        self.assertEqual(list(results), [10, 12])

    def test_close(self):
        """The end of a with block cancels what is not done, and the stream is at its end."""
        with worq.map(self.q.double, itertools.count(10), ahead=4) as results:
            self.work(self.b, limit=1)
            self.assertEqual(next(results), 20)
        self.assertEqual(len(self.q), 0)
        self.assertEqual(list(results), [])
        results.close()
        with worq.map(self.q.double, [1, threading.Lock(), 2], ahead=3):
            self.assertEqual(len(self.q), 2)   # one of them cannot be put
        self.assertEqual(len(self.q), 0)

    def test_senseless(self):
        """What makes no sense is refused before anything is put."""
        for ahead in [0, -1, 1.5, True, float('nan')]:
            with self.assertRaisesRegex(ValueError, 'ahead'):
                worq.map(self.q.double, [1], ahead=ahead)
            with self.assertRaisesRegex(ValueError, 'ahead'):
                worq.as_completed([], ahead=ahead)
        with self.assertRaisesRegex(ValueError, 'ignore_result'):
            worq.map(Task(self.q.double, ignore_result=True), [1], ahead=1)
        with self.assertRaisesRegex(RuntimeError, 'batch'), worq.batch(self.q):
            worq.map(self.q.double, [1], ahead=1)
        results = worq.map(self.q.double, range(5), ahead=1)
        with self.assertRaisesRegex(RuntimeError, 'batch'), worq.batch(self.q):
            self.work(self.b)
            next(results)
            next(results)
        self.assertEqual(len(self.q), 0)

    def test_as_completed(self):
        """A generator of Deferreds is read as far as there is room; each is told of once."""
        made = []

        def calls():
            for n in itertools.count(10):
                made.append(n)
                yield self.q.double(n)
        self.background()
        got = []
        for deferred in worq.as_completed(calls(), timeout=60, ahead=5):
            got.append(deferred.value)
            self.assertLessEqual(len(made), len(got) + 4)
            if len(got) == 100:
                break
        self.assertEqual(len(set(got)), 100)
        self.assertLessEqual(max(got), 2 * (10 + 105))

    def test_as_completed_lets_go(self):
        """What has been told of is not kept, however many there are."""
        self.background()
        arrivals = worq.flow.Arrivals((self.q.double(n) for n in range(10, 200)), 60, 3)
        with arrivals:
            for count, _ in enumerate(arrivals.come(), 1):
                self.assertLessEqual(len(arrivals._subscribed), 3)
        self.assertEqual(count, 190)
        self.assertEqual(self.b.inbox._subscribed, set())

    def test_as_completed_of_broken(self):
        """What the generator raises comes when those before it are done; time is bounded."""
        def calls():
            yield self.q.double(1)
            raise KeyError('no more')
        completed = worq.as_completed(calls(), ahead=5)
        self.work(self.b)
        self.assertEqual(next(completed).value, 2)
        with self.assertRaises(KeyError):
            next(completed)
        begin = time.monotonic()
        with self.assertRaisesRegex(TimeoutError, '^2 Deferreds are not done'):
            list(worq.as_completed((self.q.double(n) for n in itertools.count()), 0.1, ahead=2))
        self.assertLess(time.monotonic() - begin, 30)
        with self.assertRaisesRegex(TypeError, 'only Deferreds'):
            worq.as_completed(iter([None]), ahead=2)

    def test_bounds(self):
        """A window may be as wide as a count may be."""
        self.assertEqual(list(worq.map(self.q.double, [], ahead=const.COUNT)), [])


on_every_queue(globals(), StreamContract)
