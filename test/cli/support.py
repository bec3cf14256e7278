"""Commands of ``worq`` done here, as a function, with what they print."""
from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import unittest
from typing import NamedTuple
from unittest import mock

from worq import TaskSpace, current_task
from worq.cli.main import main

from test import broker_case

space = TaskSpace('shop')


@space.task
def add(a, b=1):
    return a + b


@space.task
def fail(why='no'):
    raise ValueError(why)


@space.task
def report(done, total, text=''):
    current_task().progress(done, total, text)


class Screen(io.StringIO):
    """A terminal that keeps what was written."""

    def isatty(self):
        return True


class Done(NamedTuple):
    """How a command went."""

    status: int
    out: str
    err: str

    @property
    def objects(self):
        """What it printed as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


def worq(*words, typed=None, columns=0, **environ):
    """Do a command.

    :param typed: what a person answers to questions; None: nobody is there.
    :param columns: of the terminal; 0: it is none.
    """
    out = Screen() if columns else io.StringIO()
    err = io.StringIO()
    given = io.StringIO() if typed is None else Screen(typed)
    kept = {name: value for name, value in os.environ.items()
            if name not in ('WORQ_URL', 'NO_COLOR', 'COLUMNS')}
    kept |= {'TERM': 'xterm', **({'COLUMNS': str(columns)} if columns else {}), **environ}
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), \
            mock.patch('sys.stdin', given), mock.patch.dict(os.environ, kept, clear=True), \
            mock.patch.object(logging.getLogger('worq'), 'setLevel'):   # it is that of all tests
        status = main([str(word) for word in words])
    return Done(status, out.getvalue(), err.getvalue())


class CommandCase(broker_case.BrokerCase):
    """Commands on a queue of the test's own."""

    __test__ = False

    def worq(self, name, *words, **more):
        """Do a command on the test's queue."""
        return worq(name, *words, '--url', self.url(), '-q', self.name, **more)

    def ok(self, *words, **more):
        """The same, of one that goes well; what it printed."""
        done = self.worq(*words, **more)
        self.assertEqual((done.status, done.err), (0, ''))
        return done.out

    def refused(self, status, expected, *words, **more):
        """... of one that does not, and says why on the standard error."""
        done = self.worq(*words, **more)
        self.assertEqual(done.status, status, done)
        self.assertRegex(done.err, expected)
        return done

    def shop(self, **options):
        """A broker with tasks."""
        broker = self.broker(**options)
        broker.expose(space)
        return broker

    def pool(self, broker, tasks=None, pool='somewhere:1:abc', **info):
        """Have a pool join that does nothing."""
        names = broker.tasks if tasks is None else tasks
        broker.backend.join(pool, {'host': 'somewhere', 'pid': '1', 'kind': 'process',
                                   'size': '2', 'tasks': '\n'.join(names), **info})
        self.addCleanup(broker.backend.leave, pool)


class Words(unittest.TestCase):
    """Commands without a queue."""

    def refused(self, expected, *words, status=2, **more):
        done = worq(*words, **more)
        self.assertEqual(done.status, status, done)
        self.assertRegex(done.err, expected)
        self.assertEqual(done.out, '')
        return done
