"""What the README and the documentation show has to work."""
import contextlib
import io
import os
from pathlib import Path
import re
import tempfile
from textwrap import dedent
import unittest

import docutils.core

from test import snippets
from test.programs import ROOT, python, shown_redis

DOCUMENTS = [ROOT / 'README.rst', *sorted((ROOT / 'doc').glob('*.rst'))]


class Snippets(unittest.TestCase):
    """Every piece of Python that is shown can be run, and does what is said."""

    def check(self, name):
        text = (ROOT / name).read_text('utf-8')
        url = [shown_redis()] if 'redis://localhost' in text else []
        out = python('-m', 'test.snippets', str(ROOT / name), *url)
        self.assertRegex(out, r'\b[1-9]\d* snippets')

    def test_readme(self):
        """The examples of the README run."""
        self.check('README.rst')

    def test_tutorial(self):
        """The tutorial's session goes as it is shown."""
        self.check('doc/tutorial.rst')

    def test_guide(self):
        """The guide's session goes as it is shown."""
        self.check('doc/guide.rst')

    def test_guide_on_redis(self):
        """All that the guide says of a queue in memory is true of one on Redis."""
        url = shown_redis()
        text = (ROOT / 'doc/guide.rst').read_text('utf-8')
        with tempfile.NamedTemporaryFile('w', suffix='.rst') as copy:
            copy.write(text.replace('memory://', url))
            copy.flush()
            python('-m', 'test.snippets', copy.name)

    def test_pools(self):
        """The examples of the page on pools run."""
        self.check('doc/pools.rst')

    def test_files(self):
        """The examples on files run."""
        with tempfile.TemporaryDirectory() as folder:
            out = python('-m', 'test.snippets', str(ROOT / 'doc/files.rst'), cwd=Path(folder))
            self.assertRegex(out, r'\b2 snippets')
            self.assertTrue(Path(folder, 'work.db').exists())

    def test_redis(self):
        """The example on Redis runs."""
        self.check('doc/redis.rst')

    def test_reliability(self):
        """The guard of an effect that must happen once runs."""
        self.check('doc/reliability.rst')

    def test_operations(self):
        """The example of a collector runs."""
        self.check('doc/operations.rst')

    def test_web(self):
        """The page is mounted as it is shown."""
        self.check('doc/web.rst')

    def test_readers(self):
        """The pages for who comes from elsewhere, on grain and on pipelines run."""
        for name in 'from_celery', 'from_beat', 'from_futures', 'grain', 'pipelines':
            with self.subTest(name):
                self.check(f'doc/{name}.rst')

    def test_none_is_forgotten(self):
        """Each document that shows Python has a test here."""
        tested = {'README.rst', 'tutorial.rst', 'guide.rst', 'pools.rst', 'redis.rst', 'files.rst',
                  'reliability.rst', 'operations.rst', 'web.rst', 'from_celery.rst',
                  'from_beat.rst', 'from_futures.rst', 'grain.rst', 'pipelines.rst',
                  'commands.rst'}   # the last one in test/cli/test_document.py
        showing = {path.name for path in DOCUMENTS
                   if snippets.BLOCK.search(text := path.read_text('utf-8')) or '>>> ' in text}
        self.assertEqual(showing, tested)

    def test_two_lines(self):
        """The executor of the README runs as a script."""
        text = (ROOT / 'README.rst').read_text('utf-8')
        shown, = (dedent(block[2]) for block in snippets.BLOCK.finditer(text)
                  if 'worq.local' in block[2])
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, 'shown.py')
            path.write_text(shown)
            self.assertTrue(python(str(path)).endswith('285\n'))   # a busy machine is logged

    def test_runner_sees_a_wrong_output(self):
        """The runner of snippets fails a document that shows what does not happen."""
        with self.subTest('doctest'), self.assertRaises(SystemExit):
            self.run_text('>>> 1 + 1\n3\n')
        with self.subTest('block'), self.assertRaises(ZeroDivisionError):
            self.run_text('.. code-block:: python\n\n    1 / 0\n')

    def run_text(self, text):
        with tempfile.TemporaryDirectory() as folder, \
                contextlib.redirect_stdout(io.StringIO()):
            path = Path(folder, 'shown.rst')
            path.write_text(text)
            snippets.run(path)


class Readme(unittest.TestCase):
    """The README says what the repository has."""

    text = (ROOT / 'README.rst').read_text('utf-8')

    def test_is_valid(self):
        """The README is reStructuredText without mistakes, as package indexes want it."""
        docutils.core.publish_doctree(self.text, settings_overrides={'halt_level': 2})

    def test_two_commands(self):
        """The two commands of a newcomer are there, word for word."""
        self.assertIn('\n    pip install . && python examples/quickstart.py\n', self.text)
        self.assertIn('\n    pip install -r requires.txt && nosetests\n', self.text)

    def test_two_files(self):
        """The files that the README shows are those under examples/."""
        shown = [dedent(block[2]).strip() for block in snippets.BLOCK.finditer(self.text)]
        for name in ('tasks.py', 'main.py'):
            with self.subTest(name):
                self.assertIn((ROOT / 'examples' / name).read_text('utf-8').strip(), shown)

    def test_files_named_exist(self):
        """Each file or folder of the checkout that a document names exists."""
        for path in DOCUMENTS:
            for name in re.findall(r'``((?:examples|doc|worq|test)/[\w./-]*)``',
                                   path.read_text('utf-8')):
                if '_build' not in name:
                    with self.subTest(path.name, name=name):
                        self.assertTrue((ROOT / name).exists(), name)


def test_titles():
    """Each page begins with its title, which the list of pages shows, and no merge is half done."""
    for path in DOCUMENTS:
        assert not re.search('^(<<<<<<<|>>>>>>>)', path.read_text('utf-8'), re.M), path
        if path.name != 'reliability_figures.rst':   # a part of a page
            assert re.match(r'(=+)\n.+\n\1\n', path.read_text('utf-8')), path


def test_pages():
    """The documentation is built without a warning."""
    with tempfile.TemporaryDirectory() as folder:
        python('-m', 'sphinx', '-W', '-q', '--keep-going', '-b', 'html', '-d',
               os.path.join(folder, 'trees'), 'doc', os.path.join(folder, 'html'))
        table = Path(folder, 'html', 'architecture.html').read_text('utf-8')
        assert 'its last argument completes' in table, 'the table of a task\'s life is missing'
