"""What is counted on Redis: in bounded steps, and whatever others have written there."""
from __future__ import annotations

from unittest import mock

from redis.exceptions import ResponseError

from test.queue.contract import message
from test.queue.redis.test_details import Case
from test.support import eq_, eventually
from worq import const
from worq.errors import QueueError
from worq.queue.base import Recent
from worq.queue.redis import counting, queue as redis

FULL = ' '.join([*(f'{key}:999999999999' for key in 'vfxcrdtu'),
                 *(f'{key}{n}:999999999' for key in 'ab' for n in range(28)),
                 *(f'e{n}=99999999999,{"i" * 100}' for n in range(28))])


class CountingOnRedis(Case):

    def fill(self) -> None:
        self.q.put([message('a', header=b'other')])
        self.q.cancel(['a'])
        self.q.tally('p', 1, {'mail': 'v:1', 'log': 'v:2'}, [Recent('a', 'n' * 12, 'mail', 3)])
        self.q.put([message('b', header=b'more')])
        self.q.cancel(['b'])

    def test_recent(self) -> None:
        """The last ones first, and no more than there may be."""
        ids = [f'i {n}' for n in range(const.RECENT + 7)]
        for start in range(0, len(ids), 100):
            self.q.tally('p', start + 1, {}, [Recent(id, 'n' * 12, 'a b', 0)
                                              for id in ids[start:start + 100]])
        found = self.client.lrange(self.key('recent'), 0, -1)
        eq_([entry[-9:] for entry in found[:1]], [ids[-1].encode()[-5:] + b'a bp'])
        eq_(len(found), const.RECENT)
        when, nonce, rest = found[0].split(b' ', 2)
        self.assertRegex(when, rb'^\d{13}$')
        eq_((nonce, rest), (b'n' * 12, b'%d 3 %s' % (len(ids[-1]), ids[-1].encode() + b'a bp')))

    def test_ends(self) -> None:
        """What is kept for a time has an end, and what is kept for ever has none."""
        self.fill()
        self.q.put([message('b', header=b'late')])
        ends = {key.decode().partition('}:')[2]: self.client.pttl(key)
                for key in self.client.keys(self.key('*'))}
        page, = (key for key in ends if key.startswith('min:'))
        hours = const.MINUTES * 60_000
        self.assertTrue(hours - 60_000 <= ends.pop(page) <= hours)
        self.assertTrue(0 < hours - ends.pop('recent') < 5_000)
        self.assertTrue(0 < const.POOL_TTL * 1000 - ends.pop('tally:p') < 5_000)
        eq_((ends['tot'], ends['ended']), (-1, -1))
        eq_(self.q.audit(), [])

    def test_damage(self) -> None:
        """Others may write what they like there: it is thrown away, and counting goes on."""
        self.fill()
        for key in sorted(self.client.keys(self.key('*'))):
            rest = key.decode().partition('}:')[2]
            if rest.partition(':')[0] not in ('tot', 'min', 'ended', 'tally', 'recent'):
                continue
            kind = self.client.type(key).decode()
            for other in {'hash', 'list', 'string'} - {kind}:
                with self.subTest(rest, other=other):
                    self.client.delete(key)
                    self.client.execute_command(*{
                        'hash': ['HSET', key, 'x', 'y'], 'list': ['RPUSH', key, 'x'],
                        'string': ['SET', key, 'x']}[other])
                    self.goes_on()

    def goes_on(self) -> None:
        def count() -> bool:
            self.number = getattr(self, 'number', 1) + 1
            try:
                if self.q.status(['c']) != ['cancelled']:
                    self.q.put([message('c', header=b'other')])
                    self.q.cancel(['c'])
                self.q.tally('p', self.number, {'mail': 'v:1'}, [Recent('a', 'n' * 12, 'm', 3)])
                self.q.minutes()
                return 'mail' in self.q.totals().cells and not self.q.audit()
            except (QueueError, ResponseError):
                return False
        with mock.patch.object(redis, 'MENDING', 1):
            eventually(count)
        self.q.forget(['c'])

    def test_garbage(self) -> None:
        """Texts that are no cells count as nothing."""
        self.fill()
        page, = self.client.keys(self.key('min:*'))
        for text in b'', b'x', b'v:' + b'9' * 30, b'\xff\xfe', b' ' * 100_000, b'v:1 ' * 50_000:
            for key, field in [(self.key('tot'), 'mail'), (page, '-mail'), (page, ''),
                               (self.key('ended'), 'cmore'), (self.key('ended'), text)]:
                self.client.hset(key, field, text)
            self.client.set(self.key('tally:p'), text)
            self.goes_on()
        self.client.hset(self.key('ended'), mapping={f'v{n}': 1 for n in range(5000)})
        self.goes_on()
        self.assertLess(len(self.q.totals().cells), 10)

    def test_steps(self) -> None:
        """The fullest tally there may be takes Redis a few ms; all minutes are read in steps."""
        names = [f'{n:200}' for n in range(const.TELLS)]
        self.q.tally('p', 1, dict.fromkeys(names, FULL))
        self.client.config_resetstat()
        self.q.tally('p', 2, dict.fromkeys(names, FULL))
        took = self.client.info('commandstats')['cmdstat_evalsha']['usec']
        self.assertLess(took, 100_000)   # of a quiet machine 5,000
        with mock.patch.object(self.q, '_run', wraps=self.q._run) as run:
            eq_(len(self.q.minutes(const.MINUTES)), 1)
        eq_(run.call_count, const.MINUTES // counting.PAGES)
