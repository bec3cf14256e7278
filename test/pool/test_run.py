"""``worq.pool.run``: whatever happens in a task, it comes to one outcome."""
from __future__ import annotations

import asyncio
import os
import threading
import unittest
import warnings
from unittest import mock

import worq
from worq import TaskExpired, TaskFailure
from worq.codec import Codec, Keyring
from worq.core import Broker
from worq.pool.run import Run as Run_, run
from worq.queue.base import Argument, Delivery, unpack
from worq.retry import Memo

NONCE = 'abcdefghijkl'
TOKEN = NONCE.encode() + b'1'


class Bad(Exception):
    """An exception that cannot even say what it is."""

    def __str__(self):
        raise RuntimeError('no text')


class Sly:
    """Pickles well, and cannot be unpickled."""

    def __reduce__(self):
        return explode, ()


def explode():
    raise ValueError('boom')


class Run(unittest.TestCase):
    """Each kind of end, seen as the outcome and as what a reader makes of it."""

    def setUp(self):
        self.broker = worq.get_broker('memory://', f'run-{os.urandom(6).hex()}')
        self.addCleanup(self.broker.close)

    def delivery(self, name, *args, arguments=(), codec=None, **kw):
        """A delivery of a call; a Deferred in the arguments is found in `arguments`."""
        codec = codec or self.broker.codec
        header = name.encode()
        body = codec.encode_call('id', NONCE, header, args, kw,
                                 lambda deferred: (deferred.id, NONCE))
        return Delivery('id', TOKEN, 1, header, body, tuple(arguments))

    def run_(self, function, *args, **kw):
        self.broker.tasks['f'] = function
        outcome = run(self.broker, self.delivery('f', *args, **kw))
        self.assertEqual((outcome.id, outcome.token), ('id', TOKEN))
        return outcome

    def value(self, outcome):
        self.assertEqual(outcome.word, 'value')
        return self.broker.codec.decode_value('id', NONCE, outcome.data)

    def failure(self, outcome, word='failure'):
        self.assertEqual(outcome.word, word)
        failure = self.broker.codec.decode_failure('id', NONCE, outcome.data)
        self.assertEqual((failure.queue, failure.task_id), (self.broker.name, 'id'))
        return failure

    def test_value(self):
        """What the function returns is the value."""
        outcome = self.run_(lambda a, *, b: [a, b], 1, b=2)
        self.assertEqual(self.value(outcome), [1, 2])

    def test_any_exception_is_a_failure(self):
        """Every BaseException fails the task with its name and text, and goes no further."""
        for error in (ValueError('too low'), KeyboardInterrupt(), SystemExit(3),
                      GeneratorExit(), asyncio.CancelledError()):
            def fail(error=error):
                raise error
            failure = self.failure(self.run_(fail))
            self.assertEqual(failure.error, f'{type(error).__name__}: {error}')

    def test_traceback_begins_in_the_task(self):
        """The traceback shows the task's frames, and none of ours."""
        def inner():
            raise ValueError('too low')

        def outer():
            inner()
        trace = self.failure(self.run_(outer)).traceback
        self.assertIn('in outer', trace)
        self.assertIn('in inner', trace)
        self.assertNotIn('in _run', trace)

    def test_exception_without_text(self):
        """An exception whose text cannot be had is named all the same."""
        def fail():
            raise Bad
        self.assertTrue(self.failure(self.run_(fail)).error.startswith('Bad: '))

    def test_next_to_no_memory(self):
        """Where not even that can be told which it has failed with, the least is."""
        def call():
            return self.failure(run(self.broker, self.delivery('f'))).error
        self.broker.tasks['f'] = lambda: 1
        with mock.patch.object(Run_, 'outcome', side_effect=MemoryError):
            self.assertEqual(call(), 'MemoryError: ')
        with mock.patch.object(Codec, 'encode_value', side_effect=MemoryError('no room')):
            self.assertEqual(call(), 'MemoryError: no room')

    def test_attempts_are_counted_in_the_log(self):
        """Who reads the log sees how often a task has been tried."""
        def fail():
            raise ValueError('no')
        self.broker.tasks['f'] = fail
        delivery = self.delivery('f')._replace(header=b'f\nretries 9')
        for attempt in 2, 3:
            with self.assertLogs('worq.pool.run', 'WARNING') as logs:
                outcome = run(self.broker, delivery)
            self.assertIn(f', as attempt {attempt}\n', logs.records[0].getMessage())
            delivery = delivery._replace(memo=outcome.data)

    def test_memo_drops_few(self):
        """Of errors that are too long together, only as many are dropped as have to be."""
        memo = Memo()
        for _ in range(9):
            memo = memo.after('\N{EURO SIGN}' * 490)
        self.assertEqual(len(Memo.decode(memo.encode()).errors), 8)

    def test_coroutine(self):
        """An async function is run to its end."""
        async def later(x):
            await asyncio.sleep(0)
            return x
        self.assertEqual(self.value(self.run_(later, 5)), 5)

    def test_unknown_name(self):
        """A name that is not exposed is refused: another pool may know it. It says what is."""
        def note():
            outcome = run(self.broker, self.delivery('nobody'))
            failure = self.failure(outcome, 'unknown')
            self.assertEqual(failure.error, 'no such task')   # no more, as in 1.x
            note, = failure.__notes__
            self.assertIn(note, failure.traceback)
            return note
        self.broker.tasks.clear()
        self.assertEqual(note(), 'this pool has none')
        self.broker.tasks.update(dict.fromkeys('hgfedcba', len))
        self.assertEqual(note(), 'this pool has a, b, c, d, e, f, g, h')
        self.broker.tasks['i'] = len
        self.assertEqual(note(), 'this pool has a, b, c, d, e, f, g, h, ...')

    # -- groups of exceptions --

    def group(self, *errors, options=None):
        """What becomes of a task that raises a group of these, in a group."""
        def fail():
            raise BaseExceptionGroup('outer', [BaseExceptionGroup('inner', errors)])
        self.broker.expose(fail, replace=True, **(options or {}))
        return run(self.broker, self.delivery('fail'))

    def test_group(self):
        """The text of a group names its members, the first few."""
        error = self.failure(self.group(ValueError('x'), KeyError('y'))).error
        self.assertTrue(error.startswith('ExceptionGroup: outer'), error)
        self.assertTrue(error.endswith("): ValueError: x; KeyError: 'y'"), error)
        error = self.failure(self.group(*map(ValueError, range(9)))).error
        self.assertTrue(error.endswith(': ValueError: 0; ValueError: 1; ValueError: 2; '
                                       'and 6 more'), error)

    def test_group_with_a_cancel(self):
        """A cancel in a group goes before all else: nothing is run again, nor is it an error."""
        late = worq.TaskTimeout('fail', self.broker.name, 'id', 'it took longer')
        with self.assertNoLogs('worq', 'ERROR'):
            outcome = self.group(late, worq.Retry(1), worq.Cancelled('no'), OSError(),
                                 options={'retries': 9})
        error = self.failure(outcome).error
        self.assertTrue(error.startswith('Cancelled: no (in a group with TaskTimeout: '), error)

    def test_group_with_a_limit(self):
        """Then comes the task's own time limit, but not that of another task."""
        late = worq.TaskTimeout('fail', self.broker.name, 'id', 'it took longer')
        other = worq.TaskTimeout('fail', self.broker.name, 'other', 'it took longer')
        failure = self.failure(self.group(worq.Retry(1), other, late))
        self.assertIs(type(failure), worq.TaskTimeout)
        self.assertTrue(failure.error.startswith('it took longer (in a group with Retry: '),
                        failure.error)
        self.assertIs(type(self.failure(self.group(other))), TaskFailure)
        self.assertEqual(self.group(late, ValueError(), options={
            'retries': 1, 'retry_on': worq.TaskTimeout}).word, 'retry')

    def test_group_with_a_retry(self):
        """Then a Retry, and of several the one with the longest pause."""
        outcome = self.group(worq.Retry(2), ValueError('x'), worq.Retry(60), worq.Retry())
        self.assertEqual((outcome.word, outcome.delay), ('retry', 60_000))

    def test_group_and_retry_on(self):
        """Else it is tried again if each member is an error to try again after."""
        options = {'retries': 1, 'retry_on': (OSError, KeyError)}
        self.assertEqual(self.group(OSError(), KeyError(), options=options).word, 'retry')
        self.assertEqual(self.group(OSError(), ValueError(), options=options).word, 'failure')
        for kind, word in [(ExceptionGroup, 'retry'), (BaseExceptionGroup, 'retry'),
                           (Exception, 'retry'), (ValueError, 'failure')]:
            options = {'retries': 1, 'retry_on': kind}
            self.assertEqual(self.group(OSError(), options=options).word, word, kind)
        self.assertEqual(self.group(OSError(), options={'retries': 1}).word, 'retry')
        self.assertEqual(self.group(SystemExit(), OSError(), options={'retries': 1}).word,
                         'failure')

    def test_deep_group(self):
        """A group may be nested deeper than Python's stack."""
        def fail():
            error = ValueError('at the bottom')
            for _ in range(5_000):
                error = ExceptionGroup('', [error])
            raise error
        error = self.failure(self.run_(fail)).error
        self.assertIn('ValueError: at the bottom', error)

    def test_wrong_arguments(self):
        """Arguments that the function does not take fail the task."""
        self.assertIn('TypeError', self.failure(self.run_(lambda: None, 1)).error)

    def test_result_that_cannot_be_encoded(self):
        """The failure says that it is the result, and what in it."""
        failure = self.failure(self.run_(lambda: {'lock': threading.Lock()}))
        self.assertIn('EncodeError: the result', failure.error)
        self.assertIn('lock', failure.error)

    def test_deferred_inside_a_result(self):
        """A Deferred inside a result is no tail call, and fails clearly."""
        q = self.broker.queue()
        failure = self.failure(self.run_(lambda: [q.f()]))
        self.assertIn('EncodeError', failure.error)

    def test_tail_call(self):
        """A Deferred as the result delegates to its task."""
        deferred = self.broker.queue().f()
        outcome = self.run_(lambda: deferred)
        self.assertEqual((outcome.word, outcome.target),
                         ('delegate', Argument(deferred.id, deferred._nonce)))

    def test_tail_call_of_another_queue(self):
        """A Deferred of another queue is no result."""
        with worq.get_broker('memory://', self.broker.name + '-other') as other:
            deferred = other.queue().f()
            failure = self.failure(self.run_(lambda: deferred))
        self.assertIn('another queue', failure.error)

    def test_arguments_that_do_not_load(self):
        """Arguments that cannot be unpickled here fail the task, which does not run."""
        ran = []
        failure = self.failure(self.run_(ran.append, Sly()))
        self.assertIn('boom', failure.error)
        self.assertEqual(ran, [])

    def test_damaged_body(self):
        """A body of random bytes fails the task."""
        self.broker.tasks['f'] = lambda: None
        for body in (b'', b'x', os.urandom(200)):
            outcome = run(self.broker, Delivery('id', TOKEN, 1, b'f', body))
            self.assertIn('UntrustedMessage', self.failure(outcome).error)

    def test_secret_of_somebody_else(self):
        """What is signed with a key unknown here is refused, for another pool may know it."""
        theirs = Codec(self.broker.name, keys=Keyring(['their secret, long enough']))
        ours = Codec(self.broker.name, keys=Keyring(['our own secret, long enough']))
        broker = Broker(self.broker.backend, ours)
        broker.tasks['f'] = lambda: None
        outcome = run(broker, self.delivery('f', codec=theirs))
        self.assertEqual(outcome.word, 'refuse')
        failure = ours.decode_failure('id', NONCE, outcome.data)
        self.assertIn('a key', failure.error)

    def test_header_with_options(self):
        """Only the first line of the header is the name."""
        self.broker.tasks['f'] = lambda: 7
        header = b'f\nlease 3000'
        body = self.broker.codec.encode_call('id', NONCE, header, (), {}, None)
        outcome = run(self.broker, Delivery('id', TOKEN, 1, header, body))
        self.assertEqual(self.value(outcome), 7)

    def passed(self, record):
        """What a task gets for an argument with this outcome on record."""
        deferred = self.broker.queue().g()
        got = []
        outcome = self.run_(got.append, deferred, arguments=[(deferred.id, record)])
        return (got[0] if got else None), outcome

    def test_argument_value(self):
        """A Deferred in the arguments is its value in the task."""
        data = self.broker.codec.encode_value('made-by', 'm' * 12, [1, 2])
        record = NONCE.encode() + b'V' + b'm' * 12 + b'7:made-by' + data
        got, outcome = self.passed(record)
        self.assertEqual(outcome.word, 'value')
        self.assertEqual(got, [1, 2])

    def test_argument_failure(self):
        """A failed argument, of a task that wants it, is the TaskFailure as a value."""
        failure = TaskFailure('g', self.broker.name, 'made-by', 'ValueError: too low')
        data = self.broker.codec.encode_failure('m' * 12, failure)
        record = NONCE.encode() + b'F' + b'm' * 12 + b'7:made-by' + data
        got, _ = self.passed(record)
        self.assertEqual(got, failure)

    def test_argument_expired(self):
        """An argument that expired is a TaskExpired with the text of the queue."""
        got, _ = self.passed(NONCE.encode() + b'xg\nkilled by SIGSEGV (delivery 3 of 3)')
        self.assertIsInstance(got, TaskExpired)
        self.assertEqual((got.task_name, got.error),
                         ('g', 'killed by SIGSEGV (delivery 3 of 3)'))

    def test_argument_that_is_damaged(self):
        """An argument that cannot be read fails the task, and is never handed over."""
        for record in (b'', b'nonsense', NONCE.encode() + b'vnonsense',
                       NONCE.encode() + b'fnonsense'):
            got, outcome = self.passed(record)
            self.assertIsNone(got)
            self.failure(outcome)

    def test_argument_of_another_life(self):
        """The outcome of another life of the argument's id is not taken for the one meant."""
        data = self.broker.codec.encode_value('made-by', 'm' * 12, [1, 2])
        got, outcome = self.passed(b'z' * 12 + b'V' + b'm' * 12 + b'7:made-by' + data)
        self.assertIsNone(got)
        self.assertIn('another life', self.failure(outcome).error)

    def test_argument_that_was_not_delivered(self):
        """A reference to what the queue did not bring fails the task."""
        deferred = self.broker.queue().g()
        failure = self.failure(self.run_(lambda x: x, deferred))
        self.assertIn('not delivered', failure.error)

    def test_warnings_as_errors(self):
        """A warning made an error within the task is like any exception."""
        def warn():
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                warnings.warn('old', DeprecationWarning, stacklevel=1)
        self.assertEqual(self.failure(self.run_(warn)).error, 'DeprecationWarning: old')

    def test_deep_recursion(self):
        """A task that recurses without end fails, and its thread goes on."""
        def deep():
            return deep()
        self.assertIn('RecursionError', self.failure(self.run_(deep)).error)

    def test_on_the_queue(self):
        """An outcome is one that the queue takes: value and failure are read back by callers."""
        self.broker.tasks['f'] = lambda x: 1 / x
        q = self.broker.queue()
        good, bad = q.f(2), q.f(0)
        for delivery in self.broker.backend.take('pool', 2):
            self.broker.backend.settle('pool', [run(self.broker, delivery)])
        self.assertEqual(good.result(10), 0.5)
        self.assertEqual(bad.exception(10).error, 'ZeroDivisionError: division by zero')
        self.assertEqual(unpack(self.broker.backend.results([good.id])[0]).kind, b'v')
