"""What others have written into the keys of side lines is seen by the audit, and repaired."""
from __future__ import annotations

from typing import Any

from test.queue.contract import message
from test.queue.redis.test_details import Case
from test.support import eq_, eventually
from worq import const


class SideLines(Case):
    """Two names are paused or unknown, and stand aside, beside a lane that goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.q.join('p', {'tasks': 'a\nb', 'unknown_grace': '900000'})
        self.q.join('other', {'tasks': 'c'})
        self.q.note(const.PAUSES, b'a\t1\tann\n')
        self.q.put([message('b', header=b'b'), message('a1', header=b'a'),
                    message('x', header=b'x'), message('a2', header=b'a'),
                    message('low', header=b'a', priority=2)])
        eq_([d.id for d in self.q.take('p', 1)], ['b'])
        eq_(self.q.take('p', 9), [])
        eq_(self.q.audit(), [])

    def entry(self, id: str, name: str) -> bytes:
        serial, nonce = self.client.hmget(self.key(f't:{id}'), 'L', 'n')
        return f'{name}\n'.encode() + serial + nonce + id.encode()

    def damage(self) -> list[tuple[list[Any], str]]:
        """Commands, and what the audit says of each."""
        return [
            (['ZREM', 'aside:1', self.entry('a2', 'a')], "task 'a2': put aside, but in no line"),
            (['DEL', 'aside:1'], "task 'x': put aside, but in no line"),
            (['HSET', 't:a1', 'L', '1' * 18], "task 'a1': put aside, but in no line"),
            (['HSET', 't:a1', 'L', 'x'], "task 'a1': its record makes no sense"),
            (['HDEL', 't:a1', 'L'], "task 'a1': enqueued, but in no ready list"),
            (['ZADD', 'aside:1', 0, b'a\n' + b'0' * 30 + b'gone'], '1 dead entries in ready lists'),
            (['ZREM', 'lines:1', 'a'], 'lines:1 has other names than those put aside'),
            (['ZADD', 'lines:2', 0, 'none'], 'lines:2 has other names than those put aside'),
            (['DEL', 'lines:1'], 'lines:1 has other names than those put aside'),
            (['HDEL', 'm', 'names'], 'something is paused, but that is not looked at'),
            (['SADD', 'knows:x', 'a'], 'key knows:x has no owner and no end'),
            (['SET', 'aside:c1', 'x'], 'key aside:c1 has the wrong type'),
            (['SET', 'unknown', 'x'], 'key unknown has the wrong type')]

    def test_each_is_seen_and_repaired(self) -> None:
        """What is put into a key, or taken out of one, is named; and repaired so that each task is
        taken once, what is paused only when it is resumed."""
        for n in range(len(self.damage())):
            if n:
                self.doCleanups()
                self.setUp()
            command, what = self.damage()[n]
            command[1] = self.key(command[1])
            self.client.execute_command(*command)
            found = self.q.audit()
            self.assertTrue(any(text.startswith(what) for text in found), (command, found))
            self.q.audit(repair=True)
            eventually(lambda: self.q.audit(repair=True), [])
            eq_(self.ids(), [])
            self.q.note(const.PAUSES, b'')
            gone = ['a1'] if 'x' in command[3:] and 't:a1' in command[1] else []
            eq_(sorted(self.ids() + gone), ['a1', 'a2', 'low'])
            self.q.join('third', {'tasks': 'x'})
            eq_([d.id for d in self.q.take('third', 9)], ['x'])

    def ids(self) -> list[str]:
        return [d.id for d in self.q.take('p', 9)]

    def test_keys_that_are_gone(self) -> None:
        """Without the names of pools, or the register, nothing is lost, and nothing fails."""
        for key in 'names', 'note', 'unknown', 'pools', 'm', 'noted':
            self.doCleanups()
            self.setUp()
            self.client.delete(self.key(key))
            self.q.audit(repair=True)
            eventually(lambda: self.q.audit(repair=True), [])
            self.q.note(const.PAUSES, b'')
            for pool, tasks in ('p', 'a\nb'), ('third', 'x'):
                self.q.join(pool, {'tasks': tasks})
            found = [d.id for pool in ('p', 'third', 'p') for d in self.q.take(pool, 9)]
            eq_(sorted(found), ['a1', 'a2', 'low', 'x'])
