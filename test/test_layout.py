"""The layers that pyproject.toml tells import-linter, and other bounds of the code's shape."""
import ast
from pathlib import Path
import re
import subprocess
import sys
import unittest

from test.mutants.make import settings

ROOT = Path(__file__).resolve().parents[1]
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text('utf-8'))
         for path in sorted((ROOT / 'worq').rglob('*.py'))}
# Modules that are dear to load, and needed in one place, some of the time.
LATE = {
    ('worq/cli/metrics.py', 'worq'), ('worq/cli/web.py', 'worq'),
    ('worq/codec.py', 'cloudpickle'), ('worq/core.py', 'worq.view'),
    ('worq/awaiting.py', 'asyncio'), ('worq/trust.py', 'secrets'),
    ('worq/pool/children/child.py', 'ctypes'), ('worq/pool/children/child.py', 'worq.queue'),
    ('worq/pool/children/child.py', 'worq.queue.memory'),
    ('worq/pool/process/__init__.py', 'worq.pool.process'),
    ('worq/pool/aio/__init__.py', 'worq.pool.aio'), ('worq/pool/aio/child.py', 'uvloop'),
    ('worq/pool/children/watchdog.py', 'faulthandler'),
    ('worq/pool/interrupt.py', 'asyncio'), ('worq/pool/run.py', 'asyncio'),
    ('worq/pool/loop.py', 'asyncio'), ('worq/pool/loop.py', 'concurrent.futures'),
    ('worq/pool/run.py', 'random'), ('worq/pool/thread/interrupt.py', 'ctypes'),
    ('worq/pool/children/protocol.py', 'tempfile'), ('worq/timing.py', 'cronsim'),
    ('worq/timing.py', 'zoneinfo'), ('worq/space.py', 'inspect'),
}


def imported(node):
    """The names of the modules that an import statement may load."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module, *(f'{node.module}.{alias.name}' for alias in node.names)]


def imports(tree):
    """(statement, whether it is in a function) for each import, but for those that only the
    type checker sees."""
    def walk(node, late):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and 'TYPE_CHECKING' in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import | ast.ImportFrom):
                yield child, late
            function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
            yield from walk(child, late or isinstance(child, function))
    return walk(tree, False)


class Layout(unittest.TestCase):

    def test_picture(self):
        """The list of doc/architecture.rst names each file that has code, and no other."""
        text = (ROOT / 'doc/architecture.rst').read_text('utf-8')
        folder, listed = '', []
        for found in re.finditer(r'^    (worq/[\w/]*) *|^      (\w+\.py) +\S', text, re.M):
            folder = found[1] or folder
            listed += [folder + found[2]] if found[2] else []
        self.assertEqual(sorted(listed), [
            name for name, tree in FILES.items()
            if name == 'worq/__init__.py' or not name.endswith('/__init__.py')])

    def test_layers(self):
        """Imports go down the layers, also those that only a type checker sees; no circles."""
        checked = subprocess.run(
            [sys.executable, '-c', 'from importlinter.cli import lint_imports_command\n'
             'lint_imports_command()', '--no-cache'], cwd=ROOT, capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stdout + checked.stderr)
        self.assertIn(' 0 broken', checked.stdout)

    def test_no_late_imports(self):
        """Little is imported within a function; backends are loaded late, by their names."""
        found = [(name, imported(node)[0]) for name, tree in FILES.items()
                 for node, late in imports(tree) if late]
        self.assertEqual(set(found), LATE)

    def test_length(self):
        """No file is longer than 520 lines."""
        for path in [path for folder in ('worq', 'test', 'examples', 'bench')
                     for path in (ROOT / folder).rglob('*') if path.suffix in ('.py', '.lua')]:
            self.assertLessEqual(len(path.read_text('utf-8').splitlines()), 520, path)

    def test_mutants(self):
        """What is to be changed for a mutant is where test/mutants/mutants.toml looks for it, once:
        who changes such a line changes it there, too."""
        for edit in settings()['edit']:
            source = (ROOT / edit['file']).read_text('utf-8')
            self.assertEqual(source.count(edit['was']), 1, f'{edit["file"]}: {edit["was"]}')

    def test_light(self):
        """To import worq and its pools loads nothing dear that few programs need."""
        dear = ['asyncio', 'ctypes', 'dataclasses', 'inspect', 'multiprocessing', 'random', 'redis',
                'secrets', 'socket', 'sqlite3', 'ssl', 'tempfile', 'worq.queue.memory',
                'worq.testing']
        code = ('import sys; before = set(sys.modules); import worq.pool.children.child, '
                'worq.pool.process.pool, worq.pool.thread; '
                f'print(sorted({set(dear)} & sys.modules.keys() - before))')
        # what a sitecustomize or a .pth file has loaded before is not ours
        out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True,
                             text=True, check=True).stdout
        self.assertEqual(out.strip(), '[]')
