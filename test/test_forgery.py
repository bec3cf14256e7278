"""Who can write into the Redis, but knows no secret: nothing that is signed can be moved."""
from __future__ import annotations

import logging
from typing import Any
import unittest

import redis as client

import worq
from test import support
from worq import const, seals
from worq.codec import Codec, Keyring
from worq.core import Broker
from worq.errors import TaskFailure, UntrustedMessage
from worq.pool.process import WorkerPool as ProcessPool
from worq.pool.run import run
from worq.pool.thread import WorkerPool
from worq.queue.base import Argument, Delivery, Hop, path, unpack

SECRET = 'sixteen bytes or more'
BELIEVED = 'a signed outcome that was moved is believed'


def echo(value: Any) -> Any:
    return value


def fails(text: str) -> None:
    raise ValueError(text)


def tail(n: int, value: Any) -> Any:
    """The value, after n tail calls."""
    q = worq.current_task().queue
    return q.tail(n - 1, value) if n else value


def tail_to(id: str) -> Any:
    """A tail call to a task of which only the id is known."""
    return worq.Task(worq.current_task().queue.echo).broker.deferred(id)


def init(url: str, name: str, secret: str) -> Broker:
    broker = worq.get_broker(url, name, secret=secret)
    for task in echo, fails, tail, tail_to:
        broker.expose(task)
    return broker


class Forger(unittest.TestCase):
    """Everything is run by hand, so that records can be changed at any moment."""

    def setUp(self) -> None:
        self.url, self.name = support.redis_url(), support.unique()
        self.broker = init(self.url, self.name, SECRET)
        self.addCleanup(support.clean, self.url, self.name)
        self.addCleanup(self.broker.close)
        self.q = self.broker.queue()
        self.redis = client.Redis.from_url(self.url)
        self.addCleanup(self.redis.close)

    def work(self) -> None:
        """Run whatever is ready."""
        queue = self.broker.backend
        while deliveries := queue.take('p', 50):
            for delivery in deliveries:
                with quiet():
                    self.assertEqual(queue.settle('p', [run(self.broker, delivery)]), ['ok'])

    def key(self, id: str, kind: str = 't') -> str:
        return f'worq:{{{self.name}}}:{kind}:{id}'

    def record(self, id: str) -> bytes:
        raw, = self.broker.backend.results([id])
        assert raw is not None
        return raw

    def write(self, id: str, raw: bytes, **fields: Any) -> None:
        """End a task with this record, as the queue would."""
        nonce, = self.redis.hmget(self.key(id), 'n')
        for lane in range(3):
            self.redis.lrem(f'worq:{{{self.name}}}:q:{lane}', 0, nonce + id.encode())
        self.redis.hdel(self.key(id), 'h', 'b', 'a', 'u', 'x', 'S')
        self.redis.hset(self.key(id), mapping={'s': 'c', 'r': raw, **fields})

    def moved(self, source: str, victim: str) -> list[bytes]:
        """The outcome of one task as one of another, in all ways that can be thought of."""
        raw = self.record(source)
        nonce, kind = self.redis.hget(self.key(victim), 'n'), raw[12:13]
        life, at = raw[:12], b'%d:%b' % (len(source), source.encode())
        own = raw[13:] if kind.islower() else raw[len(raw) - len(unpack(raw).data):]
        hops = raw[13 + 2:len(raw) - len(own)] if kind.isupper() else b''
        seals_there = [hop.seal for hop in path(raw)] + [bytes(23), b'\xa1t\0' + bytes(20)]
        ways = [raw[12:], kind.lower() + own, kind.upper() + life + at + own,
                kind.upper() + b'1:' + life + at + b'0:' + own,
                kind.upper() + b'%d:' % const.LINKS + const.LINKS * (life + at + b'0:') + own]
        for seal in seals_there:
            hop = life + at + b'%d:' % len(seal) + seal
            ways += [kind.upper() + b'1:' + hop + own, kind.upper() + b'2:' + hop + hops + own]
        return [nonce + way for way in ways]

    def refused(self, id: str, *texts: str) -> None:
        failure = self.broker.deferred(id).exception(0)
        self.assertIsInstance(failure, TaskFailure, BELIEVED)
        self.assertRegex(str(failure), 'UntrustedMessage|not an outcome on record')
        for text in texts:
            self.assertNotIn(text, str(failure))


def told(hops: list[Hop]) -> bytes:
    """Hops as they are in a record."""
    return b''.join(b'%b%d:%b%d:%b' % (hop.nonce.encode(), len(hop.id), hop.id.encode(),
                                       len(hop.seal), hop.seal) for hop in hops)


class quiet:
    """Tasks that fail are logged; these are meant to."""

    def __enter__(self) -> None:
        logging.disable(logging.CRITICAL)

    def __exit__(self, *exc_info: object) -> None:
        logging.disable(logging.NOTSET)


class Forgery(Forger):

    def test_moved(self) -> None:
        """A value or a failure that was signed for one task is that of no other: not for those
        who wait, in this process or another, and not for a task that gets it as an argument."""
        for source in (self.q.echo('approved'), self.q.fails('approved'),
                       self.q.tail(1, 'approved'), self.q.echo(self.q.fails('approved'))):
            self.work()
            victim = self.q.echo('denied')
            for raw in self.moved(source.id, victim.id):
                self.write(victim.id, raw)
                with self.subTest(raw):
                    self.refused(victim.id, 'approved')
                    for on_error in 'fail', 'pass':
                        victim._args = ()   # its broker is not to know it by value
                        dependent = worq.Task(self.q.echo, on_error=on_error)([victim])
                        self.work()
                        self.refused(dependent.id, 'approved')
            self.assertIsInstance(victim.exception(0), TaskFailure)

    def test_old_life(self) -> None:
        """A value of an earlier life is none of a later one."""
        once = worq.Task(self.q.echo, id='once')
        once('approved')
        self.work()
        old = self.record('once')
        again = once('denied')
        nonce = self.redis.hget(self.key('once'), 'n')
        for raw in [nonce + old[12:], nonce + b'V' + old[:12] + b'4:once' + old[13:],
                    nonce + b'V1:' + old[:12] + b'4:once0:' + old[13:], old]:
            self.write('once', raw)
            self.assertIsInstance(self.broker.deferred('once')._nonce, str)
            fresh = self.broker.deferred('once')
            fresh._nonce = again._nonce   # as it is where the call was made
            self.assertIsInstance(fresh.exception(0), TaskFailure, BELIEVED)

    def test_hops_of_another(self) -> None:
        """The path of an honest outcome is good for its own task only: whole, cut, in another
        order, twice, without seals, or with those of arguments for a value."""
        honest = self.q.tail(3, 'approved')
        self.work()
        self.assertEqual(honest.result(0), 'approved')
        raw, victim = self.record(honest.id), self.q.tail(3, 'denied')
        self.work()
        self.assertEqual(victim.result(0), 'denied')
        hops, theirs = path(raw), path(self.record(victim.id))
        self.assertEqual((len(hops), len(theirs)), (3, 3))
        data = unpack(raw).data
        nonce = self.redis.hget(self.key(victim.id), 'n')
        plain = [hop._replace(seal=b'') for hop in hops]
        argued = seals.sealed(self.broker.codec, victim.id, victim._nonce,
                              [Argument(hops[2].id, hops[2].nonce)])
        for way in [hops, hops[1:], hops[2:], theirs[:1] + hops[1:], theirs[:2] + hops[2:],
                    theirs + hops[2:], hops[::-1], hops + hops, plain, theirs + plain[2:],
                    theirs[:2] + [hops[2]._replace(seal=theirs[2].seal)],
                    [Hop(*argued[0])], [theirs[0]._replace(nonce=hops[0].nonce), *hops[1:]]]:
            self.redis.hset(self.key(victim.id), 'r',
                            nonce + b'V%d:' % len(way) + told(way) + data)
            self.refused(victim.id, 'approved')

    def test_value_with_a_gap(self) -> None:
        """Of a failure's path that is as long as a record tells the middle may be missing, of
        that of a value nothing."""
        source, victim = self.q.echo('approved'), self.q.tail(const.LINKS, 'denied')
        self.work()
        self.assertEqual(victim.result(0), 'denied')
        hops = path(self.record(victim.id))
        self.assertEqual(len(hops), const.LINKS)
        raw = self.record(source.id)
        for last in Hop(source.id, raw[:12].decode(), b''), hops[-1]._replace(seal=b''):
            way = [*hops[:-1], last]
            data = raw[13:] if last.id == source.id else unpack(self.record(victim.id)).data
            forged = victim._nonce.encode() + b'V%d:' % len(way) + told(way) + data
            with self.assertRaises(UntrustedMessage, msg=BELIEVED):
                self.broker.decode(victim.id, forged)

    def test_every_bit(self) -> None:
        """An outcome with a path in which any one bit is changed is refused."""
        for one in self.q.tail(2, 'v'), self.q.echo(self.q.echo(self.q.fails('because'))):
            self.work()
            raw = self.record(one.id)
            decode = self.broker.decode
            self.assertEqual(str(decode(one.id, raw))[-7:], str(one.exception(0) or 'v')[-7:])
            for bit in range(8 * 13, 8 * len(raw)):
                flipped = bytearray(raw)
                flipped[bit // 8] ^= 1 << bit % 8
                if bytes(flipped[12:13]).lower() in (b'x', b'c'):
                    continue   # the queue's own are not signed
                with self.assertRaises(worq.DecodeError):
                    decode(one.id, bytes(flipped))

    def test_argument_of_another(self) -> None:
        """A failure comes along the edges that the call was signed with, and along no others."""
        bad, worse = self.q.fails('bad'), self.q.fails('worse')
        victim, other = self.q.echo([bad]), self.q.echo([worse])
        self.work()
        self.assertRegex(str(victim.exception(0)), 'ValueError: bad')
        mine, theirs = self.record(victim.id), self.record(other.id)
        for raw in [mine[:13] + theirs[13:], mine[:13] + theirs[13:52] + mine[52:]]:
            self.redis.hset(self.key(victim.id), 'r', raw)
            self.refused(victim.id, 'worse')

    def test_flag(self) -> None:
        """A task that is to fail with its argument does not run with that failure; nor does one
        that is to run fail with it."""
        bad = self.q.fails('because')
        fails, runs = self.q.echo([bad]), worq.Task(self.q.echo, on_error='pass')([bad])
        self.redis.hset(self.key(fails.id), 'f', const.PASS)
        self.redis.hdel(self.key(runs.id), 'f')
        self.work()
        self.refused(fails.id, 'because')
        self.refused(runs.id, 'because')

    def test_other_database(self) -> None:
        """What was signed for a queue in one database is not run, nor believed, in another."""
        server = support.start_redis()
        self.addCleanup(server.close)
        where = [f'{server.url.rpartition("/")[0]}/{db}' for db in (0, 1, 11)]
        ran = []
        for url in where:
            with init(url, self.name, SECRET) as broker:
                one = broker.queue().echo('approved')
                keys = client.Redis.from_url(url)
                self.addCleanup(keys.close)
                for other in where:
                    if other != url:   # all of it, to the last byte
                        for key in keys.scan_iter('worq:*'):
                            keys.copy(key, key, destination_db=int(other.rpartition('/')[2]),
                                      replace=True)
                        with init(other, self.name, SECRET) as victim:
                            delivery, = victim.backend.take('p', 9)
                            self.assertEqual(delivery.id, one.id)
                            with quiet():
                                outcome = run(victim, delivery)
                            self.assertEqual(outcome.word, 'failure', BELIEVED)
                            self.assertIn(b'UntrustedMessage', outcome.data)
                            client.Redis.from_url(other).flushdb()
                delivery, = broker.backend.take('p', 9)
                ran.append(run(broker, delivery).word)
                keys.flushdb()
        self.assertEqual(ran, ['value'] * 3)

    def test_signed_anew(self) -> None:
        """A worker that is to sign a value anew signs none that was moved."""
        n = const.LINKS + 1
        sources = [self.q.tail(n, value) for value in ('approved', 'denied')]
        deliveries: dict[str, Delivery] = {}
        queue = self.broker.backend
        while taken := queue.take('p', 50):
            for delivery in taken:
                if seals.is_seal(delivery.memo):
                    deliveries[delivery.id] = delivery
                else:
                    queue.settle('p', [run(self.broker, delivery)])
        good, bad = (next(d for d in deliveries.values() if d.id == one.id) for one in sources)
        self.assertEqual(run(self.broker, good).word, 'value')
        (id, raw), = bad.arguments
        (_, other), = good.arguments
        for arguments, memo in [
                (good.arguments, bad.memo), (bad.arguments, good.memo),
                (good.arguments, good.memo), (((id, other),), bad.memo),
                (((id, raw[:12] + other[12:]),), bad.memo), (((id, b''),), bad.memo),
                (((id, raw[:12] + b'x?'),), bad.memo)]:
            with quiet():
                got = run(self.broker, bad._replace(arguments=arguments, memo=memo))
            self.assertEqual(got.word, 'failure', BELIEVED)
        self.assertEqual(run(self.broker, bad).word, 'value')

    def test_other_secret(self) -> None:
        """A path that is signed with a secret that is unknown here says so."""
        one = self.q.tail(1, 'value')
        self.work()
        other = Broker(self.broker.backend, Codec(self.name, keys=Keyring(['another secret, 16'])))
        with self.assertRaises(UntrustedMessage) as caught:
            other.decode(one.id, self.record(one.id))
        self.assertTrue(caught.exception.unknown_key)
        both = Broker(self.broker.backend, Codec(
            self.name, keys=Keyring(['another secret, 16', SECRET])))
        self.assertEqual(both.decode(one.id, self.record(one.id)), 'value')


class Honest(Forger):
    """What came along edges as it should is believed, by everybody."""

    def read(self, id: str) -> Any:
        """As a process does that knows the id only."""
        with worq.get_broker(self.url, self.name, secret=SECRET) as broker:
            one = broker.deferred(id)
            return one.exception(0) or one.result(0)

    def test_tail_calls(self) -> None:
        """The value and the failure of tail calls, however many."""
        for n in 0, 1, 2, const.LINKS, const.LINKS + 1, const.LINKS + 2, 5 * const.LINKS:
            value, dependent = self.q.tail(n, n), self.q.echo([self.q.tail(n, n)])
            failure = self.q.tail(n, self.q.fails('because'))
            self.work()
            self.assertEqual((self.read(value.id), value.result(0)), (n, n))
            self.assertEqual(dependent.result(0), [n])
            self.assertRegex(str(self.read(failure.id)), 'ValueError: because')

    def test_links_that_are_gone(self) -> None:
        """A value needs nothing but its own record: all it came from may be forgotten."""
        one = self.q.tail(3 * const.LINKS, 'value')
        self.work()
        for key in self.redis.scan_iter(f'worq:{{{self.name}}}:*:*'):
            if one.id not in key.decode():
                self.redis.delete(key)
        self.assertEqual(self.read(one.id), 'value')

    def test_failures(self) -> None:
        """A failure of an argument of an argument ..., however many; through batches and gates; of
        a wide one; passed on."""
        bad = self.q.fails('because')
        for n in range(3 * const.LINKS):
            bad = self.q.echo(bad)
        with worq.batch(self.q):
            root = self.q.fails('because')
            wide = self.q.echo([root, *(self.q.echo(n) for n in range(600))])
            behind = self.q.echo(self.q.tail(2, wide))
        passed = worq.Task(self.q.echo, on_error='pass')([behind])
        self.work()
        for one in bad, wide, behind:
            failure = self.read(one.id)
            self.assertRegex(str(failure), 'ValueError: because')
        self.assertRegex(str(passed.result(0)[0]), 'ValueError: because')
        late = self.q.echo([behind])   # whose argument has failed by now
        self.assertRegex(str(self.read(late.id)), 'ValueError: because')

    def test_by_id(self) -> None:
        """A tail call to, and an argument of, a task of which only the id is known."""
        worq.Task(self.q.echo, id='known')('value')
        one, two = self.q.tail_to('known'), self.q.echo([self.broker.deferred('known')])
        worq.Task(self.q.fails, id='bad')('because')
        three = self.q.tail_to('bad')
        four = self.q.echo(self.broker.deferred('bad'))
        self.work()
        self.assertEqual([self.read(each.id) for each in (one, two)], ['value', ['value']])
        for each in three, four:
            self.assertRegex(str(self.read(each.id)), 'ValueError: because')

    def test_pools(self) -> None:
        """Pools of threads and of processes sign, and sign anew."""
        for pool in (WorkerPool(self.broker, workers=2),
                     ProcessPool(self.broker, init, (self.name, SECRET), workers=2)):
            with pool:
                many = [self.q.tail(2 * const.LINKS + 5, n) for n in range(3)]
                self.assertEqual([one.result(30) for one in many], [0, 1, 2])
                self.assertEqual([self.read(one.id) for one in many], [0, 1, 2])

    def test_memory(self) -> None:
        """In memory nothing is signed, kept or signed anew."""
        with worq.get_broker('memory://', self.name) as broker:
            broker.expose(tail)
            with WorkerPool(broker):
                one = broker.queue().tail(3 * const.LINKS, 'value')
                self.assertEqual(one.result(10), 'value')
            raw, = broker.backend.results([one.id])
            assert raw is not None
            self.assertEqual([hop.seal for hop in path(raw)], [b''])
