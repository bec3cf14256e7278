"""``worq worker``: what it runs, when it ends, and when it begins anew."""
import os
from pathlib import Path
import signal
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import worq
from worq import Task
from worq.cli import target, work
from worq.cli.reload import Changes
from worq.pool.thread import WorkerPool

from test import support
from test.cli.support import Words, worq as command
from test.programs import LIMIT, environment

MODULE = '''
from worq import TaskSpace, get_broker
space = TaskSpace('it')
empty = TaskSpace('empty')
number = 3

@space.task
def add(a, b):
    return a + b

def init(url):
    broker = get_broker(url, 'special')
    broker.expose(space)
    return broker

def wrong(url):
    return 3
'''


class Targets(Words):

    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.enterContext(mock.patch.object(sys, 'path', [folder, *sys.path]))
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        self.module = f'jobs{os.urandom(4).hex()}'   # none is ever imported twice
        self.addCleanup(sys.modules.pop, self.module, None)
        self.write(MODULE)

    def write(self, text):
        Path(f'{self.module}.py').write_text(text)

    def wrong(self, expected, name, *words):
        return self.refused(expected, 'worker', name, '--url', 'memory://', '--log', 'error',
                            *words)

    def test_what_is_meant(self):
        """A TaskSpace, a function, or the init of a module."""
        self.assertEqual(target.known(target.find(f'{self.module}:space')), ['it.add'])
        self.assertEqual(target.find(self.module), target.find(f'{self.module}:init'))

    def test_mistakes(self):
        """What is none of these is told with what to type."""
        module = self.module
        for expected, name in [
                (f"no module '{module}s'; did you mean {module}\\?.* looked for in ", f'{module}s'),
                (f'has no spcae; it has the TaskSpace {module}:space, the', f'{module}:spcae'),
                ('is neither a TaskSpace nor a function', f'{module}:number'),
                ('has no task', f'{module}:empty'),
                (f'as {module}:space', f'./{module}.py'),
                ('as app.jobs:init', 'app/jobs.py:init'),
                ("no module 'no'. It was looked for in ", 'no.such:space'),
                ('names no module', ''),
                ('names no module', ':x')]:
            with self.subTest(name):
                self.wrong(expected, name)

    def test_module_without_init(self):
        """A module has to say what is meant."""
        self.write('from worq import TaskSpace\nspace = TaskSpace()')
        self.wrong(f'no function init.url.; it has the TaskSpace {self.module}:space', self.module)
        self.module += 'x'
        self.write('')
        self.wrong('no TaskSpace either. Write one', self.module)

    def test_broker(self):
        """A broker belongs to this process, and workers are others."""
        self.write('import worq\nbroker = worq.get_broker("memory://")')
        self.wrong('is a Broker.*write a function init', f'{self.module}:broker')

    def test_missing_inside(self):
        """What a module itself does not find is an error of that module, told as Python does."""
        self.write('import no_such_module')
        done = self.wrong('cannot be imported, see above', f'{self.module}:space')
        self.assertIn("No module named 'no_such_module'", done.err)
        self.assertIn(f'{self.module}.py", line 1, in <module>', done.err)
        self.assertNotIn('cli/target.py', done.err)
        self.assertNotIn('importlib', done.err)

    def test_another_queue(self):
        """A function that makes a broker of another queue is served that by -q alone."""
        self.wrong('add -q special', self.module, '--kind', 'thread')
        with target.begin('memory://', self.module, 'other', True, None, 'pickle', 'error') as made:
            self.assertEqual((made.name, list(made.tasks)), ('other', ['it.add']))
        self.wrong('is to return a broker', f'{self.module}:wrong', '--kind', 'thread')

    def test_options(self):
        """Options that make no sense are mistakes."""
        self.wrong('it is a whole number from 1', f'{self.module}:space', '--workers', '0')
        self.wrong('for --kind aio', f'{self.module}:space', '--concurrency', '5')
        self.wrong('it is a whole number from 1', f'{self.module}:space', '--kind', 'aio',
                   '--workers', '0')
        self.wrong('for --kind process', f'{self.module}:space', '--kind', 'thread', '--reload')
        self.wrong('for --kind process', f'{self.module}:space', '--kind', 'thread', '--max-tasks',
                   '5')
        self.wrong('did you mean thread', f'{self.module}:space', '--kind', 'threads')

    def test_no_cron(self):
        """With --no-cron pools of all kinds leave schedules to others."""
        made = []

        def pools(*args):
            made.append(make(*args)[0][0].schedules)
            return [], lambda: None
        for kind, make in list(work.KINDS.items()):
            with mock.patch.dict(work.KINDS, {kind: pools}):
                for words in [], ['--no-cron']:
                    command('worker', f'{self.module}:space', '--url', 'memory://', '--kind', kind,
                            '--log', 'error', *words)
        self.assertEqual(made, [True, False] * 3)

    def test_codec(self):
        """A TaskSpace is served with the codec that was asked for."""
        with target.begin('memory://', f'{self.module}:space', 'q', True, None, 'json',
                          'error') as broker:
            self.assertEqual(broker.codec.format, 'json')

    def test_changes(self):
        """A file that is changed, made or removed is noticed, once, when it stands still."""
        target.find(self.module)
        changes = Changes(f'{self.module}:space')
        self.assertFalse(changes.seen())
        for change in [lambda: self.write('# changed'), lambda: Path('more.py').write_text(''),
                       Path('more.py').unlink]:
            change()
            self.assertFalse(changes.seen())   # there may be more to come
            with self.assertLogs('worq.cli.reload', 'INFO'):
                self.assertTrue(changes.seen())
            self.assertFalse(changes.seen())
        Path('notes.txt').write_text('')
        Path('.hidden').mkdir()
        Path('.hidden', 'x.py').write_text('')
        self.assertFalse(changes.seen())


class Bursts(unittest.TestCase):

    def test_empty(self):
        """A queue is worked off when nothing is ready, runs, or will be ready by what runs."""
        with worq.get_broker('memory://', support.unique()) as broker:
            broker.expose(max)
            q = broker.queue()
            pool = WorkerPool(broker)
            self.assertFalse(work.empty([pool], [broker]))   # it has not begun
            with mock.patch.object(work, 'pool_is_alive', lambda pool: True):
                self.assertTrue(work.empty([pool], [broker]))
                later = Task(q.max, delay=100)(1, 2)
                waits = q.max([later])
                self.assertTrue(work.empty([pool], [broker]))
                first = q.max(1, 2)
                self.assertFalse(work.empty([pool], [broker]))
                delivery, = broker.backend.take('p', 1)
                self.assertEqual(delivery.id, first.id)
                self.assertFalse(work.empty([pool], [broker]))
                for each in (first, later, waits):
                    each.cancel()
                with mock.patch.object(broker.backend, 'stats', return_value={
                        'enqueued': 0, 'processing': 0, 'pending': 1, 'scheduled': 0}):
                    self.assertFalse(work.empty([pool], [broker]))
                with mock.patch.object(broker.backend, 'stats', side_effect=worq.QueueError):
                    self.assertFalse(work.empty([pool], [broker]))


class Programs(unittest.TestCase):
    """As a program: in a folder with a module, on a queue in a file."""

    def setUp(self):
        self.folder = support.folder(self)
        Path(self.folder, 'jobs.py').write_text(MODULE)
        self.url = f'sqlite:///{self.folder}/work.db'

    def start(self, *words):
        process = subprocess.Popen(
            [sys.executable, '-m', 'worq', 'worker', *words], cwd=self.folder, text=True,
            stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(WORQ_URL=self.url))
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def test_burst(self):
        """With --burst all that is in some queues is done, in order, and the program ends."""
        with worq.get_broker(self.url, 'a') as a, worq.get_broker(self.url, 'b') as b:
            first = a.queue().it.add(a.queue().it.add(1, 2), 3)
            second = b.queue().it.add('x', 'y')
            process = self.start('jobs:space', '--burst', '-q', 'a,b', '--workers', '1')
            error = process.communicate(timeout=LIMIT)[1]
            self.assertEqual(process.returncode, 0, error)
            self.assertIn('process pool on sqlite:///', error)
            self.assertIn('queue a, b, tasks it.add; Ctrl-C stops it', error)
            self.assertEqual((first.value, second.value), (6, 'xy'))

    def test_reload(self):
        """With --reload a change of the module is what runs from then on."""
        process = self.start('jobs:space', '--reload', '--workers', '1')
        with worq.get_broker(self.url) as broker:
            self.assertEqual(broker.queue().it.add(1, 2).result(LIMIT), 3)
            Path(self.folder, 'jobs.py').write_text(MODULE.replace('a + b', 'a * b * 100'))
            support.eventually(lambda: broker.queue().it.add(1, 2).result(LIMIT), 200, LIMIT)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(LIMIT), 0, process.stderr.read())

    def test_loops(self):
        """A pool of event loops runs coroutines, many at a time."""
        Path(self.folder, 'jobs.py').write_text(MODULE + '''
import asyncio
together = asyncio.Barrier(3)
@space.task
async def meet():
    await together.wait()
    return 'met'
''')
        process = self.start('jobs:space', '--kind', 'aio', '--concurrency', '3')
        with worq.get_broker(self.url) as broker:
            met = [broker.queue().it.meet() for _ in range(3)]
            self.assertEqual([each.result(LIMIT) for each in met], ['met'] * 3)
            self.assertEqual(broker.pools()[0].kind, 'aio')
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(LIMIT), 0, process.stderr.read())

    def test_threads(self):
        """A pool of threads ends at a signal; what runs longer than its time of grace is given
        back."""
        Path(self.folder, 'jobs.py').write_text(MODULE + '''
import threading
@space.task
def stay():
    threading.Event().wait()
''')
        process = self.start('jobs:space', '--kind', 'thread', '--workers', '1', '--grace', '0.1')
        with worq.get_broker(self.url) as broker:
            self.assertEqual(broker.queue().it.add(1, 2).result(LIMIT), 3)
            stays = broker.queue().it.stay()
            support.eventually(lambda: stays.status, 'processing', LIMIT)
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(LIMIT), 0)
            self.assertEqual(stays.status, 'enqueued')
