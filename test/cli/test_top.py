"""``worq top`` on a terminal: keys, the screen, a queue that goes away."""
import os
import pty
import termios
import unittest
from unittest import mock

import worq
from worq import QueueError, Task
from worq.cli.keyboard import Keyboard, keys
from worq.cli.panel import Panel

from test import support
from test.cli.support import Screen, space
from test.cli.support import worq as command


class Keys(unittest.TestCase):

    def test_names(self):
        """Keys that are no letters have names; several may come at once."""
        self.assertEqual(keys('q\x1b[A\x1b[B\tx\r'), ['q', 'up', 'down', 'right', 'x', 'enter'])
        self.assertEqual(keys('\x1b'), ['escape'])
        self.assertEqual(keys('é'), ['é'])

    def test_terminal(self):
        """The terminal is as it was when it ends, also by an exception; what is read there is not
        shown. One that is gone ends it."""
        ours, theirs = pty.openpty()
        before = termios.tcgetattr(theirs)
        written = []
        out = mock.Mock(raw=written.append)
        with self.assertRaises(KeyboardInterrupt), Keyboard(theirs, out) as keyboard:
            self.assertFalse(termios.tcgetattr(theirs)[3] & termios.ECHO)
            os.write(ours, b'j\x1b[A')
            self.assertEqual(keyboard.read(10), ['j', 'up'])
            self.assertEqual(keyboard.read(0), [])
            raise KeyboardInterrupt
        self.assertEqual(termios.tcgetattr(theirs), before)
        self.assertEqual(''.join(written), '\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l')
        os.close(ours)
        os.close(theirs)


class Panels(unittest.TestCase):

    def setUp(self):
        self.broker = self.enterContext(worq.get_broker('memory://', support.unique()))
        self.broker.expose(space)
        tasks = [Task(self.broker.queue().shop.add, id=id)(1) for id in ('one', 'two')]
        self.broker.backend.take('p', 2)
        self.broker.backend.join('p', {
            'host': 'here', 'kind': 'process', 'size': '2',
            'workers': '[[11,2,"one","shop.add",5000,""],[12,2,"two","shop.add",4000,""]]'})
        self.panel = Panel(self.broker)
        self.panel.look()
        self.tasks = tasks

    def press(self, *pressed):
        for key in pressed:
            self.assertTrue(self.panel.press(key))

    def screen(self, columns=80, lines=24):
        made = self.panel.lines(columns, lines)
        self.assertEqual(len(made), lines)
        for text, _ in made:
            self.assertLessEqual(len(text), columns)
        return made

    def text(self, **size):
        return '\n'.join(text for text, _ in self.screen(**size))

    def chosen(self):
        return [text.split()[1] for text, style in self.screen()[:-1] if style == 'reverse']

    def test_screen(self):
        """The screen is filled, and holds what runs, at any size."""
        self.assertIn('shop.add  one', self.text())
        self.assertTrue(self.panel.lines(80, 24)[-1][0].startswith('arrows'))
        for columns, lines in [(40, 24), (200, 60), (20, 12), (10, 6), (1, 3)]:
            self.screen(columns, lines)

    def test_choose(self):
        """Arrows choose, within the list."""
        self.assertEqual(self.chosen(), ['one'])
        self.press('down', 'down')
        self.assertEqual(self.chosen(), ['two'])
        self.press('k', 'up')
        self.assertEqual(self.chosen(), ['one'])

    def test_explain_and_show(self):
        """One task in words, or all there is to see of it, until escape is pressed."""
        self.press('down', 'e')
        self.assertIn(':two] is processing', self.text())
        self.press('s')
        self.assertIn('shop.add two  processing', self.text())
        self.press('escape')
        self.assertEqual(self.chosen(), ['two'])

    def test_filter(self):
        """Only those whose names or ids have a text."""
        self.press('/', 't', 'x', 'delete', 'w', 'enter')
        self.assertEqual(self.chosen(), ['two'])
        self.press('/', 'q')   # a letter, as long as it is typed
        self.assertIn('nothing', self.text())
        self.press('escape')
        self.assertEqual(self.chosen(), ['one'])

    def test_cancel(self):
        """A task is cancelled after a yes."""
        self.press('c')
        self.assertIn('Cancel one', self.text())
        self.press('n')
        self.assertEqual(self.tasks[0].status, 'processing')
        self.press('c', 'y')
        self.assertEqual(self.tasks[0].status, 'cancelled')
        self.assertIn('one: cancelled', self.text())

    def test_lists(self):
        """The tab key turns to another list, and back."""
        self.press('left')
        self.assertIn('[pools]', self.text())
        self.press('e', 'right')
        self.assertIn('[running]', self.text())
        Task(self.broker.queue().shop.add, id='ready')(1)
        Task(self.broker.queue().shop.add, id='later', delay=8000)(1)
        self.press('right')
        self.assertIn('[enqueued]', self.text())
        self.assertEqual(self.chosen(), ['ready'])
        self.press('right', 'right')
        self.assertIn('[scheduled]', self.text(columns=20))
        self.assertIn('due in 2 h', self.text())

    def test_away(self):
        """A queue that is out of reach is told, with what was known; and then it goes on."""
        with mock.patch.object(self.panel.view, 'overview', side_effect=QueueError('no way')):
            self.panel.look()
            self.assertEqual(self.screen()[0], ('no way', 'reverse red'))
            self.assertIn('shop.add  one', self.text())
        self.panel.look()
        self.assertNotIn('no way', self.text())

    def test_quit(self):
        """q ends it."""
        self.assertFalse(self.panel.press('q'))


class Tops(unittest.TestCase):

    def test_on_a_terminal(self):
        """Frames are drawn until q is pressed."""
        name = support.unique()
        pressed = [[' '], [' ', 'down'], ['q']]
        keyboard = mock.MagicMock()
        keyboard.return_value.__enter__.return_value.read.side_effect = pressed
        with worq.get_broker('memory://', name), mock.patch('worq.cli.top.Keyboard', keyboard), \
                mock.patch.object(Screen, 'fileno', lambda self: 0):
            done = command('top', '--url', 'memory://', '-q', name, columns=80, typed='')
        self.assertEqual((done.status, done.err), (0, ''))
        self.assertEqual(done.out.count('\x1b[H'), 3)
        self.assertIn('stands still', done.out)
