"""Work that survives its program: stop it half-way (Ctrl-C, or kill -9), and start it again.

    python examples/durable.py [FILE]

The queue is in a file, work.db unless another one is given. What had been done by then is kept
there, and so is what is left to do.
"""
import sys
import time

import worq
from worq import Task, TaskSpace, get_broker
from worq.pool.thread import WorkerPool

PAGES = 40
book = TaskSpace('book')


@book.task
def words(page):
    time.sleep(0.1)   # as if it were much work
    print(f'page {page} is done', flush=True)
    return page % 7 + 200


@book.task
def total(counts):
    return sum(counts)


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else 'work.db'
    broker = get_broker(f'sqlite:///{path}')
    broker.expose(book)
    q = broker.queue()
    report = broker.deferred('report')   # of this program, or of one before it
    if report.status == 'unknown':
        with worq.batch(q):              # all of it is put, or nothing
            counts = [q.book.words(page) for page in range(PAGES)]
            report = Task(q.book.total, id='report')(counts)
        print(f'{PAGES} pages are put')
    else:
        print(f'{len(broker)} tasks are left', flush=True)
    with WorkerPool(broker, workers=2):
        print(f'{report.result(timeout=60)} words')
    broker.close()


if __name__ == '__main__':
    main()
