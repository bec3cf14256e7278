"""In a pool's child: the pool's queue, opened when it is first used.

Most tasks never ask for their queue, and to load redis takes a child as long as all of WorQ.
"""
from __future__ import annotations

from functools import wraps
from importlib import import_module
from types import FunctionType
from typing import Any, Callable

from worq import const
from worq.queue import base
from worq.shield import unbroken

__all__ = ['TaskQueue', 'postpone']

_module = ''   # that really makes queues ...
_url = ''      # ... and of which url they are opened late
_place = ''    # what signatures name of it


def postpone(modules: dict[str, str], url: str, place: str = '') -> None:
    """From now on, open the queues of this url late.

    :param modules: that of each backend, by the scheme of its url; it is changed.
    :param place: their `TaskQueue.place`, which the url alone does not tell.
    """
    global _module, _url, _place
    scheme, _url, _place = url.partition('://')[0], url, place
    _module, modules[scheme] = modules[scheme], __name__


class TaskQueue(base.TaskQueue):
    """Stands for a queue, and does nothing itself."""

    def __init__(self, url: str, name: str = const.DEFAULT) -> None:
        super().__init__(url, name)
        self.place = _place
        self._opened: list[base.TaskQueue] = []

    @classmethod
    def open(cls, url: str, name: str = const.DEFAULT, **options: Any) -> base.TaskQueue:
        """A queue of this url and name: at once, if there could be a mistake in it.

        That is in options, and in other urls than the pool's, which the parent has opened.
        """
        if url == _url and not options:
            return cls(url, name)
        return _open(url, name, **options)

    def opened(self) -> base.TaskQueue:
        """The queue that this one stands for."""
        if not self._opened:
            with unbroken():   # else an interrupted task might leave half a module to others
                self._opened.append(_open(self.url, self.name))
        return self._opened[0]   # if two threads have opened one, the first is everybody's

    def close(self) -> None:
        for queue in self._opened:
            queue.close()


def _open(url: str, name: str, **options: Any) -> base.TaskQueue:
    queue: base.TaskQueue = import_module(_module).TaskQueue.open(url, name, **options)
    return queue


def _passed_on(verb: str, method: FunctionType) -> Callable[..., Any]:
    @wraps(method)
    def call(self: TaskQueue, *args: Any, **kw: Any) -> Any:
        return getattr(self.opened(), verb)(*args, **kw)
    return call


for _verb, _method in [item for _part in base.TaskQueue.__mro__ for item in vars(_part).items()]:
    if isinstance(_method, FunctionType) and _verb[0] != '_' and _verb not in vars(TaskQueue):
        setattr(TaskQueue, _verb, _passed_on(_verb, _method))
