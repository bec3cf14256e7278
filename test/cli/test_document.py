"""What doc/commands.rst shows is what happens."""
import doctest
import os
import re
import shlex
import sys
import tempfile
from pathlib import Path
from textwrap import dedent
from types import ModuleType
import unittest
from unittest import mock

import worq as package
from worq.pool.thread import WorkerPool

from test import snippets
from test.cli.support import worq
from test.programs import ROOT

CONSOLE = re.compile(r'^\.\. code-block:: console\n((?:    .+\n|\n)+)', re.MULTILINE)
COMMAND = re.compile(r'\$ (.*)\n((?:(?!\$ ).*\n)*)')


class Commands(unittest.TestCase):

    def test_session(self):
        """All that is typed on the page on the command line has the output that it shows."""
        text = (ROOT / 'doc/commands.rst').read_text('utf-8')
        module = sys.modules['tasks'] = ModuleType('tasks')
        self.addCleanup(sys.modules.pop, 'tasks')
        exec(dedent(snippets.BLOCK.search(text)[2]), vars(module))
        folder = self.enterContext(tempfile.TemporaryDirectory())
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        Path('tasks.py').touch()
        url = 'sqlite:///work.db'
        broker = self.enterContext(package.get_broker(url))
        broker.expose(module.text)
        self.enterContext(WorkerPool(broker, 2))
        done = 0
        with mock.patch('worq.cli.look.AGAIN', 0.01), mock.patch('worq.cli.keep.PAUSE', 0.01):
            for block in CONSOLE.finditer(text):
                for typed, expected in COMMAND.findall(dedent(block[1]).rstrip() + '\n'):
                    self.check(typed, expected, url)
                    done += 1
        self.assertGreater(done, 10)

    def check(self, typed, expected, url):
        command, _, asks = typed.partition('; echo $?')
        name, *words = shlex.split(command)
        self.assertEqual(name, 'worq')
        told = worq(*words, WORQ_URL=url)
        shown = told.out + told.err + (f'{told.status}\n' if typed != command else '')
        self.assertTrue(doctest.OutputChecker().check_output(
            expected, shown, doctest.ELLIPSIS), f'{typed}\n{shown}\nand not\n{expected}')
