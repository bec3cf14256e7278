"""What was probably meant by a call that cannot be right, for an error or a warning."""
from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping

from worq.errors import QueueError
from worq.options import Options
from worq.pools import Pool
from worq.printable import line, logger

__all__ = ['option_among', 'other_than_a_task', 'warn']

log = logger(__name__)

TOLD = 60    # characters of a value

_CALL = 'a call of the task itself puts it, as q.module.function(...)'
_ALL = 'del q[:] cancels all that has not begun, and len(q) tells how many tasks there are'
_RESULT = 'a call returns a Deferred, which has .result(), .wait(), .status and .cancel()'
_MANY = 'worq.map(q.module.function, items) makes a call for each of them, and so does worq.reduce'
_POOL = 'a pool is started and stopped: worq.pool.thread, worq.pool.process'

#: The last names of calls that were hardly meant to be tasks, and what there is for it.
MEANT = {
    **dict.fromkeys(['submit', 'delay', 'apply', 'apply_async', 'enqueue', 'enqueue_call', 'put',
                     'defer'], _CALL),
    **dict.fromkeys(['purge', 'empty', 'clear', 'flush', 'discard', 'size', 'qsize',
                     'is_empty'], _ALL),
    **dict.fromkeys(['result', 'get', 'wait', 'join', 'status', 'cancel',
                     'explain'], _RESULT),
    **dict.fromkeys(['map', 'starmap', 'imap', 'reduce', 'map_async'], _MANY),
    **dict.fromkeys(['start', 'stop', 'close', 'shutdown'], _POOL),
}


def other_than_a_task(name: str) -> str:
    """What there is for a call whose name can hardly be that of a task; empty if it can."""
    return MEANT.get(name.rpartition('.')[2], '')


def warn(name: str, queue: str, pools: Callable[[], Iterable[Pool]]) -> None:
    """Warn of a call whose name can hardly be that of a task, unless a pool has one of that name.

    :param pools: asks for those of the queue that are alive.
    """
    meant = other_than_a_task(name)
    if not meant:
        return
    try:
        known = any(name in (pool.tasks or ()) for pool in pools())
    except QueueError:   # the call itself will say so
        return
    if not known:
        log.warning('%s [%s] is put as a task, and no pool that is known now has one of this '
                    'name; was something else meant? %s', name, queue, meant)


def option_among(error: BaseException, kw: Mapping[str, Any], name: str) -> str:
    """What to add to the error of a call that was given an option of a `Task` as an argument."""
    if not isinstance(error, TypeError):
        return ''
    text = str(error)
    for word, value in kw.items():
        if word in Options._fields and 'keyword argument' in text and repr(word) in text:
            return f'; an option? Task(q.{name}, {word}={line(repr(value), TOLD)})'
    return ''
