"""Calls, seen by the one who calls: Queue and Task.

Nothing in here knows how a task is stored or run. A `Queue` turns attribute access into a
name, a `Task` adds options to it, and both hand the call to their broker; the
broker answers with a `Deferred`.
"""
from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Never, Sequence

from worq.blame import Unsendable
from worq.deferred import Deferred
from worq.errors import DuplicateTask, TaskExpired, TaskFailure
from worq.options import FAIL, PASS, SKIP, TIMEOUT, UNSET, Options
from worq.printable import line
from worq.protocols import CallBroker
from worq.space import TaskSpace
from worq.transaction import is_connection

__all__ = ['Queue', 'Task', 'TaskSpace', 'Deferred',
           'TaskFailure', 'TaskExpired', 'DuplicateTask']   # WorQ 1.x had these here


class Queue(Unsendable):
    """A handle on the tasks of a broker's queue: attributes extend the name, a call enqueues.

    >>> import worq
    >>> q = worq.get_queue('memory://')
    >>> q.foo.bar
    <Queue foo.bar [default]>

    ``q.foo.bar(1, key=None)`` enqueues a call of the task ``foo.bar`` and returns its
    `Deferred` (None with ``ignore_result=True``); it raises what ``Broker.enqueue`` does. Two
    queues are equal if they belong to the same broker, whatever their targets.

    :param broker: whose queue it is.
    :param target: dotted name of a task or of a namespace of tasks.
    :param options: the defaults of the calls made through it, see `Task`.
    """

    # Double underscores keep the names out of the way of tasks, which may have any name.
    __slots__ = ('__broker', '__target', '__options')
    __instead__ = 'call it, or pass a Deferred; a task has current_task().queue'

    def __init__(self, broker: CallBroker, target: str = '', **options: Any) -> None:
        self.__broker = broker
        self.__target = target
        self.__options = Options().updated(options) if options else Options()

    def __getattr__(self, name: str) -> Queue:
        if name.startswith('__'):  # asked for by copy, pickle, inspect: not a task
            raise AttributeError(name)
        child = Queue.__new__(Queue)
        child.__broker = self.__broker
        child.__target = f'{self.__target}.{name}' if self.__target else name
        child.__options = self.__options
        return child

    def __call__(self, /, *args: Any, **kw: Any) -> Any:
        """Enqueue a call; returns its Deferred, or None if the result is ignored."""
        return self.__broker.enqueue(self.__target, args, kw, self.__options)

    @property
    def using(self) -> Using:
        """``q.using(connection)`` is this queue as a part of a transaction of the caller's.

        ::

            with connection:
                connection.execute('INSERT INTO orders ...')
                receipt = q.using(connection).mail.receipt(order_id)
            receipt.result()

        The calls that are made through it exist if and only if the transaction commits, and do not
        begin before; after a rollback they are unknown. Their Deferreds may be arguments of
        further calls of the transaction; to wait for one of them inside it raises RuntimeError.
        ``worq.batch``, ``worq.map`` and ``worq.reduce`` take it as they take any queue.

        The queue must be in a file (``sqlite:///...``), and the connection one of `sqlite3` with
        that very file, or what SQLAlchemy or Django have around it. If it has no transaction, one
        is begun if the connection begins transactions by itself, as Python's do by default.

        (A task named ``using`` can still be called: no task can have a connection as its argument.)

        :raises TypeError: for a queue that is not in a file.
        :raises ValueError: if the connection is with another file, or in no transaction.
        """
        child = Using.__new__(Using)
        child.__broker = self.__broker
        child.__target = f'{self.__target}.using' if self.__target else 'using'
        child.__options = self.__options
        return child

    def __by(self, connection: object) -> Queue:
        """See `using`, of which this is the child."""
        queue = Queue.__new__(Queue)
        queue.__broker = self.__broker.using(connection)
        queue.__target = self.__target.removesuffix('using').removesuffix('.')
        queue.__options = self.__options
        return queue

    def __len__(self) -> int:
        """How many tasks of the queue are not done yet, pending ones among them."""
        return len(self.__broker)

    def __delitem__(self, key: object) -> None:
        """``del q[:]`` cancels all that has not begun."""
        if key != slice(None, None, None):
            raise ValueError('delitem is only valid with a full slice ([:])')
        self.__broker.discard_pending_tasks()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Queue):
            return NotImplemented
        return self.__broker is other.__broker

    def __hash__(self) -> int:
        return hash(self.__broker)

    def __str__(self) -> str:
        return self.__target or repr(self)

    def __copy__(self) -> Queue:
        return self

    def __repr__(self) -> str:
        return line(f'<Queue {self.__target or "(root)"} [{self.__broker.name}]>')


class Using(Queue):
    """What is behind ``q.using``: called with a connection, the queue by that one; else a task or
    a namespace of tasks of this name, as any other."""

    __slots__ = ()

    def __call__(self, /, *args: Any, **kw: Any) -> Any:
        if len(args) == 1 and not kw and is_connection(args[0]):
            return self._Queue__by(args[0])
        return super().__call__(*args, **kw)


class Task(Unsendable):
    """A task of a queue with options of its own; call it to enqueue.

    ::

        resize = Task(q.images.resize, id='resize-42', ignore_result=True)
        resize('cat.jpg')

    Options that are not given are those of the queue.

    :param queue: the queue whose target is the task: ``q.images.resize``.
    :param id: the task's id, or a function that makes it of the call's arguments. Only one
        live task may have it; a second one raises `DuplicateTask`. By default each call has
        an id of its own.
    :param on_error: what happens when an argument that is a Deferred fails. `Task.FAIL`
        (default): the task fails with that failure, and does not run. `Task.PASS`: the
        `TaskFailure` is handed over in place of the value. `Task.SKIP`: it is left out of the
        list that it stands in, at any depth; one that stands elsewhere is as with `FAIL`.
    :param ignore_result: keep neither result nor failure; the call returns None.
    :param result_timeout: seconds that the outcome is kept after the task has completed and
        everything that depends on it has run; an hour by default. Of a call that a task has made
        to return it, no longer by default than the outcome of that task is.
    :param keep: 'needed': once it has been an argument, the result goes within two seconds after
        the last call that it is an argument of, unless somebody has asked for it. A failure is
        kept all the same. 'timeout': it is kept for the `result_timeout`. By default the
        former for what ``worq.batch``, ``worq.map`` and ``worq.reduce`` make, but not if there is
        an `id` or a `result_timeout`; the latter for all other calls.
    :param heartrate: seconds between two heartbeats of the pool that runs it. A pool
        that misses three loses the task to another. By default the pool's own pace: it is
        missed after 15 seconds, after 60 in a thread pool.
    :param max_deliveries: how often the task is handed to a worker before it fails as
        `TaskExpired` because each of them died of it; 3 by default. With 1 a task that
        may have begun is never run again.
    :param priority: 'high', 'normal' or 'low': ready tasks of a higher priority are taken first.
    :param delay: seconds before which the task does not run; it may be a second more.
    :param eta: a `datetime` with a time zone, before which the task does not run, by the
        clock of the one who calls; in place of `delay`.
    :param expires: seconds from the call after which it is too late to begin, or to try
        again: then the task fails as `TaskExpired`. A worker that has it by then goes on.
    :param retries: how often the task is run again if it fails; 0 by default. It fails with
        its last error.
    :param backoff: seconds between an attempt and the next; a sequence of them, whose last
        one repeats; or a function of the attempt that failed, from 1, which is called
        here, for the first 100 (20 without `retries`). By default the pauses double from a
        second to five minutes, and up to half of each is left to chance.
    :param retry_on: an exception type, or a tuple of them: only these, and what
        derives from them, are worth another attempt. By default each `Exception`.
    :param timeout: seconds that one attempt may take. Then `TaskTimeout` is raised in the
        task, and is its failure; a child process that does not heed it is killed.
        By default there is no limit.
    :raises ValueError: for an option that makes no sense, and for one that is too large: seconds
        are at most those of ten years, retries and deliveries a billion, and an `eta` is at
        most ten years ahead.
    :raises TypeError: for one that does not exist.

    The last four may also be given where the task is defined, see `TaskSpace.task`; what is
    given here is preferred. An attempt is what ends with an exception or the time limit. A worker
    that dies is none: see `max_deliveries`, which counts anew with each attempt. For what is
    never tried again, see the guide.
    """

    PASS = PASS
    FAIL = FAIL
    SKIP = SKIP
    __instead__ = 'call it, or pass a Deferred'

    def __init__(self, queue: Queue, id: str | Callable[..., str] | None = UNSET,
                 on_error: str = UNSET, ignore_result: bool = UNSET,
                 result_timeout: float = UNSET, heartrate: float = UNSET, *,
                 max_deliveries: int = UNSET, priority: str = UNSET,
                 delay: float = UNSET, eta: datetime | None = UNSET,
                 expires: float | None = UNSET, retries: int | None = UNSET,
                 backoff: float | Sequence[float] | Callable[[int], float] | None = UNSET,
                 retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = UNSET,
                 timeout: float | None = UNSET, keep: str | None = UNSET,
                 **unknown: Never) -> None:
        if not isinstance(queue, Queue):
            raise TypeError('a Task is made of a Queue, as in Task(q.function, ...); '
                            f'not of {queue!r}')
        self._given = {name: value for name, value in [
            ('id', id), ('on_error', on_error), ('ignore_result', ignore_result),
            ('result_timeout', result_timeout), ('heartrate', heartrate),
            ('max_deliveries', max_deliveries), ('priority', priority), ('delay', delay),
            ('eta', eta), ('expires', expires), ('retries', retries), ('backoff', backoff),
            ('retry_on', retry_on), ('timeout', timeout), ('keep', keep), *unknown.items(),
        ] if value is not UNSET}
        self.queue = queue
        _, self.name, defaults = parts(queue)
        self._options = defaults.updated(self._given)

    @property
    def broker(self) -> CallBroker:
        """The broker of the queue."""
        return parts(self.queue)[0]

    @property
    def options(self) -> dict[str, Any]:
        """The options that were given, a new dict."""
        return dict(self._given)

    @property
    def id(self) -> str | Callable[..., str] | None:
        """The id, or the function that makes it; None: each call has its own."""
        return self._options.id

    @property
    def on_error(self) -> str:
        """`Task.FAIL`, `Task.PASS` or `Task.SKIP`."""
        return self._options.on_error

    @property
    def ignore_result(self) -> bool:
        """Whether no outcome is kept."""
        return self._options.ignore_result

    @property
    def result_timeout(self) -> float:
        """Seconds that the outcome is kept."""
        return self._options.result_timeout

    @property
    def keep(self) -> str:
        """'needed' or 'timeout'; where neither was given, as for a call that is made alone."""
        return self._options.keep or TIMEOUT

    @property
    def heartrate(self) -> float:
        """Seconds between two heartbeats; 30, as in 1.x, where none was given."""
        return 30 if self._options.heartrate is None else self._options.heartrate

    @property
    def max_deliveries(self) -> int:
        """How often the task is handed to a worker, at most."""
        return self._options.max_deliveries

    @property
    def priority(self) -> str:
        """'high', 'normal' or 'low'."""
        return self._options.priority

    @property
    def delay(self) -> float:
        """Seconds before which the task does not run."""
        return self._options.delay

    @property
    def eta(self) -> datetime | None:
        """When it is due, at the earliest; None: at once, or after the delay."""
        return self._options.eta

    @property
    def expires(self) -> float | None:
        """Seconds after which it is too late to begin; None: it never is."""
        return self._options.expires

    @property
    def retries(self) -> int | None:
        """How often it is run again if it fails; None: as its definition says."""
        return self._options.retries

    @property
    def backoff(self) -> Any:
        """Seconds between attempts, as given; None: as its definition says."""
        return self._options.backoff

    @property
    def retry_on(self) -> Any:
        """The exceptions worth another attempt; None: as its definition says."""
        return self._options.retry_on

    @property
    def timeout(self) -> float | None:
        """Seconds that an attempt may take; None: as its definition says."""
        return self._options.timeout

    def __call__(self, /, *args: Any, **kw: Any) -> Any:
        """Enqueue a call; returns its Deferred, or None if the result is ignored."""
        return self.broker.enqueue(self.name, args, kw, self._options)

    def with_options(self, options: dict[str, Any] | None = None, /, **more: Any) -> Task:
        """The same task with other options, from the dict `options` or by name. They replace all
        that were given here."""
        return Task(self.queue, **{**(options or {}), **more})

    def __repr__(self) -> str:
        return line(f'<Task {self.name} [{self.broker.name}]>')


def parts(target: Queue | Task) -> tuple[CallBroker, str, Options]:
    """The broker, the name and the options of the calls that a Queue or Task makes.

    :raises TypeError: for anything else.
    """
    if isinstance(target, Task):
        return target.broker, target.name, target._options
    if not isinstance(target, Queue):
        raise TypeError('a Queue or a Task is needed here, as in q.module.function; '
                        f'not {target!r}')
    inner = object.__getattribute__
    return (inner(target, '_Queue__broker'), inner(target, '_Queue__target'),
            inner(target, '_Queue__options'))
