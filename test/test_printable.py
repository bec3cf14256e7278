"""What people see can be printed, on one line where a line is promised; and readers never raise."""
from __future__ import annotations

import copy
import json
import logging
import unittest
from datetime import timedelta
from pathlib import Path
from unittest import mock

import redis as client_of

import worq
from test import support
from test.support import eq_
from worq import (
    DecodeError, QueueError, Task, TaskExpired, TaskFailure, explain, printable, retry, testing,
)
from worq.pool import run
from worq.pool.thread import pool as thread
from worq.progress import Progress
from worq.queue.base import Held
from worq.queue.redis import repair, queue as redis

RAW = 'a\nb\r\x1b[31m\x07\x00\u202e\u2028\ud800z'
PLAIN = r'a\nb\r\x1b[31m\x07\x00\u202e\u2028\ud800z'


class Words(unittest.TestCase):

    def test_line(self) -> None:
        """Each character that moves a cursor is an escape; all others stay."""
        eq_(printable.line(RAW), PLAIN)
        text = 'Grüße, 1\u00a0000 \u20ac \U0001f600 \u4e2d'
        eq_(printable.line(text), text)
        eq_(printable.line('x' * 300, 200), 'x' * 200 + '...')
        eq_(printable.line(5), '5')

    def test_unescaped(self) -> None:
        """What is shown of a text leads back to it."""
        for text in [RAW, 'ü\x1b', '\U0010ffff\t', 'plain', 'a\\', 'a\\xz', '\\U7fffffff', '']:
            eq_(printable.unescaped(printable.line(text)), text)

    def test_lines(self) -> None:
        """Of several lines each stays a line, and tabs stay."""
        eq_(printable.lines('a\n\tb\x1b\n'), 'a\n\tb\\x1b\n')

    def test_long(self) -> None:
        """Of millions of characters that cannot be printed some are shown: each costs time."""
        for function in printable.line, printable.lines:
            text = function('b' + '\x00' * 10 ** 6 + 'e')
            self.assertLess(len(text), 5 * printable.LONG)
            self.assertTrue(text.startswith('b') and text.endswith('e') and text.isprintable())
            left_out = 10 ** 6 + 2 - printable.LONG
            self.assertTrue(f'{left_out:,} characters left out' in text)   # it is long itself
        for text in 'x' * 10 ** 6, '\n' * 10 ** 6:   # nothing has to be looked at one by one
            self.assertIs(printable.lines(text), text)


class Errors(unittest.TestCase):

    def test_failure(self) -> None:
        """The text of a failure is one line, whatever its fields are."""
        failure = TaskFailure('name\n', 'q', RAW, RAW)
        eq_((failure.task_id, failure.error), (RAW, RAW))
        eq_(str(failure), rf'name\n [q:{PLAIN}] {PLAIN}')
        self.assertTrue(repr(failure).isprintable())
        eq_(copy.copy(failure).args, ('name\n', 'q', RAW, RAW))

    def test_others(self) -> None:
        """Other errors may have several lines, each of which can be printed."""
        for kind in QueueError, DecodeError:
            eq_(str(kind('two\nlines \x1b[0m')), 'two\nlines \\x1b[0m')


class Logs(unittest.TestCase):

    def setUp(self) -> None:
        self.log = printable.logger('worq.test_printable')
        self.lines: list[str] = []
        handler = logging.Handler()
        handler.emit = lambda record: self.lines.append(   # type: ignore[method-assign]
            handler.format(record))
        self.log.addHandler(handler)
        self.log.propagate = False
        self.log.setLevel(logging.DEBUG)   # whatever others have set for all of them
        self.addCleanup(self.log.removeHandler, handler)

    def test_message(self) -> None:
        """What is put into a message stays on its line."""
        self.log.warning('the task %s is gone: %s', RAW, ValueError(RAW))
        self.log.warning('%d of %s', 3, 'four')
        self.log.warning('two:\n%s', 'a\nb\x1b')
        eq_(self.lines, [f'the task {PLAIN} is gone: {PLAIN}', '3 of four', 'two:\na\nb\\x1b'])

    def test_traceback(self) -> None:
        """A traceback has its lines, and what an exception says can be printed."""
        try:
            raise ValueError('beep \x07')
        except ValueError:
            self.log.exception('oh')
        self.assertTrue(self.lines[0].startswith('oh\nTraceback'))
        self.assertTrue(self.lines[0].endswith('ValueError: beep \\x07'))

    def test_all(self) -> None:
        """Every logger of WorQ is one of these."""
        modules = [path for path in Path(worq.__file__).parent.rglob('*.py')
                   if 'logging.getLogger' in path.read_text('utf-8')]
        eq_([path.name for path in modules], ['printable.py'])
        for log in repair.log, redis.log, run.log, thread.log:
            with self.assertLogs(log) as logs:
                log.error('%s', RAW)
            eq_(logs.records[0].getMessage(), PLAIN)

    def test_run(self) -> None:
        """A task that fails with any text is a line of the log, and its traceback follows."""
        broker = worq.get_broker('memory://', support.unique())
        broker.expose(self.fail_so, replace=True)
        deferred = worq.Task(broker.queue().fail_so, id=f'id {RAW[:-2]}')()
        with self.assertLogs(run.log) as logs, thread.WorkerPool(broker, workers=1):
            error = deferred.exception(timeout=30)
        eq_(error and error.error, f'ValueError: {PLAIN}')
        first = logs.records[0].getMessage().split('\n')[0]
        self.assertIn('ValueError: a\\nb', first)
        self.assertTrue(first.isprintable())
        self.assertTrue(repr(deferred).isprintable())

    def test_many(self) -> None:
        """Of a huge group or chain of exceptions, or a deep one, the first few are shown."""
        logging.disable(logging.CRITICAL)
        self.addCleanup(logging.disable, logging.NOTSET)

        def wide() -> None:
            raise ExceptionGroup('wide', [ValueError(n) for n in range(5_000)])

        def deep() -> None:
            error: Exception = ValueError('the innermost')
            for n in range(5_000):
                error = ExceptionGroup(str(n), [error])
            raise error

        def chain() -> None:
            error = None
            for n in range(5_000):
                other = ValueError(n)
                other.__cause__, error = error, other
            assert error is not None
            raise error
        with testing.Bench(wide, deep, chain) as bench, \
                mock.patch.object(retry, 'name_of', wraps=retry.name_of) as named:
            for name, word in ('wide', 'a member'), ('deep', 'a member'), ('chain', 'the cause'):
                d = Task(getattr(bench.queue, name), retries=2, retry_on=ValueError, backoff=0)()
                bench.run()
                error = d.exception(0)
                assert error is not None
                self.assertIn('attempt 3 of 3', error.error)
                self.assertIn(f'{word}:\nTraceback', error.traceback)
                self.assertTrue(error.traceback.endswith('too many to be shown\n'))
                self.assertLess(len(error.traceback), 5_000)
            self.assertLess(named.call_count, 100)

    @staticmethod
    def fail_so() -> None:
        raise ValueError(RAW)


class Readers(unittest.TestCase):

    def setUp(self) -> None:
        self.url, self.name = support.redis_url(), support.unique()
        self.addCleanup(support.clean, self.url, self.name)
        self.broker = worq.get_broker(self.url, self.name)
        self.addCleanup(self.broker.close)
        self.client = client_of.Redis.from_url(self.url)
        self.addCleanup(self.client.close)

    def test_progress(self) -> None:
        """Progress may be any bytes: it is none then, and explain() goes on."""
        one = self.broker.queue().len('x')
        held, = self.broker.backend.take('p', 1)
        key = f'worq:{{{self.name}}}:t:{one.id}'
        for raw in [b'5', b'null', b'[1, 2]', b'{}', b'[[],[],[]]', b'[' * 100_000, b'\xff',
                    b'[1e999, NaN, "x"]', b'[' + b'9' * 400 + b', 2, ""]', b'[1, 2, 3]',
                    json.dumps([1, 2, RAW]).encode(), b'[true, false, ""]', b'"' * 10]:
            with self.subTest(raw[:30]):
                self.client.hset(key, 'j', raw)
                told = one.explain()
                self.assertIn('processing', told)
                self.assertTrue(all(part.isprintable() for part in told.split('\n')), told)
                self.assertIsInstance(one.progress, Progress | None)
        self.broker.backend.beat('p', [Held(one.id, held.token, Progress(1, 2, 'half').encode())])
        self.assertIn('50 %', one.explain())

    def test_verdict(self) -> None:
        """What the record of an outcome says that nobody has signed is shown on a line."""
        one = self.broker.queue().len('x')
        self.broker.backend.take('p', 1)
        key = f'worq:{{{self.name}}}:t:{one.id}'
        self.client.hset(key, mapping={'s': 'c', 'r': f'{one._nonce}xna\x1bme\nwhy\x07\nnot'})
        error = one.exception()
        self.assertIsInstance(error, TaskExpired)
        self.assertTrue(str(error).isprintable(), str(error))
        self.assertTrue(error and error.error.isprintable())
        self.assertTrue(all(part.isprintable() for part in one.explain().split('\n')))

    def test_damaged(self) -> None:
        """A record of another type, and one without a state, are told of as damaged."""
        one = self.broker.queue().len('x' * 100)
        key = f'worq:{{{self.name}}}:'
        with mock.patch.object(self.broker.backend._repairer, 'alarm') as alarm:
            self.client.hdel(key + f't:{one.id}', 's')
            self.assertIn('makes no sense', one.explain())
            self.client.delete(key + 'm')
            self.client.set(key + 'm', 'x')
            self.assertIn('cannot be told of now', one.explain())
            self.assertIsNone(one.progress)
        self.assertTrue(alarm.called)

    def test_spans(self) -> None:
        """No moment is too far away to be told, and no span is negative."""
        for ms in -5, 10 ** 20, int(timedelta(days=4_000_000).total_seconds() * 1000):
            explain.moment(ms)
            self.assertNotIn('-', explain.span(ms))
