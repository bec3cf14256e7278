"""A folder that is looked at every ten seconds; each new file in it is a task of its own.

    python examples/poll.py FOLDER [URL]      # until Ctrl-C

A look that takes longer than ten seconds is not overtaken by the next one: that slot is skipped
(``overlap='skip'`` is the default). The id of a task is the name of its file, so one that is still
to be done is not put again.
"""
import logging
import os
from pathlib import Path
import sys

from worq import DuplicateTask, Task, TaskSpace, current_task, get_broker
from worq.pool.process import WorkerPool

inbox = TaskSpace('inbox')


@inbox.task(every=10, missed='none')   # a look that was missed is made up for by the next one
def look():
    queue = current_task().queue
    found = sorted(Path(os.environ['INBOX']).glob('*.txt'))
    for path in found:
        try:
            Task(queue.inbox.load, id=f'load-{path.name}')(str(path))
        except DuplicateTask:   # put by a look before this one, and not done yet
            pass
    return len(found)


@inbox.task(retries=3)
def load(path):
    words = len(Path(path).read_text().split())
    os.replace(path, f'{path}.done')
    print(f'{Path(path).name}: {words} words', flush=True)


def init(url):
    """Make the broker of a child process."""
    logging.basicConfig(level=logging.INFO)
    broker = get_broker(url)
    broker.expose(inbox)
    return broker


if __name__ == '__main__':
    logging.basicConfig(level=logging.INFO)
    os.environ['INBOX'] = sys.argv[1]   # for the children, too
    url = sys.argv[2] if len(sys.argv) > 2 else 'sqlite:///inbox.db'
    WorkerPool(get_broker(url), init, workers=2).start()
