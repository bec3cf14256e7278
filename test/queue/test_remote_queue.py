"""The memory queue as a child of a pool sees it obeys the contract, and trusts no child."""
from __future__ import annotations

import json
import random
import unittest

from test.queue.contract import message, outcome
from test.queue.contract_pools import QueueContract
from worq.errors import QueueError
from worq.queue import remote
from worq.queue.base import Held, Message
from worq.queue.memory import queue as memory


class Through:
    """The verbs that children have go through the proxy, those of pools to the queue itself."""

    def __init__(self, queue):
        self.queue = queue
        self.proxy = remote.TaskQueue(
            queue.url, queue.name, lambda parts: remote.answer(queue, parts))

    def __getattr__(self, name):
        mine = name == 'ring' or name in remote.VERBS and name not in ('beat', 'settle')
        return getattr(self.proxy if mine else self.queue, name)

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.queue.close()


class RemoteQueueTest(QueueContract, unittest.TestCase):
    """Each test of the contract, through the proxy."""

    now = 1_000_000

    def open(self, name):
        queue = memory.TaskQueue.open('memory://', name)
        queue.clock = lambda: self.now
        return Through(queue)

    def advance(self, ms):
        self.now += ms

    def tearDown(self):
        super().tearDown()
        memory.TaskQueue._opened.pop(('memory://', self.q.name), None)


class RemoteDetails(unittest.TestCase):

    def setUp(self):
        self.queue = memory.TaskQueue('memory://', 'details')
        self.proxy = Through(self.queue).proxy

    def test_verbs_of_pools(self):
        """What only pools do is refused, and says so."""
        for verb, args in [('join', ('p', {})), ('tell', ('p', {})), ('take', ('p', 1)),
                           ('turn', ('p',)), ('bell', ('p',)), ('leave', ('p',)),
                           ('reconcile', ('p', []))]:
            with self.assertRaisesRegex(QueueError, 'child of a pool'):
                getattr(self.proxy, verb)(*args)

    def test_not_for_others(self):
        """A child cannot beat or settle for a pool, only for a gate that it has put."""
        self.queue.put([message('a')])
        delivery, = self.queue.take('pool', 1)
        with self.assertRaisesRegex(ValueError, 'gate'):
            self.proxy.settle('pool', [outcome(delivery)])
        with self.assertRaisesRegex(ValueError, 'gate'):
            self.proxy.beat('pool', [Held('a', delivery.token)])
        self.assertEqual(self.queue.status(['a']), ['processing'])

    def test_errors_arrive(self):
        """What the queue raises is raised by the proxy."""
        with self.assertRaisesRegex(ValueError, 'not an id'):
            self.proxy.put([message('')])

    def test_another_queue(self):
        """Any memory queue of the pool's process can be reached by its name."""
        other = self.proxy.open('memory://', 'details-other')
        other.put([message('b')])
        try:
            real = memory.TaskQueue.open('memory://', 'details-other')
            self.assertEqual(real.status(['b']), ['enqueued'])
        finally:
            del memory.TaskQueue._opened['memory://', 'details-other']

    def test_wait_is_woken(self):
        """A client that waits is woken by a ring, or by the outcome; else the time ends it."""
        self.queue.put([message('a')])
        self.assertEqual(self.proxy.watch('c', ['a']), [])
        self.assertEqual(self.proxy.wait('c', 0.02), [])
        self.proxy.ring('c')
        self.assertEqual(self.proxy.wait('c', 60), [])
        self.proxy.cancel(['a'])
        (id, _), = self.proxy.wait('c', 60)
        self.assertEqual(id, 'a')

    def ask(self, verb, *args, blobs=()):
        text = json.dumps(['memory://', 'details', *args])
        return remote.answer(self.queue, [verb, text.encode(), *blobs])

    def test_nonsense(self):
        """Whatever a child asks, it gets an answer, and the queue stays as it was."""
        rand = random.Random(7)
        good = [['i', 'n' * 12, {'': 0}, {'': 1}, [['x', '']], 0, 1, 0, 10, 0, 3, 0]]
        bad = [None, True, -1, 1.5, 1 << 60, 'x', '\ud800', [], {}, {'': 9}, {'': 0}, [[]]]
        for verb in [*remote.VERBS, 'take', 'close', '__init__', '_store', 'clock']:
            for args in ([], [None], [[]], [[{}]], ['p', [['a', {'': 0}, {'': 0}]], 1],
                         [good, '', '']):
                answer = self.ask(verb.encode(), *args, blobs=[b'head', b'body'])
                self.assertIn(answer[0], (b'ok', b'value'), (verb, args, answer))
        for _ in range(2000):
            args = json.loads(json.dumps(good))
            args[0][rand.randrange(len(args[0]))] = rand.choice(bad)
            answer = self.ask(b'put', args, '', 'c', blobs=[b'head', b'body'])
            self.assertIn(answer[0], (b'ok', b'value'), answer)
        for text in (b'', b'[', b'\xff', b'[' * 100_000, b'{"": "x"}', b'{"": []}', b'1'):
            self.assertEqual(remote.answer(self.queue, [b'put', text])[0], b'value')
        self.assertEqual(remote.answer(self.queue, [b'put'])[0], b'value')
        self.assertEqual(self.queue.audit(), [])

    def test_fields(self):
        """What may be asked has a reader for each field of what is put."""
        sent = Message('i', 'n' * 12, b'f', b'')
        read = remote.message(remote.unpack_value(remote.pack_value(sent)))
        self.assertEqual(read, sent)
