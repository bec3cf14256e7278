"""Runs the tasks until it is stopped: python pool.py"""
import os

import django

from worq import get_broker
from worq.pool.process import WorkerPool

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')


def init(url):
    """Make the broker of a child process, which has Django and connections of its own."""
    django.setup()
    from shop.tasks import shop
    broker = get_broker(url)
    broker.expose(shop)
    return broker


if __name__ == '__main__':
    from django.conf import settings
    WorkerPool(get_broker(settings.WORQ_URL), init, workers=2).start()
