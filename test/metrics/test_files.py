"""The alerts, the dashboard and the configuration for Prometheus, as promtool sees them."""
from __future__ import annotations

import json
import os
from pathlib import Path
import re
import shutil
import subprocess
import tempfile
import unittest

from worq.metrics.collector import FAMILIES

FOLDER = Path(__file__).resolve().parents[2] / 'doc/prometheus'
SUFFIX = re.compile('_(total|bucket|sum|count)$')


def promtool(*args: str, cwd: Path = FOLDER) -> None:
    """Run it: of Debian's package `prometheus`, or of a release."""
    program = shutil.which('promtool')
    if program is None:
        if os.environ.get('WORQ_REQUIRE_PROMTOOL'):
            raise AssertionError('there is no promtool: apt-get install prometheus')
        raise unittest.SkipTest('there is no promtool, so the files of doc/prometheus are NOT '
                                'CHECKED: apt-get install prometheus')
    done = subprocess.run([program, *args], cwd=cwd, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(done.stdout + done.stderr)


def expressions() -> list[str]:
    board = json.loads((FOLDER / 'dashboard.json').read_text('utf-8'))
    return [target['expr'] for panel in board['panels'] for target in panel['targets']]


class Files(unittest.TestCase):

    def test_rules(self):
        """Each alert is sound, and fires for what it is about, and not when all is well."""
        promtool('check', 'rules', 'alerts.yml')
        promtool('test', 'rules', 'alerts_test.yml')

    def test_config(self):
        promtool('check', 'config', 'prometheus.yml')

    def test_dashboard(self):
        """What the panels ask for can be asked."""
        rules = [f'  - {{record: "a:b{n}", expr: {json.dumps(expr)}}}'
                 for n, expr in enumerate(expressions())]
        with tempfile.TemporaryDirectory() as folder:
            text = '\n'.join(['groups: [{name: board, rules: [', *rules, ']}]'])
            text = text.replace('  - {', '  {').replace('}\n  {', '},\n  {')
            Path(folder, 'board.yml').write_text(text, 'utf-8')
            promtool('check', 'rules', 'board.yml', cwd=Path(folder))

    def test_names(self):
        """Alerts, dashboard and page name metrics that there are, and each alert is on the page."""
        alerts = (FOLDER / 'alerts.yml').read_text('utf-8')
        page = (FOLDER.parent / 'operations.rst').read_text('utf-8')
        known = {f'worq_{name}' for name in FAMILIES}
        for text in [alerts, page, *expressions()]:
            for name in re.findall(r'\bworq_[a-z_]+', text):
                self.assertIn(name if name in known else SUFFIX.sub('', name), known)
        names = re.findall(r'alert: (\w+)', alerts)
        self.assertEqual(len(names), 12)
        for name in names:
            self.assertIn(name, page)
        for name in known:
            self.assertIn(name, page)
