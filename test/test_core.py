"""The Broker on every queue: calls, their arguments, their failures, their results."""
from __future__ import annotations

from dataclasses import dataclass
import functools
import operator
import threading
from typing import Any

import worq
from test.broker_case import BrokerCase, on_every_queue
from test.support import eventually
from worq import Task, TaskFailure, TaskSpace, const


@dataclass
class Box:
    """Something of the user's that holds Deferreds."""

    content: Any


class Stubborn:
    """Cannot be pickled, and says so."""

    def __reduce__(self):
        raise TypeError('not me')


class Unpicklable(Exception):
    """An exception that cannot be unpickled: its constructor wants two arguments."""

    def __init__(self, a, b):
        super().__init__(f'{a} and {b}')


def identity(x):
    return x


def fail(x):
    raise ValueError('too low')


class TestingCalls:

    def setUp(self):
        super().setUp()
        self.b = self.broker()
        for function in [identity, fail, sum, operator.add, len]:
            self.b.expose(function)
        self.q = self.b.queue()

    def result(self, deferred):
        self.work(self.b)
        return deferred.result(timeout=10)


class ExposeContract(TestingCalls, BrokerCase):
    """What may be exposed, and how."""

    __test__ = False

    def test_functions_builtins_methods_and_spaces(self):
        """Functions, builtins, bound methods and TaskSpaces can be called by their names."""
        seen = []
        ts = TaskSpace('foo.bar')
        ts.task(lambda x: x * 2, 'double')
        self.b.expose(seen.append)
        self.b.expose(ts)
        self.assertEqual(self.result(self.q.sum([1, 2])), 3)
        self.assertEqual(self.result(self.q.add(1, 2)), 3)
        self.assertEqual(self.result(self.q.foo.bar.double(4)), 8)
        self.assertIsNone(self.result(self.q.append(5)))
        self.assertEqual(seen, [5])

    def test_self_is_a_keyword_too(self):
        """A task may have any keyword arguments, also one that is named self."""
        self.b.expose(dict)
        calls = [self.q.dict, Task(self.q.dict)]
        self.assertEqual([self.result(call(self=1, queue=2)) for call in calls],
                         [{'self': 1, 'queue': 2}] * 2)

    def test_no_name(self):
        """What has no name that a caller could write is refused, and it is said what to do."""
        for function in (lambda x: x, functools.partial(max, 1)):
            with self.assertRaisesRegex(ValueError, r'has no name .* TaskSpace.task\(callable, '):
                self.b.expose(function)

    def test_decorator(self):
        """expose is a decorator that returns the function."""
        @self.b.expose
        def three():
            return 3
        self.assertEqual(three(), 3)
        self.assertEqual(self.result(self.q.three()), 3)

    def test_conflict_and_replace(self):
        """A name that is taken is refused, and nothing is exposed, unless it may be replaced."""
        ts = TaskSpace()
        ts.task(identity, 'new')
        ts.task(identity, 'sum')
        with self.assertRaisesRegex(ValueError, "'sum' conflicts with existing task"):
            self.b.expose(ts)
        self.assertNotIn('new', self.b.tasks)
        self.b.expose(ts, replace=True)
        self.assertIs(self.b.tasks['sum'], identity)

    def test_named_queues_share_nothing(self):
        """Tasks of one name on two queues of a backend run where they were put."""
        foo, bar = self.broker('foo'), self.broker('bar')
        foo.tasks.update(f=lambda: 'foo')
        bar.tasks.update(f=lambda: 'bar')
        at_foo, at_bar = foo.queue().f(), bar.queue().f()
        self.assertEqual((self.work(foo), self.work(bar)), (1, 1))
        self.assertEqual((at_foo.result(10), at_bar.result(10)), ('foo', 'bar'))


class ResultContract(TestingCalls, BrokerCase):
    """What a Deferred tells before and after its task has run."""

    __test__ = False

    def test_life_of_a_deferred(self):
        """Status, value and repr follow the task from enqueued to success."""
        d = self.q.identity('x')
        self.assertEqual(d.status, const.ENQUEUED)
        self.assertEqual(repr(d), f'<Deferred identity [{self.name}:{d.id}] enqueued>')
        self.assertFalse(d)
        self.assertFalse(d.has_value())
        with self.assertRaisesRegex(AttributeError, '^Deferred value not available$'):
            d.value
        with self.assertRaisesRegex(TimeoutError, 'no result after 0 seconds; explain.. says why'):
            d.result(timeout=0)
        self.work(self.b)
        self.assertFalse(d.has_value(), 'has_value asks nobody')
        self.assertTrue(d.wait(10))
        self.assertTrue(d.has_value())
        self.assertEqual((d.value, d.status, d.exception()), ('x', 'success', None))
        self.assertEqual(repr(d), f'<Deferred identity [{self.name}:{d.id}] success>')

    def test_failure(self):
        """A failed task's value raises a TaskFailure with text, fields and traceback."""
        d = self.q.fail(1)
        self.work(self.b)
        with self.assertRaises(TaskFailure) as caught:
            d.value
        failure = caught.exception
        self.assertEqual(str(failure), f'fail [{self.name}:{d.id}] ValueError: too low')
        self.assertEqual(failure, TaskFailure('fail', self.name, d.id, 'ValueError: too low'))
        self.assertIn("raise ValueError('too low')", failure.traceback)
        self.assertEqual(d.status, 'failed')
        self.assertEqual(repr(d), f'<Deferred fail [{self.name}:{d.id}] failed>')
        self.assertIs(d.exception(), failure)

    def test_reading_a_failure_often_does_not_grow_it(self):
        """A failure that is raised again and again keeps one reader's frames, not all."""
        d = self.q.fail(1)
        self.work(self.b)
        for _ in range(3):
            with self.assertRaises(TaskFailure) as caught:
                d.value
        frames, tb = 0, caught.exception.__traceback__
        while tb is not None:
            frames, tb = frames + 1, tb.tb_next
        self.assertLessEqual(frames, 3)

    def test_any_number_of_readers(self):
        """Deferreds taken up by id, in the same and in another broker, read the same result."""
        d = self.q.identity([1])
        readers = [self.b.deferred(d.id), self.b.deferred(d.id), self.broker().deferred(d.id)]
        self.work(self.b)
        self.assertEqual([r.result(10) for r in readers + [d]], [[1]] * 4)

    def test_unknown_id(self):
        """A Deferred of an id that nobody knows has expired, at once; its status says more."""
        d = self.b.deferred('nobody')
        self.assertEqual((self.b.status(d), self.b.status('nobody')), ('unknown', 'unknown'))
        self.assertEqual(d.status, 'unknown')
        self.assertIn('unknown>', repr(d))
        self.assertTrue(d.wait(10))
        self.assertIsInstance(d.exception(), worq.TaskExpired)
        self.assertIn('task expired before a result was returned; the queue does not know it',
                      str(d.exception()))

    def test_words_of_an_end(self):
        """How a task ended is told by the same word everywhere, before its value is asked for and
        after it, and of what depended on it too."""
        gone, late = self.q.identity(1), Task(self.q.identity, expires=0.001)(1)
        good, bad, after = self.q.identity(1), self.q.fail(1), self.q.identity(gone)
        gone.cancel()
        eventually(lambda: late.status, 'expired')
        self.work(self.b)
        for d, word in [(good, 'success'), (bad, 'failed'), (gone, 'cancelled'),
                        (after, 'cancelled'), (late, 'expired')]:
            again = self.b.deferred(d.id)
            for _ in 'ab':
                self.assertEqual([d.status, self.b.status(d), again.status], [word] * 3)
                self.assertTrue(repr(d).endswith(f' {word}>'), repr(d))
                self.assertIn(word, d.explain())
                d.exception(10)
            self.assertIn(word, const.STATES)

    def test_no_such_task(self):
        """A task that nobody exposes fails with the text of 1.x; a note says what there is."""
        d = self.q.func('arg')
        self.b.backend.join('test-pool', {'unknown_grace': '0'})   # else it waits for another pool
        self.work(self.b)
        failure = d.exception(10)
        self.assertEqual(str(failure), f'func [{self.name}:{d.id}] no such task')
        note, = failure.__notes__
        self.assertRegex(note, r'^this pool has add, .*\w$')
        self.assertIn(note, failure.traceback)
        self.assertTrue(d.explain().endswith(f'failed: no such task; {note}'), d.explain())

    def test_names(self):
        """What cannot be a task's name is refused where it is exposed and where it is called."""
        for name in ['', 'a\nb', 'a\rb', 'caf\udce9', '\x1b[31m', 'a\u2028b', 'x' * 513]:
            with self.subTest(name):
                space = TaskSpace()
                with self.assertRaisesRegex(ValueError, 'invalid task name: '):
                    space.task(len, name)
                with self.assertRaisesRegex(ValueError, 'invalid task name: '):
                    TaskSpace('a\nb').task(len)
                self.assertEqual(space.tasks, {})
                function = type('Function', (), {'__call__': len})()
                function.__name__ = name
                with self.assertRaisesRegex(ValueError, 'invalid task name: '):
                    self.b.expose(function)
                if name:
                    with self.assertRaisesRegex(ValueError, 'invalid task name: '):
                        getattr(self.q, name)(1)
        TaskSpace('a b').task(len, 'caf\xe9' + 'x' * 500)   # as long as it may be

    def test_ignored_result(self):
        """A task whose result is ignored returns None when called, runs, and leaves nothing."""
        seen = []
        self.b.expose(seen.append)
        self.assertIsNone(Task(self.q.append, ignore_result=True)(3))
        self.work(self.b)
        self.assertEqual((seen, len(self.q)), ([3], 0))

    def test_interrupts_fail_the_task(self):
        """KeyboardInterrupt, SystemExit and their like fail the task that raises them."""
        for error, text in [(KeyboardInterrupt(), 'KeyboardInterrupt: '),
                            (SystemExit(3), 'SystemExit: 3'), (GeneratorExit(), 'GeneratorExit: ')]:
            def interrupted(error=error):
                raise error
            self.b.expose(interrupted, replace=True)
            d = self.q.interrupted()
            self.work(self.b)
            self.assertEqual(str(d.exception(10)), f'interrupted [{self.name}:{d.id}] {text}')

    def test_cancel(self):
        """A cancelled task does not run, its dependents fail, and cancelling twice is false."""
        d = self.q.identity(1)
        after = self.q.identity(d)
        self.assertTrue(d.cancel())
        self.assertFalse(d.cancel())
        self.assertEqual(self.work(self.b), 0)
        self.assertIsInstance(d.exception(10), worq.TaskCancelled)
        self.assertEqual(after.exception(10), d.exception())

    def test_cancel_by_id(self):
        """broker.cancel takes an id, as broker.deferred does; anything else is a ValueError."""
        d = self.q.identity(1)
        with self.assertRaisesRegex(ValueError, 'invalid task id: <Deferred '):
            self.b.cancel(d)
        self.assertIs(self.b.cancel('nobody'), False)
        self.assertIs(self.b.cancel(d.id), True)
        self.assertIs(self.b.cancel(d.id), False)

    def test_given_up(self):
        """A task that is given up has expired for its Deferred."""
        d = self.q.identity(1)
        self.b.task_failed(d)
        self.assertTrue(d.wait(10))
        with self.assertRaises(worq.TaskExpired):
            d.value

    def test_negative_timeout(self):
        """A negative timeout is a ValueError."""
        with self.assertRaises(ValueError):
            self.q.identity(1).wait(-1)


class IdContract(TestingCalls, BrokerCase):
    """Ids of the caller's own."""

    __test__ = False

    def test_in_doubt(self):
        """The broker tells whether a call with an id of one's own has been stored."""
        self.assertEqual(self.b.status(self.b.deferred('mine')), 'unknown')
        worq.Task(self.q.identity, id='mine')(1)
        self.assertEqual(self.b.status(self.b.deferred('mine')), 'enqueued')
        self.work(self.b)
        self.assertEqual(self.b.status('mine'), 'success')

    def check(self, id):
        task = Task(self.q.identity, id=id)
        first = task(1)
        error = f'identity [{self.name}:int] cannot enqueue task with duplicate id'
        with self.assertRaises(worq.DuplicateTask) as caught:
            task(2)
        self.assertEqual(str(caught.exception), error)
        delivery = self.b.next_task(0)
        with self.assertRaises(worq.DuplicateTask):
            task(3)
        from worq.pool.run import run
        self.b.backend.settle(self.b.hand, [run(self.b, delivery)])
        again = task(4)
        self.assertEqual(self.result(again), 4)
        self.assertEqual(first.id, 'int')

    def test_string(self):
        """A live task's id is refused to a second one, and free when the task is done."""
        self.check('int')

    def test_function(self):
        """The same holds for an id made of the arguments."""
        self.check(lambda arg: type(arg).__name__)

    def test_an_old_life_is_not_taken_for_the_new_one(self):
        """A Deferred whose id has been used again has expired; it does not read the new result."""
        old = Task(self.q.identity, id='x')('old')
        self.work(self.b)
        new = Task(self.q.identity, id='x')('new')
        self.work(self.b)
        self.assertEqual(new.result(10), 'new')
        self.assertIsInstance(old.exception(10), worq.TaskExpired)


class ArgumentContract(TestingCalls, BrokerCase):
    """Deferreds as arguments."""

    __test__ = False

    def test_nested_anywhere(self):
        """Deferreds in lists, tuples, dicts, sets of attributes and keywords become values."""
        one, two = self.q.identity(1), self.q.identity(2)
        self.b.tasks.update(both=lambda *a, **k: (a, k))
        d = self.q.both([one, (two, {'k': one})], Box(Box(two)), k={'deep': [{'er': two}]})
        self.assertEqual(self.result(d), (
            ([1, (2, {'k': 1})], Box(Box(2))), {'k': {'deep': [{'er': 2}]}}))

    def test_one_result_feeds_many(self):
        """One Deferred several times in a call, and in many calls, is one and the same value."""
        shared = self.q.identity([0])
        several = self.q.identity([shared, shared])
        many = [self.q.add(shared, [n]) for n in range(50)]
        value = self.result(several)
        self.assertEqual(value, [[0], [0]])
        self.assertEqual([d.result(10) for d in many], [[0, n] for n in range(50)])

    def test_completed_argument(self):
        """A Deferred whose value has arrived is an argument like any other."""
        d = self.q.identity(1)
        self.assertEqual(self.result(d), 1)
        self.assertEqual(self.result(self.q.identity([d])), [1])
        self.assertEqual(d.value, 1)

    def test_argument_outlives_its_record(self):
        """A result that has arrived here can be an argument when the queue has forgotten it."""
        d = self.q.identity({'a': 1})
        self.assertEqual(self.result(d), {'a': 1})
        self.assertEqual(self.b.backend.forget([d.id]), ['forgotten'])
        self.assertEqual(self.result(self.q.identity([d, d])), [{'a': 1}] * 2)

    def test_forgotten_argument(self):
        """An argument that nobody knows any more fails the call at once."""
        d = self.q.identity(1)
        self.work(self.b)
        self.b.backend.forget([d.id])
        with self.assertRaises(TaskFailure) as caught:
            self.q.identity(d)
        self.assertIn(f'task [{self.name}:{d.id}] result is not available',
                      str(caught.exception))
        self.assertEqual(len(self.q), 0)

    def test_argument_of_another_process(self):
        """A Deferred taken up by its id can be an argument."""
        d = self.q.identity(7)
        other = self.broker()
        after = other.queue().identity([other.deferred(d.id)])
        self.assertEqual(self.result(after), [7])

    def test_failure_travels_down(self):
        """A failed argument fails its dependents at once, all the way, with the first cause."""
        bad = self.q.fail(0)
        end = bad
        for _ in range(5):
            end = self.q.identity([end, self.q.identity(1)])
        self.work(self.b)
        self.assertEqual(end.exception(10),
                         TaskFailure('fail', self.name, bad.id, 'ValueError: too low'))
        # the dependents have not run: nothing but fail and the five others did
        self.assertEqual(self.q.identity(bad).exception(10), bad.exception())

    def test_pass_hands_the_failure_over(self):
        """With Task.PASS the TaskFailure stands in the place of the value."""
        items = [self.q.identity(1), self.q.fail(0), self.q.identity(2)]
        d = Task(self.q.identity, on_error=Task.PASS)(items)
        failure = TaskFailure('fail', self.name, items[1].id, 'ValueError: too low')
        self.assertEqual(self.result(d), [1, failure, 2])

    def test_pass_by_the_queue(self):
        """on_error may be the default of a queue."""
        q = self.b.queue(on_error=Task.PASS)
        bad = q.fail(1)
        self.b.tasks['text'] = str
        self.assertEqual(self.result(q.text(bad)),
                         f'fail [{self.name}:{bad.id}] ValueError: too low')

    def test_other_queue_is_refused(self):
        """A Deferred of another queue is refused with an error that names both."""
        other = self.broker('other')
        with self.assertRaisesRegex(worq.EncodeError, 'of another queue'):
            self.q.identity([other.queue().identity(1)])
        self.assertEqual(len(self.q), 0)

    def test_a_chain_does_not_keep_its_beginning(self):
        """A Deferred that became an argument no longer keeps its own call's arguments."""
        first = self.q.identity('big')
        self.assertEqual(first.task.args, ('big',))
        second = self.q.identity(first)
        self.assertIsNone(first.task.args)
        self.assertEqual(second.task.args, (first,))

    def test_chain_of_a_thousand(self):
        """A chain of a thousand tasks runs from end to end."""
        d = self.q.identity(0)
        for _ in range(1000):
            d = self.q.add(d, 1)
        self.assertEqual(self.result(d), 1000)

    def test_fan_in_of_ten_thousand(self):
        """A task takes ten thousand results."""
        shared = self.q.identity(1)
        parts = [self.q.identity(shared) for _ in range(200)]
        d = self.q.sum([part for part in parts for _ in range(50)])
        self.assertEqual(self.result(d), 10_000)


class EncodingContract(TestingCalls, BrokerCase):
    """What cannot be serialized."""

    __test__ = False

    def test_argument(self):
        """An argument that cannot be pickled raises where it is passed, and names the place."""
        for bad in [threading.Lock(), lambda: 0, Stubborn(), (x for x in 'generator')]:
            with self.subTest(bad=bad), self.assertRaisesRegex(worq.EncodeError, 'identity'):
                self.q.identity([1, {'key': bad}])
        self.assertEqual(len(self.q), 0)

    def test_result(self):
        """A result that cannot be pickled fails its task, and no other."""
        self.b.tasks['lock'] = threading.Lock
        bad, good = self.q.lock(), self.q.identity(1)
        self.work(self.b)
        self.assertIn('lock', str(bad.exception(10)))
        self.assertIn('EncodeError', bad.exception().error)
        self.assertEqual(good.result(10), 1)

    def test_exception(self):
        """An exception that cannot be pickled or unpickled is a failure like any other."""
        def strange():
            raise Unpicklable(1, threading.Lock())
        self.b.expose(strange)
        d = self.q.strange()
        self.work(self.b)
        self.assertRegex(str(d.exception(10)), 'Unpicklable: 1 and <unlocked')

    def test_exception_without_a_text(self):
        """An exception whose text cannot be made still fails its task."""
        class Mute(Exception):
            def __str__(self):
                raise RuntimeError('no words')

        def mute():
            raise Mute()
        self.b.expose(mute)
        d = self.q.mute()
        self.work(self.b)
        self.assertIn('Mute', d.exception(10).error)

    def test_other_codecs(self):
        """With json and msgpack the same graph gives the same values."""
        for codec in ['json', 'msgpack']:
            with self.subTest(codec=codec):
                b = self.broker(codec, codec=codec)
                b.expose(identity)
                b.expose(operator.add)
                q = b.queue()
                d = q.identity({'sum': q.add(q.identity(1), 2), 'list': [q.identity('x')]})
                self.work(b)
                self.assertEqual(d.result(10), {'sum': 3, 'list': ['x']})


for contract in [ExposeContract, ResultContract, IdContract, ArgumentContract, EncodingContract]:
    on_every_queue(globals(), contract)
del contract
