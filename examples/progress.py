"""Progress: a task says how far it has come, and whoever has its Deferred can see it.

    python examples/progress.py

To tell costs the task next to nothing, for the pool sends only the last word, with its
heartbeat. `explain` tells in plain words how it stands with a task, whatever state it is in.
"""
import time

from worq import TaskSpace, current_task, get_broker
from worq.pool.process import WorkerPool

space = TaskSpace()


@space.task
def bake(loaves):
    for loaf in range(loaves):
        current_task().progress(loaf, loaves, f'loaf {loaf + 1} is in the oven')
        time.sleep(0.1)
    return f'{loaves} loaves'


@space.task
def eat(food):
    return f'ate {food}'


def init(url):
    """Make the broker of a child process."""
    broker = get_broker(url)
    broker.expose(space)
    return broker


def main():
    broker = get_broker('memory://')
    q = broker.queue()
    bread = q.bake(50)
    meal = q.eat(bread)
    print(meal.explain() + '\n')
    with WorkerPool(broker, init, workers=1):
        while (progress := bread.progress) is None:
            time.sleep(0.1)
        print(f'{progress.done} of {progress.total}: {progress.text}\n')
        print(meal.explain() + '\n')
        print(meal.result(timeout=60))
    print(meal.explain())


if __name__ == '__main__':
    main()
