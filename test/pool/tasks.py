"""Tasks and init functions for the tests of pools, at the top level so that children find them.

Tasks that must be seen to run, or that wait, do it through files in a folder of the test.
"""
from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
import ctypes
import gc
from decimal import getcontext
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from worq import TaskSpace, batch, current_task, get_broker
from worq.builder import collecting
from worq.pool.children.frames import pack
from worq.pool.children.protocol import OUTCOMES, Page

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
def wait_within(text):
    """Call another task, and wait for it: what one should not do."""
    return current_task().queue.same(text).result()


@tasks.task
def report(begun, go, times):
    """Tell of the progress, so often."""
    current = current_task()
    for n in range(times):
        current.progress(n + 1, times)
    current.progress(times, times, 'at the last')
    hold(begun, go)


@tasks.task
def misreport():
    """Tell of what is no progress."""
    current_task().progress({object()}, object(), 'x' * 10_000)


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


trace: ContextVar[str] = ContextVar('trace', default='nothing')


@tasks.task
def leave_traces():
    """What is in its context; and leave something else there, in each way that there is."""
    found = trace.get(), getcontext().prec, collecting.get() is not None
    trace.set('of another task')
    getcontext().prec = 5
    batch(current_task().queue).__enter__()
    return found


@tasks.task
async def leave_traces_in_a_loop():
    return leave_traces()


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
def forget(path, slots, seconds=0):
    """Reset what this child shares with its manager, so many numbers of it, and die."""
    touch(path)
    page, = (one for one in gc.get_objects() if isinstance(one, Page))
    for slot in range(slots or len(page._numbers)):
        page._numbers[slot] = 0
    time.sleep(seconds)
    os._exit(3)


@tasks.task
def lie(path, word, extra):
    """The first time, tell an outcome that cannot be, of this very delivery, and hang."""
    touch(path)
    if len(lines(path)) == 1:
        task = current_task()
        tell_manager(pack([OUTCOMES, task.id.encode(), task.token.encode(), word, b'', extra,
                           b'1 2 3']))
        time.sleep(PATIENCE)
    return 'well'


@tasks.task
def hang_up(path):
    """The first time, close every descriptor and go on for ever; tells how often it was begun."""
    touch(path)
    if len(lines(path)) == 1:
        os.closerange(0, 1000)
        time.sleep(PATIENCE)
    return len(lines(path))


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


def init_with_a_context(url, name):
    trace.set('of init_func')
    getcontext().prec = 33
    return init(url, name)


def init_forks(url, name, path):
    """A copy comes back from here too."""
    touch(path)
    if (came := copied(lambda: None)) not in (None, ('worker', 0)):
        raise RuntimeError(f'the copy ended with {came}')
    return init(url, name)


def init_when(url, name, path):
    """Begin only when there is this file."""
    open(path).close()
    return init(url, name)


def init_meets_an_end(url, name):
    """Raise what a child takes for the end of its pipe, elsewhere."""
    raise EOFError('this file is cut off')


def init_nothing(url, name):
    """Forget to return the broker."""


def copied(come_back):
    """Fork; the copy comes back in this way, and the worker with the status that it ended with."""
    pid = os.fork()
    if not pid:
        sys.stderr = open(os.devnull, 'w')   # what it raises is nobody's business
        return come_back()
    # so the copy would be the first to answer
    return 'worker', os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@tasks.task
def fork(how='value', path=os.devnull):
    """Comes back twice: from the worker, and from a copy of it."""
    touch(path)
    ways = {'value': lambda: 'copy', 'error': lambda: fail('copy'), 'exit': leave,
            'text': lambda: sys.exit('copy'), 'interrupt': interrupt}
    return copied(ways[how])


@tasks.task
async def fork_in_a_loop():
    """So does a coroutine, whose loop works on in the worker."""
    came = copied(lambda: 'copy')
    if came == 'copy':
        return came
    await asyncio.to_thread(time.sleep, 0.01)
    return came


@tasks.task
async def fork_in_threads(path):
    """So do threads that a task has started, which have more to do."""
    with ThreadPoolExecutor(1) as executor:
        came = [executor.submit(copied, lambda: 'copy')]
        for _ in range(3):
            executor.submit(touch, path)
        came = [came[0].result(PATIENCE), await asyncio.to_thread(copied, lambda: 'copy')]
    thread = threading.Thread(target=lambda: came.append(copied(lambda: 'copy')))
    thread.start()
    thread.join()
    return came


@tasks.task
def end_forks(times):
    """Forks that get a signal at once: how each ended; and what is blocked here in the end."""
    ended = []
    for number in [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1] * times:
        pid = os.fork()
        if not pid:
            time.sleep(PATIENCE)
            os._exit(9)
        os.kill(pid, number)
        ended.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -number)
    return all(ended), list(signal.pthread_sigmask(signal.SIG_BLOCK, []))


@tasks.task
def signals_of_a_fork():
    """What a fork of the worker does for each signal, and which a program of it would ignore."""
    def tell():
        handlers = [signal.getsignal(number) for number in (
            signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)]
        os.write(tell_end, repr(handlers).encode())
        os._exit(0)
    hear_end, tell_end = os.pipe()
    copied(tell)
    os.close(tell_end)
    with open(hear_end) as told, open('/proc/self/status') as status:
        ignored, = [line.split()[1] for line in status if line.startswith('SigIgn')]
        return told.read(), int(ignored, 16)
