"""``worq.local``: an executor as the standard library's, on processes and on threads."""
from __future__ import annotations

import asyncio
from concurrent import futures
import contextlib
from functools import partial
import gc
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import unittest
from unittest import mock
import weakref

import worq
from test.interrupts import at_steps, in_time, interrupted
from test.support import eventually
from worq import TaskFailure, codec
from worq.executor import Executor

ROOT = Path(__file__).resolve().parents[1]
WAIT = 60   # seconds for what takes a moment


def folder(case):
    """A folder that goes with a test."""
    made = tempfile.TemporaryDirectory()
    case.addCleanup(made.cleanup)
    return made.name


def wait_for_file(path):
    """Keeps a worker until there is such a file."""
    while not os.path.exists(path):
        time.sleep(0.01)


def square(n):
    return n * n


def after(gate):
    return gate


def mark(word):
    os.environ['WORQ_TEST_EXECUTOR'] = word


class Broken:
    """Can be called, and then fails."""

    def __call__(self):
        raise ValueError('broken')

    def method(self):
        raise ValueError('broken')


class Result:
    """Can be referred to weakly."""


class ExecutorCase:
    """What holds for each kind of worker; one pool serves all tests of a class."""

    run_: Executor

    def test_call(self):
        """Called it returns Deferreds, which are arguments of further calls, nested anywhere."""
        numbers = [self.run_(square, n) for n in range(5)]
        self.assertEqual(self.run_(sum, numbers).result(WAIT), 30)
        total = self.run_(lambda d, *, key: d['a'] + key[0], {'a': numbers[2]}, key=[numbers[3]])
        self.assertEqual(total.result(WAIT), 13)

    def test_by_value(self):
        """Functions and classes from within a function go there and come back."""
        factor = 3

        class Point:
            def __init__(self, x):
                self.x = x

        self.assertEqual(self.run_.submit(lambda n: n * factor, 5).result(WAIT), 15)
        moved = self.run_.submit(lambda point: Point(point.x + 1), Point(4)).result(WAIT)
        self.assertEqual((type(moved), moved.x), (Point, 5))

    def test_futures(self):
        """`submit` gives real futures: wait, as_completed and wrap_future of the library work."""
        made = [self.run_.submit(square, n) for n in range(5)]
        done, open_ = futures.wait(made, WAIT)
        self.assertEqual((len(done), open_), (5, set()))
        self.assertEqual(sorted(f.result() for f in futures.as_completed(made)), [0, 1, 4, 9, 16])
        called = threading.Event()
        self.run_.submit(square, 1).add_done_callback(lambda future: called.set())
        self.assertTrue(called.wait(WAIT))
        self.assertEqual(self.run_.submit(square, made[3]).result(WAIT), 81)

    def test_asyncio(self):
        """An event loop may run functions with it, and await its futures."""
        async def main():
            loop = asyncio.get_running_loop()
            return await asyncio.gather(loop.run_in_executor(self.run_, square, 5),
                                        asyncio.wrap_future(self.run_.submit(square, 6)),
                                        self.run_(square, 7))
        self.assertEqual(asyncio.run(main()), [25, 36, 49])

    def test_coroutine(self):
        """A coroutine function is run to its end."""
        async def later(n):
            await asyncio.sleep(0)
            return n
        self.assertEqual(self.run_.submit(later, 4).result(WAIT), 4)

    def test_map(self):
        """`map` as the library's, with chunks too."""
        self.assertEqual(list(self.run_.map(pow, [2, 3], [3, 2], timeout=WAIT)), [8, 9])
        self.assertEqual(list(self.run_.map(square, range(10), chunksize=4, timeout=WAIT)),
                         [n * n for n in range(10)])
        self.assertEqual(list(self.run_.map(square, [])), [])
        with self.assertRaisesRegex(ValueError, 'chunksize'):
            self.run_.map(square, [1], chunksize=0)
        for size, tasks in [(1, 10), (4, 3)]:
            with mock.patch.object(self.run_, 'submit', wraps=self.run_.submit) as submit:
                self.assertEqual(sum(self.run_.map(square, range(10), chunksize=size)), 285)
            self.assertEqual(submit.call_count, tasks)

    def test_lets_go(self):
        """It keeps no result that has been handed out."""
        future = self.run_.submit(Result)
        kept = weakref.ref(future.result(WAIT))
        del future
        eventually(lambda: gc.collect() and False or kept(), None, timeout=WAIT)

    def test_failure(self):
        """What is raised far away arrives as a TaskFailure that tells it."""
        future = self.run_.submit(lambda: 1 // 0)
        self.assertIsInstance(future.exception(WAIT), TaskFailure)
        self.assertIn('ZeroDivisionError', str(future.exception()))
        with self.assertRaisesRegex(TaskFailure, 'ZeroDivisionError'):
            list(self.run_.map(lambda n: 1 // n, [1, 0], timeout=WAIT))

    def test_names(self):
        """A call is named by its function: in its failure, in explain() and in counts."""
        def within():
            raise ValueError('too low')
        here, inner = __name__, f'{type(self).__mro__[1].__qualname__}.test_names.<locals>'
        for function, name in [(within, f'{here}.{inner}.within'), (int, 'int'),
                               (lambda x=0: 1 / x, f'{here}.{inner}.<lambda>'),
                               (partial(int, base=2), 'int'), (Broken(), f'{here}.Broken'),
                               (Broken().method, f'{here}.Broken.method')]:
            with self.subTest(name):
                deferred = self.run_(function, *['x'] * (name == 'int'))
                self.assertEqual(deferred.exception(WAIT).task_name, name)
                self.assertTrue(deferred.explain().startswith(f'{name} [local-'))
        chunks = self.run_.map(int, ['1', 'x'], chunksize=2)
        with self.assertRaisesRegex(TaskFailure, r'^int \[local-.*invalid literal'):
            list(chunks)
        view = self.run_.broker.view()
        eventually(lambda: f'{here}.Broken' in {row.name for row in view.names()}, True, WAIT)

    def test_any_name(self):
        """A name is cut, and what cannot be printed is written out."""
        def odd():
            return 1
        for name in '', '\u0085' * 600, '\U0001f600' * 600:
            with self.subTest(name[:1]):
                odd.__qualname__ = name
                self.assertEqual(self.run_(odd).result(WAIT), 1)

    def test_cancel(self):
        """What no worker has can be cancelled, and what runs cannot."""
        gates = [self.run_(wait_for_file, self.file) for _ in range(2)]
        busy = self.run_.submit(wait_for_file, self.file)
        waits = self.run_.submit(square, gates[0])
        eventually(lambda: gates[0].status, 'processing', timeout=WAIT)
        self.assertTrue(waits.cancel())
        self.assertTrue(waits.cancel())
        self.assertTrue(waits.cancelled())
        self.assertEqual(futures.wait([waits], 0).done, {waits})
        with self.assertRaises(futures.CancelledError):
            waits.result()
        with open(self.file, 'w'):
            pass
        self.assertIsNone(busy.result(WAIT))
        self.assertFalse(busy.cancel())
        self.assertFalse(busy.running())
        for gate in gates:
            gate.wait(WAIT)

    def test_calls_back(self):
        """What is called when a future is done may call the executor, however that came about; and
        whatever it raises, the others end."""
        gate = self.run_(wait_for_file, self.file)
        waits = [self.run_.submit(after, gate) for _ in range(3)]   # so no worker has them
        made = []

        def again(future):
            made.append(self.run_.submit(square, 9))
            if not future.cancelled():   # else it would be that of who cancels
                raise SystemExit
        for future in waits:
            future.add_done_callback(again)
        try:
            self.assertTrue(in_time(lambda: [waits[0].cancel()], WAIT)[0])
        finally:
            with open(self.file, 'w'):
                pass
        eventually(lambda: len(made), 3, timeout=WAIT)
        self.assertEqual([future.result(WAIT) for future in made], [81] * 3)
        self.assertEqual(self.run_.submit(square, 2).result(WAIT), 4)

    def test_in_a_batch(self):
        """A batch collects what the executor is called for; a future can be had of none of it."""
        with worq.batch(self.run_.broker.queue()):
            made = self.run_(square, 3)
            with self.assertRaisesRegex(RuntimeError, 'batch'):
                self.run_.submit(square, 4)
        self.assertEqual(made.result(WAIT), 9)

    def test_cancelled_elsewhere(self):
        """A task that somebody else cancels is a cancelled future."""
        gate = self.run_(wait_for_file, self.file)
        future = self.run_.submit(square, gate)
        future.deferred.cancel()
        eventually(future.cancelled, True, timeout=WAIT)
        with open(self.file, 'w'):
            pass
        gate.wait(WAIT)

    def test_nonsense(self):
        """What cannot be called or sent is refused by the call."""
        with self.assertRaisesRegex(TypeError, 'no function'):
            self.run_(5)
        with self.assertRaisesRegex(worq.EncodeError, r'^argument 1 of test\..*square'):
            self.run_.submit(square, threading.Lock())
        self.assertRegex(repr(self.run_), r'^<Executor \[local-.*\] 2 workers, running>$')
        self.assertRegex(repr(self.run_.submit(square, 2)),
                         f'^<Future at .* of <Deferred {__name__}.square ')

    @classmethod
    def tearDownClass(cls):
        cls.run_.shutdown()

    def setUp(self):
        self.file = os.path.join(folder(self), 'go')


class Processes(ExecutorCase, unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.run_ = worq.local(2, initializer=mark, initargs=('here',))

    def test_initializer(self):
        """It is called in each child, first."""
        self.assertEqual(self.run_.submit(os.getenv, 'WORQ_TEST_EXECUTOR').result(WAIT), 'here')
        self.assertNotEqual(self.run_.submit(os.getpid).result(WAIT), os.getpid())

    def test_death(self):
        """A worker that dies is replaced, and the call is run again."""
        def die_once(file):
            if not os.path.exists(file):
                open(file, 'w').close()
                os._exit(3)
            return 'lives'
        self.assertEqual(self.run_.submit(die_once, self.file).result(WAIT), 'lives')


class Threads(ExecutorCase, unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.run_ = worq.local(2, threads=True)

    def test_here(self):
        """They run in this process."""
        self.assertEqual(self.run_.submit(os.getpid).result(WAIT), os.getpid())


class Ends(unittest.TestCase):
    """How an executor ends, and what it needs."""

    def test_shutdown(self):
        """It runs what it has, and then takes no more. It may be shut down twice."""
        run = worq.local(2, threads=True)
        made = [run.submit(square, n) for n in range(50)]
        self.assertIsNone(run.shutdown())
        self.assertEqual([future.result(0) for future in made], [n * n for n in range(50)])
        run.shutdown()
        for refused in run, run.submit:
            with self.assertRaisesRegex(RuntimeError, 'after shutdown'):
                refused(square, 1)
        self.assertIn('shut down', repr(run))

    def test_cancel_futures(self):
        """What no worker has yet is cancelled if that is asked for; without waiting, too."""
        file = os.path.join(folder(self), 'go')
        run = worq.local(1, threads=True)
        first = run.submit(wait_for_file, file)
        made = [run.submit(square, first) for _ in range(5)]
        eventually(first.running, True, timeout=WAIT)
        run.shutdown(wait=False, cancel_futures=True)
        self.assertEqual([future.cancelled() for future in made], [True] * 5)
        self.assertFalse(first.done())
        with open(file, 'w'):
            pass
        self.assertIsNone(first.result(WAIT))
        run.shutdown()

    def test_shutdown_beside_a_call(self):
        """A call that was let through before a shutdown is run, however long it takes to put it."""
        class Slow:
            def __reduce__(self):
                begun.set()
                go.wait(WAIT)
                return int, (7,)
        begun, go = threading.Event(), threading.Event()
        run = worq.local(1, threads=True)
        made = []
        thread = threading.Thread(target=lambda: made.append(run.submit(square, Slow())))
        thread.start()
        begun.wait(WAIT)
        run.shutdown(wait=False)
        eventually(run.broker.backend.size, 0)
        go.set()
        thread.join(WAIT)
        self.assertEqual(made[0].result(WAIT), 49)
        in_time(run.shutdown, WAIT)

    def test_shutdown_twice_at_once(self):
        """Several may shut it down, while the first still cancels."""
        file = os.path.join(folder(self), 'go')
        run = worq.local(1, threads=True)
        first = run.submit(wait_for_file, file)
        begun, go = threading.Event(), threading.Event()

        def cancel():
            begun.set()
            go.wait(WAIT)
        with mock.patch.object(first, 'cancel', cancel):
            thread = threading.Thread(target=run.shutdown, kwargs={'cancel_futures': True})
            thread.start()
            begun.wait(WAIT)
            run.shutdown(wait=False)
            with open(file, 'w'):
                pass
            self.assertIsNone(in_time(lambda: run.shutdown() or [True], WAIT) and first.result(0))
            go.set()
            thread.join(WAIT)
        self.assertFalse(thread.is_alive())

    def test_shutdown_by_whom_it_would_wait_for(self):
        """It says so at once, and ends all the same."""
        run = worq.local(1, threads=True)
        told = []

        def end(future):
            try:
                run.shutdown()
            except RuntimeError as error:
                told.append(str(error))
        file = os.path.join(folder(self), 'go')
        run.submit(wait_for_file, file).add_done_callback(end)   # before it is done
        with open(file, 'w'):
            pass
        in_time(lambda: run.shutdown() or True, WAIT)
        eventually(lambda: told, ['the executor ends after what calls this: use wait=False'])

    def test_out_of_reach(self):
        """If the queue cannot be asked any more, it ends, and what is open has that error."""
        file = os.path.join(folder(self), 'go')
        run = worq.local(1, threads=True)
        first = run.submit(wait_for_file, file)
        second = run.submit(after, first)   # so that no worker has it
        eventually(first.running, True, timeout=WAIT)
        away = worq.QueueError('away')
        with mock.patch.object(run.broker.backend, 'size', side_effect=away), \
                mock.patch.object(run.broker.backend, 'cancel', side_effect=away):
            with self.assertLogs('worq.executor', 'ERROR'):
                with contextlib.suppress(worq.QueueError):   # unless it has ended before that
                    run.shutdown(wait=False, cancel_futures=True)
                eventually(second.done, timeout=WAIT)
            for future in first, second:
                with self.assertRaisesRegex(worq.QueueError, 'away'):
                    future.result(WAIT)
            with open(file, 'w'):
                pass
            in_time(lambda: run.shutdown() or True, WAIT)
        self.assertIn('stopped', repr(run._pool))

    def test_interrupted(self):
        """It works on after an exception at any step of a call, and so does a signal handler that
        calls there, or shuts it down."""
        for act, every in [(None, 3), (self.call_within, 7), (self.shut_within, 7)]:
            self.run_, self.made = worq.local(1, threads=True), []
            for step in at_steps(every):
                with contextlib.suppress(RuntimeError, futures.CancelledError):   # shut down
                    if not interrupted(self.call, step, act, 'executor.py', real=act is None):
                        break
                if self.run_._shut:
                    self.shut()
                    self.run_ = worq.local(1, threads=True)
                self.assertEqual(in_time(lambda: self.run_.submit(square, 5).result(WAIT)), 25)
            self.assertEqual([future.result(WAIT) for future in self.made], [81] * len(self.made))
            self.shut()

    def call(self):
        self.run_.submit(square, 2).result(WAIT)
        self.run_.submit(square, 3).cancel()

    def call_within(self):
        self.made.append(self.run_.submit(square, 9))

    def shut_within(self):
        self.run_.shutdown(wait=False, cancel_futures=True)

    def shut(self):
        in_time(lambda: self.run_.shutdown() or True, WAIT)

    def test_fork(self):
        """A fork has no part in it: it says so, and ends as it would without it."""
        script = textwrap.dedent('''
            import os, sys, time, worq
            from test.test_executor import wait_for_file
            run = worq.local(1)
            future = run.submit(wait_for_file, sys.argv[1])
            while not future.running():
                time.sleep(0.01)
            pid = os.fork()
            if not pid:
                try:
                    run.submit(abs, 1)
                except RuntimeError as error:
                    print(error, flush=True)
                sys.exit(7)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
            open(sys.argv[1], 'w').close()
            print(future.result())
        ''')
        done = subprocess.run([sys.executable, '-c', script, os.path.join(folder(self), 'go')],
                              capture_output=True, text=True, timeout=120, cwd=ROOT)
        told, *rest = done.stdout.splitlines()
        self.assertIn('fork', told)
        self.assertEqual((rest, done.returncode), (['7', 'None'], 0), done.stderr)

    def test_program(self):
        """At the end of a program what was submitted is run; functions may be of any script."""
        script = textwrap.dedent('''
            import worq
            run = worq.local(1)
            word = 'apple'
            run.submit(lambda: print(word, flush=True))
        ''')
        done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                              timeout=120, cwd=ROOT)
        self.assertEqual((done.stdout, done.returncode), ('apple\n', 0), done.stderr)

    def test_without_cloudpickle(self):
        """Without the package importable functions run, and a lambda is refused in words."""
        with mock.patch('worq.executor.find_spec', return_value=None), \
                worq.local(1, threads=True) as run:
            self.assertEqual(run(square, 3).result(WAIT), 9)
            with self.assertRaisesRegex(worq.EncodeError, r'^the function of test\..*<lambda>: .*'
                                                          r'; or pip install "WorQ\[cloudpickle'):
                run(lambda: 1)
        script = textwrap.dedent('''
            import worq.executor
            worq.executor.find_spec = lambda name: None
            def f():
                pass
            with worq.local(1) as run:
                print(run(int).result(60))
                run(f)
        ''')
        done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                              timeout=120, cwd=ROOT)
        self.assertEqual(done.stdout, '0\n')
        self.assertRegex(done.stderr, r'EncodeError: no worker process could find f, .*pip install')
        with mock.patch.object(codec, 'find_spec', return_value=None), \
                self.assertRaisesRegex(ImportError, r'pip install "WorQ\[cloudpickle\]"'):
            worq.get_broker('memory://', 'x', codec='cloudpickle')

    def test_workers(self):
        """There are as many as processors, and one where nobody knows how many these are."""
        for count in 3, None:
            with mock.patch('os.cpu_count', return_value=count), \
                    worq.local(threads=True) as run:
                self.assertEqual(run.workers, count or 1)

    def test_initializer_raises(self):
        """A call of a worker that could not begin fails, and says so."""
        with worq.local(1, initializer=int, initargs=('x',)) as run:
            error = run.submit(square, 2).exception(WAIT)
            self.assertRegex(error.error, 'BrokenExecutor: the initializer failed: ValueError: inv')

    def test_nonsense(self):
        """Options that make no sense are refused before anything is started."""
        for workers in 0, -1, 1.5, True:
            with self.assertRaisesRegex(ValueError, 'workers'):
                worq.local(workers)
        with self.assertRaisesRegex(TypeError, 'initializer'):
            worq.local(1, initializer=5)
        with self.assertRaisesRegex(ValueError, 'initializer'):
            worq.local(1, threads=True, initializer=print)
        with self.assertRaisesRegex(ValueError, 'invalid broker URL'):
            worq.local(1, 'nowhere')
