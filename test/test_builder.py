"""worq.builder against a queue that only notes what it is asked."""
from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from test.queue.contract import message
from worq import builder
from worq.errors import QueueError
from worq.queue.base import Refusal


class Steps(unittest.TestCase):

    def entry(self, width: int) -> builder.Entry:
        entry = builder.Entry(None, b'')
        entry.message = message('x', *[f'a{n}' for n in range(width)])
        return entry

    def queue(self, **answers: Any) -> mock.Mock:
        return mock.Mock(**{'put.return_value': [], 'edges.return_value': [],
                            'settle.return_value': ['ok'], **answers})

    def test_look_ahead(self) -> None:
        """An argument that is unknown is mended before anything is put, be it the first of those
        that follow in steps of their own, or the last, in the first look or in a later one."""
        for unknown in 3, 4, 5, 19:
            def mend(entry: builder.Entry, refusal: Refusal) -> None:
                queue.put.assert_not_called()   # noqa: B023
                mended.append(refusal)   # noqa: B023
            mended: list[Refusal] = []
            queue = self.queue()
            queue.status = lambda ids: [None if id == f'a{unknown}' else 'success'   # noqa: B023
                                        for id in ids]
            with mock.patch.object(builder, 'WIDE', 3), \
                    mock.patch.object(builder.const, 'PUT_LIMIT', 2):
                builder.put_all(queue, [self.entry(20)], mend, lambda gate: b'')
            self.assertEqual(mended, [Refusal('x', 'unknown', f'a{unknown}')])

    def test_puts_that_fail(self) -> None:
        """Each call that cannot be put is told why. Others are put, but not where the queue is
        away: they would wait as long for nothing."""
        wide = builder.TASKS   # two of them go in two steps
        for error, tried in [(ValueError('no'), 3), (QueueError('away'), 1)]:
            entries = [self.entry(0) for _ in range(3)]
            for entry, nonce in zip(entries, 'abc'):
                entry.message = entry.message._replace(nonce=nonce)
            queue = self.queue(**{'put.side_effect': [error, [], []]})
            with mock.patch.object(builder.Entry, 'weight', wide):
                errors = builder.put_each(queue, entries, mock.Mock(), 'me')
            self.assertEqual(queue.put.call_count, tried)
            self.assertEqual(errors, dict.fromkeys('a' if tried == 3 else 'abc', error))
