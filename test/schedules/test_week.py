"""A week of pools that come and go, over six zones and both changes of the clock."""
from collections import Counter
from datetime import datetime
import random
import unittest
from zoneinfo import ZoneInfo

import worq
from worq.schedules.firing import Firing
from worq.slots import following
from worq.timing import checked

from test.schedules.test_firing import firing_outcome
from test.support import unique

ZONES = ['Europe/Berlin', 'America/New_York', 'Australia/Sydney', 'America/Santiago',
         'Asia/Kolkata', 'UTC']


class Week(unittest.TestCase):

    def test_weeks(self):
        """Each slot of each schedule has one run, named by it; none has two, none is left out."""
        for day in '2026-03-26', '2026-10-22':
            with self.subTest(day=day):
                self.live(int(datetime.fromisoformat(day + 'T00:00:00+00:00').timestamp()) * 1000)

    def live(self, start):
        dice, now = random.Random(start), [start]
        broker = worq.get_broker('memory://', unique())
        self.addCleanup(broker.close)
        code = {f'{zone}-{expression}': checked(cron=expression, zone=zone, missed='all')
                for zone in ZONES for expression in ('30 2 * * *', '0 * * * *', '15 0,2,3 * * *')}
        pools = [self.pool(broker, code, now) for _ in range(3)]
        ran = Counter()
        for one in pools:
            one.look()
        end = start + 7 * 86_400_000
        while now[0] < end:
            now[0] += dice.randrange(900_000, 2_700_000)
            if dice.random() < 0.1:   # one is replaced, by a deploy that changes nothing
                pools[dice.randrange(3)] = self.pool(broker, code, now)
            for one in dice.sample(pools, dice.randint(1, 3)):
                one.look()
            tasks = broker.backend.take('pool', 1_000)
            ran.update(task.id for task in tasks)
            broker.backend.settle('pool', [firing_outcome(broker, task) for task in tasks])
        self.assertEqual(set(ran.values()), {1})
        for name, timing in code.items():
            slots, at = 0, start
            while (at := following(timing, at)) <= now[0]:
                slots += 1
            self.assertEqual(sum(id.startswith(f'{name}@') for id in ran), slots, name)
            if timing.cron == '30 2 * * *':   # once a day, whatever the clocks do
                local = [datetime.fromisoformat(id.split('@')[1]).astimezone(ZoneInfo(timing.zone))
                         for id in ran if id.startswith(f'{name}@')]
                self.assertEqual(len({each.date() for each in local}), len(local))

    @staticmethod
    def pool(broker, code, now):
        one = Firing(broker.backend, broker.codec, lambda: now[0])
        one.declare(code)
        return one
