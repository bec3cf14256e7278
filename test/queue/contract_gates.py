"""The contract of a task queue as tests: what is built in steps behind a gate."""
from __future__ import annotations

from typing import Any, cast
from unittest import mock

from test.queue.contract import HEADER, Contract, held, message, nonce, outcome
from worq import const, builder
from worq.queue import base
from worq.queue.base import (
    Argument, Held, Inspection, Message, Outcome, Refusal, Times, TaskQueue, unpack,
)

GONE = b'x', b'batch\nwhoever was putting it has gone'


class Gates(Contract):

    def open_gate(self, id: str = 'gate', **options: Any) -> Message:
        self.gate = message(id, header=b'batch', body=b'', flags=base.GATE, **options)
        self.put(self.gate)
        return self.gate

    def behind(self, *messages: Message) -> None:
        self.assertEqual(self.q.put(messages, gate=self.gate.id), [])

    def token(self) -> bytes:
        return self.gate.nonce.encode() + b'1'

    def end_gate(self, word: str = 'value', data: bytes = b'') -> list[str]:
        return self.q.settle(self.gate.id, [Outcome(self.gate.id, self.token(), word, data)])

    def test_gate(self) -> None:
        """Nothing that is put with a gate is ready before the gate ends with a value."""
        self.open_gate()
        self.put(message('free'))
        self.behind(message('a'), message('b', 'a'), message('later', delay=9_000),
                    message('p', 'free', flags=base.PASS))
        self.behind(message('c', 'b', 'free'), message('d', 'free'))
        self.complete('free', b'x')
        ids = ['a', 'b', 'later', 'p', 'c', 'd']
        self.assertEqual(self.status('gate', *ids), ['processing'] + ['pending'] * 6)
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.end_gate(), ['ok'])
        self.assertEqual(self.end_gate(), ['again'])
        self.assertEqual(self.status('gate', *ids), [
            'completed', 'enqueued', 'pending', 'scheduled', 'enqueued', 'pending', 'enqueued'])
        p, d, a = self.take(9)   # the gate is no argument
        self.assertEqual((a.id, p.id, d.id), ('a', 'p', 'd'))
        self.settle(outcome(a))
        self.assertEqual(self.ids(), ['b'])

    def test_gate_brings_no_argument(self) -> None:
        """The gate is no argument of what it held back, and is not pinned by it."""
        self.open_gate(ttl=60)
        self.behind(message('a'))
        self.end_gate()
        self.assertEqual(self.take_one('a').arguments, ())
        self.advance(80)
        self.assertEqual(self.status('gate', 'a'), [None, 'processing'])

    def test_gate_counts_not(self) -> None:
        """A gate is processing while it is held; how it ends is not counted."""
        self.open_gate()
        self.assertEqual((self.q.size(), self.q.stats()['processing']), (1, 1))
        self.assertEqual(self.ids(), [])
        self.end_gate()
        self.open_gate()
        self.end_gate('failure', b'because')
        self.assertEqual(set(self.q.stats().values()), {0})

    def test_gate_fails(self) -> None:
        """With a gate that fails all behind it fails, whether it passes failures or not."""
        self.open_gate()
        self.put(message('after'))
        self.behind(message('a'), message('b', 'a', flags=base.PASS))
        self.put(message('out', 'b'), message('passes', 'b', flags=base.PASS))
        self.end_gate('failure', b'because')
        self.assertEqual(self.status('a', 'b', 'out', 'passes'),
                         ['completed'] * 3 + ['enqueued'])
        for id in ['a', 'b', 'out']:
            self.assertEqual((self.outcome_of(id), self.origin_of(id)),
                             ((b'f', b'because'), 'gate'))
        self.assertEqual(self.ids(), ['passes', 'after'])
        self.assertEqual(self.q.forget(['a']), ['forgotten'])

    def test_gate_is_cancelled(self) -> None:
        """A gate may be cancelled, of which its holder hears with the next beat."""
        self.open_gate()
        self.behind(message('a', flags=base.PASS))
        running = [Held('gate', self.token())]
        self.assertEqual(self.q.beat('gate', running), [])
        self.assertEqual(self.q.cancel(['gate']), ['cancelled'])
        self.assertEqual((self.outcome_of('a'), self.origin_of('a')),
                         ((b'c', b'batch\ncancelled'), 'gate'))
        self.assertEqual(self.q.beat('gate', running),
                         [base.Lost('gate', self.token(), 'cancelled')])
        self.assertEqual(self.end_gate(), ['stale'])
        self.assertEqual(self.q.put([message('b')], gate='gate'),
                         [Refusal('b', 'unknown', 'gate')])

    def test_gate_is_left(self) -> None:
        """A gate that nobody beats for ends when its lease runs out, at its first loss."""
        self.open_gate(lease=4_000)
        self.behind(message('a'))
        self.tick(3_000)
        self.assertEqual(self.q.beat('gate', [Held('gate', self.token())]), [])
        self.tick(3_000)
        self.assertEqual(self.status('a'), ['pending'])
        self.tick(2_000)
        self.assertEqual((self.outcome_of('a'), self.origin_of('a')), (GONE, 'gate'))
        self.assertEqual(self.end_gate(), ['stale'])
        self.assertEqual(self.q.stats()['redelivered'], 0)

    def test_gate_is_no_task(self) -> None:
        """Whatever would bring a task back ends a gate."""
        for word in ['release', 'retry', 'refuse', 'lost', 'delegate']:
            self.open_gate(word)
            self.q.join('p2', {})
            self.behind(message(f'behind {word}'))
            it = Outcome(word, self.token(), word, target=Argument('none', ''))
            self.assertEqual(self.q.settle(word, [it]), ['ok'])
            self.assertEqual(self.q.settle(word, [it]), ['again'])
            self.assertEqual((self.outcome_of(f'behind {word}'), self.origin_of(f'behind {word}')),
                             (GONE, word))
        for verb in [lambda: self.q.reconcile('gate', []), lambda: self.q.abandon('gate', 'x')]:
            self.open_gate()
            self.assertEqual(verb(), 1)
            self.assertEqual(self.outcome_of('gate'), GONE)
        self.assertEqual(self.ids(), [])

    def test_gate_is_no_argument(self) -> None:
        """A gate cannot be an argument, neither live nor later, nor the target of a tail call."""
        self.open_gate()
        for _ in range(2):
            self.assertEqual(self.q.put([message('a', 'gate')]), [Refusal('a', 'unknown', 'gate')])
            self.end_gate()
        self.open_gate()
        self.put(message('o'))
        self.settle(outcome(self.take_one('o'), 'delegate', target=Argument('gate', '')))
        self.assertEqual(self.outcome_of('o'),
                         (b'x', b'mod.func\nthe Deferred it returned is unknown'))

    def test_gate_and_the_life_of_what_it_holds(self) -> None:
        """What a gate holds back may be cancelled, expire, be purged or fail before it ends."""
        self.put(message('bad'), message('bad2'))
        self.complete('bad', b'because', 'failure')
        self.open_gate()
        self.behind(message('a'), message('b', expires=500), message('c', 'bad'),
                    message('d', 'bad2'), message('ok', 'bad', flags=base.PASS))
        self.assertEqual(self.outcome_of('c'), (b'f', b'because'))
        self.q.cancel(['a'])
        self.complete('bad2', b'because', 'failure')
        self.tick(1_000)
        self.assertEqual(self.status('a', 'b', 'd', 'ok'), ['completed'] * 3 + ['pending'])
        self.put(message('a', 'ok'))
        self.end_gate()
        self.assertEqual(self.status('a', 'ok'), ['pending', 'enqueued'])
        self.complete('ok')
        self.open_gate()
        self.behind(message('new'))
        self.assertEqual(self.q.purge(), 2)
        self.assertEqual(self.status('gate'), ['processing'])
        self.end_gate()
        self.drain()
        self.assertEqual(self.ids(), [])

    def test_gate_put_twice(self) -> None:
        """A gate, and what is put with it, may be sent again."""
        gate = self.open_gate()
        self.put(gate)
        messages = [message('a'), message('b', 'a', delay=900)]
        self.behind(*messages)
        self.behind(*messages)
        self.assertEqual(self.q.put([message('gate', flags=base.GATE)])[0].word, 'duplicate')
        self.end_gate()
        self.assertEqual(self.ids(), ['a'])

    def test_gate_refusals(self) -> None:
        """What belongs to no gate that is held is refused, and nothing of it is stored."""
        self.put(message('task'))
        self.take_one('task')
        for gate in ['none', 'task']:
            self.assertEqual(self.q.put([message('a'), message('b')], gate=gate),
                             [Refusal('a', 'unknown', gate)])
        self.open_gate()
        self.assertEqual(self.q.put([message('a'), message('b', 'none')], gate='gate'),
                         [Refusal('b', 'unknown', 'none')])
        self.end_gate()
        self.assertEqual(self.q.put([message('a')], gate='gate'), [Refusal('a', 'unknown', 'gate')])
        self.assertEqual(self.status('a', 'b'), [None, None])

    def test_gate_nonsense(self) -> None:
        """A gate is put alone, has no arguments, and leaves an outcome."""
        self.open_gate()
        gate = message('g', flags=base.GATE)
        for put in [lambda: self.q.put([gate, message('a')]),
                    lambda: self.q.put([message('a'), gate]),
                    lambda: self.q.put([gate], gate='gate'),
                    lambda: self.q.put([message('g', 'gate', flags=base.GATE)]),
                    lambda: self.q.put([gate._replace(flags=base.GATE | base.IGNORE_RESULT)]),
                    lambda: self.q.put([gate._replace(delay=1)]),
                    lambda: self.q.put([gate._replace(expires=1)])]:
            with self.assertRaises(ValueError):
                put()
        self.assertEqual(self.status('g', 'a'), [None, None])
        self.end_gate()

    def test_gate_is_seen(self) -> None:
        """Which gate holds a task back can be seen; it is not counted as open argument."""
        self.open_gate()
        self.put(message('free'))
        self.behind(message('a'), message('b', 'free'))
        self.assertEqual(self.seen('a'), Inspection('pending', HEADER, gate='gate'))
        self.assertEqual(self.seen('b'), Inspection(
            'pending', HEADER, open=1, arguments=('free',), gate='gate'))
        self.advance(300)
        self.assertEqual(self.seen('gate'), Inspection(
            'processing', b'batch', pool='gate', taken=300, deliveries=1))
        self.end_gate()
        self.assertEqual(self.seen('a'), Inspection('enqueued', HEADER, ahead=1))
        self.assertEqual(self.seen('b'), Inspection(
            'pending', HEADER, open=1, arguments=('free',)))

    def seen(self, id: str) -> Inspection:
        found, = self.q.inspect([id])
        assert found is not None
        return found._replace(nonce='', times=Times())

    def test_gate_wide(self) -> None:
        """A gate releases any number of tasks, in the order in which they were put."""
        self.open_gate()
        ids = [f'a{i}' for i in range(2_500)]
        for start in range(0, len(ids), 1_000):
            self.behind(*map(message, ids[start:start + 1_000]))
        self.end_gate()
        self.tick(15 * const.TICK)
        self.assertEqual(self.ids(3_000), ids)


class Edges(Gates):

    def edges(self, id: str, life: str, start: int, *arguments: str | Argument) -> list[Refusal]:
        named = [a if isinstance(a, Argument) else Argument(a, '') for a in arguments]
        return self.q.edges(self.gate.id, id, life, start, named)

    def test_edges(self) -> None:
        """Arguments that are added are like those of the put, in their order."""
        self.put(message('done'), message('open'), message('first'))
        self.complete('done', b'1')
        self.open_gate()
        wide, other = message('wide', 'first'), message('other')
        self.behind(other, wide)
        self.assertEqual(self.edges('wide', wide.nonce, 1, 'open', 'done'), [])
        self.assertEqual(self.edges('wide', wide.nonce, 3, Argument('other', other.nonce)), [])
        self.assertEqual(self.q.inspect(['wide'])[0].open, 3)
        self.assertEqual(self.q.forget(['done']), ['pinned'])
        self.complete('open', b'2')
        self.complete('first', b'3')
        self.end_gate()
        self.assertEqual(self.status('wide'), ['pending'])
        self.complete('other', b'4')
        delivery = self.take_one('wide')
        self.assertEqual([(id, unpack(raw).data) for id, raw in delivery.arguments],
                         [('first', b'3'), ('open', b'2'), ('done', b'1'), ('other', b'4')])
        self.settle(outcome(delivery))
        self.assertEqual(self.q.forget(['done', 'open', 'other']), ['forgotten'] * 3)

    def test_edges_twice(self) -> None:
        """Sent again, also after the next ones, they change nothing."""
        self.put(*map(message, 'abcd'))
        self.open_gate()
        wide = message('wide')
        self.behind(wide)
        for _ in range(2):
            self.assertEqual(self.edges('wide', wide.nonce, 0, 'a', 'b'), [])
        self.assertEqual(self.edges('wide', wide.nonce, 2, 'c', 'd'), [])
        self.assertEqual(self.edges('wide', wide.nonce, 0, 'a', 'b'), [])
        self.assertEqual(self.q.inspect(['wide'])[0].open, 4)
        self.end_gate()
        for id in 'abcd':
            self.complete(id)
        self.assertEqual([id for id, _ in self.take_one('wide').arguments], list('abcd'))

    def test_edges_from_nothing(self) -> None:
        """A task that was put without arguments may get all of them so."""
        self.put(message('a'))
        self.complete('a', b'1')
        self.open_gate()
        wide = message('wide', delay=900)
        self.behind(wide)
        self.assertEqual(self.edges('wide', wide.nonce, 0, 'a'), [])
        self.end_gate()
        self.assertEqual(self.status('wide'), ['scheduled'])
        self.tick(2_000)
        self.assertEqual(unpack(self.take_one('wide').arguments[0][1]).data, b'1')

    def test_edges_failed(self) -> None:
        """A failed argument fails the task, unless it passes failures; later edges are in vain."""
        self.put(message('bad'), message('done'))
        self.complete('bad', b'because', 'failure')
        self.complete('done')
        self.open_gate()
        a, p = message('a', 'done'), message('p', flags=base.PASS)
        self.behind(a, p)
        self.put(message('after', 'p'))
        for _ in range(2):
            self.assertEqual(self.edges('a', a.nonce, 1, 'bad', 'p'), [])
        self.assertEqual((self.outcome_of('a'), self.origin_of('a')), ((b'f', b'because'), 'bad'))
        self.assertEqual(self.edges('a', a.nonce, 3, 'done'), [])
        self.assertEqual(self.q.forget(['done']), ['forgotten'])
        self.assertEqual(self.edges('p', p.nonce, 0, 'bad'), [Refusal('p', 'pinned', '')])
        self.q.cancel(['after'])
        self.open_gate('gate2')
        p = message('p2', flags=base.PASS)
        self.behind(p)
        self.assertEqual(self.edges('p2', p.nonce, 0, 'bad'), [])
        self.end_gate()
        self.assertEqual(unpack(self.take_one('p2').arguments[0][1]).kind, b'f')
        self.q.cancel(['gate'])

    def test_edges_too_late(self) -> None:
        """A task that is over is left as it is: completed, forgotten, or in a new life."""
        self.put(message('bad'), message('done'))
        self.complete('bad', b'because', 'failure')
        self.complete('done')
        self.open_gate()
        over = message('over', 'bad')
        ignores = message('ignores', 'bad', flags=base.IGNORE_RESULT)
        anew = ignores._replace(id='anew', nonce=nonce())
        self.behind(over, ignores, anew)
        self.behind(message('anew'))
        for one in [over, ignores, anew]:
            self.assertEqual(self.edges(one.id, one.nonce, 1, 'done'), [])
        self.assertEqual(self.q.inspect(['anew'])[0].open, 0)
        self.assertEqual(self.q.forget(['done']), ['forgotten'])
        self.end_gate()

    def test_edges_refused(self) -> None:
        """What put would refuse is refused, and nothing is changed by it."""
        plain = message('plain')
        self.put(message('a'), message('i', flags=base.IGNORE_RESULT), plain)
        gate = self.open_gate()
        wide, x = message('wide'), message('x')
        self.behind(wide, x)
        for argument in ['none', 'i', 'gate', Argument('a', nonce())]:
            id = argument if isinstance(argument, str) else argument.id
            self.assertEqual(self.edges('wide', wide.nonce, 0, 'a', argument) if id != 'a' else
                             self.edges('wide', wide.nonce, 0, argument),
                             [Refusal('wide', 'unknown', id)])
        self.assertEqual(self.q.inspect(['wide'])[0].open, 0)
        for one, start in [(wide, 1), (plain, 0)]:
            self.assertEqual(self.edges(one.id, one.nonce, start, 'a'),
                             [Refusal(one.id, 'unknown', one.id)])
        self.end_gate()
        self.assertEqual(self.edges('x', x.nonce, 0, 'a'), [Refusal('x', 'unknown', 'gate')])
        self.open_gate('gate2')
        self.assertEqual(self.edges('x', x.nonce, 0, 'a'), [Refusal('x', 'unknown', 'x')])
        self.end_gate()
        self.assertEqual(gate.id, 'gate')

    def test_edges_make_no_cycle(self) -> None:
        """A task that something depends on gets no more arguments: it might wait for itself."""
        self.open_gate()
        a = message('a')
        self.behind(a, message('b', 'a'))
        self.assertEqual(self.edges('a', a.nonce, 0, 'b'), [Refusal('a', 'pinned', '')])
        self.end_gate()
        self.assertEqual(self.ids(), ['a'])

    def test_edges_make_no_cycle_by_tail_call(self) -> None:
        """Neither does one that a tail call waits for."""
        self.put(message('o'))
        delivery, = self.take()
        self.open_gate()
        a = message('a')
        self.behind(a)
        self.settle(outcome(delivery, 'delegate', target=Argument('a', '')))
        self.assertEqual(self.edges('a', a.nonce, 0, 'o'), [Refusal('a', 'pinned', '')])
        self.end_gate()
        self.complete('a')
        self.assertEqual(self.status('o'), ['completed'])

    def test_edges_nonsense(self) -> None:
        """Too many at once, one that comes twice, and the task itself raise ValueError."""
        self.open_gate()
        wide = message('wide')
        self.behind(wide)
        for arguments in [['a', 'a'], ['wide'], [f'{i}' for i in range(const.PUT_LIMIT + 1)]]:
            with self.assertRaises(ValueError):
                self.edges('wide', wide.nonce, 0, *arguments)
        self.end_gate()

    def test_edges_wide(self) -> None:
        """A fan-in of thousands is built in steps, and all of it is delivered, in order."""
        ids = [f'a{i}' for i in range(3_000)]
        self.open_gate()
        wide = message('wide', *ids[:1_000])
        for start in range(0, len(ids), 1_000):
            self.behind(*map(message, ids[start:start + 1_000]))
        self.behind(wide)
        for start in range(1_000, len(ids), 1_000):
            self.assertEqual(self.edges('wide', wide.nonce, start, *ids[start:start + 1_000]), [])
        self.end_gate()
        self.tick(20 * const.TICK)
        taken = self.take(3_000)
        self.assertEqual([d.id for d in taken], ids)
        self.settle(*[outcome(d, data=d.id.encode()) for d in taken])
        self.drain()
        delivery = self.take_one('wide')
        self.assertEqual([(id, unpack(raw).data) for id, raw in delivery.arguments],
                         [(id, id.encode()) for id in ids])
        self.assertEqual(self.q.beat('p1', held(delivery)), [])
        self.settle(outcome(delivery))
        self.tick(20 * const.TICK)
        self.assertEqual(set(self.q.forget(ids)), {'forgotten'})

    def test_builder_of_a_wide_task_beats(self) -> None:
        """Who adds thousands of arguments over a slow link is heard of, however long it takes."""
        now = 0.0

        class Slow:
            """The queue, where each step of arguments takes a third of the builder's lease."""

            def __getattr__(slow, name: str) -> Any:
                return getattr(self.q, name)

            def edges(slow, *args: Any) -> list[Refusal]:
                nonlocal now
                self.tick(builder.LEASE // 3)
                now += builder.LEASE / 3000
                return self.q.edges(*args)

        arguments = [message(f'a{n}') for n in range(6 * builder.WIDE)]
        self.put(*arguments)
        entry = builder.Entry(cast(Any, None), b'')
        entry.message = message('wide', *(each.id for each in arguments))
        with mock.patch.object(builder.time, 'monotonic', lambda: now):
            made = builder.Builder(cast(TaskQueue, Slow()), mock.Mock(), lambda gate: b'')
            made.build([entry])
        self.assertEqual(self.status('wide'), ['pending'])
        self.assertGreater(now, builder.LEASE / 1000)
        self.q.purge()
