"""Retries: what fails is tried again, after a pause that grows.

    python examples/retries.py

One task fails now and then, as networks do, and its definition says how often to try again. One
asks for it by itself, since it knows when it is worth it. And one fails for good: its failure says
how many attempts there were, and shows the error of each.
"""
import logging

import worq
from worq import Task, TaskSpace, current_task, get_broker
from worq.pool.thread import WorkerPool

space = TaskSpace()


@space.task(retries=5, backoff=[0.1, 0.2, 0.4], retry_on=ConnectionError)
def fetch(page):
    if current_task().attempt < 3:
        raise ConnectionError('the network is down')
    return f'text of {page}, got in attempt {current_task().attempt}'


@space.task
def order(number):
    if current_task().attempt == 1:
        raise worq.Retry(delay=0.1, reason='the shop opens in a moment')
    return f'order {number} is placed'


@space.task
def check(number):
    raise ValueError(f'{number} is too low in attempt {current_task().attempt}')


def main():
    logging.getLogger('worq').setLevel(logging.CRITICAL)   # the errors below are meant to be
    broker = get_broker('memory://')
    broker.expose(space)
    q = broker.queue()
    with WorkerPool(broker, workers=3):
        page, placed = q.fetch('home'), q.order(7)
        checked = Task(q.check, retries=2, backoff=0.1)(3)
        print(page.result(timeout=60))
        print(placed.result(timeout=60))
        failure = checked.exception(timeout=60)
        print(failure.error)
        print('\n'.join(failure.traceback.splitlines()[:2]))


if __name__ == '__main__':
    main()
