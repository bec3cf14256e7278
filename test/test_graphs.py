"""Random graphs of several hundred nodes against a plain evaluation of the same graph."""
from __future__ import annotations

import os
import random

import worq
from test.broker_case import BrokerCase, on_every_queue
from test.support import eq_
from worq import Task, TaskFailure
from worq.pieces import pieces


def join(name, parts, fails):
    """A node: raises if it is to fail, else tells its name and what it got, bounded."""
    if fails:
        raise ValueError(name)
    return name, [digest(part) for part in parts]


def digest(part):
    """A short stand-in for an argument: the name of a node, or of the failure's cause."""
    if isinstance(part, TaskFailure):
        return 'failure', part.error
    return part[0]


class Node:
    """A node of a random graph, and what it should come to."""

    def __init__(self, name, sources, fails, passes):
        self.name, self.sources, self.fails, self.passes = name, sources, fails, passes
        causes = {source.cause for source in sources if source.cause is not None}
        self.cause = None          # why it fails, if it does
        self.causes = set()        # any of which may have come first
        if causes and not passes:
            self.causes = set().union(*(s.causes for s in sources if s.cause is not None))
        elif fails:
            self.causes = {f'ValueError: {name}'}
        if self.causes:
            self.cause = min(self.causes)

    def check(self, test, deferred):
        failure = deferred.exception(timeout=30)
        if self.causes:
            test.assertIsNotNone(failure, self.name)
            test.assertIn(failure.error, self.causes)
            return
        test.assertIsNone(failure, self.name)
        name, parts = deferred.value
        test.assertEqual(name, self.name)
        for source, part in zip(self.sources, parts, strict=True):
            if source.cause is None:
                test.assertEqual(part, source.name)
            else:
                test.assertEqual(part[0], 'failure')
                test.assertIn(part[1], source.causes)


def test_pieces():
    """Lists of some, in order, and nothing twice."""
    eq_(list(pieces([1, 2, 3, 4, 5], 2)), [[1, 2], [3, 4], [5]])
    eq_(list(pieces([], 2)), [])


class GraphContract(BrokerCase):
    """A graph comes to what a plain evaluation of it comes to, in whatever order it runs."""

    __test__ = False

    def build(self, seed, size=300):
        rand = random.Random(seed)
        broker = self.broker()
        broker.expose(join, replace=True)
        q = broker.queue()
        nodes, deferreds = [], []
        for number in range(size):
            few = min(len(nodes), rand.choice([0, 0, 1, 1, 2, 3, 8, 30]))
            chosen = [rand.randrange(len(nodes)) for _ in range(few)]  # some of them twice
            node = Node(f'n{number}', [nodes[i] for i in chosen],
                        rand.random() < 0.03, rand.random() < 0.5)
            task = Task(q.join, on_error=Task.PASS if node.passes else Task.FAIL)
            nodes.append(node)
            deferreds.append(task(node.name, [deferreds[i] for i in chosen], node.fails))
            if rand.random() < 0.1:
                self.work(broker, limit=rand.randrange(20))
        return broker, nodes, deferreds

    def test_random_graphs(self):
        """Values, failures and their causes are those of the plain evaluation; nothing is left."""
        for seed in [1, 2, random.SystemRandom().randrange(10**9)]:
            with self.subTest(seed=seed):
                broker, nodes, deferreds = self.build(seed)
                self.work(broker)
                for node, deferred in zip(nodes, deferreds, strict=True):
                    node.check(self, deferred)
                self.assertEqual(len(broker), 0)
                self.assertEqual(broker.backend.audit(), [])
                self.name += os.urandom(2).hex()

    def test_waits_for_a_batch_within_another(self):
        """It can be waited for as soon as the one that it has joined is put."""
        broker = self.broker()
        broker.expose(join)
        q = broker.queue()
        with worq.batch(q):
            with worq.batch(q) as inner:
                q.join('x', [], False)
            with self.assertRaisesRegex(RuntimeError, 'not put before'):
                inner.wait(0)
        self.assertFalse(inner.wait(0))
        self.work(broker)
        self.assertTrue(inner.wait(10))


on_every_queue(globals(), GraphContract)
