"""The Broker: it turns calls into messages, and what comes back into values."""
from __future__ import annotations

from contextlib import ExitStack
from functools import partial
import logging
from typing import TYPE_CHECKING, Any, Callable, Iterable, Self, Sequence, TypeVar, overload

from worq import builder, mistakes, seals
from worq.background import Background
from worq.blame import Unsendable
from worq.codec import ByValue, Codec
from worq.const import PUT_BYTES, UNKNOWN, check_timeout
from worq.deferred import LET_GO, Deferred
from worq.errors import DecodeError, DuplicateTask, EncodeError, QueueError, TaskFailure
from worq.explain import explain
from worq.builder import Collector, Entry, Request, collector_of, put_all, put_each
from worq.ids import new_nonce
from worq.info import Info, info
from worq.inbox import Inbox
from worq.keeping import Keeping, own_id
from worq.options import NEEDED, UNSET, Options
from worq.printable import logger
from worq.progress import Progress
from worq.queue import base
from worq.queue.base import Argument, Delivery, Message, TaskQueue
from worq.pieces import pieces
from worq.retry import Policy
from worq.space import TaskSpace, definition, header_of
from worq.task import Queue
from worq.timing import Timing
from worq.transaction import Transaction, joined

if TYPE_CHECKING:
    from worq.view import View

__all__ = ['Broker']

log = logger(__name__)

T = TypeVar('T')

NAMES = 10_000       # of tasks whose first call has been looked at; the names of others each time
FEW = 20             # tasks that are inspected at a time
HAND_LEASE = 60_000  # ms that a task taken by hand is leased; a thread pool renews it


class Broker(Keeping, Unsendable):
    """Owns one task queue, the codec of its messages, and the tasks that are exposed.

    ``worq.get_broker(url)`` makes one. A program that only calls tasks needs no more than
    ``worq.get_queue(url)``; the one that runs them exposes functions here and
    gives the broker to a pool. It may be used by many threads.

    Duties: 1. expose; 2. enqueue; 3. bring results; 4. keep the queue; 5. work by hand.

    :param backend: the queue.
    :param codec: turns calls and outcomes into bytes and back.
    """

    __instead__ = 'call a task, or pass a Deferred; a task has current_task().queue'
    transaction: Transaction | None = None   #: in which it puts, see `using`

    def __init__(self, backend: TaskQueue, codec: Codec) -> None:
        self.backend = backend
        self.codec = codec
        self.inbox = Inbox(backend)
        self.background = Background()
        self.tasks: dict[str, Callable[..., Any]] = {}
        self.defaults: dict[str, Policy] = {}    # what tasks were defined with
        self.timings: dict[str, Timing] = {}     # when they are called by themselves
        self._called: set[str] = set()           # names of calls that have been looked at
        self.name = backend.name
        self.hand = f'hand:{new_nonce()}'

    @property
    def url(self) -> str:
        """Where the queue is."""
        return self.backend.url

    def move(self, name: str) -> None:
        """Be a broker of another queue of the same backend, with the same tasks."""
        self.inbox.close()
        grace = self.backend.unknown_grace
        self.backend = self.backend.open(self.url, name, **self.backend.options)
        self.backend.unknown_grace = grace
        self.inbox = Inbox(self.backend)
        self.codec = Codec(name, format=self.codec.format, keys=self.codec.keys,
                           max_payload=self.codec.max_payload)
        self.name = name

    # 1. -- expose ------------------------------------------------------------

    @overload
    def expose(self, obj: T, replace: bool = False, **options: Any) -> T: ...

    @overload
    def expose(self, *, replace: bool = False, **options: Any) -> Callable[[T], T]: ...

    def expose(self, obj: Any = UNSET, replace: bool = False, **options: Any) -> Any:
        """Let the tasks of a TaskSpace, or one callable, be called through the queue.

        A callable is known by its ``__name__``. Also a decorator, with and without arguments.

        :param replace: replace a task of the same name, in place of raising ValueError.
        :param options: of one callable, as in ``TaskSpace.task``.
        :returns: `obj`, unchanged.
        :raises ValueError: if a name is taken; for an option that makes no sense.
        :raises TypeError: for other options, which belong to calls.
        """
        if obj is UNSET:
            definition(options)
            return lambda given: self.expose(given, replace, **options)
        function: Any = obj
        if isinstance(function, TaskSpace):
            if options:
                definition(options)   # that would be the first mistake to tell of
                raise TypeError('options of tasks in a TaskSpace are given where they are '
                                f'defined: @space.task({min(options)}=...)')
            space = function
        else:
            space = TaskSpace()
            space.task(function, **options)
        taken = [name for name in space.tasks if name in self.tasks]
        if taken and not replace:
            raise ValueError(f'task {taken[0]!r} conflicts with existing task')
        for name in space.tasks:
            self.defaults.pop(name, None)
            self.timings.pop(name, None)
        self.defaults.update(space.defaults)
        self.timings.update(space.timings)
        self.tasks.update(space.tasks)
        return obj

    # 2. -- enqueue -----------------------------------------------------------

    def queue(self, target: str = '', **options: Any) -> Queue:
        """A `Queue` of this broker, from the name `target` on; `options` are those of its calls."""
        return Queue(self, target, **options)

    def using(self, connection: object) -> Broker:
        """This broker by a connection of the caller's, for `Queue`; see ``q.using``."""
        return joined(self, connection)

    def enqueue(self, name: str, args: tuple[Any, ...], kw: dict[str, Any],
                options: Options) -> Deferred | None:
        """Put one call. Queues and Tasks do this when they are called.

        :returns: its Deferred, or None if its result is ignored.
        :raises ValueError: if the name, or the id, cannot be one.
        :raises DuplicateTask: if the id belongs to a task that is not done with yet.
        :raises EncodeError: if an argument cannot be made into a message, or is a Deferred
            of another queue.
        :raises TaskFailure: if the outcome of an argument is not known any more.
        :raises QueueError: if the queue cannot be reached, or can store nothing more.
        """
        if name not in self._called:
            self._look_at(name)
        collector = collector_of(self)
        if collector is not None:
            entry = self._entry(name, args, kw, options.of_many, b'', collector)
            made: Deferred | None = collector.add(entry)
            return made
        entry = self._entry(name, args, kw, options, b'', None)
        if entry.message.arguments:
            self.put_all([entry])
        else:
            client = '' if options.id or options.ignore_result or options.keep == NEEDED \
                else self.inbox.foresee(entry.deferred)
            try:
                for refusal in self.backend.put([entry.message], '', client):
                    raise self._refused(name, refusal)   # there is nothing to mend
            finally:
                if client:
                    self.inbox.is_put(entry.deferred.id)
            if client:
                return self._promise([entry.deferred], True)[0]
        return self._promise([entry.deferred])[0]

    def enqueue_all(self, name: str, calls: Iterable[tuple[Any, ...]], options: Options,
                    extra: bytes = b'') -> list[Deferred | None]:
        """Put many calls of one task, in as few steps as the queue allows.

        :param calls: the positional arguments of each.
        :param extra: lines of the header, for whoever runs them.
        :returns: their Deferreds, in order (None if results are ignored).
        :raises: what ``enqueue`` does. The calls before the one that is refused, or some
            of them, have been put then.
        """
        if name not in self._called:
            self._look_at(name)
        options = options.of_many
        collector = collector_of(self)
        if collector is not None:
            return [collector.add(self._entry(name, args, {}, options, extra, collector))
                    for args in calls]
        made: list[Deferred | None] = []
        step: list[Entry] = []
        weight = size = 0
        with ExitStack() as under_way:   # holds the end of the last put, while these are encoded
            for args in calls:
                entry = self._entry(name, args, {}, options, extra, None)
                weight += entry.weight
                size += entry.size
                # A wide one outweighs a put of several: it takes steps of its own, which cannot
                # be tried again.
                if step and (weight > builder.TASKS or size > PUT_BYTES):
                    under_way.close()
                    under_way.callback(self._begin_step(step, made))
                    step, weight, size = [], entry.weight, entry.size
                step.append(entry)
        self._begin_step(step, made)()
        return made

    def enqueue_each(self, requests: Sequence[Request]) -> list[Any]:
        """Put calls that have nothing to do with each other, in as few steps as the queue allows.

        :returns: for each what ``enqueue`` returns, or the exception that it raises.
        """
        made: list[Any] = [self._try_entry(request) for request in requests]
        entries = [entry for entry in made if isinstance(entry, Entry)]
        client = self._foresee(requests, entries)
        errors = put_each(self.backend, entries, lambda entry: self.put_all([entry]), client)
        for at, entry in enumerate(made):
            if isinstance(entry, Entry):
                self.inbox.is_put(entry.deferred.id)
                made[at] = errors.get(entry.message.nonce)
                if made[at] is None:
                    self._let_go([entry])
                    made[at] = self._promise([entry.deferred], bool(client))[0]
        return made

    def _try_entry(self, request: Request) -> Entry | BaseException:
        name, args, kw, options, _ = request
        try:
            if name not in self._called:
                self._look_at(name)
            return self._entry(name, args, kw, options, b'', None)
        except BaseException as error:   # whatever an argument raises, it is not the others' fault
            return error

    def _foresee(self, requests: Sequence[Request], entries: list[Entry]) -> str:
        """The client that should watch all of these, if they will be waited for, and are few."""
        if any(request.nested for request in requests):
            return ''
        for deferred in (entry.deferred for entry in entries):
            options = deferred._options
            if options.id or options.ignore_result or options.keep == NEEDED \
                    or not self.inbox.foresee(deferred):
                return ''
        return self.inbox.client

    def _look_at(self, name: str) -> None:
        """Before the first call of a task: warn if its name can hardly be that of one."""
        if len(self._called) < NAMES:
            self._called.add(name)
        if name not in self.tasks:
            mistakes.warn(name, self.name, self.pools)

    def put_all(self, entries: list[Entry]) -> None:
        """Put calls that belong together: all of them, or none."""
        for entry in entries:
            options = entry.deferred._options
            if options.eta is not None:   # time has gone by, if it was in a batch
                delay, expires = options.spans()
                entry.message = entry.message._replace(delay=delay, expires=expires)
        put_all(self.backend, entries, self._mend, self._opening)
        self._let_go(entries)

    def _opening(self, gate: str) -> bytes:
        """The value that opens a gate."""
        return self.codec.encode_value(gate, gate, None)

    def _begin_step(self, step: list[Entry], made: list[Deferred | None]) -> Callable[[], None]:
        """Begin to put some calls; what it returns ends that, and adds to what was `made`."""
        refusals = self.backend.begin_put([entry.message for entry in step]) \
            if len(step) > 1 else None

        def end() -> None:
            if refusals is not None and not refusals():
                self._let_go(step)
            else:
                for entry in step:  # one by one: the first ones are not to blame
                    self.put_all([entry])
            made.extend(self._promise([entry.deferred for entry in step]))
        return end

    @staticmethod
    def _let_go(entries: list[Entry]) -> None:
        for entry in entries:
            for argument in entry.used:
                argument._args = argument._kw = None

    def _entry(self, name: str, args: tuple[Any, ...], kw: dict[str, Any], options: Options,
               extra: bytes, collector: Collector | None) -> Entry:
        if not name:
            raise TypeError('a queue is no task: name one, as in q.module.function(...)')
        nonce = new_nonce()
        id = nonce if options.id is None else own_id(options.id, args, kw)
        entry = Entry(Deferred(self, id, name, args, kw or None, options, nonce), extra)
        self._encode(entry, collector)
        return entry

    def _mend(self, entry: Entry, refusal: base.Refusal) -> None:
        """Change what was refused, if that helps; else raise why it was."""
        if refusal.word != 'unknown' or refusal.argument in entry.by_value:
            raise self._refused(entry.deferred.name, refusal)
        # Its record is gone, but the result may have arrived here before: then it
        # goes along by value.
        entry.by_value |= {refusal.argument}
        self._encode(entry)

    def _promise(self, deferreds: list[Deferred],
                 watched: bool = False) -> Sequence[Deferred | None]:
        """What the caller gets of calls that are put, all with the same options.

        :param watched: by the very put, so that nobody has to ask for them.
        """
        if log.isEnabledFor(logging.DEBUG):
            for deferred in deferreds:
                log.debug('put %s [%s:%s]', deferred.name, self.name, deferred.id)
        if deferreds and deferreds[0]._options.ignore_result:
            return [None] * len(deferreds)
        self.inbox.note(() if watched else deferreds)
        return deferreds

    def _encode(self, entry: Entry, collector: Collector | None = None) -> None:
        """Make the message of a call.

        :param collector: which will put it, if it is not put at once.
        """
        call = entry.deferred
        id, nonce = call.id, call._nonce
        lines, rest = call._options.stamp()
        header = header_of(call.name, entry.extra, lines)
        arguments: dict[str, Argument] = {}
        edges: tuple[Argument, ...] = ()
        used: list[Deferred] = []
        body = self.codec.encode_call(
            id, nonce, header, call._args or (), call._kw or {},
            partial(self._reference, entry, collector, arguments, used))
        if used:
            edges, entry.used = tuple(arguments.values()), tuple(used)
            if not rest[0] & base.PASS:   # its failed arguments are none of its own
                edges = seals.sealed(self.codec, id, nonce, edges)
        entry.message = Message(id, nonce, header, body, edges, *rest)

    def _reference(self, entry: Entry, collector: Collector | None,
                   arguments: dict[str, Argument], used: list[Deferred],
                   obj: object) -> tuple[str, str]:
        """What stands for a Deferred in the message of a call, whose `arguments` it joins."""
        if not isinstance(obj, Deferred):
            raise TypeError(f'{type(obj).__name__!r} is no Deferred')
        if obj.broker is not self and \
                (obj.broker.url, obj.broker.name) != (self.url, self.name):
            raise EncodeError(
                f'the Deferred {obj.name} [{obj.broker.name}:{obj.id}] is of another queue '
                f'({obj.broker.backend!r}); only a Deferred of {self.backend!r} '
                'can be an argument here')
        if obj.id in entry.by_value:
            raise ByValue(self._kept(entry.deferred, obj))
        # What is encoded again has been allowed before, when its collector was there.
        if obj._batch is not None and not entry.by_value \
                and not (collector and collector.holds(obj)) \
                and (self.transaction is None or obj._batch != self.transaction) \
                and (error := obj._unput()):
            raise EncodeError(str(error))
        nonce = obj._nonce
        known = arguments.get(obj.id)
        if known is not None and known.nonce != nonce:
            if nonce and known.nonce:
                raise EncodeError(f'two lives of the task {obj.id!r} are among the arguments; '
                                  'the older result has been replaced by the newer one')
            nonce = nonce or known.nonce
        arguments[obj.id] = Argument(obj.id, nonce)
        used.append(obj)
        return obj.id, nonce

    def _kept(self, call: Deferred, deferred: Deferred) -> Any:
        """The value of an argument that only this process still knows."""
        if deferred.has_value():
            try:
                return deferred.value
            except TaskFailure as failure:
                if call._options.flags & base.PASS:
                    return failure
                raise
        if deferred.is_step:
            raise TaskFailure(call.name, self.name, call.id,
                              f'task [{self.name}:{deferred.id}] {LET_GO}')
        raise self._refused(call.name, base.Refusal(call.id, 'unknown', deferred.id))

    def _refused(self, name: str, refusal: base.Refusal) -> TaskFailure:
        if refusal.word == 'unknown':
            return TaskFailure(name, self.name, refusal.id,
                               f'task [{self.name}:{refusal.argument}] result is not available')
        error = 'cannot enqueue task with duplicate id'
        if refusal.word == 'pinned':
            error += ': its last result is still an argument of other tasks'
        return DuplicateTask(name, self.name, refusal.id, error)

    # 3. -- bring results -----------------------------------------------------

    def deferred(self, task_id: str) -> Deferred:
        """Get the result of a task by its id, whichever process has put it.

        This does not contact the queue. If the queue does not know the id, the Deferred fails as
        `TaskExpired` when it is asked.

        :raises ValueError: if it is no string of 1 to 512 bytes.
        """
        return Deferred(self, own_id(task_id), '?', None, None, Options())

    def decode(self, id: str, raw: bytes) -> Any:
        """The value in an outcome on record, or the TaskFailure that it is (not raised).

        :param id: of the task whose record it is.
        :raises DecodeError: if it cannot be read here.
        """
        return seals.read(self.codec, self.name, id, raw)

    def sign_anew(self, id: str, nonce: str, seal: bytes, source: str, raw: bytes) -> bytes:
        """The value of a task, as its own, that comes along a tail call from a record of another.

        :param seal: of that tail call.
        :raises DecodeError: if it is not to be believed, or is none.
        """
        return seals.renew(self.codec, self.name, id, nonce, seal, source, raw)

    def outcome(self, deferred: Deferred, raw: bytes) -> Any:
        """What a Deferred came to: the value, or the TaskFailure (not raised)."""
        try:
            return self.decode(deferred.id, raw)
        except DecodeError as error:
            return TaskFailure(deferred.name, self.name, deferred.id,
                               f'{type(error).__name__}: {error}')

    def status(self, task: Deferred | str) -> str:
        """The state of a task, a word of ``worq.const.STATES``; it asks the queue.

        :param task: a Deferred, or an id. The task that has this id now is meant.
        """
        id = task if isinstance(task, str) else task.id
        return self.backend.status([id])[0] or UNKNOWN

    def progress(self, task_id: str) -> Progress | None:
        """What a running task told last of how far it has come; None if nothing."""
        try:
            found, = self.backend.inspect([task_id])
        except QueueError as error:
            if error.damaged:   # it is being repaired
                return None
            raise
        return Progress.decode(found.progress) if found and found.progress else None

    def progress_each(self, ids: Sequence[str]) -> list[Progress | None]:
        """The same of several tasks, some at a time: it is not cheap."""
        found = [one for some in pieces(ids, FEW) for one in self.backend.inspect(some)]
        return [Progress.decode(one.progress) if one and one.progress else None for one in found]

    def info(self, deferred: Deferred) -> Info:
        """What is known of a task, see ``Deferred.info``."""
        return info(self, deferred.id, deferred.name)

    def explain(self, deferred: Deferred) -> str:
        """Why a task is not done yet, or how it ended, see ``Deferred.explain``."""
        known = {deferred.id: deferred.exception()} if deferred.has_value() else {}
        return explain(self, deferred.id, deferred.name, known)

    # 4. -- keep the queue ----------------------------------------------------

    def view(self, redact: Callable[[str, str, str], str] | None = None) -> View:
        """The queue as people see it: numbers, tasks, pools; see `worq.view.View`.

        :param redact: hides what is in arguments and results, see there.
        """
        from worq.view import View   # most programs never look
        return View(self, redact)

    def close(self) -> None:
        """Let go of threads and connections. Tasks and results stay in the queue.

        May be called twice. A broker that is used after it opens them anew, and so does who still
        waits for a result.
        """
        self.background.close()
        self.inbox.close()
        self.backend.close()
        self.inbox.go_on()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f'<Broker {self.backend.safe_url} [{self.name}]>'

    # 5. -- work by hand ------------------------------------------------------

    def next_task(self, timeout: float | None = None) -> Delivery | None:
        """Take one task by hand, under the pool id ``broker.hand``.

        A pool of threads whose broker has had this method replaced calls it for each
        task, so that a program can hold back or count what its workers take.

        :param timeout: seconds to wait for one; None: as long as it takes.
        """
        timeout = check_timeout(timeout)
        while True:
            deliveries = self.backend.take(self.hand, 1, 2 if timeout is None else timeout,
                                           lease=HAND_LEASE)
            if deliveries or timeout is not None:
                return deliveries[0] if deliveries else None

    def task_failed(self, deferred: Deferred) -> None:
        """Give a task up: it is cancelled, and this Deferred of it has expired."""
        self.backend.cancel([deferred.id])
        deferred.arrive(None)
