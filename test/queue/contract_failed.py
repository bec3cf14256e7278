"""The contract of a task queue as tests: what tasks that failed were put with."""
from __future__ import annotations

from test.queue.contract import Contract, HEADER, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Content, Message, Outcome

LONG = bytes(10_000)


class Failed(Contract):

    def those_kept(self, *ids: str) -> list[str]:
        """Those of these ids of which the queue keeps what they were put with."""
        found = [one for start in range(0, len(ids), const.CONTENTS)
                 for one in self.q.message(ids[start:start + const.CONTENTS])]
        return [id for id, one in zip(ids, found, strict=True) if one is not None]

    def bounds(self, count: int, size: int = const.FAILURES_BYTES) -> None:
        self.q.note(const.KEEP_FAILED, b'%d %d' % (count, size))

    def failing(self, *messages: Message) -> None:
        """Put tasks without arguments, and have them fail."""
        self.put(*messages)
        self.settle(*(outcome(delivery, 'failure') for delivery in self.take(100)))

    def test_failed_keeps_its_message(self) -> None:
        """What fails or expires keeps header and body, what is cancelled does not."""
        for body in [b'', b'short', LONG]:
            for header in [HEADER, b'long' * 100]:
                with self.subTest(body=len(body), header=len(header)):
                    a = message('a', header=header, body=body)
                    self.failing(a)
                    self.assertEqual(self.q.message(['a']),
                                     [Content(a.nonce, header, body, len(body), ())])
        self.put(message('b', max_deliveries=1), message('c'), message('d'))
        self.settle(outcome(self.take_one('b'), 'lost'))
        self.complete('c')
        self.q.cancel(['d'])
        self.assertEqual(self.those_kept('b', 'c', 'd'), ['b'])

    def test_failed_arguments(self) -> None:
        """It keeps the names of its arguments; so does what failed with it, put before or after."""
        self.put(message('a', flags=base.NEEDED), message('b', body=LONG), message(
            'c', Argument('b', '', b'seal'), 'a', body=LONG), message('d', 'c', body=b''))
        self.complete('a')
        self.settle(outcome(self.take_one('b'), 'expire', b'why'))
        self.tick()
        self.put(message('e', 'a', 'd', body=b'e'), message('f', 'a', 'c', body=LONG))
        found = self.q.message(['b', 'c', 'd', 'e', 'f'])
        self.assertEqual([one and (one.arguments, one.size) for one in found],
                         [((), len(LONG)), (('b', 'a'), len(LONG)), (('c',), 0),
                          (('a', 'd'), 1), (('a', 'c'), len(LONG))])
        self.assertEqual({self.origin_of(id) for id in 'cdef'}, {'b'})

    def test_failed_pins_nothing(self) -> None:
        """The ids of a kept failure and of its arguments may be used again."""
        self.put(message('a'), message('b', 'a'))
        self.complete('a')
        self.complete('b', word='failure')
        again = message('b', body=b'again')
        self.put(message('a'), again)
        self.assertEqual([one and one.body for one in self.q.message(['b'])], [b'again'])
        self.complete('a', word='failure')
        self.complete('b')
        self.assertEqual(self.those_kept('b'), [])
        self.assertEqual(self.q.forget(['a']), ['forgotten'])
        self.assertEqual(self.those_kept('a'), [])

    def test_failed_lets_needed_arguments_stay(self) -> None:
        """An argument that only a failure has needed is kept for its time."""
        self.put(message('a', flags=base.NEEDED), message('b', flags=base.NEEDED),
                 message('c', 'a'), message('d', 'b'))
        self.settle(*(outcome(one) for one in self.take(2)))
        self.settle(*(outcome(one, {'c': 'value', 'd': 'failure'}[one.id])
                      for one in self.take(2)))
        self.tick(3 * const.TICK)
        self.assertEqual(self.q.status(['a', 'b']), [None, 'success'])

    def test_failed_until_its_time(self) -> None:
        """It is kept as long as a result would be, also if something pins it for longer."""
        self.put(message('a', ttl=5_000, body=LONG))
        self.complete('a', word='failure')
        self.put(message('b', 'a', flags=base.PASS, delay=60_000))
        self.advance(4_000)
        self.assertEqual(self.those_kept('a'), ['a'])
        self.advance(1_000)
        self.assertEqual(self.those_kept('a'), [])
        self.assertEqual(self.q.status(['a']), ['failed'])

    def test_failed_bounds(self) -> None:
        """The last failures are kept, so many and of so many bytes; a register has these bounds."""
        self.bounds(2)
        self.failing(*map(message, 'abc'))
        self.assertEqual(self.those_kept(*'abc'), ['b', 'c'])
        self.bounds(9, 2 * len(HEADER) + 100)
        self.failing(message('d', body=bytes(95)))
        self.assertEqual(self.those_kept(*'bcd'), ['d'])
        self.failing(message('e', body=bytes(5)), message('f', body=bytes(101 + len(HEADER))))
        self.assertEqual(self.those_kept(*'def'), ['d', 'e'])
        self.bounds(0)
        self.failing(message('g'))
        self.assertEqual(self.those_kept(*'deg'), ['d', 'e'])
        self.q.note(const.KEEP_FAILED, b'-1 all')   # that is none: the usual ones
        self.failing(message('h'))
        self.assertEqual(self.those_kept(*'deh'), ['d', 'e', 'h'])

    def test_failed_bounds_of_a_new_life(self) -> None:
        """A failure that is dropped is not taken for a later one of the same id."""
        self.bounds(2)
        for _ in range(3):
            self.failing(message('a'))
            self.assertEqual(self.those_kept('a'), ['a'])
        self.failing(message('b'))
        self.assertEqual(self.those_kept('a', 'b'), ['a', 'b'])
        self.failing(message('c'))
        self.assertEqual(self.those_kept(*'abc'), ['b', 'c'])

    def test_failed_never_in_place_of_its_origin(self) -> None:
        """What failed because of another does not push that out, and goes with it."""
        self.bounds(3)
        self.failing(message('x'))
        self.put(message('a'), *(message(f'a{i}', 'a') for i in range(4)))
        self.complete('a', word='failure')
        self.tick()
        names = ['x', 'a', *(f'a{i}' for i in range(4))]
        self.assertEqual(self.those_kept(*names), ['a', 'a0', 'a1'])
        self.failing(message('y'))
        self.put(message('a5', 'a'))
        self.assertEqual(self.those_kept(*names, 'y', 'a5'), ['a0', 'a1', 'y'])

    def test_failed_not_kept(self) -> None:
        """Nothing is kept of what a gate holds back, of what ignores its result, of cancelled tasks
        and what ended with them, and where there is no room for it."""
        self.put(message('a', flags=base.IGNORE_RESULT), message('x'), message('b', 'x'))
        self.complete('a', word='failure')
        self.q.cancel(['x'])
        self.tick()
        self.assertEqual(self.q.status(['b']), ['cancelled'])
        self.put(message('g', flags=base.GATE))
        self.assertEqual(self.q.put([message('c', expires=500)], 'g'), [])
        self.advance(600)
        self.tick()
        self.assertEqual(self.q.status(['c']), ['expired'])
        self.assertEqual(self.those_kept('a', 'b', 'c'), [])

    def test_failed_by_a_tail_call(self) -> None:
        """What has returned the Deferred of a task that failed is kept, too."""
        a = message('a', body=b'a')
        self.put(a, message('b'))
        taken = {one.id: one for one in self.take(2)}
        self.settle(Outcome('a', taken['a'].token, 'delegate', target=Argument('b', '')))
        self.settle(outcome(taken['b'], 'failure'))
        self.tick()
        self.assertEqual(self.q.message(['a']), [Content(a.nonce, HEADER, b'a', 1, ())])

    def test_failed_purge_keeps_nothing(self) -> None:
        """What was purged is cancelled, and none of it takes room."""
        self.bounds(1)
        self.failing(message('a'))
        self.put(message('b'), message('c', 'b'))
        self.q.purge()
        self.tick()
        self.assertEqual(self.those_kept(*'abc'), ['a'])
