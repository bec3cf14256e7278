"""Tail calls: a task returns the Deferred of another one, and its worker is free.

    python examples/recursion.py [N]

Fibonacci numbers the slow way, by tasks that call tasks. Each `fib` returns at once: its result
will be that of the addition, which WorQ runs when both summands are there. So one single worker is
enough, however deep it goes; a task that *waited* for its summands would need a worker for
each level.
"""
import sys

from worq import TaskSpace, current_task, get_broker
from worq.pool.thread import WorkerPool

space = TaskSpace()


@space.task
def fib(n):
    if n < 2:
        return n
    q = current_task().queue   # the queue that this task came from
    return q.add(q.fib(n - 1), q.fib(n - 2))


@space.task
def add(a, b):
    return a + b


def main():
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    broker = get_broker('memory://')
    broker.expose(space)
    with WorkerPool(broker, workers=1):
        print(f'fib({n}) = {broker.queue().fib(n).result(timeout=60)}')


if __name__ == '__main__':
    main()
