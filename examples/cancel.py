"""Cancelling a graph: what has not begun never begins, and what runs is told to stop.

    python examples/cancel.py

A search in four places, and a report that depends on all of them. Cancelling the searches takes the
report along. Those that run get `Cancelled` raised in them within a second; their `finally` is the
place to clean up.
"""
import sys
import time

import worq
from worq import TaskSpace, get_broker
from worq.pool.thread import WorkerPool

space = TaskSpace()


def say(text):
    sys.stdout.write(text + '\n')   # in one piece, for several threads do


@space.task
def search(place):
    say(f'searching the {place}')
    try:
        while True:   # there is nothing to be found anywhere
            time.sleep(0.05)
    finally:
        say(f'leaving the {place} as it was')


@space.task
def report(findings):
    return f'found {findings}'


def main():
    broker = get_broker('memory://')
    broker.expose(space)
    q = broker.queue()
    with WorkerPool(broker, workers=2):
        searches = worq.map(q.search, ['attic', 'cellar', 'garden', 'shed'])
        wanted = q.report(searches)
        while searches[1].status != 'processing':
            time.sleep(0.01)
        for deferred in searches:
            deferred.cancel()
        for deferred in [*searches, wanted]:
            say(f'{deferred.name}: {type(deferred.exception(timeout=30)).__name__}')


if __name__ == '__main__':
    main()
