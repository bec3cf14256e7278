"""Tasks and init functions for the tests of pools, at the top level so that children find them.

Tasks that must be seen to run, or that wait, do it through files in a folder of the test.
"""
from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from worq import TaskSpace, current_task, get_broker
from worq.pool.frames import pack
from worq.pool.wire import OUTCOMES

PATIENCE = 60  # seconds; nothing waits as long unless a test has failed

tasks = TaskSpace()
calls = [0]


def touch(path):
    """Append this process's id to a file."""
    with open(path, 'a') as file:
        file.write(f'{os.getpid()}\n')


def lines(path):
    """What `touch` has written: process ids."""
    try:
        return [int(line) for line in Path(path).read_text().split()]
    except FileNotFoundError:
        return []


def await_file(path):
    limit = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        if time.monotonic() > limit:
            raise TimeoutError(path)
        time.sleep(0.005)


@tasks.task
def same(value=None):
    return value


@tasks.task
def make(begun, size):
    """Say that it has begun, and return so many bytes."""
    touch(begun)
    return bytes(size)


@tasks.task
def size(*values):
    """How many bytes it gets."""
    return sum(map(len, values))


@tasks.task
def add(*numbers):
    return sum(numbers)


@tasks.task
def fail(text):
    raise ValueError(text)


@tasks.task
def interrupt():
    raise KeyboardInterrupt


@tasks.task
def leave():
    sys.exit(3)


@tasks.task
def hold(begun, go, value=None):
    """Say that it has begun, wait until `go` exists, return."""
    touch(begun)
    await_file(go)
    return value


@tasks.task
def report(begun, go, times):
    """Tell of the progress, so often."""
    current = current_task()
    for n in range(times):
        current.progress(n + 1, times)
    current.progress(times, times, 'at the last')
    hold(begun, go)


@tasks.task
def misreport(begun, go):
    """Tell of what is no progress."""
    current_task().progress({object()}, object(), 'x' * 10_000)
    hold(begun, go)


@tasks.task
def pid():
    return os.getpid()


@tasks.task
def count():
    calls[0] += 1
    return os.getpid(), calls[0]


@tasks.task
def lock():
    return threading.Lock()


class Evil(Exception):
    """Neither pickled nor shown."""

    def __reduce__(self):
        raise RuntimeError('not to be pickled')

    def __str__(self):
        raise RuntimeError('not to be shown')


@tasks.task
def evil():
    raise Evil


@tasks.task
def kill(path, number=signal.SIGKILL):
    """Die by a signal, each time it is run."""
    touch(path)
    os.kill(os.getpid(), number)
    time.sleep(PATIENCE)


@tasks.task
def segfault(path):
    touch(path)
    ctypes.string_at(0)


@tasks.task
def vanish(path, status):
    touch(path)
    os._exit(status)


@tasks.task
def kill_once(path):
    """Die the first time, and tell the second time how often it was begun."""
    touch(path)
    if len(lines(path)) == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return len(lines(path))


@tasks.task
def noisy():
    """Write wherever a task may write, and read what it may read."""
    print('printed')
    os.write(1, b'written\n' * 1000)
    os.write(2, b'')
    sys.stdout.flush()
    return sys.stdin.read(), subprocess.run(['cat'], capture_output=True).stdout


@tasks.task
def spawn(path):
    """Start a program that outlives the task, holding whatever it has inherited."""
    program = subprocess.Popen(['sleep', '300'])
    touch(path)
    return program.pid


@tasks.task
def deaf(path):
    """Ignore every signal that can be ignored, and keep the interpreter busy."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    touch(path)
    while True:
        pass


def tell_manager(data):
    """Write to the pipe on which this child's manager listens."""
    with open('/proc/self/cmdline', 'rb') as file:
        arguments = file.read().split(b'\0')
    os.write(int(arguments[-4]), data)   # ... IN OUT PAGE PARENT


@tasks.task
def babble(path, data):
    """The first time, write what no child would write, and hang."""
    touch(path)
    if len(lines(path)) == 1:
        tell_manager(data)
        time.sleep(PATIENCE)
    return 'well'


@tasks.task
def garble(path, data):
    """The first time, write what no child would write, and die."""
    touch(path)
    if len(lines(path)) == 1:
        tell_manager(data)
        os._exit(1)
    return 'well'


@tasks.task
def lie(path, word, extra):
    """The first time, tell an outcome that cannot be, of this very delivery, and hang."""
    touch(path)
    if len(lines(path)) == 1:
        task = current_task()
        tell_manager(pack([OUTCOMES, task.id.encode(), task.token.encode(), word, b'', extra]))
        time.sleep(PATIENCE)
    return 'well'


@tasks.task
def loaded(module, use):
    """This process, and whether a module is loaded here, after the queue has been used or not."""
    if use:
        len(current_task().queue)
    return os.getpid(), module in sys.modules


@tasks.task
def enqueue(url, name):
    """Enqueue from within a task, and do not wait."""
    with get_broker(url, name) as broker:
        return broker.queue().same('inner').id


def init(url, name):
    """The broker of a child."""
    broker = get_broker(url, name)
    broker.expose(tasks)
    return broker


def init_broken(url, name, path, times):
    """Fail the first `times` times."""
    touch(path)
    if len(lines(path)) <= times:
        raise RuntimeError('no luck today')
    return init(url, name)


def init_exits(url, name, path):
    """End the process in the middle of its beginning: the first time it exits, the second time it
    is killed."""
    touch(path)
    if len(lines(path)) == 1:
        os._exit(9)
    if len(lines(path)) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return init(url, name)


def init_nothing(url, name):
    """Forget to return the broker."""


@tasks.task
def fork(path):
    """Comes back twice: from the worker, and from a copy of it."""
    pid = os.fork()
    if not pid:
        return 'copy'
    os.waitpid(pid, 0)  # so the copy would be the first to answer
    touch(path)
    return 'worker'
