"""worq.progress: a bar over many Deferreds, wherever it is drawn."""
from __future__ import annotations

import io
import sys
import threading
import types
from importlib.util import find_spec
from unittest import TestCase, mock, skipUnless

import worq
from test.broker_case import BrokerCase, MemoryMixin
from test.support import eq_, eventually
from worq import Task, bar
from worq.bar import Bar, Count


class Screen(io.StringIO):
    """A terminal."""

    def isatty(self):
        return True


class Unloadable:
    def __setstate__(self, state):
        raise AssertionError('it was loaded')

    def __init__(self):
        self.a = 1


def double(n):
    return 2 * n


def fail():
    raise ValueError('too low')


class Bars(MemoryMixin, BrokerCase):
    """One bar for any number of Deferreds."""

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [double, fail]:
            self.b.expose(function)
        self.b.expose(Unloadable)
        self.q = self.b.queue()
        self.file = io.StringIO()

    def test_for(self):
        """By ``for`` it tells of each when it is done, and counts failures."""
        made = [self.q.double(1), self.q.fail(), self.q.double(2), self.q.Unloadable()]
        self.work(self.b)
        shown = worq.progress(made * 2, 'all\x1b', file=self.file)
        eq_(len(shown), 4)
        seen = []
        for d in shown:
            seen.append(d)
            eq_(shown.count[:2], (4, len(seen)))
        eq_(sorted(seen, key=made.index), made)
        eq_(shown.count[:3], (4, 4, 1))
        self.assertRegex(self.file.getvalue(), r'^all\\x1b: 4 of 4 \(100 %\), 1 failed, \d.\d s\n$')
        self.assertRegex(repr(shown), '<Bar 4 of 4 .*>')

    def test_breaks(self):
        """Who stops half-way, or whose block raises, leaves the bar as it was then."""
        made = [self.q.double(n) for n in range(3)]
        self.work(self.b)
        shown = worq.progress(made, file=self.file)
        come = iter(shown)
        next(come)
        come.close()
        self.assertRegex(self.file.getvalue(), r'^1 of 3 \(33 %\), .* to go\n$')
        with self.assertRaises(KeyError), worq.progress(made, file=self.file):
            raise KeyError
        eq_([t for t in threading.enumerate() if t.name == 'worq-progress'], [])

    def test_with(self):
        """In a ``with`` it goes on by itself, and inside it may be iterated, too."""
        made = [self.q.double(n) for n in range(3)]
        with worq.progress(made, file=self.file) as shown:
            eq_(shown.count.done, 0)
            self.work(self.b, 1)
            eventually(lambda: shown.count.done, 1)
            self.work(self.b)
            eq_({d.result() for d in shown}, {0, 2, 4})
        eq_(shown.count.done, 3)
        self.assertRegex(self.file.getvalue(), r'^3 of 3 \(100 %\), .*\n$')
        with worq.progress([self.q.double(1)], file=self.file) as shown:
            pass   # it ends though nothing has come
        eq_(shown.count.done, 0)

    def test_wait(self):
        """It waits until all are done, or time is up."""
        made = [self.q.double(1), Task(self.q.double, delay=3600)(2)]
        self.work(self.b)
        shown = worq.progress(made, timeout=0.01, file=self.file)
        eq_(shown.wait(), False)
        eq_(shown.count.done, 1)
        made[1].cancel()
        shown = worq.progress(made, file=self.file)
        eq_((shown.wait(), shown.count[:3]), (True, (2, 2, 1)))
        nothing = worq.progress([], file=self.file)
        eq_((nothing.wait(), str(nothing.count)), (True, '0 of 0, 0.0 s'))

    def test_refuses(self):
        """Mistakes are told at once."""
        for wrong in [[None], [1]]:
            with self.assertRaises(TypeError):
                worq.progress(wrong)
        with self.assertRaises(ValueError):
            worq.progress([], timeout=-1)
        with worq.batch(self.q):
            with self.assertRaises(RuntimeError):
                worq.progress([self.q.double(1)])

    def test_notebook(self):
        """As the last expression of a cell it is drawn by a thread; there it is a widget, or markup
        where ipywidgets are missing."""
        shell = type('ZMQInteractiveShell', (), {})()
        display = types.ModuleType('IPython.display')
        display.HTML, display.display = str, mock.Mock()
        ipython = types.ModuleType('IPython')
        ipython.display, ipython.get_ipython = display, lambda: shell
        d = self.q.double(1)
        with mock.patch.dict(sys.modules, {'IPython': ipython, 'IPython.display': display}), \
                mock.patch.object(bar, 'find_spec', lambda name: None):
            shown = worq.progress([d], '<b>')
            shown._ipython_display_()
            self.work(self.b)
            eventually(lambda: shown.count.done, 1)
            shown.__exit__()
            ipython.get_ipython = lambda: None
            eq_(bar.in_notebook(), False)
        (first,), told = display.display.call_args
        self.assertRegex(first, r'^<progress max="1" value="0".*</progress> &lt;b>: 0 of 1 ')
        eq_(told, {'display_id': True})
        last, = display.display.return_value.update.call_args[0]
        self.assertIn('value="1"', last)


class Ways(TestCase):
    """Each way to draw is used where it fits."""

    def drawn(self, file, *counts, packages=()):
        """Draw these, a second after each other; the drawing."""
        clock = mock.Mock(side_effect=lambda: 10.0 * len(clock.mock_calls))
        with mock.patch.object(bar, 'find_spec', lambda name: name in packages or None), \
                mock.patch.object(bar.time, 'monotonic', clock):
            drawing = bar.begin('pages', counts[0], file)
            for count in counts:
                drawing.draw(count)
            drawing.end(counts[-1])
        return drawing

    def test_lines(self):
        """Where there is no terminal a line comes now and then."""
        file = io.StringIO()
        self.drawn(file, Count(4, 1, 0, 1.0), Count(4, 2, 1, 2.0), Count(4, 4, 1, 4.0))
        eq_(file.getvalue(), 'pages: 1 of 4 (25 %), 1.0 s, about 3.0 s to go\n'
            'pages: 2 of 4 (50 %), 1 failed, 2.0 s, about 2.0 s to go\n'
            'pages: 4 of 4 (100 %), 1 failed, 4.0 s\n')
        file = io.StringIO()
        with mock.patch.object(bar, 'SELDOM', 1e9):
            self.drawn(file, Count(4, 1, 0, 1.0), Count(4, 2, 0, 2.0))
        eq_(file.getvalue().count('\n'), 1)

    def test_terminal(self):
        """On a terminal one line is written over, no wider than it."""
        screen = Screen()
        with mock.patch.object(bar.shutil, 'get_terminal_size', return_value=(80, 24)) as size:
            size.return_value = mock.Mock(columns=80)
            self.drawn(screen, Count(4), Count(4, 2, 1, 2.0), Count(4, 4, 1, 4.0))
            lines = screen.getvalue().split('\r\x1b[K')
            eq_(lines[-1], '[' + '#' * 38 + '] pages: 4 of 4 (100 %), 1 failed, 4.0 s\n')
            self.assertTrue(lines[3].startswith('[#########'), lines)
            eq_({len(line) <= 80 for line in lines}, {True})
            size.return_value = mock.Mock(columns=20)
            self.drawn(screen, Count(4, 2, 1, 2.0))
        eq_(screen.getvalue().split('\r\x1b[K')[-1], 'pages: 2 of 4 (50 %\n')

    @skipUnless(find_spec('rich'), 'rich is not installed')
    def test_rich(self):
        """If rich is there it draws."""
        screen = Screen()
        self.drawn(screen, Count(4), Count(4, 4, 1, 4.0), packages=['rich', 'tqdm'])
        text = screen.getvalue()
        for part in ['pages', '4/4', '1 failed']:
            self.assertIn(part, text)
        with mock.patch.object(bar, 'OFTEN', 1e9):
            screen = Screen()
            self.drawn(screen, Count(2), Count(2, 2, 0, 4.0), packages=['rich'])
        self.assertIn('2/2', screen.getvalue())

    def test_tqdm(self):
        """If tqdm is there, and rich is not, that does."""
        tqdm = types.ModuleType('tqdm')
        tqdm.tqdm = mock.Mock(return_value=mock.Mock(n=0))
        screen = Screen()
        with mock.patch.dict(sys.modules, {'tqdm': tqdm}):
            self.drawn(screen, Count(4), Count(4, 3, 1, 4.0), packages=['tqdm'])
        tqdm.tqdm.assert_called_once_with(total=4, desc='pages', file=screen)
        made = tqdm.tqdm.return_value
        self.assertIn(mock.call(3), made.update.mock_calls)
        made.set_postfix_str.assert_called_once_with('1 failed', refresh=False)
        made.close.assert_called_once_with()

    def test_nowhere(self):
        """A stream that is none, or closed, or breaks, ends nothing."""
        closed = io.StringIO()
        closed.close()
        for file in [closed, mock.Mock(isatty=None, write=mock.Mock(side_effect=OSError))]:
            self.drawn(file, Count(1), Count(1, 1))
        with mock.patch.object(sys, 'stderr', None):
            self.drawn(None, Count(1), Count(1, 1))

    def test_left(self):
        """What is to go is guessed by what there was."""
        eq_(Count(10).left, None)
        eq_(Count(10, 5, 0, 10.0).left, 10.0)
        eq_(Count(10, 10, 0, 10.0).left, 0.0)
        eq_(str(Count(1_000, 10, 3, 100.0)),
            '10 of 1,000 (1 %), 3 failed, 1 min 40 s, about 2 h 45 min to go')

    def test_light(self):
        """The name of the module of progress is still its module's."""
        from worq.progress import Progress
        eq_(Progress.__module__, 'worq.progress')
        self.assertTrue(callable(worq.progress))
        self.assertIsInstance(worq.progress([]), Bar)
