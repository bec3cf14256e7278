"""Keys of a queue on Redis that are deleted or renamed, which no script fails on: whoever waits,
and a pool that comes by, notices; it is repaired, and every task comes to an end."""
from __future__ import annotations

from typing import Any, Callable
from unittest import mock

import worq
from test.queue.contract import message, outcome
from test.queue.redis import test_repair
from test.queue.redis.test_repair import GRAPH
from test.support import eq_, eventually
from worq import const
from worq.queue.base import Argument
from worq.queue.redis import queue as redis, repair, script

Damage = Callable[[str], Any]


class Case(test_repair.Case):

    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch.object(repair, 'AGAIN', 0.002))
        self.enterContext(mock.patch.object(redis, 'MENDING', 1))
        self.enterContext(mock.patch.object(redis, 'PATROL', 0))

    def delete(self, key: str) -> Any:
        return self.client.delete(key)

    def rename(self, key: str) -> Any:
        return self.client.rename(key, key + '.old')

    def mended(self) -> None:
        """No repair is under way."""
        eventually(lambda: self.q._repairer._running, False)

    def end(self, notice: Callable[[], Any]) -> dict[str, str]:
        """Work off all there is; how each came out. Only those who notice ask for a repair."""
        def step() -> bool:
            notice()
            self.mended()
            self.work_some()
            return {None, *const.ENDS.values()}.issuperset(self.q.status(GRAPH))
        eventually(step)
        return {id: record[12:13].decode().lower() if record else ''
                for id, record in zip(GRAPH, self.q.results(GRAPH))}


class Lost(Case):

    def check(self, notice: Callable[[], Any]) -> dict[str, dict[str, str]]:
        """Every key in turn, deleted and renamed; how the tasks came out."""
        self.fill()
        names = sorted(key.decode().partition('}:')[2] for key in self.client.keys(self.key('*')))
        self.assertGreater(len(names), 20)
        came = {}
        damages: list[Damage] = [self.delete, self.rename]
        for name in names:
            for damage in damages:
                with self.subTest(name, damage=damage.__name__):
                    test_repair.support.clean(self.url, self.name)
                    self.fill()
                    damage(self.key(name))
                    came[name] = self.end(notice)
                    self.assertLessEqual(set(came[name].values()), {'v', 'x', ''})
        return came

    def test_who_waits(self) -> None:
        """Whatever key is gone: those who wait notice, and all that can be told from the rest goes
        on; only what was in the key is lost."""
        came = self.check(lambda: self.q.verify(GRAPH))
        for name in 'q:1', 'sched', 'lease', 'wait', 'm', 'd:held', 'd:waits', 'd:tail':
            eq_(came.get(name, dict.fromkeys(GRAPH, 'v')), dict.fromkeys(GRAPH, 'v'), name)

    def test_who_comes_by(self) -> None:
        """Without anybody who waits a pool finds it, in a walk through all keys."""
        self.check(self.q._patrol)
        for _ in range(3):
            self.q._patrol()
            self.mended()
        eq_([line for line in self.q.audit() if '.old' not in line], [])

    def test_leftovers(self) -> None:
        """Work that was left over is done, though the list of it, or the note of it, is gone."""
        for name, field in ('rel', None), ('unpin', None), ('trash', None), ('m', 'more'):
            with self.subTest(name), mock.patch.dict(script.CONSTANTS, BUDGET=1):
                test_repair.support.clean(self.url, self.name)
                self.fill()
                self.q._scripts = script.load()
                self.q.put([message(f'w{n}', 'held', 'waits') for n in range(9)])
                self.q.settle('p', [outcome(self.held)])
                self.q.cancel(['twice', 'w1'])
                self.q.purge()
                if field:
                    self.assertTrue(self.client.hdel(self.key(name), field))
                else:
                    self.client.delete(self.key(name))
                self.end(self.q._patrol)

                def clean() -> list[str]:
                    self.q._patrol()
                    self.mended()
                    self.q.beat('p')
                    return self.q.audit()
                eventually(clean, [])

    def stand_aside(self) -> list[str]:
        """Tasks for which the only pool that knows them has not asked; and the keys of that."""
        test_repair.support.clean(self.url, self.name)
        before = {*self.client.keys(self.key('*'))}
        self.q.join('a', {'tasks': 'a\nx'})
        self.q.join('b', {'tasks': 'b'})
        self.q.put([message(id, header=id[0].encode()) for id in ('a1', 'x1', 'a2', 'b1')])
        eq_([one.id for one in self.q.take('b', 9)], ['b1'])
        return sorted(key.decode().partition('}:')[2]
                      for key in {*self.client.keys(self.key('*'))} - before)

    def test_side_lines(self) -> None:
        """Whatever is gone of those who stand aside: who knows them gets each of them, once."""
        names = self.stand_aside()
        self.assertLessEqual({'aside:1', 'lines:1', 'names'}, {*names})
        for name in names:
            if name[:2] in ('t:', 'b:', 'le', 'po'):
                continue
            for notice in lambda: self.q.verify(['a1', 'x1', 'a2']), self.q._patrol:
                with self.subTest(name):
                    self.stand_aside()
                    self.client.delete(self.key(name))
                    got: list[str] = []

                    def step() -> bool:
                        notice()   # noqa: B023
                        self.mended()
                        self.q.join('a', {'tasks': 'a\nx'})   # as a pool that is known no more
                        self.q.join('b', {'tasks': 'b'})
                        self.assertNotIn('a', {one.id[0] for one in self.q.take('b', 9)})
                        found = self.q.take('a', 9)
                        self.q.settle('a', [outcome(one) for one in found])
                        got.extend(one.id for one in found)   # noqa: B023
                        return len(got) >= 3   # noqa: B023
                    eventually(step)
                    eq_(sorted(got), ['a1', 'a2', 'x1'])

    def test_claim(self) -> None:
        """Nobody is kept from a repair for longer than one takes, whatever is written there."""
        self.fill()
        key = self.key('mending')
        for write in (lambda: self.client.set(key, 'somebody'),
                      lambda: self.client.rpush(key, 'somebody')):
            for end in None, 10 ** 11:
                self.client.delete(key, self.key('q:1'))
                write()
                if end:
                    self.client.pexpire(key, end)
                self.q.verify(GRAPH)
                self.mended()
                eq_(self.q.audit(), [])

    def test_sound(self) -> None:
        """What is sound gives no cause for a repair."""
        self.fill()
        self.q.put([message('gate', flags=4, lease=900_000)])
        self.q.put([message('behind')], gate='gate')
        self.q.edges('gate', 'behind', self.nonce('behind'), 0, [Argument('held', '')])
        self.q.put([message('due', 'held', delay=900_000), message('soon', expires=900_000)])
        with mock.patch.object(self.q._repairer, 'alarm') as alarm:
            self.q.verify([*GRAPH, 'gate', 'behind', 'due', 'soon', 'nobody'])
            self.q.inspect([*GRAPH, 'gate', 'behind', 'due', 'soon', 'nobody'])
            for _ in range(3):
                self.q._patrol()
            self.q.settle('p', [outcome(self.held)])
            self.q.verify([*GRAPH, 'gate', 'behind', 'due', 'soon'])
            self.q._patrol()
        eq_(alarm.call_count, 0)
        eq_(self.q.audit(), [])

    def nonce(self, id: str) -> str:
        return str(self.client.hget(self.key(f't:{id}'), 'n').decode())


class Waiting(Case):

    def test_told(self) -> None:
        """A thread that waits looks after its tasks with each second look at its inbox."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        one = broker.queue().len('x')
        self.client.delete(self.key('q:1'))
        self.enterContext(mock.patch('worq.inbox.REWATCH', 0.05))
        self.assertFalse(one.wait(0.01))
        with self.assertLogs('worq', 'WARNING') as logs:
            eventually(lambda: one.wait(0.06) or self.client.llen(self.key('q:1')), 1)
        self.assertIn('it is in no list of what is ready', logs.output[0])
        eventually(lambda: broker.backend._repairer._running, False)

    def test_explain(self) -> None:
        """explain() says that a task is not where it should be, and no tales."""
        broker = worq.get_broker(self.url, self.name)
        self.addCleanup(broker.close)
        q = broker.queue()
        first = q.len('x')
        held, = self.q.take('p', 1)
        second, later = q.len([first]), worq.Task(q.len, delay=900)('x')
        third = q.len('y')
        for one, key in [(first, 'lease'), (second, f'd:{first.id}'), (later, 'sched'),
                         (third, 'q:1')]:
            with self.subTest(key), mock.patch.object(broker.backend._repairer, 'alarm') as alarm:
                kept = self.client.dump(self.key(key))
                self.client.delete(self.key(key))
                told = one.explain()
                self.client.restore(self.key(key), 0, kept)
                self.assertIn('deleted or changed', told)
                self.assertNotIn('10,000', told)
                self.assertNotIn('due in', told)
                self.assertTrue(alarm.called)
                self.assertNotIn('deleted or changed', one.explain())


class Beat(Case):

    def test_pools(self) -> None:
        """A pool that beats is known again, though the list of pools is gone."""
        self.fill()
        self.client.delete(self.key('pools'))
        self.q.beat('p')
        eq_(set(self.q.pools()), {'p'})
        self.q.beat('a client')
        eq_(set(self.q.pools()), {'p'})


class AtOnce(Case):
    """What needs no repair, for no script stumbles over it."""

    def test_priority(self) -> None:
        """A task of a priority that there is not has a place in a list like any other."""
        for priority in b'7', b'x', b'1.5', b'':
            self.q.put([message(f'first {priority!r}'), message('then', f'first {priority!r}')])
            self.client.hset(self.key('t:then'), 'p', priority)
            first, = self.q.take('p', 2)
            self.q.settle('p', [outcome(first)])
            then, = self.q.take('p', 2)
            self.q.settle('p', [outcome(then)])
            eq_(then.id, 'then')

    def test_note(self) -> None:
        """Work that is left over gets its note again, from those who wait and those who come by."""
        for notice in lambda: self.q.verify(['nobody']), self.q._patrol:
            self.client.rpush(self.key('rel'), 'nobody')
            self.client.hdel(self.key('m'), 'more')
            notice()
            eq_(self.client.hget(self.key('m'), 'more'), b'1')


class Ends(Case):

    def test_each(self) -> None:
        """Whatever time to live somebody has given to each key: after a repair only what should end
        does, and nothing is lost."""
        self.fill()
        names = {key.decode() for key in self.client.keys(self.key('*'))}
        before = {name: self.client.pttl(name) == -1 for name in names}
        for name in names:
            self.client.pexpire(name, 900_000)
        self.q.audit(repair=True)
        eventually(self.q.audit, [])
        self.mended()
        eq_({name: self.client.pttl(name) == -1 for name in names}, before)
        eq_(self.finish(), dict.fromkeys(GRAPH, 'v'))
