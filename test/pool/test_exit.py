"""Programs that end without stopping their pools: it is done for them, in both kinds of pool."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from test.programs import LIMIT, environment
from test.support import clean, redis_url, unique
from worq import get_broker

__all__ = ['ExitOfThreads', 'ExitOfProcesses']

PROGRAM = '''
import os, signal, sys, threading
from test.pool import tasks as pool_tasks
from test.support import eventually
from worq import get_broker
from worq.pool.process import pool as process
from worq.pool.thread import pool as thread

kind, how, url, name = sys.argv[1:]

def stopping():
    return pool._stopping.is_set() if kind == 'thread' else pool._manager.stopping

def let_go():
    """A daemon: what runs may go on when the pool is being stopped."""
    eventually(stopping)
    open('go', 'w').close()

def interrupt():
    eventually(stopping)
    os.kill(os.getpid(), signal.SIGINT)

def use():
    """Not a daemon: it calls tasks when the main thread has ended."""
    threading.main_thread().join()
    open('go', 'w').close()
    print(broker.queue().same('used').result(timeout=30), flush=True)

if __name__ == '__main__':
    broker = get_broker(url, name)
    thread.EXIT = grace = 0.2 if how == 'endless' else 30
    if kind == 'thread':
        broker.expose(pool_tasks.tasks)
        if how == 'hand':
            thread.EXIT = 0.2
            next_task = broker.next_task
            broker.next_task = lambda timeout=None: next_task(timeout=timeout)
        pool = thread.WorkerPool(broker)
        pool.start()
    else:
        pool = process.WorkerPool(broker, pool_tasks.init, [name], workers=1, grace=grace)
        pool.start(handle_sigterm=False)
    task = broker.queue().hold('begun', 'go', 'done')
    behind = broker.queue().same(1)
    print(task.id, behind.id, flush=True)
    eventually(lambda: os.path.exists('begun'), timeout=60)
    if how == 'use':
        threading.Thread(target=use).start()
    elif how in ('error', 'exit'):
        threading.Thread(target=let_go, daemon=True).start()
    elif how == 'ctrl-c':
        threading.Thread(target=interrupt, daemon=True).start()
    if how == 'error':
        raise ValueError('the main thread ends')
    if how == 'exit':
        sys.exit(3)
'''


class Exit(unittest.TestCase):

    __test__ = False
    kind = ''

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        Path(self.folder, 'script.py').write_text(PROGRAM)
        self.name = unique('exit')
        self.addCleanup(clean, redis_url(), self.name)
        self.broker = get_broker(redis_url(), self.name)
        self.addCleanup(self.broker.close)

    def start(self, how):
        program = subprocess.Popen(
            [sys.executable, 'script.py', self.kind, how, redis_url(), self.name],
            cwd=self.folder, env=environment(), text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        return program

    def ends(self, program, status=0):
        """What the running task and the one behind it have come to when the program has ended."""
        out, err = program.communicate(timeout=LIMIT)
        self.assertEqual(program.returncode, status, err)
        backend = self.broker.backend
        self.assertEqual((backend.pools(), backend.audit()), ({}, []))
        running, behind, *more = out.split()
        return *map(self.outcome, (running, behind)), more

    def outcome(self, id):
        task = self.broker.deferred(id)
        return task.value if task.wait(0) else task.status

    def test_what_runs_may_end(self):
        """At the end of a program what runs may end, and what waits stays, however the main thread
        ends; its status is that of the program."""
        for how, status in ('error', 1), ('exit', 3):
            self.assertEqual(self.ends(self.start(how), status), ('done', 'enqueued', []))
            self.broker.discard_pending_tasks()
            for name in 'begun', 'go':
                os.unlink(Path(self.folder, name))

    def test_what_does_not_end(self):
        """What does not end within the grace time is given back, uncounted."""
        self.assertEqual(self.ends(self.start('endless')), ('enqueued', 'enqueued', []))
        delivery, = self.broker.backend.take('another', 1)
        self.assertEqual(delivery.number, 1)

    def test_threads_of_the_program(self):
        """As long as other threads of the program run its pool does."""
        self.assertEqual(self.ends(self.start('use')), ('done', 1, ['used']))

    def test_ctrl_c(self):
        """Ctrl-C while it waits for what runs: that is given back at once."""
        self.assertEqual(self.ends(self.start('ctrl-c')), ('enqueued', 'enqueued', []))


class ExitOfThreads(Exit):

    __test__ = True
    kind = 'thread'

    def test_by_hand(self):
        """So it is with a task that was taken one by one."""
        self.assertEqual(self.ends(self.start('hand')), ('enqueued', 'enqueued', []))


class ExitOfProcesses(Exit):

    __test__ = True
    kind = 'process'
