"""What people do to a queue is noted with who they are."""
from __future__ import annotations

import json
from unittest import mock

from worq import Task, acts
from worq.errors import QueueError

from test.broker_case import BrokerCase, on_every_queue


class ActsContract(BrokerCase):
    """Who did what, on any engine."""

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.queue()

    def told(self):
        return [(act.who, act.what, act.tasks, act.about) for act in self.mine.acts()]

    def test_noted(self):
        """Cancels and purges are noted with who, what, how many; what nobody owns up to is not."""
        for id in 'abcdef':
            Task(self.q.x, id=id)()
        self.mine.cancel('a')
        self.assertEqual(self.mine.acts(), [])
        self.assertTrue(self.mine.cancel('b', by='ann'))
        self.mine.cancel('b', by='ann')   # too late: nothing was done
        self.mine.cancel_all(['a', 'c', 'd'], by='bob\nrm -rf')
        self.assertEqual(self.mine.discard_pending_tasks(by='ann'), 2)
        self.assertEqual(self.told(), [('ann', 'purge', 2, ''),
                                       ('bob\\nrm -rf', 'cancel', 2, 'a c d'),
                                       ('ann', 'cancel', 1, 'b')])
        moments = [act.moment for act in self.mine.acts()]
        self.assertEqual(moments, sorted(moments, reverse=True))
        self.assertEqual(self.mine.acts(1), self.mine.acts()[:1])
        self.assertEqual(self.mine.backend.audit(), [])

    def test_last_ones(self):
        """The last ones are kept, and they take no more room than that."""
        with mock.patch.object(acts, 'KEPT', 3):
            for n in range(8):
                acts.enter(self.mine.backend, 'ann', 'cancel', n)
            self.assertEqual([act.tasks for act in self.mine.acts()], [7, 6, 5])
        self.assertEqual(len(self.mine.backend.notes(acts.PREFIX)), 3)

    def test_two_at_once(self):
        """Of two that note at once neither takes the other's place."""
        queue = self.mine.backend
        note, first = queue.note, []

        def interrupted(name, value, if_was=None):
            if name == acts.COUNTER and not first:
                first.append(1)
                acts.enter(queue, 'bob', 'cancel', 2)
            return note(name, value, if_was)

        with mock.patch.object(queue, 'note', interrupted):
            acts.enter(queue, 'ann', 'cancel', 1)
        self.assertEqual([who for who, *_ in self.told()], ['ann', 'bob'])

    def test_strange(self):
        """What others have written there is passed over, or made fit for people."""
        queue = self.mine.backend
        good = {'n': 1, 'at': 1.5, 'who': '\x1b[31m', 'what': 'x', 'tasks': 1, 'about': 'a\nb'}
        for n, value in enumerate([b'', b'{', b'[]', b'\xff', json.dumps({'n': 1}).encode(),
                                   json.dumps({**good, 'n': 1e999}).encode(),
                                   json.dumps(good).encode()]):
            queue.note(f'{acts.PREFIX}{n}', value)
        queue.note(acts.COUNTER, b'9' * 100)
        self.assertEqual(self.told(), [('\\x1b[31m', 'x', 1, 'a\\nb')])
        acts.enter(queue, 'ann', 'cancel', 1)
        self.assertIn('ann', [who for who, *_ in self.told()])

    def test_not_noted(self):
        """What was done is done, also if it cannot be noted: the log tells."""
        Task(self.q.x, id='a')()
        with mock.patch.object(self.mine.backend, 'note', side_effect=QueueError('full')), \
                self.assertLogs('worq.acts', 'WARNING') as logs:
            self.assertTrue(self.mine.cancel('a', by='ann'))
        self.assertIn('cancel of 1 tasks by ann could not be noted: full', logs.output[0])


on_every_queue(globals(), ActsContract, file=True)
