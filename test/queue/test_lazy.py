"""A queue that is opened late is, from its first use on, the queue that it stands for."""
from __future__ import annotations

import inspect
import sys
import types
import unittest
from unittest import mock

from test.pool.tasks import init
from test.support import clean, redis_url, unique
from worq import get_broker
from worq.pool.process import WorkerPool
from worq.queue import base, lazy

URL = 'real://here'
WAIT = 30


class Postponed(unittest.TestCase):

    def setUp(self):
        self.made = []
        self.real = types.SimpleNamespace(TaskQueue=types.SimpleNamespace(open=self.make))
        self.modules = {'real': 'the_real_one', 'other': 'another'}
        for patch in [mock.patch.dict(sys.modules, the_real_one=self.real),
                      mock.patch.multiple(lazy, _module='', _url='', _place='')]:
            patch.start()
            self.addCleanup(patch.stop)
        lazy.postpone(self.modules, URL)

    def make(self, url, name, **options):
        if 'mistake' in options or 'mistake' in url:
            raise ValueError('a mistake')
        self.made.append((url, name, options))
        return mock.create_autospec(base.TaskQueue, instance=True)

    def test_only_this_scheme(self):
        """Backends of other schemes stay as they are."""
        self.assertEqual(self.modules, {'real': 'worq.queue.lazy', 'other': 'another'})

    def test_every_verb(self):
        """Each verb of the contract gets to the queue, which is opened once, and is answered."""
        queue = lazy.TaskQueue.open(URL, 'name')
        self.assertEqual((queue.url, queue.name), (URL, 'name'))
        self.assertEqual(repr(queue), repr(base.TaskQueue(URL, 'name')))
        self.assertEqual(self.made, [])
        verbs = [verb for verb, method in inspect.getmembers(base.TaskQueue, inspect.isfunction)
                 if not verb.startswith('_')]
        self.assertGreater(len(verbs), 20)
        for verb in verbs:
            values = [object()] * (len(inspect.signature(getattr(base.TaskQueue, verb)).parameters)
                                   - 1)
            answer = getattr(queue, verb)(*values)
            real = getattr(queue.opened(), verb)
            real.assert_called_once_with(*values)
            if verb != 'close':
                self.assertIs(answer, real.return_value)
        self.assertEqual(self.made, [(URL, 'name', {})])

    def test_close_unopened(self):
        """To close what nobody has used does not open it."""
        with lazy.TaskQueue.open(URL, 'name'):
            pass
        self.assertEqual(self.made, [])

    def test_mistakes(self):
        """Where there can be a mistake, in options or another url, it is told at once."""
        self.assertRaises(ValueError, lazy.TaskQueue.open, URL, 'name', mistake=1)
        self.assertRaises(ValueError, lazy.TaskQueue.open, 'real://mistake', 'name')
        self.assertNotIsInstance(lazy.TaskQueue.open(URL, 'name', good=1), lazy.TaskQueue)
        self.assertEqual(self.made, [(URL, 'name', {'good': 1})])


class InAPool(unittest.TestCase):

    def test_redis(self):
        """A child loads redis for the first task that uses its queue, and not before."""
        url, name = redis_url(), unique()
        self.addCleanup(clean, url, name)
        with get_broker(url, name) as broker:
            task = broker.queue().loaded
            pool = WorkerPool(broker, init, (name,), workers=1)
            pool.start(handle_sigterm=False)
            try:
                seen = [task('redis', use).result(WAIT) for use in (False, True)]
            finally:
                pool.stop()
        self.assertEqual([was_loaded for _, was_loaded in seen], [False, True])
        self.assertEqual(seen[0][0], seen[1][0])

    def test_another_database(self):
        """A message is signed for the database that it is in, and a child reads it all the same."""
        url, name = f'{redis_url().rpartition("/")[0]}/1', unique()
        self.addCleanup(clean, url, name)
        with get_broker(url, name) as broker:
            task = broker.queue().loaded
            with WorkerPool(broker, init, (name,), workers=1):
                self.assertEqual(task('redis', False).result(WAIT)[1], False)
