"""Calls and their results, seen by the one who calls: Queue, Task, Deferred.

Nothing in here knows how a task is stored or run. A `Queue` turns attribute access into a
name, a `Task` adds options to it, and both hand the call to their broker; the
broker answers with a `Deferred`.
"""
from __future__ import annotations

from datetime import datetime
from typing import Any, Callable, Generator, NamedTuple, Never, Sequence

from worq import codec, const
from worq.anchor import kept_by
from worq.errors import DuplicateTask, QueueError, TaskExpired, TaskFailure
from worq.options import FAIL, PASS, UNSET, Options
from worq.printable import line
from worq.protocols import CallBroker
from worq.progress import Progress
from worq.queue import base
from worq.space import TaskSpace

__all__ = ['Queue', 'Task', 'TaskSpace', 'Deferred',
           'TaskFailure', 'TaskExpired', 'DuplicateTask']   # WorQ 1.x had these here

NUMBERS = frozenset((int, float))   # types that need no longer look

class Queue:
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
        return self.__target

    def __repr__(self) -> str:
        return line(f'<Queue {self.__target or "(root)"} [{self.__broker.name}]>')


class Task:
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
        `TaskFailure` is handed over in place of the value.
    :param ignore_result: keep neither result nor failure; the call returns None.
    :param result_timeout: seconds that the outcome is kept after the task has completed and
        everything that depends on it has run; an hour by default. Of a call that a task has made
        to return it, no longer by default than the outcome of that task is.
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

    def __init__(self, queue: Queue, id: str | Callable[..., str] | None = UNSET,
                 on_error: str = UNSET, ignore_result: bool = UNSET,
                 result_timeout: float = UNSET, heartrate: float = UNSET, *,
                 max_deliveries: int = UNSET, priority: str = UNSET,
                 delay: float = UNSET, eta: datetime | None = UNSET,
                 expires: float | None = UNSET, retries: int | None = UNSET,
                 backoff: float | Sequence[float] | Callable[[int], float] | None = UNSET,
                 retry_on: type[BaseException] | tuple[type[BaseException], ...] | None = UNSET,
                 timeout: float | None = UNSET, **unknown: Never) -> None:
        if not isinstance(queue, Queue):
            raise TypeError('a Task is made of a Queue, as in Task(q.function, ...); '
                            f'not of {queue!r}')
        self._given = {name: value for name, value in [
            ('id', id), ('on_error', on_error), ('ignore_result', ignore_result),
            ('result_timeout', result_timeout), ('heartrate', heartrate),
            ('max_deliveries', max_deliveries), ('priority', priority), ('delay', delay),
            ('eta', eta), ('expires', expires), ('retries', retries), ('backoff', backoff),
            ('retry_on', retry_on), ('timeout', timeout), *unknown.items(),
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
        """`Task.FAIL` or `Task.PASS`."""
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
        """The same task with other options, which replace all that were given here."""
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
    return (inner(target, '_Queue__broker'), str(target), inner(target, '_Queue__options'))


class Call(NamedTuple):
    """What a Deferred is the result of.

    `args` and `kw` are None once the Deferred is an argument of another call: else the
    last link of a chain would keep all the earlier ones in memory.
    """

    id: str
    name: str
    args: tuple[Any, ...] | None
    kw: dict[str, Any] | None
    options: Options

    def __repr__(self) -> str:
        return line(f'<Call {self.name} {self.id}>')


class Deferred:
    """The result of a call, wherever and whenever it arrives.

    Wait for it (``wait``, ``result``), ``await`` it, ``cancel`` it, or pass it as an
    argument of another call, nested anywhere in its arguments: that task then runs when the
    value is there, and gets the value. Any number of Deferreds, tasks and processes may read
    one result until its ``result_timeout`` is over. A Deferred may be used by many threads.

    Brokers make them: by a call, and ``broker.deferred(id)`` for a task of any process.
    """

    __slots__ = ('broker', 'id', 'name', '_args', '_kw', '_options', '_nonce', '_raw', '_value',
                 '_batch', '__weakref__')

    def __init__(self, broker: CallBroker, id: str, name: str, args: tuple[Any, ...] | None,
                 kw: dict[str, Any] | None, options: Options, nonce: str = '') -> None:
        self.broker = broker
        self.id = id                        #: the task's id
        self.name = name                    #: the task's dotted name; '?' if taken up by its id
        self._args = args
        self._kw = kw                       # None also for none, which is so in most calls
        self._options = options
        self._nonce = nonce
        self._raw: bytes | None = None      # the outcome on record, once it has arrived
        self._value: Any = UNSET            # what that means, once somebody has asked
        self._batch: Any = None             # which will put the task; None: it is put

    @property
    def task(self) -> Call:
        """The call: ``.id .name .args .kw .options``."""
        kw = self._kw if self._args is None else self._kw or {}
        return Call(self.id, self.name, self._args, kw, self._options)

    def has_value(self) -> bool:
        """Whether the outcome (value or failure) has arrived here already; asks nobody."""
        return self._raw is not None or self._value is not UNSET

    def __bool__(self) -> bool:
        """Whether the outcome has arrived; asks the queue unless it is known here."""
        return self._batch is None and self.wait(0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome.

        A task should not wait for another one, for that holds its worker: take the
        other as an argument instead.

        :param timeout: seconds, at most; None: as long as it takes. If the queue is out of
            reach, it may be two seconds more: any server is given those to answer.
        :returns: whether the outcome is there.
        :raises QueueError: if the queue cannot be reached within the timeout.
        :raises RuntimeError: if the task belongs to a `worq.batch` that is not put yet.
        :raises ValueError: for a timeout that is negative, no number, or more than ten years.
        """
        if timeout is not None and not (type(timeout) in NUMBERS and 0 <= timeout <= const.SPAN):
            timeout = const.check_timeout(timeout)
        if self._batch is not None:
            raise self._batch.refuse(self)
        return self.has_value() or self.broker.inbox.wait(self, timeout)

    @property
    def value(self) -> Any:
        """What the task returned.

        :raises AttributeError: while there is no outcome; it does not wait.
        :raises TaskFailure: if the task failed.
        """
        if not self.wait(0):
            raise AttributeError('Deferred value not available')
        return self._outcome()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for what the task returns, and return it. Raises what ``wait`` does, and:

        :raises TimeoutError: if there is no outcome within `timeout` seconds.
        :raises TaskFailure: if the task failed.
        """
        if not self.wait(timeout):
            raise TimeoutError(line(f'{self.name} [{self.broker.name}:{self.id}] has no result '
                                    f'after {timeout} seconds; explain() says why'))
        return self._outcome()

    def exception(self, timeout: float | None = None) -> TaskFailure | None:
        """Wait for it to end: the failure if it failed, else None. Raises as ``wait``, and:

        :raises TimeoutError: if there is no outcome within `timeout` seconds.
        """
        try:
            self.result(timeout)
        except TaskFailure as failure:
            return failure
        return None

    def cancel(self) -> bool:
        """Do not run the task, nor anything that depends on it, if it is not too late.

        In a task that runs `Cancelled` is raised, within a second or so, and what it returns
        in spite of it is dropped. Who waits for any of them gets `TaskCancelled` at once.

        :returns: whether it was cancelled; False if it had completed.
        :raises QueueError: if the queue cannot be reached.
        """
        if self._batch is not None:
            raise self._batch.refuse(self)
        return self.broker.cancel(self.id)

    def arrive(self, raw: bytes | None) -> None:
        """Take the outcome on record; for the inbox. None: there is none any more."""
        if raw is None or not self.accepts(raw):
            self.fail(TaskExpired(self.name, self.broker.name, self.id,
                                  'task expired before a result was returned; '
                                  'the queue does not know it, or not any more'))
        elif self._value is UNSET:
            self._raw = raw

    def accepts(self, raw: bytes) -> bool:
        """Whether an outcome on record is of the life of the task that is meant."""
        return not self._nonce or raw.startswith(self._nonce.encode())

    def fail(self, failure: TaskFailure) -> None:
        """Take `failure` as the outcome, unless there is one already."""
        if not self.has_value():
            self._value = failure

    def _outcome(self) -> Any:
        value = self._value
        if value is UNSET:
            raw = self._raw
            # no raw outcome means that another thread has decoded it since the line above
            value = self._value if raw is None else self.broker.outcome(self, raw)
            self._value, self._raw = value, None
        if isinstance(value, TaskFailure):
            # Each reader raises it anew, so the frames of the last one must not pile up.
            raise value.with_traceback(None)
        return value

    @property
    def status(self) -> str | None:
        """'success' or 'failed'; before that the task's state, see `worq.const`.

        None before its batch is put. A task that the queue does not know has failed.
        """
        if self._batch is not None:
            return None
        if not self.wait(0):
            return self.broker.status(self)
        raw = self._raw
        if raw is None:
            failed = isinstance(self._value, TaskFailure)
        else:
            try:
                failed = base.unpack(raw).kind != base.VALUE
            except ValueError:   # it is damaged, and so its value will raise a TaskFailure
                failed = True
        return const.FAILED if failed else const.SUCCESS

    @property
    def progress(self) -> Progress | None:
        """How far the task that runs has come, as it told last (``current_task().progress``).

        None if it has told nothing, or does not run. It asks the queue; what is told arrives
        there with the next heartbeat of the pool, within a second or two.
        """
        return self.broker.progress(self.id)

    def explain(self) -> str:
        """Why it is not done yet, or how it ended: several lines of text, for people.

        What it waits for and why that is not done; until when it is scheduled, and after which
        error; at which place it is in the queue, and whether a pool knows it; where it runs, since
        when, and how far it has come. It asks the queue a few times, and changes nothing.
        """
        if self._batch is not None:
            return str(self._batch.refuse(self))
        return self.broker.explain(self)

    def __await__(self) -> Generator[Any, None, Any]:
        """The task's value in a coroutine of asyncio; raises TaskFailure if it failed."""
        if self._batch is not None:
            raise self._batch.refuse(self)
        if not self.has_value():
            import asyncio   # who awaits has it; for all others it is a third of what WorQ imports
            loop = asyncio.get_running_loop()
            future: asyncio.Future[None] = loop.create_future()

            def arrived(error: Exception | None) -> None:  # in the loop's thread
                if future.done():
                    pass
                elif error is None:
                    future.set_result(None)
                else:
                    future.set_exception(error)

            def announce(error: Exception | None = None) -> None:  # in some other thread
                try:
                    loop.call_soon_threadsafe(arrived, error)
                except RuntimeError:
                    pass  # the loop has been closed: nobody is left to tell

            kept = kept_by(loop)
            try:
                kept.add(announce)   # the inbox does not keep it
                self.broker.inbox.subscribe(self, announce, announce)
                yield from future
            finally:
                self.broker.inbox.unsubscribe(self, announce)
                kept.discard(announce)
        return self._outcome()

    def __reduce__(self) -> Any:
        # Only the codec may pickle a Deferred, as a reference: see Broker.enqueue.
        return codec.reduce_reference(self)

    def __copy__(self) -> Deferred:
        return self  # it stands for one task, and so would a copy

    def __deepcopy__(self, memo: object) -> Deferred:
        return self

    def __repr__(self) -> str:
        try:
            status = self._batch.word if self._batch else self.status or 'incomplete'
        except QueueError:  # it must be possible to show anything, at any time
            status = 'out of reach'
        return line(f'<Deferred {self.name} [{self.broker.name}:{self.id}] {status}>')
