"""The child of a process pool, a program of its own: ``start([ANSWERS, IN, OUT, PAGE, PARENT])``.

It reads tasks from one pipe, runs them one after the other, and writes their outcomes to
another. Its first frame tells it how to begin, and is trusted, for it comes from the process
that started this one. If the queue is in the memory of that process, tasks ask for it there, and
ANSWERS is the pipe on which they are answered; else it is -1.

Duties: 1. work; 2. never outlive the parent, whatever the task does.
"""
from __future__ import annotations

import atexit
from collections import deque
from contextlib import suppress
from itertools import count
import os
import resource
import select
import signal
import sys
import threading
import time
from time import monotonic_ns
import traceback
from typing import Any, Callable, Container, NoReturn

from worq import streams
from worq.core import Broker
from worq.current import CurrentTask
from worq.errors import QueueError
from worq.latch import Latch
from worq.printable import logger
from worq.pool import forks
from worq.pool.forks import Handlers
from worq.pool.interrupt import Interrupter, rouse
from worq.pool.children import watchdog
from worq.pool.children.begin import checked, made, prepare, unpickle
from worq.pool.children.respawn import one_line
from worq.pool.children.frames import CHUNK, FrameError, Reader, pack
from worq.pool.children.protocol import (
    ASK, BROKEN, LIMIT, OUTCOMES, PROGRESS, WAITS, Page, pack_outcome, pack_ready,
    unpack_tasks,
)
from worq.pool.run import runner
from worq.progress import Progress
from worq.queue.base import Outcome

__all__ = ['Child', 'main', 'peak_memory', 'start']

log = logger(__name__)

FLUSH = 0.002       # seconds that an outcome waits for those of the tasks behind it
FLUSH_NS = 2_000_000   # ... the same in ns
SELDOM = 0.1        # seconds, when a task takes long
SELDOM_NS = 100_000_000   # ns between two looks at the peak of memory
NEWS = 0.5          # seconds between two looks at a task's progress


# 1. -- work ----------------------------------------------------------------------

class ChildInterrupter(Interrupter):
    """Interrupts the child's task: the manager gives the order by the page and a signal."""

    exposes = '; in a process pool they are exposed by init_func, which each child calls'

    def __init__(self, child: Child) -> None:
        super().__init__()
        self.child = child

    def begin(self, task: CurrentTask, limit: float | None, will: Outcome | None) -> None:
        if limit is not None and will is not None:
            self.child.say_limit(limit, will)
        super().begin(task, limit, will)
        self.obey()  # the order may have come before

    def obey(self) -> None:
        """Interrupt the task, if it is the one that is meant."""
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
        self.say_packed(pack(parts))   # packed outside of the lock

    def say_packed(self, frame: bytes) -> None:
        """Send a frame."""
        with self._lock:
            self.write(frame)

    def say_limit(self, limit: float, will: Outcome) -> None:
        """A task begins that has a time limit: the manager counts from when it reads this."""
        self.say([LIMIT, b'%d' % max(1, limit * 1000), *pack_outcome(will)])

    def told_broken(self, error: BaseException | None) -> bool:
        """After ``init_func``: tell the manager why it has not worked, if so."""
        if forks.generation:
            forks.leave(error)   # a copy, that init_func has made
        if error is not None:
            text = ''.join(traceback.format_exception(error))
            self.say([BROKEN, one_line(error).encode('utf-8', 'replace'),
                      text.encode('utf-8', 'replace')])
        return error is not None

    def tell_ready(self, broker: Broker) -> None:
        """It can run these."""
        self.say(pack_ready(broker.tasks, {
            name: when for name, when in broker.timings.items() if name in broker.tasks}))

    def live(self, first: list[bytes], asks: bool) -> int:
        """Begin as the first frame says, and run what comes; returns the exit status."""
        error: BaseException | None = None
        try:
            broker = checked(made(first, asks), first)
        except BaseException as err:
            error = err
        if self.told_broken(error):
            return 1
        self.tell_ready(broker)
        self.work(broker)
        broker.close()
        return 0

    def obey(self, number: int, frame: Any) -> None:
        """The handler of the signal by which the manager has it interrupt what runs."""
        self.interrupter.obey()

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

    # 2. -- never outlive the parent ------------------------------------------

    def watch(self) -> None:
        """In a thread: leave when the manager's end of the pipe is gone; send what waits."""
        poll = self._poll()
        pause = FLUSH
        news_at = 0.0
        while True:
            self._asleep = True           # said first, looked second, as `work` does
            wait = pause if self._watching else NEWS if self._working else None
            self._asleep = wait is None
            found = dict(poll.poll(None if wait is None else 1000 * wait))
            # A long task is looked at ever more seldom: looking costs it the GIL.
            pause = min(2 * pause, SELDOM)
            self._see_to(poll, found)
            if self._busy in found:
                pause = FLUSH
                rouse(self.interrupter.wake())
            elif self._watching:
                self.flush()
            now = time.monotonic()
            if now >= news_at:
                news_at = now + NEWS
                self._report()

    def _poll(self) -> select.poll:
        """What the watcher waits for: that the parent hangs up, a nudge, answers."""
        poll = select.poll()
        poll.register(self.tasks_in, 0)   # 0: only that it was hung up
        poll.register(self._busy, select.POLLIN)
        if self.answers_in >= 0:
            poll.register(self.answers_in, select.POLLIN)
        return poll

    def _see_to(self, poll: select.poll, found: Container[int]) -> None:
        """After a poll, see to what it has found of these, and send what others have posted."""
        if self.tasks_in in found:
            # What the main thread has read it may finish: it meets the end by itself,
            # if it gets there. The manager that closed its end in peace waits for that.
            if os.getppid() != self.parent:
                os._exit(1)
            poll.unregister(self.tasks_in)
        if self._busy in found:
            os.read(self._busy, 4096)
        while self._posts:
            self.say_packed(self._posts.popleft())
        if self.answers_in in found and not self._hear():
            poll.unregister(self.answers_in)

    def _report(self) -> None:
        """Send the progress of the task that runs, if there is news, and for what it waits."""
        task = self.interrupter.task
        if task is None:
            return
        waits = task.token, task.waits_for
        if waits != self._waits and (waits[1] or waits[0] == self._waits[0]):
            self._waits = waits
            self.say_waits(task, waits[1])
        news = task.reported
        if news is not None and news is not self._told:
            self._told = news
            self.say_progress(task, news)

    def say_waits(self, task: CurrentTask, id: str) -> None:
        """A task waits for another one; empty: it does so no more."""
        self.say([WAITS, task.token.encode('ascii'), id.encode()])

    def say_progress(self, task: CurrentTask, news: Progress) -> None:
        """How far a task has come."""
        try:
            raw = news.encode()
        except Exception as error:  # of whatever it was called with
            log.warning('the progress of %s [%s] cannot be told: %s', task.name, task.id, error)
        else:
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


def main(argv: list[str], kind: Callable[..., Child] = Child, paper: type[Page] = Page) -> int:
    """Be a child; returns the exit status.

    :param kind: of the child, and `paper` of the page.
    """
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
    child = kind(tasks_in, outcomes_out, paper(page), answers_in)
    handlers.set(signal.SIGUSR1, child.obey)
    watchdog.show(page)
    child.guard(parent)
    asks = answers_in >= 0
    if asks:
        from worq.queue import remote   # these are a tenth of all imports, and only here
        from worq.queue.memory import queue as memory
        memory.elsewhere = lambda url, name: remote.TaskQueue(url, name, child.ask)
    try:
        first = child.read()
    except EOFError:   # the parent has thought better of it
        return 0
    return child.live(first, asks)


def start(argv: list[str], kind: Callable[..., Child] = Child, paper: type[Page] = Page,
          ) -> NoReturn:
    """Be a child, and end."""
    sys.modules['__main__'].__loader__ = None   # that of -c warns if an error shows the module
    code = 1
    try:
        code = main(argv, kind, paper)
    except BaseException:
        traceback.print_exc()
    atexit._run_exitfuncs()  # what tasks and libraries wish to have done at the end
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that tasks have left behind must not keep a child that is to end.
    os._exit(code)
