"""What goes wrong with files: each time it is said what, and what to do; and nothing is lost."""
from __future__ import annotations

import fcntl
import os
from pathlib import Path
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
import unittest
from unittest import mock

from test import support
from test.queue.contract import message, outcome
from test.support import eq_, eventually, forked
import worq
from worq.errors import QueueError
from worq.queue.sqlite import disk, file, queue as sqlite, schema
from worq.queue.sqlite.address import parse
from worq.queue.sqlite.line import DROP, HAS_NEXT, SET, TAKE, Line

HOLD = '''
import fcntl, sqlite3, sys
if sys.argv[2] == 'line':
    held = open(sys.argv[1] + '-lock')
    fcntl.flock(held, fcntl.LOCK_EX)
else:
    held = sqlite3.connect(sys.argv[1], isolation_level=None)
    held.execute('BEGIN IMMEDIATE' if sys.argv[2] == 'write' else 'BEGIN')
    held.execute('SELECT count(*) FROM worq_task').fetchone()
print('held', flush=True)
sys.stdin.read()
'''


def stands(fd: int) -> bool:
    """Whether somebody is the next in line."""
    try:
        fcntl.fcntl(fd, SET, TAKE)
    except BlockingIOError:
        return True
    fcntl.fcntl(fd, SET, DROP)
    return False


class Files(unittest.TestCase):

    def setUp(self) -> None:
        self.folder = support.folder(self)
        self.path = os.path.join(self.folder, 'queue.db')

    def open(self, name: str = 'default', **options: object) -> sqlite.TaskQueue:
        q = sqlite.TaskQueue(f'sqlite:///{self.path}', name, **{'sync': 'off', **options})
        self.addCleanup(q.close)
        return q

    def fails(self, q: sqlite.TaskQueue, what: str, **fields: object) -> None:
        """Every kind of verb says so."""
        for call in [lambda: q.put([message('x')]), lambda: q.take('p', 1), q.stats]:
            with self.assertRaisesRegex(QueueError, what) as caught:
                call()
            for name, value in fields.items():
                eq_(getattr(caught.exception, name), value)

    def hold(self, how: str) -> None:
        """Another program that holds the file."""
        other = subprocess.Popen([sys.executable, '-c', HOLD, self.path, how],
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(other.wait)
        self.addCleanup(other.communicate)
        assert other.stdout is not None
        eq_(other.stdout.readline(), b'held\n')

    # -- addresses ----------------------------------------------------------------

    def test_addresses(self) -> None:
        """A file has one address, however it is written; what is none is refused at once."""
        here = os.getcwd()
        for url, path in [('sqlite:///a.db', f'{here}/a.db'), ('sqlite:////x/a.db', '/x/a.db'),
                          ('sqlite:////x/../y/a.db', '/y/a.db'),
                          ('sqlite:////x/a%20%3f.db', '/x/a ?.db')]:
            eq_(parse(url).path, path)
            eq_(parse(parse(url).url), parse(url))
        eq_(parse('sqlite:////x.db?sync=full&retry_for=2')[2:], ('full', 2.0))
        eq_(parse('sqlite:////x.db?sync=full', 'off', 3)[2:], ('off', 3))
        for url in ['sqlite://', 'sqlite:///', 'sqlite://a.db', 'sqlite://host/a.db',
                    'sqlite:///:memory:', 'sqlite:///a/', 'sqlite:///a.db#x', 'sqlite:///a%00',
                    'sqlite:///a.db?sync=often', 'sqlite:///a.db?x=1', 'sqlite:///a.db?retry_for=x',
                    'sqlite:///a.db?retry_for=-1']:
            with self.assertRaises(ValueError, msg=url):
                sqlite.TaskQueue.open(url)
        with self.assertRaisesRegex(TypeError, "no option 'strict'"):
            sqlite.TaskQueue.open('sqlite:///a.db', strict=True)

    def test_any_name(self) -> None:
        """A file may have any name, and so may its queues, which share nothing."""
        self.path = os.path.join(self.folder, 'a %25 ?&#é.db')
        url = parse('sqlite:///' + self.path.replace('%', '%25').replace('?', '%3f')
                    .replace('#', '%23'))
        eq_(url.path, self.path)
        names = ['default', 'a\0b', 'é', "'"]
        queues = [sqlite.TaskQueue(url.url, name) for name in names]
        for n, q in enumerate(queues):
            self.addCleanup(q.close)
            eq_(q.put([message(f'{n}', body=bytes(2_000)), message('same', f'{n}')]), [])
        for n, q in enumerate(queues):
            one, = q.take('p', 9)
            eq_((one.id, q.size()), (f'{n}', 2))
            eq_(q.settle('p', [outcome(one, data=bytes(3_000 + n))]), ['ok'])
            (_, raw), = q.take('p', 9)[0].arguments
            eq_(len(raw) % 1_000 % 100, (12 + 1 + n) % 100)
            eq_(q.audit(), [])
        self.assertEqual(sorted(os.listdir(self.folder))[0], 'a %25 ?&#é.db')

    # -- places -------------------------------------------------------------------

    def test_modes(self) -> None:
        """The file, and those beside it, are their owner's alone."""
        before = os.umask(0)
        try:
            self.open().put([message('a')])
        finally:
            os.umask(before)
        modes = {name: stat.S_IMODE(os.stat(os.path.join(self.folder, name)).st_mode)
                 for name in os.listdir(self.folder)}
        eq_(modes, {f'queue.db{end}': 0o600 for end in ('', '-wal', '-shm', '-lock')})

    def test_shared(self) -> None:
        """What is in a file is signed by the user's key; where others may write, by a secret."""
        home = mock.patch.dict(os.environ, XDG_STATE_HOME=self.folder)
        home.start()
        self.addCleanup(home.stop)
        os.environ.pop('WORQ_SECRET', None)
        url = f'sqlite:///{self.path}'
        for _ in 'made', 'found':
            with worq.get_broker(url) as broker:
                self.assertIsNotNone(broker.codec.keys)
                broker.backend.put([message('a')])
        os.chmod(self.path, 0o660)
        with self.assertRaisesRegex(ValueError, 'can be written by others, so its .* signed'):
            worq.get_broker(url)
        worq.get_broker(url, secret='a secret of some length').close()

    def test_no_place(self) -> None:
        """A folder that is not there, or is not ours to write in, is named."""
        self.path = os.path.join(self.folder, 'none', 'queue.db')
        self.fails(self.open(), 'there is no folder .*/none')
        os.mkdir(os.path.dirname(self.path))
        with mock.patch.object(os, 'access', lambda path, mode: path != os.path.dirname(self.path)):
            self.fails(self.open(), 'none cannot be written by this user')
        with open(self.path, 'w'):
            pass
        with mock.patch.object(os, 'access', lambda path, mode: path != self.path):
            self.fails(self.open(), 'queue.db cannot be read and written')
        os.unlink(self.path)
        os.mkdir(self.path)
        self.fails(self.open(), 'is not a file')
        os.rmdir(self.path)
        eq_(self.open().put([message('a')]), [])

    def test_other_machines(self) -> None:
        """A disk that other machines may write to is refused by name, unless one insists."""
        mounts = os.path.join(self.folder, 'mounts')
        Path(mounts).write_text(
            '1 0 0:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /mnt/a\\040b rw shared:1 - nfs4 host: rw\n'
            '3 1 0:3 / /mnt/a\\040b/c rw - tmpfs none rw\n4 1 0:4 / /s rw - fuse.sshfs x rw\n'
            '5 1 0:4 / /o rw - fuse.fuse-overlayfs x rw\n6 1 0:4 / /over rw - nfs x rw\n'
            '7 1 0:4 / /over rw - ext4 x rw\n')
        for path, kind in [('/mnt/a b/q.db', 'nfs4'), ('/mnt/a b/c/q.db', ''), ('/q.db', ''),
                           ('/s/q.db', 'fuse.sshfs'), ('/mnt/a bc/q.db', ''), ('/o/q.db', ''),
                           ('/over/q.db', '')]:
            eq_(disk.remote_kind(path, mounts), kind)
        eq_(disk.remote_kind('/q.db', '/none'), '')
        for kind in ['nfs', 'cifs', 'smb3', '9p', 'virtiofs', 'ceph', 'lustre']:
            self.assertTrue(disk.REMOTE.fullmatch(kind), kind)
        with mock.patch.object(disk, 'remote_kind', lambda path: 'nfs4'):
            self.fails(self.open(), r'other machines may write to \(nfs4\).*anywhere=True')
            eq_(self.open(anywhere=True).put([message('a')]), [])

    def test_full_disk(self) -> None:
        """Before a disk is full puts are refused; what is queued is worked off from the reserve."""
        mounted = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=12m', 'none', self.folder],
                                 capture_output=True, text=True)
        if mounted.returncode:
            reason = f'NO DISK TO FILL, so a full one is not tested: {mounted.stderr.strip()}'
            print(f'\n*** {reason}\n', file=sys.stderr)
            raise unittest.SkipTest(reason)
        self.addCleanup(subprocess.run, ['umount', '-l', self.folder], check=True)
        q = self.open()
        with self.assertRaisesRegex(QueueError, 'nearly full'):
            for n in range(100):
                q.put([message(f'{n}-{i}', body=bytes(9_000)) for i in range(50)])
        queued = q.size()
        self.assertGreater(queued, 200)
        while taken := q.take('p', 100):
            eq_(set(q.settle('p', [outcome(one, data=bytes(900)) for one in taken])), {'ok'})
        eq_((q.stats()['succeeded'], q.audit()), (queued, []))
        # What the disk cannot hold at all changes nothing, also where it was not foreseen.
        with mock.patch.object(disk, 'check_room'), \
                self.assertRaisesRegex(QueueError, 'is full: free some space'):
            q.put([message('huge', body=bytes(8 << 20))])
        eq_((q.status(['huge']), q.audit()), ([None], []))

    # -- other programs -----------------------------------------------------------

    def test_held(self) -> None:
        """Who holds the file for longer than one waits is named; then one goes on."""
        q = self.open(retry_for=0.05)
        q.put([message('a')])
        for how in 'line', 'write':
            self.hold(how)
            with self.assertRaisesRegex(QueueError, r'for 0\.05 seconds; .* \(pid \d+\) has it'):
                q.put([message('b')])
            eq_(q.status(['a', 'b']), ['enqueued', None])   # who looks need not wait
            with q.within(0.01), self.assertRaisesRegex(QueueError, 'seconds; '):
                q.take('p', 1)
            self.doCleanups()
            q = self.open(retry_for=0.05)
            self.folder = support.folder(self)
            self.path = os.path.join(self.folder, 'queue.db')
            q = self.open(retry_for=0.05)
            q.put([message('a')])

    def test_line(self) -> None:
        """The line is handed on, and who has left it does not hold it up."""
        Path(self.path).touch()
        fds = [os.open(self.path, os.O_RDWR) for _ in '123']
        for fd in fds:
            self.addCleanup(os.close, fd)
        first, second, third = map(Line, fds)
        self.assertTrue(first.enter(0))
        self.assertFalse(second.enter(0))
        self.assertFalse(second.enter(0.01))   # its thread stands there still
        got = threading.Event()
        thread = threading.Thread(target=lambda: third.enter(30) and got.set())
        thread.start()
        first.leave()
        self.assertTrue(got.wait(30))
        thread.join()
        third.leave()
        self.assertTrue(second.enter(30))
        second.leave()

    @unittest.skipUnless(HAS_NEXT, 'the system has no second lock')
    def test_nobody_gets_past_the_next(self) -> None:
        """Who has let go of the line, and is awake, does not get it again before who waits."""
        Path(self.path).touch()
        fds = [os.open(self.path, os.O_RDWR) for _ in '123']
        for fd in fds:
            self.addCleanup(os.close, fd)
        busy, patient, other = map(Line, fds)
        turns: list[str] = []
        for _ in range(20):
            self.assertTrue(busy.enter(30))

            def write() -> None:
                self.assertTrue(patient.enter(30))
                turns.append('patient')
                patient.leave()
            thread = threading.Thread(target=write)
            thread.start()
            eventually(lambda: stands(fds[2]), True)
            busy.leave()
            while not busy.enter(0):
                pass
            turns.append('busy')
            busy.leave()
            thread.join(30)
        eq_(turns, ['patient', 'busy'] * 20)

    def test_bytes_of_a_task(self) -> None:
        """A call that is queued takes no more of the file than is told of it."""
        broker = worq.get_broker(f'sqlite:///{self.path}?sync=off')
        self.addCleanup(broker.close)
        queue = broker.queue()

        def size() -> int:
            with sqlite3.connect(self.path) as db:
                pages, = db.execute('PRAGMA page_count').fetchone()
                each, = db.execute('PRAGMA page_size').fetchone()
            db.close()
            return int(pages * each)
        calls = [queue.text.count('some words', n) for n in range(100)]
        before = size()
        calls += [queue.text.count('some words', n) for n in range(400)]
        each = (size() - before) / 400
        eq_(broker.backend.stats()['enqueued'], len(calls))
        self.assertTrue(100 < each <= 600, each)

    def test_not_ours(self) -> None:
        """A database of something else is left alone."""
        with sqlite3.connect(self.path) as db:
            db.execute('CREATE TABLE orders(x)')
        db.close()
        self.fails(self.open(), "something else: it has the table 'orders'")
        eq_(os.path.exists(self.path + '-wal'), False)
        Path(self.path).write_bytes(b'no database at all' * 1_000)
        self.fails(self.open(), 'is no database')

    def test_newer(self) -> None:
        """A file of another schema is not touched, and both numbers are told; a newer revision is
        none of ours."""
        q = self.open()
        q.put([message('a')])
        db = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(db.close)
        db.execute('UPDATE worq_schema SET revision=7')
        db.execute("UPDATE worq_queue SET meta=json_set(meta, '$.new', 'kept')")
        eq_(q.put([message('b')]), [])
        eq_(db.execute("SELECT json_extract(meta, '$.new'), revision FROM worq_queue, worq_schema"
                       ).fetchone(), ('kept', 7))
        db.execute('UPDATE worq_schema SET schema=9')
        for queue in q, self.open():
            self.fails(queue, 'has the schema 9', schemas=(9, schema.SCHEMA))
        db.execute('UPDATE worq_schema SET schema=1')
        eq_(q.status(['a', 'x']), ['enqueued', None])

    def test_damaged(self) -> None:
        """What is damaged is said to be; what can be read is not lost."""
        q = self.open()
        q.put([message(f'a{n}', body=bytes(900)) for n in range(300)])
        q.close()
        with open(self.path, 'r+b') as content:
            content.seek(4096 * 20)
            content.write(b'\xff' * 4096 * 4)
        self.assertIn('the file is damaged', '\n'.join(self.damage(q)))

    def damage(self, q: sqlite.TaskQueue) -> list[str]:
        try:
            return q.audit()
        except QueueError as error:
            self.assertIn('.recover', str(error))
            return ['the file is damaged']

    def test_replaced(self) -> None:
        """A file that is deleted or replaced while it is in use is missed, and then used anew."""
        q = self.open()
        for what, change in [('deleted', os.unlink), ('replaced', self.replace)]:
            q.put([message('a')])
            eq_(q.stats()['enqueued'], 1)
            change(self.path)
            for call in [lambda: q.put([message('x')]), q.stats]:
                with self.assertRaisesRegex(QueueError, f'was {what}.* while it was in use'):
                    call()
            eq_(q.put([message('b')]), [])
            eq_((q.status(['a', 'b']), q.audit()), ([None, 'enqueued'], []))
            q.close()
            os.unlink(self.path)

    def replace(self, path: str) -> None:
        q = sqlite.TaskQueue(f'sqlite:///{path}.new', sync='off')
        q.put([message('other')])
        q.close()
        os.unlink(path + '-wal')
        shutil.move(path + '.new', path)

    def test_log_grows(self) -> None:
        """A log that somebody reads from for long is told of, and begun anew after it."""
        q = self.open()
        q.put([message('a')])
        reader = sqlite3.connect(self.path, isolation_level=None)
        self.addCleanup(reader.close)
        reader.execute('BEGIN')
        reader.execute('SELECT count(*) FROM worq_task').fetchone()
        with mock.patch.object(file, 'LOG', 100_000), mock.patch.object(file, 'CARE', 0.0):
            q._file._care_at = 0
            with self.assertLogs('worq', 'WARNING') as logged:
                for n in range(4):
                    q.put([message(f'b{n}', body=bytes(200_000))])
            eq_(len(logged.output), 1)
            self.assertIn('somebody has been reading', logged.output[0])
            reader.execute('COMMIT')
            q.put([message('c')])
            self.assertLess(os.path.getsize(self.path + '-wal'), 200_000)

    # -- forks and threads ----------------------------------------------------------

    def test_fork(self) -> None:
        """A fork opens the file itself, even while its parent writes; who goes on is not hurt."""
        q = self.open(sync='second')
        q.put([message('a')])
        eq_(q.stats()['enqueued'], 1)

        def child() -> None:
            eq_(q.watch('c', ['a']), [])
            eq_(q.stats()['enqueued'], 1)
            eq_(q.put([message('b')]), [])
            eq_([id for id, _ in q.wait('c', 0)], [])
            q.close()

        def reader() -> None:
            eq_(q.stats()['enqueued'], 2)

        with q._file.lock, q._file.reading:
            eq_(forked(child), 0)
        eq_((forked(reader), forked(q.close)), (0, 0))
        eq_(q.put([message('c')]), [])
        eq_((q.status(['a', 'b', 'c']), q.audit()), (['enqueued'] * 3, []))

    def test_threads(self) -> None:
        """Any number of threads may use one queue, and any number of queues one file."""
        queues = [self.open(retry_for=60) for _ in '12']
        failed: list[BaseException] = []

        def work(n: int) -> None:
            try:
                q = queues[n % 2]
                for i in range(15):
                    eq_(q.put([message(f'{n}-{i}')]), [])
                    eq_(q.settle('p', [outcome(one) for one in q.take('p', 1)]), ['ok'])
            except BaseException as error:
                failed.append(error)
        threads = [threading.Thread(target=work, args=[n]) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        eq_(failed, [])
        eq_((queues[0].stats()['succeeded'], queues[1].audit()), (90, []))

    def test_within(self) -> None:
        """A call from within another one of the same queue raises, and has done nothing."""
        q = self.open()
        q.put([message('a')])

        def clock() -> int:
            with self.assertRaisesRegex(RuntimeError, 'in use'):
                q.put([message('b')])
            return sqlite.wall()
        q.clock = clock
        eq_(q.put([message('c')]), [])
        q.clock = sqlite.wall
        eq_((q.status(['a', 'b', 'c']), q.audit()), (['enqueued', None, 'enqueued'], []))
