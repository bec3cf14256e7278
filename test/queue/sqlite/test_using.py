"""Tasks that are put in the application's own transaction: there if it commits, and not before."""
from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import unittest
from types import SimpleNamespace
from unittest import mock

import worq
from test import support
from test.queue.contract import message, outcome
from test.support import eq_, eventually
from worq import aio, const
from worq.errors import DuplicateTask, EncodeError, QueueError, TaskExpired
from worq.pool.thread import WorkerPool
from worq.queue.base import Held
from worq.queue.sqlite import install, queue as sqlite
from worq.queue.sqlite.file import File
from worq.task import Task

LONG = 600.0   # seconds: who is not woken fails the test


def inc(n: int) -> int:
    return n + 1


def add(one: int, other: int) -> int:
    return one + other


def total(numbers: list[int]) -> int:
    return sum(numbers)


class UsingCase(unittest.TestCase):
    """An application with a connection of its own, to the file of a queue."""

    def setUp(self) -> None:
        self.folder = support.folder(self)
        self.path = f'{self.folder}/app.db'
        self.db = self.connect()
        self.db.execute('PRAGMA journal_mode=WAL')
        install(self.db)
        self.db.execute('CREATE TABLE orders(n)')
        self.broker = self.open()
        self.q = self.broker.queue()

    def connect(self, **options: object) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, **options)
        self.addCleanup(db.close)
        return db

    def open(self, options: str = '?sync=off') -> worq.Broker:
        broker = worq.get_broker(f'sqlite:///{self.path}{options}')
        for task in inc, add, total:
            broker.expose(task)
        self.addCleanup(broker.close)
        return broker

    def work(self) -> None:
        """Begin to work off what there is."""
        pool = WorkerPool(self.open(), workers=1)
        pool.__enter__()
        self.addCleanup(pool.__exit__, None, None, None)

    def sound(self) -> None:
        eq_(self.broker.backend.audit(), [])


class Using(UsingCase):

    def test_commit(self) -> None:
        """A call is there when the transaction has committed, and is not begun before."""
        with self.db:
            self.db.execute('INSERT INTO orders VALUES (1)')
            one = self.q.using(self.db).inc(1)
            two = self.q.using(self.db).inc(one)
            eq_(self.broker.backend.size(), 0)
            eq_((one.status, bool(one)), (None, False))
            self.assertIn('in a transaction', repr(one))
        eq_(two.status, 'pending')
        self.sound()
        self.work()
        eq_((one.result(30), two.result(30)), (2, 3))
        eq_(self.db.execute('SELECT n FROM orders').fetchall(), [(1,)])
        self.sound()

    def test_first_question(self) -> None:
        """After the commit anything may be what is asked first: also its graph, or its end in an
        event loop."""
        with self.db:
            seen, watched, awaited = [self.q.using(self.db).inc(n) for n in range(3)]
        eq_(seen.graph().root, seen.id)
        self.work()

        async def ends() -> list[object]:
            told = [each async for each in watched.watch()]
            return [*told, *[each async for each in aio.as_completed([awaited])]]
        eq_(asyncio.run(ends()), [awaited])

    def test_wait_within(self) -> None:
        """Whoever waits for such a call within the transaction is told at once, however he does."""
        with self.db:
            one = self.q.using(self.db).inc(1)
            for wait in (one.result, one.wait, one.info, one.cancel, lambda: one.value,
                         lambda: worq.wait([one]), lambda: next(worq.as_completed([one])),
                         one.__await__().__next__):
                with self.assertRaisesRegex(RuntimeError, 'still open'):
                    wait()
            self.assertIn('still open', one.explain())
        self.assertTrue(one.cancel())

    def test_rollback(self) -> None:
        """After a rollback the call is unknown, and nothing is left of it."""
        with self.assertRaises(ZeroDivisionError), self.db:
            one = self.q.using(self.db).inc(1)
            raise ZeroDivisionError
        eq_(one.status, 'unknown')
        with self.assertRaises(TaskExpired):
            one.result(30)
        self.db.execute('BEGIN')
        two = self.q.using(self.db).inc(1)
        self.db.execute('SAVEPOINT mine')
        three = self.q.using(self.db).inc(1)
        self.db.execute('ROLLBACK TO mine')
        self.db.commit()
        eq_((two.status, three.status), ('enqueued', 'unknown'))
        self.sound()

    def test_closed(self) -> None:
        """A connection that is closed in its transaction has taken it back."""
        self.db.execute('BEGIN')
        one = self.q.using(self.db).inc(1)
        self.db.close()
        eq_(one.status, 'unknown')

    def test_graphs(self) -> None:
        """Batch, map and reduce take it as any queue, also with more than one put can have."""
        with self.db:
            with worq.batch(self.q.using(self.db)) as batch:
                parts = worq.map(self.q.using(self.db).inc, range(1_100))
                whole = self.q.using(self.db).total(parts)
                eq_(whole.status, None)
            reduced = worq.reduce(self.q.using(self.db).add, parts[:20])
            with self.assertRaisesRegex(RuntimeError, 'still open'):
                batch.wait(1)
            eq_(self.broker.backend.size(), 0)
        self.work()
        eq_(whole.result(60), sum(range(1, 1_101)))
        eq_(reduced.result(60), sum(range(1, 21)))
        self.assertTrue(batch.wait(30))
        eventually(lambda: self.broker.backend.stats()['processing'], 0)
        self.sound()

    def test_batch_that_fails(self) -> None:
        """A batch whose block raises puts nothing, and the transaction goes on."""
        with self.db:
            with self.assertRaises(ZeroDivisionError), worq.batch(self.q.using(self.db)):
                self.q.using(self.db).inc(1)
                raise ZeroDivisionError
            self.q.using(self.db).inc(2)
        eq_(len(self.q), 1)

    def test_apart(self) -> None:
        """A batch of the queue itself does not collect what is put in a transaction, and what is
        called there cannot be an argument elsewhere before the commit."""
        with worq.batch(self.q) as batch:
            with self.db:
                one = self.q.using(self.db).inc(1)
                with self.assertRaisesRegex(EncodeError, 'still open'):
                    self.q.inc(one)
            two = self.q.inc(one)
            eq_(len(batch), 1)
        eq_((one.status, two.status), ('enqueued', 'pending'))

    def test_options(self) -> None:
        """Options, and the name, are those of the queue that it is made of."""
        q = self.broker.queue('', priority='low').using
        with self.db:
            one = q(self.db).inc(1)
            two = Task(self.q.inc.using(self.db), id='mine')(1)
            self.assertIsNone(Task(self.q.using(self.db).inc, ignore_result=True)(1))
        eq_((one.task.options.priority, two.id, len(self.q)), ('low', 'mine', 3))

    def test_duplicate(self) -> None:
        """An id that is taken is told at once, and the transaction goes on."""
        with self.db:
            Task(self.q.using(self.db).inc, id='mine')(1)
            with self.assertRaises(DuplicateTask):
                Task(self.q.using(self.db).inc, id='mine')(2)
            self.db.execute('INSERT INTO orders VALUES (1)')
        eq_((len(self.q), self.db.execute('SELECT n FROM orders').fetchall()), (1, [(1,)]))
        self.sound()

    def test_rows_of_the_application(self) -> None:
        """How the application has its rows and texts changes nothing, and stays so."""
        self.db.row_factory = lambda cursor, row: {'a': 1}
        self.db.text_factory = bytes
        with self.db:
            first = self.q.using(self.db).inc(1)
            self.q.using(self.db).inc(first)
        eq_((self.db.execute('SELECT 1').fetchone(), self.db.text_factory), ({'a': 1}, bytes))
        self.work()
        eq_(first.result(30), 2)
        self.sound()

    def test_around(self) -> None:
        """What others have around a connection will do."""
        alchemy = SimpleNamespace(connection=SimpleNamespace(driver_connection=self.db),
                                  commit=1, rollback=1, cursor=1)
        for name in 'commit', 'rollback', 'cursor':
            setattr(alchemy, name, lambda: None)
        with self.db:
            one = self.q.using(alchemy).inc(1)
        eq_(one.status, 'enqueued')
        alchemy.connection = None
        with self.assertRaisesRegex(ValueError, 'no connection of sqlite3'):
            self.q.using(alchemy)

    def test_no_transaction(self) -> None:
        """A connection that begins no transaction by itself has to have one."""
        db = self.connect(isolation_level=None)
        with self.assertRaisesRegex(ValueError, 'in no transaction'):
            self.q.using(db).inc(1)
        db.execute('BEGIN IMMEDIATE')
        self.q.using(db).inc(1)
        db.execute('COMMIT')
        eq_(len(self.q), 1)

    def test_one_that_read_first(self) -> None:
        """A transaction that has read, and others have written since, cannot write any more, and
        says what to do; it is left as it was."""
        self.db.execute('BEGIN')
        self.db.execute('SELECT * FROM orders').fetchall()
        self.q.inc(1)
        with self.assertRaisesRegex(QueueError, 'BEGIN IMMEDIATE'):
            self.q.using(self.db).inc(1)
        self.assertTrue(self.db.in_transaction)
        self.db.rollback()
        eq_(len(self.q), 1)

    def test_one_that_has_just_begun(self) -> None:
        """One that has neither read nor written has the file to itself from its first call on, so
        that nobody comes between what this reads and what it writes."""
        stranger = self.connect(timeout=0, isolation_level=None)
        look_up, errors = File.look_up, []

        def slow(file: File, db: object, name: bytes) -> object:
            found = look_up(file, db, name)
            try:
                stranger.execute('INSERT INTO orders VALUES (2)')
            except sqlite3.OperationalError as error:
                errors.append(str(error))
            return found
        self.q.inc(1)
        self.db.execute('BEGIN')
        with mock.patch.object(File, 'look_up', slow):
            self.q.using(self.db).inc(1)
        self.db.commit()
        eq_((len(self.q), errors), (2, ['database is locked']))

    def test_other_files(self) -> None:
        """Only a connection with the queue's file will do, and only a queue in a file."""
        other = sqlite3.connect(':memory:')
        self.addCleanup(other.close)
        with self.assertRaisesRegex(ValueError, 'in memory'):
            self.q.using(other)
        with self.assertRaisesRegex(TypeError, 'only a queue in a file'):
            worq.get_queue('memory://').using(self.db)

    def test_a_task_of_this_name(self) -> None:
        """A task named `using`, and a namespace, can be called as any other."""
        for deferred, name in [(self.q.using(1), 'using'), (self.q.a.using(), 'a.using'),
                               (self.q.using.b(2), 'using.b')]:
            eq_(deferred.name, name)

    def test_queue_alone(self) -> None:
        """By a connection nothing is asked but what putting needs."""
        with self.db:
            queue = self.broker.backend.using(self.db)
            for verb in queue.take, queue.wait, queue.purge, queue.scan, queue.size:
                with self.assertRaisesRegex(RuntimeError, 'only puts'):
                    verb()
            queue.put([message('a'), message('b')])
            eq_(queue.cancel(['a']), ['cancelled'])
            eq_(queue.status(['a', 'b', 'c']), ['cancelled', 'enqueued', None])
        self.sound()


class Open(UsingCase):
    """While a transaction is open nobody else writes."""

    def setUp(self) -> None:
        super().setUp()
        self.now = 1_000_000
        self.here = sqlite.TaskQueue(f'sqlite:///{self.path}?sync=off', retry_for=0.05,
                                     clock=lambda: self.now)
        self.addCleanup(self.here.close)

    def test_writers(self) -> None:
        """Others wait for so long as they would for anybody who writes, and say that; who only
        looks waits for nobody. In the transaction's own thread it is said at once."""
        self.here.put([message('a')])
        with self.db:
            self.here.using(self.db).put([message('b')])
            errors: list[QueueError] = []

            def write() -> None:
                try:
                    self.here.put([message('c')])
                except QueueError as error:
                    errors.append(error)
            thread = threading.Thread(target=write)
            thread.start()
            thread.join(30)
            self.assertIn('0.05 seconds', str(*errors))
            with mock.patch.object(self.here._file, '_enter', side_effect=AssertionError):
                with self.assertRaisesRegex(QueueError, 'this thread has a transaction open'):
                    self.here.put([message('c')])
            eq_(self.here.status(['a', 'b']), ['enqueued', None])
        eq_(self.here.put([message('c')]), [])

    def test_leases(self) -> None:
        """A transaction that is open for longer than leases are costs nobody his: whoever comes
        first when it is over gives all of them time."""
        self.here.join('p', {})
        self.here.join('other', {})
        self.here.put([message('a')])
        a, = self.here.take('p', 1)
        with self.db:
            self.here.using(self.db).put([message('b')])
            self.now += 10 * const.LEASE
        b, = self.here.take('other', 1)
        eq_(b.id, 'b')
        eq_(self.here.beat('p', [Held(a.id, a.token)]), [])
        eq_(self.here.settle('p', [outcome(a)]), ['ok'])

    def test_woken(self) -> None:
        """Who waits for work is woken by the commit."""
        with mock.patch.object(sqlite, 'PAUSE', LONG):
            taken: list[str] = []
            thread = threading.Thread(target=lambda: taken.extend(
                one.id for one in self.here.take('p', 1, LONG)))
            thread.start()
            eventually(lambda: self.db.execute('SELECT count(*) FROM worq_idle').fetchone(), (1,))
            with self.db:
                self.here.using(self.db).put([message('a')])
            thread.join(30)
            eq_(taken, ['a'])

    def test_not_seen_before(self) -> None:
        """Nobody takes what is put before the commit, and it is all there after it."""
        self.db.execute('BEGIN IMMEDIATE')
        self.here.using(self.db).put([message('a')])
        with self.assertRaises(QueueError):
            threading_take(self.here)
        self.db.commit()
        eq_([one.id for one in self.here.take('p', 1)], ['a'])


def threading_take(queue: sqlite.TaskQueue) -> None:
    """Take in another thread, and raise what that has raised."""
    raised: list[BaseException] = []

    def take() -> None:
        try:
            queue.take('p', 1)
        except BaseException as error:
            raised.append(error)
    thread = threading.Thread(target=take)
    thread.start()
    thread.join(30)
    for error in raised:
        raise error


class Install(unittest.TestCase):
    """The tables of queues in an application's file."""

    def setUp(self) -> None:
        self.path = f'{support.folder(self)}/app.db'
        self.db = sqlite3.connect(self.path)
        self.addCleanup(self.db.close)
        self.db.execute('PRAGMA application_id=77')
        self.db.execute('PRAGMA user_version=5')
        self.db.execute('CREATE TABLE orders(n)')

    def queue(self) -> sqlite.TaskQueue:
        queue = sqlite.TaskQueue(f'sqlite:///{self.path}?sync=off')
        self.addCleanup(queue.close)
        return queue

    def test_explicit(self) -> None:
        """Nothing is put into a file of others unless they say so; and the file stays theirs."""
        with self.assertRaisesRegex(QueueError, 'install'):
            self.queue().size()
        with self.assertRaisesRegex(QueueError, "mode 'delete'.*journal_mode=WAL"):
            install(self.db)
        self.db.execute('PRAGMA journal_mode=WAL')
        install(self.db)
        install(self.db)
        queue = self.queue()
        eq_(queue.put([message('a')]), [])
        eq_([one.id for one in queue.take('p', 1)], ['a'])
        for pragma, value in [('application_id', 77), ('user_version', 5), ('auto_vacuum', 0)]:
            eq_(self.db.execute(f'PRAGMA {pragma}').fetchone(), (value,), pragma)
        names = [name for name, in self.db.execute(
            "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")]
        eq_([name for name in names if not name.startswith('worq_')], ['orders'])
        eq_(queue.audit(), [])

    def test_mode_that_was_changed(self) -> None:
        """A file that the application takes out of WAL mode is refused, and left so."""
        self.db.execute('PRAGMA journal_mode=WAL')
        install(self.db)
        self.db.execute('PRAGMA journal_mode=DELETE')
        with self.assertRaisesRegex(QueueError, "application's"):
            self.queue().size()
        eq_(self.db.execute('PRAGMA journal_mode').fetchone(), ('delete',))

    def test_migration(self) -> None:
        """It is a part of the transaction that is open, and goes with it."""
        self.db.execute('PRAGMA journal_mode=WAL')
        self.db.execute('BEGIN')
        self.db.execute('INSERT INTO orders VALUES (1)')
        install(self.db)
        self.assertTrue(self.db.in_transaction)
        self.db.rollback()
        eq_(self.db.execute('SELECT count(*) FROM sqlite_master').fetchone(), (1,))

    def test_another_version(self) -> None:
        """Tables of another version of WorQ are left alone."""
        self.db.execute('PRAGMA journal_mode=WAL')
        install(self.db)
        self.db.execute('UPDATE worq_schema SET schema=99')
        self.db.commit()
        with self.assertRaisesRegex(QueueError, '99'):
            install(self.db)
        self.assertFalse(self.db.in_transaction)


class OwnFile(unittest.TestCase):

    def test_own_file(self) -> None:
        """A connection of sqlite3 with the file that WorQ has made puts tasks there, too."""
        folder = support.folder(self)
        queue = sqlite.TaskQueue(f'sqlite:///{folder}/work.db?sync=off')
        self.addCleanup(queue.close)
        queue.put([message('a')])
        db = sqlite3.connect(f'{os.path.realpath(folder)}/work.db')
        self.addCleanup(db.close)
        with db:
            queue.using(db).put([message('b', 'a')])
        eq_(queue.status(['a', 'b']), ['enqueued', 'pending'])
        eq_(queue.audit(), [])
