"""Where a secret comes from: the address, the environment, the key file of the user."""
from __future__ import annotations

import os
import stat
import tempfile
import threading
import warnings
from pathlib import Path
from unittest import TestCase, mock

from worq import trust
from worq.codec import UNSIGNED, Keyring, keyring_for

SECRET = 'sixteen bytes or more'
KEYS = Keyring([SECRET])

LOCAL = ['redis://localhost', 'redis://localhost:6379/0', 'redis://LOCALHOST', 'redis://',
         'redis:///1', 'redis://127.0.0.1:1', 'redis://127.8.8.8', 'redis://[::1]:6379/0',
         'rediss://user:pa@ss@localhost:6379', 'unix:///run/redis.sock?db=1',
         'unix://user:password@/run/redis.sock', 'redis://:6379',
         'redis+sentinel://localhost:1,127.0.0.1:2,[::1]:3/mymaster',
         'redis+cluster://127.0.0.1:7000,127.0.0.1:7001']
REMOTE = ['redis://example.org', 'redis://10.0.0.1:6379', 'redis://localhost@example.org',
          'redis://localhost.example.org', 'redis://[fe80::1]:6379', 'redis://0.0.0.0',
          'redis://127.0.0.1.example.org', 'rediss://user:localhost@10.1.1.1/0',
          'redis+sentinel://localhost:1,10.0.0.2:2/mymaster', 'redis:///0?host=example.org',
          'redis+cluster://127.0.0.1:7000,example.org:7001', 'redis://localhost,example.org']


class Addresses(TestCase):

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.home = folder.name
        self.environ = {'HOME': folder.name}
        self.key = Path(folder.name, '.local', 'state', 'worq', 'key')

    def test_memory(self) -> None:
        """In memory nothing is signed, asked for or written."""
        for secret in [None, SECRET, UNSIGNED]:
            self.assertIsNone(keyring_for('memory://', secret, {'WORQ_SECRET': SECRET}))

    def test_memory_tells_of_a_bad_secret(self) -> None:
        """A secret that would be refused elsewhere is refused in memory, where it signs nothing."""
        for secret, error in [('short', ValueError), ([], ValueError), ([SECRET, 7], TypeError)]:
            with self.assertRaises(error):
                keyring_for('memory://', secret)

    def test_local(self) -> None:
        """On this machine a key of the user is made and used, without configuration."""
        for url in LOCAL:
            keys = keyring_for(url, environ=self.environ)
            self.assertIsNotNone(keys, url)
            self.assertEqual(keys.signs, Keyring([self.key.read_text().strip()]).signs)

    def test_remote(self) -> None:
        """Any other machine needs a secret; the error of three lines says how to set it."""
        for url in REMOTE:
            with self.assertRaises(ValueError) as caught:
                keyring_for(url, environ=self.environ)
            lines = str(caught.exception).splitlines()
            self.assertEqual(len(lines), 3, url)
            self.assertIn('WORQ_SECRET', lines[1])
            self.assertIn('secret=worq.UNSIGNED', lines[2])
        self.assertFalse(self.key.exists())

    def test_password(self) -> None:
        """The password of an address is in no error and no warning."""
        url = 'redis://user:hunter2@example.org:6379/0'
        with self.assertRaises(ValueError) as caught:
            keyring_for(url, environ={})
        self.assertNotIn('hunter2', str(caught.exception))
        self.assertIn('redis://example.org:6379/0', str(caught.exception))
        with mock.patch.object(trust, '_warned', False), warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            keyring_for(url, UNSIGNED, {})
        self.assertNotIn('hunter2', str(w[0].message))

    def test_given(self) -> None:
        """secret= counts first, then WORQ_SECRET, then the key file, wherever the Redis is."""
        environ = {'WORQ_SECRET': 'of the environment', 'HOME': self.home}
        for url in ['redis://localhost', 'redis://example.org']:
            for secret in [SECRET, SECRET.encode(), [SECRET], (SECRET, 'and an older one..')]:
                keys = keyring_for(url, secret, environ)
                self.assertEqual(keys.signs, KEYS.signs)
            keys = keyring_for(url, None, environ)
            self.assertEqual(keys.signs, Keyring(['of the environment']).signs)
        self.assertFalse(self.key.exists())

    def test_given_several(self) -> None:
        """WORQ_SECRET may hold several, separated by commas; an empty one is none."""
        environ = {'WORQ_SECRET': f' {SECRET} , the older secret, 16,'}
        with self.assertRaisesRegex(ValueError, 'has 2 bytes'):
            keyring_for('redis://example.org', None, environ)
        environ = {'WORQ_SECRET': f' {SECRET} , the older secret of 16,'}
        keys = keyring_for('redis://example.org', None, environ)
        self.assertEqual(keys.signs, KEYS.signs)
        self.assertIsNotNone(keys.find(Keyring(['the older secret of 16']).signs.id))
        with self.assertRaises(ValueError):
            keyring_for('redis://example.org', None, {'WORQ_SECRET': ' , '})

    def test_short(self) -> None:
        """A secret that is too short is refused and never shown."""
        for secret, environ in [('hunter2', {}), (None, {'WORQ_SECRET': 'hunter2'}), ('', {})]:
            with self.assertRaises(ValueError) as caught:
                keyring_for('redis://localhost', secret, environ)
            self.assertIn('needs 16', str(caught.exception))
            self.assertNotIn('hunter2', str(caught.exception))

    def test_unsigned(self) -> None:
        """Who opts out gets no keys, and one warning in the whole process."""
        with mock.patch.object(trust, '_warned', False), warnings.catch_warnings(record=True) as w:
            warnings.simplefilter('always')
            for _ in range(3):
                self.assertIsNone(keyring_for('redis://example.org', UNSIGNED, self.environ))
                self.assertIsNone(keyring_for('redis://localhost', UNSIGNED, self.environ))
        self.assertEqual(len(w), 1)
        self.assertIn('redis://example.org', str(w[0].message))


class KeyFile(TestCase):

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.key = self.folder / 'worq' / 'key'

    def keys(self) -> Keyring:
        keys = keyring_for('redis://localhost', environ={'XDG_STATE_HOME': str(self.folder)})
        assert keys is not None
        return keys

    def refused(self, text: str) -> None:
        with self.assertRaisesRegex(ValueError, text):
            self.keys()

    def test_made_once(self) -> None:
        """It is made with 0600 in a folder of 0700, and the same key is found again."""
        for umask in [0, 0o077]:
            before = os.umask(umask)
            try:
                first = self.keys()
            finally:
                os.umask(before)
            self.assertEqual(first.signs, self.keys().signs)
            self.assertEqual(stat.S_IMODE(self.key.stat().st_mode), 0o600)
            self.assertEqual(stat.S_IMODE(self.key.parent.stat().st_mode), 0o700)
            self.assertEqual([path.name for path in self.key.parent.iterdir()], ['key'])
            self.assertEqual(len(self.key.read_text().strip()), 64)
            self.key.unlink()
            self.key.parent.rmdir()

    def test_race(self) -> None:
        """Many that start at once agree on one key, and none reads half of one."""
        for _ in range(20):
            found: list[object] = []
            start = threading.Barrier(6)

            def work(found: list[object] = found, start: threading.Barrier = start) -> None:
                start.wait()
                try:
                    found.append(self.keys().signs.id)
                except ValueError as err:
                    found.append(err)

            threads = [threading.Thread(target=work) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(found, [self.keys().signs.id] * 6)
            self.assertEqual(len(list(self.key.parent.iterdir())), 1)
            self.key.unlink()

    def test_slower(self) -> None:
        """Whose file comes second uses the first one's key."""
        theirs = 'the key of the faster one'

        def link(*paths: object) -> None:
            self.key.write_text(theirs)
            self.key.chmod(0o600)
            raise FileExistsError

        with mock.patch.object(os, 'link', link):
            self.assertEqual(self.keys().signs, Keyring([theirs]).signs)
        self.assertEqual([path.name for path in self.key.parent.iterdir()], ['key'])

    def test_readable_by_others(self) -> None:
        """A key that others can read or write is refused, with what to do."""
        self.keys()
        for mode in [0o640, 0o604, 0o620, 0o601]:
            self.key.chmod(mode)
            self.refused('by others.*chmod 600')
        self.key.chmod(0o600)
        self.keys()

    def test_folder_of_others(self) -> None:
        """A key in a folder that others can write, or that is another's, is refused, with what to
        do: they could have exchanged it."""
        self.keys()
        folder = self.key.parent
        for mode in [0o770, 0o707, 0o720, 0o702, 0o1777]:
            folder.chmod(mode)
            self.refused(f'written by others.*chmod 700 {folder}.*WORQ_SECRET')
        folder.chmod(0o755)   # to be seen does no harm
        before = self.keys().signs
        self.key.unlink()
        folder.chmod(0o777)   # nor is one made there
        self.refused('written by others')
        self.assertFalse(self.key.exists())
        folder.chmod(0o700)
        self.assertNotEqual(self.keys().signs, before)
        stat_of = os.stat

        def of_another(path: str) -> os.stat_result:
            found = list(stat_of(path))
            if path == str(folder):
                found[stat.ST_UID] += 1
            return os.stat_result(found)

        with mock.patch.object(os, 'stat', of_another):
            self.refused(f'{folder} belongs to user .*XDG_STATE_HOME.*WORQ_SECRET')

    def test_links(self) -> None:
        """A link to a folder or a key counts as what it leads to."""
        self.keys()
        elsewhere = self.folder / 'elsewhere'
        self.key.parent.rename(elsewhere)
        self.key.parent.symlink_to(elsewhere)
        before = self.keys().signs
        elsewhere.chmod(0o777)
        self.refused('written by others')
        elsewhere.chmod(0o700)
        (elsewhere / 'key').rename(elsewhere / 'other')
        self.key.symlink_to(elsewhere / 'other')
        self.assertEqual(self.keys().signs, before)
        (elsewhere / 'other').chmod(0o644)
        self.refused('by others.*chmod 600')

    def test_not_ours(self) -> None:
        """A key that belongs to somebody else is refused."""
        self.keys()
        with mock.patch.object(os, 'geteuid', return_value=os.geteuid() + 1):
            self.refused('belongs to user')

    def test_damaged(self) -> None:
        """An empty key, a folder, or a pipe in its place is refused, and nothing hangs."""
        self.keys()
        self.key.write_text('short\n')
        self.refused('damaged')
        self.key.unlink()
        os.mkfifo(self.key, 0o600)
        self.refused('is not a file')
        self.key.unlink()
        self.key.mkdir()
        self.refused('is not a file|directory')

    def test_no_place(self) -> None:
        """Without HOME, or where nothing can be written, the error names WORQ_SECRET."""
        for environ in [{}, {'HOME': ''}, {'HOME': 'relative'}, {'XDG_STATE_HOME': 'relative'}]:
            with self.assertRaisesRegex(ValueError, 'HOME is not set.*WORQ_SECRET'):
                keyring_for('redis://localhost', environ=environ)
        blocked = self.folder / 'file'
        blocked.write_text('')
        for state in [str(blocked), '/proc/nowhere']:
            with self.assertRaisesRegex(ValueError, 'cannot be kept in.*WORQ_SECRET'):
                keyring_for('redis://localhost', environ={'XDG_STATE_HOME': state})

    def test_no_space(self) -> None:
        """When writing fails no half-made key is left."""
        with mock.patch.object(os, 'fsync', side_effect=OSError(28, 'No space left on device')):
            self.refused('No space left on device')
        self.assertEqual(list(self.key.parent.iterdir()), [])
