"""The command for schedules, on each engine."""
import json

from worq.cli.cron import state
from worq.schedules import store
from worq.schedules.firing import Firing

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
        self.assertRegex(self.ok('cron'), r'poll +shop\.add +every hour +.* in .* +0')
        self.assertRegex(self.ok('cron', 'run', 'poll'), r'^put poll@20')
        self.assertRegex(self.ok('cron'), r' ago enqueued +1\n')
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

    def test_narrow(self):
        """A terminal of 80 characters has a line for each; and what is late or broken is told."""
        broker = self.shop()
        broker.backend.purge()
        zone = {'zone': 'America/Argentina/Buenos_Aires'}
        for name, when in [
                ('a-rather-long-name.of-a-schedule', {'cron': '*/5 8-18 * * 1-5', **zone}),
                ('poll', {'every': 10, 'overlap': 'queue'})]:
            broker.schedules.set(name, broker.queue().shop.add, args=[1], **when)
        now = broker.backend.totals().now
        Firing(broker.backend, broker.codec, lambda: now + 20_000).look()
        broker.backend.note('schedule:x', b'{')
        lines = self.ok('cron', columns=80, NO_COLOR='1').splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines), lines)
        self.assertRegex(lines[2], r'^poll +every 10 seconds +in .* enqueued .*1 +\d$')
        self.assertRegex(lines[3], r'^x +.*broken')
        one = broker.schedules.get('poll')
        self.assertEqual(state(one._replace(late=7200.0)), 'late by 2 h')

    def test_check(self):
        """A monitor is told what is late, and what is broken."""
        broker = self.shop()
        broker.backend.purge()
        broker.schedules.set('poll', broker.queue().shop.add, every=36_000)
        look = 'check', '--no-audit', '--late', '60'
        self.ok(*look)
        now = broker.backend.totals().now
        value = store.read(broker.backend, 'poll')
        next = json.loads(value)['next']
        broker.backend.note('schedule:poll', value.replace(b'%d' % next, b'%d' % (now - 120_000)))
        broker.backend.note('schedule:x', b'{')
        done = self.worq(*look)
        self.assertEqual(done.status, 4)
        self.assertRegex(done.out, 'a run of the schedule poll is due for 2 min.*, and no pool has '
                                   'put it; the schedule x is broken: no schedule')
        self.ok('check', '--no-audit')

    def test_unknown_zone(self):
        """A schedule in a zone that this machine does not know is broken, and it is told why."""
        broker = self.shop()
        broker.backend.purge()
        broker.schedules.set('night', broker.queue().shop.add, args=[1], cron='0 3 * * *',
                             zone='Europe/Berlin')
        value = store.read(broker.backend, 'night')
        broker.backend.note('schedule:night', value.replace(b'Europe/Berlin', b'Mars/Olympus'))
        self.assertRegex(self.ok('cron'), "night .* broken.*\nnight: invalid zone: 'Mars/Olympus'")

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
        self.refused(2, 'no moment', 'cron', 'set', 'x', '--call', 'f', '--at',
                     '0001-01-01T00:00+14:00')
        self.refused(2, 'run takes the name only', 'cron', 'run', 'x', '5')
        self.refused(2, 'pause takes the name only', 'cron', 'pause', 'x', '--every', '5')


broker_case.on_every_queue(globals(), Cron, file=True)
