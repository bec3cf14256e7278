"""What is Redis's own: keys and their ends, memory, broken connections, mistakes in URLs."""
from __future__ import annotations

import os
import select
import signal
import threading
import time
import unittest
from unittest import mock

import redis as client

from test import leaks, support
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from worq import const, get_broker
from worq.errors import QueueError
from worq.queue import base
from worq.queue.base import Argument, Outcome, TaskQueue
from worq.queue.redis import connect, encoding, queue as redis

LONG = 300 << 10   # bytes, more than scripts carry


def run(q: TaskQueue, data: bytes = b'v', limit: int = 200) -> int:
    """Take and settle whatever is ready, until nothing is; how many there were."""
    n, outcomes = 0, []
    while True:
        turn = q.turn('p', outcomes, (), limit)
        assert set(turn.settled) <= {'ok'}, turn.settled
        outcomes = [Outcome(d.id, d.token, 'value', data)
                    for d in [*turn.deliveries, *turn.late]]
        n += len(outcomes)
        if not outcomes:
            return n


class Case(unittest.TestCase):
    """A queue of its own on the shared server, with the server's own clock."""

    def setUp(self) -> None:
        self.url = support.redis_url()
        self.name = support.unique()
        self.q = redis.TaskQueue(self.url, self.name)
        self.client = client.Redis.from_url(self.url)
        self.addCleanup(self.client.close)
        self.addCleanup(support.clean, self.url, self.name)
        self.addCleanup(self.q.close)

    def key(self, rest: str) -> str:
        return f'worq:{{{self.name}}}:{rest}'

    def own(self, *args: str) -> tuple[support.Server, redis.TaskQueue]:
        server = support.start_redis(*args)
        self.addCleanup(server.close)
        q = redis.TaskQueue(server.url, self.name, retry_for=1)
        self.addCleanup(q.close)
        return server, q


class Store(Case):

    def test_no_key_without_end(self) -> None:
        """When all is done, every key has an end, but for those that a queue keeps for ever."""
        count = leaks.keys(self.url, self.name)
        self.q.join('p', {'host': 'h'})
        self.q.put([message('a'), message('b', 'a'), message('big', 'a', 'b', body=bytes(LONG)),
                    message('no', 'a', flags=base.IGNORE_RESULT)])
        self.q.watch('c', ['a', 'b', 'big', 'no'])
        self.q.watch('c2', ['a', 'b'])
        self.q.put([message('late', delay=50), message('gone'), message('after', 'gone')])
        self.q.cancel(['gone'])
        self.assertTrue(count())
        eventually(lambda: run(self.q, bytes(LONG)) and None or self.q.size(), 0)
        eq_(count(), set())
        eq_(self.q.audit(), [])

    def test_results_end(self) -> None:
        """An outcome, in the hash or beside it, is gone when its time is over."""
        self.q.put([message('small', ttl=30), message('large', ttl=30)])
        small, large = self.q.take('p', 2)
        self.q.settle('p', [outcome(small, 'value', b's'), outcome(large, 'value', bytes(500))])
        eventually(lambda: self.q.results(['small', 'large']), [None, None])
        eq_(self.client.keys(self.key('[tr]:*')), [])

    def test_small(self) -> None:
        """A queued task is a listpack of few fields, and costs less than 300 bytes."""
        # a server of its own: others' keys come and go, and tables grow by powers of two
        server, self.q = self.own()
        self.client = client.Redis.from_url(server.url)
        self.addCleanup(self.client.close)
        self.q.put([message('warm')])
        run(self.q)
        n = 5000
        ids = [f'{i:012d}' for i in range(n)]
        before = self.client.info('memory')['used_memory']
        for start in range(0, n, 500):
            self.q.put([message(id, header=b'mod.func', body=bytes(60))
                        for id in ids[start:start + 500]])
        each = (self.client.info('memory')['used_memory'] - before) / n
        print(f'{each:.0f} bytes for a queued task')
        self.assertLess(each, 300)   # a longer name and body than a no-op has
        eq_(set(self.client.hgetall(self.key(f't:{ids[0]}'))), {b's', b'n', b'h', b'b', b'C'})
        self.compact(ids[0])
        held, = self.q.take('p', 1)
        self.compact(ids[0])
        self.q.settle('p', [outcome(held, 'value', bytes(40))])
        self.compact(ids[0])

    def compact(self, id: str) -> None:
        self.assertIn(self.client.object('encoding', self.key(f't:{id}')),
                      (b'ziplist', b'listpack'))

    def test_long(self) -> None:
        """Long headers, bodies, arguments and outcomes arrive whole, past the scripts."""
        header = b'mod.func\n' + bytes(range(256))
        body, value = os.urandom(LONG), os.urandom(LONG)
        self.q.put([message('a', header=header, body=body), message('b', header=header),
                    message('c', 'a', 'b', body=b''), message('d', header=header, body=b'')])
        self.q.watch('w', ['a'])
        a, b, d = self.q.take('p', 3)
        eq_((a.header, a.body), (header, body))
        eq_((b.header, b.body), (header, b'body of b'))
        eq_((d.header, d.body), (header, b''))
        eq_(self.q.settle('p', [outcome(x, 'value', value) for x in (a, b)]), ['ok', 'ok'])
        c, = self.q.take('p', 1)
        eq_((c.body, [(id, base.unpack(raw).data == value) for id, raw in c.arguments]),
            (b'', [('a', True), ('b', True)]))
        lengths = [raw and len(raw) - LONG for raw in self.q.results(['a', 'b', 'c'])]
        eq_(lengths, [13, 13, None])
        eq_(self.q.wait('w', 5), [('a', b'')])
        eq_(self.q.watch('w', ['a']), [('a', b'')])

    def test_more_than_one_command_takes(self) -> None:
        """Outcomes too long for one command are settled in several, and each has its word."""
        self.addCleanup(setattr, encoding, 'SETTLE_BYTES', encoding.SETTLE_BYTES)
        encoding.SETTLE_BYTES = 1000
        for verb in ('settle', 'turn'):
            self.q.put([message(f'{verb}-{n}') for n in range(9)])
            held = self.q.take('p', 9)
            sizes = [400, 400, 400, 5000, 10, 10, 990, 10, 0]
            outcomes = [outcome(d, 'value', b'x' * n) for d, n in zip(held, sizes)]
            outcomes.insert(4, outcomes[0])
            words = self.q.settle('p', outcomes) if verb == 'settle' \
                else self.q.turn('p', outcomes).settled
            eq_(words, ['ok'] * 4 + ['again'] + ['ok'] * 5)
            eq_([len(r or b'') - const.NONCE - 1 for r in self.q.results([d.id for d in held])],
                sizes)

    def test_long_name_in_verdict(self) -> None:
        """What the queue says of a task begins with its name, also if its header is long."""
        self.q.put([message('a', header=b'mod.func\n' + bytes(200))])
        self.q.cancel(['a'])
        raw, = self.q.results(['a'])
        eq_(base.unpack(raw or b'').data, b'mod.func\ncancelled')

    def test_odd_ids(self) -> None:
        """Ids are any text: with colons, spaces, line feeds, braces, of any language, long."""
        ids = [':', ' ', '\n', '{}', '}{', '1:2', 'a\x00b', 'x' * 512, 'é' * 256, '\U0001f600',
               'n00000000001', '%s', "'", '\\', '*?[']
        chain = [message(id, *ids[max(i - 2, 0):i]) for i, id in enumerate(ids)]
        eq_(self.q.put(chain), [])
        eq_(self.q.watch('c:\n', ids), [])
        seen = []
        while deliveries := self.q.take('p', 10):
            for delivery in deliveries:
                seen.append(delivery.id)
                eq_(self.q.settle('p', [outcome(delivery)]), ['ok'])
        eq_(seen, ids)
        eq_([id for id, _ in self.q.wait('c:\n', 5)], ids)
        eq_(self.q.audit(), [])
        eq_(self.q.forget(ids), ['forgotten'] * len(ids))

    def test_odd_names(self) -> None:
        """Queues of any names share nothing."""
        names = [support.unique(x) for x in ('a}b', 'a{b', 'a b', 'a:b', 'a*', 'é')]
        queues = [redis.TaskQueue(self.url, name) for name in names]
        for q in queues:
            self.addCleanup(support.clean, self.url, q.name)
            self.addCleanup(q.close)
            q.put([message('same')])
        eq_([(q.size(), run(q), q.size(), q.audit()) for q in queues], [(1, 1, 0, [])] * 6)

    def test_wake_tokens(self) -> None:
        """However much is put while nobody listens, there are at most 32 tokens, and none when
        a pool has found nothing."""
        self.q.put([message(f'{i}') for i in range(100)])
        self.q.put([message(f'+{i}') for i in range(100)])
        eq_(self.client.llen(self.key('wake')), 32)
        run(self.q)
        eq_(self.client.llen(self.key('wake')), 0)


class Broken(Case):
    """Redis forgets, refuses, breaks off, or is not there."""

    def test_scripts_flushed(self) -> None:
        """A server that has forgotten its scripts gets them again."""
        self.q.put([message('a')])
        self.client.script_flush()
        eq_(self.q.put([message('b')]), [])
        self.client.script_flush()
        eq_(run(self.q), 2)

    def test_connections_killed(self) -> None:
        """A verb that may be sent twice survives the loss of all connections; a take does
        not, for its caller must reconcile."""
        self.q.put([message('a')])
        self.client.client_kill_filter(_type='normal', skipme=True)
        eq_(self.q.put([message('b')]), [])
        self.client.client_kill_filter(_type='normal', skipme=True)
        with self.assertRaisesRegex(QueueError, 'out of reach'):
            self.q.take('p', 1)
        eq_(len(self.q.take('p', 5)), 2)

    def test_full(self) -> None:
        """A full Redis refuses a put whole; what it has is taken, settled and done with."""
        server, q = self.own()
        n = 0
        server.cli('CONFIG', 'SET', 'maxmemory-policy', 'noeviction')
        q.put([message('first')])
        run(q)
        server.cli('CONFIG', 'SET', 'maxmemory', server.cli('MEMORY', 'STATS')[3] + (2 << 20))
        with self.assertRaisesRegex(QueueError, 'maxmemory'):
            while True:
                q.put([message(f'{n}', body=bytes(2000))])
                n += 1
        self.assertGreater(n, 100)
        size = q.size()
        with self.assertRaisesRegex(QueueError, 'maxmemory'):
            q.put([message('first', body=bytes(2000)), message('other')])
        eq_((q.size(), q.status([f'{n}', 'other']), q.audit()), (size, [None, None], []))
        q.join('p', {'host': 'h'})
        eq_(q.cancel(['0']), ['cancelled'])
        self.assertEqual(run(q, limit=20), n - 1)
        eq_((q.size(), q.audit()), (0, []))

    def test_away(self) -> None:
        """Without a server a verb raises QueueError in time, and names the address without
        the password."""
        port = support.free_port()
        q = redis.TaskQueue(f'redis://me:secret@127.0.0.1:{port}/0', retry_for=0.2)
        start = time.monotonic()
        with self.assertRaisesRegex(QueueError, f'127.0.0.1:{port}') as caught:
            q.put([message('a')])
        self.assertLess(time.monotonic() - start, 5)
        self.assertNotIn('secret', str(caught.exception))
        self.assertNotIn('secret', repr(q))

    def test_comes_back(self) -> None:
        """A put that finds no server is sent again and ends well if there is one in time."""
        server, q = self.own('--appendonly', 'yes')
        q._link.retry_for = 10
        q.put([message('a')])
        server.kill()
        thread = threading.Timer(0.3, server.start)
        thread.start()
        self.addCleanup(thread.join)
        eq_(q.put([message('b')]), [])

    def test_stalled(self) -> None:
        """A server that answers nothing any more is given up after the time-out."""
        server, _ = self.own()
        q = redis.TaskQueue(server.url + '?timeout=1.1', self.name, retry_for=0)
        self.addCleanup(q.close)
        q.size()
        server.kill(signal.SIGSTOP)
        self.addCleanup(server.kill, signal.SIGCONT)
        with self.assertRaisesRegex(QueueError, 'out of reach'):
            q.size()

    def test_password(self) -> None:
        """A wrong password is said at once, and not tried for seconds."""
        server, _ = self.own('--requirepass', 'right')
        for user in '', ':wrong@', 'nobody:wrong@':
            url = server.url.replace('//', f'//{user}')
            q = redis.TaskQueue(url, retry_for=60)
            with self.assertRaisesRegex(QueueError, 'password.* redis://:PASSWORD@HOST'):
                q.size()
        with redis.TaskQueue(server.url.replace('//', '//:right@')) as q:
            eq_(q.size(), 0)

    def test_too_old(self) -> None:
        """A server that is too old is refused by the first verb."""
        newest, connect.OLDEST = connect.OLDEST, (99, 0)
        self.addCleanup(setattr, connect, 'OLDEST', newest)
        with self.assertRaisesRegex(QueueError, 'is version .*needs'):
            # of other options, so with connections of its own
            redis.TaskQueue(self.url, self.name, retry_for=4).size()

    def test_foreign_key(self) -> None:
        """Keys of others in the place of ours are an error that says so."""
        self.client.set(self.key('q:1'), 'text')
        with self.assertRaisesRegex(QueueError, 'another database'):
            self.q.put([message('a')])

    def test_wait_in_one_round_trip(self) -> None:
        """A wait that is woken has all that has come, and what is there is not waited for."""
        self.q.put([message('a'), message('b')])
        self.q.watch('c', ['a', 'b'])
        self.q.settle('p', [outcome(d) for d in self.q.take('p', 2)])
        with mock.patch.object(self.q._link, 'run', wraps=self.q._link.run) as run:
            eq_([id for id, _ in self.q.wait('c', 5)], ['a', 'b'])
            eq_(self.q.wait('c', 0), [])
            eq_(self.q.wait('c', 0.01), [])
        eq_(run.call_count, 3)
        self.q.ring('c')
        eq_(self.q.wait('c', 600), [])

    def test_answers_in_one_piece(self) -> None:
        """Redis sends a piece for each table in an answer, so there are none for what is plain;
        and what is plain and what is not stay in their order."""
        self.q.put([message('a'), message('b', body=bytes(LONG)), message('c'), message('d')])
        *_, found = self.q._run('turn', 'p', const.LEASE, 9, 0)
        eq_([isinstance(part, list) for part in found], [False] * 6 + [True] + [False] * 12)
        self.q.reconcile('p', [])
        taken = self.q.take('p', 9)
        eq_([(d.id, len(d.body)) for d in taken], [('a', 9), ('b', LONG), ('c', 9), ('d', 9)])
        self.q.settle('p', [outcome(d, 'value', d.id.encode()) for d in taken])
        flat = self.q._run('watch', 'w', 'a', 'no', 'd')
        self.assertFalse(any(isinstance(part, list) for part in flat))
        news = self.q.watch('w', ['a', 'no', 'd'])
        eq_([(id, raw and base.unpack(raw).data) for id, raw in news],
            [('a', b'a'), ('no', None), ('d', b'd')])

    def test_ways_to_put(self) -> None:
        """A plain task is stored alike alone, among others, and where something is left over; and
        what is not refused has no answer."""
        for purges in 0, 1:
            stored = []
            for ids, more, who in [('a', 0, ''), ('bc', 0, ''), ('d', 1, ''), ('e', 0, 'w'),
                                   ('f', 1, 'w')]:
                if more:
                    self.client.hset(self.key('m'), 'more', 1)
                argv = [part for id in ids for part in (id, 'n' * const.NONCE, b'h', b'b', '')]
                eq_(self.q._run('put', '', who, *argv), None)
                stored += [self.client.hgetall(self.key(f't:{id}')) for id in ids]
                moments = [int(task.pop(b'C')) for task in stored[-len(ids):]]
                self.assertLess(abs(max(moments) / 1000 - time.time()), 60)   # of one machine
            plain = {b's': b'e', b'n': b'n' * const.NONCE, b'h': b'h', b'b': b'b',
                     **({b'g': b'%d' % purges} if purges else {})}
            eq_(stored, [plain] * 4 + [{**plain, b'w': b'w'}] * 2)
            eq_(self.client.lrange(self.key('q:1'), 0, -1),
                [b'n' * const.NONCE + id for id in (b'a', b'b', b'c', b'd', b'e', b'f')])
            eq_(self.client.llen(self.key('wake')), 6)
            self.q.purge()
            self.client.delete(self.key('q:1'), self.key('wake'), self.key('trash'),
                               *[self.key(f't:{id}') for id in 'abcdef'])
            self.client.hdel(self.key('m'), 'more')

    def test_bell(self) -> None:
        """A bell rings for a put, by itself, and for a broken connection; then it goes on."""
        bell = self.q.bell('p')
        self.addCleanup(bell.close)
        for event in [lambda: self.q.put([message('a')]), lambda: None,
                      lambda: self.client.client_kill_filter(_type='normal', skipme=True)]:
            bell.arm()
            bell.arm()
            event()
            eq_(bool(select.select([bell], [], [], 5)[0]), True)
            bell.clear()
        bell.arm()
        self.q.put([message('b')])
        eq_(bool(select.select([bell], [], [], 5)[0]), True)
        bell.close()
        bell.close()

    def test_bell_without_server(self) -> None:
        """A bell cannot be armed while there is no server, and can when it is back."""
        server, q = self.own()
        bell = q.bell('p')
        self.addCleanup(bell.close)
        bell.arm()
        server.kill()
        eq_(bool(select.select([bell], [], [], 5)[0]), True)
        bell.clear()
        with self.assertRaises(QueueError):
            bell.arm()
        server.start()
        bell.arm()
        q.put([message('a')])
        eq_(bool(select.select([bell], [], [], 5)[0]), True)

    def test_fork(self) -> None:
        """A forked child has connections of its own, and leaves its parent's alone."""
        self.q.put([message('a')])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                eq_(self.q.put([message('b')]), [])
                self.q.close()
                status = 0
            finally:
                os._exit(status)
        eq_(os.waitpid(child, 0)[1], 0)
        eq_(self.q.status(['a', 'b']), ['enqueued', 'enqueued'])

    def test_shared_connections(self) -> None:
        """Many queues of one address, as a program makes that asks for one by the call, share."""
        self.q.size()
        before = leaks.descriptors()
        many = [redis.TaskQueue(self.url, f'{self.name}-{n}') for n in range(50)]
        eq_([q.size() for q in many], [0] * 50)
        eq_(leaks.descriptors() - before, set())

    def test_threads(self) -> None:
        """Threads that use a queue at once get their own answers."""
        wrong: list[object] = []

        def use(n: int) -> None:
            for i in range(100):
                id = f'{n}-{i}'
                answer = self.q.put([message(id)]), self.q.status([id, f'no-{id}'])
                if answer != ([], ['enqueued', None]):
                    wrong.append(answer)
        threads = [threading.Thread(target=use, args=(n,)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eq_((wrong, run(self.q), self.q.audit()), ([], 800, []))


class Urls(unittest.TestCase):

    def test_moved(self) -> None:
        """A broker that moves to another queue takes the options of its own along."""
        url = 'redis://127.0.0.1:1/0?timeout=3'
        for options in [{}, {'retry_for': 0.5, 'strict': True, 'durable': 1}]:
            broker = get_broker(url, 'one', secret='s' * 16, **options)
            other = get_broker(url, 'other', secret='s' * 16, **options)
            broker.move('other')
            for get in (lambda b: b.backend._durable, lambda b: b.backend._link.retry_for,
                        lambda b: b.backend._link.strict,
                        lambda b: b.backend._link.address.timeout, lambda b: b.backend.name,
                        lambda b: b.codec.keys.signs):
                eq_(get(broker), get(other))

    def test_good(self) -> None:
        """All parts of a URL arrive; those left out have their defaults."""
        for url, expect in [
                ('redis://', {'host': 'localhost', 'port': 6379}),
                ('redis://h', {'host': 'h', 'port': 6379}),
                ('redis://u:p%40@h:1/2', {'username': 'u', 'password': 'p@', 'port': 1,
                                          'db': 2}),
                ('redis://:p@[::1]:7', {'host': '::1', 'port': 7, 'password': 'p'}),
                ('redis://h?db=3&timeout=9', {'db': 3, 'timeout': 9}),
                ('rediss://h?ssl_ca_certs=/c.pem&ssl_check_hostname=false',
                 {'ssl_ca_certs': '/c.pem', 'ssl_check_hostname': False}),
                ('unix:///run/redis.sock?db=1', {'path': '/run/redis.sock', 'db': 1}),
                ('unix://u:p@/run/redis.sock', {'username': 'u', 'path': '/run/redis.sock'})]:
            address = connect.parse(url)
            options = {**address.options, 'timeout': address.timeout}
            eq_({name: options.get(name) for name in expect}, expect, url)

    def test_bad(self) -> None:
        """A mistake in a URL is an error that says what to write, and no password."""
        for url, what in [
                ('redis://h:port', 'bad port.*number'), ('redis://h:99999', 'bad port'),
                ('redis://h/x', "bad database 'x'"), ('redis://h/1/2', 'bad database'),
                ('redis://h/-1', 'bad database'), ('redis://h?db=one', 'bad db.*number'),
                ('redis://h?colour=1', "unknown option 'colour'.*ssl_ca_certs"),
                ('redis://h?ssl_keyfile=k', 'rediss://'), ('unix://', 'unix:///'),
                ('unix://run', 'unix:///'),
                ('rediss://h?ssl_check_hostname=2', 'true or false'),
                ('rediss://h?ssl_cert_reqs=maybe', 'none, optional or required'),
                ('redis://h?timeout=0', 'timeout'), ('redis://u:secret@h/x', 'bad database')]:
            with self.assertRaisesRegex(ValueError, what) as caught:
                redis.TaskQueue(url)
            self.assertNotIn('secret', str(caught.exception))

    def test_mistake_first(self) -> None:
        """A mistake in a URL is told before a secret is asked for, which it may not need."""
        with self.assertRaisesRegex(ValueError, 'bad port'):
            get_broker('redis://localhost:6379:0')

    def test_bad_option(self) -> None:
        """An option that does not exist is an error that tells those that do."""
        with self.assertRaisesRegex(TypeError, "'colour'; there are retry_for, strict, durable$"):
            get_broker('redis://localhost', colour=1)

    def test_unix(self) -> None:
        """A queue works on a Unix socket."""
        server = support.start_redis('--unixsocket', 'redis.sock')
        self.addCleanup(server.close)
        with redis.TaskQueue(f'unix://{server.folder}/redis.sock?db=1') as q:
            q.put([message('a'), message('b', Argument('a', ''))])
            eq_((run(q), q.audit()), (2, []))
