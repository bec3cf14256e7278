"""Any number of pools put each slot of a schedule once, whoever dies, and when."""
from collections import Counter
import random
from unittest import mock

from worq import Task
from worq.errors import QueueError
from worq.schedules import firing, store
from worq.schedules.firing import Clock, Firing
from worq.space import TaskSpace
from worq.timing import checked

from test.broker_case import BrokerCase, on_every_queue

HOUR = 3_600_000
START = 1_789_999_200_000   # on a whole hour


class Killed(BaseException):
    """The pool has died here."""


class Flaky:
    """A queue at which something happens with the n-th call: before it, or after."""

    def __init__(self, queue):
        self._queue = queue
        self.plan = {}   # how many calls from now: what happens
        self.calls = 0

    def __getattr__(self, name):
        verb = getattr(self._queue, name)
        if name not in ('put', 'note', 'notes', 'status', 'cancel', 'totals'):
            return verb

        def call(*args, **kw):
            self.calls += 1
            when, what = self.plan.pop(self.calls, ('', None))
            if when == 'before':
                what()
            answer = verb(*args, **kw)
            if when == 'after':
                what()
            return answer
        return call


def kill():
    raise Killed


def lose():
    raise QueueError('the reply is lost')


class FiringContract(BrokerCase):
    """Schedules on any engine, by a clock that the test moves."""

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.queue()
        self.now = START

    def pool(self, queue=None, **timings):
        """A pool's part, with what its code declares."""
        one = Firing(queue or self.mine.backend, self.mine.codec, lambda: self.now)
        one.declare({name: checked(**when) for name, when in timings.items()})
        return one

    def set(self, name='s', **when):
        """A schedule by hand, as of now by the clock of the test."""
        with mock.patch('worq.schedules.table.Schedules._now', lambda _: self.now):
            return self.mine.schedules.set(name, self.q.report, **when)

    def shown(self, name='s'):
        with mock.patch('worq.schedules.table.Schedules._now', lambda _: self.now):
            return self.mine.schedules.get(name)

    def ids(self):
        """What has been put and is not done, in order."""
        rows, cursor = [], ''
        while True:
            page, cursor = self.mine.backend.scan('enqueued', cursor=cursor)
            rows += page
            if not cursor:
                return [row.id for row in rows]

    def slots(self):
        """The slots that tasks were put for, in seconds from the start."""
        tasks = self.mine.backend.take('test-pool', 1_000)
        self.mine.backend.settle('test-pool', [
            firing_outcome(self.mine, task) for task in tasks])
        return sorted((int(task.header.split(b'slot ')[1].split()[0]) - START) // 1000
                      for task in tasks)

    # -- put ----------------------------------------------------------------------------

    def test_one_slot_after_the_other(self):
        """Each is put when it is due, and not before."""
        self.set(every=10)
        pool = self.pool()
        self.assertEqual(pool.look(), firing.LOOK)
        self.assertEqual(self.slots(), [])
        self.now += 9_000
        self.assertEqual(pool.look(), 1.0)
        self.now += 1_000
        pool.look()
        self.assertEqual(self.slots(), [10])
        self.now += 10_000
        pool.look()
        pool.look()
        self.assertEqual(self.slots(), [20])
        self.assertEqual(self.shown().fired, 2)

    def test_two_pools(self):
        """One of them puts it, the other learns that from the refusal."""
        self.set(every=10, overlap='queue')
        one, other = self.pool(), self.pool()
        for _ in range(5):
            one.look()
            other.look()
            self.now += 10_000
            other.look()
            one.look()
        self.assertEqual(self.slots(), [10, 20, 30, 40, 50])

    def test_ran(self):
        """The task sees its slot, in the zone of the schedule, and how many were missed."""
        seen = []

        def report():
            from worq import current_task
            seen.append((current_task().slot.isoformat(), current_task().missed))
        self.mine.expose(report)
        self.set(cron='*/10 * * * *', zone='Europe/Berlin')
        pool = self.pool()
        pool.look()
        for pause in 10, 35:
            self.now += pause * 60_000
            pool.look()
            self.work(self.mine)
        self.assertEqual(len(seen), 2)
        self.assertTrue(all(slot.endswith('+02:00') for slot, _ in seen), seen)
        self.assertEqual([missed for _, missed in seen], [0, 2])

    def test_faults(self):
        """Pools that die between any two steps, or lose replies, or stand by while another goes on,
        with clocks askew by minutes: each slot has one run, or is missed; none has two."""
        dice = random.Random(self.SEED)
        rounds = self.ROUNDS
        ran = Counter()
        self.set(every=60, overlap='queue')
        self.set('t', cron='* * * * *', overlap='queue', missed='all')
        pools = {}
        for number in range(rounds):
            self.now += dice.choice([1_000, 20_000, 60_000, 200_000])
            for _ in range(3):
                key = dice.randrange(4)
                queue, pool = pools.get(key, (None, None))
                if pool is None:
                    queue = Flaky(self.mine.backend)
                    skew = dice.choice([0, -120_000, 120_000, -5_000])
                    pool = Firing(queue, self.mine.codec, lambda skew=skew: self.now + skew)
                    if dice.random() < 0.5:
                        pool.declare({'report': checked(every=dice.choice([60, 120]),
                                                        overlap='queue')})
                    pools[key] = queue, pool
                other = pools[dice.choice(list(pools))][1]
                events = [kill, lose, None, None] + [other.look] * (other is not pool)
                event = dice.choice(events)
                if event:
                    queue.plan = {queue.calls + dice.randint(1, 6):
                                  (dice.choice(['before', 'after']), event)}
                try:
                    pool.look()
                except Killed:
                    del pools[key]
                except QueueError:
                    pass
                except RuntimeError:
                    raise
                queue.plan = {}
            for task in self.mine.backend.take('test-pool', 1_000):
                name, slot = task.id.split('@')
                ran[name, slot] += 1
                self.mine.backend.settle('test-pool', [firing_outcome(self.mine, task)])
        self.assertEqual([key for key, count in ran.items() if count > 1], [])
        for name in 's', 't':
            one = self.shown(name)
            slots = (int(one.next.timestamp() * 1000) - START) // 60_000 - 1
            count = sum(1 for key in ran if key[0] == name)
            self.assertEqual(one.fired, count)
            self.assertEqual(count + one.missed, slots, name)
            self.assertGreater(count, rounds // 5)
        self.assertGreater(sum(1 for key in ran if key[0] == 'report'), 2)

    SEED, ROUNDS = 7, 120

    # -- missed, overlap ----------------------------------------------------------------

    def test_skip(self):
        """While the run before is not done a slot is skipped, and that is shown."""
        self.set(every=10)
        pool = self.pool()
        for _ in range(4):
            self.now += 10_000
            pool.look()
        self.assertEqual(len(self.ids()), 1)
        self.assertEqual((self.shown().fired, self.shown().skipped), (1, 3))
        self.assertEqual(self.slots(), [10])
        self.now += 10_000
        pool.look()
        self.assertEqual(self.slots(), [50])

    def test_queue(self):
        """All the same."""
        self.set(every=10, overlap='queue')
        pool = self.pool()
        for _ in range(4):
            self.now += 10_000
            pool.look()
        self.assertEqual(self.slots(), [10, 20, 30, 40])

    def test_cancel(self):
        """The run before is cancelled."""
        self.set(every=10, overlap='cancel')
        pool = self.pool()
        for _ in range(3):
            self.now += 10_000
            pool.look()
        self.assertEqual(self.slots(), [30])
        self.assertEqual(self.mine.backend.stats()['cancelled'], 2)

    def test_a_week_of_pause(self):
        """Each policy, after a week in which it was paused."""
        for name, when in (('last', {}), ('all', {'missed': 'all'}), ('none', {'missed': 'none'})):
            self.set(name, cron='0 3 * * *', **when)
            self.mine.schedules.pause(name, by='ann')
        pool = self.pool()
        pool.look()
        first = self.shown('last').next
        self.now = int(first.timestamp() * 1000) + 7 * 24 * HOUR + 60_001
        pool.look()
        self.assertEqual(self.ids(), [])
        for name in 'last', 'all', 'none':
            self.assertEqual(self.shown(name).paused, 'ann')
            self.mine.schedules.resume(name)
        while pool.look() == 0:
            pass
        self.assertEqual(Counter(id.split('@')[0] for id in self.ids()), {'last': 1, 'all': 8})
        self.assertEqual([self.shown(name).missed for name in ('last', 'all', 'none')], [7, 0, 8])

    def test_once(self):
        """It runs once, late rather than never, and is forgotten."""
        from datetime import UTC, datetime
        self.set(at=datetime.fromtimestamp(START / 1000 + 365 * 86400, UTC))
        pool = self.pool()
        pool.look()
        self.assertEqual(self.ids(), [])
        self.now += 366 * 24 * HOUR
        pool.look()
        self.assertEqual(len(self.ids()), 1)
        self.assertIsNone(self.shown())

    # -- declared -----------------------------------------------------------------------

    def test_a_deploy_moves_and_fires_nothing(self):
        """What is declared again, as it was, changes nothing; the pools need not even look."""
        self.pool(report={'every': 3600}).look()
        before = store.read(self.mine.backend, 'report')
        number = store.number(self.mine.backend)
        for _ in range(3):
            self.now += 1_000
            self.pool(report={'every': 3600}).look()
        self.assertEqual(store.read(self.mine.backend, 'report'), before)
        self.assertEqual(store.number(self.mine.backend), number)
        self.assertEqual(self.ids(), [])

    def test_new_code(self):
        """It says something else, and that holds at once; old pools do not change it back."""
        old = self.pool(report={'every': 3600})
        old.look()
        self.pool(report={'every': 60}).look()
        self.assertEqual(self.shown('report').when, 'every minute')
        self.now += 1_500_000
        old.look()
        self.assertEqual(self.shown('report').when, 'every minute')

    def test_changed_while_a_slot_is_due(self):
        """The slot that is due, and had no run yet, has one."""
        self.pool(report={'every': 60}).look()
        self.now += 60_500
        self.pool(report={'every': 60, 'spread': 0, 'missed': 'all'}).look()
        self.assertEqual(self.slots(), [60])

    def test_changed_by_one_that_is_late(self):
        """A pool whose present is behind does not bring back a slot that had a run."""
        ahead = self.pool(report={'every': 60, 'overlap': 'queue'})
        ahead.look()
        self.now += 60_000
        ahead.look()
        self.now -= 200
        self.pool(report={'every': 30, 'overlap': 'queue'}).look()
        self.now += 300
        ahead.look()
        self.assertEqual(self.slots(), [60])

    def test_orphan(self):
        """What no pool declares any more goes on, and is shown as orphaned after an hour."""
        self.pool(report={'every': 600}).look()
        heir = self.pool()
        for minutes, orphaned in (30, False), (31, True):
            self.now += minutes * 60_000
            heir.look()
            self.assertEqual(self.shown('report').orphaned, orphaned)
        self.pool(report={'every': 600}).look()
        self.assertFalse(self.shown('report').orphaned)
        self.assertGreaterEqual(self.shown('report').fired, 1)

    def test_not_orphaned(self):
        """While one declares it, it is noted so now and then."""
        pool = self.pool(report={'every': 600})
        for _ in range(5):
            with mock.patch.object(firing, 'ALL_AGAIN', 0.0):
                pool.look()
            self.now += 30 * 60_000
        self.assertFalse(self.shown('report').orphaned)

    def test_forgotten(self):
        """What a person has forgotten is back with the next pool that starts, not before."""
        pool = self.pool(report={'every': 600})
        pool.look()
        self.assertTrue(self.mine.schedules.forget('report'))
        self.assertFalse(self.mine.schedules.forget('report'))
        pool.look()
        self.now += 25 * 60_000
        pool.look()
        self.assertIsNone(self.shown('report'))
        self.pool(report={'every': 600}).look()
        self.assertIsNotNone(self.shown('report'))

    # -- cost, trust ----------------------------------------------------------------------

    def test_a_thousand(self):
        """They cost an idle pool one number to compare."""
        self.set('0', every=3600)
        value = store.read(self.mine.backend, '0')
        for number in range(1, 200):
            self.mine.backend.note(f'schedule:{number:03}', value.replace(b'"0"', b'"x"'))
        queue = Flaky(self.mine.backend)
        pool = self.pool(queue)
        pool.look()
        before = queue.calls
        for _ in range(10):
            pool.look()
        self.assertEqual(queue.calls - before, 10)

    def test_found_though_nobody_said_so(self):
        """Who set it died before the others were told: they find it some minutes later."""
        pool = self.pool()
        pool.look()
        with mock.patch.object(store, 'announce', kill):
            with self.assertRaises(Exception):
                self.set(every=10)
        self.now += 10_000
        pool.look()
        self.assertEqual(self.ids(), [])
        with mock.patch('time.monotonic', lambda: 1e12):
            pool.look()
        self.assertEqual(len(self.ids()), 1)

    def test_damaged(self):
        """What others have written there stops no other schedule, and is told."""
        self.set(every=10)
        for number, value in enumerate([b'x', b'{}', b'[]', b'{"plan":"[]","call":"x"}',
                                        b'\xff', b'[' * 5000, b'{"plan":5,"call":5}']):
            self.mine.backend.note(f'schedule:bad{number}', value)
        pool = self.pool()
        with self.assertLogs('worq.schedules.firing', 'ERROR') as logs:
            pool.look()
        self.assertEqual(len(logs.output), 7)
        self.now += 10_000
        pool.look()
        self.assertEqual(self.slots(), [10])
        self.assertEqual(sum(bool(one.problem) for one in self.mine.schedules.list()), 7)
        self.set('bad0', every=10)
        self.assertTrue(self.mine.schedules.forget('bad1'))

    def test_clock(self):
        """A pool goes by the queue's clock, never ahead of it, whatever its own machine shows."""
        queue = self.mine.backend
        clock = Clock(queue)
        for shown in 0.0, 4e9:
            with mock.patch('time.time', lambda shown=shown: shown):
                told = clock.now()
            self.assertLessEqual(told, queue.totals().now)
            self.assertGreater(told, queue.totals().now - 2_000)


def firing_outcome(broker, task):
    from worq.queue.base import Outcome
    nonce = task.token[:12].decode()
    return Outcome(task.id, task.token, 'value', broker.codec.encode_value(task.id, nonce, None))


class TableContract(BrokerCase):
    """``broker.schedules``, on any engine."""

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.queue()

    def test_set_get_list_forget(self):
        """What is set is shown, by name and among all."""
        self.assertEqual(self.mine.schedules.list(), [])
        one = self.mine.schedules.set('hourly', self.q.report.make, every=3600, args=['all'])
        self.assertEqual((one.name, one.task, one.when), ('hourly', 'report.make', 'every hour'))
        self.assertEqual(self.mine.schedules.list(), [self.mine.schedules.get('hourly')])
        self.assertRegex(repr(one), r'<Schedule hourly: report.make every hour; next 20.* UTC>')
        self.assertIsNone(self.mine.schedules.get('hour'))
        self.assertTrue(self.mine.schedules.forget('hourly'))
        self.assertEqual(self.mine.schedules.list(), [])

    def test_run_now(self):
        """A run beside the slots, with the arguments and the options of the call."""
        space = TaskSpace()
        space.task(lambda *args, **kw: [args, kw], name='echo')
        self.mine.expose(space)
        one = self.mine.schedules.set('e', Task(self.q.echo, retries=3, priority='high'),
                                      every=3600, args=[1], kw={'x': 2})
        deferred = self.mine.schedules.run('e', by='ann')
        self.work(self.mine)
        self.assertEqual(deferred.value, [(1,), {'x': 2}])
        after = self.mine.schedules.get('e')
        self.assertEqual((after.next, after.fired, after.run), (one.next, 1, deferred.id))
        self.assertEqual([act.what for act in self.mine.acts()], ['run schedule'])

    def test_pause_and_resume(self):
        self.mine.schedules.set('e', self.q.echo, every=3600)
        self.assertEqual(self.mine.schedules.pause('e', by='ann').paused, 'ann')
        self.assertIn('paused by ann', repr(self.mine.schedules.get('e')))
        self.assertEqual(self.mine.schedules.resume('e').paused, '')
        for act in 'pause', 'resume', 'run':
            with self.assertRaisesRegex(LookupError, "no schedule 'x'"):
                getattr(self.mine.schedules, act)('x')

    def test_refused(self):
        """Mistakes are told where they are made, and nothing is set."""
        from datetime import UTC, datetime
        table, q = self.mine.schedules, self.q
        for kind, make in [
                (ValueError, lambda: table.set('', q.f, every=1)),
                (ValueError, lambda: table.set('x' * 151, q.f, every=1)),
                (ValueError, lambda: table.set('a\nb', q.f, every=1)),
                (ValueError, lambda: table.set('a', q.f)),
                (TypeError, lambda: table.set('a', q, every=1)),
                (TypeError, lambda: table.set('a', 'f', every=1)),
                (TypeError, lambda: table.set('a', q.f, evry=1)),
                (ValueError, lambda: table.set('a', Task(q.f, id='x'), every=1)),
                (ValueError, lambda: table.set('a', Task(q.f, delay=5), every=1)),
                (ValueError, lambda: table.set('a', q.f, at=datetime(2020, 1, 1, tzinfo=UTC))),
                (ValueError, lambda: table.set('a', q.f, every=1, args=['x' * 9000])),
                (Exception, lambda: table.set('a', q.f, every=1, args=[q.g()])),
                (ValueError, lambda: table.set('a', self.broker('b').queue().f, every=1))]:
            with self.assertRaises(kind):
                make()
        self.assertEqual(table.list(), [])

    def test_signed(self):
        """What was not signed by somebody who knows the secret is not run."""
        mine, other = self.broker('s', secret='a' * 32), self.broker('s', secret='b' * 32)
        if mine.codec.keys is None:
            self.skipTest('nothing is signed in memory')
        other.schedules.set('theirs', other.queue().evil, every=10)
        mine.schedules.set('mine', mine.queue().good, every=10)
        value = store.read(mine.backend, 'mine')
        mine.backend.note('schedule:moved', value)
        mine.backend.note('schedule:forged', value.replace(b'good', b'evil'))
        now = mine.backend.totals().now
        pool = Firing(mine.backend, mine.codec, lambda: now + 60_000)
        with self.assertLogs('worq.schedules.firing', 'ERROR') as logs:
            pool.look()
        self.assertEqual(len(logs.output), 3)
        tasks = mine.backend.take('test-pool', 10)
        self.assertEqual([task.header.split(b'\n')[0] for task in tasks], [b'good'])
        mine.codec.decode_call(tasks[0].id, tasks[0].token[:12].decode(), tasks[0].header,
                               tasks[0].body, None)
        self.assertTrue(mine.schedules.get('theirs').problem)

    def test_names_alike(self):
        """A name that begins another one is told from it."""
        for name in 'ab', 'a', 'abc', 'ä':
            self.mine.schedules.set(name, self.q.f, every=10)
        self.mine.schedules.forget('a')
        self.assertIsNone(self.mine.schedules.get('a'))
        self.assertEqual([one.name for one in self.mine.schedules.list()], ['ab', 'abc', 'ä'])

    def test_id_is_taken(self):
        """A task that somebody has named as the run would be does not keep it from running."""
        self.mine.schedules.set('s', self.q.f, every=10)
        now = self.mine.backend.totals().now
        slot = now // 10_000 * 10_000 + 10_000
        from worq.schedules.call import run_id
        Task(self.q.other, id=run_id('s', slot))()
        pool = Firing(self.mine.backend, self.mine.codec, lambda: slot + 1)
        pool.look()
        self.assertTrue(self.mine.schedules.get('s').run.startswith(run_id('s', slot) + '-'))


on_every_queue(globals(), FiringContract, file=True)
on_every_queue(globals(), TableContract, file=True)
