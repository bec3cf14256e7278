"""Map and reduce: a task for each item, and a tree of tasks that combines their results.

    python examples/mapreduce.py [ITEMS]

Pi, estimated by throwing darts at a square. `map` has the darts thrown in many places at once,
`reduce` adds the hits up, two by two; its items are the Deferreds of the map, so nobody waits for
anything in between. All of it is put in one step, all or nothing: that is the `batch`.
"""
import random
import sys

import worq
from worq import TaskSpace, get_broker
from worq.pool.process import WorkerPool

DARTS = 10_000

space = TaskSpace()


@space.task
def throw(seed):
    chance = random.Random(seed)
    return sum(chance.random() ** 2 + chance.random() ** 2 < 1 for _ in range(DARTS))


@space.task
def add(a, b):
    return a + b


def init(url):
    """Make the broker of a child process."""
    broker = get_broker(url)
    broker.expose(space)
    return broker


def main():
    items = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    broker = get_broker('memory://')
    q = broker.queue()
    with WorkerPool(broker, init, workers=2):
        with worq.batch(q) as batch:
            hits = worq.map(q.throw, range(items))
            total = worq.reduce(q.add, hits)
            print(f'{len(batch)} tasks are put')
        print(f'pi is about {4 * total.result(timeout=60) / (items * DARTS):.2f}')


if __name__ == '__main__':
    main()
