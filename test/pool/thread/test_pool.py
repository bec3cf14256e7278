"""The pool of threads, on both queues."""
from __future__ import annotations

from contextlib import suppress
import logging
import select
import threading
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin, SqliteMixin
from test.pool.contract import WAIT, PoolCase, PoolContract
from test.pool.tasks import tasks
from test.support import eventually
from worq import Cancelled, Task
from worq.errors import QueueError
from worq.pool.thread import WorkerPool
from worq.queue.base import Outcome

__all__ = ['ThreadsOnMemory', 'ThreadsOnRedis', 'ThreadDetails']


class Threads(PoolCase):

    def pool(self, workers=1, **options):
        if not self.broker.tasks:
            self.broker.expose(tasks)
        return WorkerPool(self.broker, workers, **options)

    def lull(self, pool):
        asleep, usual = threading.Event(), pool._listen

        def listen():
            if asleep.is_set():
                return usual()
            asleep.set()
            select.select([pool._wake[0]], [], [], WAIT)
            return False
        self.enterContext(mock.patch.object(pool, '_listen', listen))
        self.assertTrue(asleep.wait(WAIT))


class ThreadsOnMemory(MemoryMixin, Threads, PoolContract):
    """The contract, with threads and the queue in memory."""


class ThreadsOnRedis(RedisMixin, Threads, PoolContract):
    """The contract, with threads and Redis."""


class ThreadsOnFile(SqliteMixin, Threads, PoolContract):
    """The contract, with threads and a file."""


class Flaky:
    """A queue in front of another one: it fails on demand, before or after the call."""

    def __init__(self, backend):
        self._backend = backend
        self.down = False          # calls fail and do nothing
        self.swallow = 0           # so many replies of turn that took something are lost

    def __getattr__(self, name):
        method = getattr(self._backend, name)
        if not callable(method):
            return method

        def call(*args, **kw):
            if self.down:
                raise QueueError('down')
            answer = method(*args, **kw)
            if name == 'turn' and self.swallow and answer.deliveries:
                self.swallow -= 1
                raise QueueError('the reply was lost')
            return answer
        return call


class ThreadDetails(MemoryMixin, Threads):
    """What only threads do; and outages, which need no server to be tried."""

    def test_workers_is_checked(self):
        """A number of workers that makes no sense is refused at once."""
        for workers in (0, -1, 1.5, 'two', None):
            with self.assertRaises((ValueError, TypeError)):
                WorkerPool(self.broker, workers)

    def test_broker_is_checked(self):
        """A queue or a URL in place of the broker is refused at once."""
        for wrong in self.q, self.broker.url, None:
            with self.assertRaisesRegex(TypeError, r'made of a broker, as get_broker\(url\)'):
                WorkerPool(wrong)

    def test_thread_factory(self):
        """Threads come from the factory."""
        made = []

        def factory(*args, **kw):
            made.append(threading.Thread(*args, **kw))
            return made[-1]
        self.start(3, thread_factory=factory)
        self.assertEqual(len(made), 3)
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    def test_tasks_run_at_once(self):
        """As many tasks run at the same time as there are workers."""
        barrier = threading.Barrier(4)
        self.broker.expose(tasks)
        self.broker.expose(barrier.wait)
        self.start(4)
        self.assertEqual(sorted(d.result(WAIT) for d in [self.q.wait() for _ in range(4)]),
                         [0, 1, 2, 3])

    def test_replaced_next_task(self):
        """A broker whose next_task was replaced is asked for each task, one by one."""
        asked = []
        next_task = self.broker.next_task

        def replaced(timeout=None):
            task = next_task(timeout=timeout)
            if task is not None:
                asked.append(task.id)
            return task
        self.broker.next_task = replaced
        self.start(1)
        deferreds = [self.q.same(n) for n in range(20)]
        self.assertEqual([d.result(WAIT) for d in deferreds], list(range(20)))
        self.assertEqual(asked, [d.id for d in deferreds])

    def test_cancelled_by_hand(self):
        """A task that was taken one by one, is cancelled and does not let go is told of once."""
        next_task = self.broker.next_task
        self.broker.next_task = lambda timeout=None: next_task(timeout=timeout)
        begun, go = threading.Event(), threading.Event()

        def obstinate():
            begun.set()
            while not go.is_set():
                with suppress(Cancelled):
                    go.wait(0.05)
        self.broker.expose(tasks)
        self.broker.expose(obstinate)
        pool = self.start(1)
        self.addCleanup(go.set)   # before the pool is stopped
        task = self.q.obstinate()
        self.assertTrue(begun.wait(WAIT))
        with self.assertLogs('worq.pool.thread', 'INFO') as logs:
            logging.disable(logging.NOTSET)
            task.cancel()
            eventually(lambda: bool(logs.output), timeout=WAIT)
        self.assertIn('was cancelled while it was here', logs.output[0])
        eventually(lambda: pool._by_hand, {})   # or its beats would tell that again and again
        self.assertFalse(go.is_set())

    def test_outage(self):
        """Outcomes that cannot be settled while the queue is away are settled afterwards."""
        flaky = self.broker.backend = Flaky(self.broker.backend)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        pool = self.start(1)
        running = self.held(value='kept')
        waiting = self.q.same('later')
        flaky.down = True
        self.open('go')
        self.assertIsNone(flaky._backend.results([running.id])[0])
        flaky.down = False
        self.assertEqual(running.result(WAIT), 'kept')
        self.assertEqual(waiting.result(WAIT), 'later')
        pool.stop()
        self.assertEqual(flaky.stats()['redelivered'], 0)

    def test_outage_while_others_run(self):
        """What ends while the queue is away is told when it is back, though nobody is free."""
        flaky = self.broker.backend = Flaky(self.broker.backend)
        gates = [threading.Event(), threading.Event()]
        self.broker.expose(lambda number: gates[number].wait(WAIT), name='hold')
        q = self.broker.queue()
        pool = self.pool(workers=2)
        pool.start()
        short, long = q.hold(0), q.hold(1)
        eventually(lambda: (short.status, long.status), ('processing',) * 2)
        pool.stop(join=False)
        flaky.down = True
        with self.assertLogs('worq', 'WARNING'):
            gates[0].set()
            eventually(lambda: len(pool._desk.untold))
            flaky.down = False
            self.assertTrue(short.wait(WAIT))
            self.assertEqual(long.status, 'processing')
        gates[1].set()
        pool.join()
        self.assertTrue(long.value)

    def test_outage_at_the_end(self):
        """A pool that ends tries again to tell what it could not."""
        flaky = self.broker.backend = Flaky(self.broker.backend)
        gate = threading.Event()
        self.broker.expose(lambda: gate.wait(WAIT), name='hold')
        pool = self.pool()
        pool.start()
        result = self.broker.queue().hold()
        eventually(lambda: result.status, 'processing')
        pool.stop(join=False)
        flaky.down = True
        with self.assertLogs('worq', 'WARNING') as logs:
            gate.set()
            eventually(lambda: len(pool._desk.untold))
            pool.threads[0].join()
            back = threading.Timer(0.2, setattr, [flaky, 'down', False])
            back.start()
            pool.join()
            back.join()
        self.assertEqual(result.status, 'success')
        self.assertNotIn('could not be told', str(logs.output))

    def test_lost_replies(self):
        """Tasks whose delivery was lost with its reply are released, and run once."""
        flaky = self.broker.backend = Flaky(self.broker.backend)
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        flaky.swallow = 3
        self.start(2)
        deferreds = [self.q.count() for _ in range(50)]
        numbers = sorted(d.result(WAIT)[1] for d in deferreds)
        self.assertEqual(numbers, list(range(numbers[0], numbers[0] + 50)))
        self.assertEqual(flaky.swallow, 0)
        self.assertEqual(flaky.stats()['redelivered'], 0)

    def test_own_lease_is_kept(self):
        """A task with a short heartrate keeps its lease for as long as it runs."""
        self.start(1)
        task = Task(self.q.hold, heartrate=0.1)   # a lease of one second
        deferred = task(self.path('begun'), self.path('go'), 'done')
        eventually(lambda: deferred.status, 'processing', timeout=WAIT)
        limit = self.broker.backend.clock() + 2500
        eventually(lambda: self.broker.backend.clock() > limit)
        self.assertEqual(deferred.status, 'processing')
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)
        self.open('go')
        self.assertEqual(deferred.result(WAIT), 'done')

    def test_late_outcome_is_fenced(self):
        """What another pool settled meanwhile stays, and the pool goes on."""
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.start(1)
        running = self.held(value='late')
        backend = self.broker.backend
        mine = next(iter(backend.pools()))
        self.assertEqual(backend.abandon(mine, 'the test says so'), 1)
        delivery, = backend.take('another', 1, 10)
        self.assertEqual((delivery.id, delivery.number), (running.id, 2))
        data = self.broker.codec.encode_value(running.id, running._nonce, 'first')
        settled = backend.settle('another', [Outcome(running.id, delivery.token, 'value', data)])
        self.assertEqual(settled, ['ok'])
        self.open('go')
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        eventually(lambda: backend.stats()['stale'], 1)
        self.assertEqual(running.result(WAIT), 'first')

