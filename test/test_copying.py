"""Tasks of one queue put into another, as they are: what is there of many, step by step."""
from __future__ import annotations

from types import SimpleNamespace
import unittest

import worq
from worq import const
from worq.copying import Copying
from worq.pool.run import run
from worq.queue.base import Content

from test import support
from test.support import eq_


def copying(source, target, beat=lambda: None):
    return Copying(source, target, 'gate', {}, SimpleNamespace(outcome=lambda id, raw: b''), beat)


class Steps(unittest.TestCase):

    def test_seals_of_a_later_part(self):
        """No argument is lost of a task of which the first have no seals, and later ones do."""
        ids = tuple(f'a{n}' for n in range(const.PUT_LIMIT + 5))
        first, rest = ids[:const.PUT_LIMIT], ids[const.PUT_LIMIT:]
        source = SimpleNamespace(message=lambda ids, start, argument: [
            Content('n', b'', b'', 0, rest, seals=(b'seal',) * 5)])
        found = copying(source, None)._arguments('x', Content('n', b'', b'', 0, first))
        eq_(found, [*((id, b'') for id in first), *((id, b'seal') for id in rest)])

    def test_signs_of_life(self):
        """There are some, however many results one task needs."""
        source, target = (worq.get_broker('memory://', support.unique()) for _ in range(2))
        source.tasks['size'] = len
        done = [source.queue().size('') for _ in range(50)]
        source.backend.settle('p', [run(source, one) for one in source.backend.take('p', 50)])
        signs: list[int] = []
        this = copying(source.backend, target.backend, lambda: signs.append(1))
        for one in done:
            self.assertTrue(this._edge(one.id, b''))
        self.assertGreater(len(signs), 5)
