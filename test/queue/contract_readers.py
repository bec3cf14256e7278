"""The contract of a task queue as tests: cancel, purge, and the verbs of readers."""
from __future__ import annotations

import threading
from typing import Any

from test.queue.contract import Contract, held, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import unpack


class Cancel(Contract):

    def test_cancel_each_state(self) -> None:
        """A task of any live state is cancelled; a second time it is completed."""
        self.put(message('run'), message('wait', 'run'), message('later', delay=9_999))
        self.take_one('run')
        self.put(message('ready'))
        ids = ['wait', 'later', 'ready', 'run', 'none']
        self.assertEqual(self.q.cancel(ids), ['cancelled'] * 4 + ['unknown'])
        self.assertEqual(self.q.cancel(ids), ['completed'] * 4 + ['unknown'])
        self.assertEqual(self.status(*ids), ['completed'] * 4 + [None])
        for id in ids[:4]:
            self.assertEqual(self.outcome_of(id), (b'c', b'mod.func\ncancelled'))
            self.assertEqual(self.origin_of(id), None)
        self.assertEqual(self.q.size(), 0)
        self.assertEqual(self.ids(), [])

    def test_cancel_completed(self) -> None:
        """A cancel that comes too late leaves the outcome alone."""
        self.put(message('a'))
        self.complete('a', b'x')
        self.assertEqual(self.q.cancel(['a']), ['completed'])
        self.assertEqual(self.outcome_of('a'), (b'v', b'x'))

    def test_cancel_dependents(self) -> None:
        """Dependents fail with the cancelled argument, or take it for a value."""
        self.put(message('a'), message('b', 'a'), message('c', 'b'),
                 message('p', 'a', flags=base.PASS))
        self.q.cancel(['a'])
        self.assertEqual(self.status('b', 'c', 'p'), ['completed', 'completed', 'enqueued'])
        self.assertEqual(self.outcome_of('c'), (b'c', b'mod.func\ncancelled'))
        self.assertEqual(self.origin_of('c'), 'a')
        (_, raw), = self.take_one('p').arguments
        self.assertEqual(unpack(raw).kind, b'c')

    def test_cancel_fences(self) -> None:
        """A cancelled delivery is reported by beat, and its outcome is stale."""
        self.put(message('a'))
        delivery = self.take_one('a')
        self.q.cancel(['a'])
        running = held(delivery)
        self.assertEqual(self.q.beat('p1', running),
                         [base.Lost('a', delivery.token, 'cancelled')])
        self.assertEqual(self.settle(outcome(delivery)), ['stale'])
        self.assertEqual(self.outcome_of('a')[0], b'c')

    def test_cancel_after_retry(self) -> None:
        """A cancel between an outcome and its resend makes the resend stale."""
        self.put(message('a'))
        again = outcome(self.take_one('a'), 'retry', delay=5_000)
        self.assertEqual(self.settle(again), ['ok'])
        self.q.cancel(['a'])
        self.assertEqual(self.settle(again), ['stale'])

    def test_cancel_ignored(self) -> None:
        """A cancelled task that ignores its result is forgotten."""
        self.put(message('a', flags=base.IGNORE_RESULT))
        self.assertEqual(self.q.cancel(['a']), ['cancelled'])
        self.assertEqual(self.q.cancel(['a']), ['unknown'])

    def test_cancel_unpins(self) -> None:
        """A cancelled task lets go of its arguments."""
        self.put(message('a'), message('b', 'a'))
        self.complete('a')
        self.assertEqual(self.q.forget(['a']), ['pinned'])
        self.q.cancel(['b'])
        self.assertEqual(self.q.forget(['a']), ['forgotten'])


class Purge(Contract):

    def test_purge(self) -> None:
        """All that has not begun is cancelled; what is processed goes on."""
        self.put(message('run'), message('wait', 'run', flags=base.PASS),
                 message('later', delay=9_999))
        delivery = self.take_one('run')
        self.put(message('ready'), message('wait2', 'ready', flags=base.PASS))
        self.assertEqual(self.q.purge(), 4)
        self.assertEqual(self.q.size(), 1)
        self.assertEqual(self.ids(), [])
        self.drain()
        ids = ['wait', 'later', 'ready', 'wait2']
        self.assertEqual(self.status(*ids), ['completed'] * 4)
        for id in ids:
            kind, data = self.outcome_of(id)
            self.assertEqual((kind, data), (b'c', b'mod.func\ncancelled: the queue was purged'))
        self.assertEqual(self.settle(outcome(delivery, data=b'x')), ['ok'])
        self.drain()
        self.assertEqual(self.outcome_of('run'), (b'v', b'x'))
        self.assertEqual(self.ids(), [])
        self.assertEqual(self.q.purge(), 0)

    def test_purge_then_put(self) -> None:
        """Tasks that are put after a purge are not touched by it."""
        self.put(*[message(f'a{i}') for i in range(700)])
        self.assertEqual(self.q.purge(), 700)
        self.put(message('new'))
        self.assertEqual(self.q.size(), 1)
        self.drain()
        self.assertEqual(self.ids(), ['new'])
        self.assertEqual(self.status('a0', 'a699'), ['completed', 'completed'])

    def test_purge_wakes_waiters(self) -> None:
        """Whoever waits for a purged task is told."""
        self.put(message('a'))
        self.q.watch('c', ['a'])
        self.q.purge()
        self.drain()
        (id, raw), = self.q.wait('c', 0.5)
        self.assertEqual((id, unpack(raw).kind), ('a', b'c'))


class Readers(Contract):

    def test_ping(self) -> None:
        """A queue that answers says so, empty or not, and nothing changes by it."""
        self.assertIs(self.q.ping(), True)
        self.put(message('a'))
        self.assertIs(self.q.ping(), True)
        self.assertEqual(self.ids(), ['a'])

    def test_status(self) -> None:
        """The state of each task in the order of the ids; None if unknown."""
        self.put(message('a'), message('b', 'a'))
        self.assertEqual(self.status('b', 'none', 'a', 'b'),
                         ['pending', None, 'enqueued', 'pending'])
        self.assertEqual(self.status(), [])
        self.assertEqual(self.status(*['a'] * 2_500), ['enqueued'] * 2_500)

    def test_status_of_an_end(self) -> None:
        """A task that is over tells how it ended, and so does what ended by its argument."""
        long = bytes(2 * const.SMALL)
        for n, data in enumerate([b'x', long]):
            kinds = {'success': 'value', 'failed': 'failure', 'cancelled': '', 'expired': 'expire'}
            for end, word in kinds.items():
                id, after = f'{end}{n}', f'after-{end}{n}'
                self.put(message(id), message(after, id))
                if word:
                    self.complete(id, data, word)
                else:
                    self.q.cancel([id])
                expected = 'enqueued' if end == 'success' else end
                self.assertEqual(self.q.status([id, after]), [end, expected])
                self.assertEqual([seen and seen.state for seen in self.q.inspect([id, after])],
                                 [end, expected])
                self.q.purge()

    def test_results(self) -> None:
        """The record of an outcome is its nonce, its kind and its data, byte for byte."""
        a, b = message('a'), message('b', 'a')
        self.put(a, b)
        self.complete('a', b'\x00because\xff', 'failure')
        self.assertEqual(self.q.results(['b', 'none', 'a']), [
            b.nonce.encode() + b'F' + a.nonce.encode() + b'1:a\x00because\xff', None,
            a.nonce.encode() + b'f\x00because\xff'])

    def test_result_expires(self) -> None:
        """A result is forgotten when its time is over."""
        self.put(message('a', ttl=60))
        self.complete('a')
        self.assertEqual(self.status('a'), ['completed'])
        self.advance(80)
        self.assertEqual(self.status('a'), [None])
        self.assertEqual(self.q.results(['a']), [None])
        self.assertEqual(self.q.watch('c', ['a']), [('a', None)])
        self.assertEqual(self.q.put([message('b', 'a')])[0].word, 'unknown')
        self.put(message('a'))

    def test_pinned_result_stays(self) -> None:
        """A result does not expire while it is an argument; its time begins when unpinned."""
        self.put(message('a', ttl=60), message('b', 'a'))
        self.complete('a')
        self.advance(80)
        self.assertEqual(self.status('a'), ['completed'])
        self.complete('b')
        self.assertEqual(self.status('a'), ['completed'])
        self.advance(80)
        self.assertEqual(self.status('a'), [None])

    def test_completed_result_is_pinned_again(self) -> None:
        """A completed task that becomes an argument does not expire any more, however long."""
        for data in b'short', b'long' * const.SMALL:
            self.put(message('a', ttl=60))
            self.complete('a', data)
            self.put(message('b', 'a'))
            self.advance(80)
            self.assertEqual(self.status('a'), ['completed'])
            self.assertEqual(self.outcome_of('a'), (b'v', data))
            (id, raw), = self.take_one('b').arguments
            self.assertEqual((id, unpack(raw).data), ('a', data))
            self.q.cancel(['b'])
            self.tick(100)

    def test_ignored_result(self) -> None:
        """A task that ignores its result is unknown when it is done, its id free at once."""
        self.put(message('a', flags=base.IGNORE_RESULT))
        self.q.watch('c', ['a'])
        self.complete('a', b'x')
        self.assertEqual(self.status('a'), [None])
        self.assertEqual(self.q.results(['a']), [None])
        self.assertEqual(self.q.wait('c', 0.5), [('a', None)])
        self.put(message('a'))

    def test_watch(self) -> None:
        """What has ended is the answer at once; a live task brings news when it completes."""
        self.put(message('a'), message('b'), message('d', 'b'))
        self.complete('a', b'x')
        raw, = self.q.results(['a'])
        self.assertEqual(self.q.watch('c', ['a', 'b', 'none', 'd']),
                         [('a', raw), ('none', None)])
        self.assertEqual(self.q.watch('c', ['b']), [])
        self.assertEqual(self.q.wait('c', 0), [])
        self.complete('b', b'because', 'failure')
        self.assertEqual(dict(self.q.wait('c', 0.5)),
                         dict(zip('bd', self.q.results(['b', 'd']), strict=True)))
        self.assertEqual(self.q.wait('c', 0), [])

    def test_put_that_watches(self) -> None:
        """Who will wait for what it puts is told, whatever it is, and also if that ends at once."""
        self.put(message('a'))
        self.complete('a', b'because', 'failure')
        shapes = {'plain': {}, 'long': {'body': bytes(100)}, 'low': {'priority': 2},
                  'ignored': {'flags': base.IGNORE_RESULT}, 'later': {'delay': 9_999}}
        self.assertEqual(self.q.put([message('plain0')], '', 'c'), [])
        self.assertEqual(self.q.put([message('plain1'), message('plain2')], '', 'c'), [])
        self.assertEqual(self.q.put([message(id, **more) for id, more in shapes.items()], '', 'c'),
                         [])
        self.assertEqual(self.q.put([message('w', 'plain'), message('f', 'a')], '', 'c'), [])
        raw, = self.q.results(['f'])
        self.assertEqual(self.q.wait('c', 0), [('f', raw)])
        self.assertEqual(self.q.purge(), 9)
        self.drain()
        told = dict(self.q.wait('c', 0.5))
        self.assertEqual(set(told), {'plain0', 'plain1', 'plain2', 'w', *shapes})
        self.assertIsNone(told['ignored'])
        self.assertEqual(self.q.wait('c', 0), [])
        self.assertEqual(self.q.audit(), [])

    def test_put_that_watches_behind_a_gate(self) -> None:
        """It does so behind a gate, too, and a gate can be watched by its own put."""
        gate = message('gate', flags=base.GATE)
        self.assertEqual(self.q.put([gate], '', 'c'), [])
        self.assertEqual(self.q.put([message('a')], 'gate', 'c'), [])
        self.q.cancel(['gate'])
        self.assertEqual(sorted(id for id, _ in self.q.wait('c', 0.5)), ['a', 'gate'])

    def test_put_that_watches_twice(self) -> None:
        """What has been put before is watched if it is live; its end is no news a second time."""
        for other in [], [message('more')], [message('long', body=bytes(100))]:
            one = message('a')
            self.put(one)
            for client in ['c1', 'c1', 'c2', 'c2']:
                self.assertEqual(self.q.put([*other, one], '', client), [])
            self.q.cancel(['a'])
            for client in ['c1', 'c2']:
                self.assertEqual([id for id, _ in self.q.wait(client, 0.5)], ['a'])
            self.assertEqual(self.q.put([one], '', 'c1'), [])
            self.assertEqual(self.q.wait('c1', 0), [])
            self.assertEqual(self.q.forget(['a']), ['forgotten'])
        self.assertEqual(self.q.audit(), [])

    def test_put_that_is_refused(self) -> None:
        """What is refused is not watched, nor what was put before and is named beside it."""
        one = message('a')
        self.put(one, message('b'))
        self.assertEqual(self.q.put([one, message('c'), message('b')], '', 'c')[0].word,
                         'duplicate')
        self.q.cancel(['a', 'b'])
        self.assertEqual(self.q.wait('c', 0), [])

    def test_watch_large(self) -> None:
        """An outcome that is large is announced, and to be had from results."""
        large = bytes(const.SMALL + 1)
        self.put(message('a'))
        self.q.watch('c', ['a'])
        self.complete('a', large)
        self.assertEqual(self.q.wait('c', 0.5), [('a', b'')])
        self.assertEqual(self.q.watch('c', ['a']), [('a', b'')])
        self.assertEqual(self.outcome_of('a'), (b'v', large))

    def test_watch_by_several(self) -> None:
        """Each client that watches a task is told, and no other."""
        self.put(message('a'))
        for client in ['c1', 'c2']:
            self.q.watch(client, ['a'])
        self.complete('a')
        for client, told in [('c1', 1), ('c2', 1), ('c3', 0)]:
            self.assertEqual(len(self.q.wait(client, 0)), told)

    def test_watch_other_life(self) -> None:
        """What is watched is the id: a cancelled life and the next one both bring news."""
        self.put(message('a'))
        self.q.watch('c', ['a'])
        self.q.cancel(['a'])
        self.put(message('a'))
        self.assertEqual(self.q.watch('c', ['a']), [])
        self.complete('a', b'x')
        self.assertEqual([id for id, _ in self.q.wait('c', 0.5)], ['a', 'a'])

    def test_wait_blocks(self) -> None:
        """A wait that is under way ends when a watched task completes."""
        self.put(message('a'))
        delivery = self.take_one('a')
        self.q.watch('c', ['a'])
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.extend(self.q.wait('c', 20)))
        thread.start()
        self.settle(outcome(delivery))
        thread.join(20)
        self.assertEqual([id for id, _ in got], ['a'])

    def test_ring(self) -> None:
        """A ring ends the wait under way, or the next one."""
        self.q.ring('c')
        self.assertEqual(self.q.wait('c', 20), [])
        got: list[Any] = []
        thread = threading.Thread(target=lambda: got.append(self.q.wait('c', 20)))
        thread.start()
        self.q.ring('c')
        thread.join(10)
        self.assertFalse(thread.is_alive())
        self.assertEqual(got, [[]])

    def test_forget(self) -> None:
        """An outcome is dropped before its time unless something still needs it."""
        self.put(message('a'), message('b', 'a'))
        self.assertEqual(self.q.forget(['a', 'b', 'none']), ['live', 'live', 'unknown'])
        self.complete('a')
        self.assertEqual(self.q.forget(['a']), ['pinned'])
        self.complete('b')
        self.assertEqual(self.q.forget(['a', 'b']), ['forgotten', 'forgotten'])
        self.assertEqual(self.q.forget(['a', 'b']), ['unknown', 'unknown'])
        self.assertEqual(self.status('a', 'b'), [None, None])
