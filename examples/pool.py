"""Runs tasks until it is stopped with Ctrl-C or SIGTERM: python pool.py"""
import logging
import os

from tasks import text
from worq import get_broker
from worq.pool.process import WorkerPool

URL = os.environ.get('WORQ_URL', 'redis://localhost:6379/0')


def init(url):
    """Make the broker of a child process."""
    logging.basicConfig(level=logging.INFO)
    broker = get_broker(url)
    broker.expose(text)
    return broker


if __name__ == '__main__':
    logging.basicConfig(level=logging.INFO)
    WorkerPool(get_broker(URL), init, workers=2).start()
