"""Plain tasks are put by one statement, and are to the last column what the machine makes."""
from __future__ import annotations

import sqlite3
import unittest
from typing import Any
from unittest import mock

from test import support
from test.queue.contract import message
from test.support import eq_
from worq.queue.base import GATE, IGNORE_RESULT, NEEDED, PASS, Message
from worq.queue.sqlite import plain, queue as sqlite


class Plain(unittest.TestCase):

    def setUp(self) -> None:
        self.folder = support.folder(self)

    def stored(self, name: str, *puts: tuple[list[Message], str],
               gate: Message | None) -> list[Any]:
        """What a file has after these puts, and their answers."""
        now = iter(range(1_700_000_000_000, 1_700_000_001_000))
        queue = sqlite.TaskQueue(f'sqlite:///{self.folder}/{name}.db?sync=off',
                                 clock=lambda: next(now))
        self.addCleanup(queue.close)
        if gate:
            queue.put([gate])
        found: list[Any] = [queue.put(messages, gate.id if gate else '', client)
                            for messages, client in puts]
        eq_(queue.audit(), [])
        queue.close()
        with sqlite3.connect(f'{self.folder}/{name}.db') as db:
            found += [db.execute(f'SELECT * FROM {table} ORDER BY 1').fetchall() for table in (
                'worq_task', 'worq_queue', 'worq_watch', 'worq_long', 'worq_inbox', 'worq_dep')]
        db.close()
        return found

    def alike(self, *puts: tuple[list[Message], str], times: int,
              gate: Message | None = None) -> None:
        """Both ways leave the same; the short one is gone so many times."""
        with mock.patch.object(plain, 'put', wraps=plain.put) as put:
            short = self.stored('short', *puts, gate=gate)
            eq_(put.call_count, times)
        with mock.patch.object(plain, 'are_plain', return_value=False):
            eq_(short, self.stored('long', *puts, gate=gate))

    def test_alike(self) -> None:
        """Of any options, watched or not, one or many, and in several puts."""
        many = [message(f'a{n}', priority=n % 3, flags=flags, ttl=n * 1_000, lease=n, body=bytes(n),
                        max_deliveries=1 + n)
                for n, flags in enumerate([0, PASS, IGNORE_RESULT, NEEDED, 0, PASS | NEEDED])]
        self.alike((many, ''), ([message('b')], ''), ([message('c'), message('d')], 'me'), times=3)

    def test_of_a_moment(self) -> None:
        """Those that come later, or may come too late, are alike."""
        self.alike(([message('a', delay=50), message('b'), message('c', expires=90),
                     message('d', delay=20, expires=60), message('e', delay=90)], 'me'),
                   ([message('f', expires=5), message('g', priority=0, delay=7)], ''), times=2)
        self.folder = support.folder(self)
        self.alike(([message('a', delay=50), message('b', expires=90)], ''),
                   gate=message('g', flags=GATE), times=1)

    def test_behind_a_gate(self) -> None:
        """Those that a gate holds back are alike, too."""
        self.alike(([message('a'), message('b', priority=0)], ''), ([message('c')], 'me'),
                   gate=message('g', flags=GATE), times=2)

    def test_what_is_not_plain(self) -> None:
        """What has arguments, is long, or is there already goes the long way."""
        for n, one in enumerate([message('x', 'a'), message('x', body=bytes(1_001))]):
            with self.subTest(n=n):
                self.folder = support.folder(self)
                self.alike(([message('a')], ''), ([message('y'), one], ''), times=1)
        a, b = message('a'), message('b')
        for n, again in enumerate([[a], [a, b], [b, b], [b, message('b')], [message('a')]]):
            with self.subTest(again=n):
                self.folder = support.folder(self)
                self.alike(([a], ''), (again, ''), times=1)
