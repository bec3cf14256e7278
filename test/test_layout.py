"""The floors of doc/architecture.rst, and other bounds of the code's shape, are kept."""
import ast
from pathlib import Path
import re
import subprocess
import sys
import unittest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = {name: int(floor) for name, floor in re.findall(
    r'^    (worq/\S+\.py) +(-?\d)  \S', (ROOT / 'doc/architecture.rst').read_text('utf-8'), re.M)}
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text('utf-8'))
         for path in sorted((ROOT / 'worq').rglob('*.py'))}
# Modules that are dear to load, and needed in one place, some of the time.
LATE = {
    ('worq/task.py', 'asyncio'), ('worq/trust.py', 'secrets'),
    ('worq/pool/child.py', 'ctypes'), ('worq/pool/child.py', 'worq.queue'),
    ('worq/pool/frozen.py', 'faulthandler'),
    ('worq/pool/grip.py', 'asyncio'), ('worq/pool/run.py', 'asyncio'),
    ('worq/pool/run.py', 'random'), ('worq/pool/threadgrip.py', 'ctypes'),
    ('worq/pool/wire.py', 'tempfile'),
}


def is_empty(tree):
    """Whether a module is a docstring and nothing else."""
    return len(tree.body) <= 1


def file_of(module):
    """The file of a module of ours, or None."""
    stem = module.replace('.', '/')
    return next((name for name in (f'{stem}.py', f'{stem}/__init__.py') if name in FILES), None)


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

    def test_table(self):
        """The table of floors names each file that has code, and no other."""
        self.assertEqual(sorted(FLOORS),
                         [name for name, tree in FILES.items() if not is_empty(tree)])

    def test_floors(self):
        """An import goes to a lower floor: never sideways, never up. The constants, which import
        nothing of ours, are below all floors."""
        ground = 'worq/const.py'
        self.assertNotIn('worq', [module.partition('.')[0] for node, _ in imports(FILES[ground])
                                  for module in imported(node)])
        for name, tree in FILES.items():
            for node, _ in imports(tree):
                found = {file for module in imported(node) if (file := file_of(module))}
                found.discard(name)  # python -m worq.pool.child looks for its other self
                if len(found) > 1:   # from worq import const: worq.const is meant, not worq
                    found -= {file_of(imported(node)[0])}
                for file in found - {ground}:
                    if not is_empty(FILES[file]):
                        self.assertLess(FLOORS[file], FLOORS[name],
                                        f'{name}:{node.lineno} imports {file}')

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

    def test_light(self):
        """To import worq and its pools loads nothing dear that few programs need."""
        dear = ['asyncio', 'ctypes', 'dataclasses', 'inspect', 'multiprocessing', 'random', 'redis',
                'secrets', 'socket', 'ssl', 'tempfile', 'worq.queue.memory', 'worq.testing']
        code = ('import sys; before = set(sys.modules); import worq.pool.child, worq.pool.process, '
                f'worq.pool.thread; print(sorted({set(dear)} & sys.modules.keys() - before))')
        # what a sitecustomize or a .pth file has loaded before is not ours
        out = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True,
                             text=True, check=True).stdout
        self.assertEqual(out.strip(), '[]')
