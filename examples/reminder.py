"""A reminder in a year, or at any date: set by one program, put by whichever pool lives then.

    python examples/reminder.py "renew the certificate" 2031-05-01T09:00 Europe/Berlin
    python examples/reminder.py               # which there are
    python examples/reminder.py --pool        # remind, until Ctrl-C

No process has to live until then. If no pool does on that day, the reminder comes with the next
one: late rather than never. Set again, it is at another date. ``worq cron`` lists, pauses and
forgets reminders; a call with a delay (``Task(q.remind, eta=...)``) could only be cancelled.
"""
from datetime import datetime
import os
import sys
from zoneinfo import ZoneInfo

from worq import TaskSpace, current_task, get_broker
from worq.pool.process import WorkerPool

URL = os.environ.get('WORQ_URL', 'sqlite:///reminders.db')
reminders = TaskSpace('reminders')


@reminders.task
def remind(what):
    print(f'{current_task().slot:%Y-%m-%d %H:%M}: {what}', flush=True)
    return what


def set_reminder(broker, what, when, zone='UTC'):
    at = datetime.fromisoformat(when).replace(tzinfo=ZoneInfo(zone))
    return broker.schedules.set(f'remind: {what}', broker.queue().reminders.remind, args=[what],
                                at=at, zone=zone)


def init(url):
    """Make the broker of a child process."""
    broker = get_broker(url)
    broker.expose(reminders)
    return broker


def main(*args):
    with init(URL) as broker:
        if args == ('--pool',):
            WorkerPool(broker, init, workers=1).start()
        elif args:
            print(set_reminder(broker, *args))
        else:
            print(*broker.schedules.list(), sep='\n')


if __name__ == '__main__':
    main(*sys.argv[1:])
