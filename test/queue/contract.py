"""The contract of ``worq/queue/base.py`` as tests; every backend inherits them.

A subclass brings ``open(name)`` and ``advance(ms)``, which moves the backend's clock, so
that no test waits for time. This file has what the tests share, and the verb ``put``;
the other files ``contract_*.py`` have the other verbs, and ``QueueContract`` in
``contract_pools.py`` has them all.
"""
from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from typing import Any

from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Held, Message, Outcome, TaskQueue, unpack

ENDS = const.ENDS.values()
HEADER = b'mod.func\n{"more": "of the header"}'
_nonces = itertools.count(1)


def nonce() -> str:
    return f'n{next(_nonces):011d}'


def message(id: str, *arguments: str | Argument, **options: Any) -> Message:
    """A message with an own nonce; arguments are ids, or `Argument` for a certain life."""
    edges = tuple(a if isinstance(a, Argument) else Argument(a, '') for a in arguments)
    return Message(**{
        'id': id, 'nonce': nonce(), 'header': HEADER, 'body': b'body of ' + id.encode(),
        'arguments': edges, **options})


def steps(messages: Sequence[Message]) -> list[list[Message]]:
    """The messages as lists that one put can take."""
    made: list[list[Message]] = []
    room = 0
    for one in messages:
        weight = 1 + const.EDGE * len(one.arguments)
        if weight > room:
            made.append([])
            room = const.PUT_LIMIT
        made[-1].append(one)
        room -= weight
    return made


def outcome(delivery: Delivery, word: str = 'value', data: bytes = b'',
            **options: Any) -> Outcome:
    return Outcome(delivery.id, delivery.token, word, data, **options)


def held(*deliveries: Delivery, progress: bytes = b'') -> list[Held]:
    return [Held(d.id, d.token, progress) for d in deliveries]


class Contract:
    """What the tests share. `q` is a queue of its own for each test."""

    maxDiff = None

    def open(self, name: str) -> TaskQueue:
        """The queue of this name, with a clock that stands still."""
        raise NotImplementedError

    def advance(self, ms: int) -> None:
        """Move the clock of `q`."""
        raise NotImplementedError

    def setUp(self) -> None:
        self.q = self.open(f'test {uuid.uuid4().hex}')

    def tearDown(self) -> None:
        try:
            self.drain()
            self.assertEqual(self.q.audit(), [])
        finally:
            self.q.close()

    # -- short words --------------------------------------------------------------

    def put(self, *messages: Message) -> None:
        for step in steps(messages):
            self.assertEqual(self.q.put(step), [])

    def take(self, limit: int = 1, pool: str = 'p1', **options: Any) -> list[Delivery]:
        return self.q.take(pool, limit, **options)

    def take_one(self, id: str, pool: str = 'p1') -> Delivery:
        got = self.take(1, pool)
        self.assertEqual([d.id for d in got], [id])
        return got[0]

    def ids(self, limit: int = 100, pool: str = 'p1') -> list[str]:
        return [d.id for d in self.take(limit, pool)]

    def settle(self, *outcomes: Outcome, pool: str = 'p1') -> list[str]:
        return self.q.settle(pool, outcomes)

    def complete(self, id: str, data: bytes = b'', word: str = 'value') -> None:
        """Take the task, which must be next, and settle it."""
        delivery = self.take_one(id)
        self.assertEqual(self.settle(outcome(delivery, word, data)), ['ok'])

    def status(self, *ids: str) -> list[str | None]:
        """As ``status``, with one word for all ends. It is told how each has ended."""
        words = self.q.status(ids)
        for word, raw in zip(words, self.q.results(ids)):
            self.assertEqual(word in ENDS, raw is not None)
            if raw is not None:
                self.assertEqual(word, const.ENDS[unpack(raw).kind])
        return ['completed' if word in ENDS else word for word in words]

    def record(self, id: str) -> base.Record | None:
        raw, = self.q.results([id])
        return None if raw is None else unpack(raw)

    def outcome_of(self, id: str) -> tuple[bytes, bytes]:
        record = self.record(id)
        assert record is not None, f'{id} has no outcome'
        return record.kind, record.data

    def origin_of(self, id: str) -> str | None:
        record = self.record(id)
        assert record is not None, f'{id} has no outcome'
        return record.origin[0] if record.origin else None

    def tick(self, ms: int = const.TICK) -> None:
        """Let time pass, without a gap, while some pool that has nothing beats."""
        while ms > 0:
            self.advance(min(ms, const.TICK))
            ms -= const.TICK
            self.q.beat('ticker')

    def drain(self) -> None:
        """Let a backend that works in bounded steps finish what it has left over."""
        for _ in range(50):
            self.q.beat('ticker')
        self.tick(12 * const.TICK)

    def lose(self, pool: str = 'p1') -> None:
        """Let the leases of a pool run out."""
        self.q.beat('ticker')
        self.tick(const.LEASE + const.TICK)


class Put(Contract):

    def test_put_twice_at_once(self) -> None:
        """A message that a put has twice is stored once, also after an earlier life of its id."""
        for _ in range(2):
            again = message('a')
            self.put(again, message('b'), again)
            taken = self.take(9)
            self.assertEqual([one.id for one in taken], ['a', 'b'])
            self.settle(*map(outcome, taken))
            self.q.forget(['b'])

    def test_put_makes_enqueued(self) -> None:
        """A task with no arguments that is due now is enqueued."""
        self.put(message('a'))
        self.assertEqual(self.status('a'), ['enqueued'])
        self.assertEqual(self.q.results(['a']), [None])
        self.assertEqual(self.ids(), ['a'])

    def test_put_nothing(self) -> None:
        """A put of nothing stores nothing and refuses nothing."""
        self.assertEqual(self.q.put([]), [])
        self.assertEqual(self.q.size(), 0)

    def test_begin_put(self) -> None:
        """A put may be begun, and ended later: it is stored, or refused, like any other."""
        self.assertEqual(self.q.begin_put([])(), [])
        end = self.q.begin_put([message('a'), message('b', 'a')])
        self.assertEqual(self.q.pools(), {})   # what else is asked meanwhile has its answer
        self.assertEqual(end(), [])
        self.put(message('c'))
        end = self.q.begin_put([message('d'), message('c')])
        self.assertEqual([refusal[:2] for refusal in end()], [('c', 'duplicate')])
        self.assertEqual(self.status('a', 'b', 'c', 'd'),
                         ['enqueued', 'pending', 'enqueued', None])
        with self.assertRaisesRegex(ValueError, 'not an id'):
            self.q.begin_put([message('')])()
        self.assertEqual(self.ids(), ['a', 'c'])

    def test_put_delayed(self) -> None:
        """A task with a delay is scheduled, and enqueued when its time has come."""
        self.put(message('a', delay=5_000), message('b', delay=2_000))
        self.assertEqual(self.status('a', 'b'), ['scheduled', 'scheduled'])
        self.assertEqual(self.ids(), [])
        self.tick(1_000)
        self.assertEqual(self.status('b'), ['scheduled'])
        self.tick(2_000)
        self.assertEqual(self.status('a', 'b'), ['scheduled', 'enqueued'])
        self.tick(2_000)
        self.assertEqual(self.ids(), ['b', 'a'])

    def test_put_pending(self) -> None:
        """A task waits for its open arguments and then brings their outcomes along."""
        self.put(message('a'), message('b'), message('c', 'a', 'b'))
        self.assertEqual(self.status('c'), ['pending'])
        self.complete('a', b'one')
        self.assertEqual(self.status('c'), ['pending'])
        self.complete('b', b'two')
        self.assertEqual(self.status('c'), ['enqueued'])
        delivery = self.take_one('c')
        self.assertEqual(delivery.body, b'body of c')
        self.assertEqual(delivery.header, HEADER)
        self.assertEqual([(id, unpack(raw).data) for id, raw in delivery.arguments],
                         [('a', b'one'), ('b', b'two')])
        self.settle(outcome(delivery))

    def test_put_argument_of_a_certain_life(self) -> None:
        """An argument may name the life that is meant, also one of the same put."""
        a = message('a')
        self.put(a, message('b', Argument('a', a.nonce)))
        self.put(message('c', Argument('a', a.nonce)))
        self.complete('a', b'x')
        self.assertEqual(self.ids(), ['b', 'c'])

    def test_put_completed_argument(self) -> None:
        """A task whose arguments have all completed is enqueued at once."""
        self.put(message('a'))
        self.complete('a', b'one')
        self.put(message('b', 'a'))
        self.assertEqual(self.status('b'), ['enqueued'])
        delivery = self.take_one('b')
        self.assertEqual([(id, unpack(raw)[1:3]) for id, raw in delivery.arguments],
                         [('a', (base.VALUE, b'one'))])

    def test_put_order(self) -> None:
        """Higher priorities first, within one the order in which they were put."""
        self.put(message('n1'), message('l1', priority=2), message('h1', priority=0),
                 message('n2'))
        self.put(message('h2', priority=0), message('l2', priority=2), message('n3'))
        self.assertEqual(self.ids(), ['h1', 'h2', 'n1', 'n2', 'n3', 'l1', 'l2'])

    def test_put_twice(self) -> None:
        """A put that is sent again counts as stored and changes nothing, at any time."""
        graph = [message('a'), message('b', 'a'), message('later', delay=3_000)]
        self.put(*graph)
        self.put(*graph)
        self.assertEqual(self.q.size(), 3)
        delivery = self.take_one('a')
        self.put(*graph)
        self.assertEqual(self.status('a'), ['processing'])
        self.settle(outcome(delivery, data=b'x'))
        self.put(*graph)
        self.assertEqual(self.outcome_of('a'), (b'v', b'x'))
        self.assertEqual(self.ids(), ['b'])
        self.assertEqual(self.ids(), [])

    def test_put_duplicate(self) -> None:
        """The id of a live task is refused in each state, and nothing of that put is stored."""
        self.put(message('run'), message('wait', 'run'), message('later', delay=9_999))
        self.take_one('run')
        self.put(message('ready'))
        for id in ['run', 'wait', 'later', 'ready']:
            refused = self.q.put([message('other'), message(id)])
            self.assertEqual(refused[0][:2], (id, 'duplicate'))
            self.assertEqual(self.status('other'), [None])
        self.assertEqual(self.q.size(), 4)

    def test_put_twice_in_one(self) -> None:
        """An id that comes twice in one put is refused."""
        refused = self.q.put([message('a'), message('a')])
        self.assertEqual(refused[0][:2], ('a', 'duplicate'))
        self.assertEqual(self.status('a'), [None])
        self.assertEqual(self.q.size(), 0)

    def test_put_new_life(self) -> None:
        """The id of a completed task begins a new life, and the old outcome is gone."""
        self.put(message('a'))
        self.complete('a', b'old')
        self.put(message('a'))
        self.assertEqual(self.status('a'), ['enqueued'])
        self.assertEqual(self.q.results(['a']), [None])
        delivery = self.take_one('a')
        self.assertEqual(delivery.number, 1)
        self.assertEqual(delivery.token[const.NONCE:], b'1')

    def test_put_new_life_of_cancelled(self) -> None:
        """A new life stands at the back, wherever the cancelled one stood before."""
        self.put(message('a'), message('b'))
        self.q.cancel(['a'])
        self.put(message('a'))
        self.assertEqual(self.ids(), ['b', 'a'])

    def test_put_pinned(self) -> None:
        """The id of a completed task is refused while its outcome is an argument of another."""
        self.put(message('a'), message('b', 'a'))
        self.complete('a')
        self.assertEqual(self.q.put([message('a')])[0][:2], ('a', 'pinned'))
        self.complete('b')
        self.put(message('a'))

    def test_put_pins_within(self) -> None:
        """An old life that is an argument of a put cannot be replaced later in that put."""
        self.put(message('a'))
        self.complete('a')
        refused = self.q.put([message('b', 'a'), message('a')])
        self.assertEqual(refused[0][:2], ('a', 'pinned'))
        self.assertEqual(self.status('b'), [None])
        self.put(message('a'), message('b', 'a'))
        self.assertEqual(self.status('a', 'b'), ['enqueued', 'pending'])

    def test_put_stale_edge(self) -> None:
        """An edge of a cancelled task does not touch the new task of the same id."""
        self.put(message('a'), message('b'), message('c', 'a'))
        self.q.cancel(['c'])
        self.put(message('c', 'b'))
        self.complete('a')
        self.assertEqual(self.status('c'), ['pending'])
        self.complete('b')
        self.assertEqual(self.status('c'), ['enqueued'])

    def test_put_unknown_argument(self) -> None:
        """An argument that does not exist is refused by name, and nothing is stored."""
        self.put(message('a'))
        refused = self.q.put([message('b', 'a'), message('c', 'a', 'x')])
        self.assertEqual(refused[0], base.Refusal('c', 'unknown', 'x'))
        self.assertEqual(self.status('b', 'c'), [None, None])
        self.complete('a')
        self.assertEqual(self.q.forget(['a']), ['forgotten'])

    def test_put_argument_comes_later(self) -> None:
        """Messages are judged in order: an argument that comes later is unknown."""
        refused = self.q.put([message('b', 'a'), message('a')])
        self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'a'))

    def test_put_argument_of_another_life(self) -> None:
        """An argument that is of another life than the one meant is refused."""
        old = message('a')
        self.put(old)
        for _ in range(2):
            refused = self.q.put([message('b', Argument('a', nonce()))])
            self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'a'))
            if self.status('a') == ['enqueued']:
                self.complete('a')
        refused = self.q.put([message('a'), message('b', Argument('a', old.nonce))])
        self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'a'))
        self.assertEqual(self.status('a'), ['completed'])

    def test_put_argument_ignores_result(self) -> None:
        """A task that ignores its result cannot be an argument, neither live nor later."""
        self.put(message('a', flags=base.IGNORE_RESULT))
        refused = self.q.put([message('b', 'a')])
        self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'a'))
        refused = self.q.put([message('i', flags=base.IGNORE_RESULT), message('b', 'i')])
        self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'i'))
        self.complete('a')
        refused = self.q.put([message('b', 'a')])
        self.assertEqual(refused[0], base.Refusal('b', 'unknown', 'a'))

    def test_put_failed_argument(self) -> None:
        """A task with a failed argument fails at once, and so do the later ones of the put."""
        self.put(message('a'), message('z'))
        self.complete('a', b'because', 'failure')
        self.put(message('b', 'z', 'a'), message('c', 'b'), message('d', 'z', 'c'))
        self.assertEqual(self.status('b', 'c', 'd'), ['completed'] * 3)
        for id in 'bcd':
            self.assertEqual(self.outcome_of(id), (b'f', b'because'))
            self.assertEqual(self.origin_of(id), 'a')

    def test_put_first_failed_argument(self) -> None:
        """Of several failed arguments the first one is the cause."""
        self.put(message('a'), message('b'))
        self.complete('a', b'A', 'failure')
        self.complete('b', b'B', 'failure')
        self.put(message('c', 'b', 'a'))
        self.assertEqual(self.outcome_of('c'), (b'f', b'B'))

    def test_put_pass(self) -> None:
        """A task that passes failures on takes a failed argument for a value."""
        self.put(message('a'), message('b', 'a', flags=base.PASS))
        self.complete('a', b'because', 'failure')
        self.put(message('c', 'a', flags=base.PASS))
        for _ in 'bc':
            delivery, = self.take(1)
            (id, raw), = delivery.arguments
            self.assertEqual((id, *unpack(raw)[1:]), ('a', b'f', b'because', None))

    def test_put_delay_and_argument(self) -> None:
        """A delay runs from the put on, whenever the arguments come."""
        self.put(message('a'), message('b'), message('late', 'a', delay=4_000),
                 message('soon', 'b', delay=4_000))
        self.complete('a')
        self.assertEqual(self.status('late', 'soon'), ['scheduled', 'pending'])
        self.tick(5_000)
        self.assertEqual(self.status('late', 'soon'), ['enqueued', 'pending'])
        self.complete('late')
        self.complete('b')
        self.assertEqual(self.status('soon'), ['enqueued'])

    def test_put_too_much(self) -> None:
        """A put beyond the limits is the caller's mistake; one large message is none."""
        with self.assertRaises(ValueError):
            self.q.put([message(f'a{i}') for i in range(const.PUT_LIMIT + 1)])
        half = bytes(const.PUT_BYTES // 2 + 1)
        with self.assertRaises(ValueError):
            self.q.put([message('a', body=half), message('b', body=half)])
        with self.assertRaises(ValueError):
            self.q.put([message('a', *map(str, range(const.PUT_LIMIT + 1)))])
        with self.assertRaises(ValueError):
            self.q.put([message(f'a{i}', 'b') for i in range(const.PUT_LIMIT // 2)])
        self.assertEqual(self.q.size(), 0)
        self.put(message('a', body=half + half))
        self.assertEqual(self.take_one('a').body, half + half)

    def test_put_nonsense(self) -> None:
        """What no caller should send raises ValueError, and nothing is stored."""
        for wrong in [message(''), message('x' * 513), message('a', 'a'),
                      message('a', priority=3), message('a', nonce='short'),
                      message('a', delay=-1)]:
            with self.assertRaises(ValueError):
                self.q.put([message('good'), wrong])
        self.assertEqual(self.status('good'), [None])

    def test_put_odd_ids(self) -> None:
        """An id may be any string of up to 512 bytes."""
        odd = ['a b', 'a:b', 'line\nfeed', '{a}', 'é' * 256, '\u4e2d', '\x00', '*', '%s', '"',
               "'", '-1', '0', 'nil']
        self.put(*[message(id) for id in odd])
        self.put(message('all', *odd))
        taken = self.take(100)
        self.assertEqual([d.id for d in taken], odd)
        self.settle(*[outcome(d, data=d.id.encode()) for d in taken])
        delivery = self.take_one('all')
        self.assertEqual([(id, unpack(raw).data) for id, raw in delivery.arguments],
                         [(id, id.encode()) for id in odd])

    def test_fan(self) -> None:
        """One result feeds a thousand tasks, and a thousand feed one."""
        many = [f'm{i}' for i in range(900)]
        self.put(message('a'), *[message(id, 'a') for id in many], message('z', *many))
        self.complete('a', b'x')
        self.drain()
        taken = []
        while found := self.take(1_000):   # fewer at a time, as they have arguments
            taken += found
        self.assertEqual([d.id for d in taken], many)
        self.assertEqual(self.settle(*[outcome(d) for d in taken]), ['ok'] * 900)
        self.drain()
        self.assertEqual(len(self.take_one('z').arguments), 900)

    def test_failure_along_a_chain(self) -> None:
        """A failure goes all the way down, with its first cause named."""
        chain = ['c0'] + [f'c{i}' for i in range(1, 700)]
        self.put(message('c0'), *[message(b, a) for a, b in itertools.pairwise(chain)])
        self.complete('c0', b'because', 'failure')
        self.drain()
        self.assertEqual(self.q.size(), 0)
        self.assertEqual(self.outcome_of('c699'), (b'f', b'because'))
        self.assertEqual(self.origin_of('c699'), 'c0')

    def test_using(self) -> None:
        """What is no connection with this queue is refused, as by an engine that has no use for
        any; and the queue goes on."""
        with self.assertRaises((TypeError, ValueError)):
            self.q.using(object())
        self.put(message('a'))

    def test_queues_share_nothing(self) -> None:
        """Queues of different names share nothing."""
        with self.open(f'other {uuid.uuid4().hex}') as other:
            self.put(message('a'))
            self.assertEqual(other.status(['a']), [None])
            self.assertEqual(other.take('p1', 1), [])
            self.assertEqual(other.size(), 0)
