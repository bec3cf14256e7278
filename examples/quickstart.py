"""A first look at WorQ: a receipt, put together by tasks in two child processes.

Nothing but Python is needed: the queue lives in this program's memory. Run it with

    python examples/quickstart.py
"""
import logging
import os

from worq import Task, TaskFailure, TaskSpace, get_broker
from worq.pool.process import WorkerPool

# 1. Tasks are plain functions. A TaskSpace gives them names: shop.price, shop.total ...

shop = TaskSpace('shop')
PRICES = {'tea': 3.20, 'cake': 4.10, 'jam': 2.75}


@shop.task
def price(item):
    return PRICES[item], os.getpid()


@shop.task
def total(prices):
    return sum(amount for amount, pid in prices)


@shop.task
def receipt(lines, total):
    if isinstance(total, TaskFailure):
        return f'no receipt: {total.error}'
    rows = [f'{item:8} {amount:6.2f}   (by process {pid})'
            for item, (amount, pid) in lines.items()]
    return '\n'.join([*rows, f'{"total":8} {total:6.2f}'])


def init(url):
    """Each child process begins with this: it says which tasks can be run there."""
    logging.getLogger('worq').setLevel(logging.CRITICAL)  # the failure below is meant to be
    broker = get_broker(url)
    broker.expose(shop)
    return broker


def main():
    # 2. A broker owns a queue, and a pool runs its tasks: here in two child processes.
    broker = get_broker('memory://')
    q = broker.queue()
    print(f'This is process {os.getpid()}.')
    with WorkerPool(broker, init, workers=2):

        # 3. A call returns at once, with a Deferred: the result, whenever it arrives.
        lines = {item: q.shop.price(item) for item in PRICES}
        print(f'Three tasks are queued: {list(lines.values())}')

        # 4. Deferreds are arguments of other calls, anywhere inside them. That is how a
        #    graph is made: WorQ runs each task when its arguments are there.
        due = q.shop.total(list(lines.values()))
        print('\n' + q.shop.receipt(lines, due).result(timeout=30) + '\n')

        # 5. A task that fails takes those with it that depend on it ...
        dragon = q.shop.price('dragon')
        due = q.shop.total([lines['tea'], dragon])
        try:
            due.result(timeout=30)
        except TaskFailure as failure:
            print(f'The total failed, and its failure names the cause:\n  {failure}')

        # 6. ... unless they say that they can deal with it.
        forgiving = Task(q.shop.receipt, on_error=Task.PASS)
        print(f'Handled: {forgiving({}, due).result(timeout=30)}')


if __name__ == '__main__':
    main()
