"""A file with queues: opened, checked and locked; and what becomes of SQLite's errors."""
from __future__ import annotations

import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from worq.errors import QueueError
from worq.lock import Lock
from worq.printable import logger
from worq.queue.sqlite import disk
from worq.queue.sqlite.address import Address
from worq.queue.sqlite.install import check_mode, make_tables
from worq.queue.sqlite.line import Line
from worq.queue.sqlite.schema import APPLICATION, REVISION, SCHEMA
from worq.queue.sqlite.sync import Syncer

__all__ = ['File']

PRAGMAS = ['synchronous={sync}', 'cache_size=-16000', 'journal_size_limit=16777216',
           'temp_store=MEMORY', 'trusted_schema=OFF', 'cell_size_check=ON', 'fullfsync=ON',
           'checkpoint_fullfsync=ON']
LOG = 16 << 20      # bytes of the log beyond which it is not left to SQLite when to begin it anew
CARE = 1.0          # seconds between two looks at it
STEP = 0.5          # seconds to wait for strangers, as multiples
SPARE = 1_000       # pages that are free, and stay in the file
SHRINK = 256        # ... that are given back in a step
FAILURES = 3        # of such tries, until it is said

OURS = ("SELECT s.schema, s.revision, q.q, q.meta FROM worq_schema s "
        "LEFT JOIN worq_queue q ON q.name=?")

log = logger(__name__)
T = TypeVar('T')
Work = Callable[[sqlite3.Connection, int, str | None], T]


class File:
    """One database: a connection that writes, and one that reads.

    :param address: where it is.
    :param anywhere: also on a disk that other machines may write to, which is not safe.
    """

    def __init__(self, address: Address, anywhere: bool) -> None:
        self.path = address.path
        self._sync = address.sync
        self._patience = address.retry_for
        self._anywhere = anywhere
        self._set_up()
        _files.add(self)

    def _set_up(self) -> None:
        self.lock = Lock()                # around `_writer`
        self.reading = Lock()             # around `_reader`
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._lock_fd = -1
        self._line: Line | None = None
        self._syncer: Syncer | None = None
        self._writes: tuple[int, int] | None = None   # which file the writer has open
        self._reads: tuple[int, int] | None = None
        self._waits = -1.0   # seconds that the writer waits for strangers; below 0: unknown
        self._care_at = 0.0
        self._failures = 0
        self._less = threading.local()    # patience, see `within`

    def abandon(self) -> None:
        """In a fork: what is open is the parent's. It is not closed, for that would change it."""
        _parents.append((self._writer, self._reader))
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
        if self._syncer is not None:
            self._syncer.dirty = False
            with suppress(OSError):
                os.close(self._syncer.fd)
            self._syncer.fd = -1
        self._set_up()

    # -- use --------------------------------------------------------------------

    def write(self, name: bytes, work: Work[T]) -> T:
        """Do something in a transaction: all of it, or nothing.

        :param work: is called with the connection, the number of the queue of this name, and
            what it keeps in numbers. The caller has `lock`.
        :raises QueueError: if it cannot be done.
        """
        begun = time.monotonic()
        try:
            writer = self._writer or self._open()
            changed = self._changed(self._writes)
            if changed:
                self._close_writer()
                raise QueueError(changed)
            self._enter(self.patience)
            try:
                try:
                    result = self._transact(writer, name, work, begun)
                except sqlite3.Error as error:
                    if getattr(error, 'sqlite_errorcode', 0) & 0xff != sqlite3.SQLITE_FULL:
                        raise
                    self._begin_log(writer)   # that gives back what it took of the disk
                    result = self._transact(writer, name, work, begun)
                if self._syncer is not None and time.monotonic() >= self._care_at:
                    self._care(writer)
            finally:
                if self._line is not None:
                    self._line.leave()
        except sqlite3.Error as error:
            raise self.explain(error) from error
        if self._sync == 'second' and self._syncer is not None:
            self._syncer.wrote()
        return result

    def _transact(self, db: sqlite3.Connection, name: bytes, work: Work[T], begun: float) -> T:
        if db.in_transaction:   # a signal handler has interrupted the end of another one
            db.execute('ROLLBACK')
        wait = self._patience
        if hasattr(self._less, 'until'):
            # In steps, for else each verb would set it to another value, and back.
            wait = min(max(self.patience - (time.monotonic() - begun), 0) // STEP * STEP + STEP,
                       self._patience)
        if wait != self._waits:
            db.execute(f'PRAGMA busy_timeout={wait * 1_000:.0f}')
            self._waits = wait
        try:
            db.execute('BEGIN IMMEDIATE')
            result = work(db, *self.look_up(db, name))
            db.execute('COMMIT')
            return result
        except BaseException:
            if db.in_transaction:   # a full disk has ended it already
                db.execute('ROLLBACK')
            raise

    def look_up(self, db: sqlite3.Connection, name: bytes) -> tuple[int, str | None]:
        """The number of a queue, and what it keeps in numbers, in a transaction that writes."""
        schema, revision, q, meta = self._queue(db, name)
        if q is None:
            q, = db.execute('SELECT ifnull(max(q) + 1, 0) FROM worq_queue').fetchone()
            db.execute("INSERT INTO worq_queue VALUES(?,?,'')", (q, name))
        if revision < REVISION:
            db.execute('UPDATE worq_schema SET revision=?', (REVISION,))
        return q, meta

    def read(self, name: bytes, work: Work[T]) -> T:
        """Look at the queue as it is at this moment, beside whoever writes.

        The caller has `reading`.
        """
        try:
            if self._reader is None:
                with self.lock:
                    if self._writer is None:
                        self._open()
                self._reader = self._connect()
                self._reader.execute('PRAGMA query_only=ON')
                status = os.stat(self.path)
                self._reads = status.st_dev, status.st_ino
            changed = self._changed(self._reads)
            if changed:
                self._reader.close()
                self._reader = None
                raise QueueError(changed)
            db = self._reader
            if db.in_transaction:
                db.execute('ROLLBACK')
            db.execute('BEGIN')
            try:
                _, _, q, meta = self._queue(db, name)
                return work(db, -1 if q is None else q, meta)
            finally:
                if db.in_transaction:
                    db.execute('ROLLBACK')
        except sqlite3.Error as error:
            raise self.explain(error) from error

    @staticmethod
    def _queue(db: sqlite3.Connection, name: bytes) -> tuple[int, int, int | None, str | None]:
        found = db.execute(OURS, (name,)).fetchone()
        if found is None:
            raise QueueError('its tables have been emptied')
        if found[0] != SCHEMA:
            error = QueueError(
                f'this queue has the schema {found[0]}, and this program knows {SCHEMA} alone: use '
                'programs of one version of WorQ, or let the others work it off first')
            error.schemas = found[0], SCHEMA
            raise error
        return found   # type: ignore[no-any-return]

    @property
    def patience(self) -> float:
        """Seconds to wait for others who write."""
        until = getattr(self._less, 'until', None)
        return self._patience if until is None else max(
            min(until - time.monotonic(), self._patience), 0.05)

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Inside it, this thread waits less long."""
        before = getattr(self._less, 'until', None)
        self._less.until = time.monotonic() + seconds
        try:
            yield
        finally:
            if before is None:
                del self._less.until
            else:
                self._less.until = before

    def changes(self) -> int:
        """A number that is another one when others have written. The caller has `reading`."""
        if self._reader is None:
            return 0
        number: int = self._reader.execute('PRAGMA data_version').fetchone()[0]
        return number

    def has_content(self) -> bool:
        """Whether anybody has written to it, be it not in the log only."""
        try:
            return os.stat(self.path).st_size > 0
        except FileNotFoundError:
            return False

    def check_room(self) -> None:
        """QueueError if nothing more should be queued on this disk."""
        disk.check_room(self.path)

    def shared(self) -> bool:
        """Whether others than this user may write to it."""
        try:
            status = os.stat(self.path)
        except OSError:
            return False   # it is made so that they may not
        return status.st_uid != os.geteuid() or status.st_mode & 0o022 != 0

    # -- transactions of the application's, see `using` ---------------------------

    def hold(self, transaction: Any) -> None:
        """One of this thread's writes to the file."""
        _theirs[self.path] = threading.get_ident(), transaction

    def check_within(self) -> None:
        """QueueError if this thread would wait for the end of its own transaction, in vain."""
        known = _theirs.get(self.path)
        if known is None or known[0] != threading.get_ident():
            return
        if known[1].has_put():
            raise QueueError(
                f'this thread has a transaction open that writes to {self.path}, for which all '
                'others wait: commit it first, or call by q.using(connection)')
        _theirs.pop(self.path, None)

    @contextmanager
    def in_line(self) -> Iterator[None]:
        """Stand in line with those who write, to begin a transaction by another connection."""
        try:
            fd = os.open(f'{self.path}-lock', os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:   # nobody has used the file
            yield
            return
        line = Line(fd)
        entered = line.enter(self.patience)
        try:
            yield
        finally:
            if entered:
                line.leave()
            os.close(fd)

    def is_written(self) -> bool:
        """Whether somebody is in a transaction that writes to it."""
        db = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            db.execute('BEGIN IMMEDIATE')
            return False
        except sqlite3.OperationalError:
            return True
        finally:
            db.close()

    # -- open and close -----------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        # Not to be made anew, with other rights, if it has just been deleted.
        name = self.path.replace('%', '%25').replace('?', '%3f').replace('#', '%23')
        db = sqlite3.connect(f'file:{name}?mode=rw', timeout=self._patience, uri=True,
                             isolation_level=None, check_same_thread=False, cached_statements=512)
        try:
            for pragma in PRAGMAS:
                db.execute('PRAGMA ' + pragma.format(
                    sync='FULL' if self._sync == 'full' else 'NORMAL'))
        except BaseException:   # it is no database
            db.close()
            raise
        return db

    def _open(self) -> sqlite3.Connection:
        disk.check_folder(self.path)
        kind = '' if self._anywhere else disk.remote_kind(self.path)
        if kind:
            raise QueueError(
                f'{self.path} is on a disk that other machines may write to ({kind}), where SQLite '
                "is not safe: use a local disk, or a queue on Redis. If it is this machine's "
                'alone all the same: anywhere=True')
        try:
            return self._open_all()
        except OSError as error:
            raise QueueError(f'{self.path} cannot be opened: {error}') from error

    def _open_all(self) -> sqlite3.Connection:
        """The database, the line, and the log."""
        disk.make(self.path)
        status = os.stat(self.path)
        lock = f'{self.path}-lock'
        self._lock_fd = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0 or status.st_mode & 0o077:   # whoever may write there must get in
            with suppress(OSError):
                os.fchown(self._lock_fd, status.st_uid, status.st_gid)
                os.fchmod(self._lock_fd, status.st_mode & 0o666)
        self._line = Line(self._lock_fd)
        db = None
        try:
            self._enter(self.patience)
            db = self._connect()
            self._prepare(db)
            status = os.stat(self.path)   # SQLite has made the rest
            self._writes = status.st_dev, status.st_ino
            fd = os.open(f'{self.path}-wal', os.O_RDWR | os.O_CLOEXEC)
            self._syncer = Syncer(fd)
            self._writer, self._waits = db, -1.0
            return db
        finally:
            if self._writer is None and db is not None:
                db.close()
            self._line.leave()
            if self._writer is None:
                os.close(self._lock_fd)
                self._lock_fd = -1

    def _prepare(self, db: sqlite3.Connection) -> None:
        """Have the tables in it, in a log that readers need not wait for."""
        names = {name for name, in db.execute("SELECT name FROM sqlite_master WHERE type='table'")}
        if names and 'worq_schema' not in names:
            raise QueueError(f'{self.path} is a database of something else: it has the table '
                             f'{min(names)!r}, and none of a queue. worq.queue.sqlite.install(con'
                             'nection) gives it those, if they are to be in one file')
        if not names:
            db.execute('PRAGMA auto_vacuum=INCREMENTAL')
        if not names or db.execute('PRAGMA application_id').fetchone() == (APPLICATION,):
            mode, = db.execute('PRAGMA journal_mode=WAL').fetchone()
            if mode != 'wal':
                raise QueueError(f'{self.path}: SQLite cannot keep a log here ({mode})')
        else:
            check_mode(db, self.path)
        if not names:
            db.execute('BEGIN IMMEDIATE')
            db.execute(f'PRAGMA application_id={APPLICATION}')
            make_tables(db)
            db.execute('COMMIT')

    def _changed(self, which: tuple[int, int] | None) -> str:
        """What has become of the file, if it is not this one any more."""
        try:
            status = os.stat(self.path)
            if (status.st_dev, status.st_ino) == which:
                return ''
            what = 'replaced by another one'
        except FileNotFoundError:
            what = 'deleted'
        except OSError as error:
            what = f'made unreachable ({error.strerror})'
        return (f'{self.path} was {what} while it was in use; what was in it is lost to this '
                'queue. The next call opens what is there then')

    def _enter(self, patience: float) -> None:
        assert self._line is not None
        if not self._line.enter(patience):
            raise QueueError(self._held(patience))

    def _held(self, patience: float) -> str:
        who = disk.holders(f'{self.path}-lock') or disk.holders(self.path)
        return (f'others have been writing to {self.path} for {patience:g} seconds'
                + (f'; {who} has it open' if who else ''))

    def _care(self, db: sqlite3.Connection) -> None:
        """Begin the log anew, if that has become long, and nobody reads what is in it."""
        self._care_at = time.monotonic() + CARE
        assert self._syncer is not None
        free, = db.execute('PRAGMA freelist_count').fetchone()
        if free > SPARE:   # nothing comes of it in a file that was not made by us
            # A script, for `execute` makes one step of it, which gives back a single page.
            db.executescript(f'PRAGMA incremental_vacuum({min(free - SPARE, SHRINK)})')
        if os.fstat(self._syncer.fd).st_size <= LOG:
            return
        self._failures = 0 if self._begin_log(db) else self._failures + 1
        if self._failures == FAILURES:
            size = os.fstat(self._syncer.fd).st_size >> 20
            who = disk.holders(self.path)
            log.warning('the log of %s has grown to %s MiB, for somebody has been reading for '
                        'long%s', self.path, size, f'. {who} has it open' if who else '')

    def _begin_log(self, db: sqlite3.Connection) -> bool:
        """Move what is in the log to its place, and begin it anew; whether that could be done."""
        db.execute('PRAGMA busy_timeout=0')
        try:
            busy, *_ = db.execute('PRAGMA wal_checkpoint(TRUNCATE)').fetchone()
        finally:
            self._waits = -1.0   # the next verb says how long
        return not busy

    def close(self) -> None:
        """Close it. It is opened again when it is used."""
        with self.reading, self.lock:
            self._close_both()

    def _close_both(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(sqlite3.Error):
                reader.close()
        self._close_writer()

    def _close_writer(self) -> None:
        writer, self._writer = self._writer, None
        if self._syncer is not None:
            self._syncer.close()
            self._syncer = None
        if writer is not None:
            with suppress(sqlite3.Error):
                writer.close()
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __del__(self) -> None:
        # While the interpreter ends no other thread runs that could be waited for.
        if not sys.is_finalizing() and getattr(self, '_lock_fd', -1) >= 0:
            self._close_both()

    def explain(self, error: sqlite3.Error) -> QueueError:
        """What an error of SQLite means, and what to do about it."""
        code = getattr(error, 'sqlite_errorcode', 0) & 0xff
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return QueueError(self._held(self.patience))
        if code == sqlite3.SQLITE_FULL:
            return QueueError(f'the disk of {self.path} is full: free some space')
        if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return QueueError(
                f'{self.path} is damaged ({error}), or is no database. Stop what uses it, and save '
                f"what can be saved: sqlite3 {self.path} .recover | sqlite3 NEW")
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
            return QueueError(f'{self.path} cannot be written: {error}. This user must be able to '
                              'write to it, to its folder, and to the files beside it')
        if 'no such table: worq_' in str(error):
            return QueueError(f'{self.path} has no tables of queues (any more): {error}. '
                              'worq.queue.sqlite.install(connection) makes them')
        return QueueError(f'{self.path}: {error}')


_files: weakref.WeakSet[File] = weakref.WeakSet()
# By file: the thread that has put something there by `using` last, and in which transaction.
_theirs: dict[str, tuple[int, Any]] = {}
_parents: list[Any] = []   # connections that a fork has of its parent; never used or closed


def _forked() -> None:
    _theirs.clear()
    for file in list(_files):
        file.abandon()


os.register_at_fork(after_in_child=_forked)
