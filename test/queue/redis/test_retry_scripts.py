"""Random tasks with random policies of retries, on queues: a model says what they come to."""
from __future__ import annotations

from functools import partial
import os
import unittest

from hypothesis import HealthCheck, given, settings, strategies as st

import worq
from worq import Task
from worq.codec import Codec
from worq.core import Broker
from worq.current import current_task
from worq.pool.run import run


class Odd(Exception):
    """An error of this test."""


class Odder(Odd):
    """One that derives from it."""


STEPS = {   # what a task does in an attempt
    'value': None,
    'odd': partial(Odd, 'odd'), 'odder': partial(Odder, 'odder'),
    'other': partial(ValueError, 'other'), 'exit': partial(SystemExit, 1),
    'ask': worq.Retry, 'soon': partial(worq.Retry, 0), 'late': partial(worq.Retry, 100),
}
POLICIES = st.fixed_dictionaries({}, optional={
    'retries': st.integers(0, 3),
    'backoff': st.sampled_from([0, 2, (1, 3), lambda attempt: 10 * attempt]),
    'retry_on': st.sampled_from([Odd, (Odder, SystemExit), ()]),
})
SCRIPTS = st.tuples(POLICIES, POLICIES, st.lists(st.sampled_from(sorted(STEPS)), max_size=6),
                    st.booleans())
MANY = st.lists(SCRIPTS, min_size=1, max_size=12)
SETTINGS = settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))


def model(call, definition, script):
    """What a script comes to: its end, the attempts, and the pauses between them in ms (None:
    left to chance)."""
    options = {**definition, **call}
    retries, backoff = options.get('retries'), options.get('backoff')
    kinds = options.get('retry_on', Exception)
    pauses = []
    for attempt, step in enumerate([*script, 'value'], 1):
        if step == 'value':
            return 'value', attempt, pauses
        error = STEPS[step]()
        asked = isinstance(error, worq.Retry)
        more = asked if retries is None else attempt <= retries
        if not more or not (asked or isinstance(error, kinds)):
            return f'{type(error).__name__}: {error}', attempt, pauses
        if asked and error.delay is not None:
            pauses.append(error.delay * 1000)
        elif backoff is None:
            pauses.append(None)
        elif isinstance(backoff, tuple):
            pauses.append(backoff[min(attempt, len(backoff)) - 1] * 1000)
        else:
            pauses.append(1000 * (backoff(attempt) if callable(backoff) else backoff))


class Scripts(unittest.TestCase):
    """Tasks that fail in random ways, with random policies, end as the model says, and when."""

    __test__ = False

    def open(self, name):
        from worq.queue.memory import queue as memory
        return memory.TaskQueue('memory://', name, clock=lambda: self.now)

    def advance(self, ms):
        self.now += ms

    def shut(self):
        """After an example."""

    def check(self, scripts):
        self.now = 1_000_000
        self.name = f'test-{os.urandom(6).hex()}'
        queue = self.open(self.name)
        broker = Broker(queue, Codec(self.name))
        moments = {}
        made = []
        for number, (call, definition, script, ignore) in enumerate(scripts):
            def f(number=number, script=script):
                mine = moments.setdefault(number, [])
                mine.append(self.now)
                self.assertEqual(current_task().attempt, len(mine))
                self.assertEqual(current_task().delivery, 1)
                make = STEPS[script[len(mine) - 1]] if len(mine) <= len(script) else None
                if make is not None:
                    raise make()
                return number
            f.__name__ = f'f{number}'
            broker.expose(f, **definition)
            made.append(Task(getattr(broker.queue(), f.__name__), ignore_result=ignore, **call)())
        while queue.size():
            for delivery in queue.take('pool', 100):
                words = queue.settle('pool', [run(broker, delivery)])
                self.assertEqual(words, ['ok'])
            self.advance(500)
            self.assertLess(self.now, 3_000_000)
        for number, (call, definition, script, _) in enumerate(scripts):
            end, attempts, pauses = model(call, definition, script)
            self.assertEqual(len(moments[number]), attempts)
            for pause, before, after in zip(pauses, moments[number], moments[number][1:]):
                low, high = (500, 300_000) if pause is None else (pause, pause)
                # ticks of a second, and the steps of this loop
                self.assertTrue(low <= after - before <= high + 1500, (pause, after - before))
            deferred = made[number]
            if deferred is None:
                continue
            if end == 'value':
                self.assertEqual(deferred.result(5), number)
                continue
            failure = deferred.exception(5)
            retries = {**definition, **call}.get('retries')
            count = f' (attempt {attempts} of {retries + 1})' if retries else \
                f' (attempt {attempts})' if attempts > 1 else ''
            self.assertEqual(failure.error, end + count)
            for n in range(1, attempts):
                self.assertIn(f'attempt {n}: ', failure.traceback)
        self.assertEqual(queue.audit(), [])
        broker.close()
        self.shut()


class ScriptsOnMemory(Scripts):
    """The queue in memory."""

    __test__ = True

    @given(MANY)
    @settings(SETTINGS, max_examples=40)
    def test_scripts(self, scripts):
        """Any policies, any errors: ends, attempts and moments are those of the model."""
        self.check(scripts)


class ScriptsOnRedis(Scripts):
    """The queue on Redis, with a clock that the test moves."""

    __test__ = True

    @given(MANY)
    @settings(SETTINGS, max_examples=12)
    def test_scripts(self, scripts):
        """Any policies, any errors: ends, attempts and moments are those of the model."""
        self.check(scripts)

    def open(self, name):
        import redis as client

        from test import support
        from worq.queue.redis import queue as redis
        url = support.redis_url()
        self.client = client.Redis.from_url(url)
        self.advance(0)
        return redis.TaskQueue(url, name, clock_key=True)

    def advance(self, ms):
        super().advance(ms)
        self.client.set(f'worq:{{{self.name}}}:clock', self.now)

    def shut(self):
        self.client.delete(*self.client.scan_iter(match=f'worq:{{{self.name}}}:*'))
        self.client.close()
