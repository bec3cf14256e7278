"""What the queues of a process share: connections with a server, and the scripts."""
from __future__ import annotations

import os
import weakref
from typing import Protocol

from worq.lock import Lock
from worq.queue.redis import script
from worq.queue.redis.connect import Link, parse
from worq.queue.redis.discovery import Cluster

__all__ = ['link', 'of_this_process', 'scripts']

_links: weakref.WeakValueDictionary[tuple[str, int, float, bool], Link] = \
    weakref.WeakValueDictionary()


def link(url: str, key: str, retry_for: float, strict: bool) -> Link:
    """The connections with a server, shared by all that use it: queues are made by the call.

    :param key: one of the queue's keys. Queues of a cluster share if they are in one slot.
    """
    address = parse(url, key)
    slot = -1
    if isinstance(address.finder, Cluster):
        slot = address.finder.slot
        if '{}' in key:
            raise ValueError(f'the name of a queue in a cluster cannot begin with a brace: {key}')
    with _scripts_lock:
        found = _links.get((url, slot, retry_for, strict))
        if found is None:
            found = _links[url, slot, retry_for, strict] = Link(address, retry_for, strict)
        return found


_scripts: dict[bool, dict[str, script.Script]] = {}
_scripts_lock = Lock()   # what a signal handler does again within it does no harm


def scripts(clock_key: bool) -> dict[str, script.Script]:
    """The verbs; the files are read once in a process."""
    with _scripts_lock:
        if clock_key not in _scripts:
            _scripts[clock_key] = script.load(clock_key)
        return _scripts[clock_key]


# -- fork: the child gets copies of the descriptors, and must not use them -----------

class Forked(Protocol):
    """What has connections of its process."""

    def forked(self) -> None:
        """This is a child: let go of them."""


of_this_process: weakref.WeakSet[Forked] = weakref.WeakSet()   #: queues and bells


def _forked() -> None:
    global _scripts_lock
    _scripts_lock = Lock()
    for one in list(of_this_process):
        one.forked()


os.register_at_fork(after_in_child=_forked)
