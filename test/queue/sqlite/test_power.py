"""Nothing that has been told is lost, and nothing is half done: kill -9 amid a verb, and power."""
from __future__ import annotations

import os
from pathlib import Path
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import unittest
from unittest import mock

from test import support
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from worq.queue.base import Argument, Outcome
from worq.queue.sqlite import queue as sqlite, sync

FINAL = 'value', 'failure', 'retry', 'release'


class User:
    """Uses a queue at random, and notes what it has been told."""

    def __init__(self, q: sqlite.TaskQueue, seed: int, name: str = '') -> None:
        self.q = q
        self.random = random.Random(seed)
        self.name = name
        self.n = 0
        self.held: list[tuple[str, bytes]] = []

    def step(self) -> list[str]:
        """One verb; ids that are stored from now on."""
        what = self.random.choice(['put', 'put', 'put', 'take', 'take', 'settle', 'turn', 'cancel'])
        if what == 'put':
            ids = [f'{self.name}{self.n + i}' for i in range(self.random.randint(1, 4))]
            known = [f'{self.name}{n}' for n in range(max(self.n - 6, 0), self.n)]
            some = [self.random.sample(known, min(len(known), self.random.randint(0, 2)))
                    for _ in ids]
            nonces = [f'{os.getpid() % 100_000:05}{self.n + i:07}' for i in range(len(ids))]
            body = bytes(self.random.choice([10, 3_000]))
            eq_(self.q.put([message(id, *(Argument(a, '') for a in edges), nonce=nonce,
                                    body=body)
                            for id, nonce, edges in zip(ids, nonces, some)]), [])
            self.n += len(ids)
            return ids
        if what == 'take':
            self.held += [(one.id, one.token) for one in self.q.take('p', 3)]
        elif what == 'cancel' and self.n and self.random.random() < 0.3:
            self.q.cancel([f'{self.name}{self.random.randrange(self.n)}'])
        else:
            outcomes = [Outcome(id, token, self.random.choice(FINAL), bytes(2_000))
                        for id, token in self.held]
            self.held = []
            if what == 'settle':
                self.q.settle('p', outcomes)
            else:
                self.held = [(one.id, one.token)
                             for one in self.q.turn('p', outcomes, [], 2).deliveries]
        return []


class Power(unittest.TestCase):

    def setUp(self) -> None:
        self.folder = support.folder(self)

    def open(self, name: str = 'queue', **options: object) -> sqlite.TaskQueue:
        q = sqlite.TaskQueue(f'sqlite:///{self.folder}/{name}.db', **options)
        self.addCleanup(q.close)
        return q

    def test_loss_of_power(self) -> None:
        """Wherever the log is cut, what is left is sound: as it was after one of the verbs."""
        q = self.open(sync='off')
        user, told = User(q, 7), []
        q.put([message('first')])
        log = f'{self.folder}/queue.db-wal'
        ids: list[str] = []
        for _ in range(60):
            ids += user.step()
            told.append((os.path.getsize(log), len(ids)))
        dice = random.Random(1)
        content = Path(log).read_bytes()
        begin = told[0][0]
        for n in range(25):
            cut = dice.randrange(begin, len(content))
            shutil.copyfile(f'{self.folder}/queue.db', f'{self.folder}/cut{n}.db')
            with open(f'{self.folder}/cut{n}.db-wal', 'wb') as half:
                half.write(content[:cut])
            left = self.open(f'cut{n}', sync='off')
            eq_(left.audit(), [])
            stored = max(count for size, count in told if size <= cut)
            eq_([id for id, state in zip(ids[:stored], left.status(ids[:stored]))
                 if state is None], [])
            left.put([message('one more')])
            left.close()

    def test_full(self) -> None:
        """With sync=full SQLite syncs each commit, and with the others it does so now and then."""
        for how, number in [('full', 2), ('second', 1), ('off', 1)]:
            q = self.open(how, sync=how)
            q.put([message('a')])
            assert q._file._writer is not None
            eq_(q._file._writer.execute('PRAGMA synchronous').fetchone(), (number,))

    def test_second(self) -> None:
        """What was committed last is brought to the disk though nobody commits any more, once for
        all that come meanwhile; and when the queue is closed, at once."""
        synced: list[int] = []
        with mock.patch.object(sync, 'SECOND', 0.01), \
                mock.patch.object(os, 'fdatasync', synced.append):
            q = self.open(sync='second')
            for n in range(20):
                q.put([message(f'a{n}')])
            assert q._file._syncer is not None
            eventually(lambda: q._file._syncer.dirty, False)
            eventually(lambda: bool(synced))
            with mock.patch.object(sync, 'SECOND', 600):
                before = len(synced)
                eventually(lambda: q.put([message('b')]) and False or len(synced) > before)
                self.assertTrue(q.put([message('c')]) == [] and q._file._syncer.dirty)
                before = len(synced)
                q.close()
                self.assertGreater(len(synced), before)
            q = self.open(sync='off')
            before = len(synced)
            q.put([message('d')])
            q.close()
            eq_(len(synced), before)

    def test_once_a_second(self) -> None:
        """However much is committed in a second, it is brought to the disk once."""
        synced: list[int] = []
        with mock.patch.object(sync, 'SECOND', 600), \
                mock.patch.object(os, 'fdatasync', synced.append):
            q = self.open(sync='second')
            q.put([message('a')])
            eventually(lambda: len(synced), 1)
            for n in range(50):
                q.put([message(f'b{n}')])
                time.sleep(0)   # the other thread would come to it
            eq_(len(synced), 1)
            self.assertTrue(q._file._syncer is not None and q._file._syncer.dirty)
            q.close()
            eq_(len(synced), 2)

    def test_kill(self) -> None:
        """A process that is killed amid a verb leaves it done, or not begun; others go on."""
        q = self.open()
        q.put([message('a')])
        told = []
        for n in range(8):
            out, into = os.pipe()
            pid = os.fork()
            if not pid:
                try:
                    user = User(q, n, f'{n}-')
                    while True:
                        for id in user.step():
                            os.write(into, f'{id}\n'.encode())
                finally:
                    os._exit(99)
            os.close(into)
            with open(out, encoding='ascii') as lines:
                told.append(lines.readline())   # it is about to work
                time.sleep(random.Random(n).random() * 0.05)   # any moment will do
                os.kill(pid, signal.SIGKILL)
                told += lines.readlines()
            eq_(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), -signal.SIGKILL)
            eq_(q.audit(), [])
            q.put([message(f'after {n}')])
        ids = [line.strip() for line in told if line.endswith('\n')]
        self.assertGreater(len(ids), 8)
        eq_([id for id, state in zip(ids, q.status(ids)) if state is None], [])

    def test_interrupted(self) -> None:
        """A verb that is interrupted in any statement of its transaction has done nothing."""
        q = self.open(sync='off')
        q.put([message('a'), message('b', 'a')])
        a, = q.take('p', 1)

        class Interrupt(BaseException):
            pass

        real = q._store.save
        for _ in range(3):
            def save() -> None:
                real()
                raise Interrupt
            with mock.patch.object(q._store, 'save', save), self.assertRaises(Interrupt):
                q.settle('p', [outcome(a)])
            eq_(q.audit(), [])
            eq_(q.status(['a', 'b']), ['processing', 'pending'])
        eq_(q.settle('p', [outcome(a)]), ['ok'])
        eq_(q.status(['a', 'b']), ['success', 'enqueued'])

    def test_rollback_interrupted(self) -> None:
        """What was interrupted even in taking back is taken back by the next verb."""
        q = self.open(sync='off')
        q.put([message('a')])
        db = q._file._writer
        assert isinstance(db, sqlite3.Connection)
        db.execute('BEGIN IMMEDIATE')
        db.execute('DELETE FROM worq_task')
        eq_(q.put([message('b')]), [])
        eq_(q.status(['a', 'b']), ['enqueued', 'enqueued'])

    def test_end_of_a_program(self) -> None:
        """A program that closes nothing ends all the same, also by an exception."""
        program = (f"import worq; q = worq.get_queue('sqlite:///{self.folder}/queue.db', "
                   "secret='a secret of some length'); d = q.f(1); d.wait(0.01); "
                   'raise SystemExit(7)')
        done = subprocess.run([sys.executable, '-c', program], timeout=60)
        eq_(done.returncode, 7)
        eq_(self.open().stats()['enqueued'], 1)
