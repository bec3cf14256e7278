"""Retries: the pure functions, the options, and what a worker makes of an error."""
from __future__ import annotations

from datetime import UTC, datetime, timedelta
import os
import unittest

from hypothesis import HealthCheck, given, settings, strategies as st

import worq
from worq import Task, TaskSpace, const, retry
from worq.codec import Codec, Keyring
from worq.current import Control, current_task
from worq.pool.run import run
from worq.queue.base import Delivery
from worq.retry import Memo, Policy

NONCE = 'abcdefghijkl'


class Odd(Exception):
    """An error of this test."""


class Odder(Odd):
    """One that derives from it."""


# -- policies -----------------------------------------------------------------------------


def test_headers():
    """A policy comes back from the header as it was, in the measure that it travels in."""
    policy = retry.checked(retries=3, backoff=(0, 1.5, 3600), retry_on=(Odd, OSError), timeout=2)
    header = b'a.task\nlease 3000' + retry.lines(policy)
    assert header == (b'a.task\nlease 3000\nretries 3\nbackoff 0 1.5 3600\n'
                      b'retry_on test.test_retry.Odd builtins.OSError\ntimeout 2000'), header
    assert retry.parse(header) == policy
    assert retry.parse(b'a.task') == Policy()
    assert retry.parse(b'retries\nretries 3') == Policy(retries=3)   # a task of that name
    assert retry.lines(Policy()) == b''
    assert retry.parse(b'f' + retry.lines(Policy(retry_on=()))).retry_on == ()
    assert retry.parse(b'f' + retry.lines(Policy(timeout=0.0001))).timeout == 0.001


def test_header_of_a_function():
    """A backoff function is tabulated: as many attempts as there are retries, 100 at most."""
    for retries, entries in [(3, 3), (0, 1), (None, 20), (1000, 100)]:
        policy = retry.checked(retries=retries, backoff=lambda attempt: attempt * 2)
        found = retry.parse(b'f' + retry.lines(policy)).backoff
        assert found == tuple(2 * n for n in range(1, entries + 1)), found


def test_damaged_header():
    """What nobody here has written counts as not said."""
    for line in [b'retries x', b'retries', b'backoff soon', b'timeout -', b'retries 1\xff']:
        assert retry.parse(b'f\n' + line) == Policy()


def test_merged():
    """The call has the first word, the definition the second, each for its own fields."""
    call, definition = Policy(retries=0, timeout=5), Policy(retries=3, backoff=1, retry_on=())
    assert retry.merged(call, definition) == Policy(0, 1, (), 5)
    assert retry.merged(call, None) == call


def test_default_backoff():
    """Pauses double from a second to five minutes, and equal failures spread."""
    low = [retry.pause(None, n, 0) for n in range(1, 12)]
    high = [retry.pause(None, n, 1) for n in range(1, 12)]
    assert high == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert low == [each / 2 for each in high]
    assert retry.pause(None, 10_000, 0.5) == 225


def test_given_backoff():
    """Seconds are taken as they are; the last of a sequence repeats."""
    assert [retry.pause(3, n, 0.7) for n in (1, 2, 9)] == [3, 3, 3]
    assert [retry.pause((1, 5), n, 0.7) for n in (1, 2, 9)] == [1, 5, 5]
    assert [retry.pause(lambda n: n * n, n, 0.7) for n in (1, 2, 9)] == [1, 4, 81]


def test_wanted():
    """By default each Exception is worth another attempt; else what is named, or derives."""
    anything, some = Policy(), retry.checked(retry_on=(Odd, SystemExit))
    cases = [(Odd(), True, True), (Odder(), True, True), (ValueError(), True, False),
             (SystemExit(1), False, True), (KeyboardInterrupt(), False, False),
             (MemoryError(), True, False)]
    for error, by_default, by_name in cases:
        assert retry.wanted(anything, error) is by_default, error
        assert retry.wanted(some, error) is by_name, error
    Main = type('Main', (Exception,), {'__module__': '__main__'})
    Child = type('Main', (Exception,), {'__module__': '__mp_main__'})  # the same, in a child
    assert retry.wanted(retry.checked(retry_on=Main), Child())


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=700), max_size=30))
def test_memos(errors):
    """A memo keeps count of all errors and the newest ten, a line each, within its bytes."""
    memo = Memo()
    for error in errors:
        memo = memo.after(error)
    data = memo.encode()
    assert len(data) <= const.MEMO - 1000, len(data)
    again = Memo.decode(data)
    assert again.attempts == len(errors)
    kept = len(again.errors)
    assert kept <= 10
    assert again.errors == memo.errors[len(memo.errors) - kept:]
    assert kept >= min(len(errors), 6)
    for line, error in zip(reversed(again.errors), reversed(errors)):
        assert len(line) <= 500 and len(line.splitlines()) <= 1
        assert ' '.join(error.split()).startswith(line[:400])
    shown = again.lines()
    assert len(shown) == kept + (kept < len(errors))
    if errors:
        assert shown[-1].startswith(f'attempt {len(errors)}: ')


def test_memo_of_anything():
    """A surrogate half goes through a memo like any letter."""
    memo = Memo().after('half \udcff')
    assert Memo.decode(memo.encode()) == memo


def test_no_memo():
    """What is no memo raises ValueError."""
    for data in [b'', b'{}', b'["x"]', b'[1, 2]', b'\xff', b'3']:
        with unittest.TestCase().assertRaises(ValueError):
            Memo.decode(data)


# -- options ------------------------------------------------------------------------------


class Options(unittest.TestCase):
    """Mistakes are told at the call or the definition, by the option's name."""

    def setUp(self):
        self.broker = worq.get_broker('memory://', f'test-{os.urandom(6).hex()}')
        self.q = self.broker.queue()

    def test_senseless(self):
        """An option that makes no sense names itself and what is allowed."""
        naive = datetime(2040, 1, 1)
        for options, allowed in [
                ({'retries': -1}, 'whole number from 0'), ({'retries': 1.5}, 'whole number'),
                ({'retries': True}, 'whole number'), ({'retries': '3'}, 'whole number'),
                ({'backoff': -1}, 'seconds'), ({'backoff': []}, 'sequence'),
                ({'backoff': [1, 'x']}, 'sequence'), ({'backoff': 'fast'}, 'function'),
                ({'backoff': float('nan')}, 'seconds'), ({'backoff': float('inf')}, 'seconds'),
                ({'backoff': [1] * 101}, '1 to 100'),
                ({'retry_on': ValueError()}, 'exception type'), ({'retry_on': int}, 'type'),
                ({'retry_on': 'ValueError'}, 'type'), ({'retry_on': [ValueError]}, 'tuple'),
                ({'timeout': 0}, 'above 0'), ({'timeout': '5'}, 'seconds'),
                ({'timeout': float('nan')}, 'seconds'),
                ({'expires': 0}, 'above 0'), ({'expires': 'soon'}, 'seconds'),
                ({'eta': 5}, 'time zone'), ({'eta': naive}, 'time zone')]:
            name, = options
            for make in [lambda: Task(self.q.f, **options),   # noqa: B023
                         lambda: self.broker.queue(**options)]:   # noqa: B023
                with self.subTest(options=options), \
                        self.assertRaisesRegex(ValueError, f'invalid {name}: .*{allowed}'):
                    make()

    def test_unknown(self):
        """An option that does not exist is named, with those that do."""
        for make in [lambda: Task(self.q.f, retry=3), lambda: self.broker.queue(retry=3),
                     lambda: Task(self.q.f).with_options(retry=3)]:
            with self.assertRaisesRegex(TypeError, "unknown task option: 'retry'; .*retries"):
                make()

    def test_definitions(self):
        """A definition takes four options, checks them, and refuses those of calls."""
        space = TaskSpace('space')
        for options in [{'retries': -1}, {'backoff': 'x'}, {'retry_on': 3}, {'timeout': 0}]:
            name, = options
            with self.assertRaisesRegex(ValueError, f'invalid {name}'):
                space.task(**options)
        for options in [{'priority': 'high'}, {'expires': 5}, {'ignore_result': True}, {'x': 1}]:
            name, = options
            with self.assertRaisesRegex(
                    TypeError, f"'{name}' is no option of a definition; there are retries, "):
                space.task(**options)
            with self.assertRaisesRegex(TypeError, 'no option of a definition'):
                self.broker.expose(run, **options)
            with self.assertRaisesRegex(TypeError, 'no option of a definition'):
                self.broker.expose(space, **options)
        with self.assertRaisesRegex(TypeError, 'where they are defined'):
            self.broker.expose(space, retries=3)
        self.assertEqual(space.tasks, {})

    def test_definitions_are_kept(self):
        """A space keeps what its tasks are defined with, and a broker what it exposes."""
        with self.assertRaisesRegex(ValueError, 'invalid retries'):
            self.broker.expose(retries=-1)
        space = TaskSpace('space')

        @self.broker.expose(retries=1)
        def g():
            return 8
        self.assertEqual((g(), self.broker.tasks.pop('g')), (8, g))
        self.assertEqual(self.broker.defaults.pop('g'), Policy(1))

        @space.task(retries=3, timeout=5, retry_on=(Odd,))
        def f():
            return 7
        space.task(run, 'plain')
        self.assertEqual(f(), 7)   # unchanged
        policy = Policy(3, None, ('test.test_retry.Odd',), 5)
        self.assertEqual(space.defaults, {'space.f': policy})
        self.broker.expose(space)
        self.broker.expose(f, backoff=1)
        self.assertEqual(self.broker.defaults, {'space.f': policy, 'f': Policy(backoff=1)})
        self.broker.expose(f, replace=True)   # its options went with the old one
        self.assertEqual(self.broker.defaults, {'space.f': policy})

    def test_two_ways_to_say_when(self):
        """delay and eta together are refused; one of them replaces the other as a default."""
        eta = datetime.now(UTC) + timedelta(hours=1)
        with self.assertRaisesRegex(ValueError, 'delay and eta'):
            Task(self.q.f, delay=1, eta=eta)
        later = self.broker.queue(delay=5)
        self.assertEqual((Task(later.f, eta=eta).delay, Task(later.f, eta=eta).eta), (0, eta))
        at = self.broker.queue(eta=eta)
        self.assertEqual((Task(at.f, delay=5).delay, Task(at.f, delay=5).eta), (5, None))

    def test_too_late_before_it_is_due(self):
        """A task that would expire before it is due is refused at the call."""
        with self.assertRaisesRegex(ValueError, 'invalid expires'):
            Task(self.q.f, delay=10, expires=10)
        task = Task(self.q.f, eta=datetime.now(UTC) + timedelta(seconds=60), expires=30)
        with self.assertRaisesRegex(ValueError, 'invalid expires'):
            task()
        self.assertEqual(len(self.q), 0)

    def test_bad_backoff_function(self):
        """A backoff function that returns nonsense is told of at the call, which puts nothing."""
        with self.assertRaisesRegex(ValueError, 'invalid backoff: the function, called with the '
                                                'attempt 1, raised TypeError'):
            Task(self.q.f, retries=2, backoff=lambda: 3)()
        for value in [-1, None, 'x', float('inf')]:
            with self.assertRaisesRegex(ValueError, 'invalid backoff: the function returned'):
                Task(self.q.f, retries=2, backoff=lambda attempt: value)()   # noqa: B023
        self.assertEqual(len(self.q), 0)

    def test_eta(self):
        """An eta schedules; one that is past is due now."""
        soon = datetime.now(UTC) + timedelta(hours=1)
        self.assertEqual(Task(self.q.f, eta=soon)().status, const.SCHEDULED)
        self.assertEqual(Task(self.q.f, eta=datetime(2000, 1, 1, tzinfo=UTC))().status,
                         const.ENQUEUED)
        del self.q[:]

    def test_told(self):
        """A Task tells what it was given."""
        task = Task(self.q.f, retries=3, backoff=[1, 2], retry_on=Odd, timeout=5, expires=9)
        self.assertEqual((task.retries, task.backoff, task.retry_on, task.timeout, task.expires),
                         (3, [1, 2], Odd, 5, 9))
        self.assertEqual(task.with_options(retries=1).timeout, None)


# -- what a worker makes of an error ------------------------------------------------------


class Watched(Control):
    """A control that notes what it is told."""

    def __init__(self, error=None):
        self.begun = []
        self.ended = 0
        self.error = error

    def begin(self, task, limit, will):
        self.begun.append((task, limit, will))
        if self.error:
            raise task.stop(*self.error)

    def complete(self, coroutine):
        raise NotImplementedError

    def end(self):
        self.ended += 1


class Attempts(unittest.TestCase):
    """One delivery after the other, by hand."""

    def setUp(self):
        self.broker = worq.get_broker('memory://', f'test-{os.urandom(6).hex()}')
        self.broker.codec = Codec(self.broker.name, keys=Keyring(['a secret, long enough']))
        self.memo = b''

    def attempt(self, function, control=None, header=b'', args=(), **options):
        """One delivery: (outcome, failure or None); a retry's memo goes to the next one."""
        self.broker.tasks['f'] = function
        header = b'f' + header + retry.lines(retry.checked(**options))
        body = self.broker.codec.encode_call('id', NONCE, header, args, {}, None)
        delivery = Delivery('id', NONCE.encode() + b'1', 1, header, body, (), self.memo)
        outcome = run(self.broker, delivery, *([control] if control else []))
        failure = None
        if outcome.word == 'retry':
            self.memo = outcome.data
        elif outcome.word != 'value':
            failure = self.broker.codec.decode_failure('id', NONCE, outcome.data)
        return outcome, failure

    def raising(self, *errors):
        """A function that raises these, one by one."""
        errors = list(errors)

        def function():
            raise errors.pop(0)
        return function

    def test_retries(self):
        """It is run again as often as asked for; then it fails, with the last error, the number
        of attempts, and the errors of them all."""
        f = self.raising(ValueError('too\nlow'), KeyError('x'), Odd('odd'))
        for delay in (1500, 3000):
            outcome, _ = self.attempt(f, retries=2, backoff=[1.5, 3])
            self.assertEqual((outcome.word, outcome.delay), ('retry', delay))
        outcome, failure = self.attempt(f, retries=2, backoff=[1.5, 3])
        self.assertEqual(outcome.word, 'failure')
        self.assertEqual(failure.error, 'Odd: odd (attempt 3 of 3)')
        self.assertIn("attempt 1: ValueError: too low\nattempt 2: KeyError: 'x'\n"
                      'attempt 3:\nTraceback', failure.traceback)

    def test_no_retries(self):
        """Without retries a failure says what it always did."""
        for options in [{}, {'retries': 0}, {'backoff': 1}]:
            _, failure = self.attempt(self.raising(ValueError('too low')), **options)
            self.assertEqual(str(failure), f'f [{self.broker.name}:id] ValueError: too low')
            self.assertTrue(failure.traceback.startswith('Traceback'))

    def test_only_what_is_wanted(self):
        """An error that is not among retry_on fails at once, and says which attempt it was."""
        f = self.raising(Odder('once'), ValueError('fatal'))
        self.assertEqual(self.attempt(f, retries=5, retry_on=Odd)[0].word, 'retry')
        _, failure = self.attempt(f, retries=5, retry_on=Odd)
        self.assertEqual(failure.error, 'ValueError: fatal (attempt 2 of 6)')

    def test_never(self):
        """No attempt follows a cancel, nor the end of a program unless it is asked for."""
        for error in [worq.Cancelled(), SystemExit(2), KeyboardInterrupt(), GeneratorExit()]:
            self.assertEqual(self.attempt(self.raising(error), retries=5)[0].word, 'failure')
        everything = {'retries': 5, 'retry_on': BaseException}
        self.assertEqual(self.attempt(self.raising(SystemExit()), **everything)[0].word, 'retry')
        self.assertEqual(self.attempt(self.raising(worq.Cancelled()), **everything)[0].word,
                         'failure')

    def test_not_what_cannot_be_sent_or_read(self):
        """A result that cannot be encoded, and arguments that cannot be read, do not get better."""
        outcome, failure = self.attempt(lambda: lambda: None, retries=5)
        self.assertEqual(outcome.word, 'failure')
        self.assertIn('EncodeError', failure.error)
        self.broker.tasks['f'] = len
        outcome = run(self.broker, Delivery('id', NONCE.encode() + b'1', 1, b'f\nretries 5', b'?'))
        self.assertEqual(outcome.word, 'failure')

    def test_asked_for(self):
        """A task that raises Retry is run again, after the delay it names or its backoff."""
        f = self.raising(worq.Retry(delay=7), worq.Retry(), worq.Retry(), ValueError('no'))
        self.assertEqual(self.attempt(f)[0].delay, 7000)
        self.assertEqual(self.attempt(f, backoff=2)[0].delay, 2000)
        self.assertLessEqual(2000, self.attempt(f)[0].delay)
        _, failure = self.attempt(f)
        self.assertEqual(failure.error, 'ValueError: no (attempt 4)')

    def test_asked_for_too_often(self):
        """Retry counts as an attempt, whatever retry_on says; the last one is the failure."""
        f = self.raising(worq.Retry(), worq.Retry(reason='the disk is full'))
        self.assertEqual(self.attempt(f, retries=1, retry_on=Odd)[0].word, 'retry')
        _, failure = self.attempt(f, retries=1, retry_on=Odd)
        self.assertEqual(failure.error, 'Retry: the disk is full (attempt 2 of 2)')
        _, failure = self.attempt(self.raising(worq.Retry()), retries=0)
        self.assertIn('Retry', failure.error)

    def test_long_delay(self):
        """A pause of ages is a mistake, and fails the task."""
        def f():
            raise worq.Retry(delay=1e12)
        outcome, failure = self.attempt(f)
        self.assertEqual(outcome.word, 'failure')
        self.assertIn('ValueError: invalid delay: 1000000000000.0; it is at most', failure.error)
        outcome, _ = self.attempt(self.raising(worq.Retry(delay=const.SPAN)))
        self.assertEqual(outcome.delay, const.SPAN * 1000)

    def test_definition(self):
        """The definition's policy holds, field by field, where the call says nothing."""
        self.broker.defaults['f'] = retry.checked(retries=1, backoff=lambda n: n * 5)
        f = self.raising(Odd(), Odd(), Odd())
        self.assertEqual(self.attempt(f)[0].delay, 5000)
        self.assertEqual(self.attempt(f, retries=2)[0].delay, 10000)
        self.memo = b''
        self.assertEqual(self.attempt(f, retries=0)[0].word, 'failure')

    def test_backoff_that_fails(self):
        """A definition whose backoff function fails costs the task nothing but the default."""
        for function in [lambda attempt: 1 / 0, lambda attempt: -5]:
            self.broker.defaults['f'] = retry.checked(retries=3, backoff=function)
            with self.assertLogs('worq.pool.run', 'ERROR'):
                outcome, _ = self.attempt(self.raising(Odd()))
            self.memo = b''
            self.assertEqual(outcome.word, 'retry')
            self.assertTrue(500 <= outcome.delay <= 1000)

    def test_attempt(self):
        """A task knows which attempt it is."""
        def f():
            raise Odd(current_task().attempt)
        for n in (1, 2):
            self.attempt(f, retries=2, backoff=0)
        _, failure = self.attempt(f, retries=2)
        self.assertEqual(failure.error, 'Odd: 3 (attempt 3 of 3)')

    def test_memo_of_somebody_else(self):
        """A memo that was not signed for this life of the task is not believed."""
        other = Codec(self.broker.name, keys=Keyring(['another secret, long enough']))
        for memo, word in [(b'x', 'failure'), (other.encode_memo('id', NONCE, b'[1]'), 'refuse'),
                           (self.broker.codec.encode_memo('other', NONCE, b'[1]'), 'failure')]:
            self.memo = memo
            outcome, failure = self.attempt(lambda: 1, retries=1)
            self.assertEqual(outcome.word, word)
            self.assertIn('memo', failure.error)

    def test_limit(self):
        """The pool is told of the limit, and of what to say should it have to kill."""
        control = Watched()
        outcome, _ = self.attempt(lambda: 1, control, timeout=2.5)
        (task, limit, will), = control.begun
        self.assertEqual((outcome.word, limit, control.ended), ('value', 2.5, 1))
        self.assertEqual((will.id, will.token, will.word), ('id', NONCE.encode() + b'1', 'failure'))
        failure = self.broker.codec.decode_failure('id', NONCE, will.data)
        self.assertIs(type(failure), worq.TaskTimeout)
        self.assertEqual(failure.error, 'it took longer than its limit of 2.5 seconds')
        self.assertGreater(task.deadline, 0)

    def test_no_limit(self):
        """Without a limit there is no will."""
        control = Watched()
        self.attempt(lambda: 1, control)
        self.assertEqual(control.begun[0][1:], (None, None))
        self.assertIsNone(control.begun[0][0].deadline)

    def test_limit_and_retries(self):
        """The will of a task with retries is a retry, until the last attempt."""
        for n in (1, 2):
            control = Watched()
            self.attempt(lambda: 1, control, timeout=2, retries=2, backoff=4)
            will = control.begun[0][2]
            self.assertEqual((will.word, will.delay), ('retry', 4000))
            self.memo = will.data
        control = Watched()
        self.attempt(lambda: 1, control, timeout=2, retries=2)
        failure = self.broker.codec.decode_failure('id', NONCE, control.begun[0][2].data)
        self.assertIs(type(failure), worq.TaskTimeout)
        self.assertIn('(attempt 3 of 3)', failure.error)
        self.assertIn('attempt 1: TaskTimeout: it took longer', failure.traceback)
        control = Watched()   # not worth it
        self.memo = b''
        self.attempt(lambda: 1, control, timeout=2, retries=2, retry_on=Odd)
        self.assertEqual(control.begun[0][2].word, 'failure')
        control = Watched()   # worth it by its own name
        self.attempt(lambda: 1, control, timeout=2, retries=2, retry_on=worq.TaskTimeout)
        self.assertEqual(control.begun[0][2].word, 'retry')

    def test_timeout_raised(self):
        """A TaskTimeout that the pool raises in the task is the task's failure, of that type."""
        control = Watched(('timeout', 'it took longer than its limit of 2 seconds'))
        _, failure = self.attempt(lambda: 1, control, timeout=2)
        self.assertIs(type(failure), worq.TaskTimeout)
        self.assertEqual(str(failure), f'f [{self.broker.name}:id] it took longer than its limit '
                                       'of 2 seconds')
        self.assertGreater(control.ended, 0)

    def test_timeout_of_another_task(self):
        """A TaskTimeout of another task, that this one waited for, is an error like others."""
        other = worq.TaskTimeout('g', 'q', 'other', 'it took longer')
        _, failure = self.attempt(self.raising(other))
        self.assertIs(type(failure), worq.TaskFailure)
        self.assertEqual(failure.error, 'TaskTimeout: g [q:other] it took longer')

    def test_cancelled(self):
        """A task that is cancelled is told of in one line, without alarm."""
        with self.assertLogs('worq.pool.run', 'INFO') as logs:
            outcome, _ = self.attempt(lambda: 1, Watched(('cancelled',)), retries=3)
        self.assertEqual(outcome.word, 'failure')
        self.assertEqual([(r.levelname, '\n' in r.getMessage()) for r in logs.records],
                         [('INFO', False)])

    def test_chunk(self):
        """A chunk is tried again as a whole."""
        ran = []

        def f(n):
            ran.append(n)
            if len(ran) < 4:
                raise Odd
            return n
        chunk = {'header': const.CHUNK, 'args': [(1,), (2,)], 'retries': 5, 'backoff': 0}
        while (outcome := self.attempt(f, **chunk)[0]).word == 'retry':
            pass
        self.assertEqual(self.broker.codec.decode_value('id', NONCE, outcome.data), [1, 2])
        self.assertEqual(ran, [1, 1, 1, 1, 2])

    def test_chunk_of_coroutines(self):
        """The coroutines of a chunk are run, one after the other."""
        async def f(n):
            return n + 1
        outcome, _ = self.attempt(f, header=const.CHUNK, args=[(1,), (2,)])
        self.assertEqual(self.broker.codec.decode_value('id', NONCE, outcome.data), [2, 3])
