"""Tasks that are to be interrupted, for the tests of pools."""
from __future__ import annotations

import asyncio
import ctypes
import os
import re
import select
import socket
import sys
import threading
import time

from test.pool import calls as pool_calls
from test.pool.tasks import PATIENCE, await_file, lines, tasks, touch
from worq import Cancelled, TaskTimeout, current_task


def note(path, error):
    """Append an exception's name, and what the task sees of itself."""
    with open(path, 'a') as file:
        file.write(f'{type(error).__name__} {current_task().cancelled}\n')


@tasks.task
def spin(begun, seen):
    """Compute in Python until an exception comes; tell which."""
    touch(begun)
    try:
        n = 0
        while True:
            n += 1
    except BaseException as error:
        note(seen, error)
        raise


@tasks.task
def block(begun, seen, how):
    """Wait in a system call until an exception comes; tell which."""
    touch(begun)
    try:
        if how == 'sleep':
            time.sleep(PATIENCE)
        elif how == 'read':
            here, there = socket.socketpair()
            with here, there:
                here.recv(1)
        else:
            select.select([], [], [], PATIENCE)
    except BaseException as error:
        note(seen, error)
        raise


@tasks.task
async def wait_for(begun, seen, busy=False):
    """A coroutine that waits, or computes between two waits."""
    touch(begun)
    try:
        while busy:
            sum(range(10_000))
        await asyncio.sleep(PATIENCE)
    except BaseException as error:
        note(seen, error)
        raise


@tasks.task
async def wait_for_many(begun, seen):
    """A coroutine with others that are never at rest."""
    touch(begun)

    async def restless():
        while True:
            await asyncio.sleep(0)
    try:
        await asyncio.gather(*(restless() for _ in range(3)))
    except BaseException as error:
        note(seen, error)
        raise


@tasks.task
async def wait_in_group(begun, seen, failing=False):
    """A coroutine with a TaskGroup, in which one waits; it may fail while it is cancelled."""
    async def wait():
        touch(begun)
        try:
            await asyncio.sleep(PATIENCE)
        except BaseException as error:
            note(seen, error)
            if failing:
                raise ValueError('could not clean up') from None
            raise
    async with asyncio.TaskGroup() as group:
        group.create_task(wait())
        await asyncio.sleep(PATIENCE)


class Stiff(BaseExceptionGroup):
    """A group that cannot be made anew with other members."""

    def derive(self, members):
        raise RuntimeError('no other members')


@tasks.task
async def wait_for_stiff_group(begun, seen):
    """A coroutine whose errors come out as a group of its own class."""
    touch(begun)
    try:
        await asyncio.sleep(PATIENCE)
    except BaseException as error:
        note(seen, error)
        raise Stiff('', [ValueError('could not clean up')]) from None


@tasks.task
async def spin_in_group(begun, seen):
    """A coroutine with a TaskGroup that computes until an exception comes."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(PATIENCE))
            touch(begun)
            while True:
                sum(range(10_000))
    except BaseException as error:
        note(seen, error)
        raise


@tasks.task
def stubborn(begun, seen, go=''):
    """Swallow what is raised, and go on, until this file exists, or the test's folder is gone."""
    touch(begun)
    limit = time.monotonic() + PATIENCE

    def on():
        return time.monotonic() < limit and not os.path.exists(go) and os.path.exists(begun)
    while on():
        try:
            while on():
                time.sleep(0.01)
        except BaseException as error:
            note(seen, error)


@tasks.task
def busy_in_c(begun, how):
    """Compute in C code, without a look at any signal."""
    touch(begun)
    if how == 'sum':
        return sum(range(10 ** 12))
    return re.match(r'(a*)*b', 'a' * 40)


libc = ctypes.PyDLL(None)


def keep_the_gil(seconds):
    """Wait in C code that lets no other thread run Python."""
    libc.usleep(int(seconds * 1e6))


@tasks.task
def leave_a_thread(begun, go):
    """Leave a thread behind that keeps the GIL for ever, once `go` exists."""
    def stay():
        await_file(go)
        sys.setswitchinterval(PATIENCE)   # nobody else comes in between
        touch(begun)
        while True:
            keep_the_gil(PATIENCE)
    threading.Thread(target=stay, daemon=True).start()


@tasks.task
def keep_it(begun, seconds):
    """Keep the GIL for as long."""
    touch(begun)
    keep_the_gil(seconds)
    return 'kept'


@tasks.task
def let_go(begun, seen):
    """Clean up and return a value: it is too late for that."""
    touch(begun)
    try:
        while True:
            time.sleep(0.01)
    except (Cancelled, TaskTimeout) as error:
        note(seen, error)
        return 'value'


@tasks.task
def nap(seconds, value):
    """Sleep in small steps, as no thread wakes from a long one; return the value."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(min(0.005, seconds))
    return value


@tasks.task
def slow_at_first(begun):
    """In C code for ever the first time; tells how often it was begun."""
    touch(begun)
    if len(lines(begun)) == 1:
        sum(range(10 ** 12))
    return len(lines(begun))


def init(url, name):
    """The broker of a child, with the tasks of this module too, and of pool_calls."""
    return pool_calls.init(url, name)
