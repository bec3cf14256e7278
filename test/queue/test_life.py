"""Each line of the table of a task's life is walked, and nothing else moves a task."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any
import unittest

from test import support
from test.queue.contract import HEADER, Contract, message, outcome
from test.queue.memory.test_queue import MemoryQueueTest
from test.queue.redis.test_queue import RedisQueueTest
from test.queue.sqlite.test_queue import SqliteQueueTest
from worq import const
from worq.const import COMPLETED, ENQUEUED, NEW, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import Argument, Delivery, Held, Message, Outcome, Revival

WORDS = ['value', 'failure', 'retry', 'delegate', 'release', 'refuse', 'unknown', 'lost', 'expire']
WALKERS: dict[tuple[str, str], Callable[[Any], None]] = {}


def walks(source: str, event: str) -> Callable[[Callable[[Any], None]], None]:
    """The decorated function takes task 'x' along this line of the table."""
    def register(walk: Callable[[Any], None]) -> None:
        WALKERS[source, event] = walk
    return register


class Life(Contract):
    """Walks with task 'x'; 'a' is its argument where it needs one."""

    delivery: Delivery

    def make(self, state: str, **options: Any) -> Message:
        """Bring 'x' into a state."""
        if state == PENDING:
            self.put(message('a'))
        delay = 9_999_999 if state == SCHEDULED else 0
        x = message('x', *(['a'] if state == PENDING else []), delay=delay, **options)
        self.put(x)
        self.delivery = Delivery('x', x.nonce.encode() + b'0', 0, b'', b'')
        if state in (PROCESSING, COMPLETED):
            self.delivery = self.take_one('x')
        if state == COMPLETED:
            self.give('value')
        self.assertEqual(self.status('x'), [state])
        return x

    def give(self, word: str, **options: Any) -> str:
        if word == 'delegate':
            options = {'target': Argument('a', '')}
        told, = self.settle(outcome(self.delivery, word, **options))
        return told

    def test_each_line(self) -> None:
        """Each line of the table leads from its source to its target, and has a walker."""
        self.assertEqual({line[:2] for line in const.TRANSITIONS}, set(WALKERS))
        for source, event, target in const.TRANSITIONS:
            with self.subTest(f'{source} - {event}'):
                self.tearDown()
                self.setUp()
                if source != NEW:
                    self.make(source)
                WALKERS[source, event](self)
                expected = {const.FORGOTTEN: None, NEW: ENQUEUED}.get(target, target)
                self.assertEqual(self.status('x'), [expected])

    def test_nothing_else(self) -> None:
        """A verb that the table does not name for a state leaves the state alone."""
        live = {PENDING, SCHEDULED, ENQUEUED, PROCESSING}
        for state in const.STATUS_VALUES:
            for verb, moves in [*self.verbs(live)]:
                if state in moves:
                    continue
                with self.subTest(f'{state}: {verb.__doc__}'):
                    self.tearDown()
                    self.setUp()
                    self.x = self.make(state)
                    before = self.q.results(['x'])
                    verb()
                    self.assertEqual(self.status('x'), [state])
                    self.assertEqual(self.q.results(['x']), before)

    def verbs(self, live: set[str]) -> list[tuple[Callable[[], Any], set[str]]]:
        """Calls, and the states that the table lets each of them move."""
        q = self

        def named(name: str, call: Callable[[], Any]) -> Callable[[], Any]:
            call.__doc__ = name
            return call

        def held() -> list[Held]:
            return [Held('x', q.delivery.token)]

        return [
            (named('put again', lambda: q.put(q.x)), set()),
            (named('put anew', lambda: q.q.put([message('x')])), {COMPLETED}),
            (named('take', lambda: q.take(9)), {ENQUEUED}),
            (named('beat', lambda: q.q.beat('p1', held())), set()),
            (named('beat of another', lambda: q.q.beat('p2', held())), set()),
            (named('tick', lambda: q.tick()), set()),
            (named('cancel', lambda: q.q.cancel(['x'])), live),
            (named('purge', lambda: (q.q.purge(), q.drain())), live - {PROCESSING}),
            (named('withdraw', lambda: q.q.withdraw(['x'], 'moved')), live - {PROCESSING}),
            (named('forget', lambda: q.q.forget(['x'])), {COMPLETED}),
            (named('revive', lambda: q.q.revive([Revival('x')], True)), set()),
            (named('reconcile', lambda: q.q.reconcile('p1', [])), {PROCESSING}),
            (named('reconcile, known', lambda: q.q.reconcile('p1', [held()[0][1]])), set()),
            (named('abandon', lambda: q.q.abandon('p1', 'x')), {PROCESSING}),
            (named('abandon another', lambda: q.q.abandon('p2', 'x')), set()),
            (named('turn', lambda: q.q.turn('p1', [], held(), 0)), set()),
            (named('turn that takes', lambda: q.q.turn('p1', [], held(), 9)), {ENQUEUED}),
            (named('watch, wait', lambda: (q.q.watch('c', ['x']), q.q.wait('c', 0))), set()),
            (named('join, leave', lambda: (q.q.join('p1', {}), q.q.tell('p1', {'a': 'b'}),
                                           q.q.leave('p1'))), set()),
            (named('read', lambda: (q.q.pools(), q.q.size(), q.q.stats(), q.q.inspect(['x']),
                                    q.q.audit())), set()),
            *[(named(f'settle {word}', lambda word=word: q.give(word)), {PROCESSING})
              for word in WORDS],
            *[(named(f'settle {word} by another', lambda word=word: q.q.settle('p2', [
                outcome(q.delivery, word, target=Argument('a', ''))])), set())
              for word in WORDS],
        ]


@walks(NEW, 'put, no open argument, due now')
def _(q: Life) -> None:
    q.put(message('x'))


@walks(NEW, 'put, due later')
def _(q: Life) -> None:
    q.put(message('x', delay=1))


@walks(NEW, 'put, some argument open')
def _(q: Life) -> None:
    q.put(message('a'), message('x', 'a'))


@walks(NEW, 'put, an argument has failed and on_error is fail')
def _(q: Life) -> None:
    q.put(message('a'))
    q.complete('a', word='failure')
    q.put(message('x', 'a'))


@walks(PENDING, 'its last argument completes')
def _(q: Life) -> None:
    q.complete('a')


@walks(PENDING, 'its last argument completes, due later')
def _(q: Life) -> None:
    q.q.cancel(['x'])
    q.put(message('x', 'a', delay=99_999))
    q.complete('a')


@walks(PENDING, 'an argument fails and on_error is fail')
def _(q: Life) -> None:
    q.complete('a', word='failure')


@walks(PENDING, 'the Deferred it returned completes')
def _(q: Life) -> None:
    q.complete('a')
    q.put(message('b'))
    q.settle(outcome(q.take_one('x'), 'delegate', target=Argument('b', '')))
    q.assertEqual(q.status('x'), [PENDING])
    q.complete('b')


@walks(PENDING, 'the Deferred it returned completes, after many tail calls')
def _(q: Life) -> None:
    q.complete('a')
    x = q.take_one('x')
    ids = [f'c{n}' for n in range(const.LINKS + 1)]
    q.put(*map(message, ids))
    deliveries = [x, *q.take(len(ids))]
    for delivery, id in zip(deliveries, ids):
        q.settle(outcome(delivery, 'delegate', b'seal', target=Argument(id, '')))
    q.assertEqual(q.status('x'), [PENDING])
    q.settle(outcome(deliveries[-1]))


@walks(SCHEDULED, 'its time comes')
def _(q: Life) -> None:
    q.advance(9_999_999)
    q.q.beat('ticker')


@walks(PENDING, 'too late to begin')
def _(q: Life) -> None:
    put_anew(q, message('x', 'a', expires=500))


@walks(SCHEDULED, 'too late to begin')
def _(q: Life) -> None:
    put_anew(q, message('x', delay=900, expires=500))


@walks(ENQUEUED, 'too late to begin')
def _(q: Life) -> None:
    put_anew(q, message('x', expires=500))


def put_anew(q: Life, x: Message) -> None:
    q.q.cancel(['x'])
    q.put(x)
    q.tick()


@walks(ENQUEUED, 'take')
def _(q: Life) -> None:
    q.take_one('x')


@walks(PROCESSING, 'settle: value or failure')
def _(q: Life) -> None:
    q.give('failure')


@walks(PROCESSING, 'settle: retry')
def _(q: Life) -> None:
    q.give('retry', delay=1)


@walks(PROCESSING, 'settle: expire (its outcome cannot be stored)')
def expire(q: Life) -> None:
    q.assertEqual(q.give('expire', data=b'too long'), 'ok')


@walks(PROCESSING, 'settle: a Deferred (tail call)')
def _(q: Life) -> None:
    q.put(message('a'))
    q.give('delegate')


@walks(PROCESSING, 'settle: release (never started)')
def _(q: Life) -> None:
    q.give('release')


@walks(PROCESSING, 'settle: refuse, and other pools may know it')
def _(q: Life) -> None:
    q.q.join('p2', {})
    q.give('refuse')


@walks(PROCESSING, 'settle: refuse, and no pool knows it')
def _(q: Life) -> None:
    q.q.join('p1', {})
    q.give('refuse')


@walks(PROCESSING, 'settle: unknown, and another pool may have it')
def _(q: Life) -> None:
    q.give('unknown')


@walks(PROCESSING, 'settle: unknown, though its pool has told that name')
def _(q: Life) -> None:
    q.q.join('p1', {'tasks': HEADER.decode()})
    q.give('unknown')


@walks(PROCESSING, 'settle: unknown, and it has waited for one in vain')
def _(q: Life) -> None:
    q.give('unknown')
    q.tick(const.UNKNOWN_GRACE)
    q.delivery = q.take_one('x')
    q.give('unknown')


@walks(PROCESSING, 'lease lost, first time')
def _(q: Life) -> None:
    q.lose()


@walks(PROCESSING, 'lease lost, again')
def _(q: Life) -> None:
    q.lose()
    q.delivery = q.take_one('x')
    q.give('lost')


@walks(PROCESSING, 'lease lost, no delivery left')
def _(q: Life) -> None:
    for _ in range(const.MAX_DELIVERIES - 1):
        q.give('lost')
        q.tick(3 * const.TICK)
        q.delivery = q.take_one('x')
    q.lose()


for _state in [PENDING, SCHEDULED, ENQUEUED, PROCESSING]:
    @walks(_state, 'cancel')
    def _(q: Life) -> None:
        q.q.cancel(['x'])


for _state in [PENDING, SCHEDULED, ENQUEUED]:
    @walks(_state, 'withdrawn: it is in another queue')
    def _(q: Life) -> None:
        q.q.withdraw(['x'], 'moved')


@walks(PENDING, 'settle, behind a gate: it had ended where it came from')
def _(q: Life) -> None:
    q.q.cancel(['x'])
    q.put(message('gate', flags=const.GATE))
    x = message('x')
    q.assertEqual(q.q.put([x], 'gate'), [])
    q.settle(Outcome('x', x.nonce.encode() + b'0', 'value'), pool='gate')


@walks(COMPLETED, 'result_timeout over and no dependent left')
def _(q: Life) -> None:
    q.advance(const.RESULT_TIMEOUT * 1_000)


@walks(COMPLETED, 'put with the same id')
def _(q: Life) -> None:
    q.put(message('x'))


@walks(COMPLETED, 'a failure is revived, no open argument')
def _(q: Life) -> None:
    q.put(message('x'))
    q.complete('x', word='failure')
    q.q.revive([Revival('x')])


@walks(COMPLETED, 'a failure is revived, some argument open')
def _(q: Life) -> None:
    q.put(message('b'), message('x', 'b'))
    q.complete('b', word='failure')
    q.tick()
    q.q.revive([Revival('b'), Revival('x')])


@walks(COMPLETED, 'a failure is revived, what it returned is live again')
def _(q: Life) -> None:
    q.put(message('x'), message('b'))
    x, b = q.take(2)
    q.settle(outcome(x, 'delegate', target=Argument('b', '')))
    q.settle(outcome(b, 'failure'))
    q.tick()
    q.q.revive([Revival('b'), Revival('x')])


class MemoryLifeTest(Life, unittest.TestCase):

    now = 1_000_000
    open = MemoryQueueTest.open
    advance = MemoryQueueTest.advance


class RedisLifeTest(Life, unittest.TestCase):

    now = 1_000_000
    setUpClass = classmethod(RedisQueueTest.setUpClass.__func__)
    tearDownClass = classmethod(RedisQueueTest.tearDownClass.__func__)
    open = RedisQueueTest.open
    remove = RedisQueueTest.remove
    advance = RedisQueueTest.advance


class SqliteLifeTest(Life, unittest.TestCase):

    now = 1_000_000
    folder = property(support.folder)
    open = SqliteQueueTest.open
    advance = SqliteQueueTest.advance


del MemoryQueueTest, RedisQueueTest, SqliteQueueTest   # they are tests of another file
