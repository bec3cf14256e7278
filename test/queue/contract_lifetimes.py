"""The contract of a task queue as tests: outcomes that go when nothing needs them any more."""
from __future__ import annotations

from test.queue.contract import Contract, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Message

HOUR = const.RESULT_TIMEOUT * 1000


def step(id: str, *arguments: str, flags: int = 0, **options: object) -> Message:
    """A message with the flag."""
    return message(id, *arguments, flags=base.NEEDED | flags, **options)


class Upstream(Contract):
    """What a cancel needs that goes against the arrows."""

    def test_cancel_what_nobody_needs(self) -> None:
        """A task that a live one depends on, by an argument or a tail call, is not cancelled; nor
        is one that others watch."""
        self.put(message('a'), message('b', 'a'), message('c'), message('watched'),
                 message('both'), message('mine'), message('caller'))
        self.settle(*[outcome(d, 'delegate', target=Argument('c', ''))
                      for d in self.take(9) if d.id == 'caller'])
        self.q.watch('c1', ['watched', 'both', 'mine', 'a'])
        self.q.watch('c2', ['both', 'watched'])
        ids = ['a', 'c', 'watched', 'both', 'mine', 'none']
        self.assertEqual(self.q.cancel(ids, ''), ['needed'] * 5 + ['unknown'])
        self.assertEqual(self.q.cancel(ids, 'c1'),
                         ['needed'] * 4 + ['cancelled', 'unknown'])
        self.assertEqual(self.q.cancel(['b', 'a', 'caller', 'c'], 'c1'), ['cancelled'] * 4)
        self.assertEqual(self.q.cancel(['mine', 'a'], 'c1'), ['completed'] * 2)
        self.assertEqual(self.q.cancel(['both'], 'c2'), ['needed'])
        self.assertEqual(self.q.cancel(['both']), ['cancelled'])

    def test_cancel_after_others(self) -> None:
        """What depended on it and is over counts no more: one that was cancelled, has failed by
        another argument, or was purged."""
        self.put(message('bad'), message('a'), message('b', 'a', 'bad'), message('c', 'a'))
        taken = {d.id: d for d in self.take(2)}
        self.settle(outcome(taken['bad'], 'failure'))
        self.assertEqual(self.q.cancel(['a'], ''), ['needed'])
        self.q.purge()
        self.assertEqual(self.q.cancel(['a'], ''), ['cancelled'])

    def test_inspect_from(self) -> None:
        """All open arguments are told, from any of them on, so many in one step."""
        n = const.PUT_LIMIT
        many = [message(f'a{i}') for i in range(n + 300)]
        gate = message('g', flags=base.GATE, lease=60_000)
        self.put(gate)
        self.put(*many)
        last = message('z', *[one.id for one in many[:n]])
        self.assertEqual(self.q.put([last], 'g'), [])
        self.assertEqual(self.q.edges('g', 'z', last.nonce, n, [
            Argument(one.id, '') for one in many[n:]]), [])
        ids = [one.id for one in many]
        for start, expected in [(0, ids[:n]), (n, ids[n:]), (n - 2, ids[n - 2:]), (2 * n, [])]:
            found, = self.q.inspect(['z'], start)
            assert found is not None
            self.assertEqual((found.open, list(found.arguments)), (n + 300, expected))
        found, none = self.q.inspect(['z', 'none'])
        assert found is not None and none is None
        self.assertEqual(list(found.arguments), ids[:const.LOOK])
        self.q.cancel(['g', *ids])


class LetGo(Contract):
    """What nothing needs any more goes within a tick, and nothing else does."""

    def setUp(self) -> None:
        super().setUp()
        self.taken: dict[str, Delivery] = {}

    def end(self, id: str, data: bytes = b'', word: str = 'value') -> None:
        """Settle the task, whatever is taken before it."""
        while id not in self.taken:
            self.taken.update((d.id, d) for d in self.take_some())
        self.assertEqual(self.settle(outcome(self.taken.pop(id), word, data)), ['ok'])

    def take_some(self) -> list[Delivery]:
        got = self.take()
        self.assertTrue(got)
        return got

    def goes(self, *ids: str) -> None:
        """These are there now, and are let go."""
        self.assertEqual(self.status(*ids), ['completed'] * len(ids))
        self.advance(const.TICK)
        self.assertEqual(self.status(*ids), [None] * len(ids))
        self.assertEqual(self.q.results(ids), [None] * len(ids))

    def stays(self, *ids: str, ms: int = HOUR) -> None:
        """These are kept for all their time, from now on."""
        self.advance(ms - 1)
        self.assertEqual(self.status(*ids), ['completed'] * len(ids))
        self.advance(1)
        self.assertEqual(self.status(*ids), [None] * len(ids))

    def test_an_argument_goes(self) -> None:
        """It is there as long as one depends on it; then for another tick, long or short."""
        self.put(step('a'), step('long'), message('b', 'a', 'long'), message('c', 'a'))
        self.end('a')
        self.end('long', bytes(9_000))
        self.end('b')
        self.goes('long')
        self.assertEqual(self.status('a'), ['completed'])
        self.end('c')
        self.goes('a')
        self.stays('c', ms=HOUR - const.TICK)

    def test_no_argument_stays(self) -> None:
        """What never was an argument is kept as any other; so is one without the flag."""
        self.put(step('a'), message('plain'), message('b', 'plain'))
        for id in ('a', 'plain', 'b'):
            self.end(id)
        self.stays('a', 'plain', 'b')

    def test_put_together_or_later(self) -> None:
        """Whether it is completed when it becomes an argument makes no difference."""
        self.put(step('a'))
        self.end('a', b'x')
        self.advance(60_000)
        self.put(message('b', 'a'))
        self.advance(2 * HOUR)
        delivery = self.take_one('b')
        self.assertEqual(base.unpack(delivery.arguments[0][1]).data, b'x')
        self.settle(outcome(delivery))
        self.goes('a')

    def test_one_more_in_time(self) -> None:
        """One that becomes an argument again before it has gone is kept for that."""
        self.put(step('a'), message('b', 'a'))
        self.end('a')
        self.end('b')
        self.advance(const.TICK - 1)
        self.put(message('c', 'a'))
        self.advance(2 * HOUR)
        self.end('c')
        self.goes('a')

    def test_needed_no_more_before_it_ends(self) -> None:
        """What depended on it was cancelled while it ran."""
        self.put(step('a'), message('b', 'a'))
        delivery = self.take_one('a')
        self.q.cancel(['b'])
        self.settle(outcome(delivery))
        self.goes('a')

    def test_failures_stay(self) -> None:
        """What has failed by itself, and what has that from it: failures name others."""
        self.put(step('a'), step('mid', 'a'), message('end', 'mid'))
        self.end('a', b'no', 'failure')
        self.assertEqual(self.origin_of('end'), 'a')
        self.stays('a', 'mid', 'end')

    def test_cancelled_and_expired_stay(self) -> None:
        """So it is with what the queue itself has ended, and where the failure is a value."""
        self.put(step('f'))
        self.end('f', b'', 'failure')
        self.put(step('a'), step('x', expires=500), message('b', 'a', 'x', 'f', flags=base.PASS))
        self.q.cancel(['a'])
        self.advance(const.TICK)
        self.q.beat('p1')
        self.end('b')
        self.advance(const.TICK)
        self.stays('a', 'x', 'f', 'b', ms=HOUR - const.TICK)

    def test_watched_before(self) -> None:
        """Who watches it when it completes keeps it, first and second client, long or short."""
        ids = ['a', 'long', 'two']
        for id in ids:
            self.put(step(id), message(f'{id} next', id))
        self.q.watch('c1', ids)
        self.q.watch('c2', ['two'])
        self.end('a')
        self.end('long', bytes(9_000))
        self.end('two')
        for id in ids:
            self.end(f'{id} next')
        self.stays(*ids)

    def test_watched_since(self) -> None:
        """Who asks for it once it is completed keeps it: while it is pinned, and after that."""
        self.put(step('a'), step('b'), message('c', 'a', 'b'))
        self.end('a')
        self.end('b', bytes(9_000))
        self.assertEqual(len(self.q.watch('c1', ['a'])), 1)
        self.end('c')
        self.advance(const.TICK - 1)
        self.assertEqual(self.q.watch('c1', ['b']), [('b', b'')])
        self.advance(HOUR - const.TICK)
        self.assertEqual(self.status('a', 'b'), ['completed', 'completed'])
        self.advance(1)
        self.assertEqual(self.status('a', 'b'), [None, 'completed'])
        self.advance(const.TICK - 1)
        self.assertEqual(self.status('b'), [None])

    def test_watched_and_used_again(self) -> None:
        """Once somebody has asked for it, no further dependent makes it go."""
        self.put(step('a'))
        self.end('a')
        self.q.watch('c1', ['a'])
        self.put(message('b', 'a'))
        self.end('b')
        self.stays('a')

    def test_looked_at_only(self) -> None:
        """Readers keep nothing."""
        self.put(step('a'), message('b', 'a'))
        self.end('a')
        self.end('b')
        self.q.results(['a'])
        self.q.inspect(['a'])
        self.q.status(['a'])
        self.goes('a')

    def test_a_shorter_time(self) -> None:
        """Its own time holds where it is shorter, and where somebody asks for it."""
        self.put(step('a', ttl=300), step('b', ttl=5_000), message('c', 'a', 'b'))
        self.q.watch('c1', ['b'])
        for id in ('a', 'b', 'c'):
            self.end(id)
        self.advance(299)
        self.assertEqual(self.status('a'), ['completed'])
        self.advance(1)
        self.assertEqual(self.status('a'), [None])
        self.stays('b', ms=4_700)

    def test_other_flags(self) -> None:
        """With the others it means what each of them does."""
        self.put(step('a'), message('b', 'a', flags=base.NEEDED | base.PASS),
                 step('c', 'b'), step('none', flags=base.IGNORE_RESULT), step('d', 'a'))
        self.assertEqual(self.q.put([message('e', 'none')])[0].word, 'unknown')
        delivery = self.take_one('a')
        self.end('none')
        self.assertEqual(self.status('none'), [None])
        self.settle(outcome(delivery, 'failure', b'no'))
        self.assertEqual(self.status('b', 'd'), ['enqueued', 'completed'])
        self.end('b')
        self.end('c')
        self.goes('b')
        self.assertEqual(self.status('a', 'd'), ['completed'] * 2)

    def test_of_a_gate(self) -> None:
        """Behind a gate, with arguments that are added."""
        gate = message('g', flags=base.GATE, lease=9_000)
        self.put(gate)
        some = [step(f'a{i}') for i in range(3)]
        self.assertEqual(self.q.put([*some, message('b', 'a0')], 'g'), [])
        b = message('c', 'a0')
        self.assertEqual(self.q.put([b], 'g'), [])
        more = [Argument('a1', some[1].nonce), Argument('a2', '')]
        self.assertEqual(self.q.edges('g', 'c', b.nonce, 1, more), [])
        self.q.settle('g', [base.Outcome('g', b'%b1' % gate.nonce.encode(), 'value')])
        for id in ('a0', 'a1', 'a2', 'b', 'c'):
            self.end(id)
        self.goes('a0', 'a1', 'a2')

    def test_tail_calls_are_no_arguments(self) -> None:
        """What is returned goes as it does without the flag."""
        self.put(step('a', ttl=7_000), message('b'))
        delivery = self.take_one('a')
        self.settle(outcome(self.take_one('b'), 'delegate', target=Argument('a', '')))
        self.settle(outcome(delivery))
        self.assertEqual(self.status('b'), ['completed'])
        self.stays('a', ms=7_000)

    def test_a_value_from_elsewhere(self) -> None:
        """A value that came along a tail call goes as well."""
        self.put(step('a'), message('b', 'a'), message('other'))
        self.settle(outcome(self.take_one('a'), 'delegate', target=Argument('other', '')))
        self.end('other')
        self.end('b')
        self.goes('a')

    def test_as_plain_ones(self) -> None:
        """However they are put, all is known of them that is of others, also after a purge."""
        for _ in range(2):
            self.put(message('a'), message('b'))
            self.put(step('c'), step('d'))
            self.put(step('e'))
            seen = self.q.inspect(['a', 'b', 'c', 'd', 'e'])
            self.assertEqual(len({one._replace(nonce='', ahead=0) for one in seen if one}), 1)
            self.assertEqual(self.q.purge(), 5)
            self.advance(const.TICK)
            self.q.beat('p1')

    def test_a_new_life(self) -> None:
        """A new life of the id begins anew."""
        self.put(step('a'), message('b', 'a'))
        self.end('a')
        self.end('b')
        self.put(step('a'))
        self.end('a')
        self.stays('a')

    def test_many_of_many(self) -> None:
        """A wide fan-in lets go of all, and so do many that have one in common."""
        many = [step(f'a{i}') for i in range(300)]
        self.put(step('one'), *many)
        self.put(message('all', *[a.id for a in many]))
        self.put(*[message(f'b{i}', 'one') for i in range(300)])
        while got := self.take(64):
            self.settle(*map(outcome, got))
        for _ in range(8):
            self.advance(const.TICK)
            self.q.beat('p1')
        self.assertEqual(set(self.status('one', *[a.id for a in many])), {None})
        self.assertEqual(set(self.status('all', 'b0', 'b299')), {'completed'})
