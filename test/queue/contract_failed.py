"""The contract of a task queue as tests: what tasks that failed were put with."""
from __future__ import annotations

from test.queue.contract import Contract, HEADER, held, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Content, Message, Outcome, Revival
from worq.queue.records import now

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


class Revive(Failed):

    def revive(self, *ids: str, downstream: bool = False) -> list[str]:
        words = self.q.revive([Revival(id) for id in ids], downstream)
        self.tick()
        return words

    def test_revive(self) -> None:
        """A failure that is revived is run again in the same life, with the next token."""
        for header, body in [(HEADER, b'short'), (HEADER, LONG), (b'long' * 100, b'')]:
            for word in ['failure', 'expire']:
                with self.subTest(header=len(header), body=len(body), word=word):
                    a = message('a', header=header, body=body, priority=0, lease=4_000)
                    self.put(a)
                    before = self.take_one('a')
                    self.settle(outcome(before, word))
                    self.assertEqual(self.revive('a'), ['revived'])
                    self.assertEqual(self.q.results(['a']), [None])
                    self.assertEqual(self.q.revive([Revival('a')]), ['live'])
                    self.assertEqual(self.settle(outcome(before)), ['stale'])
                    after = self.take_one('a')
                    self.assertEqual(after, before._replace(
                        token=a.nonce.encode() + b'2', waited=after.waited))
                    self.assertEqual(self.settle(outcome(before)), ['stale'])
                    self.assertEqual([one.word for one in self.q.beat('p1', held(before))],
                                     ['lost'])
                    self.assertEqual(self.settle(outcome(after)), ['ok'])
                    self.assertEqual(self.q.status(['a']), ['success'])
                    self.assertEqual(self.q.scan('failed'), ([], ''))

    def test_revive_counts_anew(self) -> None:
        """Deliveries and attempts begin anew, and again after a second failure."""
        self.put(message('a', max_deliveries=2))
        for _ in range(2):
            self.settle(outcome(self.take_one('a'), 'retry', b'memo'))
            for number in [1, 2]:
                delivery = self.take_one('a')
                self.assertEqual((delivery.number, delivery.memo), (number, b'memo'))
                self.settle(outcome(delivery, 'lost', b'died'))
            self.assertEqual(self.q.status(['a']), ['expired'])
            self.assertEqual(self.revive('a'), ['revived'])
            self.assertEqual(self.q.inspect(['a'])[0].times.attempt, 1)
            self.assertEqual(self.q.inspect(['a'])[0].memo, b'')
        self.complete('a')

    def test_revive_expires(self) -> None:
        """It may wait as long as when it was put."""
        self.put(message('a', expires=2_000))
        for _ in range(2):
            self.advance(2_000)
            self.tick()
            self.assertEqual(self.q.status(['a']), ['expired'])
            self.assertEqual(self.q.revive([Revival('a')]), ['revived'])
        self.advance(1_500)
        self.tick(0)
        self.complete('a')

    def test_revive_queues_anew(self) -> None:
        """What expired while it was ready stands in the queue once again, and at its end."""
        self.put(message('a', expires=2_000), message('b'))
        for _ in range(2):
            self.advance(2_000)
            self.tick()
            self.assertEqual(self.q.status(['a']), ['expired'])
            self.assertEqual(self.revive('a'), ['revived'])
        rows, _ = self.q.scan('enqueued', [], False, '', 10)
        self.assertEqual([row.id for row in rows], ['b', 'a'])
        self.assertEqual(self.q.stats()['enqueued'], 2)
        self.assertEqual([delivery.id for delivery in self.take(2)], ['b', 'a'])

    def test_revive_refused(self) -> None:
        """What has not failed, is live, unknown, another life or has ended since is left alone."""
        self.put(message('a'), message('b'), message('c'))
        self.complete('a')
        self.complete('b', word='failure')
        ended = self.q.inspect(['b'])[0].times.ended
        other = message('x').nonce
        self.assertEqual(self.q.revive([
            Revival('a'), Revival('none'), Revival('c'), Revival('b', other),
            Revival('b', '', ended + 1)]), ['gone', 'gone', 'live', 'gone', 'gone'])
        self.assertEqual(self.q.status(['b']), ['failed'])
        self.assertEqual(self.q.revive([Revival('b', '', ended)]), ['revived'])
        self.assertEqual(self.q.revive([]), [])

    def test_revive_not_kept(self) -> None:
        """What is not kept any more cannot be revived."""
        self.bounds(1)
        self.failing(message('a'), message('b'))
        self.assertEqual(self.revive('a', 'b'), ['gone', 'revived'])

    def test_revive_with_arguments(self) -> None:
        """It gets its arguments again, and pins them; one that is gone is told."""
        self.put(message('a', flags=base.NEEDED), message('b', Argument('a', '', b'seal')))
        self.complete('a', b'1')
        for _ in range(2):
            delivery = self.take_one('b')
            self.assertEqual([base.unpack(raw).data for _, raw in delivery.arguments], [b'1'])
            self.settle(outcome(delivery, 'failure'))
            self.tick(3 * const.TICK)
            self.assertEqual(self.revive('b'), ['revived'])
            self.assertEqual(self.q.forget(['a']), ['pinned'])
        self.complete('b', word='failure')
        self.assertEqual(self.q.forget(['a']), ['forgotten'])
        self.assertEqual(self.revive('b'), ['arguments'])
        self.put(message('a'))
        self.assertEqual(self.revive('b'), ['arguments'])

    def test_revive_pinned(self) -> None:
        """A failure that something live has as argument is not taken away from it."""
        self.put(message('a'), message('b', 'a', flags=base.PASS))
        self.complete('a', word='failure')
        self.assertEqual(self.revive('a'), ['pinned'])
        self.complete('b')
        self.assertEqual(self.revive('a'), ['revived'])

    def test_revive_with_failed_argument(self) -> None:
        """It waits for an argument that is live again; one that is still failed prevents it."""
        self.put(message('a'), message('b', Argument('a', '', b'seal')))
        self.complete('a', word='failure')
        self.tick()
        self.assertEqual(self.revive('b'), ['failed'])
        self.assertEqual(self.revive('a', 'b'), ['revived', 'revived'])
        self.assertEqual(self.q.status(['a', 'b']), ['enqueued', 'pending'])
        self.complete('a', word='failure')
        self.tick()
        self.assertEqual(self.q.status(['b']), ['failed'])
        self.assertEqual(base.path(self.q.results(['b'])[0] or b'')[0].seal, b'seal')
        self.assertEqual(self.revive('a', 'b'), ['revived', 'revived'])
        self.complete('a')
        self.complete('b')

    def test_revive_with_another_message(self) -> None:
        """It may be given another header and body, as for a longer time limit."""
        for header, body in [(b'other', b'1'), (b'other' * 30, LONG), (b'o', LONG), (HEADER, b'')]:
            self.failing(message('a', body=LONG))
            self.assertEqual(self.q.revive([Revival('a', '', 0, header, body)]), ['revived'])
            delivery = self.take_one('a')
            self.assertEqual((delivery.header, delivery.body), (header, body))
            self.settle(outcome(delivery))
        with self.assertRaises(ValueError):
            self.q.revive([Revival('a', '', 0, b'', b'body')])
        with self.assertRaises(ValueError):
            self.q.revive([Revival('a')] * (const.REVIVALS + 1))

    def test_revive_with_another_priority(self) -> None:
        """It may be given another priority, with its message and without, and keeps that."""
        self.put(message('busy', priority=0))
        for priority, header in [(2, b''), (0, b'other'), (1, b''), (2, HEADER)]:
            self.put(message('a', priority=1), message('b', 'a'))
            self.q.cancel(['busy'])
            self.complete('a', word='failure')
            self.put(message('busy', priority=1), message('low', priority=2))
            self.tick()
            body = b'x' if header else b''
            self.assertEqual(self.q.revive([Revival('a', '', 0, header, body, priority)], True),
                             ['revived'])
            self.assertEqual(self.q.audit(), [])
            taken = [one.id for one in self.take(3)]
            self.assertEqual(taken.index('a'), {0: 0, 1: 1, 2: 2}[priority])
            self.assertEqual((self.q.message(['a'])[0] or message('')).priority, priority)
            self.assertEqual(self.q.reconcile('p1', []), 3)
            self.q.cancel(['low', 'a', 'b'])
            self.tick()
            self.put(message('low', priority=2))
            self.q.cancel(['low'])
        self.q.cancel(['busy'])
        for priority in 3, -2:
            with self.assertRaises(ValueError):
                self.q.revive([Revival('a', priority=priority)])

    def test_revive_with_another_priority_what_expired(self) -> None:
        """What expired while it was ready leaves its old place."""
        self.put(message('a', expires=500, priority=0), message('c', priority=1))
        self.tick(2_000)
        self.assertEqual(self.q.status(['a']), ['expired'])
        self.assertEqual(self.q.revive([Revival('a', priority=2)]), ['revived'])
        self.assertEqual(self.q.audit(), [])
        self.assertEqual([row.id for row in self.q.scan('enqueued')[0]], ['c', 'a'])
        self.assertEqual(self.ids(), ['c', 'a'])

    def test_revive_this_end_only(self) -> None:
        """Of a failure that is told when it ended, by a row or its times, no later one is revived.
        """
        for told in 'row', 'times':
            self.put(message('a'))
            delivery = self.take_one('a')
            self.settle(outcome(delivery, 'failure', begun=1, ended=now() - 40_000))
            row, = self.q.scan('failed')[0]
            seen, = self.q.inspect(['a'])
            assert seen is not None
            ended = row.since if told == 'row' else seen.times.ended
            once = Revival('a', seen.nonce, ended)
            self.assertEqual(self.q.revive([once]), ['revived'])
            self.assertEqual(self.q.revive([once]), ['live'])
            self.advance(100)
            self.complete('a', word='failure')
            self.assertEqual(self.q.revive([once]), ['gone'])

    def test_revive_downstream(self) -> None:
        """All that failed because of it is pending again, and nothing else."""
        self.put(message('a'), message('x'), message('b', 'a'), message('c', 'b', 'a'),
                 message('d', 'x', 'c'), message('e', 'x'))
        for id in 'ax':
            self.complete(id, word='failure')
        self.put(message('f', 'c'))
        self.tick()
        self.assertEqual([self.origin_of(id) for id in 'bcdef'], ['a', 'a', 'a', 'x', 'a'])
        self.assertEqual(self.revive('a', downstream=True), ['revived'])
        self.assertEqual(self.q.status([*'abcdef']), [
            'enqueued', 'pending', 'pending', 'failed', 'failed', 'pending'])
        self.complete('a')
        self.assertEqual(self.revive('x', 'd', downstream=True), ['revived', 'revived'])
        for _ in range(4):
            self.settle(*map(outcome, self.take(9)))
            self.tick()
        self.assertEqual(self.q.status([*'abcdef']), ['success'] * 6)

    def test_revive_downstream_in_any_order(self) -> None:
        """What failed before one of its own arguments is revived behind that."""
        self.put(message('a'))
        self.put(*(message(f'{i}', *('a', f'{i + 1}')[:1 + (i < 9)]) for i in range(9, -1, -1)))
        dependents = [f'{i}' for i in range(10)]
        self.complete('a', word='failure')
        self.tick()
        for _ in range(2):
            self.assertEqual(self.revive('a', downstream=True), ['revived'])
            self.assertEqual(self.q.status(dependents), ['pending'] * 10)
            self.complete('a', word='failure')
            self.tick()
            self.assertEqual(self.q.status(dependents), ['failed'] * 10)

    def test_revive_downstream_after_a_tail_call(self) -> None:
        """What waited for a task that it had returned waits for it again; alone it runs anew."""
        self.put(message('a'), message('b'), message('c', 'a'))
        taken = {one.id: one for one in self.take(2)}
        self.settle(Outcome('a', taken['a'].token, 'delegate', b'seal', target=Argument('b', '')))
        self.settle(outcome(taken['b'], 'failure'))
        self.tick()
        self.assertEqual(self.revive('b', downstream=True), ['revived'])
        self.assertEqual(self.q.status([*'abc']), ['enqueued' if id == 'b' else 'pending'
                                                   for id in 'abc'])
        self.assertEqual(self.q.inspect(['a'])[0].target, 'b')
        self.complete('b', word='failure')
        self.tick()
        self.assertEqual(self.origin_of('c'), 'b')
        self.assertEqual(base.path(self.q.results(['a'])[0] or b'')[0].seal, b'seal')
        self.assertEqual(self.revive('a'), ['revived'])
        self.complete('a')
        self.assertEqual(self.revive('c'), ['revived'])
        self.complete('c')

    def test_revive_downstream_once(self) -> None:
        """What somebody has run again before its turn came, and failed once more by itself, is not
        run again with the others."""
        many = 1_000
        self.failing(message('a'))
        for start in range(0, many, 100):
            self.put(*[message(f'b{n}', 'a', priority=2) for n in range(start, start + 100)])
        self.put(message('z', 'a', priority=0))
        self.assertEqual(self.q.revive([Revival('a')], True), ['revived'])
        word, = self.q.revive([Revival('z')])
        if word == 'live':
            return   # this engine does all of it in one step
        self.complete('a')
        found: list[base.Delivery] = []
        while 'z' not in {one.id for one in found}:
            found += self.take(1)
        self.settle(*(outcome(one, 'failure' if one.id == 'z' else 'release') for one in found))
        for _ in range(200):
            self.tick()
        self.assertEqual(self.q.status(['z', 'b0', f'b{many - 1}']),
                         ['failed', 'enqueued', 'enqueued'])

    def test_revive_is_watched(self) -> None:
        """Who watches it afterwards hears how it ends then."""
        self.failing(message('a'))
        self.revive('a')
        self.assertEqual(self.q.watch('c', ['a']), [])
        self.complete('a')
        (id, raw), = self.q.wait('c', 0)
        self.assertEqual((id, base.unpack(raw or b'').kind), ('a', base.VALUE))

    def test_revive_beside_a_live_argument(self) -> None:
        """An argument that was live when it failed, and is so still, is waited for once."""
        self.put(message('a'), message('x'), message('y'), message('b', 'a', 'x', 'y'))
        self.complete('a', word='failure')
        self.tick()
        self.assertEqual(self.revive('a', downstream=True), ['revived'])
        self.complete('x')
        self.tick()
        self.assertEqual(self.q.status(['b']), ['pending'])
        taken = {one.id: one for one in self.take(5)}
        self.settle(outcome(taken['y']))
        self.tick()
        self.assertEqual(self.q.status(['b']), ['pending'])
        self.settle(outcome(taken['a']))
        self.complete('b')
