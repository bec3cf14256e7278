"""A queue in memory is whole after an interruption at any step of any verb."""
from __future__ import annotations

from functools import partial
import itertools
import os
from typing import Callable
import unittest
from unittest import mock

from test.interrupts import Interrupt, at_steps, in_time, interrupted
from test.queue.contract import message, outcome
from test.support import eq_
from worq import const
from worq.queue.base import GATE, IGNORE_RESULT, PASS, VALUE, Argument, Held, Message, Revival
from worq.queue.memory import queue as memory

EVERY = int(os.environ.get('WORQ_TEST_STEPS', 59))   # 1: at each of some ten thousand


class Scene:
    """A queue with a task in each state, and with one that waits in each way."""

    def __init__(self, budget: int = 0) -> None:
        self.now = 1_000_000
        self.q = q = memory.TaskQueue('memory://', 'scene', clock=lambda: self.now)
        q._store.budget = budget
        self.news: list[str] = []
        q.join('p', {})
        self.put(message('done'), message('failed'), message('soon', ttl=1_000))
        self.put(message('heir', 'failed', 'done'), message('heir too', 'heir', 'failed'))
        done, failed, soon = q.take('p', 3)
        q.settle('p', [outcome(done), outcome(failed, 'failure'), outcome(soon)])
        self.put(message('run'), message('lost', lease=1_000), message('tail'), message('again'))
        self.run, self.lost, self.tail, self.again = q.take('p', 4)
        self.put(message('next', 'run', 'done'), message('last', 'next', flags=PASS),
                 message('ready', priority=2), message('later', delay=500),
                 message('late', expires=500), message('beside', 'run', flags=IGNORE_RESULT),
                 message('ignored', flags=IGNORE_RESULT, priority=0))
        self.gate = message('gate', flags=GATE)
        self.put(self.gate)
        q.put([message('held'), message('held too', 'held')], 'gate')
        q.watch('me', ['run', 'next', 'last', 'ready', 'late', 'ignored', 'held too'])

    def put(self, *messages: Message) -> None:
        eq_(self.q.put(messages), [])

    def finish(self) -> None:
        """Run all that there is; nothing may be left, and nothing may be missed."""
        q = self.q
        q.settle('gate', [outcome(self.run)._replace(
            id='gate', token=self.gate.nonce.encode() + b'1')])
        for _ in range(200):
            for delivery in q.take('z', 100):
                q.settle('z', [outcome(delivery)])
            self.now += const.TICK + 2_000
            if not q.size():
                return
        raise AssertionError((q.stats(), q.audit()))


def put(scene: Scene) -> None:
    scene.put(*NEW, message('x3', 'failed'), message('soon', 'x1'))


def put_behind_gate(scene: Scene) -> None:
    scene.q.put(NEW, 'gate')


def put_gate(scene: Scene) -> None:
    scene.put(message('x1', flags=GATE))


NEW = [message('x1'), message('x2', 'x1', 'run', 'done'), message('x4', flags=IGNORE_RESULT)]
VERBS: list[Callable[[Scene], object]] = [
    put,
    put_behind_gate,
    put_gate,
    lambda s: s.q.edges('gate', 'held too', s.q.inspect(['held too'])[0].nonce, 1,
                        [Argument('run', ''), Argument('done', '')]),
    lambda s: s.q.cancel(['run', 'ready', 'gate']),
    lambda s: s.q.purge(),
    lambda s: s.q.status(['soon', 'late', 'run']),
    lambda s: s.q.watch('other', ['run', 'done', 'late']),
    lambda s: s.q.forget(['done', 'failed', 'soon']),
    lambda s: s.q.take('p', 5),
    lambda s: s.q.settle('p', [outcome(s.run), outcome(s.tail, 'delegate',
                                                       target=Argument('run', '')),
                               outcome(s.again, 'retry', delay=100)]),
    lambda s: s.q.settle('p', [outcome(s.run, 'failure'), outcome(s.lost, 'lost'),
                               outcome(s.tail, 'delegate', target=Argument('ready', '')),
                               outcome(s.again, 'release')]),
    lambda s: s.q.settle('gate', [outcome(s.run)._replace(
        id='gate', token=s.gate.nonce.encode() + b'1')]),
    lambda s: s.q.turn('p', [outcome(s.run)], [Held(s.tail.id, s.tail.token)], 3),
    lambda s: s.q.reconcile('p', [s.run.token]),
    lambda s: s.q.abandon('p', 'killed'),
    lambda s: s.q.wait('me', 0.001),
    lambda s: s.q.revive([Revival('failed'), Revival('heir too')], True),
    lambda s: (s.q.note(const.PAUSES, b'x.*\t\n'), s.q.note(const.PAUSES, b'')),
    lambda s: (s.q.stats(), s.q.size(), s.q.pools(), s.q.inspect(['next']), s.q.audit()),
]


class EachStepTest(unittest.TestCase):

    def check(self, verb: Callable[[Scene], object], later: int, budget: int = 0,
              every: int = EVERY) -> None:
        steps = at_steps(every)
        for step in steps:
            scene = Scene(budget)
            scene.now += later
            q = scene.q
            before = set(q._store.lives)
            more = interrupted(partial(verb, scene), step)
            self.assertEqual(in_time(q.audit), [], f'{verb} at {step}')
            new = {id for id in ('x1', 'x2', 'x3') if q._store.lives.get(id)}
            if verb in (put, put_behind_gate):
                stored = {'x1', 'x2'} | ({'x3'} if verb is put else set())
                self.assertIn(new, [set(), stored], f'{verb} at {step}')
            self.assertLessEqual(set(q._store.lives) - before, {'x1', 'x2', 'x3', 'x4', 'soon'})
            q.watch('me', ['next', 'last'])
            in_time(scene.finish)
            self.assertEqual(q.audit(), [], f'{verb} at {step}')
            node = next(one for one in q.family('next') if one.id == 'next')
            self.assertEqual(node.width, 2, f'{verb} at {step}')
            values = [life.id for life in q._store.lives.values() if life.kind == VALUE]
            self.assertEqual({*q.revive([Revival(id) for id in values])}, {'gone'},
                             f'{verb} at {step}')
            told = {id for id, _ in q.wait('me', 0)}
            self.assertTrue({'next', 'last'} <= told or verb is VERBS[16], f'{verb} at {step}')
            if not more:
                return

    def test_each_verb(self) -> None:
        """After an interruption at any step the next verb finds a queue that is whole: no lock
        is taken, no put is stored by half, all ends, and who watches hears of it."""
        for verb in VERBS:
            self.check(verb, 0)

    def test_when_much_is_due(self) -> None:
        """The same when what is due is brought along, leases run out and outcomes expire."""
        for verb in VERBS:
            self.check(verb, 3_000)

    def test_in_small_steps(self) -> None:
        """The same where verbs leave most of what follows from them to the next ones."""
        def after_purge(scene: Scene) -> None:
            scene.q.purge()
            scene.q.cancel(['run', 'tail'])

        for verb in [after_purge, VERBS[11], VERBS[12]]:
            self.check(verb, 0, 1, 3 * EVERY)

    def test_twice(self) -> None:
        """What sets it right may be interrupted too: the next one does it."""
        verb = VERBS[11]
        for step in itertools.islice(at_steps(17 * EVERY), 20):
            for second in itertools.islice(at_steps(13 * EVERY), 10):
                scene = Scene()
                with mock.patch.object(memory, 'redo', side_effect=Interrupt):
                    interrupted(partial(verb, scene), step)
                interrupted(scene.q.size, second)
                self.assertEqual(in_time(scene.q.audit), [], f'at {step} and {second}')
                in_time(scene.finish)

    def test_from_within(self) -> None:
        """What is called by a signal handler works, or raises at once; it never waits for the
        lock that the interrupted call has."""
        told: list[str] = []

        def act(call: Callable[[], object]) -> None:
            try:
                call()
            except RuntimeError as error:
                told.append(str(error))

        for number, step in enumerate(itertools.islice(at_steps(EVERY), 1_500 // EVERY)):
            verb = (put, VERBS[13])[number % 2]
            for call in CALLS:
                scene = Scene()
                interrupted(partial(verb, scene), step, partial(act, partial(call, scene.q)))
                self.assertEqual(in_time(scene.q.audit), [])
        self.assertTrue(told)
        for text in told:
            self.assertIn('signal handler', text)


CALLS: list[Callable[[memory.TaskQueue], object]] = [
    lambda q: q.put([message('x')]),
    lambda q: q.take('p', 1, 0.001),
    lambda q: q.wait('me', 0.001),
    lambda q: q.cancel(['run']),
    lambda q: q.ring('me'),
    lambda q: q.size(),
    lambda q: q.bell('p').close(),
]
