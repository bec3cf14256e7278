"""Whatever an application does with its connection: a call is a part of its transaction."""
from __future__ import annotations

import sqlite3
import threading
import unittest
from collections.abc import Iterator
from typing import Any
from unittest import mock

import worq
from test.queue.contract import message
from test.queue.sqlite.test_using import LONG, UsingCase, inc
from test.support import eq_, eventually
from worq.errors import EncodeError, QueueError, TaskExpired
from worq.queue.sqlite import install, queue as sqlite


class Transactions(UsingCase):
    """Where a transaction begins and ends."""

    def test_the_next_one(self) -> None:
        """What is committed can be asked for while the connection is in its next transaction."""
        with self.db:
            one = self.q.using(self.db).inc(1)
            with worq.batch(self.q.using(self.db)) as batch:
                self.q.using(self.db).inc(2)
        self.db.execute('BEGIN')
        self.db.execute('SELECT * FROM orders').fetchall()
        eq_((one.status, batch.wait(0)), ('enqueued', False))
        two = self.q.inc(3)
        eq_(two.status, 'enqueued')
        self.db.rollback()
        with self.db:
            three = self.q.using(self.db).inc(4)
            eq_(three.status, None)
        eq_((one.status, three.status), ('enqueued', 'enqueued'))

    def test_taken_back_and_next(self) -> None:
        """What was rolled back, also to a savepoint, is unknown once the transaction is over; and
        it hinders nothing in the next one."""
        self.db.execute('BEGIN')
        one = self.q.using(self.db).inc(1)
        self.db.rollback()
        self.db.execute('BEGIN')
        self.db.execute('SELECT * FROM orders').fetchall()
        eq_(self.q.inc(2).status, 'enqueued')
        self.db.rollback()
        with self.db:
            two = self.q.using(self.db).inc(1)
            self.db.execute('SAVEPOINT mine')
            three = self.q.using(self.db).inc(1)
            self.db.execute('ROLLBACK TO mine')
            for each in two, three:
                with self.assertRaisesRegex(RuntimeError, 'still open'):
                    each.result(30)
        eq_((one.status, two.status, three.status), ('unknown', 'enqueued', 'unknown'))
        with self.assertRaises(TaskExpired):
            three.result(30)
        self.sound()

    @unittest.skipUnless(hasattr(sqlite3.Connection, 'autocommit'), 'needs Python 3.12')
    def test_autocommit_off(self) -> None:
        """A connection that is in a transaction all the time: each commit is an end, too."""
        db: Any = self.connect(autocommit=False)
        q = self.q.using(db)
        one = q.inc(1)
        eq_(one.status, None)
        db.commit()
        eq_(one.status, 'enqueued')
        eq_(self.q.inc(2).status, 'enqueued')
        two = q.inc(3)
        with self.assertRaisesRegex(QueueError, 'this thread has a transaction open'):
            self.q.inc(4)
        db.rollback()
        eq_((one.status, two.status), ('enqueued', 'unknown'))
        with db:
            three = q.inc(5)
        seen: list[str | None] = []
        thread = threading.Thread(target=lambda: seen.extend([two.status, three.status]))
        thread.start()
        thread.join(30)
        eq_(seen, ['unknown', 'enqueued'])
        self.work()
        eq_((one.result(30), three.result(30)), (2, 6))
        self.sound()

    @unittest.skipUnless(hasattr(sqlite3.Connection, 'autocommit'), 'needs Python 3.12')
    def test_woken_without_an_end(self) -> None:
        """Who waits for work is woken by the commit of such a one, too."""
        db: Any = self.connect(autocommit=False)
        here: sqlite.TaskQueue = self.broker.backend   # type: ignore[assignment]
        with mock.patch.object(sqlite, 'PAUSE', LONG):
            taken: list[str] = []
            thread = threading.Thread(target=lambda: taken.extend(
                one.id for one in here.take('p', 1, LONG)))
            thread.start()
            eventually(lambda: self.db.execute('SELECT count(*) FROM worq_idle').fetchone(), (1,))
            here.using(db).put([message('a')])
            db.commit()
            thread.join(30)
            eq_(taken, ['a'])

    @unittest.skipUnless(hasattr(sqlite3.Connection, 'autocommit'), 'needs Python 3.12')
    def test_autocommit_on(self) -> None:
        """One that commits each statement has to begin a transaction."""
        db: Any = self.connect(autocommit=True)
        with self.assertRaisesRegex(ValueError, 'in no transaction'):
            self.q.using(db).inc(1)
        db.execute('BEGIN')
        one = self.q.using(db).inc(1)
        eq_(one.status, None)
        db.execute('COMMIT')
        eq_(one.status, 'enqueued')

    def test_two_queues(self) -> None:
        """Two queues of one file take part in one transaction. Whoever would wait for its end in
        its own thread is told, whichever queue he asks, or by which connection."""
        other = worq.get_broker(f'sqlite:///{self.path}?sync=off', 'other')
        self.addCleanup(other.close)
        other.expose(inc)
        with self.db:
            one, two = self.q.using(self.db).inc(1), other.queue().using(self.db).inc(1)
            second = self.connect(timeout=0)
            for call in (lambda: other.queue().inc(2), lambda: self.q.inc(2),
                         lambda: self.q.using(second).inc(2)):
                with self.assertRaisesRegex(QueueError, 'this thread has a transaction open'):
                    call()
        eq_((one.status, two.status, len(self.q), len(other.queue())),
            ('enqueued', 'enqueued', 1, 1))
        eq_(other.backend.audit(), [])
        self.sound()

    def test_two_connections(self) -> None:
        """What one transaction has put is no argument in that of another connection."""
        second = self.connect()
        with self.db:
            one = self.q.using(self.db).inc(1)
            with self.assertRaisesRegex(EncodeError, 'still open'):
                self.q.using(second).inc(one)
        with second:
            two = self.q.using(second).inc(one)
        eq_((one.status, two.status), ('enqueued', 'pending'))

    def test_handle_that_is_kept(self) -> None:
        """A handle serves any number of transactions; one made of it is as one of the queue."""
        q = self.q.using(self.db)
        with self.db:
            one = q.inc(1)
            two = q.using(self.db).inc(one)
        with self.db:
            three = q.inc(two)
        eq_([each.status for each in (one, two, three)], ['enqueued', 'pending', 'pending'])
        with self.assertRaises(ZeroDivisionError), self.db:
            four = q.inc(three)
            raise ZeroDivisionError
        eq_(four.status, 'unknown')
        self.sound()

    def test_batch_around(self) -> None:
        """A batch that is left after the transaction puts its calls then: in one of their own."""
        with worq.batch(self.q.using(self.db)) as batch:
            with self.db:
                self.db.execute('INSERT INTO orders VALUES (1)')
                self.q.using(self.db).inc(1)
            eq_((len(batch), len(self.q)), (1, 0))
        self.assertTrue(self.db.in_transaction)
        self.db.commit()
        eq_(len(self.q), 1)

    def test_map_that_fails(self) -> None:
        """A map whose items raise half-way has put those before, as everywhere; the transaction
        goes on, or takes them back."""
        def numbers() -> Iterator[int]:
            yield from range(1_500)
            raise ZeroDivisionError
        with self.db:
            self.db.execute('INSERT INTO orders VALUES (1)')
            with self.assertRaises(ZeroDivisionError):
                worq.map(self.q.using(self.db).inc, numbers())
            one = self.q.using(self.db).inc(1)
        eq_((len(self.q), one.status), (1_001, 'enqueued'))
        eq_(self.db.execute('SELECT n FROM orders').fetchall(), [(1,)])
        with self.assertRaises(ZeroDivisionError), self.db:
            worq.map(self.q.using(self.db).inc, numbers())
        eq_(len(self.q), 1_001)
        self.sound()

    def test_map_that_rolls_back(self) -> None:
        """If they end the transaction, what comes after that is in the next one."""
        def numbers() -> Iterator[int]:
            for n in range(2_500):
                if n == 2_200:
                    self.db.rollback()
                yield n
        with self.db:
            made = worq.map(self.q.using(self.db).inc, numbers())
        eq_((len(self.q), made[0].status, made[-1].status), (500, 'unknown', 'enqueued'))
        self.sound()

    def test_amid_a_select(self) -> None:
        """Calls can be made of rows while they are read."""
        with self.db:
            self.db.executemany('INSERT INTO orders VALUES (?)', [(n,) for n in range(300)])
        made = []
        for n, in self.db.execute('SELECT n FROM orders'):
            made.append(self.q.using(self.db).inc(n))
        self.db.commit()
        eq_((len(self.q), made[-1].status), (300, 'enqueued'))
        self.sound()


class Connections(UsingCase):
    """How a connection is set, and what becomes of it."""

    def test_of_another_thread(self) -> None:
        """One of another thread is refused, and says why; one that may go there is taken along."""
        raised: list[str] = []

        def call(db: sqlite3.Connection) -> None:
            try:
                self.q.using(db).inc(1)
                db.commit()
            except ValueError as error:
                raised.append(str(error))
        for db in self.db, self.connect(check_same_thread=False):
            thread = threading.Thread(target=call, args=(db,))
            thread.start()
            thread.join(30)
        error, = raised
        self.assertIn('thread', error)
        eq_(len(self.q), 1)

    def test_closed(self) -> None:
        """One that was closed cannot be used, before and after a handle was made of it."""
        q = self.q.using(self.db)
        self.db.close()
        for call in lambda: q.inc(1), lambda: self.q.using(self.db):
            with self.assertRaisesRegex(ValueError, 'closed'):
                call()

    def test_read_only(self) -> None:
        """One that may only read says so."""
        db = sqlite3.connect(f'file:{self.path}?mode=ro', uri=True)
        self.addCleanup(db.close)
        with self.assertRaisesRegex(QueueError, 'may only read'):
            self.q.using(db).inc(1)
        db = self.connect()
        db.execute('PRAGMA query_only=ON')
        with self.assertRaisesRegex(QueueError, 'may only read'):
            self.q.using(db).inc(1)
        self.assertFalse(db.in_transaction)

    def test_attached(self) -> None:
        """The queue's file must be the connection's own: attached to it, it is another one."""
        db = sqlite3.connect(f'{self.folder}/other.db')
        self.addCleanup(db.close)
        db.execute('PRAGMA journal_mode=WAL')
        db.execute('ATTACH ? AS shop', (self.path,))
        with self.assertRaisesRegex(ValueError, 'They must be one file'):
            self.q.using(db)
        self.db.execute('ATTACH ? AS other', (f'{self.folder}/other.db',))
        with self.db:
            self.db.execute('CREATE TABLE other.log(n)')
            one = self.q.using(self.db).inc(1)
        eq_(one.status, 'enqueued')

    def test_rows_at_install(self) -> None:
        """Rows that are dicts, and texts that are bytes, are no hindrance to `install`."""
        for rows, texts in [(lambda cursor, row: dict(zip('abc', row)), str),
                            (sqlite3.Row, bytes), (None, lambda raw: raw.decode('latin-1'))]:
            db = sqlite3.connect(f'{self.folder}/rows.db')
            db.execute('PRAGMA journal_mode=WAL')
            db.row_factory, db.text_factory = rows, texts
            install(db)
            eq_((db.row_factory, db.text_factory), (rows, texts))
            queue = worq.get_queue(f'sqlite:///{self.folder}/rows.db?sync=off')
            before = len(queue)
            with db:
                one = queue.using(db).f()
                eq_(one.status, None)
            eq_((len(queue), one.status), (before + 1, 'enqueued'))
            db.close()

    def test_mode(self) -> None:
        """A file that was taken out of WAL mode is refused, and says what to do."""
        self.broker.close()
        self.db.execute('PRAGMA journal_mode=DELETE')
        with self.assertRaisesRegex(QueueError, 'PRAGMA journal_mode=WAL'):
            self.q.using(self.db)

    def test_tables_dropped(self) -> None:
        """Without the tables everybody says so; they can be made again."""
        self.q.inc(1)
        for name, in self.db.execute("SELECT name FROM sqlite_master WHERE type='table' "
                                     "AND name LIKE 'worq_%'").fetchall():
            self.db.execute(f'DROP TABLE {name}')
        for call in (lambda: self.q.using(self.db).inc(1), lambda: self.q.inc(1),
                     lambda: len(self.q)):
            with self.assertRaisesRegex(QueueError, 'no tables of queues.*install'):
                call()
        self.assertFalse(self.db.in_transaction)
        install(self.db)
        with self.db:
            one = self.q.using(self.db).inc(1)
        eq_((one.status, len(self.q)), ('enqueued', 1))
        self.sound()

    def test_the_application_tends_its_file(self) -> None:
        """VACUUM, foreign keys, and numbers of the application's change nothing."""
        self.db.execute('PRAGMA foreign_keys=ON')
        self.db.execute('PRAGMA recursive_triggers=ON')
        self.db.execute('CREATE TABLE one(n INTEGER PRIMARY KEY)')
        self.db.execute('CREATE TABLE many(n REFERENCES one)')
        with self.db:
            first = self.q.using(self.db).inc(1)
            self.q.using(self.db).inc(first)
        self.db.execute('PRAGMA user_version=7')
        self.db.execute('DELETE FROM orders')
        self.db.commit()
        self.db.execute('VACUUM')
        self.db.execute('PRAGMA wal_checkpoint(TRUNCATE)')
        with self.db:
            last = self.q.using(self.db).inc(first)
        self.work()
        eq_(last.result(30), 3)
        self.sound()
        eq_(self.db.execute('PRAGMA user_version').fetchone(), (7,))

    def test_constraint_fails_later(self) -> None:
        """A constraint that fails at the commit takes the call back with all else."""
        self.db.execute('PRAGMA foreign_keys=ON')
        self.db.execute('CREATE TABLE one(n INTEGER PRIMARY KEY)')
        self.db.execute('CREATE TABLE many(n REFERENCES one DEFERRABLE INITIALLY DEFERRED)')
        with self.assertRaises(sqlite3.IntegrityError), self.db:
            self.db.execute('INSERT INTO many VALUES (1)')
            one = self.q.using(self.db).inc(1)
        eq_((one.status, len(self.q)), ('unknown', 0))

    def test_wide_letters(self) -> None:
        """A database in UTF-16 is one as any other."""
        db = sqlite3.connect(f'{self.folder}/wide.db')
        self.addCleanup(db.close)
        db.execute("PRAGMA encoding='UTF-16'")
        db.execute('PRAGMA journal_mode=WAL')
        install(db)
        queue = sqlite.TaskQueue(f'sqlite:///{self.folder}/wide.db?sync=off')
        self.addCleanup(queue.close)
        with db:
            queue.using(db).put([message('\0ä'), message('b', '\0ä')])
        eq_([one.id for one in queue.take('p', 5)], ['\0ä'])
        eq_(queue.audit(), [])

    def test_subclass(self) -> None:
        """A class of its own may make other cursors, and count what is executed."""
        class Mine(sqlite3.Connection):
            def cursor(self, *args: Any, **kw: Any) -> Any:
                raise AssertionError('not by this')

            def execute(self, *args: Any) -> Any:
                raise AssertionError('nor this')
        db = self.connect(factory=Mine)
        with db:
            self.q.using(db).inc(1)
        eq_(len(self.q), 1)

    def test_callbacks(self) -> None:
        """Whoever looks at statements sees them; whoever forbids or interrupts them has the call
        refused, and nothing half of it."""
        seen: list[str] = []
        self.db.set_trace_callback(seen.append)
        with self.db:
            self.q.using(self.db).inc(1)
        self.assertTrue(any('worq_task' in statement for statement in seen))
        self.db.set_trace_callback(None)
        self.db.set_authorizer(lambda action, one, *rest: sqlite3.SQLITE_DENY
                               if one == 'worq_task' else sqlite3.SQLITE_OK)
        with self.assertRaisesRegex(QueueError, 'prohibited|not authorized'):
            self.q.using(self.db).inc(2)
        self.db.set_authorizer(None)
        self.assertFalse(self.db.in_transaction)
        self.db.execute('BEGIN')
        self.db.set_progress_handler(lambda: 1, 50)
        with self.assertRaisesRegex(QueueError, 'interrupted'):
            for _ in range(50):
                self.q.using(self.db).inc(3)
        self.db.set_progress_handler(None, 0)
        self.db.rollback()
        eq_(len(self.q), 1)
        self.sound()

    def test_exclusive(self) -> None:
        """Whatever kind of transaction a connection begins by itself."""
        for level in 'DEFERRED', 'IMMEDIATE', 'EXCLUSIVE':
            db = self.connect(isolation_level=level)
            with db:
                db.execute('INSERT INTO orders VALUES (1)')
                one = self.q.using(db).inc(1)
            eq_(one.status, 'enqueued')
        self.sound()
