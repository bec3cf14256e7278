"""Pause and resume, as programs do."""
from __future__ import annotations

from unittest import mock

from worq import Task, const, pausing
from worq.queue.pauses import Pause, Patterns, check_pattern, read, written

from test.broker_case import BrokerCase, on_every_queue
from test.support import eq_


class PausingContract(BrokerCase):
    """What is paused, and who did so, on any engine."""

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.queue()

    def test_paused_and_resumed(self):
        """Names that are paused are not taken until they are resumed, and it is told and noted."""
        mine = self.mine
        eq_(mine.pause('mail.*', by='ann'), ['mail.*'])
        eq_(mine.pause(['mail.*', 'report'], by='bob'), ['report'])
        eq_([(one.pattern, one.who) for one in mine.pauses()],
            [('mail.*', 'ann'), ('report', 'bob')])
        ids = [self.q.mail.send().id, self.q.report().id, self.q.other().id]
        eq_([d.id for d in mine.backend.take('p', 9)], ids[2:])
        eq_(mine.resume(), [])
        eq_(mine.resume('mail.*', by='ann'), ['mail.*'])
        eq_([d.id for d in mine.backend.take('p', 9)], ids[:1])
        eq_(mine.resume(['mail.*', 'report'], by='bob'), ['report'])
        eq_([d.id for d in mine.backend.take('p', 9)], ids[1:2])
        eq_(mine.pauses(), [])
        eq_([(act.who, act.what, act.about) for act in mine.acts()],
            [('bob', 'resume', 'report'), ('ann', 'resume', 'mail.*'), ('bob', 'pause', 'report'),
             ('ann', 'pause', 'mail.*')])

    def test_what_others_wrote(self):
        """What is no pattern, since others have written it there, is resumed as it is told."""
        mine = self.mine
        mine.backend.note(const.PAUSES, b'a*b\t1\tx\nok\t2\ty\n\xff.*\t3\tz\n')
        told = [one.pattern for one in mine.pauses()]
        eq_(told, ['a*b', 'ok', '\ufffd.*'])
        eq_(mine.resume(told), told)
        eq_(mine.pauses(), [])

    def test_whole_queue(self):
        """By default it is the whole queue."""
        self.q.x()
        eq_(self.mine.pause(), ['*'])
        eq_(self.mine.backend.take('p', 9), [])
        eq_(self.mine.acts(), [])
        eq_(self.mine.resume(), ['*'])
        eq_(len(self.mine.backend.take('p', 9)), 1)

    def test_explained(self):
        """Whoever asks hears what is paused, by whom, and since when, whatever else there is."""
        waits = self.q.mail.send()
        later = Task(self.q.mail.send, delay=900)()
        after = self.q.mail.send(waits)
        other = self.q.other()
        with mock.patch.object(pausing.time, 'time', lambda: 1000.0):
            self.mine.pause('mail.*', by='ann\n')
        with mock.patch('worq.explain.time.time', lambda: 1300.0):
            self.assertIn('is enqueued, but it is paused: mail.* by ann\\n, 5 min ago. It waits '
                          'until that is resumed.', waits.explain())
            for one in later, after:
                self.assertIn('Then it will have to wait, for it is paused: mail.* by ann\\n, 5',
                              one.explain())
            self.assertNotIn('paused', other.explain())
        self.mine.pause()
        self.assertIn('paused: the queue, ', other.explain())

    def test_seen(self):
        """A view shows it."""
        eq_(self.mine.view().overview().paused, ())
        self.mine.pause('a.b', by='ann')
        found, = self.mine.view().overview().paused
        eq_((found.names, found.who), ('a.b', 'ann'))

    def test_two_at_once(self):
        """Of two who pause at once neither undoes what the other does."""
        queue = self.mine.backend
        note, first = queue.note, []

        def interrupted(name, value, if_was=None):
            if not first:
                first.append(1)
                self.mine.pause('b')
            return note(name, value, if_was)
        with mock.patch.object(queue, 'note', interrupted):
            eq_(self.mine.pause('a'), ['a'])
        eq_([one.pattern for one in self.mine.pauses()], ['b', 'a'])

    def test_mistakes(self):
        """What names no tasks is refused, and too many are; and nothing is changed."""
        for wrong in ['', '.*', 'a*', '*.a', 'a\tb', 'a\nb', 'x' * 999, ['a', '*.*']]:
            with self.assertRaises(ValueError):
                self.mine.pause(wrong)
        with self.assertRaisesRegex(ValueError, 'invalid names of tasks'):
            self.mine.pause('\udc80')
        for wrong in 5, None, b'a', [5], [None], 1.5:
            for act in self.mine.pause, self.mine.resume:
                with self.assertRaises(TypeError):
                    act(wrong)
        with self.assertRaisesRegex(ValueError, '900 names of tasks are too many'):
            self.mine.pause([f'module.function{n}' for n in range(900)])
        eq_(self.mine.pauses(), [])


on_every_queue(globals(), PausingContract, file=True)


def test_patterns():
    """A name, or all that begin so; a prefix is no name, and a star elsewhere is a name."""
    found = Patterns(b'a\t\nb.*\t1\tann\n')
    held = [name for name in [b'a', b'ab', b'a.b', b'b', b'b.', b'b.c', b'b.c.d', b'bc', b'']
            if found.held(name)]
    eq_(held, [b'a', b'b.', b'b.c', b'b.c.d'])
    assert Patterns(b'*\t').held(b'anything') and not Patterns(b'') and not Patterns(b'*\n')
    eq_(check_pattern('*'), '*')


def test_written_and_read():
    """What is written is read again; what makes no sense is passed over."""
    some = [Pause('a', 'ann', 1.5), Pause('b.*', '', 2.0), Pause('*', 'b\tc', 0.0)]
    eq_(read(written(some)), some)
    eq_(read(b'x\n\ty\na\tno moment\nb\t1000'), [Pause('a', '', 0.0), Pause('b', '', 1.0)])
    assert len(written(some)) < const.NOTE
