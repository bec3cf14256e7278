"""WorQ, a task queue to embed.

>>> import worq
>>> broker = worq.get_broker('memory://', 'doctest')
>>> @broker.expose
... def double(number):
...     return 2 * number
>>> from worq.pool.thread import WorkerPool
>>> q = worq.get_queue('memory://', 'doctest')
>>> with WorkerPool(broker):
...     q.double(q.double(1)).result(timeout=10)
4
"""
from __future__ import annotations

from importlib import import_module
from typing import Any, Callable, Iterable, TextIO

from worq.codec import UNSIGNED, Codec, keyring_for
from worq.const import DEFAULT, MAX_PAYLOAD, check_span
from worq.core import Broker
from worq.current import CurrentTask, current_task
from worq.errors import (
    Cancelled, DecodeError, DuplicateTask, EncodeError, QueueError, Retry, TaskCancelled,
    TaskExpired, TaskFailure, TaskTimeout, TooLarge, UntrustedMessage, WorqError,
)
from worq.flow import (
    ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION, as_completed, batch, map, reduce, wait,
)
from worq.progress import Progress
from worq.queue.base import TaskQueue
from worq.streams import fill
from worq.task import Deferred, Queue, Task, TaskSpace
from worq.trust import without_password

__version__ = '2.0.0'

__all__ = [
    'get_broker', 'get_queue', 'queues', 'Broker', 'Deferred', 'Queue', 'Task', 'TaskSpace',
    'TaskQueue',
    'TaskFailure', 'TaskExpired', 'TaskCancelled', 'TaskTimeout', 'DuplicateTask',
    'local', 'batch', 'map', 'reduce', 'wait', 'as_completed', 'ALL_COMPLETED', 'FIRST_COMPLETED',
    'FIRST_EXCEPTION', 'progress',
    'current_task', 'CurrentTask', 'Progress', 'Cancelled', 'Retry',
    'WorqError', 'QueueError', 'TooLarge', 'EncodeError', 'DecodeError', 'UntrustedMessage',
    'UNSIGNED',
]

#: The module of each backend, by the scheme of its url; imported when it is first needed.
SCHEMES = {
    'memory': 'worq.queue.memory',
    'sqlite': 'worq.queue.sqlite',
    'redis': 'worq.queue.redis',
    'rediss': 'worq.queue.redis',
    'unix': 'worq.queue.redis',
    'redis+sentinel': 'worq.queue.redis',
    'rediss+sentinel': 'worq.queue.redis',
    'redis+cluster': 'worq.queue.redis',
    'rediss+cluster': 'worq.queue.redis',
}


def get_broker(url: str, name: str = DEFAULT, *, secret: Any = None, codec: str = 'pickle',
               max_payload: int = MAX_PAYLOAD, unknown_grace: float | None = None,
               **options: Any) -> Broker:
    """Make a broker.

    :param url: where the queue is: ``memory://`` (in this process; the same url and name
        is the same queue anywhere in it), ``sqlite:///path/queue.db`` (a file, shared by the
        processes of this machine; four slashes begin an absolute path),
        ``redis://host:6379/0``, ``rediss://`` (TLS), ``unix:///path/to/redis.sock``,
        ``redis+sentinel://host:26379,host:26379/service/0``
        or ``redis+cluster://host:6379,host:6379/``.
    :param name: which queue there; queues of different names share nothing.
    :param secret: signs messages, and verifies them; a string or bytes of at least 16
        bytes, or a list of them, of which the first signs. By default ``WORQ_SECRET``, or
        for a file, or a Redis on this machine, a key file of the user. `UNSIGNED` does without. In
        memory nothing is signed, with a secret or without.
    :param codec: 'pickle' (any Python object), 'cloudpickle' (functions and classes too that
        cannot be imported), 'json' or 'msgpack'.
    :param max_payload: bytes of a call or a result, at most.
    :param unknown_grace: seconds for which a call of a task that no living pool has waits for one,
        5 by default. Pools of this broker tell it, and the last pool to tell decides.
    :param options: of the backend. On Redis `retry_for` (seconds for which an operation is
        tried while Redis is out of reach, 5 by default), `strict` (refuse a server that
        may lose tasks) and `durable` (replicas that must have a call); of a file `retry_for` and
        `sync` (``second``, ``full``, ``off``: how soon a loss of power can undo nothing of what
        has been put); in memory none.
    :raises ValueError: for a url that no backend understands, or a bad option; and without a
        secret for a Redis on another machine, or a file that other users may write.
    :raises TypeError: for an option that the backend does not have.
    :raises ImportError: if a package is missing; it says which to install.
    """
    queue = _backend(url, name)(url, name, **options)   # first: it knows mistakes in a url
    if not url.startswith('memory:'):
        fill()   # there may be a key file to be made
    keys = keyring_for(url, secret, place=queue.place, shared=queue.shared)
    if unknown_grace is not None:
        queue.unknown_grace = int(1000 * check_span('unknown_grace', unknown_grace))
    return Broker(queue, Codec(name, format=codec, keys=keys, max_payload=max_payload))


def get_queue(url: str, name: str = DEFAULT, target: str = '', *, secret: Any = None,
              codec: str = 'pickle', max_payload: int = MAX_PAYLOAD,
              **task_options: Any) -> Queue:
    """Make a queue to call tasks through, with a broker of its own.

    :param url: see `get_broker`, as for `secret`, `codec` and `max_payload`.
    :param name: which queue there. Something must run a pool for that name.
    :param target: dotted name to start from, of a task or a namespace; empty: the root.
    :param task_options: defaults of the calls made through it, see `Task`. For options
        of the backend use ``get_broker(...).queue(...)``.
    :raises: what `get_broker` and `Task` do.
    """
    broker = get_broker(url, name, secret=secret, codec=codec, max_payload=max_payload)
    return broker.queue(target, **task_options)


def queues(url: str, **options: Any) -> list[str]:
    """The names of the queues at an address that pools have worked on, as far as that is known.

    :param url: see `get_broker`, and so for `options`, those of the backend.
    :raises: what `get_broker` does for mistakes in them.
    """
    with _backend(url, DEFAULT)(url, DEFAULT, **options) as backend:
        found: list[str] = backend.queues()
    return found


def local(workers: int | None = None, url: str = 'memory://', **options: Any) -> Any:
    """An executor whose workers are started here, and end with it; see `worq.executor.Executor`.

    ::

        with worq.local(workers=4) as run:
            squares = [run(square, n) for n in range(10)]   # Deferreds
            total = run(sum, squares)                       # which are arguments of other calls
            print(total.result())

    :param workers: how many; by default one for each processor.
    :param url: where the queue is, see `get_broker`; in this process by default.
    :param options: of the `Executor`.
    """
    return import_module('worq.executor').Executor(workers, url, **options)


def progress(deferreds: Iterable[Deferred], label: str = '', *, timeout: float | None = None,
             file: TextIO | None = None) -> Any:
    """Draw how many of some Deferreds are done, how many failed, and how long it will take; see
    `worq.bar.Bar`.

    ::

        for deferred in worq.progress(deferreds, 'pages'):   # in the order in which they are done
            print(deferred.result())

    By ``for`` it is drawn while they are told of; in a ``with`` while its block runs; by
    ``.wait()`` until all are done. In a notebook that is a widget. On a terminal it is a bar, by
    ``rich`` or ``tqdm`` if one of them is installed. Elsewhere it is a line now and then.

    :param label: stands before it.
    :param timeout: seconds from its begin, at most; None: as long as it takes.
    :param file: to which it is written; by default ``sys.stderr``, or a notebook.
    :raises TypeError: for anything but Deferreds.
    """
    return import_module('worq.bar').Bar(deferreds, label, timeout=timeout, file=file)


def _backend(url: str, name: str) -> Callable[..., TaskQueue]:
    if not isinstance(url, str):
        raise TypeError(f'a broker URL is a string, not {type(url).__name__}')
    if not isinstance(name, str) or not name:
        raise ValueError(f'invalid queue name: {name!r}; it is a string that is not empty')
    scheme, separator, _ = url.partition('://')
    if not separator or scheme not in SCHEMES:
        raise ValueError(f'invalid broker URL: {without_password(url)!r}; '
                         'write memory://, sqlite:///PATH, redis://HOST:PORT/DB, '
                         'rediss://HOST:PORT/DB, unix:///PATH, '
                         'redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or '
                         'redis+cluster://HOST:PORT')
    try:
        module = import_module(SCHEMES[scheme])
    except ModuleNotFoundError as error:
        if error.name not in ('redis', 'hiredis'):
            raise
        raise ImportError(f"{scheme}:// needs the package {error.name!r}: "
                          'pip install "WorQ[redis]"') from error
    factory: Callable[..., TaskQueue] = module.TaskQueue.open
    return factory
