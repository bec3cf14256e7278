"""worq.builder against a queue that only notes what it is asked."""
from __future__ import annotations

import unittest
from typing import Any
from unittest import mock

from test.queue.contract import message
from worq import builder
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
