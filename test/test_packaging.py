"""What is packed can be installed elsewhere, and works there."""
import os
from pathlib import Path
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import unittest
import zipfile

import worq

from test import support
from test.programs import ROOT

PROGRAM = '''
import sys
import worq
from worq import get_broker
from worq.pool.process import WorkerPool

def init(url):
    broker = get_broker(url, 'packaging')
    broker.expose(max)
    return broker

if __name__ == '__main__':
    print(worq.__file__)
    broker = get_broker(sys.argv[1], 'packaging')
    with WorkerPool(broker, init, workers=1):
        q = broker.queue()
        print(q.max([q.max(1, 2), q.max(3, 4)]).result(timeout=60))
'''


def tool(*args, cwd, **environ):
    """Run a program to its end; returns what it printed, fails with it."""
    env = {**os.environ, **environ}
    env.pop('PYTHONPATH', None)
    done = subprocess.run([str(arg) for arg in args], cwd=cwd, env=env, timeout=240, text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise AssertionError(f'{args} ended with {done.returncode}:\n{done.stdout}')
    return done.stdout


class Packages(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        """Pack a copy of the checkout: source, then the wheel from that source alone."""
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = Path(folder.name)
        tool(sys.executable, 'setup.py', '-q', 'egg_info', '-e', cls.folder,
             'sdist', '-d', cls.folder, cwd=ROOT)
        [cls.source] = cls.folder.glob('*.tar.gz')
        tool(sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation',
             '-w', cls.folder, cls.source, cwd=cls.folder)
        [cls.wheel] = cls.folder.glob('*.whl')

    def test_source_is_whole(self):
        """The source package has all that is needed to build, test and document WorQ."""
        with tarfile.open(self.source) as packed:
            names = {name.partition('/')[2] for name in packed.getnames()}
        wanted = {'LICENSE.txt', 'README.rst', 'requires.txt', 'requires-ci.txt', 'setup.py',
                  'pyproject.toml', 'test/mutants/mutants.toml', 'Makefile', 'doc/index.rst',
                  'doc/conf.py', 'doc/Makefile', 'examples/quickstart.py',
                  'test/test_packaging.py', *self.package()}
        self.assertEqual(wanted - names, set())

    def test_wheel_is_whole(self):
        """The wheel has the package, Lua files and those of the page too, and nothing else."""
        with zipfile.ZipFile(self.wheel) as packed:
            names = {name for name in packed.namelist() if '.dist-info/' not in name}
        self.assertEqual(names, self.package())

    def package(self):
        return {path.relative_to(ROOT).as_posix() for path in (ROOT / 'worq').rglob('*')
                if path.suffix in ('.py', '.lua', '.typed')
                or path.is_file() and 'static' in path.parts}

    def installed(self):
        """The Python of a new environment, elsewhere, with the wheel and what it may use.

        It borrows the Redis client from the environment of the tests, but not this WorQ.
        """
        place = Path(self.enterContext(tempfile.TemporaryDirectory()))
        tool(sys.executable, '-m', 'venv', '--without-pip', place / 'venv', cwd=place)
        python = place / 'venv' / 'bin' / 'python'
        tool(sys.executable, '-m', 'pip', '--python', python, 'install', '-q', '--no-deps',
             '--no-index', self.wheel, cwd=place)
        site = tool(python, '-c', 'import sysconfig; print(sysconfig.get_path("purelib"))',
                    cwd=place).strip()
        Path(site, 'borrowed.pth').write_text(sysconfig.get_path('purelib') + '\n')
        (place / 'program.py').write_text(PROGRAM)
        return place, python

    def check(self, url):
        place, python = self.installed()
        out = tool(python, 'program.py', url, cwd=place, XDG_STATE_HOME=str(place))
        told = tool(python.parent / 'worq', '--version', cwd=place)
        self.assertEqual(told, f'WorQ {worq.__version__}\n')
        where, answer = out.splitlines()
        self.assertTrue(where.startswith(str(place)), where)
        self.assertEqual(answer, '4')

    def test_in_memory(self):
        """The installed wheel runs tasks in child processes, without the checkout."""
        self.check('memory://')

    def test_on_redis(self):
        """The installed wheel runs tasks through Redis: its Lua files are there."""
        url = support.redis_url()
        self.addCleanup(support.clean, url, 'packaging')
        self.check(url)
