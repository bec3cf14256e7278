"""The contract of a task queue as tests: the verbs of pools and keepers."""
from __future__ import annotations

import select
import threading
import time

from test.queue.contract import Contract, Put, held, message, outcome
from test.queue.contract_expires import Expires
from test.queue.contract_failed import Revive
from test.queue.contract_family import Family
from test.queue.contract_inspect import Contents, Inspect, Memo
from test.queue.contract_lanes import Lanes, Names
from test.queue.contract_pauses import Pauses
from test.queue.contract_lifetimes import LetGo, Upstream
from test.queue.contract_moments import Moments
from test.queue.contract_moving import Moving
from test.queue.contract_readers import Cancel, Purge, Readers
from test.queue.contract_registers import Registers
from test.queue.contract_seals import Seals
from test.queue.contract_settle import Delegate, Settle
from test.queue.contract_tally import Counting
from worq import const
from worq.queue import base
from worq.queue.base import Delivery, Held, Lost, unpack

GONE_PAST = 'pool p1 stopped renewing its lease'


class Take(Contract):

    def test_take(self) -> None:
        """A taken task is processing; its delivery has token, number, header and body."""
        a = message('a', body=b'\x00\xff')
        self.put(a)
        delivery = Delivery('a', a.nonce.encode() + b'1', 1, a.header, a.body)
        self.assertEqual(self.take(), [delivery])
        self.assertEqual(self.status('a'), ['processing'])
        self.assertEqual(self.take(), [])

    def test_take_limit(self) -> None:
        """A take brings as many as there are, up to its limit."""
        self.put(*[message(f'a{i}') for i in range(5)])
        self.assertEqual([len(self.take(n)) for n in [1, 3, 3, 3]], [1, 3, 1, 0])
        with self.assertRaises(ValueError):
            self.q.take('p1', 0)

    def test_take_skips_cancelled(self) -> None:
        """Cancelled tasks do not count in a take."""
        self.put(*[message(f'a{i}') for i in range(6)])
        self.q.cancel(['a0', 'a1', 'a3'])
        self.assertEqual(self.ids(2), ['a2', 'a4'])

    def test_take_waits(self) -> None:
        """A take that waits is woken by a put, and by what comes of an outcome."""
        self.put(message('a'))
        delivery = self.take_one('a')
        for wake, id in [
            (lambda: self.put(message('b')), 'b'),
            (lambda: self.settle(outcome(delivery, 'release')), 'a'),
        ]:
            got: list[str] = []
            ready = threading.Event()

            def work(got: list[str] = got, ready: threading.Event = ready) -> None:
                ready.set()
                until = time.monotonic() + 90
                while not got and time.monotonic() < until:
                    got.extend(d.id for d in self.q.take('p2', 1, 60))

            thread = threading.Thread(target=work)
            thread.start()
            ready.wait(10)
            started = time.monotonic()
            wake()
            thread.join(90)
            self.assertEqual(got, [id])
            self.assertLess(time.monotonic() - started, 20)

    def test_take_by_many(self) -> None:
        """Two pools never get the same task."""
        self.put(*[message(f'a{i}') for i in range(300)])
        got: list[str] = []

        def work(pool: str) -> None:
            while ids := self.ids(7, pool):
                got.extend(ids)

        threads = [threading.Thread(target=work, args=[f'p{i}']) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        self.assertEqual(sorted(got), sorted(f'a{i}' for i in range(300)))

    def test_take_timeout(self) -> None:
        """A take that waits in vain ends with nothing."""
        self.assertEqual(self.take(timeout=0.02), [])

    def test_take_large(self) -> None:
        """Large bodies and large outcomes arrive whole."""
        body, data = b'b' * (const.INLINE + 1), b'd' * (const.INLINE * 2)
        self.put(message('a', body=body), message('b', 'a', body=body * 2))
        delivery = self.take_one('a')
        self.assertEqual(delivery.body, body)
        self.settle(outcome(delivery, data=data))
        delivery = self.take_one('b')
        self.assertEqual(delivery.body, body * 2)
        self.assertEqual(unpack(delivery.arguments[0][1]).data, data)


class Leases(Contract):

    def test_beat_renews(self) -> None:
        """A delivery whose lease is renewed is not lost, however long it takes."""
        self.put(message('a'))
        delivery = self.take_one('a')
        for _ in range(5):
            self.tick(const.LEASE // 3)
            self.assertEqual(self.q.beat('p1', held(delivery)), [])
        self.assertEqual(self.settle(outcome(delivery)), ['ok'])

    def test_beat_late(self) -> None:
        """A beat renews first and reaps then: a pool's own late beat loses nothing."""
        self.put(message('a'))
        delivery = self.take_one('a')
        self.tick(const.LEASE - 500)
        self.advance(1_100)
        self.assertEqual(self.q.beat('p1', held(delivery)), [])
        self.assertEqual(self.status('a'), ['processing'])

    def test_beat_lost(self) -> None:
        """What is not the pool's any more is named; what is not known any more, as cancelled."""
        self.put(message('a'), message('b'))
        a, b = self.take(2)
        self.settle(outcome(a))
        self.assertEqual(self.q.beat('p1', [*held(a, b), Held('x', a.token)]),
                         [Lost('a', a.token, 'lost'), Lost('x', a.token, 'cancelled')])
        self.assertEqual(self.q.beat('p2', held(b)), [Lost('b', b.token, 'lost')])
        self.assertEqual(self.q.beat('p1', []), [])

    def test_lease_lost_first(self) -> None:
        """A task whose lease ran out is enqueued at the front, and delivered anew."""
        self.put(message('a'), message('b'))
        first = self.take_one('a')
        self.lose()
        self.assertEqual(self.status('a'), ['enqueued'])
        self.assertEqual(self.q.stats()['redelivered'], 1)
        second = self.take_one('a', 'p2')
        self.assertEqual((second.number, second.token[const.NONCE:]), (2, b'2'))
        self.assertEqual(self.q.beat('p1', held(first)), [Lost('a', first.token, 'lost')])
        self.assertEqual(self.settle(outcome(first)), ['stale'])
        self.assertEqual(self.settle(outcome(second, data=b'x'), pool='p2'), ['ok'])
        self.assertEqual(self.settle(outcome(first)), ['stale'])
        self.assertEqual(self.outcome_of('a'), (b'v', b'x'))

    def test_lease_lost_zombie(self) -> None:
        """A late outcome is stale even if nobody has taken the task since."""
        self.put(message('a'))
        delivery = self.take_one('a')
        self.lose()
        self.assertEqual(self.settle(outcome(delivery)), ['stale'])
        self.assertEqual(self.status('a'), ['enqueued'])
        self.assertEqual(self.q.stats()['stale'], 1)

    def test_lease_lost_again(self) -> None:
        """The second loss waits a second, the third four, until the deliveries are used up."""
        self.put(message('a', max_deliveries=4))
        for pause in [0, 1, 4]:
            self.take_one('a')
            self.lose()
            # the tick that reaped may have come up to a tick after the lease ran out
            for _ in range(pause and pause - 1):
                self.assertEqual(self.status('a'), ['scheduled'])
                self.tick()
            self.tick(2 * const.TICK)
            self.assertEqual(self.status('a'), ['enqueued'])
        self.take_one('a')
        self.lose()
        self.assertEqual(self.outcome_of('a'), (
            b'x', f'mod.func\n{GONE_PAST} (delivery 4 of 4)'.encode()))
        self.assertEqual(self.q.stats()['redelivered'], 3)
        self.assertEqual(self.q.stats()['expired'], 1)

    def test_lease_lost_again_first(self) -> None:
        """When its pause is over, it is taken before all that wait; they were behind it."""
        self.put(message('a', max_deliveries=4), *(message(f'other-{n}') for n in range(3)))
        for _ in range(3):
            self.take_one('a')
            self.lose()
            self.tick(const.TICK)
        self.put(message('later', delay=100))
        self.assertEqual(self.status('a', 'later'), ['scheduled'] * 2)
        self.tick(5 * const.TICK)
        self.tick()
        self.assertEqual([one.id for one in self.take(9)],
                         ['a', *(f'other-{n}' for n in range(3)), 'later'])

    def test_lease_of_its_own(self) -> None:
        """A task may ask for a lease of its own; else that of the take counts."""
        self.put(message('own', lease=40_000), message('taken'), message('default'))
        own, taken = self.take(2, lease=2_000)
        self.take_one('default')
        self.tick(4_000)
        self.assertEqual(self.status('own', 'taken', 'default'),
                         ['processing', 'enqueued', 'processing'])
        self.q.beat('p1', held(own), 2_000)
        self.tick(20_000)
        self.assertEqual(self.status('own', 'default'), ['processing', 'enqueued'])

    def test_grace(self) -> None:
        """After a gap without ticks nothing is reaped for a while, so live pools beat first."""
        self.put(message('live'), message('dead'))
        live, _ = self.take(2)
        self.advance(const.LEASE + const.GAP)
        self.q.beat('ticker')
        self.assertEqual(self.status('live', 'dead'), ['processing', 'processing'])
        self.assertEqual(self.q.beat('p1', held(live)), [])
        for _ in range(const.GRACE // const.TICK - 1):
            self.tick()
            self.q.beat('p1', held(live))
        self.assertEqual(self.status('live', 'dead'), ['processing', 'processing'])
        self.tick(2 * const.TICK)
        self.assertEqual(self.status('live', 'dead'), ['processing', 'enqueued'])
        self.assertEqual(self.settle(outcome(live)), ['ok'])

    def test_grace_cools_down(self) -> None:
        """Where no tick comes in time, leases run out all the same: a second each time."""
        self.put(message('a'))
        self.take_one('a')
        self.advance(const.LEASE + const.GAP)
        self.q.beat('ticker')
        for _ in range(const.GRACE // const.TICK - 1):
            self.assertEqual(self.status('a'), ['processing'])
            self.advance(const.GAP + 100)
            self.q.beat('ticker')
        self.assertEqual(self.status('a'), ['enqueued'])

    def test_outage_after_outage(self) -> None:
        """Also an outage soon after another takes no lease from a pool that beats when it can."""
        self.put(message('live'), message('dead'))
        live, _ = self.take(2)
        for _ in range(4):
            self.tick()
            self.q.beat('p1', held(live))
            self.advance(2 * const.LEASE)
            self.q.beat('ticker')
            self.assertEqual(self.status('live'), ['processing'])
            self.assertEqual(self.q.beat('p1', held(live)), [])
        for _ in range(2 * const.GRACE // const.TICK):
            self.tick()
            self.q.beat('p1', held(live))
        self.assertEqual(self.status('live', 'dead'), ['processing', 'enqueued'])

    def test_outage_and_short_lease(self) -> None:
        """An outage that lasts almost as long as a short lease does not take it, either."""
        self.put(message('a', lease=4_500))
        delivery = self.take_one('a')
        self.tick()
        self.advance(4_000)
        self.q.beat('ticker')
        self.assertEqual(self.status('a'), ['processing'])
        self.assertEqual(self.q.beat('p1', held(delivery)), [])

    def test_clock_set_back(self) -> None:
        """A clock that is set back delays nothing: it goes on from where it was, for the queue."""
        self.put(message('a'), message('r'), message('o'))
        _, r, o = self.take(3)
        self.settle(outcome(r, 'retry', delay=9_000))
        self.put(message('b', delay=9_000), message('c', 'o', delay=9_000),
                 message('x', delay=999_000, expires=9_000), message('y', 'b', expires=9_000))
        self.settle(outcome(o))
        self.tick(4 * const.TICK)
        for jump in [3_600_000, 500_000_000]:
            self.advance(-jump)
            self.put(message(f'd{jump}', delay=5_000))   # the first to notice
        self.assertEqual(self.q.inspect(['b'])[0].due, 5_000)
        self.tick(4 * const.TICK)
        self.assertEqual(self.status('b', 'c', 'r', 'd3600000', 'd500000000', 'x', 'y'),
                         ['scheduled'] * 6 + ['pending'])
        self.tick(2 * const.TICK)
        self.assertEqual(self.status('b', 'c', 'r', 'd3600000', 'd500000000', 'x', 'y'),
                         ['enqueued'] * 5 + ['completed'] * 2)
        self.tick(6 * const.TICK)
        self.assertEqual(self.status('a'), ['enqueued'])   # its lease is over
        self.assertEqual(len(self.ids()), 6)

    def test_clock_set_back_after_a_gap(self) -> None:
        """Nor does it make the pause after a gap longer, in which nothing is reaped."""
        self.put(message('a'))
        self.take_one('a')
        self.tick()
        self.advance(const.LEASE + const.GAP)
        self.q.beat('ticker')
        self.advance(-3_600_000)
        self.tick(const.GRACE - 2 * const.TICK)
        self.assertEqual(self.status('a'), ['processing'])
        self.tick(4 * const.TICK)
        self.assertEqual(self.status('a'), ['enqueued'])

    def test_clock_set_a_little_back(self) -> None:
        """Less than the time between two ticks is none of our business."""
        self.put(message('a', delay=3_000))
        self.tick()
        self.advance(-const.TICK)
        self.tick(2 * const.TICK)
        self.assertEqual(self.q.inspect(['a'])[0].due, 1_000)

    def test_abandon(self) -> None:
        """The deliveries of a dead pool are lost at once, in order, with the cause named."""
        self.put(*[message(f'a{i}') for i in range(4)], message('last', max_deliveries=1))
        taken = self.take(2)
        self.ids(1, 'p2')
        self.take_one('a3')
        last = self.take_one('last')
        self.assertEqual(self.q.abandon('p1', 'killed by signal 9'), 4)
        self.assertEqual(self.q.abandon('p1', 'killed by signal 9'), 0)
        self.assertEqual(self.outcome_of('last'),
                         (b'x', b'mod.func\nkilled by signal 9 (delivery 1 of 1)'))
        self.assertEqual(self.settle(outcome(taken[0]), outcome(last)), ['stale', 'stale'])
        self.assertEqual(self.ids(9, 'p3'), ['a0', 'a1', 'a3'])

    def test_reconcile(self) -> None:
        """What the pool does not know of is released at the front, in order, not counted."""
        self.put(*[message(f'a{i}') for i in range(5)])
        known, *unknown = self.take(3)
        other = self.take_one('a3', 'p2')
        self.assertEqual(self.q.reconcile('p1', [known.token]), 2)
        self.assertEqual(self.q.reconcile('p1', [known.token]), 0)
        self.assertEqual(self.settle(outcome(unknown[0])), ['stale'])
        again = self.take(9)
        self.assertEqual([(d.id, d.number) for d in again], [('a1', 1), ('a2', 1), ('a4', 1)])
        self.assertEqual(again[0].token[const.NONCE:], b'2')
        self.assertEqual(self.settle(outcome(known)), ['ok'])
        self.assertEqual(self.settle(outcome(other), pool='p2'), ['ok'])


class Keepers(Contract):

    def test_pools(self) -> None:
        """A pool that joined is known, with what it told and since when it is silent."""
        self.q.join('p1', {'host': 'h', 'pid': '7'})
        self.q.join('p1', {'host': 'h', 'pid': '7'})
        self.advance(500)
        self.q.join('p 2', {})
        self.advance(200)
        self.assertEqual(self.q.pools(), {
            'p1': {'host': 'h', 'pid': '7', 'seen': '700'}, 'p 2': {'seen': '200'}})
        self.q.beat('p1')
        self.assertEqual(self.q.pools()['p1']['seen'], '0')
        for _ in range(2):
            self.q.leave('p1')
        self.assertEqual(list(self.q.pools()), ['p 2'])
        self.q.beat('p1')
        self.assertEqual(list(self.q.pools()), ['p 2'])

    def test_tell(self) -> None:
        """What is known of a pool is changed word by word, and not when it was seen."""
        self.assertIs(self.q.tell('p1', {'kind': 'x'}), False)
        self.assertEqual(self.q.pools(), {})
        self.q.join('p1', {'host': 'h', 'broken': 'it cannot begin'})
        self.advance(300)
        for _ in range(2):
            self.assertIs(self.q.tell('p1', {'broken': '', 'kind': 'x', 'gone': ''}), True)
        self.assertEqual(self.q.pools(), {'p1': {'host': 'h', 'kind': 'x', 'seen': '300'}})
        self.q.join('p2', {})
        self.assertIs(self.q.tell('p2', {'kind': 'y'}), True)
        self.assertEqual(self.q.pools()['p2'], {'kind': 'y', 'seen': '0'})
        self.q.leave('p1')
        self.assertIs(self.q.tell('p1', {'kind': 'x'}), False)
        self.assertEqual(list(self.q.pools()), ['p2'])

    def test_queues(self) -> None:
        """The names of queues that pools have joined are told of."""
        self.put(message('a'))
        self.q.join('p1', {})
        self.assertIn(self.q.name, self.q.queues())
        other = self.q.open(self.q.url, f'{self.q.name}-other', **self.q.options)
        self.addCleanup(other.close)
        self.assertNotIn(other.name, self.q.queues())
        other.join('p', {})
        self.assertEqual(other.queues(), self.q.queues())
        self.assertIn(other.name, self.q.queues())

    def test_pools_beside(self) -> None:
        """Pools of one place share one look at each other a tick, and it is a short one."""
        here = {'host': 'h', 'boot': 'b', 'pid': '7', 'started': '1', 'tasks': 'one'}
        self.q.join('p1', here)
        self.q.join('p2', {**here, 'pid': '8'})
        self.q.join('p3', {**here, 'pid': '9'})
        for name, other in ('p4', {'boot': 'c'}), ('p5', {'host': 'i'}), ('p6', {'boot': ''}):
            self.q.join(name, {**here, **other})
        self.q.join('p7', {'pid': '5'})
        self.advance(300)
        short = {name: {'pid': pid, 'started': '1', 'seen': '300'}
                 for name, pid in [('p1', '7'), ('p2', '8'), ('p3', '9')]}
        self.assertEqual(self.q.pools('p1'), {name: short[name] for name in ('p2', 'p3')})
        for name in 'p1', 'p2', 'p6', 'p7', 'unknown':   # two have had it, the others no place
            self.assertEqual(self.q.pools(name), {})
        self.assertEqual(self.q.pools('p4'), {})         # it is alone, but
        self.q.join('p8', {**here, 'boot': 'c'})         # ... its place has had its look as well
        self.assertEqual(self.q.pools('p8'), {})
        self.advance(const.TICK - 1)
        self.assertEqual(self.q.pools('p2'), {})
        self.advance(1)
        self.q.join('p1', here)   # as it does to tell the names of its tasks
        self.q.leave('p3')
        self.assertEqual(self.q.pools('p2'), {'p1': {**short['p1'], 'seen': '0'}})
        self.assertEqual(list(self.q.pools('p4')), ['p8'])
        self.q.abandon('p1', 'it is dead')
        self.advance(const.TICK)
        self.assertEqual(self.q.pools('p2'), {})
        self.q.join('p3', {**here, 'boot': 'c'})
        self.advance(const.TICK)
        self.assertEqual(set(self.q.pools('p8')), {'p3', 'p4'})

    def test_turn_beats(self) -> None:
        """A turn that holds nothing keeps its pool known, if it is to beat."""
        self.q.join('p1', {})
        self.advance(500)
        self.q.turn('p1', limit=1)
        self.assertEqual(self.q.pools()['p1']['seen'], '500')
        self.q.turn('p1', [], [], 1)
        self.assertEqual(self.q.pools()['p1']['seen'], '0')
        self.advance(500)
        self.assertEqual(self.q.turn('p1', [], []).lost, [])
        self.assertEqual(self.q.pools()['p1']['seen'], '0')

    def test_pools_that_beat_are_known(self) -> None:
        """A pool that beats stays known, with all that it told, for as long as it does."""
        self.q.join('p1', {'host': 'h'})
        self.q.join('p2', {'host': 'h'})
        for _ in range(3):
            self.advance(const.POOL_TTL * 600)
            self.q.beat('p1')
        self.assertEqual(self.q.pools(), {'p1': {'host': 'h', 'seen': '0'}})

    def test_size_and_stats(self) -> None:
        """Sizes count what there is now, counters how tasks ended."""
        self.put(message('a'), message('b', 'a'), message('c', delay=9_999), message('d'))
        self.take_one('a')
        now = {'pending': 1, 'scheduled': 1, 'enqueued': 1, 'processing': 1}
        ever = dict.fromkeys(
            ['succeeded', 'failed', 'expired', 'cancelled', 'redelivered', 'stale'], 0)
        self.assertEqual(self.q.stats(), {**now, **ever})
        self.assertEqual(self.q.size(), 4)
        self.q.reconcile('p1', [])
        self.complete('a', b'because', 'failure')
        self.complete('d')
        self.q.cancel(['c'])
        self.assertEqual(self.q.stats(), {
            **dict.fromkeys(now, 0), **ever, 'succeeded': 1, 'failed': 2, 'cancelled': 1})
        self.assertEqual(self.q.size(), 0)

    def test_oldest(self) -> None:
        """Of each priority it is told for how long the oldest task has been ready."""
        self.assertEqual(self.q.oldest(), [None, None, None])
        self.put(message('a'), message('h', priority=0), message('after', 'a', priority=2))
        self.advance(100)
        self.put(message('b'), message('late', delay=50))
        self.advance(20)
        self.assertEqual(self.q.oldest(), [120, 120, None])
        a = self.take(2)[1]
        self.assertEqual(self.q.oldest(), [None, 20, None])
        self.settle(outcome(a))
        self.advance(7)
        self.assertEqual(self.q.oldest(), [None, 27, 7])
        self.q.purge()
        self.assertEqual(self.q.oldest(), [None, None, None])

    def test_full_tick(self) -> None:
        """A tick that reached its limit is followed by another one with the next verb."""
        many = 2 * const.TICK_LIMIT + 50
        self.put(*(message(f'd{n}', delay=100) for n in range(many)))
        self.q.beat('p1')
        self.advance(2_000)
        self.assertEqual(self.q.stats()['scheduled'], many)
        left = []
        for _ in range(4):
            self.q.beat('p1')
            left.append(self.q.stats()['scheduled'])
        self.assertEqual(left, [150, 50, 0, 0])

    def test_bell(self) -> None:
        """An armed bell rings for what becomes enqueued, and by itself within two seconds."""
        bell = self.q.bell('p1')
        try:
            bell.arm()
            bell.arm()
            self.assertTrue(self.rings(bell, 5))
            self.assertFalse(bell.clear(), 'it rang for nothing but time')
            bell.arm()
            self.put(message('a'))
            self.assertTrue(self.rings(bell, 1))
            self.assertTrue(bell.clear())
            bell.arm()
            delivery = self.take_one('a')
            self.settle(outcome(delivery, 'release'))
            self.assertTrue(self.rings(bell, 1))
            self.assertTrue(bell.clear())
        finally:
            bell.close()
            bell.close()

    def rings(self, bell: base.Bell, seconds: float) -> bool:
        return bool(select.select([bell], [], [], seconds)[0])

    def test_close_keeps(self) -> None:
        """What is queued outlives the object that queued it."""
        self.put(message('a'))
        self.q.close()
        self.q.close()
        self.q = self.open(self.q.name)
        self.assertEqual(self.status('a'), ['enqueued'])


class QueueContract(Put, Cancel, Purge, Readers, Inspect, Contents, Family, Take, Leases,
                    Moments, Settle, Memo, Delegate, Lanes, Names, Pauses, Seals, Expires, Moving,
                    Keepers, LetGo, Upstream, Counting, Registers, Revive):
    """The whole contract of a task queue."""
