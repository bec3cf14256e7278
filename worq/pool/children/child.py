"""The child of a process pool, a program of its own: ``start([ANSWERS, IN, OUT, PAGE, PARENT])``.

It reads tasks from one pipe, runs them one after the other, and writes their outcomes to
another. Its first frame tells it how to begin, and is trusted, for it comes from the process
that started this one. If the queue is in the memory of that process, tasks ask for it there, and
ANSWERS is the pipe on which they are answered; else it is -1.

Duties: 1. begin: make this process one in which the parent's functions can be found; 2. work; 3.
never outlive the parent, whatever the task does.
"""
from __future__ import annotations

import atexit
from collections import deque
from contextlib import suppress
from itertools import count
import os
import pickle
import resource
import runpy
import select
import signal
import sys
import threading
import time
from time import monotonic_ns
import traceback
import types
from typing import Any, NoReturn

from worq import SCHEMES, codec, streams
from worq.core import Broker
from worq.current import CurrentTask
from worq.errors import QueueError
from worq.latch import Latch
from worq.printable import logger
from worq.pool import forks
from worq.pool.forks import Handlers
from worq.pool.interrupt import Interrupter, rouse
from worq.pool.children import watchdog
from worq.pool.children.respawn import one_line
from worq.pool.children.frames import CHUNK, FrameError, Reader, pack
from worq.pool.children.protocol import (
    ASK, BROKEN, INIT, LIMIT, OUTCOMES, PROGRESS, READY, WAITS, Page, pack_outcome, unpack_tasks,
)
from worq.pool.run import runner
from worq.progress import Progress
from worq.queue import lazy
from worq.queue.base import Outcome

__all__ = ['main', 'start', 'main_script', 'preparation', 'prepare']

log = logger(__name__)

CALLED = ('init_func is called with the address of the queue, as '
          'init_func(url, *init_args, **init_kwargs)')
FLUSH = 0.002       # seconds that an outcome waits for those of the tasks behind it
FLUSH_NS = 2_000_000   # ... the same in ns
SELDOM = 0.1        # seconds, when a task takes long
SELDOM_NS = 100_000_000   # ns between two looks at the peak of memory
NEWS = 0.5          # seconds between two looks at a task's progress


# 1. -- begin ---------------------------------------------------------------------

def preparation() -> dict[str, Any]:
    """What a child must know of this process to find the same functions.

    (In the manner of ``multiprocessing.spawn``.)
    """
    name, path = main_script()
    return {
        'path': [entry or os.getcwd() for entry in sys.path],
        'argv': list(sys.argv),
        'main_name': name,
        'main_path': path,
    }


def main_script() -> tuple[str | None, str | None]:
    """The main script of this process, for `load_main`: the name of its module, or else a path.

    None and None if no other process can load it: it came from a terminal, a notebook, ``-c`` or
    a pipe.
    """
    main = sys.modules['__main__']
    spec = getattr(main, '__spec__', None)
    if spec is not None and spec.name != '__main__':
        return spec.name, None   # python -m module, or -m package: then it is package.__main__
    archive = getattr(spec and spec.loader, 'archive', None)   # of a zip file that was started
    path = archive or getattr(main, '__file__', None)
    if not path or not os.path.isfile(path) or path.startswith(('/dev/', '/proc/')):
        return None, None
    return None, os.path.abspath(path)


def prepare(data: dict[str, Any]) -> None:
    """Make this process like the one that `data` describes."""
    sys.path[:] = data['path']
    sys.argv[:] = data['argv']
    codec.main_loader = lambda: load_main(data['main_name'], data['main_path'])


#: Set while a child imports the main script of its parent, which must not start pools then.
loading_main = False


def load_main(name: str | None, path: str | None) -> None:
    """Make the parent's ``__main__`` this process's, without what its guard holds back."""
    global loading_main
    this = sys.modules['__main__']
    module = types.ModuleType('__mp_main__')
    loading_main = True
    try:
        if name is not None:
            content = runpy.run_module(name, run_name='__mp_main__', alter_sys=True)
        elif path is not None:
            content = runpy.run_path(path, run_name='__mp_main__')
        else:
            return  # there is nothing to load
    finally:
        loading_main = False
    module.__dict__.update(content)
    for value in content.values():
        call_it_main(value)
    sys.modules['__main__'] = sys.modules['__mp_main__'] = module
    module.__worq_child__ = this  # type: ignore[attr-defined]  # so that it is not collected


def call_it_main(value: Any) -> None:
    """Have pickles name a class or function by ``__main__``, which their readers can find."""
    if isinstance(value, (type, types.FunctionType)) and value.__module__ == '__mp_main__':
        value.__module__ = '__main__'
        for inner in list(vars(value).values()):
            call_it_main(inner)


def unpickle(data: bytes) -> Any:
    """Load what the parent sent, with what it names of its main script."""
    for again in True, False:
        try:
            return pickle.loads(data)
        except AttributeError as error:
            if not again or codec.main_loader is None:
                error.add_note('a worker process imports init_func, and what its arguments are '
                               'made of: have them at the top level of a module, or of the '
                               "script, outside of its `if __name__ == '__main__':`")
                raise
        # outside of the clause above, so that what the script raises has no other cause
        codec.load_main()


def begin(data: bytes, queue: str, asks: bool) -> Broker:
    """Make the child's broker, as the pool's owner said."""
    call = unpickle(data)
    prepare(call['preparation'])
    if not asks:
        lazy.postpone(SCHEMES, call['url'], call['place'])
    init, args, kw = unpickle(call['init'])
    try:
        broker = init(call['url'], *args, **kw)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next is None:   # of the call itself
            error.add_note(CALLED)
        raise
    if not isinstance(broker, Broker):
        raise TypeError(f'init_func must return a broker, and returned {broker!r}')
    if broker.name != queue:
        log.warning('init_func made a broker of the queue %r, and the pool is one of %r: '
                    'give both the same name', broker.name, queue)
        broker.move(queue)
    return broker


# 2. -- work ----------------------------------------------------------------------

class ChildInterrupter(Interrupter):
    """Interrupts the child's task: the manager gives the order by the page and a signal."""

    exposes = '; in a process pool they are exposed by init_func, which each child calls'

    def __init__(self, child: Child) -> None:
        super().__init__()
        self.child = child

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        if limit is not None and will is not None:
            # the manager counts from when it reads this
            self.child.say([LIMIT, b'%d' % max(1, limit * 1000), *pack_outcome(will)])
        super().begin(task, limit, will)
        self.obey()  # the order may have come before

    def obey(self, *signal: object) -> None:
        """The signal's handler: interrupt the task, if it is the one that is meant."""
        word = self.child.page.ordered
        if word:
            self.interrupt(word)
            if self.interrupted:
                self.child.nudge()   # a signal handler must not do more


class Question:
    """What a thread has asked the manager."""

    def __init__(self) -> None:
        self.answered = Latch()
        self.answer: list[bytes] = []


class Child:
    """The loop of a child process.

    Outcomes gather while there is more to do, for a few milliseconds: the watcher sends them
    if a task takes longer. It sends the progress of a long task too.
    """

    def __init__(self, tasks_in: int, outcomes_out: int, page: Page, answers_in: int) -> None:
        self.tasks_in = tasks_in
        self.outcomes_out = outcomes_out
        self.answers_in = answers_in
        self.page = page
        self._reader = Reader()
        self._answers = Reader()
        self._frames: deque[list[bytes]] = deque()
        self._done: list[bytes] = []
        # Around _done and the pipe out. The main thread takes it only where nothing can be raised
        # in it: half a frame would be the end.
        self._lock = threading.Lock()
        self.interrupter = ChildInterrupter(self)
        self._told: Progress | None = None  # the last progress that was sent
        self._waits = '', ''                # token and id that it was last said to wait for
        self._numbers = count(1)
        self._asked: dict[bytes, Question] = {}   # by number
        self._posts: deque[bytes] = deque()   # frames for the watcher to send
        self._busy, self._wakes = os.pipe()
        self._watching = False              # outcomes may have to be sent
        self._working = False
        self._asleep = False                # the watcher, until somebody wakes it
        self.parent = 0
        self.pid = os.getpid()
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """A copy of this process, made by a task, has no part in its pipes."""
        for fd in (self.tasks_in, self.outcomes_out, self.answers_in, self._busy, self._wakes):
            with suppress(OSError):
                os.close(fd)
        # other files will have these numbers
        self.tasks_in = self.outcomes_out = self.answers_in = self._busy = self._wakes = -1

    def __repr__(self) -> str:
        return f'<Child {os.getpid()} of {self.parent}>'

    def read(self) -> list[bytes]:
        """The next frame; EOFError when there are no more to come."""
        while not self._frames:
            data = os.read(self.tasks_in, CHUNK)
            if not data:
                raise EOFError
            self._frames.extend(self._reader.feed(data))
        return self._frames.popleft()

    def write(self, frame: bytes) -> None:
        """Send a frame, under the lock; waits while the pipe is full."""
        data = memoryview(frame)
        while data:
            data = data[os.write(self.outcomes_out, data):]

    def say(self, parts: list[bytes]) -> None:
        """Send a frame among those of the watcher."""
        frame = pack(parts)
        with self._lock:
            self.write(frame)

    def work(self, broker: Broker) -> None:
        """Run what comes, until no more comes."""
        number = looked = peak = 0
        run_one = runner(broker, self.interrupter)
        while True:
            self._watching = self._working = False
            try:
                tasks = list(unpack_tasks(self.read()))
            except EOFError:
                return self.interrupter.close()
            last = len(tasks) - 1
            begun = flushed = monotonic_ns()
            self._watching = last > 0
            self._working = True
            if last or self._asleep:  # it does not sleep while one task follows the other
                self.nudge()
            for index, delivery in enumerate(tasks):
                number += 1
                if self.page.begin(number):
                    outcome = run_one(delivery)
                    ended = monotonic_ns()
                    if ended - looked > SELDOM_NS:
                        looked, peak = ended, peak_memory()
                    packed = pack_outcome(outcome, begun // 1000, ended // 1000, peak)
                    with self._lock:
                        self._done.extend(packed)
                    begun = ended   # of the next one: one look at the clock for each
                # By the clock after each task: the watcher would be too slow for short ones.
                if index == last or begun - flushed > FLUSH_NS:
                    self.page.end(number)
                    self.flush()   # it may have to wait for room in the pipe
                    begun = flushed = monotonic_ns()

    def flush(self) -> None:
        """Send the outcomes that have gathered."""
        with self._lock:
            if self._done:
                done, self._done = self._done, []
                self.write(pack([OUTCOMES, *done]))

    def ask(self, parts: list[bytes]) -> list[bytes]:
        """Ask the manager something, and wait for the answer; from any thread.

        The watcher writes and reads: a task may be interrupted in the midst of this.

        :raises QueueError: if it is too long to be asked.
        """
        if os.getpid() != self.pid:
            raise QueueError('this process was forked; the memory queue lives in its parent')
        number = b'%d' % next(self._numbers)
        try:
            frame = pack([ASK, number, *parts])   # here, for it would be the watcher's end
        except FrameError as error:
            raise QueueError(f'the memory queue is in another process, and {error} is too long '
                             'to be sent there') from None
        question = self._asked[number] = Question()
        try:
            self._posts.append(frame)
            self.nudge()
            question.answered.wait()
        finally:
            self._asked.pop(number, None)
        return question.answer

    def nudge(self) -> None:
        """Have the watcher look around; also from a signal handler."""
        os.write(self._wakes, b'!')

    def _hear(self) -> bool:
        """Hand out answers that have arrived; False at the end of the pipe."""
        data = os.read(self.answers_in, CHUNK)
        for kind, number, *parts in self._answers.feed(data):
            question = self._asked.get(number)
            if question is not None:   # whoever asked may have been interrupted
                question.answer = parts
                question.answered.set()
        return bool(data)

    # 3. -- never outlive the parent ------------------------------------------

    def watch(self) -> None:
        """In a thread: leave when the manager's end of the pipe is gone; send what waits."""
        poll = select.poll()
        poll.register(self.tasks_in, 0)   # 0: only that it was hung up
        poll.register(self._busy, select.POLLIN)
        if self.answers_in >= 0:
            poll.register(self.answers_in, select.POLLIN)
        pause = FLUSH
        news_at = 0.0
        while True:
            self._asleep = True           # said first, looked second, as `work` does
            wait = pause if self._watching else NEWS if self._working else None
            self._asleep = wait is None
            found = dict(poll.poll(None if wait is None else 1000 * wait))
            # A long task is looked at ever more seldom: looking costs it the GIL.
            pause = min(2 * pause, SELDOM)
            if self.tasks_in in found:
                # What the main thread has read it may finish: it meets the end by itself,
                # if it gets there. The manager that closed its end in peace waits for that.
                if os.getppid() != self.parent:
                    os._exit(1)
                poll.unregister(self.tasks_in)
            if self._busy in found:
                os.read(self._busy, 4096)
                pause = FLUSH
                rouse(self.interrupter.wake())
            elif self._watching:
                self.flush()
            while self._posts:
                with self._lock:
                    self.write(self._posts.popleft())
            if self.answers_in in found and not self._hear():
                poll.unregister(self.answers_in)
            now = time.monotonic()
            if now >= news_at:
                news_at = now + NEWS
                self._report()

    def _report(self) -> None:
        """Send the progress of the task that runs, if there is news."""
        task = self.interrupter.task
        if task is not None and (task.token, task.waits_for) != self._waits \
                and (task.waits_for or task.token == self._waits[0]):
            self._waits = task.token, task.waits_for
            self.say([WAITS, task.token.encode('ascii'), self._waits[1].encode()])
        news = task.reported if task is not None else None
        if task is None or news is None or news is self._told:
            return
        self._told = news
        try:
            raw = news.encode()
        except Exception as error:  # of whatever it was called with
            log.warning('the progress of %s [%s] cannot be told: %s', task.name, task.id, error)
            return
        self.say([PROGRESS, task.token.encode('ascii'), raw])

    def guard(self, parent: int) -> None:
        """Begin to watch. On Linux the kernel does it too, even if a task keeps the GIL."""
        self.parent = parent
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        threading.Thread(target=self.watch, name='worq-child-watch', daemon=True).start()


def peak_memory() -> int:
    """The most memory that this process has had, in KiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most >> 10 if sys.platform == 'darwin' else most


def die_with_parent() -> None:
    """Have this process killed when the thread that started it ends (Linux)."""
    if sys.platform != 'linux':
        return
    import ctypes  # a few ms, and only here
    set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
    ctypes.CDLL(None, use_errno=True).prctl(set_death_signal, signal.SIGKILL, 0, 0, 0)


def ignore(*args: object) -> None:
    """A handler that does nothing.

    Not SIG_IGN, which the programs that a task starts would inherit, and its forks. A signal for
    the whole process group (Ctrl-C, a service manager) is the parent's to answer.
    """


def call() -> int:
    """Run one function that comes on stdin, for ``run_in_subprocess``."""
    stdin = sys.stdin.buffer
    preparation, function = unpickle(stdin.read(int.from_bytes(stdin.read(8), 'little')))
    prepare(preparation)
    func, args, kw = unpickle(function)
    try:
        func(*args, **kw)
    except Exception:
        log.critical('the function of a subprocess failed', exc_info=True)
        raise
    return 0


def main(argv: list[str]) -> int:
    """Be a child; returns the exit status."""
    if argv == ['call']:
        return call()
    streams.fill()
    answers_in, tasks_in, outcomes_out, page, parent = map(int, argv)
    for fd in (answers_in, tasks_in, outcomes_out, page):
        if fd >= 0:
            os.set_inheritable(fd, False)  # not for the programs that tasks start
    handlers = Handlers()
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) != signal.SIG_IGN:   # as nohup has it: programs inherit that
            handlers.set(number, ignore)
    child = Child(tasks_in, outcomes_out, Page(page), answers_in)
    handlers.set(signal.SIGUSR1, child.interrupter.obey)
    watchdog.show(page)
    child.guard(parent)
    asks = answers_in >= 0
    if asks:
        from worq.queue import remote   # these are a tenth of all imports, and only here
        from worq.queue.memory import queue as memory
        memory.elsewhere = lambda url, name: remote.TaskQueue(url, name, child.ask)
    try:
        kind, data, queue = child.read()
    except EOFError:   # the parent has thought better of it
        return 0
    error: BaseException | None = None
    try:
        if kind != INIT:
            raise ValueError('the first frame is not how to begin')
        broker = begin(data, queue.decode(), asks)
    except BaseException as err:
        error = err
    if forks.generation:
        forks.leave(error)   # a copy, that init_func has made
    if error is not None:
        text = ''.join(traceback.format_exception(error))
        child.say([BROKEN, one_line(error).encode('utf-8', 'replace'),
                   text.encode('utf-8', 'replace')])
        return 1
    child.say([READY, *(name.encode() for name in broker.tasks)])
    child.work(broker)
    broker.close()
    return 0


def start(argv: list[str]) -> NoReturn:
    """Be a child, and end."""
    sys.modules['__main__'].__loader__ = None   # that of -c warns if an error shows the module
    code = 1
    try:
        code = main(argv)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()  # what tasks and libraries wish to have done at the end
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that tasks have left behind must not keep a child that is to end.
    os._exit(code)
