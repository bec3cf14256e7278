"""A pool's side of its queue, when the queue does not do what it should."""
from __future__ import annotations

import os
import tempfile
import time
import unittest
from unittest import mock

from test.pool.tasks import await_file
from test.queue.contract import message
from test.support import eventually, unique
from worq import get_broker
from worq.codec import Codec
from worq.errors import QueueError
from worq.pool.base import Desk, started
from worq.pool.liveness import describe
from worq.pool.children import protocol, watchdog, worker
from worq.pool.process import WorkerPool
from worq.pool.children.manager import Manager
from worq.pool.children.protocol import Page
from worq.queue.base import Delivery, Late, Outcome, Turn
from worq.queue.memory import TaskQueue


class Faulty:
    """Stands before a queue; what is named in `faults` raises them, in turn."""

    def __init__(self, backend):
        self.backend = backend
        self.faults = {}

    def __getattr__(self, name):
        faults = self.faults.get(name)
        if faults:
            raise faults.pop(0)
        return getattr(self.backend, name)


class DescribeTest(unittest.TestCase):

    @unittest.skipUnless(os.path.exists('/proc/self/comm'), 'processes have no names here')
    def test_process_with_a_strange_name(self):
        """When a process began is known also if its name, which is any bytes, is no text."""
        def name(new=None):
            with open('/proc/self/comm', 'rb' if new is None else 'wb') as file:
                return file.read().strip() if new is None else file.write(new)
        before, began = name(), started(os.getpid())
        self.addCleanup(name, before)
        name('sm\u00f8rrebr\u00f8d'.encode()[:3])   # cut amid a character, as the kernel does
        self.assertTrue(began.isdigit())
        self.assertEqual(started(os.getpid()), began)


class DeskTest(unittest.TestCase):

    def setUp(self):
        self.now = 1_000_000
        self.queue = TaskQueue('memory://', 'desk', clock=lambda: self.now)
        self.faulty = Faulty(self.queue)
        self.desk = Desk(self.faulty, 15_000)
        self.queue.put([message('a'), message('b')])
        self.a, self.b = self.desk.turn([], 2)[0]

    def test_how_long_the_unknown_waits(self):
        """Pools tell what their broker was made with; without, nothing. It is a span in seconds."""
        name = unique()
        with get_broker('memory://', name, unknown_grace=2.5) as broker:
            self.assertEqual(Desk(broker.backend, 1).info['unknown_grace'], '2500')
            broker.move(name + '-other')
            self.assertEqual(Desk(broker.backend, 1).info['unknown_grace'], '2500')
        self.assertNotIn('unknown_grace', self.desk.info)
        for wrong in -1, float('nan'), 1e12, '5', True:
            with self.assertRaisesRegex(ValueError, 'unknown_grace'):
                get_broker('memory://', name, unknown_grace=wrong)

    def test_short_leases_are_tried_for_more_often(self):
        """A queue that is away is tried twice in the time that a short lease can be renewed."""
        def longest():
            with self.assertLogs('worq', 'ERROR'):
                self.desk._away_since = None
                for _ in range(9):
                    self.desk._gone(QueueError('away'))
            return self.desk._pause
        self.assertEqual(longest(), 2)
        self.queue.put([message('c', header=b'mod.func\nlease 3000', lease=3000)])
        self.desk._away_since = None
        self.desk._retry_at = 0
        [short], _ = self.desk.turn([], 1)
        self.assertEqual(longest(), 0.5)
        self.desk._drop(short.token)
        self.assertEqual(longest(), 2)

    def test_says_less_and_less_of_another_schema(self):
        """Of a queue that another WorQ must upgrade the log tells at growing intervals."""
        error, told = QueueError('other'), []
        error.schemas = (2, 1)
        clock = mock.Mock()
        with mock.patch('worq.pool.base.time.monotonic', clock), \
                mock.patch('worq.pool.base.log.error', lambda *text: told.append(clock())):
            for moment in range(0, 20_000, 10):
                clock.return_value = moment
                self.desk._gone(error)
        gaps = [later - one for one, later in zip(told, told[1:])]
        self.assertEqual(gaps[:8], [30, 60, 120, 240, 480, 960, 1920, 3600])
        self.assertEqual(set(gaps[8:]), {3600})

    def test_beats_go_on_after_an_outage(self):
        """A beat that failed is followed by others, though no worker makes a turn."""
        self.desk.beat_at = 0
        self.faulty.faults['beat'] = [QueueError('away')]
        with self.assertLogs('worq', 'ERROR'):
            self.desk.beat()
        for _ in range(5):      # more than a lease, and each time it is time to beat
            self.now += 4_000
            self.desk.beat_at = self.desk._retry_at = 0
            self.desk.beat()
        self.assertEqual(self.queue.status(['a', 'b']), ['processing'] * 2)
        self.assertEqual(self.queue.stats()['redelivered'], 0)

    def test_a_beat_while_an_outcome_is_told_loses_nothing(self):
        """What the queue has just settled, and does not know the desk knows, is no loss."""
        outcome = Outcome('a', self.a.token, 'value', b'')
        lost = []

        def settle_and_beat(*args):
            words = self.queue.settle(*args)
            self.desk.beat_at = 0     # another thread beats before this one can go on
            lost.extend(self.desk.beat())
            return words

        self.faulty.settle = settle_and_beat
        self.desk.settle([outcome])
        self.assertEqual(lost, [])
        self.assertEqual(list(self.desk.held), [self.b.token])
        self.assertEqual(self.desk._settling, set())

    def test_outcomes_are_told_after_an_outage(self):
        """What could not be settled is settled by the first turn that can."""
        outcome = Outcome('a', self.a.token, 'value', b'')
        self.faulty.faults['turn'] = [QueueError('away')]
        with self.assertLogs('worq', 'WARNING'):
            self.assertEqual(self.desk.turn([outcome], 1), ([], []))
            self.assertEqual(self.queue.status(['a']), ['processing'])
            self.desk._retry_at = 0
            self.desk.turn([], 1)
        self.assertEqual(self.queue.status(['a', 'b']), ['success', 'processing'])
        self.assertEqual(list(self.desk.held), [self.b.token])

    def test_lost_reply(self):
        """What was taken with a reply that never came is given back."""
        self.queue.put([message('c')])

        def lost(*args):
            self.queue.turn(*args)
            raise QueueError('no reply')

        with self.assertLogs('worq', 'WARNING'):
            with mock.patch.object(self.faulty, 'turn', lost, create=True):
                self.desk.turn([], 1)
            self.assertEqual(self.queue.status(['c']), ['processing'])
            self.desk._retry_at = 0
            self.assertEqual([d.id for d in self.desk.turn([], 1)[0]], ['c'])
        self.assertEqual(self.queue.stats()['redelivered'], 0)

    def test_a_fault_of_our_own_keeps_no_lease(self):
        """Outcomes that a fault has swallowed are not beaten for: their tasks will run again."""
        for step in ['turn', 'settle']:
            held = dict(self.desk.held)
            self.faulty.faults[step] = [MemoryError()]
            with self.assertRaises(MemoryError):
                if step == 'turn':
                    self.desk.turn([Outcome('a', self.a.token, 'value', b'')], 0)
                else:
                    self.desk.settle([Outcome('b', self.b.token, 'value', b'')])
            self.assertLess(len(self.desk.held), len(held))


    def test_beats_every_second_for_what_it_holds(self):
        """So that a cancel is noticed; and seldom while it holds nothing."""
        beats = []

        def beat(*args):
            beats.append(args)
            return self.queue.beat(*args)
        with mock.patch.object(self.faulty, 'beat', beat, create=True):
            self.desk.beat_at = 0
            self.desk.beat()
            self.assertLessEqual(self.desk.beat_in, 1.0)
            self.queue.cancel(['a'])
            self.desk.beat_at = 0
            self.assertEqual([(one.id, one.word) for one in self.desk.beat()],
                             [('a', 'cancelled')])
            self.desk.settle([Outcome('b', self.b.token, 'value', b'')])
            self.desk.beat_at = self.desk._bury_at = 0   # and the look at others is behind it
            self.desk.beat()
            self.assertGreater(self.desk.beat_in, 1.0)
        self.assertEqual(len(beats), 3)
        self.queue.put([message('c')])
        self.desk.turn([], 1)
        self.assertLessEqual(self.desk.beat_in, 1.0)

    def test_what_is_fetched_is_beaten_for_in_time(self):
        """And not at once: what is long is beaten for as often as anything else."""
        late = Late('c', b'n' * 12 + b'1', b'mod.func\nlease 900', mock.Mock())
        clock = mock.patch('worq.pool.base.time.monotonic', lambda: 5.0)
        turn = mock.patch.object(self.faulty, 'turn', lambda *args: Turn([], [], [], [late]),
                                 create=True)
        self.desk.beat_at = 99.0
        with clock, turn:
            self.desk.turn([], 1)
        self.assertAlmostEqual(self.desk.beat_at, 5.3)

    def test_neither_long_nor_short(self):
        """An outcome that is just as long as those that go alone is told like any other."""
        self.faulty.heavy = 100
        self.desk.settle([Outcome('a', self.a.token, 'value', bytes(100)),
                          Outcome('b', self.b.token, 'value', bytes(101))])
        eventually(lambda: self.queue.status(['a', 'b']), ['success'] * 2, timeout=60)

    def test_taken_during_a_beat(self):
        """What is taken while another thread beats for nothing is beaten for in a second."""
        desk = Desk(self.faulty, 60_000)
        desk.turn([], 0)
        self.queue.put([message('c')])

        def beat(*args):   # it is under way, and another thread takes
            lost = self.queue.beat(*args)
            desk.beat_at = time.monotonic() + 60
            self.assertEqual(len(desk.turn([], 1)[0]), 1)
            return lost
        desk.beat_at = 0
        with mock.patch.object(self.faulty, 'beat', beat, create=True):
            desk.beat()
        self.assertLessEqual(desk.beat_in, 1.0)

    def test_progress_goes_along_once(self):
        """Progress is told with the next beat that gets through, and then no more."""
        self.desk.progress[self.a.token] = b'half'
        self.faulty.faults['beat'] = [QueueError('away')]
        told = []
        with self.assertLogs('worq', 'ERROR'):
            for _ in range(3):
                self.desk.beat_at = self.desk._retry_at = 0
                with mock.patch.object(self.queue, 'beat', wraps=self.queue.beat) as beat:
                    self.desk.beat()
                told += [held.progress for call in beat.call_args_list
                         for held in call.args[1] if held.id == 'a']
        self.assertEqual(told, [b'half', b''])
        self.desk.progress[self.a.token] = b'all'
        self.desk._retry_at = 0
        with self.assertLogs('worq', 'WARNING'):   # it is back
            self.desk.turn([Outcome('a', self.a.token, 'value', b'')], 0)
        self.assertEqual(self.desk.progress, {})

    def test_news_go_with_any_beat(self):
        """Whatever makes the beat, what is new at that moment goes along."""
        texts = [b'1', b'2']
        self.desk.look = lambda: self.desk.progress.update({self.a.token: texts.pop(0)})
        for beat in (lambda: self.desk.turn([], 0), self.desk.beat):
            self.desk.beat_at = 0
            text = texts[0]
            beat()
            found, = self.queue.inspect(['a'])
            self.assertEqual(found.progress, text)

    def test_an_idle_turn_beats_along(self):
        """A pool that holds nothing asks the queue once, not twice, when it is time to beat."""
        self.desk.settle([Outcome(one.id, one.token, 'value', b'') for one in (self.a, self.b)])
        self.now += 7_000
        self.desk.beat_at = 0
        with mock.patch.object(self.queue, 'beat', wraps=self.queue.beat) as beat:
            self.desk.turn([], 1)
        self.assertEqual(beat.call_count, 0)
        self.assertEqual(self.queue.pools()[self.desk.pool]['seen'], '0')

    @unittest.skipUnless(describe('', 1)['boot'].strip(), 'nobody is proved dead here')
    def test_looks_again_soon_after_it_joined(self):
        """A pool whose forerunner died just after another had looked finds it a second later."""
        ours = self.desk.info
        self.now += 5_000
        self.queue.join('neighbour', ours)
        self.assertIn(self.desk.pool, self.queue.pools('neighbour'))
        self.queue.join('dead', {**ours, 'pid': '999999999'})
        desk = Desk(self.queue, 15_000)
        desk.turn([], 1)
        self.assertIn('dead', self.queue.pools())   # others have just looked
        self.assertLessEqual(desk.beat_in, 1.0)
        self.now += 1_000
        desk.beat_at = desk._bury_at = 0            # a second has passed
        with self.assertLogs('worq', 'WARNING'):
            desk.turn([], 1)
        self.assertNotIn('dead', self.queue.pools())
        self.assertGreater(desk.beat_in, 1.0)

    def test_too_many_names(self):
        """Names that are too long together are not told, for a part of them would mislead."""
        for names, told in [(['b', 'a'], 'a\nb'), (['x' * 1000] * 100, None), (['c'], 'c')]:
            self.desk.tell_names(names)
            self.desk.beat()
            self.assertEqual(self.queue.pools()[self.desk.pool].get('tasks'), told)


class DeafBell:
    """A bell that cannot be armed."""

    def __init__(self):
        self.tries = 0

    def arm(self):
        self.tries += 1
        raise QueueError('no connection for a bell')

    def close(self):
        pass


def init(url, name):
    broker = get_broker(url, name)
    broker.expose(sum)
    broker.expose(len)
    return broker


def init_slow(url, name, go):
    open(go + '.begun', 'w').close()
    await_file(go)
    return init(url, name)


class ManagerTest(unittest.TestCase):

    def setUp(self):
        self.name = f'manager-{os.urandom(4).hex()}'
        self.broker = get_broker('memory://', self.name)
        self.q = self.broker.queue()

    def test_no_bell(self):
        """A pool that gets no bell still takes what comes."""
        bell = DeafBell()
        with mock.patch.object(self.broker.backend, 'bell', lambda pool: bell), \
                WorkerPool(self.broker, init, (self.name,), workers=1):
            self.assertEqual(self.q.sum([1, 2]).result(timeout=20), 3)
            while not bell.tries:   # it has found nothing, and no bell
                time.sleep(0.01)
            self.assertEqual(self.q.sum([3, 4]).result(timeout=20), 7)

    def test_frames_of_bounded_length(self):
        """Tasks that are too long for one frame go in several; one too long for any fails."""
        with mock.patch.object(protocol, 'FRAME', 30_000), \
                mock.patch('worq.pool.children.manager.MOST', 100_000), \
                self.assertLogs('worq', 'DEBUG'), \
                WorkerPool(self.broker, init, (self.name,), workers=1):
            many = [self.q.len('x' * 10_000) for _ in range(50)]
            long = self.q.len('x' * 200_000)
            self.assertEqual([d.result(timeout=20) for d in many], [10_000] * 50)
            self.assertIn('too long', str(long.exception(timeout=30)))

    def test_slow_init(self):
        """A child that takes long to begin is told of, once."""
        with mock.patch('worq.pool.children.watchdog.SLOW', 9e9), \
                tempfile.TemporaryDirectory() as folder, \
                self.assertLogs('worq', 'WARNING') as logs:
            go = os.path.join(folder, 'go')
            with WorkerPool(self.broker, init_slow, (self.name, go), workers=1):
                eventually(lambda: os.path.exists(go + '.begun'), timeout=20)
                watchdog.SLOW = 0
                waits = self.q.sum([1, 2])
                eventually(lambda: 'could begin: worker' in waits.explain(), timeout=20)
                self.assertEqual(len(logs.output), 1)
                open(go, 'w').close()
                self.assertEqual(self.q.sum([1, 2]).result(timeout=20), 3)
        self.assertRegex(logs.output[0], '(?s)has not begun after .* in init_slow')
        self.assertEqual(len(logs.output), 1)

    def test_no_pidfd(self):
        """Where the kernel has no pidfds, a dead child is found by its pipe."""
        with mock.patch('os.pidfd_open', side_effect=OSError('not here'), create=True), \
                WorkerPool(self.broker, init, (self.name,), workers=1) as pool:
            self.assertEqual(self.q.sum([1, 2]).result(timeout=20), 3)
            with self.assertLogs('worq', 'ERROR'):
                os.kill(pool.pids[0], 9)
                self.assertEqual(self.q.sum([1, 2]).result(timeout=20), 3)


class Childless(worker.Worker):
    """A worker without a process: the test is its child, and begins its tasks."""

    def _start(self, asks):
        fd = Page.make()
        self.page, self.theirs = Page(fd), Page(fd)
        os.close(fd)
        self.process = mock.Mock(returncode=1)   # signals are not sent
        self.pid, self.tasks, self.answers = 1, mock.Mock(pending=()), None
        self.outcomes = self.pidfd = None   # or a fork of the tests could not let go of it

    def reap(self, wait=False):
        return None

    def revoke(self, now):
        self.begun()
        super().revoke(now)


class CancelTest(unittest.TestCase):
    """An order to interrupt a task comes just when the child goes on to the next."""

    def setUp(self):
        self.worker = Childless(b'', watchdog.Watchdog())
        self.addCleanup(self.worker.page.close)
        self.addCleanup(self.worker.theirs.close)
        self.worker.send([Delivery('a', b'token-a', 1, b'f', b''),
                          Delivery('b', b'token-b', 1, b'f', b'')])

    def test_begins_just_now(self):
        """A cancelled task that the child begins just before it is revoked is interrupted."""
        manager = Manager(TaskQueue('memory://', 'cancel'), None, 1, None, 1.0, 'a pool',
                          Codec('cancel'))
        self.addCleanup(manager._end)
        self.addCleanup(manager.workers.clear)
        manager.workers.append(self.worker)
        self.worker.begun = lambda: self.worker.theirs.begin(1)
        manager._disown(b'token-a', 'cancelled')
        self.assertIsNone(self.worker.order)   # it was not known to run

        def ordered():
            manager._mend(time.monotonic())
            return self.worker.order and self.worker.order[:2]
        eventually(ordered, (1, 'cancelled'))
        self.assertEqual(self.worker.theirs.ordered, 'cancelled')

    def test_begun_between_look_and_word(self):
        """What a child begins between the look of its manager and the word stays its own."""
        page = self.worker.page
        revoke = page.revoke

        def late(low, high):
            self.assertTrue(self.worker.theirs.begin(low))
            revoke(low, high)
        self.worker.begun = lambda: None
        with mock.patch.object(page, 'revoke', late):
            self.worker.revoke(1000.0)
        self.assertEqual([one.id for one in self.worker.recover(1001.0)], ['b'])
        self.assertEqual(self.worker.running().id, 'a')
        self.assertEqual([one.id for _, one in self.worker.sent], ['a'])
        self.assertFalse(self.worker.theirs.begin(2))

    def test_not_the_next_one(self):
        """Who is to interrupt one task does not interrupt another that has begun meanwhile."""
        self.worker.theirs.begin(1)
        self.worker.theirs.begin(2)
        self.worker.interrupt('cancelled', b'token-a', time.monotonic())
        self.assertEqual((self.worker.order, self.worker.theirs.ordered), (None, ''))
        self.worker.interrupt('cancelled', b'token-b', time.monotonic())
        self.assertEqual(self.worker.theirs.ordered, 'cancelled')
