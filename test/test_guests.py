"""Examples that need packages of others, which requires-ci.txt brings: Django, notebooks."""
from importlib.util import find_spec
import os
from pathlib import Path
import tempfile
import unittest

from test.programs import ROOT, python, running


def needs(*packages):
    """A test that is skipped, and says so, where they are missing; where WORQ_REQUIRE_GUESTS is set
    it fails there."""
    missing = [name for name in packages if find_spec(name) is None]
    if os.environ.get('WORQ_REQUIRE_GUESTS'):
        missing = []
    return unittest.skipIf(missing, f'{", ".join(missing)} missing: pip install -r requires-ci.txt')


class Guests(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    @needs('django')
    def test_django(self):
        """A task finds what was saved in the transaction that called it, and what was rolled back
        calls nothing."""
        shop = 'examples/django_shop/'
        data = {'SHOP_DATA': self.folder, 'XDG_STATE_HOME': self.folder}
        with running(shop + 'pool.py', **data):
            self.assertEqual(python(shop + 'buy.py', 'lamp', **data),
                             'Order 1: 1 lamp\n1 orders\n')
            self.assertEqual(python(shop + 'buy.py', 'nothing', **data), '1 orders\n')
            self.assertEqual(python(shop + 'buy.py', 'chair', **data),
                             'Order 2: 1 chair\n2 orders\n')

    @needs('nbconvert', 'ipykernel', 'cloudpickle')
    def test_notebook(self):
        """The notebook runs from the first cell to the last: functions by value, also changed ones,
        await at top level, a bar, and an explanation in lines."""
        out = Path(self.folder, 'out.ipynb')
        python('-m', 'nbconvert', '--to', 'notebook', '--execute', '--output', str(out),
               str(ROOT / 'examples' / 'notebook.ipynb'), JUPYTER_PLATFORM_DIRS='1',
               XDG_STATE_HOME=self.folder, IPYTHONDIR=self.folder)
        import nbformat
        shown = [''.join(part.get('text', '') or part['data'].get('text/plain', '')
                         for part in cell.outputs)
                 for cell in nbformat.read(out, as_version=4).cells if cell.cell_type == 'code']
        self.assertEqual(shown[0], '')
        self.assertEqual(shown[1], '90')
        self.assertTrue(shown[2].endswith('True'), shown[2])
        self.assertEqual(shown[3], "'3 x 4'")
        self.assertRegex(shown[4], r'(?m)^call \[.*\] failed, since call \[.*TypeError: area\(\)')
        self.assertNotIn('\\n', shown[4])
