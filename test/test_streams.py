"""Programs whose standard streams are closed: nothing of ours may lie on their descriptors."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from test.broker_case import MemoryMixin
from test.pool.contract import WAIT
from test.pool.process.test_pool import Processes
from test.programs import LIMIT, environment
from test.support import clean, forked, redis_url, unique
from worq import get_broker, streams, trust
from worq.pool.children.frames import pack
from worq.pool.children.watchdog import Watchdog
from worq.pool.children.worker import Worker
from worq.pool.thread import WorkerPool

__all__ = ['HangUp', 'Streams']

STANDARD = range(3)
NULL = [os.devnull] * 3


def standard():
    """What lies on descriptors 0 to 2."""
    found = []
    for fd in STANDARD:
        try:
            found.append(os.readlink(f'/proc/self/fd/{fd}'))
        except OSError:
            found.append('')
    return found


def closed(call):
    """Call it in a fork without standard streams; whether the null device is all it has then."""
    def play():
        for fd in STANDARD:
            os.close(fd)
        call()
        assert standard() == NULL
        assert all(map(os.get_inheritable, STANDARD))   # as such streams are
    return forked(play) == 0


class HangUp(MemoryMixin, Processes):

    def test_task_that_closes_all(self):
        """A child that has nobody to talk to any more is killed, and its task is run again."""
        self.start()
        self.assertEqual(self.q.hang_up(self.path('runs')).result(WAIT / 2), 2)
        self.assertEqual(self.broker.backend.stats()['redelivered'], 1)


class Streams(unittest.TestCase):

    def setUp(self):
        self.name = unique('streams')
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)

    def test_fill(self):
        """Only what is closed is filled, whichever it is, and no descriptor is left over."""
        def play():
            before = standard()
            count = len(os.listdir('/proc/self/fd'))
            streams.fill()
            assert standard() == before and len(os.listdir('/proc/self/fd')) == count
            for fd in STANDARD:
                os.close(fd)
                streams.fill()
                before[fd] = os.devnull
                assert standard() == before and len(os.listdir('/proc/self/fd')) == count
        self.assertEqual(forked(play), 0)

    def test_no_more_descriptors(self):
        """Where nothing can be opened it says nothing: what comes next will."""
        with mock.patch.object(os, 'open', side_effect=OSError):
            streams.fill()

    def test_bell_in_memory(self):
        """The pipe of a bell."""
        self.assertTrue(closed(lambda: get_broker('memory://', self.name).backend.bell('pool')))

    def test_key_file(self):
        """The file with the key that messages are signed with, while it is made."""
        seen = []

        def look(fd):
            seen.append(fd)
        def make():
            with mock.patch.object(os, 'fsync', look), \
                    mock.patch.object(trust, 'key_path', lambda _: f'{self.folder}/keys/key'):
                get_broker('redis://localhost', self.name)
            assert seen[0] > 2
        self.assertTrue(closed(make))

    def test_redis(self):
        """Connections with Redis, and the bell's."""
        url = redis_url()
        self.addCleanup(clean, url, self.name)
        self.assertTrue(closed(lambda: get_broker(url, self.name).backend.stats()))

        def arm():
            bell = get_broker(url, self.name).backend.bell('pool')
            bell.arm()
            assert bell.fileno() > 2
        self.assertTrue(closed(arm))

    def test_closed_later(self):
        """A program may close them when all has been begun: what is opened then is no other."""
        url = redis_url()
        self.addCleanup(clean, url, self.name)

        def play():
            with get_broker(url, self.name) as broker:
                broker.backend.stats()
                os.close(1)
                broker.backend._link.close()
                broker.backend.stats()
        self.assertTrue(closed(play))

    def test_pool_of_threads(self):
        """What a pool of threads wakes its workers with."""
        url = redis_url()
        self.addCleanup(clean, url, self.name)
        with get_broker(url, self.name) as broker:   # which a fork begins anew: it opens nothing
            def play():
                pool = WorkerPool(broker)
                pool.start()
                assert min(pool._wake) > 2
                pool.stop()
            self.assertTrue(closed(play))

    def test_child(self):
        """What a child has in common with its manager, whenever it is started."""
        def play():
            worker = Worker(pack([b'']), Watchdog())
            worker.kill()
            worker.reap(wait=True)
            worker.close()
        self.assertTrue(closed(play))

    PROGRAM = '''
        import json, os, sys
        from test.test_streams import standard
        from worq import get_broker
        from worq.pool.process import WorkerPool

        def look():
            os.write(1, b'what C code prints')
            print('what Python prints')
            sys.stdout.flush()
            return standard()[1:]

        def init(url, name):
            broker = get_broker(url, name)
            broker.expose(look)
            return broker

        if __name__ == '__main__':
            path, url, name = sys.argv[1:]
            broker = get_broker(url, name)
            with WorkerPool(broker, init, [name], workers=1):
                found = [broker.queue().look().result(timeout=50) for _ in range(3)]
            with open(path, 'w') as file:
                json.dump([standard(), *found], file)
        '''

    def test_pool_of_processes(self):
        """A pool of processes begins and works without any of them, and so do its children."""
        script, path = Path(self.folder, 'script.py'), Path(self.folder, 'found')
        script.write_text(self.PROGRAM.replace('\n        ', '\n'))
        url = redis_url()
        self.addCleanup(clean, url, self.name)
        for address in 'memory://', url:
            subprocess.run(
                ['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh', sys.executable, str(script),
                 str(path), address, self.name], env=environment(), timeout=LIMIT, check=True)
            self.assertEqual(json.loads(path.read_text()), [NULL, *[NULL[1:]] * 3])
            path.unlink()
