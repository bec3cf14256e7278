"""When schedules run: cron expressions, changed clocks, what was missed, and the spread."""
from datetime import UTC, datetime, timedelta
import sys
import unittest
from unittest import mock
from zoneinfo import ZoneInfo

from hypothesis import given, settings, strategies as st

from worq import slots, timing
from worq.slots import Step
from worq.timing import checked

DAY, HOUR, MINUTE = 86_400_000, 3_600_000, 60_000
#: Zones, with the days of 2026 on which their clocks change
CHANGES = {
    'Europe/Berlin': ['2026-03-29', '2026-10-25'], 'America/New_York': ['2026-03-08', '2026-11-01'],
    'Australia/Sydney': ['2026-04-05', '2026-10-04'],
    'America/Santiago': ['2026-04-05', '2026-09-06'],
    'Asia/Kolkata': ['2026-03-29'], 'UTC': ['2026-03-29'],
    'Australia/Lord_Howe': ['2026-04-05', '2026-10-04'],   # by half an hour
    'Antarctica/Troll': ['2026-03-29', '2026-10-25'],      # by two
}


def ms(text, zone='UTC'):
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1000


def slots_of(when, start, end):
    """All slots of a timing from one moment on, and before another."""
    found, at = [], start - 1
    while (at := slots.following(when, at)) is not None and at < end:
        found.append(at)
    return found


def debian(minutes, hours, wild, zone, start, end):
    """What cron would run, minute by minute: wildcard jobs by the clock; others once, and
    those of a time that the clock jumps over when it has."""
    found, seen, before = set(), set(), None
    for moment in range(start - 3 * HOUR, end, MINUTE):
        local = datetime.fromtimestamp(moment // 1000, ZoneInfo(zone)).replace(tzinfo=None)
        passed = [local]
        if not wild and before is not None and local - before > timedelta(minutes=1):
            passed += [before + timedelta(minutes=n)
                       for n in range(1, (local - before) // timedelta(minutes=1))]
        for each in passed:
            if each.minute in minutes and each.hour in hours and (wild or each not in seen):
                seen.add(each)
                found.add(moment)
        before = local
    return sorted(one for one in found if one >= start)


class Cron(unittest.TestCase):

    def test_fixed_times_on_the_days_when_clocks_change(self):
        """They run once each day, those of a skipped hour right after it."""
        nightly = checked(cron='30 2 * * *', zone='Europe/Berlin')
        self.assertEqual(
            slots_of(nightly, ms('2026-03-28'), ms('2026-03-31')),
            [ms('2026-03-28T01:30'), ms('2026-03-29T01:00'), ms('2026-03-30T00:30')])
        self.assertEqual(
            slots_of(nightly, ms('2026-10-24'), ms('2026-10-27')),
            [ms('2026-10-24T00:30'), ms('2026-10-25T00:30'), ms('2026-10-26T01:30')])

    def test_wildcards_go_by_time(self):
        """An hourly job runs 23 and 25 times on the days when clocks change."""
        hourly = checked(cron='0 * * * *', zone='Europe/Berlin')
        for day, hours in ('2026-03-29', 23), ('2026-10-25', 25):
            start = ms(day, 'Europe/Berlin')
            self.assertEqual(slots_of(hourly, start, start + hours * HOUR),
                             [start + n * HOUR for n in range(hours)])

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_as_debians_cron(self, data):
        """Whatever the minutes, the hours and the zone: around a change as cron runs them."""
        zone = data.draw(st.sampled_from(sorted(CHANGES)))
        day = data.draw(st.sampled_from(CHANGES[zone]))
        wild = data.draw(st.sampled_from(['', 'minutes', 'hours']))
        every = data.draw(st.sampled_from([1, 5, 7, 20, 30]))
        each = data.draw(st.sampled_from([1, 2, 5]))
        minutes = set(range(0, 60, every)) if wild == 'minutes' else \
            data.draw(st.sets(st.integers(0, 59), min_size=1, max_size=4))
        hours = set(range(0, 24, each)) if wild == 'hours' else \
            data.draw(st.sets(st.integers(0, 23), min_size=1, max_size=6))
        expression = '{} {} * * *'.format(
            f'*/{every}' if wild == 'minutes' else ','.join(map(str, minutes)),
            f'*/{each}' if wild == 'hours' else ','.join(map(str, hours)))
        start = ms(day) - DAY
        end = start + 3 * DAY
        self.assertEqual(slots_of(checked(cron=expression, zone=zone), start, end),
                         debian(minutes, hours, wild, zone, start, end), (expression, zone, day))

    def test_half_an_hour(self):
        """On Lord Howe clocks change by half an hour: a job of wildcards goes by the time that
        passes there, too, and one at a fixed time runs once, or right after what is skipped."""
        zone = 'Australia/Lord_Howe'
        for expression, day, local in (
                ('30 * * * *', '2026-10-04', ['00:30', '01:30', '02:30', '03:30']),
                ('*/20 1-2 * * *', '2026-10-04', ['01:00', '01:20', '01:40', '02:40']),
                ('*/20 1-2 * * *', '2026-04-05',
                 ['01:00', '01:20', '01:40', '01:40', '02:00', '02:20', '02:40']),
                ('*/30 3 * * *', '2026-04-05', ['03:00', '03:30']),
                ('15 2 * * *', '2026-10-04', ['02:30']), ('45 1 * * *', '2026-04-05', ['01:45']),
                ('0 */30 1-2 * * *', '2026-04-05', ['01:00', '01:30', '01:30', '02:00', '02:30'])):
            start = ms(day, zone)
            found = slots_of(checked(cron=expression, zone=zone), start, start + 5 * HOUR)
            self.assertEqual([datetime.fromtimestamp(slot // 1000, ZoneInfo(zone)).strftime('%H:%M')
                              for slot in found][:len(local)], local, (expression, day))

    def test_far_apart(self):
        """Slots that are months apart: each with the clock that is shown then."""
        when = checked(cron='*/30 0 1 1,7 *', zone='Europe/Berlin')
        found = slots_of(when, ms('2026-02-01'), ms('2028-02-01'))
        self.assertEqual(found, [ms(f'{year}-{month}-01T00:{minute}', 'Europe/Berlin')
                                 for year, month in ((2026, '07'), (2027, '01'), (2027, '07'),
                                                     (2028, '01')) for minute in ('00', '30')])

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_each_moment_has_one_next_slot(self, data):
        """The next slot is later, and the same from any moment before it back to the last one."""
        zone = data.draw(st.sampled_from(sorted(CHANGES)))
        expression = data.draw(st.sampled_from([
            '0 3 * * 1-5', '*/10 * * * *', '15,45 1-3 * * *', '0 0 1 * *', '59 23 L * *',
            '0 2 * * 0', '0 */4 * * *', '7 * * * *', '*/20 * * * * *', '0 0 29 2 *', '30 0 * * *']))
        when = checked(cron=expression, zone=zone)
        after = ms(data.draw(st.sampled_from(CHANGES[zone]))) \
            + data.draw(st.integers(-2 * DAY, 2 * DAY))
        first = slots.following(when, after)
        self.assertGreater(first, after)
        between = data.draw(st.integers(after, first - 1))
        self.assertEqual(slots.following(when, between), first)
        self.assertGreater(slots.following(when, first), first)

    def test_a_week_of_minutes_misses_and_repeats_none(self):
        """Over both changes of a year in each zone a job each minute has each minute once."""
        for zone, days in CHANGES.items():
            for day in days:
                start = ms(day) - DAY
                self.assertEqual(
                    slots_of(checked(cron='* * * * *', zone=zone), start, start + 2 * DAY),
                    list(range(start, start + 2 * DAY, MINUTE)), zone)

    def test_what_is_no_expression(self):
        """It is refused where it is given, and says what is wrong."""
        for wrong in '', '* * *', '61 * * * *', '0 0 30 2 *', 'now', None, 5, '@reboot', \
                '0 0 * * ü', '* ' * 300:
            with self.assertRaises(ValueError):
                checked(cron=wrong)
        with self.assertRaisesRegex(ValueError, 'no such day|Bad day-of-month'):
            checked(cron='0 0 31 2 *')

    def test_nicknames(self):
        self.assertEqual(checked(cron='@daily').cron, '0 0 * * *')

    def test_without_cronsim(self):
        """The error names the extra; the other timings need none."""
        with mock.patch.dict(sys.modules, {'cronsim': None}):
            with self.assertRaisesRegex(ImportError, r'pip install "WorQ\[cron\]"'):
                checked(cron='0 3 * * *')
            self.assertEqual(slots.following(checked(every=10), 0), 10_000)


class Timings(unittest.TestCase):

    def test_every(self):
        """Slots are the multiples since the epoch, wherever one begins to count."""
        self.assertEqual(slots.following(checked(every=10), 12_345), 20_000)
        self.assertEqual(slots.following(checked(every=10), 20_000), 30_000)
        self.assertEqual(slots.following(checked(every=1.5), 0), 1_500)

    def test_once(self):
        when = checked(at=datetime(2030, 1, 1, tzinfo=UTC))
        self.assertEqual(slots.following(when, 0), ms('2030-01-01'))
        self.assertIsNone(slots.following(when, ms('2030-01-01')))

    def test_what_makes_no_sense(self):
        """It is refused where it is given."""
        for wrong in (
                {}, {'every': 1, 'cron': '* * * * *'}, {'every': 0.5}, {'every': -1},
                {'every': '1'}, {'every': float('nan')}, {'at': datetime(2030, 1, 1)}, {'at': 5},
                {'at': datetime(1960, 1, 1, tzinfo=UTC)}, {'every': 1, 'zone': 'Mars/Base'},
                {'every': 1, 'zone': ''}, {'every': 1, 'zone': '../etc/passwd'},
                {'every': 1, 'zone': None}, {'every': 1, 'missed': 'some'},
                {'every': 1, 'missed': []}, {'every': 1, 'overlap': 'kill'},
                {'every': 1, 'grace': -1}, {'every': 10, 'spread': 11},
                {'cron': '@daily', 'spread': 90_000},
                {'every': 1, 'missed': 'all', 'overlap': 'skip'}):
            with self.assertRaises(ValueError, msg=str(wrong)):
                checked(**wrong)

    def test_words(self):
        for options, words in (
                ({'every': 10}, 'every 10 seconds'), ({'every': 3600}, 'every hour'),
                ({'every': 86400, 'spread': 60}, 'every day, up to 1 minute later'),
                ({'cron': '0 3 * * 1-5', 'zone': 'Europe/Berlin'},
                 'at 03:00 on Monday through Friday, Europe/Berlin'),
                ({'cron': '0 3 * * *'}, 'at 03:00 every day, UTC'),
                ({'at': datetime(2030, 1, 1, 9, tzinfo=UTC)}, 'once, at 2030-01-01 09:00:00, UTC')):
            self.assertEqual(timing.words(checked(**options)), words)

    def test_spread(self):
        """Each slot has a moment of its own within it, the same for all, and they differ."""
        when = checked(every=600, spread=300)
        found = [slots.due_at('a', when, slot) - slot for slot in range(0, 6_000_000, 600_000)]
        self.assertTrue(all(0 <= each < 300_000 for each in found))
        self.assertGreater(len(set(found)), 5)
        self.assertEqual(found[1], slots.due_at('a', when, 600_000) - 600_000)
        self.assertNotEqual(slots.due_at('b', when, 600_000), slots.due_at('a', when, 600_000))


class Missed(unittest.TestCase):

    def test_none_is_due(self):
        self.assertIsNone(slots.step('a', checked(every=10), 20_000, 19_999))

    def test_in_time(self):
        self.assertEqual(slots.step('a', checked(every=10), 20_000, 20_000),
                         Step(20_000, 0, 30_000))

    def test_last(self):
        """One run, for the newest; the others are counted."""
        self.assertEqual(slots.step('a', checked(every=10), 20_000, 55_000),
                         Step(50_000, 3, 60_000))
        nightly = checked(cron='0 3 * * *')
        self.assertEqual(slots.step('a', nightly, ms('2026-05-01T03:00'), ms('2026-05-08T03:20')),
                         Step(ms('2026-05-08T03:00'), 7, ms('2026-05-09T03:00')))

    def test_grace(self):
        """After it not even the newest has a run: an hour by default, of what is rare."""
        nightly = checked(cron='0 3 * * *')
        late = ms('2026-05-08T04:30')
        self.assertEqual(slots.step('a', nightly, ms('2026-05-07T03:00'), late),
                         Step(None, 2, ms('2026-05-09T03:00')))
        self.assertEqual(
            slots.step('a', checked(cron='0 3 * * *', grace=7200), ms('2026-05-07T03:00'), late),
            Step(ms('2026-05-08T03:00'), 1, ms('2026-05-09T03:00')))

    def test_none(self):
        """What is late has no run, but for a minute, in which no pool may have been there."""
        nightly = checked(cron='0 3 * * *', missed='none')
        slot, after = ms('2026-05-07T03:00'), ms('2026-05-08T03:00')
        self.assertEqual(slots.step('a', nightly, slot, slot + MINUTE), Step(slot, 0, after))
        self.assertEqual(slots.step('a', nightly, slot, slot + MINUTE + 1), Step(None, 1, after))

    def test_all(self):
        """One after the other, the oldest first."""
        when = checked(every=10, missed='all')
        self.assertEqual(slots.step('a', when, 20_000, 55_000), Step(20_000, 0, 30_000))
        self.assertEqual(slots.step('a', when, 30_000, 55_000), Step(30_000, 0, 40_000))
        graceful = checked(every=10, missed='all', grace=20)
        self.assertEqual(slots.step('a', graceful, 20_000, 55_000), Step(40_000, 2, 50_000))

    def test_all_within_bounds(self):
        """Of a month of seconds the newest thousand, whichever way they are told."""
        for when in checked(every=1, missed='all'), checked(cron='* * * * * *', missed='all'):
            now = ms('2026-05-08')
            self.assertEqual(slots.step('a', when, now - 30 * DAY, now),
                             Step(now - 999_000, 1000, now - 998_000))

    def test_once(self):
        """What runs once comes late rather than never."""
        when = checked(at=datetime(2030, 1, 1, tzinfo=UTC))
        slot = ms('2030-01-01')
        self.assertEqual(slots.step('a', when, slot, slot + 90 * DAY), Step(slot, 0, None))

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_each_slot_once(self, data):
        """However long nobody looks in between: each slot has one run or is missed, in order."""
        missed = data.draw(st.sampled_from(['last', 'all', 'none']))
        spread = data.draw(st.sampled_from([0, 20]))
        when = data.draw(st.sampled_from([
            checked(every=60, missed=missed, spread=spread),
            checked(cron='* * * * *', missed=missed, spread=spread),
            checked(cron='*/7 1-3 * * *', zone='Europe/Berlin', missed=missed, spread=spread)]))
        now = start = ms('2026-10-25')
        slot = slots.following(when, now)
        ran, lost = [], 0
        for pause in data.draw(st.lists(st.integers(0, 2 * HOUR), max_size=8)):
            now += pause
            while (step := slots.step('a', when, slot, now)) is not None:
                if step.run is not None:
                    ran.append(step.run)
                    self.assertLessEqual(slots.due_at('a', when, step.run), now)
                lost += step.missed
                slot = step.next
        self.assertGreater(slots.due_at('a', when, slot), now)
        gone = slots_of(when, start + 1, slot)
        self.assertEqual(ran, sorted(set(ran)))
        self.assertLessEqual(set(ran), set(gone))
        self.assertEqual(len(ran) + lost, len(gone))
