"""The machine over lives that keep their edges elsewhere."""
from __future__ import annotations

import unittest

from test.queue.contract import message, outcome
from test.queue.rows import RowQueue
from test.support import eq_
from worq import const
from worq.queue.base import GATE, Argument


class RowsTest(unittest.TestCase):

    def setUp(self) -> None:
        self.q = RowQueue('memory://', 'rows', clock=lambda: 1_000_000)

    def run_all(self) -> list[list[str]]:
        """Run all that there is; the arguments that each delivery brought."""
        brought = []
        while deliveries := self.q.take('p', 100):
            brought += [[id for id, _ in one.arguments] for one in deliveries]
            self.q.settle('p', [outcome(one) for one in deliveries])
            eq_(self.q.audit(), [])
        eq_(self.q.size(), 0)
        return brought

    def test_edges_read_nothing(self) -> None:
        """Arguments are added to a task of any width without a look at those that it has."""
        gate, wide = message('gate', flags=GATE), message('wide')
        ids = [f'a{n}' for n in range(30)]
        eq_(self.q.put([gate]) + self.q.put([message(id) for id in ids]), [])
        eq_(self.q.put([wide], 'gate'), [])
        for start in range(0, 30, 10):
            for _ in range(2):
                eq_(self.q.edges('gate', 'wide', wide.nonce, start,
                                 [Argument(id, '') for id in ids[start:start + 10]]), [])
        edges = self.q._store.lives['wide'].arguments
        eq_((edges.walks, len(edges.rows)), (0, 30))
        eq_(self.q.audit(), [])
        self.q.settle('gate', [outcome(self.q.take('p', 1)[0])._replace(
            id='gate', token=f'{gate.nonce}1'.encode())])
        self.q.reconcile('p', [])
        eq_(self.run_all()[-1], ids)

    def test_signed_anew(self) -> None:
        """What a long chain of tail calls came to is one more argument of who signs it."""
        ids = [f't{n}' for n in range(const.LINKS + 2)]
        eq_(self.q.put([message(id) for id in ids]), [])
        chain = self.q.take('p', len(ids))
        calls = [outcome(one, 'delegate', b'seal')._replace(target=Argument(id, ''))
                 for one, id in zip(chain, ids[1:])]
        eq_(set(self.q.settle('p', [*calls, outcome(chain[-1])])), {'ok'})
        eq_(self.run_all()[0], ids[1:2])
