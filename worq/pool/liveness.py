"""Which process it is, and the proof that one is dead."""
from __future__ import annotations

import os
import platform
import re

from worq import __version__
from worq.printable import logger
from worq.queue.base import TaskQueue

__all__ = ['bury_dead', 'cause_of_death', 'describe', 'link_of', 'read', 'started']


log = logger(__name__)


def started(pid: int) -> str:
    """When a process began, in ticks since the machine did.

    A pid alone proves nothing, for it is soon used again. 'zombie' for one that has ended
    and waits to be reaped; empty if nobody can tell, which proves nothing either.
    """
    # after the name, which is in parentheses and may contain anything: field 3 is the state
    fields = read(f'/proc/{pid}/stat').rpartition(')')[2].split()
    if len(fields) <= 19:
        return ''
    return 'zombie' if fields[0] == 'Z' else fields[19]


def read(path: str) -> str:
    try:
        with open(path, errors='replace') as file:   # the name of a process may be any bytes
            return file.read().strip()
    except OSError:
        return ''


def link_of(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ''


def describe(kind: str = '', size: int = 0) -> dict[str, str]:
    """What a pool tells of itself when it joins: enough to prove it dead, later.

    :param kind: 'thread' or 'process'.
    :param size: how many workers it has.
    """
    return {
        **({'kind': kind, 'size': str(size)} if kind else {}),
        'host': platform.node(),
        # containers of one machine may share its name, and have pids of their own
        'boot': ' '.join([read('/proc/sys/kernel/random/boot_id'), link_of('/proc/self/ns/pid')]),
        'pid': str(os.getpid()),
        'started': started(os.getpid()),
        'version': __version__,
    }


def cause_of_death(info: dict[str, str], ours: dict[str, str]) -> str:
    """How we know that a pool's process is gone; empty if we do not.

    :param info: what it told when it joined.
    :param ours: what we would tell.
    """
    if not ours['boot'].strip() or not re.fullmatch('[0-9]{1,9}', info.get('pid', '')) \
            or (info.get('host'), info.get('boot')) != (ours['host'], ours['boot']):
        return ''
    pid = int(info['pid'])
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return f'process {pid} of its pool is gone'
    except OSError:
        return ''
    began = started(pid)
    if info.get('started') and began and began != info['started']:
        return f'process {pid} of its pool is gone'
    return ''


def bury_dead(backend: TaskQueue, pool: str, ours: dict[str, str]) -> None:
    """Take over from the pools of this host that are dead.

    :param pool: which looks for them; and `ours` is what it told when it joined.
    """
    here = {name: ours[name] for name in ('host', 'boot')}
    if not here['boot'].strip():
        return   # nobody could be proved dead here
    for other, info in backend.pools(pool).items():
        cause = cause_of_death({**info, **here}, ours)
        if cause:
            lost = backend.abandon(other, cause)
            backend.leave(other)
            log.warning('took over %d tasks from pool %s: %s', lost, other, cause)
