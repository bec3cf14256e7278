"""``--redact``: a function says what commands show of arguments and results."""
from __future__ import annotations

from pathlib import Path
import sys
import tempfile
from unittest import mock

from test import broker_case
from test.cli.support import CommandCase
from test.support import eq_
from worq.cli.panel import Panel
from worq.cli.usage import USAGE

HIDE = '''
WORD = 'no function'

def secrets(task, key, text):
    return '(hidden)' if key in ('password', '2') else text

class Rules:
    @staticmethod
    def all(task, key, text):
        return task
'''


class Redact(broker_case.MemoryMixin, CommandCase):

    __test__ = True

    def setUp(self):
        super().setUp()
        folder = self.enterContext(tempfile.TemporaryDirectory())
        Path(folder, 'worq_test_hide.py').write_text(HIDE)
        self.addCleanup(sys.modules.pop, 'worq_test_hide', None)
        self.enterContext(mock.patch.object(sys, 'path', [folder, *sys.path]))
        self.one = self.shop().queue('shop').add('first', 'second', password='third').id

    def test_show(self):
        """An option for one command, a variable for all; without them all is shown."""
        shown = self.ok('show', self.one)
        eq_([word in shown for word in ('first', 'second', 'third')], [True] * 3)
        for options, environ in [(['--redact', 'worq_test_hide:secrets'], {}),
                                 ([], {'WORQ_REDACT': 'worq_test_hide:secrets'})]:
            for form in [], ['--json']:
                shown = self.ok('show', self.one, *options, *form, **environ)
                eq_([word in shown for word in ('first', 'second', 'third')], [True, False, False])
                self.assertIn('(hidden)', shown)
        shown = self.ok('show', self.one, '--redact', 'worq_test_hide:Rules.all',
                        WORQ_REDACT='worq_test_hide:secrets')
        eq_([word in shown for word in ('first', 'second', 'third')], [False] * 3)

    def test_others(self):
        """The same for top and the page; other commands do not look for the function."""
        for name, place in [('top', 'worq.cli.top.Panel'), ('web', 'worq.web.app')]:
            with mock.patch(place, side_effect=KeyboardInterrupt) as made:
                self.worq(name, WORQ_REDACT='worq_test_hide:secrets')
            redact = made.call_args.kwargs.get('redact') or made.call_args.args[-1]
            eq_(redact('shop.add', 'password', 'x'), '(hidden)')
        self.ok('info', WORQ_REDACT='none.such:function')
        eq_(Panel(self.broker(), len).view.redact, len)

    def test_mistakes(self):
        """A function that is not there is no reason to show everything."""
        for target, expected in [('worq_test_hide', 'write MODULE:FUNCTION'), (':x', 'names no'),
                                 ('worq_test_hid:x', 'there is no module'),
                                 ('worq_test_hide:none', 'has no none'),
                                 ('worq_test_hide:WORD', "is no function, but 'no function'")]:
            done = self.refused(USAGE, expected, 'show', self.one, WORQ_REDACT=target)
            eq_(done.out, '')
            self.refused(USAGE, expected, 'web', '--listen', '0', '--redact', target)
