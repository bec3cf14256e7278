"""Does what a view would do: python buy.py ITEM, while pool.py runs."""
import os
import sys

import django

os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'settings')
django.setup()

from django.core.management import call_command   # noqa: E402
from django.db import transaction   # noqa: E402

from shop.calls import q   # noqa: E402
from shop.models import Order   # noqa: E402


def buy(item):
    """Save an order, and have its receipt written; the Deferred of the receipt, in a list."""
    receipts = []
    with transaction.atomic():
        order = Order.objects.create(item=item)
        # Not before the commit: a worker would not find the order. And not after a rollback.
        transaction.on_commit(lambda: receipts.append(q.write_receipt(order.id)))
        if item == 'nothing':
            transaction.set_rollback(True)
    return receipts


if __name__ == '__main__':
    call_command('migrate', run_syncdb=True, verbosity=0)
    for receipt in buy(sys.argv[1]):
        print(receipt.result(timeout=60))
    print(f'{Order.objects.count()} orders')
