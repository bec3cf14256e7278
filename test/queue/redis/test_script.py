"""Lua files become callables, and their errors name true lines."""
from __future__ import annotations

import unittest
from functools import partial
from typing import Any

import redis

from test import support
from test.queue.contract import message
from test.support import eq_
from worq import const
from worq.errors import QueueError
from worq.queue import base
from worq.queue.base import Message, Outcome
from worq.queue.redis import script
from worq.queue.redis import queue as worq_redis

BOOM = '''\
-- boom(P; first, second: int, {id}, ...) -> word
-- nothing

if first == 'raise' then
  local nothing = nil
  return nothing.field          -- line 6
end
if first == 'call' then
  redis.call('LPUSH', P .. 'x', 'a')
  redis.call('HGET', P .. 'x', 'a')   -- line 10
end
return {first, second + 1, ARGV[rest] or '', NONCE, PENDING}
'''


class Sender:
    """Sends commands, and remembers them."""

    def __init__(self) -> None:
        self.client = redis.Redis.from_url(support.redis_url(), protocol=2)
        self.sent: list[str] = []

    def __call__(self, *command: Any) -> Any:
        self.sent.append(command[0])
        connection = self.client.connection_pool.get_connection()
        try:
            connection.send_command(*command)
            return connection.read_response()
        finally:
            self.client.connection_pool.release(connection)


class ScriptTest(unittest.TestCase):

    def setUp(self) -> None:
        self.name = support.unique()
        self.key = f'worq:{{{self.name}}}:m'
        self.send = Sender()
        self.addCleanup(self.send.client.close)
        self.addCleanup(support.clean, support.redis_url(), self.name)
        self.boom = script.assemble(BOOM, script.prelude())

    def test_binding(self) -> None:
        """Parameters are locals, numbers where the signature says so, and `rest` follows."""
        eq_(self.boom(self.send, self.key, 'one', 2, 'three'),
            [b'one', 3, b'three', 12, b'p'])

    def test_loaded_when_unknown(self) -> None:
        """A server that does not know a script gets it, and once only."""
        self.send.client.script_flush()
        self.boom(self.send, self.key, 'one', 2)
        self.boom(self.send, self.key, 'one', 2)
        eq_(self.send.sent, ['EVALSHA', 'SCRIPT', 'EVALSHA', 'EVALSHA'])

    def test_line_of_error(self) -> None:
        """An error that is raised in a Lua file names its true line."""
        for first, line in [('raise', 6), ('call', 10)]:
            with self.assertRaisesRegex(redis.ResponseError, rf'boom\.lua:{line}\b'):
                self.boom(self.send, self.key, first, 1)

    def test_lines(self) -> None:
        """From line 3 on each script is its file, line by line, but for the constants and the end
        of the function that it is in."""
        for test_clock in False, True:
            for name, verb in script.load(test_clock).items():
                path = script.FOLDER / f'{name}.lua'
                lines = script.CONSTANT.sub(lambda match: script.value(match[0]),
                                            path.read_text('utf-8')).split('\n')
                sent = verb.source.split('\n')
                eq_(sent[0], script.FLAGS)
                if 'PUT' in path.read_text('utf-8').split():   # what that does is in one line, too
                    sent[lines.index('  PUT')] = '  PUT'
                eq_(sent[2:], [*lines[2:-1], 'end)()'], name)

    def test_signatures(self) -> None:
        """Line 1 of each file is the signature of the verb that the file is named after."""
        for name, verb in script.load().items():
            eq_(verb.name, name)

    def test_compiles(self) -> None:
        """Redis accepts each script, with either clock."""
        for test_clock in False, True:
            for verb in script.load(test_clock).values():
                eq_(self.send('SCRIPT', 'LOAD', verb.source).decode(), verb.sha)

    def test_needs(self) -> None:
        """A script has what it needs of the prelude, and not all of it."""
        scripts = script.load()
        self.assertIn('local function finish', scripts['settle'].source)
        self.assertNotIn('local function finish', scripts['stats'].source)
        self.assertLess(len(scripts['ring'].source), 1800)

    def test_no_globals(self) -> None:
        """No script reads a global that Lua or Redis does not have: a misspelt name is one."""
        known = {'redis', 'KEYS', 'ARGV', 'math', 'table', 'unpack', 'tonumber', 'tostring',
                 'ipairs', 'pairs', 'string', 'error', 'type'}
        reserved = set('and break do else elseif end false for function if in local nil not or '
                       'repeat return then true until while'.split())
        for verb in script.load().values():
            text = script.re.sub(r"'(\\.|[^'\\])*'|--.*", "''", verb.source)
            text = script.re.sub(r'[.:]\s*[A-Za-z_]\w*|\.\.', ' ', text.replace('..', ' '))
            defined = known | reserved
            for names in script.re.findall(r'(?:local|for) (?:function )?([\w, ]+)', text):
                defined.update(script.WORD.findall(names))
            for names in script.re.findall(r'function \w*\s*\(([\w, ]*)\)', text):
                defined.update(script.WORD.findall(names))
            fields = set(script.re.findall(r'(\w+) = ', text))
            eq_(set(script.WORD.findall(text)) - defined - fields - {'e'}, set(), verb.name)


class PutFirst(unittest.TestCase):
    """What `put.first.lua` does alone, for the prelude costs more than all of it."""

    def setUp(self) -> None:
        self.server = support.start_redis()
        self.addCleanup(self.server.close)
        self.client = redis.Redis.from_url(self.server.url)
        self.addCleanup(self.client.close)
        self.q = worq_redis.TaskQueue(self.server.url)
        self.addCleanup(self.q.close)

    def alone(self, *messages: Message, refused: str = '') -> bool:
        """Whether a put of these goes without the prelude, which reads `m` once more."""
        before = self.reads()
        eq_([one.word for one in self.q.put(messages)], [refused] if refused else [])
        return self.reads() == before + 1

    def reads(self) -> int:
        stats = self.client.info('commandstats').get('cmdstat_hmget', {})
        return int(stats.get('calls', 0))

    def test_when(self) -> None:
        """Plain messages only, new and short."""
        a = message('a')
        eq_(self.alone(message('first')), False)   # it writes the schema number
        eq_(self.alone(a), True)
        eq_(self.alone(*[message(f'b{n}') for n in range(const.PUT_LIMIT)]), True)
        for messages in [[a], [message('c', 'a')], [message('d', delay=1)],
                         [message('e', body=bytes(65))], [message('f', header=bytes(65))],
                         [message('g', flags=base.GATE)], [message('h'), message('i', priority=0)]]:
            eq_(self.alone(*messages), False)
        eq_(self.alone(message('a'), refused='duplicate'), False)
        eq_(self.alone(*[message('k') for _ in range(2)], refused='duplicate'), False)
        eq_(self.q.audit(), [])
        self.q.purge()
        self.client.delete('worq:{default}:wake')
        eq_(self.alone(message('l')), True)
        eq_(self.client.llen('worq:{default}:wake'), 1)   # some pool does what is left over
        for _ in range(10):
            self.q.reconcile('nobody', [])
        eq_(self.alone(message('m'), message('n')), True)
        eq_(self.q.status(['a', 'l', 'm', 'n']), ['cancelled'] + ['enqueued'] * 3)
        eq_(self.q.audit(), [])

    def test_wakes(self) -> None:
        """Each task brings a token that wakes a pool, up to a limit."""
        for n, tokens in [(1, 1), (3, 4), (100, 32), (2, 32)]:
            self.q.put([message(f'{n} {i}') for i in range(n)])
            eq_(self.client.llen('worq:{default}:wake'), tokens)
        self.client.delete('worq:{default}:wake')
        self.q.put([message('behind many')])   # nobody is idle then, or has been told already
        eq_(self.client.llen('worq:{default}:wake'), 0)
        eq_(len(self.q.take('p', 1_000)), 107)

    def test_full(self) -> None:
        """A Redis that is full refuses it whole."""
        self.q.put([message('a')])
        self.client.config_set('maxmemory', 1)
        with self.assertRaises(QueueError):
            self.q.put([message('b'), message('c')])
        self.client.config_set('maxmemory', 0)
        eq_(self.q.status(['a', 'b', 'c']), ['enqueued', None, None])
        eq_(self.q.audit(), [])

    def test_full_and_sent_again(self) -> None:
        """What it has is put again all the same, also by who will wait for it."""
        one = message('a')
        self.q.put([one])
        self.client.config_set('maxmemory', 1)
        try:
            for client in '', 'c':
                eq_(self.q.put([one], '', client), [])
        finally:
            self.client.config_set('maxmemory', 0)
        self.q.cancel(['a'])
        eq_([id for id, _ in self.q.wait('c', 1)], ['a'])


class TurnPlain(unittest.TestCase):
    """What `turn.plain.lua` does alone is what `turn.lua` would have done."""

    def setUp(self) -> None:
        self.url = support.redis_url()
        self.client = redis.Redis.from_url(self.url)
        self.addCleanup(self.client.close)

    def begin(self) -> None:
        self.queues = [self.queue(), self.queue()]
        text = (script.FOLDER / 'turn.lua').read_text('utf-8')
        whole = script.assemble(text, script.prelude(True))
        self.queues[1]._scripts = {**self.queues[1]._scripts, 'turn': whole}
        for q in self.queues:
            q.join('p', {'host': 'h', 'boot': 'b'})

    def queue(self) -> worq_redis.TaskQueue:
        name = support.unique()
        self.addCleanup(support.clean, self.url, name)
        self.client.set(f'worq:{{{name}}}:clock', 1_700_000_000_000)
        q = worq_redis.TaskQueue(self.url, name, clock_key=True)
        self.addCleanup(q.close)
        return q

    def both(self, verb: str, *args: Any, **options: Any) -> Any:
        """What both answer."""
        made = [getattr(q, verb)(*args, **options) for q in self.queues]
        eq_(made[0], made[1], verb)
        return made[0]

    def keys(self, q: worq_redis.TaskQueue) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key in self.client.scan_iter(f'{q.prefix}*', count=1000):
            kind = self.client.type(key).decode()
            if key.endswith(b'}:ends'):   # of keys by their whole names
                continue
            found[key.decode().removeprefix(q.prefix)] = \
                self.client.hgetall(key) if kind == 'hash' else \
                self.client.zrange(key, 0, -1, withscores=True) if kind == 'zset' else \
                self.client.lrange(key, 0, -1) if kind == 'list' else \
                self.client.smembers(key) if kind == 'set' else self.client.get(key)
        return found

    def test_alike(self) -> None:
        """Turns that settle one task, take one, both or neither, and all that is not so."""
        words = [('value', b'x'), ('value', bytes(60)), ('value', bytes(5_000)), ('failure', b'x'),
                 ('release', b''), ('retry', b''), ('lost', b'x'), ('refuse', b'no'), ('', b'')]
        number = 0
        for options in ({}, {'ttl': 5_000}, {'lease': 70_000}, {'priority': 0}, {'priority': 2},
                        {'max_deliveries': 1}, {'flags': base.IGNORE_RESULT}, {'expires': 9_000},
                        {'body': bytes(100)}, {'header': b'n\n' + bytes(70)}):
            self.begin()
            self.both('turn', 'p', (), None, 8)
            for word, data in words:
                number += 1
                self.life(number, options, word, data)
            eq_(*[self.keys(q) for q in self.queues], f'{options}')
            self.both('purge')
            eq_(self.queues[0].audit(), [])

    def life(self, number: int, options: dict[str, Any], word: str, data: bytes) -> None:
        turn, id = partial(self.both, 'turn', 'p'), f't{number}'
        self.both('put', [message(id, **options)])
        for client in range(number % 3):
            self.both('watch', f'c{client}', [id])
        if number % 4 == 0:
            self.both('put', [message(f'next {number}')])
        one, = turn((), None, 1).deliveries
        if number % 7 == 0:
            self.both('put', [message(f'last {number}', id)])
        outcome = Outcome(id, one.token, word or 'value', data)
        if not word:
            outcome = outcome._replace(token=b'another')
        left = turn([outcome], [] if number % 5 == 0 else None, number % 3).deliveries
        eq_(*[self.keys(q) for q in self.queues], f'{options} {word}')
        turn([outcome], None, 0)    # sent twice
        self.both('cancel', [id])
        for _ in range(3):
            left = turn([Outcome(one.id, one.token, 'value', b'') for one in left], None,
                        8).deliveries
        eq_(left, [])
