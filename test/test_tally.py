"""Counts that can be added, as text; Redis adds them alike."""
from __future__ import annotations

import json
from pathlib import Path
import unittest

import redis

from test import support
from test.support import eq_
from worq.queue.redis import script
from worq.tally import BOUNDS, Tally, bucket, merged, quantile

VECTORS = json.loads((Path(__file__).parent / 'queue/cells.json').read_text('utf-8'))


class Cells(unittest.TestCase):

    def test_added(self):
        for one, other, want in VECTORS['added']:
            eq_(merged(one, other), want, f'{one!r} + {other!r}')

    def test_added_in_lua(self):
        """The very text that Python comes to."""
        parts = {part.name: part.text for part in script.prelude()}
        source = 'local call = redis.call ' + script.CONSTANT.sub(
            lambda match: script.value(match[0]),
            'local function text(number) return ("%d"):format(number) end '
            + parts['9_cells.lua']) + ' return added_cells(ARGV[1], ARGV[2])'
        client = redis.Redis.from_url(support.redis_url())
        self.addCleanup(client.close)
        for one, other, want in VECTORS['added']:
            eq_(client.eval(source, 0, one, other).decode(), want, f'{one!r} + {other!r}')

    def test_bounds(self):
        """Whole numbers that rise, from a millisecond to an hour, less than twofold each."""
        eq_((BOUNDS[0], BOUNDS[-1], len(BOUNDS)), (1, 3_600_000, 27))
        for low, high in zip(BOUNDS, BOUNDS[1:], strict=False):
            self.assertTrue(type(high) is int and low < high <= 2 * low, (low, high))
        for ms, want in VECTORS['buckets']:
            eq_(bucket(ms), want, str(ms))

    def test_read(self):
        found = Tally.read('v:3 f:1 x:2 c:4 r:5 a0:2 a3:2 t:2500000 u:1500 b27:1', 'v:1 e3=1250,x')
        eq_(found.ended, {'success': 4, 'failed': 1, 'expired': 2, 'cancelled': 4})
        eq_((found.retried, found.attempts, found.run_seconds, found.wait_seconds, found.mean),
            (5, 4, 2.5, 1.5, 0.625))
        eq_((found.waits[27], found.exemplars), (1, {3: ('x', 0.00125)}))
        eq_(Tally.read(), Tally())
        eq_(Tally().mean, None)
        eq_(Tally.read('v=x e1=5 e2=x,y e3=,z a1=2'), Tally())   # somebody else has written that

    def test_quantile(self):
        """Within a bucket it is read off a line; nothing is beyond the last bound."""
        counts = [0] * 28
        eq_(quantile(counts, 0.5), None)
        counts[12] = 10    # from 600 ms to 1 s
        eq_(quantile(counts, 0.5), 0.8)
        eq_(quantile(counts, 1), 1.0)
        counts[27] = 90
        eq_(quantile(counts, 0.5), 3600.0)
