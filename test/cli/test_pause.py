"""The commands that pause and resume, on each engine."""
from test import broker_case
from test.cli.support import CommandCase


class Pauses(CommandCase):

    def test_names(self):
        """Names are paused and resumed; each is told of, and so is who did it."""
        broker = self.shop()
        broker.queue().shop.add(1)
        text = self.ok('pause', 'shop.*', 'other')
        self.assertEqual(text, f'shop.* is paused\nother is paused\n1 tasks of {self.name} are '
                               'ready, paused or not; 0 are being processed, and go on\n')
        self.assertEqual(broker.backend.take('p', 1), [])
        self.assertEqual(self.worq('pause', 'other').status, 1)
        self.assertRegex(self.ok('info'), r'\n  paused      shop\.\* by .*@.* s ago\n  paused')
        found, = self.worq('info', '--json').objects
        self.assertEqual([one['names'] for one in found['paused']], ['shop.*', 'other'])
        done = self.worq('resume', 'shop.*')
        self.assertEqual((done.status, done.out), (0, 'shop.* is resumed\n'))
        self.assertRegex(done.err, 'still paused: other by .*@')
        self.assertEqual(len(broker.backend.take('p', 9)), 1)
        self.assertRegex(self.ok('log'), r'resume +0 +shop\.\*\n.* pause +0 +shop\.\* other\n')

    def test_whole_queue(self):
        """Without a name it is the whole queue, and all that is paused may be resumed at once."""
        self.shop().backend.purge()   # for a file to be there
        self.assertRegex(self.ok('pause'), f'^{self.name}, the whole queue, is paused\n')
        self.ok('pause', 'a', 'b')
        self.refused(1, 'still paused: all by', 'resume', 'c')
        self.refused(2, 'either names, or --all', 'resume', 'c', '--all')
        self.assertEqual(len(self.ok('resume', '--all').splitlines()), 3)
        self.refused(1, f'nothing of {self.name} is paused', 'resume', '--all')
        self.assertEqual(self.worq('resume').status, 1)

    def test_mistakes(self):
        """What names no tasks is refused."""
        self.shop().backend.purge()
        self.refused(2, r"invalid names of tasks to pause: 'a\*'", 'pause', 'a*')


class QueuesPaused(CommandCase):

    def test_strangers(self):
        """A name that no pool has told of is paused, and it is said what may have gone wrong."""
        self.pool(self.shop())
        self.assertEqual(self.worq('pause', 'shop.*', 'shop.add').err, '')
        done = self.worq('pause', 'shop.py')
        self.assertEqual(done.status, 0)
        self.assertIn('no pool has told of a task shop.py', done.err)

    def test_queues(self):
        """The list of queues tells what is paused, if anything is."""
        broker = self.shop()
        self.pool(broker)
        self.assertNotIn('PAUSED', self.ok('queues'))
        self.ok('pause', 'shop.add')
        self.assertRegex(self.ok('queues'), rf'PAUSED.*\n(.*\n)*{self.name} .* shop.add ')


broker_case.on_every_queue(globals(), Pauses, file=True)
broker_case.on_every_queue(globals(), QueuesPaused)
