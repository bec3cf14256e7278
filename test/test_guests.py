"""Examples that need packages of others, which requires-ci.txt brings: Django, FastAPI, Flask,
notebooks."""
import json
from pathlib import Path
import tempfile
from textwrap import dedent
import unittest
from urllib.error import HTTPError
from urllib.request import urlopen

from test.programs import ROOT, python, reached, running
from test.support import eventually, free_port, needs


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
        self.assertRegex(shown[4], r'(?m)^str \[.*\] failed, since area \[.*TypeError: area\(\)')
        self.assertNotIn('\\n', shown[4])

    def ask(self, path, data=None):
        """An answer of the server."""
        return urlopen(f'http://127.0.0.1:{self.port}{path}', data, timeout=60)

    def served(self, *command):
        """A server, which answers by now; it uses a queue in a file, with which a pool may work."""
        self.port = free_port()
        self.environ = {'XDG_STATE_HOME': self.folder,
                        'WORQ_URL': f'sqlite:///{self.folder}/reports.db'}
        self.enterContext(running('-m', *command, '--port', str(self.port), **self.environ))
        eventually(lambda: reached(lambda: self.ask('/reports/x')), True, 60)

    def order(self, rows):
        """Have a report made, which is answered at once; its address."""
        answer = self.ask(f'/reports?rows={rows}', b'')
        self.assertEqual(answer.status, 202)
        with self.assertRaises(HTTPError) as caught:
            self.ask('/reports/unknown')
        self.assertEqual(caught.exception.code, 404)
        caught.exception.close()
        return answer.headers['Location']

    @needs('fastapi', 'uvicorn')
    def test_fastapi(self):
        """A report is ordered and answered at once, asked for, and followed by its events."""
        self.served('uvicorn', '--app-dir', 'examples', 'fastapi_app:app')
        where = self.order(2)
        answer = self.ask(where)
        self.assertEqual((answer.status, json.load(answer)), (202, {'status': 'enqueued'}))
        with self.ask(f'{where}/events') as events, \
                running('examples/fastapi_app.py', **self.environ):
            lines = events.read().decode().split('\n\n')
        self.assertEqual(lines[-2:], ['event: end\ndata: {"status": "success"}', ''])
        for line in lines[:-2]:
            self.assertRegex(line, r'^event: progress\ndata: {"done": [01], "total": 2, ')
        answer = self.ask(where)
        self.assertEqual((answer.status, json.load(answer)),
                         (200, {'status': 'success', 'report': {'rows': 2}}))

    @needs('flask')
    def test_flask(self):
        """A report is ordered and answered at once, and asked for; its task has the application's
        configuration, with the script as a pool and with the command."""
        self.served('flask', '--app', 'examples/flask_app.py', 'run')
        for pool in ['examples/flask_app.py'], ['-m', 'worq', 'worker', 'flask_app:init']:
            with self.subTest(pool=pool):
                where = self.order(2)
                answer = self.ask(where)
                self.assertEqual((answer.status, json.load(answer)),
                                 (202, {'status': 'enqueued', 'progress': None}))
                with running(*pool, **self.environ):
                    eventually(lambda at=where: self.ask(at).status, 200, 60)
                self.assertEqual(json.load(self.ask(where)), {
                    'status': 'success', 'report': {'title': 'A report', 'rows': 2}})

    @needs('flask')
    def test_flask_bench(self):
        """The test that doc/flask.rst shows."""
        text = (ROOT / 'doc' / 'flask.rst').read_text('utf-8')
        shown = dedent(text.partition('In tests\n')[2].partition('::\n')[2])
        path = Path(self.folder, 'shown.py')
        path.write_text('from flask_app import create_app, reports\n'
                        f'from worq.testing import Bench\n{shown}')
        python(str(path), WORQ_URL='memory://')

    @needs('nbconvert', 'ipykernel', 'ipywidgets')
    def test_widget(self):
        """A bar in a notebook is a widget, which is full, and says how it went, when all is done;
        also if it is drawn while other cells run."""
        import nbformat
        from nbformat.v4 import new_code_cell, new_notebook
        book = Path(self.folder, 'bar.ipynb')
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in (
            'import math, worq\nrun = worq.local(workers=2)',
            'done = [run(math.sqrt, n) for n in range(20)]\nworq.progress(done, "roots").wait()',
            'more = [run(math.sqrt, n) for n in (-1, 1)]\nbar = worq.progress(more, "<i>odd")\nbar',
            'for each in more:\n    each.wait(60)\nwhile bar.count.done < 2:\n    pass\n'
            'bar.__exit__()\nrun.shutdown()')]), book)
        out = Path(self.folder, 'out.ipynb')
        python('-m', 'nbconvert', '--to', 'notebook', '--execute', '--output', str(out), str(book),
               JUPYTER_PLATFORM_DIRS='1', XDG_STATE_HOME=self.folder, IPYTHONDIR=self.folder)
        told = nbformat.read(out, as_version=4)
        kind = 'application/vnd.jupyter.widget-'
        boxes = [part['data'][f'{kind}view+json']['model_id'] for cell in told.cells
                 for part in cell.outputs if f'{kind}view+json' in part.get('data', ())]
        states = told.metadata.widgets[f'{kind}state+json']['state']
        parts = [[states[child.removeprefix('IPY_MODEL_')]['state']
                  for child in states[box]['state']['children']] for box in boxes]
        self.assertEqual([(bar['value'], bar['max'], bar['bar_style']) for bar, _ in parts],
                         [(20, 20, 'success'), (2, 2, 'danger')])
        self.assertRegex(parts[0][1]['value'], r'^roots: 20 of 20 \(100 %\), ')
        self.assertRegex(parts[1][1]['value'], r'^<i>odd: 2 of 2 \(100 %\), 1 failed, ')
