"""The tasks. Import this after ``django.setup()``, for it has the models."""
from functools import wraps

from django.db import close_old_connections

from shop.models import Order
from worq import TaskSpace

shop = TaskSpace('shop')


def fresh_connections(task):
    """As around a request: connections that broke or are too old are closed."""
    @wraps(task)
    def run(*args, **kw):
        close_old_connections()
        try:
            return task(*args, **kw)
        finally:
            close_old_connections()
    return run


@shop.task
@fresh_connections
def write_receipt(order_id):
    """Only the id is sent: the order is read as it is when the task runs."""
    order = Order.objects.get(id=order_id)
    order.receipt = f'Order {order.id}: 1 {order.item}'
    order.save(update_fields=['receipt'])
    return order.receipt
