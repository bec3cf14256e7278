"""What others write into the registers of schedules, and what people ask for by mistake."""
import json
import unittest
from unittest import mock

import worq
from worq import EncodeError, QueueError, Task, WorqError, const
from worq.schedules import firing, store
from worq.schedules.firing import Firing
from worq.space import TaskSpace
from worq.timing import checked

from test.broker_case import BrokerCase, on_every_queue
from test.cli.support import CommandCase
from test.schedules.test_firing import Flaky, firing_outcome

MINUTE = 60_000
WEIRD = [None, True, -1, 0, 1, 7, 1.5, 1e300, 10**12, 2**52, 2**53, 2**70, 253_402_300_800_000, '',
         'x', 'a b', '\n', 'x\nretries 9', '\x1b[2J', '\ud800', 'ü' * 999, '../etc', 'Mars/Base',
         '* * * * *', '1 1 1 1 *', 'skip', 'cancel', 'all', [], {}, [1], [[]], ['x'] * 7, [0] * 7]
STRANGE = ['{x}', '*', 'a b', 'é@2020', 'a:b', '"', "'", '\\', 'schedule:', 'schedules', '-', '--x',
           'slot 5 UTC x', '…' * 50, ' ', '%s', '<b>', '$(x)']


class FiringCase(BrokerCase):

    def setUp(self):
        super().setUp()
        self.mine = self.broker()
        self.q = self.mine.queue()
        self.now = self.mine.backend.totals().now
        self.enterContext(mock.patch('worq.schedules.table.Schedules._now', lambda _: self.now))

    def pool(self, queue=None, **timings):
        one = Firing(queue or self.mine.backend, self.mine.codec, lambda: self.now)
        one.declare({name: checked(**when) for name, when in timings.items()})
        return one

    def taken(self):
        """The names of the schedules of which something runs; it is ended."""
        tasks = self.mine.backend.take('test-pool', 1_000)
        self.mine.backend.settle('test-pool', [firing_outcome(self.mine, task) for task in tasks])
        return [task.id.rpartition('@')[0] for task in tasks]


def spoiled(value):
    """Registers in which one thing is another, wherever it is."""
    record = json.loads(value)
    plan = json.loads(record['plan'])
    for weird in WEIRD:
        for field in [*record, 'paused', 'run', 'done', 'skip', 'lost', 'code', 'seen', 'more']:
            yield {**record, field: weird}
        for place in range(4):
            run = [1, 'id', 'n' * 12, 1]
            run[place] = weird
            yield {**record, 'run': run}
        for place in range(len(plan)):
            yield {**record, 'plan': json.dumps([*plan[:place], weird, *plan[place + 1:]])}
        for part, length in (2, len(plan[2])), (4, len(plan[4])):
            for place in range(length):
                parts = [*plan[part][:place], weird, *plan[part][place + 1:]]
                yield {**record, 'plan': json.dumps([*plan[:part], parts, *plan[part + 1:]])}


class HostileContract(FiringCase):
    """On any engine."""

    def test_strange_names(self):
        """A schedule may have any name that can be printed; each is told from the others."""
        for name in STRANGE:
            self.mine.schedules.set(name, self.q.report, every=10)
        self.assertEqual([one.name for one in self.mine.schedules.list()], sorted(STRANGE))
        self.now += 10_000
        pool = self.pool()
        pool.look()
        run = self.mine.schedules.get('slot 5 UTC x').run
        self.assertIn('a run of the schedule slot 5 UTC x, slot 2',
                      self.mine.deferred(run).explain())
        self.assertEqual(sorted(self.taken()), sorted(STRANGE))
        for name in STRANGE:
            self.assertEqual(self.mine.schedules.get(name).fired, 1)
            self.assertTrue(self.mine.schedules.forget(name))
        self.assertEqual(self.mine.schedules.list(), [])

    def test_nobody_knows_the_task(self):
        """A run of a task that no pool has fails as such calls do, and the next slot is put."""
        self.mine.backend.join('test-pool', {'tasks': 'f', 'unknown_grace': '0'})
        self.mine.schedules.set('s', self.q.no.such, every=10)
        for _ in range(2):
            self.now += 10_000
            self.pool().look()
            self.work(self.mine)
        one = self.mine.schedules.get('s')
        self.assertEqual((one.fired, one.skipped), (2, 0))
        self.assertRegex(str(self.mine.deferred(one.run).exception(5)), 'no such task')

    def test_ten_thousand_missed(self):
        """They cost one step, and each is counted or made up for."""
        self.mine.schedules.set('last', self.q.f, every=1)
        self.mine.schedules.set('none', self.q.f, cron='* * * * * *', missed='none', grace=0)
        self.now += 10_000_500
        queue = Flaky(self.mine.backend)
        self.pool(queue).look()
        self.assertLess(queue.calls, 10)
        self.assertIn(self.mine.schedules.get('last').missed, (9_999, 10_000))
        self.assertGreaterEqual(self.mine.schedules.get('none').missed, 1_000)
        self.assertEqual(self.taken(), ['last'])

    def test_other_secret(self):
        """What was declared with a secret that is not known any more is declared anew, by code."""
        old, new = self.broker('s', secret='a' * 32), self.broker('s', secret='b' * 32)
        if old.codec.keys is None:
            self.skipTest('nothing is signed in memory')
        for one in old, new:
            pool = Firing(one.backend, one.codec, lambda: self.now)
            pool.declare({'report': checked(every=60)})
            with self.assertLogs('worq.schedules') as logs:
                pool.look()
            self.assertEqual('not put' in str(logs.output), one is new)
        self.assertEqual(new.schedules.get('report').problem, '')
        self.now += 60_000
        pool.look()
        self.assertEqual(new.schedules.get('report').fired, 1)

    def test_all_is_lost(self):
        """What code declares is back when the queue has lost all registers, in each pool."""
        pools = [self.pool(report={'every': 600}), self.pool(other={'every': 60})]
        for pool in pools:
            pool.look()
        for name, _ in self.mine.backend.notes():
            self.mine.backend.note(name, b'')
        with self.assertLogs('worq.schedules', 'WARNING'):
            for pool in pools:
                pool.look()
        self.assertEqual([one.name for one in self.mine.schedules.list()], ['other', 'report'])
        self.mine.schedules.forget('other')
        for pool in pools:
            pool.look()
        self.assertEqual([one.name for one in self.mine.schedules.list()], ['report'])

    def test_none_is_lost(self):
        """The first schedule of a queue is no alarm to pools that were there before it."""
        pool = self.pool()
        pool.look()
        self.mine.schedules.set('first', self.q.f, every=10)
        with self.assertNoLogs('worq.schedules', 'WARNING'):
            pool.look()

    def test_first_at_a_time(self):
        """Of several that say for the first time that something has changed, none is misled."""
        with mock.patch.object(store, 'number', return_value=b''):
            births = {store.born(store.announce(self.mine.backend)) for _ in range(3)}
        self.assertEqual(births, {store.born(store.number(self.mine.backend))})

    def test_looks_again_at_what_others_have_put(self):
        """What others have put is looked at when it is due again: they may be gone by then."""
        hour = 60 * MINUTE
        for n in range(12):
            self.mine.schedules.set(f'hourly {n}', self.q.f, every=3600)
        self.mine.schedules.set('often', self.q.f, every=1)
        self.now = (self.now // hour + 1) * hour
        pools = [self.pool(), self.pool()]
        for pool in pools:
            pool.due()   # knows all
        with mock.patch('worq.schedules.firing.os.urandom', bytes):
            self.assertEqual([pool.look() for pool in pools], [1.0, 1.0])

    def test_too_many_registers(self):
        """What cannot be declared keeps nothing else from its runs."""
        self.mine.schedules.set('s', self.q.f, every=10)
        self.now += 10_000
        pool = self.pool(report={'every': 10})
        with mock.patch.object(store.registers, 'change', side_effect=QueueError('too many')), \
                self.assertLogs('worq.schedules', 'ERROR'), self.assertRaises(QueueError):
            pool.look()
        self.assertEqual(self.taken(), ['s'])
        pool.look()
        self.assertIsNotNone(self.mine.schedules.get('report'))

    def test_one_that_cannot_be_put(self):
        """Whatever is the matter with one: the others are put, and it is not tried for ever."""
        for name in 'a', 'b', 'c':
            self.mine.schedules.set(name, self.q.f, every=10)
        self.now += 10_000
        pool = self.pool()
        message = firing.call.message

        def refuse(codec, plan, *args):
            if plan.name == 'b':
                raise OverflowError('too much')
            return message(codec, plan, *args)
        with mock.patch.object(firing.call, 'message', refuse), \
                self.assertLogs('worq.schedules', 'ERROR') as logs:
            for _ in range(3):
                pool.look()
        self.assertEqual(len(logs.output), 1)
        self.assertEqual(sorted(self.taken()), ['a', 'c'])
        self.mine.schedules.set('b', self.q.f, every=10, missed='none')   # mended
        pool.look()
        self.assertEqual(self.taken(), ['b'])

    def test_forgotten_while_it_runs(self):
        """Its run goes on; and under its name there may be another."""
        self.mine.schedules.set('s', self.q.f, every=10)
        self.now += 10_000
        pool = self.pool()
        pool.look()
        run = self.mine.schedules.get('s').run
        task, = self.mine.backend.take('test-pool', 1)
        self.mine.schedules.forget('s')
        pool.look()
        self.mine.schedules.set('s', self.q.f, every=10)
        self.assertEqual(self.mine.backend.settle('test-pool', [
            firing_outcome(self.mine, task)]), ['ok'])
        self.assertEqual(self.mine.deferred(run).status, 'success')
        self.assertEqual(self.mine.schedules.get('s').fired, 0)

    def test_paused_while_it_runs(self):
        """A pause puts nothing; then the slots that passed are missed, or skipped if it runs."""
        self.mine.schedules.set('s', self.q.f, every=10)
        self.now += 10_000
        pool = self.pool()
        pool.look()
        self.mine.schedules.pause('s')
        self.now += 30_000
        pool.look()
        self.mine.schedules.resume('s')
        pool.look()
        one = self.mine.schedules.get('s')
        self.assertEqual((one.fired, one.missed, one.skipped), (1, 2, 1))

    def test_arguments(self):
        """What cannot be sent is told by its place; what is too long by its size."""
        with self.assertRaisesRegex(EncodeError, 'argument|lambda'):
            self.mine.schedules.set('s', self.q.f, every=10, kw={'x': lambda: 1})
        with self.assertRaisesRegex(ValueError, r'13,\d\d\d bytes, and at most 7,168 are kept'):
            self.mine.schedules.set('s', self.q.f, every=10, args=['x' * 10_000])
        with self.assertRaises(ValueError):
            self.mine.schedules.set('s', Task(self.q.f, backoff=[1.5] * 5_000), every=10)
        self.assertEqual(self.mine.schedules.list(), [])

    def test_crowd(self):
        """Many pools and many schedules at one moment: who comes late looks what is done."""
        for number in range(60):
            self.mine.schedules.set(f'{number:02}', self.q.f, every=10)
        pools = []
        for _ in range(3):
            queue = Flaky(self.mine.backend)
            pools.append((queue, self.pool(queue)))
            pools[-1][1].look()
        self.now += 10_000
        calls = []
        for queue, pool in pools:
            before = queue.calls
            pool.look()
            calls.append(queue.calls - before)
        self.assertEqual(len(self.taken()), 60)
        self.assertEqual(calls[0], 61)
        for count in calls[1:]:
            self.assertLess(count, 40)   # each begins at a place that chance has chosen


on_every_queue(globals(), HostileContract, file=True)


class Spoiled(FiringCase):
    """In memory, where nothing is signed, so that all of it is looked at."""

    __test__ = True

    def test_anything(self):
        """Whatever a register holds: it is shown, stops no other schedule, and can be replaced."""
        table = self.mine.schedules
        table.set('bad', Task(self.q.f, retries=2, backoff=[1, 2], priority='high'),
                  cron='* * * * *', spread=2)
        value = store.read(self.mine.backend, 'bad')
        table.set('good', self.q.f, every=60, overlap='queue')
        pool = self.pool()
        with self.assertLogs('worq', 'ERROR'):
            for number, found in enumerate(spoiled(value)):
                self.mine.backend.note('schedule:bad', json.dumps(found).encode())
                self.now += 2 * MINUTE
                pool._number = None   # as if somebody had said so
                with self.subTest(found=found):
                    pool.look()
                    self.assertEqual(table.get('good').fired, number + 1)
                    self.assertEqual(len(repr(table.list()).splitlines()), 1)
                for act in table.pause, table.resume, table.run:
                    try:
                        act('bad')
                    except (LookupError, WorqError, ValueError):
                        pass
                self.mine.backend.take('test-pool', 1_000)
        table.set('bad', self.q.f, every=10)
        self.assertEqual(table.get('bad').problem, '')

    def url(self):
        return 'memory://'


class Shown(CommandCase):
    """``worq cron`` of what others have written."""

    __test__ = True

    def url(self):
        return 'memory://'

    def test_escapes(self):
        """It moves no cursor, and what is damaged is told below the list."""
        with worq.get_broker(self.url(), self.name) as broker:
            broker.schedules.set('s', broker.queue().f, every=10)
            broker.schedules.pause('s', by='\x1b[2Jann\n')
            broker.backend.note('schedule:\x1b[1mx', b'{')
            done = self.worq('cron')
            self.assertEqual(done.status, 0)
            self.assertNotIn('\x1b', done.out)
            self.assertIn('no schedule', done.out)
            for act in 'run', 'pause':
                self.refused(1, 'schedule', 'cron', act, '\x1b[1mx')


class Definitions(unittest.TestCase):

    def test_needs_arguments(self):
        """A task that code has called at regular times can be called without arguments."""
        space = TaskSpace('s')
        with self.assertRaisesRegex(ValueError, "'s.f' is called.*without arg.*missing.*'x'"):
            @space.task(every=10)
            def f(x, y=1):
                pass
        with self.assertRaisesRegex(ValueError, 'longer than the 150 bytes'):
            space.task(max, 'x' * 150, every=10)
        self.assertEqual((space.tasks, space.timings), ({}, {}))
        space.task(max, every=10)   # of which nobody knows what it needs
        space.task(lambda *args, y=1: 1, 'g', every=10)
        self.assertEqual(list(space.timings), ['s.max', 's.g'])

    def test_at_is_past(self):
        """A moment that is past when code first declares it is told in the log."""
        from datetime import UTC, datetime
        with worq.get_broker('memory://', 'past') as broker:
            pool = Firing(broker.backend, broker.codec)
            pool.declare({'f': checked(at=datetime(2001, 1, 1, tzinfo=UTC))})
            with self.assertLogs('worq.schedules', 'WARNING') as logs:
                pool.look()
                pool.look()
            self.assertEqual(len(logs.output), 1)
            self.assertEqual(repr(broker.schedules.get('f')),
                             '<Schedule f: f once, at 2001-01-01 00:00:00, UTC; over>')

    def test_far_away(self):
        from datetime import UTC, datetime
        with self.assertRaisesRegex(ValueError, 'long away'):
            checked(at=datetime(9999, 6, 1, tzinfo=UTC))


class ClockSetBack(unittest.TestCase):

    def test_back_and_forth(self):
        """Whatever is done to the queue's clock: no slot has two runs, and none is left out."""
        with worq.get_broker('memory://', 'set-back') as broker:
            now, seconds, ran = [1_800_000_000_000], [100.0], []
            broker.backend.clock = lambda: now[0]
            broker.schedules.set('s', broker.queue().f, every=60, overlap='queue', missed='all')
            pools = [Firing(broker.backend, broker.codec) for _ in range(2)]
            with mock.patch.object(firing.time, 'monotonic', lambda: seconds[0]):
                for step in [61, -3600, 61, 600, -30, 30, 7200, -7200, 61, 61]:
                    now[0] += step * 1000
                    seconds[0] += 61
                    for pool in pools:
                        pool.look()
                    for task in broker.backend.take('p', const.PUT_LIMIT):
                        ran.append(task.id)
                        broker.backend.settle('p', [firing_outcome(broker, task)])
            self.assertEqual(len(ran), len(set(ran)))
            one = broker.schedules.get('s')
            self.assertEqual(one.fired, len(ran))
            self.assertEqual(one.missed, 0)
            self.assertGreater(len(ran), 130)
