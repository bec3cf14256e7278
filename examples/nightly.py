"""A report for each night, by cron, which is named by its night and not by when it was written.

    python examples/nightly.py [URL]               # put and run it, until Ctrl-C
    worq cron --url URL                            # when it ran, and when it will
    worq cron run reports.nightly --url URL        # one more, now

Start it as often as you like, on as many machines: each night has one report. Nights on which
nothing ran are told in the next report. Written again a report is the same, so it may be retried.
"""
from datetime import timedelta
import logging
from pathlib import Path
import sys

from worq import TaskSpace, current_task, get_broker
from worq.pool.process import WorkerPool

reports = TaskSpace('reports')


@reports.task(cron='0 3 * * *', zone='Europe/Berlin', retries=3, backoff=[60, 600])
def nightly():
    task = current_task()
    day = (task.slot - timedelta(days=1)).date()   # of the night that is meant; not "yesterday"
    text = f'sales of {day}\n'
    if task.missed:
        text += f'{task.missed} nights before have no report\n'
    Path(f'{day}.txt').write_text(text)
    return f'{day}.txt'


def init(url):
    """Make the broker of a child process."""
    logging.basicConfig(level=logging.INFO)
    broker = get_broker(url)
    broker.expose(reports)
    return broker


if __name__ == '__main__':
    logging.basicConfig(level=logging.INFO)
    url = sys.argv[1] if len(sys.argv) > 1 else 'sqlite:///reports.db'
    WorkerPool(get_broker(url), init, workers=1).start()
