"""Text tables, and what is done where there is little room; JSON."""
import importlib
import re
import sys
import unittest
from unittest import mock

from worq.cli.output import Output, wrapped
from worq.cli.table import Column, cells, cut, table
from worq.cli.words import figures

from test.cli.support import Screen

COLUMNS = [Column('ID', lambda item: item[0]), Column('NUMBER', lambda item: item[1], right=True),
           Column('TEXT', lambda item: item[2], cut=1)]
ITEMS = [('one', 1, 'a text of some length'), ('three', 33_333, None)]


def lines(room=0, items=ITEMS):
    return table(COLUMNS, cells(items, COLUMNS), room)


class Tables(unittest.TestCase):

    def test_wide(self):
        """With room for all, nothing is cut, numbers end at the same place, nothing trails."""
        self.assertEqual(lines(), ['ID     NUMBER  TEXT',
                                   'one         1  a text of some length',
                                   'three   33333'])

    def test_narrow(self):
        """Columns that may be cut are, so that each line fits."""
        for room in range(22, 50):
            self.assertLessEqual(max(map(len, lines(room))), room)
        self.assertEqual(lines(24)[1], 'one         1  a text o…')

    def test_first(self):
        """A column that says little is cut before others."""
        columns = [Column('WHY', lambda item: item[0], cut=1),
                   Column('WHO', lambda item: item[1], cut=2)]
        rows = cells([('a long reason', 'somebody')], columns)
        self.assertEqual(table(columns, rows, 21)[1], 'a long reason  someb…')
        self.assertEqual(table(columns, rows, 18)[1], 'a long re…  someb…')

    def test_very_narrow(self):
        """Where that does not help, each row is a block in which nothing is cut."""
        self.assertEqual(lines(18), ['one', '  NUMBER  1', '  TEXT    a text of some length',
                                     'three', '  NUMBER  33333'])

    def test_empty(self):
        """A column with nothing in it is left out, and so is a table."""
        self.assertEqual(lines(items=[('x', None, '')]), ['ID', 'x'])
        self.assertEqual(lines(items=[]), [])

    def test_hostile(self):
        """What others have written moves no cursor and begins no line."""
        shown = lines(items=[('\x1b[2J', 0, 'a\nb')])
        self.assertEqual(shown[1], '\\x1b[2J       0  a\\nb')

    def test_wide_characters(self):
        """Characters that take two columns are counted so."""
        self.assertEqual(cut('日本語', 5), '日本…')
        self.assertEqual(cut('日本語', 6), '日本語')
        self.assertEqual(cut('e\u0301te', 3), 'e\u0301te')


class Times(unittest.TestCase):

    def test_figures(self):
        """Spans in tables are in one unit, which fits."""
        for seconds, expected in [(None, ''), (0.4, '0 s'), (99, '99 s'), (100, '2 min'),
                                  (5999, '100 min'), (6000, '2 h'), (360_000, '4 d')]:
            self.assertEqual(figures(seconds), expected)


class Outputs(unittest.TestCase):

    def shown(self, rich, **environ):
        """The table on a terminal, with rich and without."""
        screen = Screen()
        modules = {} if rich else {'rich': None}
        with mock.patch('sys.stdout', screen), mock.patch.dict(sys.modules, modules), \
                mock.patch.dict('os.environ', {'COLUMNS': '80', 'TERM': 'xterm', **environ}), \
                mock.patch('worq.cli.output.has_rich', lambda: rich):
            Output().rows([('x', 1, 'success')], COLUMNS)
            Output().text('a sentence')
        return screen.getvalue()

    def test_colours(self):
        """With rich there are colours on a terminal, but not if NO_COLOR or a dumb one forbid it,
        nor without it."""
        importlib.import_module('rich')   # it is among what the tests need
        self.assertIn('\x1b[', self.shown(True))
        bare = self.shown(False)
        self.assertEqual(bare, 'ID  NUMBER  TEXT\nx        1  success\na sentence\n')
        self.assertEqual(self.shown(True, NO_COLOR='1'), bare)
        self.assertEqual(self.shown(True, TERM='dumb'), bare)
        self.assertEqual(re.sub('\x1b.*?m', '', self.shown(True)), bare)

    def test_wrapped(self):
        """On a terminal a long line is several, broken between words."""
        self.assertEqual(wrapped('  one two three-four five', 15),
                         '  one two\n    three-four\n    five')
        self.assertEqual(wrapped('one', 3), 'one')
        self.assertEqual(wrapped('x' * 50, 20), 'x' * 50)   # an id is copied in one piece
