"""Which names a pool tells while its children differ, and who runs what one of them lacks."""
from __future__ import annotations

import time
import unittest

from test.pool.test_desk import Childless
from worq.codec import Codec
from worq.pool.children import watchdog
from worq.pool.children.manager import Manager
from worq.pool.children.protocol import OUTCOMES, READY, pack_outcome
from worq.queue.base import Delivery, Outcome
from worq.queue.memory import TaskQueue


class Child(Childless):
    """Tells what the test has it tell."""

    def __init__(self, generation):
        super().__init__(b'', watchdog.Watchdog())
        self.generation, self.frames = generation, []
        self.begun = lambda: None

    def receive(self):
        frames, self.frames, outcomes = self.frames, [], []
        for frame in frames:
            self._understand(frame, outcomes)
        return outcomes


class Differ(unittest.TestCase):

    def setUp(self):
        self.manager = Manager(TaskQueue('memory://', 'naming'), None, 1, None, 1.0, 'a pool',
                               Codec('naming'))
        self.addCleanup(self.manager._end)
        self.addCleanup(self.manager.workers.clear)

    def child(self, names, generation=0):
        child = Child(generation)
        self.addCleanup(child.page.close)
        self.addCleanup(child.theirs.close)
        self.manager.workers.append(child)
        self.hear(child, [READY, *map(str.encode, names)])
        return child

    def hear(self, child, *frames):
        child.frames += frames
        self.manager._listen(child)

    def given(self, child, name, token=b'token'):
        delivery = Delivery('id', token, 1, name + b'\nretries 1', b'')
        self.manager.desk.held[token] = 'id'
        child.send([delivery])
        return delivery

    def unknown(self, child, delivery):
        self.hear(child, [OUTCOMES, *pack_outcome(Outcome(
            delivery.id, delivery.token, 'unknown', b'no such task'))])

    def told(self):
        return self.manager.desk.info.get('tasks', '')

    def test_reload(self):
        """While old and new children are there those names are told that both have; then those
        of the new ones."""
        self.child('ab')
        self.child('ab')
        self.assertEqual(self.told(), 'a\nb')
        manager = self.manager
        manager.target, manager._generation, manager._elders = 2, 1, 2
        self.child('bc', 1)
        self.assertEqual(self.told(), 'b')
        manager._replace()
        self.assertEqual((sum(child.leaving for child in manager.workers), self.told()), (1, 'b'))
        self.child('bc', 1)
        manager._replace()
        self.assertEqual(self.told(), 'b\nc')

    def test_one_has_ended(self):
        """What a child lacked that is gone is told again; the last one's names stay told."""
        one, other = self.child('a'), self.child('ab')
        self.assertEqual(self.told(), 'a')
        one.disowned = other.disowned = True
        for child, names in (one, 'a\nb'), (other, 'a\nb'):
            child.outcomes, child.close = None, lambda: None
            self.manager._ears.unregister = lambda worker: None
            self.manager._bury(child, 'killed', time.monotonic())
            self.assertEqual(self.told(), names)

    def test_passed_on(self):
        """What a child does not know goes to the least busy one that does, not to the queue."""
        old, busy, new = self.child('a'), self.child('ab'), self.child('ab')
        self.given(busy, b'a', b'other')
        delivery = self.given(old, b'b')
        self.unknown(old, delivery)
        self.assertEqual(([one for _, one in new.sent], self.manager._outcomes), ([delivery], []))
        self.assertEqual((len(old.sent), len(busy.sent)), (0, 1))

    def test_not_for_ever(self):
        """If the other does not know it either the queue is told, and so it is if nobody does,
        or only one that leaves, is taken back from, or may get no more."""
        old, new = self.child('a'), self.child('ab')
        delivery = self.given(old, b'b')
        self.unknown(old, delivery)
        self.unknown(new, delivery)
        self.assertEqual([one.word for one in self.manager._outcomes], ['unknown'])
        for n, change in enumerate([
                {'leaving': True}, {'retiring': True}, {'blocked': True}, {'revoked': (1, 0.0)},
                {'names': frozenset()}, {'ready': False}]):
            with self.subTest(change):
                before = {name: getattr(new, name) for name in change}
                vars(new).update(change)
                self.unknown(old, self.given(old, b'b', b'token %d' % n))
                self.assertEqual((len(self.manager._outcomes), list(new.sent)), (n + 2, []))
                vars(new).update(before)
        self.manager.max_tasks = 1
        self.unknown(old, self.given(old, b'b', b'last'))
        self.assertEqual((len(self.manager._outcomes), list(new.sent)), (8, []))
