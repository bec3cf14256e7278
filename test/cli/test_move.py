"""The command that moves a queue to another one, on each engine."""
from worq import Task

from test import broker_case, support
from test.cli.support import CommandCase, worq


class MovesByCommand(CommandCase):

    def setUp(self):
        super().setUp()
        self.folder = support.folder(self)
        self.there = f'sqlite:///{self.folder}/there.db'

    def here(self):
        return f'{self.url()}#{self.name}'

    def test_move(self):
        """What has not begun is moved, after a question, and it is noted in both queues."""
        broker = self.shop()
        q = broker.queue()
        Task(q.shop.add, id='sum')(Task(q.shop.add, id='first')(1), 5)
        Task(q.shop.add, id='later', delay=99)(1)
        words = 'move', self.here(), f'{self.there}#shop'
        if not self.url().startswith('memory:'):
            done = worq(*words)
            self.assertEqual(done.status, 1)
            self.assertRegex(done.err, r'Move 3 tasks from .* to shop at sqlite:///.*\? Nobody')
        done = worq(*words, '--yes')
        self.assertEqual(done, (0, '3 tasks moved, and 0 results that they need\n', ''))
        self.assertEqual(len(broker), 0)
        out = worq('tasks', 'pending', '--url', self.there, '-q', 'shop', '--json').objects
        self.assertEqual([row['id'] for row in out], ['sum'])
        self.assertRegex(worq('log', '--url', self.there, '-q', 'shop').out,
                         rf'move +3 +from {self.name} at')
        self.assertRegex(self.ok('log'), 'move +3 +to shop at sqlite')
        self.assertRegex(self.worq('explain', 'sum').out, 'moved to shop at sqlite')
        done = worq(*words, '--yes')
        self.assertEqual(done.status, 1)
        self.assertRegex(done.err, 'there is nothing to be moved')
        back = worq('move', f'{self.there}#shop', self.here(), '--yes', '--json')
        self.assertEqual([(one['tasks'], one['results'], one['distrusted'])
                          for one in back.objects], [(3, 0, 0)])
        self.assertEqual(len(broker), 3)

    def test_move_refused(self):
        """Where it cannot be done it is said why, and nothing has changed."""
        broker = self.shop()
        Task(broker.queue().shop.add, id='a')(1)
        done = worq('move', self.here(), self.here(), '--yes')
        self.assertEqual(done.status, 2)
        self.assertRegex(done.err, 'cannot be moved to itself')
        self.assertEqual(self.worq('move', 'x', 'y').status, 2)
        done = worq('move', '', self.there, '--url', self.url(), '--yes')
        self.assertEqual((done.status, done.err.splitlines()[0]),
                         (2, 'worq: the name of a queue is empty'))
        done = worq('move', self.here(), self.there, '--to-secret', 'NO_SUCH', '--yes')
        self.assertRegex(done.err, 'NO_SUCH is not set')
        broker.backend.take('p', 1)
        done = worq('move', self.here(), self.there, '--timeout', '0', '--yes')
        self.assertEqual(done.status, 1)
        self.assertRegex(done.err, "cannot be moved: 1 tasks still run, as 'a'")
        self.assertEqual(broker.pauses(), [])
        broker.backend.reconcile('p', [])

    def test_resume_while_moved(self):
        """A queue that is being moved is resumed by force only."""
        broker = self.shop()
        broker.pause()
        broker.backend.note('move', b'{"to": "there", "gate": "x", "phase": "copy"}')
        self.refused(1, 'is being moved to there', 'resume')
        self.assertRegex(self.ok('resume', '--force'), 'is resumed')
        self.assertEqual(broker.backend.notes('move'), [])


broker_case.on_every_queue(globals(), MovesByCommand, file=True)
