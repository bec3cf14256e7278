"""Commands about what failed: failed, revive; and what brokers and views tell of it."""
from __future__ import annotations

from unittest import mock

import worq
from worq import Task, TaskFailure
from worq.queue.base import Outcome, Revival
from worq.view.failed import shape

from test.broker_case import on_every_queue
from test.cli.support import CommandCase
from test.support import eventually


class FailedCase(CommandCase):
    """A failure with two followers, two alike, and one that expired."""

    def make(self):
        broker = self.shop()
        q = broker.queue()
        root = Task(q.shop.fail, id='root')('first\nits last line')
        middle = Task(q.shop.add, id='middle')(root)
        Task(q.shop.add, id='leaf')(middle)
        Task(q.shop.fail, id='bad-1')('again')
        Task(q.shop.fail, id='bad-2')('again')
        self.work(broker)
        Task(q.shop.add, id='lost')(1)
        delivery, = broker.backend.take('p', 1)
        broker.backend.settle('p', [Outcome('lost', delivery.token, 'expire', b'it died')])
        return broker, q


class FailedContract(FailedCase):

    def test_view(self):
        """Failures are told by name and error, with how many failed because of them."""
        broker, _ = self.make()
        groups = {group.ids: group for group in broker.view().failed()}
        self.assertEqual({ids: (one.name, one.state, one.tasks, one.followers)
                          for ids, one in groups.items()}, {
            ('root',): ('shop.fail', 'failed', 1, 2),
            ('bad-2', 'bad-1'): ('shop.fail', 'failed', 2, 0),
            ('lost',): ('shop.add', 'expired', 1, 0)} if ('bad-2', 'bad-1') in groups else {
            ('root',): ('shop.fail', 'failed', 1, 2),
            ('bad-1', 'bad-2'): ('shop.fail', 'failed', 2, 0),
            ('lost',): ('shop.add', 'expired', 1, 0)})
        self.assertEqual(groups['root',].error, r'ValueError: first\nits last line')
        self.assertLessEqual(groups['lost',].first, groups['lost',].last)
        (shown,), kw, note = broker.view().task('lost').arguments
        self.assertEqual((shown, kw, note), ('1', {}, ''))
        self.assertEqual(broker.view().failed('other.*'), [])
        alone, = broker.view().failed('shop.add', 1)
        self.assertTrue(alone.tasks == 1)

    def test_changed_meanwhile(self):
        """What has its value by the time that it is looked at is left out, and not loaded."""
        broker, q = self.make()
        done = q.shop.add(1)
        self.work(broker)
        value, = broker.backend.results([done.id])
        with mock.patch.object(broker.backend, 'results',
                               lambda ids, whole=True: [value] * len(ids)), \
                mock.patch.object(broker, 'decode', side_effect=AssertionError):
            self.assertEqual(broker.view().failed(), [])

    def test_failed(self):
        """They are shown as a table, the largest group first."""
        self.make()
        text = self.ok('failed')
        self.assertRegex(text, r'1 +2 +shop.fail +failed .* root +ValueError: first')
        self.assertRegex(text, r'2 +shop.fail +failed .* bad-\d +ValueError: again')
        self.assertEqual(self.worq('failed', '--json').objects[0]['ids'], ['root'])
        self.refused(1, 'nothing has failed', 'failed', '--name', 'other')

    def test_alike(self):
        """Errors that differ by numbers and the like are one group, with an ellipsis there; each is
        found by its own error all the same."""
        broker = self.shop()
        q = broker.queue()
        for n in range(3):
            Task(q.shop.fail, id=f'mail-{n}')(f'smtp:25: refused for bad{n}@example.org')
        Task(q.shop.fail, id='other')('smtp:25: no such user "ann"')
        self.work(broker)
        groups = broker.view().failed()
        self.assertEqual([(group.tasks, group.error) for group in groups], [
            (3, 'ValueError: smtp:…: refused for …'),
            (1, 'ValueError: smtp:25: no such user "ann"')])
        self.refused(1, 'Run 3 failed tasks', 'revive', '--error', 'refused for')
        self.assertEqual(self.ok('revive', '--error', 'for bad2@'), '1 tasks run again\n')
        self.assertEqual([broker.status(f'mail-{n}') for n in range(3)],
                         ['failed', 'failed', 'enqueued'])
        narrow, wide = [self.ok('failed', columns=columns) for columns in (80, 200)]
        self.assertEqual(['FIRST' in narrow, 'FIRST' in wide, 'STATE' in wide],
                         [False, True, False])
        for error, expected in [
                ('KeyError: 17', 'KeyError: …'), ("KeyError: 'a b'", 'KeyError: …'),
                ('no 0x7f3a object, a1b2-c3', 'no … object, …'), ('ann@x.org: full', '…: full'),
                ('a @ b', 'a @ b'), ('x' * 2_000 + '1', 'x' * 2_000 + '1'), ('', '')]:
            self.assertEqual(shape(error), expected)

    def test_revive(self):
        """One is run again at once, more only if somebody says yes; it is noted who did so."""
        broker, q = self.make()
        self.assertEqual(self.ok('revive', 'lost'), 'lost: runs again\n')
        self.assertEqual(broker.status('lost'), 'enqueued')
        done = self.worq('revive', 'lost', 'leaf', 'none', '--yes')
        self.assertEqual((done.status, done.out.splitlines()), (1, [
            'lost: has not ended', 'leaf: one of its arguments has failed: revive that one '
            '--downstream', 'none: nothing of it is kept to run it again']))
        self.refused(1, 'Run 3 failed tasks of .* again, and 2 that failed because of them.*--yes',
                     'revive', '--name', 'shop.fail', '--downstream')
        self.assertEqual(self.ok('revive', '--error', 'last line', '--downstream'),
                         '1 tasks run again\n')
        self.tick(broker)
        self.assertEqual([broker.status(id) for id in ('root', 'middle', 'leaf', 'bad-1')],
                         ['enqueued', 'pending', 'pending', 'failed'])
        act = broker.acts()[0]
        self.assertEqual((act.what, act.tasks, act.about), ('revive', 1, 'root'))
        self.refused(2, 'which tasks', 'revive')
        self.refused(2, 'either ids', 'revive', 'a', '--name', 'b')
        self.refused(1, 'no such failure', 'revive', '--name', 'other', '--yes')
        self.refused(2, 'invalid retries', 'revive', 'bad-1', '--retries', '-3')
        self.refused(2, "no number: '0'", 'failed', '-n', '0')

    def test_revive_by_name(self):
        """Of those that were not named it is told how many do not run again, and why."""
        self.make()
        for words, status in (['revived', 'pinned'], 0), (['pinned', 'pinned'], 1):
            with mock.patch('worq.core.Broker.revive_all', return_value=words):
                done = self.worq('revive', '--error', 'again', '--yes')
            self.assertEqual(done.status, status)
            self.assertRegex(done.out, rf'^{words.count("revived")} tasks run again\n'
                             rf'{words.count("pinned")} not, as bad-\d: something that is live has '
                             r'its failure as an argument\n$')

    def tick(self, broker):
        broker.backend.beat('ticker')

    def test_downstream_of_many(self):
        """What failed because of any of several that are run again runs again, too, though some of
        its arguments failed because of others of them."""
        broken = [True]

        def part(n):
            if broken:
                raise ValueError(n)
            return n
        broker = self.shop()
        broker.expose(part)
        q = broker.queue()
        parts = worq.map(q.part, range(7))
        total = worq.reduce(q.shop.add, parts)
        self.work(broker)
        self.assertIsInstance(total.exception(0), TaskFailure)
        broken.clear()
        self.assertEqual(broker.revive_all([one.id for one in parts], downstream=True),
                         ['revived'] * 7)
        while self.work(broker):
            pass
        total.refresh()
        self.assertEqual(total.result(0), sum(range(7)))
        self.assertEqual(broker.backend.stats()['pending'], 0)

    def test_refresh(self):
        """A Deferred that has read a failure keeps it until it is asked anew."""
        broker = self.broker()
        answers = [ValueError('not yet'), 'here']

        def often():
            answer = answers.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer
        broker.expose(often, replace=True)
        deferred = broker.queue().often()
        self.work(broker)
        with self.assertRaises(TaskFailure):
            deferred.result(5)
        self.assertTrue(broker.revive(deferred.id))
        self.assertFalse(broker.revive(deferred.id))
        self.assertEqual(deferred.status, 'failed')
        deferred.refresh()
        self.assertEqual(deferred.status, 'enqueued')
        self.work(broker)
        self.assertEqual(deferred.result(5), 'here')
        deferred.refresh()
        self.assertEqual(deferred.value, 'here')

    def test_timeout(self):
        """It may be given more time, also where calls are signed."""
        for secret in [None, 'a secret that is long enough']:
            broker = self.broker(**({} if secret is None else {'secret': secret}))
            seen = []

            def work(*args, seen=seen):
                seen.append(args)
                if len(seen) == 1:
                    raise ValueError
            broker.expose(work, replace=True)
            task = Task(broker.queue().work, timeout=5, retries=0)(1, 'x')
            self.work(broker)
            self.assertEqual(broker.revive_all([task.id, 'none'], timeout=7.5),
                             ['revived', 'gone'])
            header = broker.backend.inspect([task.id])[0].header
            self.assertIn(b'\ntimeout 7500', header)
            self.assertNotIn(b'\ntimeout 5000', header)
            self.work(broker)
            self.assertEqual(seen, [(1, 'x')] * 2)
            task.refresh()
            self.assertIsNone(task.result(5))
            for options in {'timeout': -1}, {'retries': -1}, {'priority': 'urgent'}:
                with self.assertRaises(ValueError):
                    broker.revive(task.id, **options)

    def test_another_life(self):
        """Nothing is run again with what was signed for an earlier life of its id."""
        broker, _ = self.make()
        signed = Revival('root', 'x' * 12, 0, b'shop.fail', b'body')
        with mock.patch.object(broker, '_with_lines', return_value=[signed]):
            self.assertEqual(broker.revive_all(['root'], timeout=5), ['gone'])

    def test_other_options(self):
        """It may be tried more often, and at another priority."""
        broker = self.shop()
        Task(broker.queue().shop.fail, id='a', retries=0, timeout=5)('no')
        self.work(broker)
        self.ok('revive', 'a', '--retries', '3', '--priority', 'low')
        content, = broker.backend.message(['a'])
        self.assertEqual(sorted(content.header.split(b'\n')),
                         [b'retries 3', b'shop.fail', b'timeout 5000'])
        self.assertEqual(content.priority, 2)
        self.refused(2, 'no such priority', 'revive', 'a', '--priority', 'urgent')
        self.work(broker, 1)
        self.assertEqual(broker.status('a'), 'scheduled')

    def test_reply_that_is_lost(self):
        """A revival that is sent again revives nothing that has failed once more."""
        broker = self.shop()
        Task(broker.queue().shop.fail, id='a')('no')
        self.work(broker)
        revive = broker.backend.revive

        def twice(*args):
            now = broker.backend.totals().now
            revive(*args)
            eventually(lambda: broker.backend.totals().now > now)   # it fails at another moment
            self.work(broker)
            return revive(*args)
        with mock.patch.object(broker.backend, 'revive', twice):
            self.assertFalse(broker.revive('a'))
        self.assertEqual((len(broker), broker.status('a')), (0, 'failed'))


on_every_queue(globals(), FailedContract, file=True)
