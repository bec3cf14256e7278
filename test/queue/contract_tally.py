"""What tasks came to, counted by their names, minute by minute and ever."""
from __future__ import annotations

from test.queue.contract import Contract, message, outcome
from test.support import eq_
from worq import const
from worq.queue import base
from worq.queue.base import Recent
from worq.tally import OTHER, Tally

MINUTE = 60_000


class Counting(Contract):

    def ever(self, name: str) -> Tally:
        return Tally.read(self.q.totals().cells.get(name, ''))

    def to_minute(self) -> None:
        """Go on to the beginning of a minute, so that what follows is in one."""
        self.advance(MINUTE - self.q.totals().now % MINUTE)

    def test_tally(self) -> None:
        """What pools tell adds up in the minute, and ever."""
        self.to_minute()
        self.q.tally('p1', 1, {'mail': 'v:3 a4:3 t:25 e4=8,x'})
        self.q.tally('p2', 1, {'mail': 'v:1 f:1 a4:2 t:15 e4=7,y', 'log': 'r:2'})
        eq_(self.q.totals().cells, {'mail': 'v:4 a4:5 t:40 e4=7,y f:1', 'log': 'r:2'})
        self.advance(MINUTE)
        self.q.tally('p1', 2, {'mail': 'v:1'})
        first, second = self.q.minutes()
        eq_(first.cells, {'mail': 'v:4 a4:5 t:40 e4=7,y f:1', 'log': 'r:2'})
        eq_(second.cells, {'mail': 'v:1'})
        eq_(second.at - first.at, MINUTE)
        eq_(first.at % MINUTE, 0)
        eq_(self.q.minutes(1), [second])
        found = self.ever('mail')
        eq_((found.success, found.failed, found.runs[4]), (5, 1, 5))
        eq_(found.exemplars, {4: ('y', 7e-6)})

    def test_sent_twice(self) -> None:
        """A tally that is sent again counts once, also when the pool has joined anew since."""
        for _ in range(2):
            self.q.tally('p1', 1, {'mail': 'v:1'}, [Recent('a', 'n' * 12, 'mail', 5)])
            self.q.join('p1', {'host': 'h'})
        self.q.tally('p1', 3, {'mail': 'v:10'})
        self.q.tally('p1', 2, {'mail': 'v:100'})
        self.q.leave('p1')
        self.q.tally('p1', 3, {'mail': 'v:10'})
        eq_(self.ever('mail').success, 11)
        self.advance(const.POOL_TTL * 1000)
        self.q.tally('p2', 1, {'mail': 'v:0'})
        self.q.tally('p1', 1, {'mail': 'v:1'})   # nobody sends again for so long
        eq_(self.ever('mail').success, 12)

    def test_minutes_end(self) -> None:
        """A minute is kept for eight hours; what was counted ever is kept."""
        self.to_minute()
        self.q.tally('p1', 1, {'mail': 'v:1'})
        self.advance((const.MINUTES - 1) * MINUTE)
        self.q.tally('p1', 2, {'mail': 'v:1'})
        eq_(len(self.q.minutes(const.MINUTES)), 2)
        eq_(len(self.q.minutes(const.MINUTES - 1)), 1)
        self.advance(MINUTE)
        self.q.tally('p1', 3, {'mail': 'v:1'})
        eq_(len(self.q.minutes(10 * const.MINUTES)), 2)
        eq_(self.ever('mail').success, 3)
        self.advance(const.MINUTES * MINUTE)
        eq_(self.q.minutes(const.MINUTES), [])
        eq_(self.q.audit(), [])

    def test_so_many_names(self) -> None:
        """So many names are counted by themselves, and all others together."""
        for number in range(25):
            self.q.tally('p1', number + 1, {f'{number // 5}.{number % 5 * 10 + n}': 'v:1'
                                            for n in range(10)})
        cells = self.q.totals().cells
        eq_(len(cells), const.TALLIED + 1)
        eq_(cells[OTHER], 'v:50')
        self.q.tally('p1', 26, {'3.49': 'v:1', '4.0': 'v:1'})
        eq_((self.ever('3.49').success, self.ever(OTHER).success), (2, 51))
        minute = self.q.minutes()[-1]
        self.assertLessEqual(len(minute.cells), const.TALLIED + 1)

    def test_odd_names(self) -> None:
        """A name may be of any characters."""
        names = [OTHER, ' ', 'a b', 'a:b=c', 'ä\x00', '\t', 'x' * 300]
        self.q.tally('p1', 1, dict.fromkeys(['', *names[1:]], 'v:1'))
        self.put(message('a', header=b''))
        self.q.cancel(['a'])
        eq_(set(self.q.totals().cells), set(names))
        eq_(set(self.q.minutes()[0].cells), set(names))

    def test_nonsense_is_not_counted(self) -> None:
        """What no pool can have counted is refused, or left out."""
        for number, cells, recent in [
                (0, {}, []), (-1, {}, []), (1 << 60, {}, []), ('1', {}, []),
                (1, dict.fromkeys(map(str, range(const.TELLS + 1)), 'v:1'), []),
                (1, {}, [Recent('a', 'n' * 12, 'm', 0)] * (const.RECENT + 1))]:
            with self.assertRaises(ValueError):
                self.q.tally('p1', number, cells, recent)   # type: ignore[arg-type]
        for last in (0, -1, 1.5):
            with self.assertRaises(ValueError):
                self.q.minutes(last)   # type: ignore[arg-type]
        self.q.tally('p1', 1, {'mail': 'v:1 V:1 v: :2 f:-1 r:1e3 e1= v:9223372036854775808 d:1'})
        eq_(self.q.totals().cells, {'mail': 'v:1 d:1'})

    def test_totals(self) -> None:
        """One look tells how the queue stands, too."""
        self.put(message('a'), message('b', priority=2), message('c', 'b'))
        self.advance(700)
        self.complete('a')
        found = self.q.totals()
        eq_(found.stats, self.q.stats())
        eq_(found.stats['succeeded'], 1)
        eq_(found.oldest, self.q.oldest())
        eq_(found.oldest[2], 700)

    def test_sizes(self) -> None:
        """A minute has the sizes that there were when it was told last."""
        self.to_minute()
        self.put(message('a'), message('b', 'a'), message('c', delay=10_000), message('d'))
        self.take()
        self.q.tally('p1', 1, {'mail': 'v:1'})
        eq_(self.q.minutes()[0].sizes, (1, 1, 1, 1))
        self.q.purge()
        self.drain()
        self.q.tally('p1', 2, {'mail': 'v:1'})
        eq_(self.q.minutes()[0].sizes, (0, 0, 0, 1))

    def test_recent(self) -> None:
        """What pools tell has succeeded is told in pages, as long as it is there in that life."""
        ids = [f'r {n}' for n in range(5)]
        self.put(*(message(id, header=b'odd' if id[-1] in '13' else b'even') for id in ids),
                 message('void', flags=base.IGNORE_RESULT), message('bad'))
        taken = self.take(10)
        self.settle(*(outcome(one, 'failure' if one.id == 'bad' else 'value') for one in taken))
        told = [Recent(one.id, one.token[:const.NONCE].decode(), 'any', 0) for one in taken]
        self.q.tally('p1', 1, {}, [*told, Recent('never', 'n' * 12, 'm', 0)])

        def pages(newest: bool, *names: str, count: int = 2) -> list[str]:
            found: list[str] = []
            cursor = ''
            while True:
                rows, cursor = self.q.scan('success', names, newest, cursor, count)
                found += [row.id for row in rows]
                self.assertLessEqual({row.state for row in rows}, {'success'})
                if not cursor:
                    return found
        eq_((pages(False), pages(True)), (ids, ids[::-1]))
        eq_(pages(True, 'odd', count=1), ['r 3', 'r 1'])
        row = self.q.scan('success')[0][0]
        eq_((row.id, row.name, row.pool, row.attempt), ('r 0', 'even', 'p1', 1))
        self.q.forget(['r 1'])
        self.put(message('r 2'))   # another life, which no pool has told of
        self.complete('r 2')
        eq_(pages(True), ['r 4', 'r 3', 'r 0'])
        rows, cursor = self.q.scan('success', count=2)
        self.q.tally('p1', 2, {}, [Recent(f'{n}', 'n' * 12, 'm', 0) for n in range(const.RECENT)])
        more = self.q.scan('success', cursor=cursor, count=2)[0]
        eq_({row.id for row in more} - {'r 4'}, set())
        eq_(pages(True), [])
        eq_(self.q.audit(), [])

    # -- what the queue counts ------------------------------------------------

    def test_ends_in_the_queue(self) -> None:
        """What no pool has ended is counted by the queue, by its name; what one has is not."""
        self.put(message('late', header=b'late\nretries 3', expires=10),
                 message('gone', header=b'g'), message('fails', header=b'f'),
                 message('after', 'fails', header=b'after'),
                 message('fine', header=b'fine'))
        self.q.cancel(['gone'])
        self.advance(10)
        self.complete('fails', b'e', 'failure')
        self.complete('fine')
        self.tick()
        self.drain()
        eq_(self.q.status(['late', 'after']), ['expired', 'failed'])
        want = {'late': 'x:1', 'g': 'c:1', 'after': 'f:1'}
        eq_(self.q.totals().cells, want)   # though no pool has told anything since
        self.q.tally('p1', 1, {'fine': 'v:1', 'after': 'v:1'})
        want = {'late': 'x:1', 'g': 'c:1', 'after': 'v:1 f:1', 'fine': 'v:1'}
        eq_(self.q.totals().cells, want)
        eq_(self.q.minutes()[-1].cells, want)
        self.put(message('more', header=b'g'))
        self.q.cancel(['more'])
        eq_(self.q.minutes()[-1].cells, {**want, 'g': 'c:2'})
        eq_(self.q.audit(), [])

    def test_all_that_ends(self) -> None:
        """What the pools and the queue count is together what has ended."""
        self.put(message('a'), message('b'), message('c'), message('d', 'a'), message('e'),
                 message('long', header=b'n' * 100, body=b'b' * 100))
        a, b, c, e, long = self.take(10)
        target = message('t')
        self.put(target)
        self.settle(outcome(a, 'failure', b''),
                    outcome(b, 'delegate', target=base.Argument('t', target.nonce)),
                    outcome(c, 'expire', b'no'), outcome(long, 'expire', b'no'),
                    outcome(e, 'refuse', b''))
        self.complete('t')
        self.drain()
        told = {'f': 1, 'v': 1}   # a and t, which a pool counts
        for cell in self.q.totals().cells.values():
            found = Tally.read(cell)
            for letter, count in zip('vfxc', found):
                told[letter] = told.get(letter, 0) + count   # type: ignore[call-overload]
        stats = self.q.stats()
        eq_(told, {'v': stats['succeeded'], 'f': stats['failed'], 'x': stats['expired'],
                   'c': stats['cancelled']})
        eq_(self.q.totals().cells['n' * 100], 'x:1')

    def test_purge_counts(self) -> None:
        """What was purged counts as cancelled."""
        self.put(message('a', header=b'a'), message('b', 'a', header=b'b'))
        self.q.purge()
        self.drain()
        eq_(self.q.totals().cells, {'a': 'c:1', 'b': 'c:1'})

    def test_gates(self) -> None:
        """A gate is no task."""
        self.put(message('g', flags=base.GATE))
        self.q.cancel(['g'])
        eq_(self.q.totals().cells, {})

    def test_invented_names(self) -> None:
        """Names that callers invent do not use up those that there may be."""
        messages = [message(f'{n}', header=b'%d' % n) for n in range(const.TALLIED)]
        self.put(*messages)
        for one in messages:
            self.q.cancel([one.id])
        cells = self.q.totals().cells
        eq_(len(cells), const.TALLIED // 2 + 1)
        eq_(cells[OTHER], f'c:{const.TALLIED // 2}')
        self.q.tally('p1', 1, {'mail': 'v:1'})
        eq_(self.ever('mail').success, 1)

    # -- what a take tells ----------------------------------------------------

    def test_waited(self) -> None:
        """A delivery tells how long its task had been ready."""
        self.put(message('a'), message('long', body=b'x' * 100_000), message('b', 'a'),
                 message('later', delay=const.TICK, body=b'x' * 100))
        self.advance(30)
        a, long = self.take(2)
        eq_((a.waited, long.waited), (30, 30))
        self.settle(outcome(a))
        self.advance(5)
        b, = self.take()
        eq_(b.waited, 5)
        self.settle(outcome(b, 'release'), outcome(long, 'retry', b'', delay=0))
        self.advance(7)
        eq_({one.id: one.waited for one in self.take(2)}, {'b': 7, 'long': 7})
        self.advance(2 * const.TICK)
        later, = self.take()
        eq_(later.waited, 0)   # it became ready with this tick

    def test_waited_in_a_turn(self) -> None:
        """So does the quick turn of a pool that takes one at a time."""
        self.q.join('p1', {'host': 'h'})
        self.put(message('a'), message('b'))
        self.advance(20)
        first, = self.q.turn('p1', limit=1).deliveries
        self.advance(3)
        turn = self.q.turn('p1', [outcome(first)], limit=1)
        eq_((first.waited, turn.deliveries[0].waited), (20, 23))
