"""What doc/containers.rst shows: its commands, run outside of a container; a pool as process 1."""
import json
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from test.programs import ROOT, environment, python, running
from test.support import eventually
from worq import get_broker

FOLDER = ROOT / 'examples' / 'container'
WORDS = re.compile(r'(?:CMD|command:|test:) (\[".*"\])')
MODULE = [sys.executable, '-m']   # before the word worq


def commands(text):
    """All that are shown as lists of words, but for those of other programs."""
    found = [json.loads(words) for words in WORDS.findall(text)]
    return [words for words in found if 'worq' in ' '.join(words)]


class Containers(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.environ = {'WORQ_URL': f'sqlite:///{folder.name}/words.db', 'WORQ_SECRET': 'x' * 16}
        with get_broker(self.environ['WORQ_URL'], secret='x' * 16) as broker:
            broker.backend.ping()   # there is a queue, as there is with a server
        bin = Path(folder.name, 'worq')   # for a shell
        bin.write_text(f'#!/bin/sh\nexec {sys.executable} -m worq "$@"\n')
        bin.chmod(0o755)
        self.path = folder.name

    def status(self, words):
        """The exit status of a command."""
        shown = environment(**self.environ)
        shown['PATH'] = f'{self.path}:{shown["PATH"]}'
        return subprocess.run(words, env=shown, cwd=ROOT, stdout=subprocess.DEVNULL,
                              stdin=subprocess.DEVNULL, timeout=60).returncode

    def count(self):
        self.assertEqual(python('examples/main.py', **self.environ), '13 words\n')

    def test_image(self):
        """The pool of the image runs the tasks, and its health is good while it does."""
        pool, health = commands((FOLDER / 'Dockerfile').read_text('utf-8'))
        self.assertEqual(self.status(health), 4)
        with running('-m', *pool, **self.environ):
            eventually(lambda: self.status(health), 0, 60)
            self.count()
        self.assertEqual(self.status(health), 4)

    def test_page(self):
        """The page of the Compose file wants its password."""
        page, = commands((FOLDER / 'compose.yml').read_text('utf-8'))
        self.assertEqual(self.status(page), 1)   # for there is none
        self.environ['WORQ_WEB_TOKEN'] = 'x' * 20
        with running('-m', *page[:-1], '127.0.0.1:0', **self.environ) as program:
            self.assertIsNone(program.poll())

    def test_probe(self):
        """The probe has a pool restarted if it is gone, and not if the queue is out of reach."""
        text = (ROOT / 'doc' / 'containers.rst').read_text('utf-8')
        pool, probe = commands(text)
        self.assertEqual(pool[:2], ['tini', '--'])
        self.assertEqual(self.status(probe), 1)
        with running('-m', *pool[2:], **self.environ):
            eventually(lambda: self.status(probe), 0, 60)
        self.environ['WORQ_URL'] = 'redis://127.0.0.1:1/0'
        self.assertEqual(self.status(probe), 0)

    def test_process_one(self):
        """A pool that is process 1 runs tasks, and ends well at SIGTERM."""
        unshare = shutil.which('unshare')
        apart = [unshare, '--user', '--map-root-user', '--pid', '--fork', '--kill-child']
        if not unshare or self.status([*apart, 'true']):
            self.skipTest('there are no namespaces of processes to be had here')
        pool = subprocess.Popen(
            [*apart, *MODULE, 'worq', 'worker', 'tasks:text', '--workers', '2'], cwd=ROOT,
            env=environment(**self.environ), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        try:
            self.count()
            first, = Path(f'/proc/{pool.pid}/task/{pool.pid}/children').read_text().split()
            subprocess.run(['kill', '-s', signal.SIGTERM.name[3:], first], check=True)
            self.assertEqual(pool.wait(60), 0)
        finally:
            pool.kill()
            pool.wait()
