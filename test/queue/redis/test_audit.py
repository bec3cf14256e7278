"""The audit of a queue on Redis sees each thing that may be wrong."""
from __future__ import annotations

from typing import Any

from test.queue.contract import message
from test.queue.redis.test_details import Case
from test.support import eq_
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Outcome


class Audit(Case):

    def setUp(self) -> None:
        """A queue with a task in each state, and all kinds of edges."""
        super().setUp()
        self.q.put([message('done'), message('run'), message('calls'), message('ends')])
        done, run, calls, ends = self.q.take('p', 4)
        self.q.put([message('wait', 'run', 'done'), message('ready', 'done', expires=900_000),
                    message('later', delay=900_000), message('inner', delay=900_000)])
        self.q.put([message('gate', flags=base.GATE, lease=900_000)])
        self.q.put([message('behind', body=bytes(99))], gate='gate')
        self.q.watch('c', ['wait', 'ends'])
        self.q.settle('p', [
            Outcome('done', done.token, 'value', bytes(99)), Outcome('ends', ends.token, 'value'),
            Outcome('calls', calls.token, 'delegate', target=Argument('inner', ''))])
        eq_(self.q.audit(), [])

    def test_each(self) -> None:
        """What is put into a key, or taken out of one, is named; put right, all is well again."""
        nonce = self.client.hget(self.key('t:wait'), 'n').decode()
        for command, what in [
                (['ZREM', 'lease', 'run'], "task 'run': a, but not in lease"),
                (['ZADD', 'lease', 1, 'ready'], "'ready' is in lease, but not a"),
                (['ZREM', 'sched', 'later'], "task 'later': s, but not in sched"),
                (['ZADD', 'sched', 1, 'gone'], "'gone' is in sched, but not s"),
                (['ZREM', 'wait', 'behind'], "task 'behind': p, but not in wait"),
                (['ZREM', 'exp', 'ready'], "task 'ready': not begun, but not in exp"),
                (['ZADD', 'exp', 1, 'later'], "'later' is in exp, but does not expire"),
                (['LPOP', 'q:c1'], "task 'ready': enqueued, but in no ready list"),
                (['RPUSH', 'q:2', 'x' * 12 + 'x'], '1 dead entries in ready lists, but 0 counted'),
                (['HINCRBY', 't:wait', 'u', 1], "task 'wait': 2 arguments are open, but 1 edges"),
                (['LPOP', 'd:run'], "task 'wait': 1 arguments are open, but 0 edges lead here"),
                (['LPOP', 'd:inner'], "task 'calls': waits for 'inner', which does not know"),
                (['LPOP', 'd:gate'], "task 'behind': held back by 'gate', which does not know"),
                (['RPUSH', 'd:run', nonce + 'wait'], "task 'wait': 1 arguments are open, but 2"),
                (['HINCRBY', 't:done', 'i', 1], "task 'done': 3 pins, but 2 argument lists"),
                (['HSET', 't:wait', 'a', 3], "task 'wait': 3 arguments, but 2 listed"),
                (['PEXPIRE', 't:done', 900_000], "task 'done': its t expires"),
                (['PERSIST', 't:ends'], "task 'ends': its t does not expire"),
                (['PEXPIRE', 't:later', 900_000], "task 'later': live, but it expires"),
                (['HSET', 't:ends', 'z', 1], "task 'ends': completed, but with fields ['z']"),
                (['DEL', 'r:done'], "task 'done': completed without an outcome"),
                (['HSET', 't:later', 'm', const.COUNT + 1], "task 'later': its record makes no"),
                (['HSET', 't:later', 'l', const.SPAN * 1000 + 1], "task 'later': its record makes"),
                (['HSET', 't:later', 't', const.SPAN * 1000 + 1], "task 'later': its record makes"),
                (['SADD', 'seen0', 'x'], 'key seen0 has no owner and no end'),
                (['RPUSH', 'loop1', '0:x'], 'key loop1 has no owner and no end'),
                (['DEL', 'b:behind'], "task 'behind': no body"),
                (['SADD', 'w:ends', 'c'], 'key w:ends has no owner and no end'),
                (['SET', 'r:later', 'x'], 'key r:later has no owner and no end'),
                (['RPUSH', 'u:x', 'x'], 'key u:x has no owner and no end'),
                (['HSET', 'pool:x', 'x', 'y'], 'key pool:x has no owner and no end')]:
            with self.subTest(what):
                self.spoil(command, what)
                eq_(self.q.audit(), [])

    def spoil(self, command: list[Any], what: str) -> None:
        key = self.key(command[1])
        kept, ttl = self.client.dump(key), self.client.pttl(key)
        self.client.execute_command(command[0], key, *command[2:])
        wrong = self.q.audit()
        self.client.delete(key)
        if kept:
            self.client.restore(key, max(ttl, 0), kept)
        self.assertTrue(any(line.startswith(what) for line in wrong), wrong)

    def test_for_ever(self) -> None:
        """Tasks that are pending while nothing could release them are named."""
        self.q.settle('gate', [Outcome('gate', f'{self.token("gate")}1'.encode(), 'value')])
        self.q.cancel(['later', 'inner', 'ready', 'behind'])
        self.client.delete(self.key('lease'))
        self.client.hset(self.key('t:run'), 's', 'c')
        self.assertIn("task 'wait' is pending for ever", self.q.audit())

    def token(self, id: str) -> str:
        return self.client.hget(self.key(f't:{id}'), 'n').decode()


del Case   # it has no test of its own
