"""The pool of child processes, on both queues: the contract, and how children end."""
from __future__ import annotations

from contextlib import suppress
import logging
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest import mock

from test.broker_case import MemoryMixin, RedisMixin, SqliteMixin
from test.pool.contract import WAIT, PoolCase, PoolContract
from test.pool.tasks import init, init_broken, init_exits, init_nothing, lines
from test.support import eventually, start_redis
from worq import Task, TaskExpired, get_broker
from worq.errors import QueueError
from worq.pool.children import frames
from worq.pool.process import Error, WorkerPool, run_in_subprocess, start_pools
from worq.pool.children.respawn import Respawn
from worq.pool.children.frames import pack

__all__ = ['ProcessesOnMemory', 'ProcessesOnRedis', 'EndsOnMemory', 'EndsOnRedis',
           'ProcessDetails']

ROOT = Path(__file__).resolve().parents[3]


class Processes(PoolCase):

    def setUp(self):
        super().setUp()
        logging.disable(logging.CRITICAL)   # children die here all the time
        self.addCleanup(logging.disable, logging.NOTSET)

    def pool(self, workers=1, init=init, more=(), **options):
        return WorkerPool(self.broker, init, (self.name, *more), workers=workers, **options)

    def begin(self, pool):
        pool.start(handle_sigterm=False)

    def lull(self, pool):
        manager, asleep = pool._manager, threading.Event()
        eventually(lambda: {worker.ready for worker in manager.workers}, {True}, timeout=WAIT)
        usual = manager._patience

        def patience(now):
            if asleep.is_set() or manager._bell_fd < 0 or manager._more:
                return usual(now)
            asleep.set()
            return WAIT
        self.enterContext(mock.patch.object(manager, '_patience', patience))
        self.assertTrue(asleep.wait(WAIT))


class ProcessesOnMemory(MemoryMixin, Processes, PoolContract):
    """The contract, with child processes and the queue in memory."""

    steps = 30


class ProcessesOnRedis(RedisMixin, Processes, PoolContract):
    """The contract, with child processes and Redis."""

    steps = 30


class ProcessesOnFile(SqliteMixin, Processes, PoolContract):
    """The contract, with child processes and a file."""

    steps = 30


class Ends(Processes):
    """Children die, tasks do not get lost."""

    def test_killed_once(self):
        """A task whose worker dies is run again, at once."""
        self.start()
        self.assertEqual(self.q.kill_once(self.path('runs')).result(WAIT), 2)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 1)

    def expires(self, deferred, text):
        failure = deferred.exception(WAIT)
        self.assertIsInstance(failure, TaskExpired)
        self.assertIn(text, failure.error)
        self.assertIn('(delivery 3 of 3)', failure.error)
        self.assertIn('MiB', failure.error)
        self.assertEqual(len(lines(self.path('runs'))), 3)

    def test_killed_always(self):
        """After three deliveries a task that kills its workers fails, and says how."""
        self.start()
        self.expires(self.q.kill(self.path('runs')), 'SIGKILL')
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    def test_segfault(self):
        """A task that crashes the interpreter fails in the end, and only it does."""
        self.start()
        self.expires(self.q.segfault(self.path('runs')), 'SIGSEGV')

    def test_exit_status(self):
        """A task that ends its process fails with the status."""
        self.start()
        self.expires(self.q.vanish(self.path('runs'), 3), 'exit status 3')

    def test_one_delivery(self):
        """A task with max_deliveries=1 is not run twice."""
        self.start()
        task = Task(self.q.kill, max_deliveries=1)
        failure = task(self.path('runs')).exception(WAIT)
        self.assertIn('(delivery 1 of 1)', failure.error)
        self.assertEqual(len(lines(self.path('runs'))), 1)

    def test_what_was_only_sent_is_not_counted(self):
        """Tasks that a dead child had not begun are run all the same, on their first delivery."""
        self.take_many()
        self.start(1)
        kill = Task(self.q.kill, max_deliveries=1)
        deferreds = []
        for _ in range(4):
            deferreds.append(kill(self.path('runs')))
            deferreds += [Task(self.q.same, max_deliveries=1)(n) for n in range(40)]
        for deferred in deferreds:
            failure = deferred.exception(WAIT)
            self.assertEqual(failure is None, deferred.name == 'same', failure)
        self.assertEqual(len(lines(self.path('runs'))), 4)

    def test_cancelled_while_it_runs(self):
        """A cancelled task that hangs does not keep its worker."""
        self.start(1)
        hangs = Task(self.q.deaf, heartrate=0.1)(self.path('begun'))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        self.assertTrue(hangs.cancel())
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    def test_max_worker_tasks(self):
        """A child is replaced after exactly so many tasks."""
        self.start(1, max_worker_tasks=3)
        results = [d.result(WAIT) for d in [self.q.count() for _ in range(10)]]
        self.assertEqual([n for _, n in results], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1])
        self.assertEqual(len({pid for pid, _ in results}), 4)

    def test_grace(self):
        """What does not end within the grace time is killed and given back, uncounted.

        The log does not have it for an accident.
        """
        pool = self.start(1, grace=0.1)
        hangs = self.q.deaf(self.path('begun'))
        eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
        logging.disable(logging.NOTSET)
        with self.assertLogs('worq', logging.ERROR) as logs:
            pool.stop()
        self.assertIn(f', running deaf [{hangs.id}]: it had to end, since the pool stops',
                      logs.output[-1])
        self.assertEqual(hangs.status, 'enqueued')
        delivery, = self.broker.backend.take('another', 1)
        self.assertEqual(delivery.number, 1)
        self.broker.cancel(hangs.id)


class EndsOnMemory(MemoryMixin, Ends):
    """Deaths, with the queue in memory."""


class EndsOnRedis(RedisMixin, Ends):
    """Deaths, with Redis."""

    def test_dead_neighbour(self):
        """The tasks of a pool on this machine that was killed are taken over at once."""
        program = subprocess.Popen(
            [sys.executable, '-c', NEIGHBOUR, self.url(), self.name],
            cwd=ROOT, stdin=subprocess.DEVNULL)
        self.addCleanup(program.wait)
        self.addCleanup(program.kill)
        deferred = self.held(value='done')
        program.kill()
        program.wait()
        self.start(1)
        eventually(lambda: len(lines(self.path('begun'))), 2, timeout=10)   # no lease is so short
        self.open('go')
        self.assertEqual(deferred.result(WAIT), 'done')

    def test_outage(self):
        """When Redis dies and comes back, what runs is finished, once, and the rest follows."""
        with start_redis('--appendonly', 'yes', '--appendfsync', 'always') as server:
            self.broker.close()
            self.broker = get_broker(server.url, self.name)
            self.addCleanup(self.broker.close)
            self.q = self.broker.queue()
            pool = self.start(1)
            try:
                running = self.held(value='done')
                later = [self.q.same(n) for n in range(20)]
                server.kill()
                self.open('go')
                server.start()
                self.assertEqual(running.result(WAIT), 'done')
                self.assertEqual([d.result(WAIT) for d in later], list(range(20)))
                self.assertEqual(len(lines(self.path('begun'))), 1)
                self.assertEqual(self.broker.backend.stats()['redelivered'], 0)
                self.check()
            finally:
                pool.stop()
                self.broker.close()
            self.broker = get_broker(self.url(), self.name)


NEIGHBOUR = """
import sys
from test.pool.tasks import init
from worq import get_broker
from worq.pool.process import WorkerPool

WorkerPool(get_broker(*sys.argv[1:]), init, sys.argv[2:], workers=1).start()
"""


def init_asks(url, name):
    """While the broker is handed over, threads ask the pool's process for something long."""
    broker = init(url, name)
    broker.expose(ask_too_much)
    other = get_broker(url, name + '-other')
    begun = threading.Event()

    def ask():
        for _ in range(4):
            begun.set()
            other.queue().same(b'x' * (3 << 20))
    for _ in range(3):
        threading.Thread(target=ask, daemon=True).start()
    begun.wait()
    time.sleep(0.02)
    return broker


def ask_too_much(url, name):
    """What a task is told that asks for more than a frame can hold."""
    most, frames.MOST = frames.MOST, 1000
    try:
        get_broker(url, name).queue().same('x' * 5000)
    except QueueError as error:
        return str(error)
    finally:
        frames.MOST = most


class ProcessDetails(MemoryMixin, Processes):
    """Beginnings, output, signals, and what WorQ 1.x had."""

    def test_asks_while_it_begins(self):
        """What init_func's threads ask of the memory queue does not mix with the child's news."""
        self.addCleanup(get_broker('memory://', self.name + '-other').discard_pending_tasks)
        pool = self.start(4, init=init_asks)
        eventually(lambda: len(pool.pids), 4)
        begun = set(pool.pids)
        eventually(lambda: [w.ready for w in pool._manager.workers], [True] * 4, timeout=WAIT)
        self.assertEqual(set(pool.pids), begun)   # none was killed for what it wrote

    def test_asks_too_much(self):
        """A question to the memory queue that is too long is an error, and only for its task."""
        self.start(1, init=init_asks)
        text = self.q.ask_too_much('memory://', self.name + '-other').result(30)
        self.assertIn('too long', text)
        self.assertEqual(self.q.same(1).result(WAIT), 1)

    def test_tasks_run_in_children(self):
        """Tasks run in other processes, in as many as there are workers."""
        pool = self.start(2)
        first = self.held('one')
        second = self.held('two')
        self.assertNotEqual(lines(self.path('one')), lines(self.path('two')))
        self.assertEqual(set(lines(self.path('one')) + lines(self.path('two'))), set(pool.pids))
        self.open('go')
        self.assertTrue(first.wait(WAIT) and second.wait(WAIT))

    def test_print_and_stdin(self):
        """What a task writes to stdout or reads from stdin does not disturb the pool."""
        self.start(1)
        self.assertEqual(self.q.noisy().result(WAIT), ('', b''))
        self.assertEqual(self.q.same(1).result(WAIT), 1)


    def test_program_that_forks(self):
        """A fork of the program that lives on does not keep the pool's children from ending."""
        pool = self.start(1)
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        worker, = pool._manager.workers
        hear, tell = os.pipe()
        pid = os.fork()
        if not pid:
            os.close(tell)
            os.read(hear, 1)    # until the parent closes its end
            os._exit(0)
        try:
            with mock.patch('worq.pool.children.manager.FAREWELL', WAIT):
                pool.stop()     # a child that does not meet the end of its pipe would stay
            self.assertEqual(worker.process.returncode, 0)
        finally:
            os.close(tell)
            os.close(hear)
            os.waitpid(pid, 0)

    def test_programs_of_a_task(self):
        """A program that a task leaves behind does not hide the death of its worker."""
        self.start(1)
        program = self.q.spawn(self.path('begun')).result(WAIT)
        try:
            worker, = lines(self.path('begun'))
            os.kill(worker, signal.SIGKILL)
            self.assertNotEqual(self.q.pid().result(WAIT), worker)
        finally:
            os.kill(program, signal.SIGKILL)

    def test_init_fails_at_first(self):
        """A child that cannot begin is tried again."""
        self.start(1, init=init_broken, more=(self.path('begun'), 2))
        self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(len(lines(self.path('begun'))), 3)

    def test_init_exits(self):
        """A child that ends while it begins is tried again, and sooner if it was killed."""
        put_off, killed = Respawn.put_off, []

        def record(births, now, by_signal):
            killed.append(by_signal)
            put_off(births, now, by_signal)

        with mock.patch.object(Respawn, 'put_off', record):
            self.start(1, init=init_exits, more=(self.path('begun'),))
            self.assertEqual(self.q.same(1).result(WAIT), 1)
        self.assertEqual(killed, [False, True])

    def test_init_never_works(self):
        """Without any child the log says why, tasks stay queued, and the pool can be stopped."""
        logging.disable(logging.NOTSET)
        with self.assertLogs('worq', logging.ERROR) as logs:
            pool = self.start(1, init=init_nothing)
            task = self.q.same(1)
            eventually(lambda: any('must return a broker' in line for line in logs.output))
            pool.stop()
        self.assertEqual(task.status, 'enqueued')

    def test_init_that_cannot_be_found(self):
        """An init_func that children cannot import is refused at once."""
        with self.assertRaisesRegex(Error, 'init_func'):
            self.begin(self.pool(init=lambda url, name: None))

    def test_second_start(self):
        """To start twice is an error; to stop what does not run is False."""
        pool = self.pool()
        self.assertIs(pool.stop(), False)
        self.addCleanup(pool.stop)
        self.begin(pool)
        with self.assertRaisesRegex(Error, 'already running'):
            self.begin(pool)
        self.assertIs(pool.stop(), True)
        self.assertIs(pool.stop(), False)

    def test_options_are_checked(self):
        """Numbers that make no sense are refused at once."""
        for options in ({'workers': 0}, {'workers': 1.5}, {'max_worker_tasks': 0},
                        {'grace': -1}, {'grace': 'long'}, {'grace': float('nan')}):
            option, = options
            with self.assertRaisesRegex(ValueError, f'^invalid {option}: '):
                WorkerPool(self.broker, init, **options)

    def test_arguments_are_checked(self):
        """A text is no sequence of arguments, and a queue or a URL is no broker."""
        with self.assertRaisesRegex(TypeError, r"as \['name'\], not 'name'"):
            WorkerPool(self.broker, init, 'name')
        for wrong in self.q, self.broker.url, None:
            with self.assertRaisesRegex(TypeError, r'made of a broker, as get_broker\(url\)'):
                WorkerPool(wrong, init)

    def test_child_that_babbles(self):
        """A child that writes nonsense is killed and replaced; the manager goes on."""
        self.start(1)
        # One of a hundred such strings begins as a long frame might, for whose end a manager waits.
        noise = random.Random(1).randbytes(5000)
        for n, data in enumerate([
                noise, b'\xff' * 100, pack([]), pack([b'?']), pack([b'o', b'x']),
                pack([b'o', b'id', b'token', b'value', b'', b'0']),
                pack([b'l', b'100', b'id', b'token', b'failure', b'', b'0']), pack([b'l', b'x']),
                pack([b'p', b'token', b'x' * 2000]), pack([b'q'])]):
            deferred = self.q.babble(self.path(f'run {n}'), data)
            self.assertEqual(deferred.result(WAIT), 'well')

    def test_child_that_lies(self):
        """An outcome that no queue takes costs the child its life, not the manager."""
        self.start(1)
        for n, (word, extra) in enumerate([
                (b'delegate', b''), (b'delegate', b'short an-id'), (b'delegate', b'n' * 12 + b' '),
                (b'retry', b'-5'), (b'retry', b'9' * 30), (b'release', b'0')]):
            path = self.path(f'run {n}')
            # the delivery's own id and token, as only its child knows them
            deferred = self.q.lie(path, word, extra)
            self.assertEqual(deferred.result(WAIT), 'well')

    def test_signals_to_children(self):
        """SIGTERM and SIGINT, sent to a child as to a whole process group, do not end it."""
        self.start(1)
        deferred = self.held(value='done')
        child, = lines(self.path('begun'))
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
        self.open('go')
        self.assertEqual(deferred.result(WAIT), 'done')
        self.assertEqual(self.q.pid().result(WAIT), child)

    def test_children_killed_at_random(self):
        """With children killed all the time, every task comes to its value.

        Between two deaths some tasks come to theirs: on any machine children get that far.
        """
        pool = self.start(2)
        rand = random.Random(2)
        task = Task(self.q.same, max_deliveries=100)
        for n, deferred in enumerate([task(n) for n in range(600)]):
            self.assertEqual(deferred.result(WAIT), n)
            if n % 100 == 0 and (pids := pool.pids):
                with suppress(ProcessLookupError):
                    os.kill(rand.choice(pids), signal.SIGKILL)

    def test_start_pools(self):
        """start_pools runs until SIGTERM, lets running tasks end, and restores the handlers."""
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        pools = [self.pool(), self.pool()]

        def act():
            self.held(value='done')
            os.kill(os.getpid(), signal.SIGTERM)
            self.open('go')
        thread = threading.Thread(target=act)
        thread.start()
        start_pools(*pools)
        thread.join()
        self.assertEqual([pool.alive for pool in pools], [False, False])
        self.assertEqual(self.broker.backend.stats()['succeeded'], 1)
        after = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        self.assertEqual(after, before)

    def test_second_signal(self):
        """A second signal leaves at once, and what was running is given back, uncounted."""
        pool = self.pool(grace=WAIT)
        hangs = self.q.deaf(self.path('begun'))

        def act():
            eventually(lambda: len(lines(self.path('begun'))), 1, timeout=WAIT)
            os.kill(os.getpid(), signal.SIGTERM)
            eventually(lambda: pool._manager is None or pool._manager._stop_at is not None)
            os.kill(os.getpid(), signal.SIGINT)
        thread = threading.Thread(target=act)
        thread.start()
        begin = time.monotonic()
        pool.start()
        thread.join()
        self.assertLess(time.monotonic() - begin, WAIT / 2)
        self.assertEqual(hangs.status, 'enqueued')
        self.assertEqual(self.broker.backend.take('another', 1)[0].number, 1)
        self.broker.cancel(hangs.id)

    def test_watchdog(self):
        """A program whose manager hangs ends, with a status that says so; its children end."""
        script = Path(self.path('script.py'))
        script.write_text(
            'import sys, threading\n'
            'from worq import get_broker\n'
            'from worq.pool.children import manager, program\n'
            'from worq.pool.process import pool as process\n'
            'def init(url):\n'
            '    return get_broker(url)\n'
            'if __name__ == "__main__":\n'
            '    program.STALL = 1.0\n'
            '    manager.Manager._turn = lambda self, now: threading.Event().wait()\n'
            '    process.WorkerPool(get_broker("memory://"), init, workers=1).start()\n')
        program = subprocess.run([sys.executable, str(script)], timeout=WAIT,
                                 capture_output=True, text=True, check=False,
                                 env={**os.environ, 'PYTHONPATH': str(ROOT)})
        self.assertEqual(program.returncode, os.EX_SOFTWARE, program.stderr)
        self.assertIn('is given up', program.stderr)

    def test_start_pools_elsewhere(self):
        """Only the main thread can wait for signals, and any other is told so."""
        caught = []

        def act():
            try:
                start_pools(self.pool())
            except Error as error:
                caught.append(str(error))
        thread = threading.Thread(target=act)
        thread.start()
        thread.join()
        self.assertIn('main thread', caught[0])

    def test_run_in_subprocess(self):
        """run_in_subprocess runs a function elsewhere, and tells whether it still does."""
        process = run_in_subprocess(signal.pause)
        self.assertTrue(process.stdin.closed)   # or Python complains of it in the end
        self.addCleanup(process.stdin.close)
        self.assertTrue(process.is_alive())
        self.assertNotEqual(process.pid, os.getpid())
        process.join(0.01)
        self.assertTrue(process.is_alive())
        process.terminate()
        process.join(WAIT)
        self.assertFalse(process.is_alive())
