"""The result of a call, seen by the one who calls: Deferred."""
from __future__ import annotations

from typing import Any, AsyncIterator, Generator, NamedTuple

from worq import codec, const
from worq.awaiting import Arrival, answer, until
from worq.errors import QueueError, TaskCancelled, TaskExpired, TaskFailure
from worq.info import Info
from worq.options import NEEDED, UNSET, Options
from worq.printable import line
from worq.progress import Progress
from worq.protocols import CallBroker
from worq.queue import base
from worq.shield import waiting

__all__ = ['Call', 'Deferred', 'LET_GO']

GONE = 'task expired before a result was returned; the queue does not know it, or not any more'
LET_GO = ('result is not available: it was an argument of other calls, and was let go when none of '
          "them needed it any more; keep='timeout' keeps it for its result_timeout")
NUMBERS = frozenset((int, float))   # types that need no longer look


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
        self.name = name                    #: the task's dotted name; '?' if it was made of an id
        self._args = args
        self._kw = kw                       # None also for none, which is so in most calls
        self._options = options
        self._nonce = nonce
        self._raw: bytes | None = None      # the outcome on record, once it has arrived
        self._value: Any = UNSET            # what that means, once somebody has asked
        self._batch: Any = None             # which will put the task, or has; None: it is put

    @property
    def task(self) -> Call:
        """The call: ``.id .name .args .kw .options``.

        ``args`` and ``kw`` are None once this Deferred is an argument of another call that has
        been put, for else the last of a long chain would keep all arguments of all that
        were before it; and where it was taken up by its id.
        """
        kw = self._kw if self._args is None else self._kw or {}
        return Call(self.id, self.name, self._args, kw, self._options)

    def has_value(self) -> bool:
        """Whether the outcome (value or failure) is known here; does not contact the queue."""
        return self._raw is not None or self._value is not UNSET

    def __bool__(self) -> bool:
        """Whether the outcome has arrived; asks the queue unless it is known here.

        :raises QueueError: if the queue cannot be reached.
        """
        return (self._batch is None or self._unput() is None) and self.wait(0)

    def _unput(self) -> RuntimeError | None:
        """Why its task is not put yet, if it is to be put with others, or in a transaction; None,
        and that is kept, if it is, or was to be."""
        error: RuntimeError | None = None if self._batch is None else self._batch.refuse(self)
        if error is None:
            self._batch = None
        return error

    def _check_put(self) -> None:
        """Raise `RuntimeError` unless its task is put, or was to be."""
        if self._batch is not None and (error := self._unput()):
            raise error

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the outcome.

        A task should not wait for another one, for that holds its worker: take the
        other as an argument instead.

        :param timeout: seconds, at most; None: as long as it takes. If the queue is out of
            reach, it may be two seconds more: any server is given those to answer.
        :returns: whether the outcome is there.
        :raises QueueError: if the queue cannot be reached within the timeout.
        :raises RuntimeError: if the task belongs to a `worq.batch` that is not put yet, or to a
            transaction that is still open, see ``q.using``.
        :raises ValueError: for a timeout that is negative, no number, or more than ten years.
        """
        if timeout is not None and not (type(timeout) in NUMBERS and 0 <= timeout <= const.SPAN):
            timeout = const.check_timeout(timeout)
        if self._batch is not None:
            self._check_put()
        if self.has_value():
            return True
        if timeout == 0:
            return self.broker.inbox.wait(self, 0)
        with waiting(self.id):
            return self.broker.inbox.wait(self, timeout)

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

        :raises TimeoutError: if there is no outcome within `timeout` seconds. If these are one or
            more, it says how the task stands, as ``explain`` does in its first line.
        :raises TaskFailure: if the task failed.
        """
        if not self.wait(timeout):
            raise TimeoutError(self._late(timeout or 0))
        return self._outcome()

    def _late(self, seconds: float) -> str:
        """What to say after waiting in vain; if that was for long, with the reason."""
        label = f'{self.name} [{self.broker.name}:{self.id}]'
        if seconds >= 1:
            try:
                with self.broker.backend.within(0):
                    label = self.explain().partition('\n')[0]
                return f'no result after {seconds:g} seconds: {label} (explain() says more)'
            except Exception:   # the queue is out of reach by now, or was interrupted in a verb
                pass
        return line(f'{label} has no result after {seconds:g} seconds; explain() says why')

    def refresh(self) -> None:
        """Forget a failure that it has read, so that the queue is asked again: a person may have
        had the task run again meanwhile. A value stays."""
        if self.has_value():
            try:
                self._outcome()
            except TaskFailure:
                self._value, self._raw = UNSET, None

    def exception(self, timeout: float | None = None) -> TaskFailure | None:
        """Wait for it to end: the failure if it failed, else None. Raises as ``wait``, and:

        :raises TimeoutError: if there is no outcome within `timeout` seconds.
        """
        try:
            self.result(timeout)
        except TaskFailure as failure:
            return failure
        return None

    def cancel(self, upstream: bool = False) -> bool:
        """Cancel the task and everything that depends on it, if it is not too late.

        What it waits for, its arguments and the task that it has returned, runs all the same.

        If the task runs, `Cancelled` is raised in it within a second or so, and what it returns all
        the same is dropped. Whoever waits for any of them gets `TaskCancelled` at once.

        :param upstream: also cancel what it waits for, and what that waits for in turn: each task
            on which no other live task depends, and for which nobody waits (in another process: has
            ever waited).
        :returns: whether it was cancelled; False if it had completed.
        :raises QueueError: if the queue cannot be reached. What is upstream may be cancelled in
            part then; the rest runs.
        """
        self._check_put()
        return self.broker.cancel(self.id, upstream)

    def arrive(self, raw: bytes | None) -> None:
        """Take the outcome on record; for the inbox. None: there is none any more."""
        if raw is None or not self.accepts(raw):
            self.fail(TaskExpired(self.name, self.broker.name, self.id,
                                  LET_GO if self.is_step else GONE))
        elif self._value is UNSET:
            self._raw = raw

    def accepts(self, raw: bytes) -> bool:
        """Whether an outcome on record is of the life of the task that is meant."""
        return not self._nonce or raw.startswith(self._nonce.encode())

    @property
    def is_step(self) -> bool:
        """Whether its outcome goes when the calls that it is an argument of are over."""
        return self._args is None and self._options.keep == NEEDED

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
        """The state of the task: a word of ``worq.const.STATES``. It asks the queue.

        ``'pending'``, ``'scheduled'``, ``'enqueued'``, ``'processing'``; or how it ended:
        ``'success'``, ``'failed'``, ``'cancelled'``, ``'expired'``; or ``'unknown'`` if the queue
        does not know it, or not any more. None before its batch is put, or its transaction over.

        :raises QueueError: if the queue cannot be reached.
        """
        if self._batch is not None and self._unput():
            return None
        if not self.wait(0):
            return self.broker.status(self)
        raw, value = self._raw, self._value
        if raw is not None:
            try:
                return const.ENDS[base.unpack(raw).kind]
            except ValueError:   # it is damaged, and so its value will raise a TaskFailure
                return const.FAILED
        if isinstance(value, TaskCancelled):
            return const.CANCELLED
        if isinstance(value, TaskExpired):
            return const.UNKNOWN if value.error in (GONE, LET_GO) else const.EXPIRED
        return const.FAILED if isinstance(value, TaskFailure) else const.SUCCESS

    @property
    def progress(self) -> Progress | None:
        """How far the task that runs has come, as it told last (``current_task().progress``).

        None if it has told nothing, or does not run. It asks the queue; what is told arrives
        there with the next heartbeat of the pool, within a second or two.
        """
        return self.broker.progress(self.id)

    async def watch(self, every: float = 1.0) -> AsyncIterator[Progress]:
        """What the task tells of how far it has come, until it is over; in a coroutine of asyncio.

        ::

            async for progress in deferred.watch():
                print(f'{progress.done} of {progress.total}')
            print(await deferred)    # it is there by now

        It ends with the task, however that ended. What the task tells in its last second may be
        missing. One thread asks the queue for all tasks that are watched, so the event loop is
        never blocked. While the queue is out of reach it waits.

        :param every: seconds between two looks at the queue.
        :raises QueueError: if the queue cannot be asked in the first place.
        :raises RuntimeError: if the task belongs to a `worq.batch` that is not put yet.
        """
        every = const.check_span('every', every)
        self._check_put()
        if self.has_value():
            return
        told: Progress | None = None
        with Arrival(self) as future:
            while not future.done():
                news = await answer(self.broker, self.broker.progress_each, self.id)
                if isinstance(news, Progress) and news != told:
                    told = news
                    yield news
                await until(future, every)
            future.result()

    def info(self) -> Info:
        """What is known of the task: its name, its status, when it was put, ready, begun and ended,
        in which attempt, where, and with how much memory.

        It asks the queue, which keeps that as long as the outcome. Of a task whose result is
        ignored it keeps nothing, and then `Info.note` says so. A Deferred that was made of an id
        has the `name` of its task from then on.

        :raises RuntimeError: if the task belongs to a `worq.batch` that is not put yet.
        """
        self._check_put()
        found: Info = self.broker.info(self)
        self.name = found.name
        return found

    def explain(self) -> str:
        """Why it is not done yet, or how it ended: several lines of text, for people.

        What it waits for and why that is not done; until when it is scheduled, and after which
        error; its place in the queue, and whether a pool knows its name; where it runs, since when,
        and how far it has come. It asks the queue a few times, and changes nothing.

        :raises QueueError: if the queue cannot be reached.
        """
        if self._batch is not None and (error := self._unput()):
            return str(error)
        return self.broker.explain(self)

    def graph(self, up: int = 3, down: int = 3) -> Any:
        """The graph around the task, as far as the queue still knows it: a `worq.view.Graph`.

        ::

            print(total.graph())             # a tree, as text
            graph = total.graph().dot()      # for Graphviz; .mermaid() for Markdown

        Many tasks of one name that the same tasks wait for are one node.

        :param up: how many levels of what it waits for.
        :param down: how many levels of what waits for it.
        :raises LookupError: if the queue does not know the task, or not any more.
        """
        self._check_put()
        found = self.broker.view().graph(self.id, up, down)
        if found is None:
            raise LookupError(line(f'{self.name} [{self.broker.name}:{self.id}] is unknown to the '
                                   'queue'))
        return found

    def __await__(self) -> Generator[Any, None, Any]:
        """The task's value in a coroutine of asyncio; raises TaskFailure if it failed."""
        self._check_put()
        if not self.has_value():
            with Arrival(self) as future, waiting(self.id):
                yield from future
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
            word = self._batch.word if self._batch and self._unput() else ''
            status = word or self.status or 'incomplete'
        except QueueError:  # it must be possible to show anything, at any time
            status = 'out of reach'
        return line(f'<Deferred {self.name} [{self.broker.name}:{self.id}] {status}>')
