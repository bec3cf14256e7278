"""An executor on a queue of its own: the two-line start for who knows `concurrent.futures`."""
from __future__ import annotations

import atexit
from concurrent import futures
from concurrent.futures._base import CANCELLED
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from itertools import chain, islice
import os
from queue import SimpleQueue
import re
from threading import Thread, current_thread, get_ident
import time
from types import TracebackType
from typing import Any, Callable, Iterable, Iterator, Self

from worq import get_broker
from worq.builder import collector_of
from worq.codec import FORMATS
from worq.const import PROCESSING, WORKERS, check_count, check_timeout
from worq.core import Broker
from worq.errors import EncodeError, QueueError, TaskCancelled
from worq.ids import new_nonce
from worq.latch import JoinableThread
from worq.lock import Lock
from worq.pool import process, thread
from worq.pool.children.begin import main_script
from worq.printable import line, logger
from worq.task import Deferred

__all__ = ['Executor', 'Future', 'call']

log = logger(__name__)

NAME = 100   # characters of the name of a call; longer ones are cut
PACKAGE = 'pip install "WorQ[cloudpickle]", and functions are sent along'
ARGUMENT = re.compile(r'^argument (\d+) of')
SOON = 0.01   # seconds between two looks at what is still to be done


def call(function: Callable[..., Any], /, *args: Any, **kw: Any) -> Any:
    """Call a function that comes with the call: what an executor's workers run.

    Whoever exposes it on a broker, for ``q.call(f, 1)``, lets those who can put tasks there run any
    code. (They must know the secret, as for any call.) So no broker does unless a program says so.
    """
    return function(*args, **kw)


def _chunk(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    return [function(*args) for args in calls]


def _name(function: Callable[..., Any]) -> str:
    """What a call is named after its function: ``module.function``, and without the module if
    that is built in or the script. A callable object has the name of its class."""
    while isinstance(function, partial):
        function = function.args[0] if function.func is _chunk else function.func
    named: Any = function if hasattr(function, '__qualname__') else type(function)
    module, name = getattr(named, '__module__', None), str(named.__qualname__)
    if module not in (None, 'builtins', '__main__'):
        name = f'{module}.{name}'
    return line(name)[:NAME] or call.__name__


def _without_function(found: re.Match[str]) -> str:
    number = int(found[1])
    return f'argument {number - 1} of' if number > 1 else 'the function of'


class _Any(dict[str, Callable[..., Any]]):
    """The tasks of an executor's broker. Each name is one, which runs the function that comes with
    the call. There are no names to tell the queue of, so it gives its pool what no other has.

    :param function: that is called with it.
    """

    def __init__(self, function: Callable[..., Any] = call) -> None:
        super().__init__()
        self.function = function

    def get(self, name: str, default: object = None) -> Callable[..., Any]:
        return self.function

    def __contains__(self, name: object) -> bool:
        return True


def _init(url: str, name: str, codec: str, first: bytes) -> Broker:
    """In a child. If it cannot begin, each of its calls fails: nobody is to wait for ever."""
    tasks = _Any()
    try:
        given: Any = FORMATS[codec].load(first)
        initializer, initargs = given
        if initializer is not None:
            initializer(*initargs)
    except (Exception, SystemExit) as error:
        tasks = _Any(partial(_refuse, error))
    broker = get_broker(url, name, codec=codec)
    broker.tasks = tasks
    return broker


def _refuse(error: BaseException, /, *args: Any, **kw: Any) -> None:
    raise futures.BrokenExecutor(
        f'the initializer failed: {type(error).__name__}: {error}') from error


class Future(futures.Future[Any]):
    """The result of ``Executor.submit``: a future as any other, with a Deferred behind it.

    Passed as an argument of another call of the executor it is awaited there, as its
    Deferred would be.
    """

    def __init__(self, executor: Executor, deferred: Deferred) -> None:
        super().__init__()
        self.deferred = deferred   #: the task's result, as WorQ has it
        self._executor = executor
        self._error: Exception | None = None   # the queue cannot be asked

    def cancel(self) -> bool:
        """Cancel the call, if no worker has it yet; whether that is so now.

        :raises QueueError: if the queue cannot be reached.
        """
        if self.done():
            return self.cancelled()
        if self.running() or not self.deferred.cancel():
            return False
        self._cancelled()
        return True

    def running(self) -> bool:
        """Whether a worker has the call. It asks the queue."""
        return not self.done() and self.deferred.broker.status(self.deferred) == PROCESSING

    def _listen(self) -> None:
        # The inbox knows it by a weak reference: it has to last as long as this.
        self._announce = partial(self._executor._news.put, self)
        self.deferred.broker.inbox.subscribe(self.deferred, self._announce, self._fail)

    def _fail(self, error: Exception) -> None:
        """It will not be known what it comes to; in some thread."""
        self._error = error
        self._executor._news.put(self)

    def _end(self) -> None:
        """Take over what it has come to. Whoever is called then may do anything, so no lock is
        held; and of several that do this each does the same."""
        try:
            if self._error is not None:
                raise self._error
            value = self.deferred.result(0)
        except TaskCancelled:
            self._cancelled()
        except Exception as error:
            self._set(self.set_exception, error)
        else:
            self._set(self.set_result, value)

    def _set(self, setter: Callable[[Any], None], end: Any) -> None:
        self._executor._open.discard(self)
        if not self.done():
            with suppress(futures.InvalidStateError):   # it is over meanwhile
                setter(end)

    def _cancelled(self) -> None:
        self._executor._open.discard(self)
        if super().cancel():
            with self._condition:   # that of all futures; their own code takes it again
                if self._state == CANCELLED:
                    self.set_running_or_notify_cancel()

    def __reduce__(self) -> Any:
        return self.deferred.__reduce__()

    def __repr__(self) -> str:
        return line(f'<Future at {id(self):#x} of {self.deferred!r}>')


class Executor(futures.Executor):
    """Runs functions on workers of its own: in processes, or in threads.

    It is a `concurrent.futures.Executor`, and beside that a function: ``run(f, 1)`` calls
    ``f(1)`` somewhere, and returns the `Deferred`, which may be an argument of other calls, nested
    anywhere. With the package cloudpickle (``pip install "WorQ[cloudpickle]"``) a function may be
    defined anywhere: in a notebook, at a prompt, within another function; a lambda too. Without it
    processes can run only what is at the top level of a module.

    It differs from the executors of the standard library in this: what a call raises
    arrives as a `TaskFailure` with its text and traceback, not as the exception; a worker that dies
    is replaced, and the call is run again; a Future or Deferred may be an argument.

    :param workers: how many; by default one for each processor.
    :param url: where the queue is, see `get_broker`; in this process by default.
    :param threads: run in threads of this process instead.
    :param name: of the queue; by default one of its own. Where a queue lasts, on Redis say, another
        executor of that name may run what this one has left.
    :param initializer: called in each child before it runs anything, with `initargs`. If it raises,
        the calls of that child fail, and say so.
    """

    def __init__(self, workers: int | None = None, url: str = 'memory://', *,
                 threads: bool = False, name: str = '',
                 initializer: Callable[..., object] | None = None,
                 initargs: tuple[Any, ...] = ()) -> None:
        self.workers = check_count('workers', (os.cpu_count() or 1) if workers is None else workers,
                                   most=WORKERS)
        if initializer is not None and not callable(initializer):
            raise TypeError(f'initializer must be callable, not {initializer!r}')
        if initializer is not None and threads:
            raise ValueError('threads need no initializer: call it before')
        codec = 'pickle' if find_spec('cloudpickle') is None else 'cloudpickle'
        self._by_name = codec == 'pickle'   # functions go by name, and are looked for there
        self.broker = get_broker(url, name or f'local-{new_nonce()}', codec=codec)
        self.broker.tasks = _Any()
        self._here = os.getpid()
        self._shut = False
        self._making: dict[object, int] = {}   # calls that are being put: by which thread
        self._open: set[Future] = set()        # that are not done
        self._news: SimpleQueue[Future | None] = SimpleQueue()
        self._lock = Lock()                    # around the next
        self._ending: Thread | None = None     # sees to the end
        self._pool: thread.WorkerPool | process.WorkerPool
        if threads:
            self._pool = thread.WorkerPool(self.broker, self.workers)
            self._pool.start()
        else:
            first = FORMATS[codec].dump((initializer, tuple(initargs)))
            self._pool = process.WorkerPool(self.broker, _init, (self.broker.name, codec, first),
                                            workers=self.workers)
            self._pool.start(handle_sigterm=False)
        self._thread = Thread(target=self._tell, name='worq-executor', daemon=True)
        self._thread.start()
        atexit.register(self.shutdown)   # after the pool's, so that it comes before it

    def __call__(self, function: Callable[..., Any], /, *args: Any, **kw: Any) -> Deferred:
        """Call a function on a worker; its result, which may be an argument of other calls.

        :raises EncodeError: if the function or an argument cannot be sent.
        :raises RuntimeError: after `shutdown`.
        """
        if not callable(function):
            raise TypeError(f'what is to be called is no function, but {function!r}')
        if self._by_name and getattr(function, '__module__', '') == '__main__' \
                and isinstance(self._pool, process.WorkerPool) and main_script() == (None, None):
            raise EncodeError(
                f'no worker process could find {_name(function)}, which was defined in a terminal, '
                f'a notebook, by python -c or on standard input: {PACKAGE}')
        mine = object()
        try:
            self._begin(mine)
            made: Deferred = self.broker.queue(_name(function))(function, *args, **kw)
            return made
        except EncodeError as error:   # which counts the function as an argument
            text = ARGUMENT.sub(_without_function, str(error))
            if text.startswith('the function') and self._by_name:
                text += f'; or {PACKAGE}'
            raise EncodeError(text) from error.__cause__
        finally:
            self._making.pop(mine, None)

    def _begin(self, mine: object) -> None:
        """A call is about to be put. It is noted before it is asked whether there may be any: so
        who shuts down waits for each that has been let through, and no lock is needed."""
        self._making[mine] = get_ident()
        if self._here != os.getpid():
            raise RuntimeError('this process is a fork of the one that has the executor: '
                               'it needs one of its own')
        if self._shut:
            raise RuntimeError('cannot schedule new futures after shutdown')

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Call a function on a worker; a future of its result. It raises what a call does.

        :raises RuntimeError: in a `worq.batch` of this executor's broker, too, for nobody could
            wait for it before that ends.
        """
        if collector_of(self.broker) is not None:
            raise RuntimeError('no future can be had of what a batch will put: call the executor '
                               'itself there, for a Deferred')
        mine = object()
        try:
            self._begin(mine)
            future = Future(self, self(fn, *args, **kwargs))
            try:
                self._open.add(future)
                future._listen()
            except BaseException:   # nobody will have it
                self._open.discard(future)
                raise
            return future
        finally:
            self._making.pop(mine, None)

    def map(self, fn: Callable[..., Any], *iterables: Iterable[Any],
            timeout: float | None = None, chunksize: int = 1) -> Iterator[Any]:
        """Results of calls with the items of the iterables, in order. All are put at once.

        :param timeout: seconds from now until a result is there, at most.
        :param chunksize: how many calls one task makes.
        :raises TimeoutError: from ``next``, if a result is not there in time.
        """
        check_timeout(timeout)
        if check_count('chunksize', chunksize) == 1:
            return super().map(fn, *iterables, timeout=timeout)
        calls = zip(*iterables)
        chunks = iter(lambda: list(islice(calls, chunksize)), [])
        return chain.from_iterable(super().map(partial(_chunk, fn), chunks, timeout=timeout))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no further calls, and end when those that were made are done.

        A fork of this process has no part in it, and nothing happens there.

        :param wait: until then; otherwise a thread does.
        :param cancel_futures: cancel those that no worker has yet.
        :raises RuntimeError: if it would have to wait for who calls it: in what a future calls when
            it is done, or in a signal handler that has interrupted a call. It ends all the same.
        :raises QueueError: if they cannot be cancelled. It ends all the same.
        """
        if self._here != os.getpid():
            return
        self._shut = True
        with self._lock:
            # One that is not alive was never begun, for that was interrupted; or is done.
            if self._ending is None or not self._ending.is_alive():
                self._ending = JoinableThread(target=self._stop, name='worq-executor-end',
                                              daemon=True)
                self._ending.start()
        if cancel_futures:
            for future in list(self._open):
                future.cancel()
        if wait:
            if current_thread() is self._thread or get_ident() in list(self._making.values()):
                raise RuntimeError('the executor ends after what calls this: use wait=False')
            self._ending.join()

    def _stop(self) -> None:
        """In a thread: wait until all is done, and end."""
        while self._making:
            time.sleep(SOON)
        try:
            while self.broker.backend.size():
                time.sleep(SOON)
        except QueueError as error:
            log.error('%r ends though it does not know whether all is done: %s', self, error)
            for future in list(self._open):
                future._fail(error)
        self._pool.stop()
        futures.wait(list(self._open))
        self._news.put(None)
        self.broker.close()
        atexit.unregister(self.shutdown)

    def _tell(self) -> None:
        """Ends futures, in a thread of its own: what is called when one is done may take long."""
        while (future := self._news.get()) is not None:
            self.broker.inbox.unsubscribe(future.deferred, future._announce)
            try:
                future._end()
            except BaseException:   # that somebody called then has raised, as SystemExit
                log.exception('what %r calls when it is done failed', future)
            del future   # its result is not ours to keep until the next one comes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.shutdown()

    def __repr__(self) -> str:
        state = 'shut down' if self._shut else 'running'
        return line(f'<Executor [{self.broker.name}] {self.workers} workers, {state}>')
