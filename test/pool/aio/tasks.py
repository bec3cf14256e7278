"""Coroutines and init functions for the tests of pools of event loops."""
from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time

from test.pool import halts
from test.pool.tasks import PATIENCE, await_file, lines, touch
from worq import TaskSpace, batch, current_task, get_broker

loops = TaskSpace('loop')
opened: list[str] = []


async def come(path):
    """Wait for a file."""
    limit = time.monotonic() + PATIENCE
    while not os.path.exists(path):
        if time.monotonic() > limit:
            raise TimeoutError(path)
        await asyncio.sleep(0.01)


@loops.task
async def same(value):
    return value


@loops.task
async def nap(seconds, value):
    await asyncio.sleep(seconds)
    return value


@loops.task
async def hold(begun, go, value=None):
    """Say that it has begun, wait until `go` exists, return."""
    touch(begun)
    await come(go)
    return value


@loops.task
async def pid():
    return os.getpid()


@loops.task
async def meet(begun, count, value):
    """Return when so many have begun, as they only can that run at the same time."""
    touch(begun)
    while len(lines(begun)) < count:
        await asyncio.sleep(0.01)
    return value


@loops.task
async def fail(text):
    raise ValueError(text)


@loops.task
async def tail(n):
    """A tail call, put with others while the loop goes on."""
    queue = current_task().queue
    with batch(queue):
        return queue.loop.same(n)


@loops.task
async def ask(n):
    """Await what another task comes to."""
    return await current_task().queue.loop.same(n) + 1


@loops.task
async def progress(begun, go):
    for n in range(10):
        current_task().progress(n + 1, 10)
    await hold(begun, go)


@loops.task
async def block(begun, go, seconds=PATIENCE):
    """Wait as functions do, so that nobody else runs."""
    touch(begun)
    until = time.monotonic() + seconds
    while time.monotonic() < until and not os.path.exists(go):
        time.sleep(0.01)
    return 'blocked'


@loops.task
async def block_in_c(begun):
    """So that not even a thread runs."""
    touch(begun)
    sum(range(10 ** 12))


@loops.task
async def block_later(begun, seconds):
    """Leave a callback behind that blocks the loop, which is nobody's step."""
    asyncio.get_running_loop().call_later(0.05, time.sleep, seconds)
    touch(begun)


@loops.task
async def block_in_group(begun, seen):
    """Another task of asyncio that blocks is this one's own."""
    async with asyncio.TaskGroup() as group:
        group.create_task(spin(begun, seen))


async def spin(begun, seen):
    touch(begun)
    try:
        while True:
            sum(range(10_000))
    except BaseException as error:
        halts.note(seen, error)
        raise


@loops.task
async def swallow(begun, seen, go):
    """Swallow what it is cancelled with, and go on until this file exists."""
    touch(begun)
    while not os.path.exists(go) and os.path.exists(begun):
        try:
            await come(go)
        except BaseException as error:
            halts.note(seen, error)


@loops.task
async def kill(begun, number=signal.SIGKILL):
    """Die, each time, when nobody else begins any more."""
    touch(begun)
    await asyncio.sleep(0.05)
    os.kill(os.getpid(), number)
    await asyncio.sleep(PATIENCE)


@loops.task
async def kill_by_thread(begun):
    """Die of a thread that nobody knows of."""
    touch(begun)
    threading.Timer(0.2, os._exit, [3]).start()
    await asyncio.sleep(PATIENCE)


@loops.task
async def kill_in_a_call(begun):
    """Die of a thread of the loop's executor."""
    touch(begun)
    await asyncio.sleep(0.05)
    await asyncio.to_thread(os.kill, os.getpid(), signal.SIGKILL)
    await asyncio.sleep(PATIENCE)


async def leave():
    sys.exit(5)


@loops.task
async def end_the_loop(how, value):
    """Do what ends an event loop, as a careless program may."""
    loop = asyncio.get_running_loop()
    if how == 'task':
        await asyncio.create_task(leave())
    elif how == 'group':
        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
    elif how == 'callback':
        loop.call_soon(sys.exit, 5)
    elif how == 'interrupt':
        await asyncio.ensure_future(interrupt())
    elif how == 'stop':
        loop.stop()
    elif how == 'threads':
        await loop.shutdown_default_executor()
    await asyncio.sleep(0.01)
    return value


async def interrupt():
    raise KeyboardInterrupt


@loops.task
async def cancel_all():
    """Cancel whatever there is in the loop, as if it were a program that ends."""
    for task in asyncio.all_tasks():
        task.cancel()
    await asyncio.sleep(PATIENCE)


@loops.task
async def count_deliveries(begun, go):
    """Which delivery it is, when `go` exists."""
    touch(begun)
    await come(go)
    return current_task().delivery


@loops.task
def function(begun, go):
    """No coroutine."""
    touch(begun)
    await_file(go)
    return threading.current_thread() is not threading.main_thread(), current_task().name


@loops.task
def made(value):
    """No coroutine function, and returns a coroutine."""
    return same(value)


@loops.task
def made_nap(begun, seen):
    """No coroutine function, and returns one that tells how it ends."""
    return nap_and_tell(begun, seen)


async def nap_and_tell(begun, seen):
    touch(begun)
    try:
        await asyncio.sleep(PATIENCE)
    except BaseException as error:
        await asyncio.sleep(0.01)
        halts.note(seen, error)
        raise


@loops.task
async def large(data):
    return data + data


@loops.task
async def what_init_opened():
    return list(opened), asyncio.get_running_loop() is kept['loop']


kept: dict[str, object] = {}


def init(url, name):
    """The broker of a child, with these tasks and those of the other pools."""
    broker = halts.init(url, name)
    broker.expose(loops)
    return broker


@contextlib.asynccontextmanager
async def init_in_the_loop(url, name, path):
    """Open something in the loop, and close it after the last task."""
    kept['loop'] = asyncio.get_running_loop()
    await asyncio.sleep(0)
    opened.append('a pool of connections')
    try:
        yield init(url, name)
    finally:
        assert asyncio.get_running_loop() is kept['loop']
        await asyncio.sleep(0)
        touch(path)


@contextlib.asynccontextmanager
async def init_cannot_close(url, name):
    yield init(url, name)
    raise RuntimeError('it cannot be closed')


async def init_awaited(url, name):
    kept['loop'] = asyncio.get_running_loop()
    return init(url, name)


@contextlib.asynccontextmanager
async def init_breaks(url, name):
    await asyncio.sleep(0)
    raise RuntimeError('no database today')
    yield


def init_alone(url, name):
    """A broker of this module's tasks only, none of which wants the others."""
    broker = get_broker(url, name)
    broker.expose(loops)
    return broker
