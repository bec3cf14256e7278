"""Tasks that are called at regular times, as two deploys have them, with clocks that are wrong."""
from __future__ import annotations

import os
import time
from typing import Any

from bench.faults import journal
from bench.faults.tasks import write
from worq import Broker, TaskSpace, current_task, get_broker

__all__ = ['CHANGED', 'STEADY', 'askew', 'expose', 'init']

#: What all deploys have: a slot each second, whatever becomes of it.
STEADY: dict[str, dict[str, Any]] = {
    'all': {'every': 1, 'missed': 'all'},
    'last': {'cron': '* * * * * *', 'zone': 'Australia/Lord_Howe', 'overlap': 'queue'},
    'slow': {'every': 1},
}
#: What each of them has for the task `changed`.
CHANGED: dict[str, dict[str, Any]] = {
    'old': {'every': 1, 'overlap': 'queue'}, 'new': {'cron': '*/2 * * * * *', 'missed': 'all'}}
SLOW = 1.3   # seconds


def run() -> None:
    """Write down which slot this is for, and by which life of a task."""
    task = current_task()
    assert task.slot is not None
    if task.name == 'slow':
        time.sleep(SLOW)
    write(journal.BEGIN, f'{task.name}@{task.slot.timestamp():.3f}', task.token[:12])


def askew(seconds: float) -> None:
    """Have the clock of this process be wrong from now on."""
    truth = time.time
    time.time = lambda: truth() + seconds


def expose(url: str, name: str, deploy: str) -> Broker:
    """A broker that runs these tasks, as a deploy has them."""
    space = TaskSpace()
    for task, when in {**STEADY, 'changed': CHANGED[deploy]}.items():
        space.task(run, task, **when)
    broker = get_broker(url, name)
    broker.expose(space)
    return broker


def init(url: str, name: str, deploy: str, skew: float) -> Broker:
    """The broker of a child."""
    askew(skew)
    broker = expose(url, name, deploy)
    write(journal.READY, detail=os.getppid())
    return broker
