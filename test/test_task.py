"""Queue, Task, TaskSpace and the options of a call: what needs no worker."""
from __future__ import annotations

from base64 import urlsafe_b64decode
import copy
from datetime import UTC, datetime, timedelta
import functools
import operator
import unittest
from unittest import mock

import worq
from worq import Task, TaskSpace, const
from worq.ids import Nonces
from worq.options import Options


class TestQueue(unittest.TestCase):

    def setUp(self):
        self.broker = worq.get_broker('memory://', 'test-task')
        self.q = self.broker.queue()
        self.addCleanup(self.broker.discard_pending_tasks)

    def test_repr_names_target_and_queue(self):
        """A queue shows its target and its broker's name."""
        self.assertEqual(repr(self.q.foo.bar), '<Queue foo.bar [test-task]>')
        self.assertEqual(repr(self.q), '<Queue (root) [test-task]>')
        self.assertEqual(repr(worq.get_queue('memory://').foo.bar), '<Queue foo.bar [default]>')
        self.assertEqual(str(self.q.foo.bar), 'foo.bar')

    def test_equal_by_broker(self):
        """Queues of one broker are equal, whatever they point at; those of two are not."""
        self.assertEqual(self.q.foo, self.q.bar)
        self.assertEqual(hash(self.q.foo), hash(self.q.bar))
        self.assertNotEqual(self.q, worq.get_queue('memory://', 'test-task'))
        self.assertNotEqual(self.q, 'queue')

    def test_target(self):
        """A queue may begin at a namespace."""
        q = worq.get_queue('memory://', 'test-task', 'foo.bar')
        self.assertEqual(str(q.baz), 'foo.bar.baz')

    def test_special_names_are_no_tasks(self):
        """What Python looks up by itself is not taken for a task."""
        with self.assertRaises(AttributeError):
            self.q.__wrapped__
        self.assertEqual(copy.copy(self.q.foo), self.q)

    def test_root_cannot_be_called(self):
        """Calling a queue without a target says that a task must be named."""
        with self.assertRaisesRegex(TypeError, 'name one'):
            self.q(1)

    def test_len_and_clear(self):
        """len counts tasks that are not done, a full slice deletes them, another is an error."""
        self.assertEqual(len(self.q), 0)
        first = self.q.func()
        self.q.func(first)
        self.assertEqual(len(self.q), 2)
        with self.assertRaisesRegex(
                ValueError, r'^delitem is only valid with a full slice \(\[:\]\)$'):
            del self.q[:2]
        del self.q[:]
        self.assertEqual(len(self.q), 0)
        self.assertIsInstance(first.exception(timeout=1), worq.TaskCancelled)


class TestTask(unittest.TestCase):

    def setUp(self):
        self.q = worq.get_queue('memory://', 'test-task')
        self.addCleanup(self.q.__delitem__, slice(None))

    def test_defaults(self):
        """A Task tells its options, given or not."""
        task = Task(self.q.foo)
        self.assertEqual(
            (task.name, task.id, task.on_error, task.ignore_result, task.result_timeout,
             task.heartrate, task.max_deliveries, task.options),
            ('foo', None, Task.FAIL, False, const.HOUR, 30, 3, {}))
        self.assertEqual(repr(task), '<Task foo [test-task]>')

    def test_options_of_the_queue_are_defaults(self):
        """A Task has the options of its queue unless it is given others."""
        q = worq.get_queue('memory://', 'test-task', on_error=Task.PASS, max_deliveries=1)
        self.assertEqual(Task(q.f).on_error, Task.PASS)
        self.assertEqual(Task(q.f, on_error=Task.FAIL).on_error, Task.FAIL)
        self.assertEqual(Task(q.f, on_error=Task.FAIL).max_deliveries, 1)

    def test_with_options_replaces_all(self):
        """with_options makes a Task of the same queue with just the options given to it."""
        task = Task(self.q.f, on_error=Task.PASS).with_options({'id': 'x'})
        self.assertEqual((task.id, task.on_error, task.name), ('x', Task.FAIL, 'f'))
        self.assertEqual(task.with_options(id='y').options, {'id': 'y'})

    def test_senseless_options_are_refused(self):
        """Each option that makes no sense is a ValueError that names it, at once."""
        for name, value in [
                ('id', 7), ('on_error', 'ignore'), ('result_timeout', 'long'),
                ('result_timeout', 0), ('result_timeout', -1), ('result_timeout', True),
                ('result_timeout', float('nan')), ('result_timeout', float('inf')),
                ('heartrate', None), ('heartrate', 0), ('max_deliveries', 0),
                ('max_deliveries', 1.5), ('priority', 5), ('delay', -1)]:
            with self.subTest(name=name, value=value):
                with self.assertRaisesRegex(ValueError, f'^invalid {name}: '):
                    Task(self.q.f, **{name: value})
                with self.assertRaisesRegex(ValueError, f'^invalid {name}: '):
                    worq.get_queue('memory://', 'test-task', **{name: value})
        with self.assertRaisesRegex(ValueError, 'ignore_result is incompatible'):
            Task(self.q.f, ignore_result=True, result_timeout=5)

    def test_what_is_allowed_is_told(self):
        """The message for an option that makes no sense says what would make some."""
        for name, value, allowed in [
                ('priority', 5, "it is 'high', 'normal' or 'low'$"),
                ('delay', -1, 'it is a number of seconds from 0$'),
                ('expires', 0, 'it is a number of seconds above 0$')]:
            with self.subTest(name=name), self.assertRaisesRegex(ValueError, allowed):
                Task(self.q.f, **{name: value})
        self.assertEqual(Task(self.q.f, delay=0).options, {'delay': 0})

    def test_unknown_options_are_refused(self):
        """An option that does not exist is a TypeError that lists those that do."""
        with self.assertRaises(TypeError):
            Task(self.q.f, priorty=1)
        with self.assertRaisesRegex(TypeError, "'priorty'; there are id, on_error"):
            worq.get_queue('memory://', 'test-task', priorty=1)

    def test_needs_a_queue(self):
        """A Task of anything but a queue is a TypeError."""
        for wrong in len, 'f', worq.get_broker('memory://'):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(
                    TypeError, r'made of a Queue, as in Task\(q\.function, \.\.\.\); not of'):
                Task(wrong)

    def test_bad_ids_are_refused(self):
        """An id that is empty, too long or no string is a ValueError, and nothing is put."""
        for id in ['', 'x' * 513, lambda: 3, lambda: '']:
            with self.subTest(id=id), self.assertRaisesRegex(ValueError, 'invalid task id'):
                Task(self.q.f, id=id)()
        self.assertEqual(len(self.q), 0)

    def test_id_of_the_arguments(self):
        """A function of the arguments makes the id."""
        task = Task(self.q.f, id=lambda a, b=None: f'{a}-{b}')
        self.assertEqual(task(1, b=2).id, '1-2')

    def test_lease_follows_the_heartrate(self):
        """A heartrate of one's own gives a lease of three beats, at least a second."""
        self.assertEqual(Options().lease, 0)
        self.assertEqual(Options(heartrate=10).lease, 30_000)
        self.assertEqual(Options(heartrate=0.1).lease, 1_000)

    def test_what_is_of_the_moment_is_told_by_each_call(self):
        """The time to an eta, and what a backoff function says, are those of each call."""
        given = Options(expires=7.0)
        self.assertIs(given.stamp(), given.stamp())
        now = datetime(2030, 1, 1, tzinfo=UTC)
        given = Options(eta=now + timedelta(seconds=60), priority='high')
        with mock.patch('worq.options.datetime') as clock:
            clock.now.side_effect = [now, now + timedelta(seconds=20)]
            fields = [given.stamp()[1] for _ in range(2)]
        self.assertEqual([(priority, delay) for _, priority, delay, *_ in fields],
                         [(0, 60_000), (0, 40_000)])
        pauses = iter([3, 4])
        given = Options(retries=1, backoff=lambda attempt: next(pauses), heartrate=1)
        self.assertEqual([given.stamp()[0] for _ in range(2)],
                         [b'\nlease 3000\nretries 1\nbackoff 3',
                          b'\nlease 3000\nretries 1\nbackoff 4'])


class TestTaskSpace(unittest.TestCase):

    def test_functions_stay_as_they_are(self):
        """A decorated function comes back unchanged, and can be called without a broker."""
        ts = TaskSpace('mod')

        def f(x):
            return x + 1

        self.assertIs(ts.task(f), f)
        self.assertIs(ts.task(name='g')(f), f)
        self.assertEqual(ts.tasks, {'mod.f': f, 'mod.g': f})
        self.assertEqual(ts.tasks['mod.f'](1), 2)
        self.assertEqual(repr(ts), '<TaskSpace mod: mod.f, mod.g>')

    def test_any_callable(self):
        """Builtins and bound methods are tasks; what has no name needs one; data is refused."""
        ts = TaskSpace()
        ts.task(operator.add)
        ts.task([].append)
        ts.task(functools.partial(int, base=2), 'binary')
        self.assertEqual(list(ts.tasks), ['add', 'append', 'binary'])
        with self.assertRaisesRegex(ValueError, 'no name to be called by'):
            ts.task(functools.partial(int, base=2))
        with self.assertRaisesRegex(TypeError, 'cannot be called'):
            ts.task(7)

    def test_conflict(self):
        """A name that is taken is refused."""
        ts = TaskSpace('m')
        ts.task(len)
        with self.assertRaisesRegex(ValueError, "'m.len' conflicts with existing task"):
            ts.task(len)


class TestNonces(unittest.TestCase):

    def test_all_different_and_of_one_width(self):
        """Nonces of one maker and of two differ, and all have the same length."""
        one, two = Nonces(), Nonces()
        made = [one() for _ in range(9000)] + [two() for _ in range(1000)]
        self.assertEqual(len(set(made)), 10_000)
        self.assertEqual({len(nonce) for nonce in made}, {const.NONCE})

    def test_in_order(self):
        """Each nonce is the number after the last one's, also where all of it changes."""
        start = bytes([255] * 7 + [0xef, 0xff])
        with mock.patch('os.urandom', return_value=start):
            one = Nonces()
        first = int.from_bytes(start, 'big')
        for n in range(9000):
            number = int.from_bytes(urlsafe_b64decode(one()), 'big')
            self.assertEqual(number, (first + n) % 2**72)


class TestAddresses(unittest.TestCase):

    def test_unknown_scheme(self):
        """An address that no backend understands is a ValueError that says what to write."""
        for url in ['', 'memory', 'amqp://host', 'redis:/x']:
            with self.subTest(url=url), self.assertRaisesRegex(ValueError, 'write memory://'):
                worq.get_broker(url)

    def test_bad_names(self):
        """A queue has a name."""
        for name in ['', None, 3]:
            with self.subTest(name=name), \
                    self.assertRaisesRegex(ValueError, 'queue name: .* a string that is not empty'):
                worq.get_broker('memory://', name)

    def test_memory_is_one_queue_for_url_and_name(self):
        """The same url and name is the same queue anywhere in the process."""
        a = worq.get_broker('memory://', 'test-task')
        b = worq.get_broker('memory://', 'test-task')
        c = worq.get_broker('memory://', 'test-other')
        self.assertIs(a.backend, b.backend)
        self.assertIsNot(a.backend, c.backend)

    def test_passwords_are_not_shown(self):
        """A broker's repr hides the password of its address."""
        try:
            broker = worq.get_broker('redis://:hunter2@localhost:1/0',
                                     secret='x' * 16)
        except ImportError:
            raise unittest.SkipTest('redis is not installed') from None
        self.assertNotIn('hunter2', repr(broker) + repr(broker.backend))
        broker.close()
