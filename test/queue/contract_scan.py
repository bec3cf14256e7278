"""The contract of a task queue as tests: pages of the tasks that are in a state."""
from __future__ import annotations

from typing import Any
from unittest import mock

from test.queue.contract import Contract, message, outcome
from worq import const
from worq.queue import base
from worq.queue.base import Row

LIVE = ['pending', 'scheduled', 'enqueued', 'processing']
ENDS = ['failed', 'expired', 'cancelled', 'success']


class Scan(Contract):

    def pages(self, state: str, *names: str, newest: bool = False, count: int = 100,
              between: Any = lambda: None) -> list[list[Row]]:
        pages, cursor = [], ''
        while True:
            rows, cursor = self.q.scan(state, names, newest, cursor, count)
            self.assertLessEqual(len(rows), count)
            self.assertEqual({row.state for row in rows} - {state}, set())
            pages.append(rows)
            if not cursor:
                return pages
            between()

    def rows(self, state: str, *names: str, **options: Any) -> list[Row]:
        return [row for page in self.pages(state, *names, **options) for row in page]

    def scanned(self, state: str, *names: str, **options: Any) -> list[str]:
        return [row.id for row in self.rows(state, *names, **options)]

    def states(self) -> dict[str, list[str]]:
        found = {state: self.scanned(state) for state in LIVE + ENDS}
        return {state: sorted(ids) for state, ids in found.items() if ids}

    def test_states(self) -> None:
        """Each task is told in its state, and in no other; a gate is none, nor what was purged."""
        self.put(message('run'), message('wait', 'run'), message('later', delay=9_000),
                 message('bad'), message('void', flags=base.IGNORE_RESULT))
        for id in 'run', 'bad', 'void':
            self.take_one(id)
        self.put(message('gate', flags=base.GATE))
        self.assertEqual(self.q.put([message('held')], 'gate'), [])
        self.put(message('ready'), message('late', expires=500), message('gone'))
        self.assertEqual(self.states(), {
            'pending': ['held', 'wait'], 'scheduled': ['later'],
            'enqueued': ['gone', 'late', 'ready'], 'processing': ['bad', 'run', 'void']})
        self.q.cancel(['gone', 'void'])
        self.advance(500)
        self.assertEqual(self.scanned('enqueued'), ['ready'])   # what is too late is not told ...
        self.assertEqual(self.q.status(['late']), ['expired'])   # ... before it is met
        self.assertEqual(self.states()['expired'], ['late'])
        self.q.purge()
        self.tick()
        self.assertEqual(self.q.status(['ready']), ['cancelled'])
        self.assertEqual(self.states(), {
            'processing': ['bad', 'run'], 'expired': ['late'], 'cancelled': ['gone']})

    def test_rows(self) -> None:
        """A row tells what it is, since when it is in its state, and whose."""
        nonces = {}
        for options in [{'id': 'a', 'priority': 0}, {'id': 'b', 'header': b'x.y'},
                        {'id': 'c', 'delay': 5_000, 'header': b'z' * 99 + b'\nretries 3'}]:
            one = message(**options)
            nonces[one.id] = one.nonce
            self.put(one)
            self.advance(10)
        one = message('d', 'a', delay=9_000)
        nonces['d'] = one.nonce
        self.put(one)
        start, = self.q.inspect(['a'])
        zero = start.times.put

        def told(state: str) -> list[Row]:
            return [row._replace(since=row.since - zero, due=row.due and row.due - zero)
                    for row in self.rows(state)]
        eq = self.assertEqual
        eq(told('enqueued'), [Row('a', nonces['a'], 'mod.func', 'enqueued', 0),
                              Row('b', nonces['b'], 'x.y', 'enqueued', 10)])
        eq(told('scheduled'), [Row('c', nonces['c'], 'z' * 99, 'scheduled', 20, 5_020)])
        eq(told('pending'), [Row('d', nonces['d'], 'mod.func', 'pending', 30, 9_030)])
        delivery = self.take_one('a')
        eq(told('processing'), [Row('a', nonces['a'], 'mod.func', 'processing', 30, 0, 'p1')])
        self.advance(10)
        self.settle(outcome(delivery, 'retry', b'', delay=1_000))
        eq(told('scheduled')[0], Row('a', nonces['a'], 'mod.func', 'scheduled', 30, 1_040, '', 2))
        self.tick(2_000)
        self.complete('a', b'no', 'failure')
        eq(told('failed'), [Row('a', nonces['a'], 'mod.func', 'failed', 2_040, 0, 'p1', 2),
                            Row('d', nonces['d'], 'mod.func', 'failed', 2_040)])

    def test_order(self) -> None:
        """Pages are in the order of what a state goes by, or the other way round."""
        for i in range(7):
            self.put(message(f'p{i}', f'e{i - 1}') if i else message('e'),
                     message(f's{i}', delay=9_000 - 1_000 * i),
                     message(f'e{i}', priority=2 - i % 3))
            self.advance(1)
        orders = {
            'scheduled': [f's{i}' for i in reversed(range(7))],
            'pending': [f'p{i}' for i in range(1, 7)],
            'enqueued': ['e2', 'e5', 'e', 'e1', 'e4', 'e0', 'e3', 'e6']}
        for state, ids in orders.items():
            for count in 1, 2, 3, 7, 8, 200:
                self.assertEqual(self.scanned(state, count=count), ids, (state, count))
                self.assertEqual(self.scanned(state, count=count, newest=True), ids[::-1],
                                 (state, count))
        self.take(5)
        for id in 'e', 'e2':
            self.q.cancel([id])
            self.advance(1)
        self.assertEqual(self.scanned('cancelled'), ['e', 'e2', 'p3'])
        self.assertEqual(self.scanned('cancelled', newest=True, count=1), ['p3', 'e2', 'e'])
        self.assertEqual(sorted(self.scanned('processing', count=1)), ['e1', 'e4', 'e5'])
        self.assertEqual(self.scanned('processing', count=1),
                         self.scanned('processing', count=1, newest=True)[::-1])

    def test_names(self) -> None:
        """Names may be asked for, or all that begin in a way; a pattern is nothing else."""
        for name in 'mail.send', 'mail.send.now', 'mail', 'mailbox.x', 'img.*', 'img.a':
            self.put(message(name, header=name.encode() + b'\nretries 2'))
        eq = self.assertEqual
        eq(self.scanned('enqueued', 'mail.*'), ['mail.send', 'mail.send.now'])
        eq(self.scanned('enqueued', 'mail.send', 'mail', 'none'), ['mail.send', 'mail'])
        eq(self.scanned('enqueued', 'img.*', 'm*'), ['img.*', 'img.a'])
        eq(self.scanned('enqueued', 'mail%', '.*', '*'), [])
        eq(self.scanned('enqueued', 'mail.*', 'mailbox.x', newest=True, count=2),
           ['mailbox.x', 'mail.send.now', 'mail.send'])

    def test_aside(self) -> None:
        """What stands aside is told once, after what is in a lane."""
        self.q.join('p1', {'tasks': 'a'})
        self.q.join('p2', {'tasks': 'b'})
        for i in range(3):
            self.put(message(f'a{i}', header=b'a'), message(f'b{i}', header=b'b'))
        self.assertEqual(self.ids(1, 'p2'), ['b0'])   # a0 stands aside
        self.assertEqual(self.scanned('enqueued'), ['a1', 'b1', 'a2', 'b2', 'a0'])
        for count in 1, 2, 3:
            self.assertEqual(self.scanned('enqueued', count=count, newest=True),
                             ['a0', 'b2', 'a2', 'b1', 'a1'])
        self.assertEqual(self.scanned('enqueued', 'a', count=1), ['a1', 'a2', 'a0'])

    def test_what_stands_still(self) -> None:
        """While others come and go, what stands still comes once, though what was told last goes.
        """
        self.come_and_go(False)
        self.come_and_go(True)

    def come_and_go(self, newest: bool) -> None:
        for step in range(6):
            self.put(message(f'{newest}{step}x'),
                     *[message(f'{newest}{step}{i}') for i in range(3)])
        numbers = iter(range(99))

        def between() -> None:
            number = next(numbers)
            self.put(message(f'{newest}new{number}'))
            if number < 3:
                taken, = self.take(1)
                if number == 1:
                    self.settle(outcome(taken, 'release'))

        found = self.scanned('enqueued', newest=newest, count=2, between=between)
        still = {f'{newest}{step}{i}' for step in range(1, 6) for i in range(3)}
        self.assertEqual(sorted(id for id in found if id in still), sorted(still))
        self.q.purge()
        self.tick()

    def test_what_was_told_last_has_gone(self) -> None:
        """So it is where that was cancelled, or ended otherwise, in each state."""
        for state in 'pending', 'scheduled', 'enqueued', 'processing', 'failed', 'cancelled':
            for newest in False, True:
                ids = [f'{state}{newest}{i}' for i in range(8)]
                if state == 'pending':
                    self.put(message(f'root{newest}', priority=0))
                    self.take(1)
                self.put(*[message(id, *[f'root{newest}'] * (state == 'pending'),
                                   delay=9_000 * (state == 'scheduled')) for id in ids])
                if state in ('processing', 'failed'):
                    taken = self.take(8)
                    if state == 'failed':
                        self.settle(*[outcome(one, 'failure') for one in taken])
                elif state == 'cancelled':
                    self.q.cancel(ids)
                page, cursor = self.q.scan(state, [], newest, '', 3)
                gone = [row.id for row in page][1:]
                if state in ('failed', 'cancelled'):
                    self.q.forget(gone)
                else:
                    self.q.cancel(gone)
                more: list[str] = []
                while cursor:
                    again = self.q.scan(state, [], newest, cursor, 3)
                    page, cursor = self.q.scan(state, [], newest, cursor, 3)
                    self.assertEqual((page, bool(cursor)), (again[0], bool(again[1])))
                    more += [row.id for row in page]
                self.assertEqual(sorted(more), sorted(set(ids) - {*gone, (
                    ids[-1] if newest else ids[0])}), (state, newest))
                self.q.purge()
                self.q.forget(ids)
                for one in self.rows('processing'):
                    self.q.cancel([one.id])
                self.tick()
                self.q.forget([*ids, f'root{newest}'])

    def test_bounds_of_ends(self) -> None:
        """Of those that ended the last ones are told, as long as their outcomes are kept."""
        with mock.patch.object(const, 'ENDED', 3):
            self.put(*[message(f'{i}', ttl=5_000) for i in range(6)])
            self.q.cancel([f'{i}' for i in range(6)])
            found = self.scanned('cancelled')
        self.assertEqual(found[-3:], ['3', '4', '5'])
        self.q.forget(['4'])
        self.assertEqual(self.scanned('cancelled')[-2:], ['3', '5'])
        one = message('5', ttl=9_000)
        self.put(one)
        self.assertEqual(self.scanned('cancelled')[-1:], ['3'])
        self.q.cancel(['5'])
        self.assertEqual([row.nonce for row in self.rows('cancelled')][-1], one.nonce)
        self.advance(5_000)
        self.assertEqual(self.scanned('cancelled'), ['5'])
        self.advance(5_000)
        self.assertEqual(self.scanned('cancelled'), [])

    def test_pinned_end(self) -> None:
        """One that failed is told as long as something needs it, whenever that began."""
        self.put(message('bad', ttl=3_000), message('root', priority=2),
                 message('wait', 'bad', 'root', flags=base.PASS))
        self.complete('bad', b'', 'failure')
        self.tick(9_000)
        self.assertEqual(self.scanned('failed'), ['bad'])
        self.put(message('other', ttl=1_000))
        self.q.cancel(['root'])
        self.assertEqual(self.scanned('failed'), ['bad'])
        self.complete('wait')
        self.advance(2_000)
        self.assertEqual(self.scanned('failed'), ['bad'])
        self.advance(2_000)
        self.assertEqual(self.scanned('failed'), [])

    def test_cursors(self) -> None:
        """A cursor that nobody has made begins anew, and so does one of another state."""
        self.put(*[message(f'{i}') for i in range(3)], message('later', delay=9_000))
        _, cursor = self.q.scan('enqueued', count=1)
        for cursor in ['x', '9:9:9', 'MCBuYW4geA==', '99:1', '0 nan', 'OTkgMSB4', '-1:2:3']:
            rows, _ = self.q.scan('enqueued', cursor=cursor, count=1)
            self.assertEqual([row.id for row in rows], ['0'])
            rows, _ = self.q.scan('scheduled', cursor=cursor)
            self.assertEqual([row.id for row in rows], ['later'])
        for wrong in [('done',), ('enqueued', 'name'), ('enqueued', ['x'] * 101),
                      ('enqueued', (), False, 'ö'), ('enqueued', (), False, '', 0),
                      ('enqueued', (), False, '', 201)]:
            with self.assertRaises(ValueError):
                self.q.scan(*wrong)

    def test_many(self) -> None:
        """One step looks at so many, and more pages have the rest."""
        for n in range(0, 2_500, 500):
            self.put(*[message(f'{i:04}', header=b'last' if i == 2_400 else b'x')
                       for i in range(n, n + 500)])
        pages = self.pages('enqueued', 'last')
        self.assertEqual([len(page) for page in pages], [0] * (2_400 // const.SCANNED) + [1])
        pages = self.pages('enqueued', newest=True, count=200)
        self.assertEqual(sum(pages, [])[::-1], self.rows('enqueued', count=199))
        self.assertEqual(len({row.id for row in sum(pages, [])}), 2_500)
        self.q.purge()
        self.drain()
