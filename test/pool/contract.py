"""What every pool does, on every queue."""
from __future__ import annotations

import logging
import os
import random
import re
import shutil
import tempfile
import threading
import time
import unittest
from unittest import mock

from test import leaks
from test.pool.tasks import lines
from test.support import eventually
from worq import Progress, Task, TaskFailure, get_broker, queues, wait
from worq.pool.base import Error
from worq.pool.worklog import WorkLog
from worq.tally import Tally

WAIT = 60

__all__ = ['PoolCase', 'PoolContract', 'WAIT']


class PoolCase(unittest.TestCase):
    """A queue of the test's own, a folder, and pools that are stopped in the end."""

    __test__ = False

    def url(self):
        """The address of the backend."""
        raise NotImplementedError

    def pool(self, workers=1, **options):
        """A pool for the test's queue, not started; its tasks are those of pool_tasks."""
        raise NotImplementedError

    def lull(self, pool):
        """Wait until a pool sleeps that has nothing to do; it sleeps until it is woken."""
        raise NotImplementedError

    def setUp(self):
        self.url()   # a server that starts now is no leak
        leaks.watch(self)
        self.name = f'pool-{os.urandom(6).hex()}'
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.broker = get_broker(self.url(), self.name)
        self.addCleanup(self.broker.close)
        self.addCleanup(self.check)
        self.q = self.broker.queue()

    def check(self):
        """After each test the queue is as it should be, and knows no pool any more."""
        self.broker.discard_pending_tasks()
        self.assertEqual(self.broker.backend.audit(), [])

    def start(self, workers=1, **options):
        """A pool that runs, and is stopped when the test is over."""
        pool = self.pool(workers, **options)
        self.addCleanup(pool.stop)
        self.begin(pool)
        return pool

    def begin(self, pool):
        pool.start()

    def take_many(self):
        """Have pools take as many tasks at a time as if they knew them to be short."""
        for module in 'children.manager', 'thread.pool':
            self.enterContext(mock.patch(f'worq.pool.{module}.batch_size', lambda seconds: 100))

    def path(self, name):
        return os.path.join(self.folder, name)

    def open(self, name):
        """Let tasks go on that hold for this file."""
        with open(self.path(name), 'w'):
            pass

    def held(self, name='begun', value=None):
        """A task that has begun, and goes on when the test opens 'go'."""
        deferred = self.q.hold(self.path(name), self.path('go'), value)
        eventually(lambda: len(lines(self.path(name))), 1, timeout=WAIT)
        return deferred


class PoolContract(PoolCase):
    """Calls, failures, fairness; start and stop."""

    # -- calls ------------------------------------------------------------------

    def test_graph(self):
        """A graph of calls comes to its value."""
        self.start(2)
        q = self.q
        parts = [q.add(n, q.add(n, n)) for n in range(20)]
        self.assertEqual(q.add(q.add(*parts), 1).result(WAIT), 3 * sum(range(20)) + 1)

    def test_failures_harm_nobody(self):
        """Whatever a task raises or returns, it fails by itself and its worker goes on."""
        self.start()
        q = self.q
        expected = {
            q.fail('too low'): 'ValueError: too low',
            q.interrupt(): 'KeyboardInterrupt: ',
            q.leave(): 'SystemExit: 3',
            q.lock(): 'EncodeError: the result',
            q.evil(): 'Evil: ',
            q.unheard_of(): 'no such task',
            q.same(1, 2, 3): 'TypeError: ',
        }
        for deferred, text in expected.items():
            failure = deferred.exception(WAIT)
            self.assertIsNotNone(failure, repr(deferred))
            self.assertTrue(failure.error.startswith(text), failure)
        self.assertEqual(q.same(7).result(WAIT), 7)

    def test_failed_argument(self):
        """A failure travels along the edges; a task with PASS gets it as a value."""
        self.start()
        bad = self.q.fail('too low')
        self.assertEqual(self.q.same([bad]).exception(WAIT).task_id, bad.id)
        passed = Task(self.q.same, on_error=Task.PASS)([bad]).result(WAIT)
        self.assertEqual(passed, [TaskFailure('fail', self.name, bad.id, 'ValueError: too low')])

    def test_thousands(self):
        """Thousands of calls all come to their values, each once."""
        self.start(2)
        deferreds = [self.q.same(n) for n in range(3000)]
        self.assertEqual([d.result(WAIT) for d in deferreds], list(range(3000)))
        self.assertEqual(self.broker.backend.stats()['stale'], 0)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_takes_a_little(self):
        """However much is queued and however quick it is, no turn takes more than its queue
        would have it take."""
        limits = []
        turn = type(self.broker.backend).turn

        def record(backend, pool, outcomes, held, limit, lease):
            limits.append(limit)
            return turn(backend, pool, outcomes, held, limit, lease)

        self.take_many()
        deferreds = [self.q.same(n) for n in range(500)]
        with mock.patch.object(type(self.broker.backend), 'turn', record):
            self.start(4)
            wait(deferreds, WAIT)
        self.assertLessEqual(max(limits), self.broker.backend.handful)
        self.assertGreater(max(limits), 0)

    def test_large(self):
        """Arguments and results larger than any pipe holds pass."""
        self.start()
        large = os.urandom(3 << 20)
        self.assertEqual(self.q.same(self.q.same(large)).result(WAIT), large)

    def test_ids_with_anything(self):
        """Ids may have spaces, colons, line feeds and any letters."""
        self.start()
        for id in ('a b', 'a:b', 'a\nb', 'ü\u2603', 'x' * 512):
            self.assertEqual(Task(self.q.same, id=id)(1).result(WAIT), 1)

    # -- fairness -----------------------------------------------------------------

    def test_nothing_waits_behind_a_long_task(self):
        """Tasks that were taken together with a long one are done while it runs.

        The pool has learned that tasks are short, so it takes many at once; then
        one of them is long. What was done before it is reported, what is behind it goes
        to the other worker.
        """
        self.take_many()
        self.start(2)
        before = [self.q.same(n) for n in range(10)]
        long = self.q.hold(self.path('begun'), self.path('go'), 'done')
        behind = [self.q.same(n) for n in range(200)]
        for n, deferred in enumerate(before + behind):
            self.assertTrue(deferred.wait(WAIT), f'{n} waits behind {long!r}')
        self.assertEqual(long.status, 'processing')
        self.open('go')
        self.assertEqual(long.result(WAIT), 'done')
        self.assertEqual(self.broker.backend.stats()['redelivered'], 0)

    def test_one_worker_gives_back(self):
        """With one worker, what waits behind a long task is open to other pools."""
        self.take_many()
        self.start(1)
        long = self.q.hold(self.path('begun'), self.path('go'))
        behind = [self.q.same(n) for n in range(50)]
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        eventually(lambda: {d.status for d in behind} <= {'enqueued', 'success'}, timeout=WAIT)
        other = self.start(1)
        for deferred in behind:
            self.assertTrue(deferred.wait(WAIT))
        self.assertEqual(long.status, 'processing')
        self.open('go')
        self.assertTrue(long.wait(WAIT))
        other.stop()

    # -- start and stop -----------------------------------------------------------

    def test_stop_finishes_what_runs(self):
        """Stop lets a running task end, takes no more, and gives the rest back."""
        pool = self.start(1)
        running = self.held(value='done')
        waiting = [self.q.same(n) for n in range(5)]
        pool.stop(join=False)
        self.open('go')
        pool.join()
        self.assertEqual(running.result(WAIT), 'done')
        self.assertEqual({d.status for d in waiting}, {'enqueued'})
        self.assertEqual(self.broker.backend.stats()['processing'], 0)
        self.assertEqual(self.broker.backend.pools(), {})

    def test_stop_while_idle_is_quick(self):
        """Stop wakes the workers that wait for tasks; it does not wait for them to time out."""
        pool = self.start(3)
        self.q.same(1).result(WAIT)
        self.lull(pool)
        stopped = threading.Event()
        thread = threading.Thread(target=lambda: (pool.stop(), stopped.set()))
        thread.start()
        self.assertTrue(stopped.wait(WAIT / 3), f'it takes longer than {WAIT // 3} seconds')
        thread.join()

    def test_join_does_not_stop(self):
        """Join waits for a pool that runs, and somebody else can stop it meanwhile."""
        pool = self.start(1)
        joined = threading.Event()
        thread = threading.Thread(target=lambda: (pool.join(), joined.set()), daemon=True)
        thread.start()
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertFalse(joined.wait(0.05))
        stopper = threading.Thread(target=pool.stop, daemon=True)
        stopper.start()
        self.assertTrue(joined.wait(WAIT), 'stop and join wait for each other')
        stopper.join()
        thread.join()

    def test_with(self):
        """A pool is a context manager, and may be used again."""
        pool = self.pool(1)
        for _ in range(2):
            with pool:
                self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(self.broker.backend.pools(), {})

    def test_repr(self):
        """repr names the queue and says whether the pool runs."""
        pool = self.pool(1)
        self.assertIn(self.name, repr(pool))
        self.assertIn('stopped', repr(pool))
        with pool:
            self.assertIn('running', repr(pool))

    def test_any_order(self):
        """Stop and join before start, twice, and start again, in random orders."""
        pool = self.pool(2)
        self.addCleanup(pool.stop)
        rand = random.Random(4)
        running = False
        for step in range(self.steps):
            what = rand.choice(['start', 'stop', 'join', 'stop, no join', 'call'])
            if what == 'start' and not running:
                self.begin(pool)
                running = True
            elif what == 'stop':
                pool.stop()
                running = False
            elif what == 'stop, no join':
                pool.stop(join=False)
                running = False
            elif what == 'join' and not running:
                pool.join()
            elif what == 'call' and running:
                self.assertEqual(self.q.same(step).result(WAIT), step)
        pool.stop()
        self.assertEqual(self.broker.backend.pools(), {})

    steps = 60

    def test_start_and_stop_from_many_threads(self):
        """Threads that start, stop and join one pool as they like do not lock each other out."""
        pool = self.pool(1)
        rand = random.Random(1)
        steps = [lambda: self.begin(pool), pool.stop, lambda: pool.stop(join=False), pool.join]

        def play(choices):
            for step in choices:
                try:
                    step()
                except Error:   # it runs already
                    pass

        threads = [threading.Thread(target=play, daemon=True,
                                    args=[rand.choices(steps, k=self.steps)]) for _ in range(4)]
        for thread in threads:
            thread.start()

        def at_work():
            alive = any(thread.is_alive() for thread in threads)
            pool.stop()     # again and again, since one may be left that joins; and once at the end
            return alive
        eventually(at_work, False, timeout=WAIT)
        self.begin(pool)
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        pool.stop()

    # -- what a pool tells ----------------------------------------------------------

    def test_names(self):
        """A pool tells which tasks it can run, once that is known."""
        self.start()

        def names():
            return [name for info in self.broker.backend.pools().values()
                    for name in info.get('tasks', '').split('\n')]
        eventually(lambda: 'hold' in names() and 'same' in names(), timeout=WAIT)

    def test_progress(self):
        """What a task says of its progress can be seen while it runs, however often it says it."""
        self.start()
        deferred = self.q.report(self.path('begun'), self.path('go'), 100_000)
        for _ in range(20):     # what waits has the workers look, and beat, too
            self.q.same(1)

        def seen():
            found, = self.broker.backend.inspect([deferred.id])
            return found.progress and Progress.decode(found.progress)
        eventually(seen, Progress(100_000, 100_000, 'at the last'), timeout=WAIT)
        self.open('go')
        self.assertIsNone(deferred.result(WAIT))

    def test_progress_that_cannot_be_told(self):
        """Nonsense as progress is the mistake of that task, and harms nobody else."""
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)
        self.start()
        self.assertIn('ValueError: invalid done of a progress: {<object',
                      self.q.misreport().exception(WAIT).error)
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    def test_outcome_of_a_lost_lease_is_dropped(self):
        """A task that was cancelled while it ran stays cancelled, whatever it comes to."""
        self.start(1)
        running = self.held(value='too late')
        self.assertTrue(running.cancel())
        self.open('go')
        self.assertEqual(running.exception(WAIT).error, 'cancelled')
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(running.exception(WAIT).error, 'cancelled')

    def test_what_workers_do(self):
        """Others can see what its workers run, and since when; and that they do nothing."""
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.05))
        self.start(2)

        def workers():
            pool, = self.broker.pools() or [None]
            return pool and [(one.state, one.id, one.name) for one in pool.workers]
        eventually(workers, [('idle', '', '')] * 2, timeout=WAIT)
        held = self.held()
        eventually(workers, [('running', held.id, 'hold'), ('idle', '', '')], timeout=WAIT)
        pool, = self.broker.pools()
        self.assertEqual((pool.pid, pool.size, pool.alive, pool.broken, pool.engine),
                         (os.getpid(), 2, True, '', self.url().partition(':')[0]))
        self.assertIn('hold', pool.tasks)
        self.assertLess(abs(time.time() - pool.workers[0].since), WAIT)
        self.assertRegex(held.explain(), r'is processing: it runs, and was taken .*\n.*\n'
                                         rf'  Worker {pool.workers[0].number} has run it for \d')
        self.open('go')
        eventually(workers, [('idle', '', '')] * 2, timeout=WAIT)
        self.assertIn(self.name, queues(self.url()))

    def test_info(self):
        """What is known of a task after it has ended: when it was what, where, in which attempt."""
        self.start(1)
        begin = time.time() - 1
        held = self.held()
        while (info := held.info()).begun is None:
            self.assertEqual((info.status, info.ended), ('processing', None))
            time.sleep(0.01)
        pool, = self.broker.pools()
        self.assertEqual((info.where, info.attempt, info.name), (pool.id, 1, 'hold'))
        self.open('go')
        held.result(WAIT)
        again = self.enterContext(get_broker(self.url(), self.name)).deferred(held.id)
        info = again.info()
        self.assertEqual(info, held.info())
        self.assertEqual((info.name, again.name, info.status, info.note),
                         ('hold', 'hold', 'success', ''))
        self.assertEqual(info.where, pool.id)
        moments = [info.put, info.ready, info.begun, info.ended]
        self.assertEqual(moments, sorted(moments))
        self.assertTrue(begin < info.put < info.ended < time.time() + 1, info)
        if pool.kind == 'process':
            self.assertGreater(info.peak, 1 << 20)
        bad = Task(self.q.fail, retries=1, backoff=0)('too low')
        bad.exception(WAIT)
        self.assertEqual((bad.info().status, bad.info().attempt), ('failed', 2))
        some = Task(self.q.same, on_error='skip')([bad, held, bad])
        self.assertEqual(len(some.result(WAIT)), 1)
        self.assertEqual((some.info().skipped, held.info().skipped), (2, 0))
        none = self.broker.deferred('nobody').info()
        self.assertEqual((none.status, none.put, none.ended), ('unknown', None, None))
        self.assertIn('its result was ignored', none.note)
        Task(self.q.same, id='ignored', ignore_result=True, delay=3600)()
        self.assertIn('its result is ignored', self.broker.deferred('ignored').info().note)

    def test_counts(self):
        """What ran is counted by its name when the pool stops, if not before."""
        with self.pool(1) as pool:
            values = [self.q.same(n) for n in range(5)]
            failed = self.q.fail('no')
            wait([*values, failed], WAIT)
            pool.stop()
        cells = self.broker.backend.totals().cells
        same, fail = Tally.read(cells['same']), Tally.read(cells['fail'])
        self.assertEqual((same.ended, fail.failed, same.attempts, sum(fail.waits)), (
            {'success': 5, 'failed': 0, 'expired': 0, 'cancelled': 0}, 1, 5, 1))
        self.assertTrue(all(id in [one.id for one in values] for id, _ in same.exemplars.values()))
        self.assertGreater(same.run_seconds, 0)
        both = Tally.read(*(cell for minute in self.broker.backend.minutes()
                            for cell in minute.cells.values()))
        self.assertEqual((both.success, both.failed), (5, 1))

    def test_all_workers_wait(self):
        """A worker whose task waits for another one is told of; and in the log if all do that."""
        logging.disable(logging.NOTSET)
        self.addCleanup(logging.disable, logging.root.manager.disable)
        self.enterContext(mock.patch('worq.pool.base.BEAT', 0.05))
        with self.assertLogs('worq.pool.report', 'WARNING') as logs:
            self.start(1)
            waits = self.q.wait_within('for ever')
            eventually(lambda: [pool.stuck for pool in self.broker.pools()], [True], timeout=WAIT)
            worker, = self.broker.pools()[0].workers
            self.assertEqual((worker.state, worker.id), ('waiting', waits.id))
            self.assertRegex(waits.explain(), r'\n  It waits for another task, and holds its '
                             rf'worker meanwhile:\n    same \[.*:{worker.waits_for}\] is enqueued')
            self.assertIn('But all of its workers run tasks that wait for others, as wait_within [',
                          self.q.same(1).explain())
            waits.cancel()
            eventually(lambda: len(self.q), 0, timeout=WAIT)
        self.assertEqual(len(logs.output), 1)
        self.assertIn(f'all workers (1) run tasks that wait for other tasks, as wait_within '
                      f'[{waits.id}] does for [{worker.waits_for}]', logs.output[0])

    # -- the log --------------------------------------------------------------------

    def test_log_of_the_work(self):
        """At INFO there is a line when a task begins and one when it has ended; else nothing of it
        is even put into words."""
        logging.disable(logging.NOTSET)
        self.addCleanup(logging.disable, logging.root.manager.disable)
        logging.getLogger('worq').setLevel(logging.CRITICAL)
        self.addCleanup(logging.getLogger('worq').setLevel, logging.NOTSET)
        self.start(1)
        with mock.patch.object(WorkLog, '_named', side_effect=AssertionError):
            self.assertEqual(self.q.same(1).result(WAIT), 1)
        with self.assertLogs('worq.pool.worklog', 'INFO') as logs:
            def told(deferred, *patterns):
                pattern = '|'.join(
                    rf'INFO:worq.pool.worklog:{deferred.name} \[{self.name}:{deferred.id}\] '
                    rf'{text}[,;:] .*Pool-\d+-{self.name}, worker \d+, attempt {attempt}'
                    for text, attempt in patterns)
                eventually(lambda: len([line for line in logs.output
                                        if re.fullmatch(pattern, line)]), len(patterns))
            held = self.held()
            told(held, ('begins', 1))
            self.open('go')
            told(held, ('begins', 1), (r'ended: success, after \d+\.\d+ s', 1))
            bad = Task(self.q.fail, retries=1, backoff=0)('too low')
            told(bad, ('begins', 1), (r'ended: scheduled, to run again in 0 s, after \d\..* s', 1),
                 ('begins', 2), (r'ended: failed, after \d\.\d+ s', 2))
            gone = self.q.hold(self.path('begun-2'), self.path('never'))
            told(gone, ('begins', 1))
            gone.cancel()
            told(gone, ('begins', 1), ('ended: cancelled.*', 1))
