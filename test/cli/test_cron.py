"""The command for schedules, on each engine."""
from test import broker_case
from test.cli.support import CommandCase


class Cron(CommandCase):

    def test_acts(self):
        """A schedule is set, listed, run, paused, resumed, forgotten; and who did so is noted."""
        broker = self.shop()
        broker.backend.purge()
        self.assertEqual(self.worq('cron').status, 1)
        self.assertRegex(self.ok('cron', 'set', 'poll', '"orders"', '--call', 'shop.add',
                                 '--every', '1h'), r'^poll calls shop\.add every hour, next ')
        self.assertRegex(self.ok('cron'), r'poll +every hour +.* in .* +0 +0 +0')
        self.assertRegex(self.ok('cron', 'run', 'poll'), r'^put poll@20')
        self.assertEqual(self.ok('cron', 'pause', 'poll'), 'poll is paused\n')
        self.assertRegex(self.ok('cron', 'list', 'poll'), r'paused by .*@')
        self.assertRegex(self.ok('cron', 'resume', 'poll'), r'^poll is resumed, next ')
        one, = self.worq('cron', '--json').objects
        self.assertEqual((one['name'], one['task'], one['fired']), ('poll', 'shop.add', 1))
        self.assertRegex(self.ok('explain', one['run']),
                         r'It is a run of the schedule poll, slot 20.* UTC')
        self.assertEqual(self.ok('cron', 'forget', 'poll'), 'poll is forgotten\n')
        self.assertEqual(self.worq('cron', 'forget', 'poll').status, 1)
        self.assertIn('forget schedule', self.ok('log'))

    def test_mistakes(self):
        """They are told, and nothing is done."""
        self.shop().backend.purge()
        self.refused(1, "there is no schedule 'x'", 'cron', 'run', 'x')
        self.refused(2, 'which schedule', 'cron', 'run')
        self.refused(2, 'no such act', 'cron', 'start')
        self.refused(2, 'Add --call', 'cron', 'set', 'x', '--every', '5')
        self.refused(2, 'needs one of cron=', 'cron', 'set', 'x', '--call', 'f')
        self.refused(2, 'arguments are JSON', 'cron', 'set', 'x', 'a', '--call', 'f',
                     '--every', '5')
        self.refused(2, 'invalid cron', 'cron', 'set', 'x', '--call', 'f', '--cron', 'x')
        self.refused(2, 'no moment', 'cron', 'set', 'x', '--call', 'f', '--at', 'soon')


broker_case.on_every_queue(globals(), Cron, file=True)
