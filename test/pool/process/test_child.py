"""A child and its manager: what passes between them, who outlives whom, and the main script."""
from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import unittest
import zipapp
from pathlib import Path

from test import leaks
from test.pool.tasks import lines
from test.support import eventually
from worq.pool.children.frames import CHUNK, FrameError, Reader, pack
from worq.pool.children.protocol import (
    OUTCOMES, Page, pack_outcome, pack_tasks, unpack_outcomes, unpack_tasks,
)
from worq.queue.base import Argument, Delivery, Outcome

ROOT = Path(__file__).resolve().parents[3]
WAIT = 60

DELIVERIES = [
    Delivery('a:b\n\u2603', b'n' * 12 + b'1', 2, b'f\nlease 1', b'\0body', (), b'memo'),
    Delivery('x', b'm' * 12 + b'7', 1, b'f', b'', (('one', b'1' * 9), ('', b''))),
]
OUTCOME_LIST = [
    Outcome('a', b't1', 'value', b'data'),
    Outcome('\u2603 b', b't2', 'failure', b''),
    Outcome('c', b't3', 'delegate', target=Argument('an id: of\nany kind', 'n' * 12)),
    Outcome('d', b't4', 'refuse', b'why'),
    Outcome('e', b't5', 'value', b'', skipped=3),
]


class Frames(unittest.TestCase):
    """Lists of byte strings on a stream."""

    def test_any_cut(self):
        """However the stream is cut, the frames are those that were sent."""
        frames = [[], [b''], [b'a', b'', b'bc'], [os.urandom(1000)] * 3, [b'x'] * 500]
        stream = b''.join(map(pack, frames))
        rand = random.Random(1)
        for size in (1, 2, 7, 100, len(stream)):
            reader, got, at = Reader(), [], 0
            while at < len(stream):
                step = rand.randint(1, size)
                got += reader.feed(stream[at:at + step])
                at += step
            self.assertEqual(got, frames)

    def test_nonsense(self):
        """Random bytes are an error or no frame yet, and never anything else."""
        rand = random.Random(2)
        for _ in range(2000):
            reader = Reader()
            try:
                for parts in reader.feed(rand.randbytes(rand.randint(0, 200))):
                    list(unpack_outcomes(parts))
            except FrameError:
                pass

    def test_damaged_outcomes(self):
        """A frame of outcomes with any byte changed is an error, or outcomes of known words."""
        stream = pack([OUTCOMES, *(part for o in OUTCOME_LIST for part in pack_outcome(o))])
        rand = random.Random(3)
        for _ in range(3000):
            damaged = bytearray(stream)
            damaged[rand.randrange(len(damaged))] = rand.randrange(256)
            try:
                for parts in Reader().feed(bytes(damaged)):
                    for outcome in unpack_outcomes(parts):
                        self.assertIn(outcome.word,
                                      ('value', 'failure', 'delegate', 'refuse', 'retry'))
            except FrameError:
                pass

    def test_tasks(self):
        """Deliveries arrive as they were sent."""
        parts, = Reader().feed(pack(pack_tasks(DELIVERIES)))
        self.assertEqual(list(unpack_tasks(parts)), DELIVERIES)

    def test_outcomes(self):
        """Outcomes arrive as they were sent."""
        packed = [OUTCOMES, *(part for o in OUTCOME_LIST for part in pack_outcome(o))]
        parts, = Reader().feed(pack(packed))
        self.assertEqual(list(unpack_outcomes(parts)), OUTCOME_LIST)

    def test_one_read(self):
        """One read empties a full pipe, and finds that it is empty."""
        out, into = os.pipe()
        try:
            os.set_blocking(into, False)
            held = os.write(into, bytes(1 << 22))
            self.assertEqual(len(os.read(out, CHUNK)), held)
            self.assertLess(held, CHUNK)
        finally:
            os.close(out)
            os.close(into)


class SharedPage(unittest.TestCase):
    """What a manager and a child know of each other without a word."""

    def setUp(self):
        leaks.watch(self)
        fd = Page.make()
        self.mine, self.theirs = Page(fd), Page(fd)
        os.close(fd)
        self.addCleanup(self.mine.close)
        self.addCleanup(self.theirs.close)

    def test_started(self):
        """The manager sees which task the child has begun."""
        for number in (1, 2, 3):
            self.assertTrue(self.theirs.begin(number))
            self.assertEqual(self.mine.started, number)

    def test_revoked(self):
        """The child skips what has been revoked, and nothing before or after it."""
        self.mine.revoke(3, 6)
        self.assertEqual([n for n in range(1, 9) if self.theirs.begin(n)], [1, 2, 6, 7, 8])
        self.mine.revoke(9, 10)
        self.assertEqual([n for n in range(9, 12) if self.theirs.begin(n)], [10, 11])


class Script(unittest.TestCase):
    """Programs with a process pool, as a user writes and starts them."""

    def setUp(self):
        leaks.watch(self)
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, text, *command):
        """Start a script in the folder; `command` are the interpreter's arguments."""
        self.folder.joinpath('script.py').write_text(textwrap.dedent(text))
        path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
        process = subprocess.Popen(
            [sys.executable, *(command or ['script.py'])], cwd=self.folder,
            env={**os.environ, 'PYTHONPATH': path}, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        process.kill()
        process.communicate()

    def run_(self, text, *command):
        """What a script prints, and what it says on stderr."""
        process = self.start(text, *command)
        out, err = process.communicate(timeout=WAIT)
        return process.returncode, out.strip(), err

    MAIN = '''
        from dataclasses import dataclass
        from worq import get_broker
        from worq.pool.process import WorkerPool

        @dataclass
        class Point:
            x: int

        def move(point, by):
            return Point(point.x + by)

        def init(url):
            broker = get_broker(url)
            broker.expose(move)
            return broker

        if __name__ == '__main__':
            broker = get_broker('memory://')
            with WorkerPool(broker, init, workers=1):
                q = broker.queue()
                print(q.move(q.move(Point(1), 2), 3).result(timeout=50))
        '''

    def test_all_in_one_script(self):
        """Functions and classes of the main script work as init, tasks, arguments, results."""
        self.assertEqual(self.run_(self.MAIN), (0, 'Point(x=6)', ''))

    def test_module(self):
        """So they do in a module that is run with -m."""
        self.assertEqual(self.run_(self.MAIN, '-m', 'script'), (0, 'Point(x=6)', ''))

    FLAGS = '''
        import sys, warnings
        sys.path.insert(0, {root!r})
        import worq, json
        from worq.pool.process import WorkerPool

        def where():
            import worq, json, sys
            return (worq.__file__, json.__file__, list(sys.flags), sys._xoptions, sys.warnoptions,
                    set(sys.path))

        def init(url):
            broker = worq.get_broker(url)
            broker.expose(where)
            return broker

        if __name__ == '__main__':
            broker = worq.get_broker('memory://')
            with WorkerPool(broker, init, workers=1):
                print(broker.queue().where().result(timeout=50) == where())
        '''

    def test_flags(self):
        """Children have the flags of Python that their parent has, and find what it finds: this
        WorQ, though variables and the working directory name others."""
        for name in 'worq', 'json':
            self.folder.joinpath('other', name).mkdir(parents=True)
            self.folder.joinpath('other', name, '__init__.py').write_text('raise ImportError(7)')
        text = self.FLAGS.format(root=str(ROOT))
        for flags in [['-I', '-O'], ['-E', '-s', '-X', 'utf8', '-X', 'no_debug_ranges'],
                      ['-P', '-OO', '-B', '-W', 'error'], ['-S', '-X', 'int_max_str_digits=0'],
                      ['-X', 'dev', '-b']]:
            self.folder.joinpath('script.py').write_text(textwrap.dedent(text))
            clean = '-I' in flags or '-E' in flags
            done = subprocess.run(
                [sys.executable, *flags, self.folder / 'script.py'], capture_output=True, text=True,
                cwd=self.folder / 'other' if '-I' in flags or '-P' in flags else self.folder,
                timeout=WAIT, check=False, env={
                    **os.environ, 'PYTHONPATH': str(self.folder / 'other') if clean else ''})
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, 'True\n', ''), flags)

    PACKAGE = MAIN.replace('def move(point, by):', 'from .other import by_name\n\n'
                           '        def move(point, by):') \
        .replace('Point(point.x + by)', 'by_name(Point, point.x + by)')

    def test_package(self):
        """So they do in the ``__main__`` of a package, which imports its siblings."""
        self.folder.joinpath('app').mkdir()
        for name, text in [('__init__', ''), ('other', 'def by_name(f, x): return f(x)'),
                           ('__main__', textwrap.dedent(self.PACKAGE))]:
            self.folder.joinpath('app', f'{name}.py').write_text(text)
        self.assertEqual(self.run_('', '-m', 'app'), (0, 'Point(x=6)', ''))

    def test_zip_file_and_folder(self):
        """So they do in a folder or a zip file that is started, wherever that is."""
        folder = self.folder / 'app'
        folder.mkdir()
        folder.joinpath('other.py').write_text('def by_name(f, x): return f(x)')
        folder.joinpath('__main__.py').write_text(
            textwrap.dedent(self.PACKAGE.replace('.other', 'other')))
        zipapp.create_archive(folder, self.folder / 'app.pyz')
        for path in 'app', 'app.pyz':
            self.assertEqual(self.run_('', path), (0, 'Point(x=6)', ''), path)

    def test_no_script(self):
        """What was typed, piped or given on the command line no child could find: to start the pool
        is an error, which says what to do."""
        text = textwrap.dedent(self.MAIN)
        for command, stdin in [(['-c', text], ''), (['-'], text), (['-i'], text + '\n'),
                               (['/dev/stdin'], text)]:
            done = subprocess.run(
                [sys.executable, *command], input=stdin, cwd=self.folder, timeout=WAIT, text=True,
                capture_output=True, env={**os.environ, 'PYTHONPATH': str(ROOT)}, check=False)
            self.assertRegex(done.stderr, r"Error: no worker process could find 'init', .* put it "
                                          r'into a module.*%%writefile.*worq\.pool\.thread')
            self.assertEqual(done.stdout, '')

    def test_arguments_without_a_script(self):
        """So it is for an argument of init_func; what is in a module children find."""
        text = textwrap.dedent('''
            from test.pool.tasks import init
            from worq import get_broker
            from worq.pool.process import Error, WorkerPool, run_in_subprocess
            class Name(str):
                pass
            broker = get_broker('memory://', 'here')
            for name in Name('here'), 'here':
                try:
                    with WorkerPool(broker, init, [name], workers=1):
                        print(broker.queue().same(6).result(timeout=50))
                except Error as error:
                    print(str(error)[:40])
            try:
                run_in_subprocess(Name)
            except Error as error:
                print(str(error)[:40])
            ''')
        refused = "no worker process could find 'Name', whi"
        self.assertEqual(self.run_('', '-c', text), (0, f'{refused}\n6\n{refused}', ''))

    def test_from_elsewhere(self):
        """The working directory may be any, also one with files named like Python's own."""
        for name in ('json.py', 'queue.py', 'struct.py'):
            self.folder.joinpath('sub').mkdir(exist_ok=True)
            self.folder.joinpath('sub', name).write_text('raise ImportError("the wrong one")')
        self.folder.joinpath('script.py').write_text('')
        text = self.MAIN.replace("if __name__ == '__main__':",
                                 "if __name__ == '__main__':\n            "
                                 "import os; os.chdir('sub')")
        self.assertEqual(self.run_(text, 'script.py'), (0, 'Point(x=6)', ''))

    def test_no_guard(self):
        """A script without the guard is told about it, and does not start pools for ever."""
        text = self.MAIN.replace("if __name__ == '__main__':", 'if True:') \
            .replace('timeout=50', 'timeout=3')
        status, out, err = self.run_(text)
        self.assertNotEqual(status, 0)
        self.assertIn("if __name__ == '__main__':", err)
        self.assertIn('TimeoutError', err)
        self.assertNotIn('During handling of the above exception', err)   # it has no other cause

    def test_init_behind_the_guard(self):
        """An init_func that a child cannot find since it is behind the guard: it says so."""
        text = self.MAIN.replace(
            'def init(url):', "if __name__ == '__main__':\n          def init(url):")
        status, out, err = self.run_(text.replace('timeout=50', 'timeout=3'))
        self.assertNotEqual(status, 0)
        self.assertIn("Can't get attribute 'init'", err)
        self.assertIn("at the top level of a module, or of the script, "
                      "outside of its `if __name__ == '__main__':`", err)

    def test_forgotten_stop(self):
        """A program that ends without stopping its pool ends all the same."""
        text = self.MAIN.replace('with WorkerPool(broker, init, workers=1):',
                                 'pool = WorkerPool(broker, init, workers=1)\n            '
                                 'pool.start(handle_sigterm=False)\n            if True:')
        self.assertEqual(self.run_(text)[:2], (0, 'Point(x=6)'))

    HANGS = '''
        from test.pool.tasks import init
        from worq import get_broker
        from worq.pool.process import WorkerPool

        if __name__ == '__main__':
            broker = get_broker('memory://', 'hangs')
            pool = WorkerPool(broker, init, ('hangs',), workers=2)
            q = broker.queue()
            tasks = [q.{task}('begun'), q.{task}('begun')]
            {start}
        '''

    def gone(self, pids):
        def alive():
            found = []
            for pid in pids:
                try:
                    state = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0]
                except OSError:
                    continue
                if state not in 'ZX':
                    found.append(pid)
            return found
        eventually(alive, [], timeout=WAIT)

    def test_manager_killed(self):
        """No child outlives a manager that is killed, whatever its task does."""
        process = self.start(self.HANGS.format(
            task='deaf', start='pool.start()'))
        begun = self.folder / 'begun'
        eventually(lambda: len(set(lines(begun))), 2, timeout=WAIT)
        process.kill()
        self.gone(lines(begun))

    def test_sigterm_then_again(self):
        """SIGTERM to a pool that hangs, twice: it leaves at once, and no child stays."""
        process = self.start(self.HANGS.format(
            task='deaf', start='pool.start()'))
        begun = self.folder / 'begun'
        eventually(lambda: len(set(lines(begun))), 2, timeout=WAIT)
        def signalled():
            process.send_signal(signal.SIGTERM)
            return process.poll() is not None
        # again and again, for two that come at the same time may be one
        eventually(signalled, timeout=10)
        self.gone(lines(begun))


if __name__ == '__main__':
    unittest.main()
