"""The contract of a task queue as tests: registers, and a put that changes one."""
from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest import mock

from test.queue.contract import Contract, message
from worq import const
from worq.errors import QueueError
from worq.queue import base
from worq.queue.base import Note, Refusal


class Registers(Contract):

    def full(self) -> AbstractContextManager[Any]:
        """Inside it there are as many registers as there may be; two are there already."""
        return mock.patch.object(const, 'NOTES', 2)

    def test_note(self) -> None:
        """A register holds what was noted last, and nothing before, nor after it was emptied."""
        self.assertEqual(self.q.note('a', b'1'), b'1')
        self.assertEqual(self.q.note('a', b'\xff\0'), b'\xff\0')
        self.assertEqual(self.q.notes(), [('a', b'\xff\0')])
        self.assertEqual(self.q.note('a', b''), b'')
        self.assertEqual(self.q.note('b', b''), b'')
        self.assertEqual(self.q.notes(), [])

    def test_if_was(self) -> None:
        """It is changed only if it holds what is believed; sent again the answer is the same."""
        for _ in range(2):
            self.assertEqual(self.q.note('a', b'1', b''), b'1')
        self.assertEqual(self.q.note('a', b'2', b''), b'1')
        self.assertEqual(self.q.note('a', b'2', b'x'), b'1')
        for _ in range(2):
            self.assertEqual(self.q.note('a', b'2', b'1'), b'2')
        self.assertEqual(self.q.note('a', b'', b'1'), b'2')
        for _ in range(2):
            self.assertEqual(self.q.note('a', b'', b'2'), b'')

    def test_pages(self) -> None:
        """They come in the order of the bytes of their names, in pages, by how names begin."""
        names = ['a', 'a:', 'a:B', 'a:b', 'a:\u00e9', 'a:\uffff', 'a:\U0001f600', 'b', '\n', '[',
                 '(', 'a\x00b']
        for name in names:
            self.q.note(name, name.encode())
        order = sorted(names, key=str.encode)
        self.assertEqual([name for name, _ in self.q.notes()], order)
        self.assertEqual([name for name, _ in self.q.notes('a:')],
                         [name for name in order if name.startswith('a:')])
        for prefix in '', 'a', 'a:', 'z':
            found: list[str] = []
            while page := self.q.notes(prefix, found[-1] if found else '', 2):
                self.assertLessEqual(len(page), 2)
                self.assertTrue(all(value == name.encode() for name, value in page))
                found += [name for name, _ in page]
            self.assertEqual(found, [name for name in order if name.startswith(prefix)])
        self.assertEqual(self.q.notes('a:', 'b'), [])
        self.assertEqual(self.q.notes('b', 'a')[0][0], 'b')

    def test_no_register(self) -> None:
        """No name, one too long, too much to hold, pages of no size."""
        q, most = self.q, 'n' * const.NOTE_NAME
        self.assertEqual(q.note(most, bytes(const.NOTE)), bytes(const.NOTE))
        for name, value, was in [('', b'1', None), (most + 'n', b'1', None), ('\ud800', b'1', None),
                                 ('a', bytes(const.NOTE + 1), None),
                                 ('a', b'1', bytes(const.NOTE + 1))]:
            with self.assertRaises(ValueError):
                q.note(name, value, was)
        for limit in 0, -1, const.NOTES_PAGE + 1, True, 1.0:
            with self.assertRaises(ValueError):
                q.notes(limit=limit)   # type: ignore[arg-type]
        with self.assertRaises(ValueError):
            q.notes(most + 'n')
        with self.assertRaises(ValueError):
            q.put([message('g', flags=base.GATE)], note=Note('a', b'1', b''))
        with self.assertRaises(ValueError):
            q.put([message('a')], 'g', note=Note('a', b'1', b''))

    def test_too_many(self) -> None:
        """There are so many at most; those that are there can be changed, or emptied."""
        q = self.q
        q.note('a', b'1')
        q.note('b', b'1')
        with self.full():
            with self.assertRaisesRegex(QueueError, 'registers'):
                q.note('c', b'1')
            with self.assertRaisesRegex(QueueError, 'registers'):
                q.put([message('x')], note=Note('c', b'1', b''))
            self.assertEqual(q.status(['x']), [None])
            self.assertEqual(q.note('c', b''), b'')
            self.assertEqual(q.note('a', b'2', b'1'), b'2')
            q.note('a', b'')
            self.assertEqual(q.note('c', b'1'), b'1')

    def test_put_and_note(self) -> None:
        """A put changes a register in its own step, or stores nothing and tells what it holds."""
        one, other = message('one'), message('other')
        for _ in range(2):   # a reply was lost
            self.assertEqual(self.q.put([one], note=Note('slot', b'2', b'')), [])
        self.assertEqual(self.q.put([other], note=Note('slot', b'2', b'')),
                         [Refusal('slot', 'changed', held=b'2')])
        self.assertEqual(self.q.put([other], note=Note('slot', b'3', b'1')),
                         [Refusal('slot', 'changed', held=b'2')])
        self.assertEqual(self.status('one', 'other'), ['enqueued', None])
        self.complete('one')
        self.assertEqual(self.q.put([one], note=Note('slot', b'2', b'')), [])
        self.assertEqual(self.q.put([other], note=Note('slot', b'3', b'2')), [])
        self.assertEqual(self.q.put([one], note=Note('slot', b'2', b'')),
                         [Refusal('slot', 'changed', held=b'3')])
        self.assertEqual(self.q.notes(), [('slot', b'3')])

    def test_put_refused(self) -> None:
        """What cannot be stored changes no register."""
        self.put(message('a'))
        note = Note('slot', b'2', b'')
        self.assertEqual(self.q.put([message('b'), message('a')], note=note),
                         [Refusal('a', 'duplicate')])
        self.assertEqual(self.q.put([message('b', 'none')], note=note),
                         [Refusal('b', 'unknown', 'none')])
        self.assertEqual(self.q.notes(), [])
        self.assertEqual(self.status('b'), [None])

    def test_put_of_any_kind(self) -> None:
        """A put that changes a register is one like any other: arguments, delays, who waits."""
        self.q.put([message('a'), message('b', 'a'), message('c', delay=500)], '', 'me',
                   Note('n', b'1', b''))
        self.assertEqual(self.status('a', 'b', 'c'), ['enqueued', 'pending', 'scheduled'])
        self.complete('a')
        self.assertEqual([id for id, _ in self.q.wait('me', 0)], ['a'])
        self.assertEqual(self.q.put([], '', '', Note('n', b'', b'1')), [])
        self.assertEqual(self.q.notes(), [])

    def test_last(self) -> None:
        """Registers outlast purges, and whatever becomes of tasks."""
        self.q.put([message('a')], note=Note('n', b'1', b''))
        self.q.purge()
        self.q.forget(['a'])
        self.advance(const.RESULT_TIMEOUT * 2_000)
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.q.notes(), [('n', b'1')])

    def test_apart(self) -> None:
        """Queues of different names have registers of their own."""
        with self.open(f'{self.q.name} other') as other:
            other.note('a', b'theirs')
            self.assertEqual(self.q.notes(), [])
            self.assertEqual(other.note('a', b''), b'')
