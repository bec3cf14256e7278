"""Tasks that call other tasks of their queue, for the tests of pools."""
from __future__ import annotations

import os
import resource

from test.pool import tasks as pool_tasks
from test.pool.tasks import tasks, touch
from worq import batch, current_task, map, wait


def queue():
    return current_task().queue


@tasks.task
def fib(n):
    """Recursive, by tail calls: nobody waits for anybody."""
    q = queue()
    return n if n < 2 else q.add(q.fib(n - 1), q.fib(n - 2))


@tasks.task
def down(n):
    """A chain of returns: each one returns the call of the next."""
    return queue().down(n - 1) if n else 'bottom'


@tasks.task
def ask_and_wait(n):
    """Call others, wait for them, and look at them: it takes a worker that is free."""
    made = map(queue().same, range(n))
    wait(made)
    return [d.value for d in made], made[0].status, len(queue()) >= 1


@tasks.task
def call_and_cancel():
    """Cancel what was called, and what is unknown."""
    q = queue()
    other = q.same(q.add(1, q.same(2)))
    return other.cancel(), other.cancel(), type(other.exception(10)).__name__


@tasks.task
def wait_for_ever():
    """Wait for a task that nobody runs."""
    queue().same(1).result()


@tasks.task
def large_graph(n):
    """Put a graph that is more than one step, and return what comes of it."""
    q = queue()
    with batch(q):
        total = q.add(*[q.same(number) for number in range(n)])
    return total


@tasks.task
def call_on(begun):
    """Call others and wait for them, in one way and the other, for ever."""
    q = queue()
    touch(begun)
    while True:
        q.same(1).result()
        wait([q.same(n) for n in range(3)])
        q.same(q.same(1)).cancel()


@tasks.task
def memory():
    """The process id, and the bytes that the process has in use."""
    with open('/proc/self/statm') as file:
        return os.getpid(), int(file.read().split()[1]) * resource.getpagesize()


@tasks.task
def call_in_a_fork():
    """A copy of the worker cannot call: what it says goes by its exit status."""
    q = queue()
    pid = os.fork()
    if not pid:
        try:
            q.same(1)
        except Exception as error:
            os._exit(3 if 'forked' in str(error) else 4)
        os._exit(5)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def init(url, name):
    """The broker of a child, with the tasks of this module too."""
    return pool_tasks.init(url, name)
