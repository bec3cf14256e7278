"""The contract of a task queue as tests: what can be seen of a task that is not done."""
from __future__ import annotations

from test.queue.contract import Contract, held, message, outcome, HEADER
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Inspection, Outcome, Times
from worq.queue.records import now


class Inspect(Contract):

    def see(self, id: str) -> Inspection:
        found, = self.q.inspect([id])
        assert found is not None, f'{id} is unknown'
        return found._replace(nonce='', times=Times(), deaths=())

    def test_inspect_enqueued(self) -> None:
        """An enqueued task has a place: behind higher priorities, and what came before it."""
        self.put(message('n1'), message('h1', priority=0), message('n2'), message('l1', priority=2))
        self.assertEqual(self.see('n2'), Inspection('enqueued', HEADER, ahead=2))
        self.assertEqual([self.see(id).ahead for id in ['h1', 'n1', 'l1']], [0, 1, 3])
        self.take_one('h1')
        self.assertEqual([self.see(id).ahead for id in ['h1', 'n1', 'l1']], [None, 0, 2])

    def test_inspect_far_behind(self) -> None:
        """Beyond some thousands the place in the list is not told."""
        for n in range(0, const.AHEAD, 1_000):
            self.put(*[message(f'{i}') for i in range(n, n + 1_000)])
        self.put(message('last'), message('high', priority=0))
        self.assertEqual(self.see(f'{const.AHEAD - 1}').ahead, const.AHEAD)
        self.assertEqual(self.see('last').ahead, None)
        self.q.purge()
        self.tick(100 * const.TICK)

    def test_inspect_unknown_and_completed(self) -> None:
        """Of a completed task only its state is told; an unknown one is None."""
        a = message('a', header=b'f' * 99, body=bytes(99))
        self.put(a)
        self.complete('a', b'x')
        self.assertEqual([seen and seen._replace(times=Times())
                          for seen in self.q.inspect(['none', 'a', 'none'])],
                         [None, Inspection('success', b'f' * 99, pool='p1', nonce=a.nonce), None])
        self.assertEqual(self.q.inspect([]), [])

    def times(self, id: str) -> Times:
        """Relative to the first, which is told as 1."""
        found, = self.q.inspect([id])
        first = self.q.inspect(['first'])[0].times.put - 1
        return Times(*(moment and moment - first for moment in found.times[:5]), *found.times[5:])

    def test_times(self) -> None:
        """When a task was put, ready, taken and ended is told, also when it is over."""
        self.put(message('first', priority=2))
        self.advance(100)
        self.put(message('a'), message('b', 'a'), message('late', delay=5_000))
        eq = self.assertEqual
        eq([self.times(id) for id in ['a', 'b', 'late']],
           [Times(101, 101, attempt=1), Times(101, attempt=1), Times(101, attempt=1)])
        self.advance(50)
        a = self.take_one('a')
        eq(self.times('a'), Times(101, 101, 151, attempt=1))
        self.advance(50)
        self.settle(outcome(a, 'retry', b'memo'))
        eq(self.times('a'), Times(101, 201, 151, attempt=2))
        a = self.take_one('a')
        self.advance(30)
        self.settle(outcome(a, 'value', b'x'))
        eq(self.times('a'), Times(101, 201, 201, 0, 231, 2))
        eq(self.times('b'), Times(101, 231, attempt=1))
        self.advance(20)
        self.q.cancel(['b', 'late'])
        eq([self.times(id) for id in ['b', 'late']],
           [Times(101, 231, 0, 0, 251, 1), Times(101, 0, 0, 0, 251, 1)])
        seen, = self.q.inspect(['b'])
        eq((seen.header, seen.pool), (b'mod.func', ''))

    def test_times_of_what_fails(self) -> None:
        """So it is told of what ends by an argument, at once or later, and of what is long."""
        self.put(message('first', header=b'f' * 3_000, body=bytes(5_000)),
                 message('after', 'first'))
        self.advance(10)
        self.settle(outcome(self.take_one('first'), 'failure', bytes(9_000)))
        self.put(message('then', 'first', header=b'g\nretries 3'))
        eq = self.assertEqual
        eq(self.times('first'), Times(1, 1, 11, 0, 11, 1))
        eq(self.times('after'), Times(1, 0, 0, 0, 11, 1))
        eq(self.times('then'), Times(11, 0, 0, 0, 11, 1))
        eq([seen.header.partition(b'\n')[0] for seen in self.q.inspect(['first', 'then'])],
           [b'f' * 3_000, b'g'])

    def test_times_of_an_outcome(self) -> None:
        """An outcome tells when its task was begun and had ended, and how much memory it took."""
        self.put(message('first'), message('plain'))
        for id in 'first', 'plain':
            one = self.take_one(id)
            self.advance(9_000)
            moment = now()
            told = outcome(one, 'value', b'x')._replace(
                begun=moment - 5_000_000, ended=moment - 2_000_000, peak=1 << 20)
            if id == 'first':
                self.settle(told)
            else:
                self.q.turn('p1', [told], None, 0)
            times = self.q.inspect([id])[0].times
            self.assertEqual(times.ended - times.begun, 3_000)
            self.assertEqual(times.peak, 1 << 30)
            self.assertTrue(4_000 < times.ended - times.taken <= 7_000, times)   # by this machine

    def test_times_of_a_short_one(self) -> None:
        """What has begun and ended just now has times, too; an outcome that tells none has none."""
        self.put(message('short'), message('unknown'))
        short, unknown = self.q.take('p1', 2)
        moment = now()
        self.settle(outcome(short)._replace(begun=moment, ended=moment), outcome(unknown))
        times = [seen.times for seen in self.q.inspect(['short', 'unknown'])]
        self.assertTrue(0 <= times[0].ended - times[0].begun < 1_000, times)
        self.assertEqual(times[1].begun, 0)

    def test_ignored(self) -> None:
        """Of what ignores its result nothing is kept; that is told while there is something."""
        self.put(message('a', flags=base.IGNORE_RESULT), message('b'))
        self.assertEqual([seen.ignored for seen in self.q.inspect(['a', 'b'])], [True, False])
        self.complete('a')
        self.assertEqual(self.q.inspect(['a']), [None])

    def test_inspect_many(self) -> None:
        """Any number of tasks may be inspected at once."""
        a = message('a')
        self.put(a)
        self.assertEqual(self.q.inspect(['a'] * 2_500),
                         [self.q.inspect(['a'])[0]] * 2_500)

    def test_inspect_pending(self) -> None:
        """A pending task names the first of its open arguments, and counts them."""
        many = [f'a{i}' for i in range(const.LOOK + 3)]
        self.put(*map(message, many), message('b', *many, delay=9_000))
        self.complete('a0')
        self.advance(1_500)
        self.assertEqual(self.see('b'), Inspection(
            'pending', HEADER, due=7_500, open=const.LOOK + 2,
            arguments=tuple(many[1:const.LOOK + 1])))
        self.advance(8_000)
        self.assertEqual(self.see('b').due, None)

    def test_inspect_last_of_many(self) -> None:
        """Where many arguments are done, the open ones are named all the same."""
        many, more = [f'a{i}' for i in range(const.PUT_LIMIT)], [f'z{i}' for i in range(9)]
        gate, b = message('gate', flags=base.GATE), message('b', *many)
        self.put(*map(message, many))
        self.put(*map(message, more))
        self.put(gate)
        self.assertEqual(self.q.put([b], gate='gate'), [])
        self.assertEqual(self.q.edges(
            'gate', 'b', b.nonce, len(many), [Argument(id, '') for id in more]), [])
        self.q.settle('gate', [Outcome('gate', f'{gate.nonce}1'.encode(), 'value')])
        many += more
        self.settle(*map(outcome, self.take(len(many) - 3)))
        self.drain()
        seen = self.see('b')
        self.assertEqual((seen.open, seen.arguments), (3, tuple(many[-3:])))

    def test_inspect_scheduled(self) -> None:
        """A scheduled task tells when it is due; if that is over, a tick will see to it."""
        self.put(message('a', delay=9_000))
        self.advance(400)
        self.assertEqual(self.see('a'), Inspection('scheduled', HEADER, due=8_600))
        self.advance(8_700)
        self.assertEqual(self.see('a'), Inspection('scheduled', HEADER, due=0))

    def test_inspect_processing(self) -> None:
        """A task that is processed tells by whom, since when, and which delivery it is."""
        self.put(message('a'))
        self.take_one('a')
        self.advance(700)
        self.assertEqual(self.see('a'), Inspection(
            'processing', HEADER, pool='p1', taken=700, deliveries=1))
        self.lose()
        self.assertEqual(self.see('a'), Inspection('enqueued', HEADER, ahead=0, deliveries=1))
        self.take_one('a', 'p2')
        self.assertEqual(self.see('a'), Inspection(
            'processing', HEADER, pool='p2', taken=0, deliveries=2))

    def test_inspect_long_header(self) -> None:
        """A header is told whole, however long it is."""
        header = b'mod.func\n' + bytes(range(256))
        self.put(message('a', header=header, body=bytes(99)))
        self.assertEqual(self.see('a').header, header)

    def test_inspect_tail_call(self) -> None:
        """A task that returned a Deferred names its target."""
        self.put(message('outer'), message('inner'))
        self.settle(outcome(self.take_one('outer'), 'delegate', target=Argument('inner', '')))
        self.assertEqual(self.see('outer'), Inspection(
            'pending', HEADER, target='inner', deliveries=1))

    def test_progress(self) -> None:
        """Progress comes with a beat or a turn, and stays until the next one that brings some."""
        self.put(message('a'), message('b'))
        a, b = self.take(2)
        self.assertEqual(self.q.beat('p1', held(a, b, progress=b'1/3')), [])
        self.assertEqual((self.see('a').progress, self.see('b').progress), (b'1/3', b'1/3'))
        self.q.turn('p1', [], held(a, progress=bytes(const.PROGRESS)))
        self.q.beat('p1', held(a))
        self.assertEqual(self.see('a').progress, bytes(const.PROGRESS))
        self.settle(outcome(a))
        self.assertEqual(self.see('a'), Inspection('success', b'mod.func', pool='p1'))

    def test_progress_of_a_delivery(self) -> None:
        """Progress is that of one delivery: not of the next, nor of one that is not in force."""
        self.put(message('a'))
        first = self.take_one('a')
        self.q.beat('p1', held(first, progress=b'1/3'))
        self.lose()
        self.assertEqual(self.see('a').progress, b'')
        self.take_one('a', 'p2')
        self.assertEqual(self.see('a').progress, b'')
        self.q.beat('p1', held(first, progress=b'2/3'))
        self.q.beat('p2', held(first, progress=b'2/3'))
        self.assertEqual(self.see('a').progress, b'')

    def test_progress_too_long(self) -> None:
        """More progress than is allowed raises ValueError, and renews nothing."""
        self.put(message('a'))
        long = held(self.take_one('a'), progress=bytes(const.PROGRESS + 1))
        for verb in [lambda: self.q.beat('p1', long), lambda: self.q.turn('p1', (), long)]:
            with self.assertRaises(ValueError):
                verb()


class Contents(Contract):

    def test_message(self) -> None:
        """What a task was put with is told until it is completed."""
        short = message('short', flags=base.IGNORE_RESULT)
        long = message('long', 'short2', header=b'h' * 5_000, body=bytes(9_000))
        self.put(short, message('short2'), long, message('later', delay=9_000, body=b''))
        ids = ['short', 'none', 'long', 'later', 'short2']
        found = self.q.message(ids)
        self.assertEqual([one and one[1:5] for one in found], [
            (HEADER, b'body of short', 13, ()), None,
            (b'h' * 5_000, bytes(9_000), 9_000, ('short2',)), (HEADER, b'', 0, ()),
            (HEADER, b'body of short2', 14, ())])
        self.assertEqual([one.nonce for one in found[:3:2] if one], [short.nonce, long.nonce])
        delivery = self.take_one('short')
        self.assertEqual(self.q.message(ids), found)
        self.settle(outcome(delivery))
        self.complete('short2')
        self.q.cancel(['later'])
        self.assertEqual([one is not None for one in self.q.message(ids)],
                         [False, False, True, False, False])
        self.take_one('long')
        self.assertEqual(self.q.message(['long']), [found[2]])
        self.assertEqual(self.q.message([]), [])
        with self.assertRaises(ValueError):
            self.q.message(['x'] * 11)

    def test_message_is_cut(self) -> None:
        """Of many that are long a bounded part is told, and how long they are."""
        half = const.CONTENT // 2
        self.put(message('a', body=b'a' * half))
        self.put(message('b', body=b'b' * (half + 5)))
        self.put(message('c', body=b'c'))
        found = [(one.body, one.size) for one in self.q.message(['a', 'b', 'c']) if one]
        self.assertEqual(found, [(b'a' * half, half), (b'b' * half, half + 5), (b'', 1)])
        self.q.purge()

    def test_progress_at_death(self) -> None:
        """Of a delivery that was lost it is told how far it had come, as long as its failure is."""
        self.put(message('a', max_deliveries=3))
        for progress in b'[1, 2, ""]', b'', b'3 \xff\n' * 200:
            delivery = self.take_one('a')
            self.q.beat('p1', held(delivery, progress=progress))
            self.settle(outcome(delivery, 'lost', b'killed'))
            self.tick(4_000)
        seen, = self.q.inspect(['a'])
        assert seen is not None
        self.assertEqual((seen.state, [one.progress for one in seen.deaths]),
                         ('expired', [b'[1, 2, ""]', b'', b'3 \xff\n' * 200]))
        self.assertEqual({one[1:3] for one in seen.deaths}, {('p1', 'killed')})

    def test_deaths(self) -> None:
        """How deliveries were lost is told, the last of them, also when it has ended."""
        self.put(message('a', max_deliveries=99))
        start = self.q.inspect(['a'])[0].times.put   # type: ignore[union-attr]

        def deaths() -> list[tuple[int, str, str]]:
            seen, = self.q.inspect(['a'])
            assert seen is not None
            return [(moment - start, pool, text) for moment, pool, text, _ in seen.deaths]
        eq = self.assertEqual
        eq(deaths(), [])
        self.settle(outcome(self.take_one('a'), 'lost', 'shot: é'.encode() + b'x' * 300))
        eq(deaths(), [(0, 'p1', 'shot: é' + 'x' * 292)])
        self.settle(outcome(self.take_one('a'), 'release'))
        self.take_one('a', 'p2')
        self.q.reconcile('p2', [])
        self.settle(outcome(self.take_one('a'), 'retry'))   # none of these was lost
        self.take_one('a', 'p2')
        self.advance(1)
        self.q.abandon('p2', 'killed\n 3 1 2')
        eq(deaths()[1:], [(1, 'p2', 'killed\n 3 1 2')])
        self.take_one('a')
        self.lose()
        eq(deaths()[2][1:], ('p1', 'pool p1 stopped renewing its lease'))
        for _ in range(const.DEATHS):
            self.advance(4 ** 9 * 1_000)
            self.settle(outcome(self.take_one('a'), 'lost', b'again'))
        found = deaths()
        eq([text for _, _, text in found], ['again'] * const.DEATHS)
        self.q.cancel(['a'])
        eq(deaths(), found)
        self.q.forget(['a'])
        self.put(message('a'))
        eq(deaths(), [])

class Memo(Contract):

    def retry(self, delivery: object, memo: bytes, **options: int) -> None:
        self.assertEqual(self.settle(outcome(delivery, 'retry', memo, **options)), ['ok'])

    def test_memo(self) -> None:
        """What a retry leaves, each delivery brings, until the next retry or the end."""
        self.put(message('a'))
        delivery = self.take_one('a')
        self.assertEqual(delivery.memo, b'')
        self.retry(delivery, b'\x00 first\n')
        self.assertEqual(self.q.inspect(['a'])[0].memo, b'\x00 first\n')
        delivery = self.take_one('a')
        self.assertEqual(delivery.memo, b'\x00 first\n')
        self.settle(outcome(delivery, 'release'))
        self.take_one('a')
        self.lose()
        delivery = self.take_one('a')
        self.assertEqual((delivery.memo, delivery.number), (b'\x00 first\n', 2))
        self.retry(delivery, bytes(const.MEMO), delay=700)
        self.assertEqual(self.q.inspect(['a'])[0].memo, bytes(const.MEMO))
        self.tick()
        delivery, = self.q.turn('p1', limit=1).deliveries
        self.assertEqual(delivery.memo, bytes(const.MEMO))
        self.retry(delivery, b'')
        delivery = self.take_one('a')
        self.assertEqual(delivery.memo, b'')
        self.settle(outcome(delivery))

    def test_memo_ends(self) -> None:
        """A memo is gone when its task completes; a new life has none."""
        self.put(message('a'))
        self.retry(self.take_one('a'), b'memo')
        self.complete('a')
        self.assertEqual(self.q.inspect(['a'])[0].memo, b'')
        self.assertEqual(self.q.audit(), [])
        self.put(message('a'))
        self.assertEqual(self.take_one('a').memo, b'')

    def test_memo_with_arguments(self) -> None:
        """A memo comes beside the arguments."""
        self.put(message('a'), message('b', 'a'))
        self.complete('a', b'x')
        self.retry(self.take_one('b'), b'memo')
        delivery = self.take_one('b')
        self.assertEqual((delivery.memo, [id for id, _ in delivery.arguments]), (b'memo', ['a']))

    def test_memo_too_long(self) -> None:
        """A memo that is too long raises ValueError, and nothing is settled."""
        self.put(message('a'))
        delivery = self.take_one('a')
        with self.assertRaises(ValueError):
            self.settle(outcome(delivery, 'retry', bytes(const.MEMO + 1)))
        self.assertEqual(self.status('a'), ['processing'])
