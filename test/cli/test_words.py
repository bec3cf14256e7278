"""What is typed: help, mistakes and what is said of them; where the queue is."""
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import worq as package
from worq.cli import index
from worq.cli.usage import seconds

from test.cli.support import Words, worq
from test.programs import ROOT, environment


class Helps(Words):

    def test_general(self):
        """Without a command all of them are told, and it is no mistake."""
        for words in [(), ('--help',), ('help',), ('-h',)]:
            done = worq(*words)
            self.assertEqual((done.status, done.err), (0, ''))
            for name in index.NAMES:
                self.assertIn(f'\n  {name} ', done.out)

    def test_of_each(self):
        """Each command has a help of its own, the same by two ways, with examples that exist."""
        for name in index.NAMES:
            with self.subTest(name):
                first, second = worq('help', name), worq(name, '--help')
                self.assertEqual((first.status, first.out), (0, second.out))
                self.assertTrue(first.out.startswith(f'usage: worq {name}'), first.out)
                for line in first.out.partition('examples:')[2].splitlines():
                    if line.strip():
                        self.assertTrue(line.startswith(f'  worq {name}'), line)

    def test_width(self):
        """Help fits a terminal of 80 columns."""
        for name in ['', *index.NAMES]:
            for line in worq('help', *[name] * bool(name), COLUMNS='80').out.splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_version(self):
        """The version is told."""
        self.assertEqual(worq('--version').out, f'WorQ {package.__version__}\n')


class Mistakes(Words):

    def test_unknown_command(self):
        """Of an unknown command the nearest one is told; of one like none, some."""
        self.refused("no command 'inof'; did you mean info", 'inof')
        self.refused("no command 'inof'", 'help', 'inof')
        self.refused("no command 'x'; there are audit, ", 'x')

    def test_unknown_option(self):
        """An unknown option is told, with the way to the help."""
        self.refused(r'unrecognized arguments: --fast\n\(more: worq help info\)', 'info', '--fast')
        self.refused('ID', 'explain')

    def test_no_address(self):
        """Who names no queue is told how."""
        self.refused('Add --url redis://localhost:6379/0, .* or set WORQ_URL', 'info')

    def test_wrong_address(self):
        """What cannot be an address is told, without its password."""
        done = self.refused('invalid broker URL', 'info', '--url', 'http://me:secret@host')
        self.assertNotIn('secret', done.err)

    def test_missing_secret(self):
        """For a queue on another machine the secret is asked for, in words to type."""
        with mock.patch.dict(os.environ):
            os.environ.pop('WORQ_SECRET', None)
            self.refused('WORQ_SECRET', 'info', '--url', 'redis://elsewhere.invalid')

    def test_names_of_queues(self):
        """A list of no queues is a mistake."""
        self.refused('no name of a queue', 'info', '-q', ',', '--url', 'memory://')

    def test_missing_file(self):
        """A misspelt file is told with its neighbour, and is not made."""
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, 'work.db').touch()
            self.refused('no file .*wrok.db; did you mean work.db', 'info', '--url',
                         f'sqlite:///{folder}/wrok.db', status=1)
            self.refused('no folder', 'info', '--url', f'sqlite:///{folder}/x/work.db', status=1)
            self.assertEqual(os.listdir(folder), ['work.db'])

    def test_times(self):
        """Times are seconds, or have a unit."""
        for text, expected in [('1', 1), ('1.5', 1.5), ('10m', 600), ('2h', 7200), ('1d', 86400),
                               ('3min', 180), ('250ms', 0.25), ('5s', 5)]:
            self.assertEqual(seconds(text), expected, text)
        for text in ['', 'x', '-1', '1w', 'nan', 'inf', '1e300']:
            self.refused('no time', 'watch', 'x', f'--timeout={text}')


class Programs(unittest.TestCase):
    """Started as a program."""

    def run_it(self, *words, stdout=subprocess.PIPE, **more):
        return subprocess.run([sys.executable, '-m', 'worq', *words], cwd=ROOT, text=True,
                              stdin=subprocess.DEVNULL, stdout=stdout, timeout=60,
                              stderr=subprocess.PIPE, env=environment(**more))

    def test_as_module(self):
        """``python -m worq`` is the same, with the exit status; a queue in memory makes no sense
        then, and that is said."""
        done = self.run_it('info', WORQ_URL='memory://')
        self.assertEqual((done.returncode, done.stdout), (2, ''))
        self.assertIn('a queue in memory is in the process that made it', done.stderr)

    def test_broken_pipe(self):
        """Who reads only the first line sees no complaint, whatever is left to be written."""
        read, write = os.pipe()
        os.close(read)
        with open(write, 'wb') as gone:
            done = self.run_it('help', stdout=gone)
        self.assertEqual((done.returncode, done.stderr), (141, ''))

    def test_plain_encoding(self):
        """What an encoding does not have is escaped, and no error."""
        with tempfile.TemporaryDirectory() as folder:
            url = f'sqlite:///{folder}/work.db'
            done = self.run_it('call', 'x', '--id', 'gr\u00fc\u00df', '--url', url,
                               PYTHONIOENCODING='ascii')
            self.assertEqual((done.returncode, done.stdout), (0, 'gr\\xfc\\xdf\n'), done.stderr)
