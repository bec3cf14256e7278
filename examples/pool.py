"""Runs tasks until it is stopped with Ctrl-C or SIGTERM: python pool.py [URL]"""
import logging
import sys

from tasks import text
from worq import get_broker
from worq.pool.process import WorkerPool


def init(url):
    """Make the broker of a child process."""
    logging.basicConfig(level=logging.INFO)
    broker = get_broker(url)
    broker.expose(text)
    return broker


if __name__ == '__main__':
    logging.basicConfig(level=logging.INFO)
    url = sys.argv[1] if len(sys.argv) > 1 else 'redis://localhost:6379/0'
    WorkerPool(get_broker(url), init, workers=2).start()
