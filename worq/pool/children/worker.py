"""A child process, as its manager sees it: what it has, what it does, how it ended."""
from __future__ import annotations

from collections import deque
from contextlib import ExitStack, suppress
import os
import resource
import signal
import subprocess
import sys
import time
from typing import Iterable, Protocol, Sequence
from weakref import WeakSet

from worq import const, pools, streams
from worq.printable import shortened
from worq.pool.interrupt import GRACE
from worq.pool.children.launch import CHILD, start_child
from worq.pool.children.frames import CHUNK, FrameError, Outlet, Reader, pack
from worq.pool.children.notes import Done, Limit, Order
from worq.pool.children.protocol import (
    ANSWER, ASK, BROKEN, LIMIT, OUTCOMES, PROGRESS, READY, WAITS, Page, pack_tasks, split,
    unpack_limit, unpack_outcomes, unpack_ready, weight,
)
from worq.queue.base import Delivery, Outcome
from worq.queue.validation import ID_BYTES
from worq.timing import Timing

__all__ = ['Watcher', 'Worker']

LONGEST = 64 << 10  # bytes of a traceback in the log
UNREAD = 4096      # answers that wait to be read; each thread of a child waits for one at a time
AGAIN = 0.2       # seconds between two signals to a child that is to interrupt its task
UNIT = 1 if sys.platform == 'darwin' else 1024  # bytes in which ru_maxrss counts

class Watcher(Protocol):
    """Tells a child that is frozen from a busy one: ``watchdog.Watchdog``."""

    look_at: float   #: monotonic: when it wants to look again
    slow: str        #: that it takes long to begin, once that has been told

    def look(self, worker: Worker, now: float, label: str) -> None:
        """Look at the child, and end it if it has been frozen for too long."""


class Worker:
    """Duties: 1. start; 2. send tasks; 3. receive outcomes; 4. take tasks back; 5. interrupt;
    6. end.

    Nothing in here waits: pipes are read and written as far as they go.

    :param first: the frame that tells the child how to begin.
    :param watch: looks after it.
    :param asks: whether it may ask for what is in this process: its queue is in memory.
    :param arguments: for its program.
    """

    MODULE = CHILD            #: of the child's program
    PAGE: type[Page] = Page

    def __init__(self, first: bytes, watch: Watcher, asks: bool = False,
                 arguments: Sequence[str] = ()) -> None:
        self.ready = False
        self.names: frozenset[str] = frozenset()   # of the tasks that it can run ...
        self.timings: dict[str, Timing] = {}       # ... and when they are called by themselves
        self.strange: list[tuple[Delivery, Outcome]] = []   # that it cannot; to be taken
        self.progress: dict[bytes, bytes] = {}  # by token; for the manager to take
        self.waits = b'', ''             # token and id: what this task waits for
        self.asked: list[list[bytes]] = []      # number, verb and value; for it to answer
        self.broken = ''                 # the traceback, if it could not begin ...
        self.why = ''                    # ... and its last line
        self.fault = ''                  # what was wrong with what it wrote ...
        self.garbage = 0                 # ... and the bytes of that, and of all after it
        self.generation = 0              # of the manager's
        self.blocked = False             # it has what it cannot begin now, and gets no more
        self.leaving = False             # it finishes what it runs, and gets no more
        self.retiring = False            # it has been told so: its pipe is closed
        self.ended = False               # its pidfd has said so, or it has none that could
        self.disowned = False            # we killed it: its task is to be told nothing of
        self.sent: deque[tuple[int, Delivery]] = deque()  # by number; not yet reported
        self.number = 0                  # of the last task that was sent
        self.last: tuple[bytes, str] | None = None  # header and id of what it told of last
        self.said = 0                    # the number of the last task whose begin was logged
        #: What it has run, since this was emptied; None if nobody wants to know
        self.done: list[Done] | None = None
        self.returned = 0                # of these, how many were taken back
        self.born = time.monotonic()
        self.active = self.born          # when it last got its first task, or reported
        self.seen = 0, self.born         # the last task begun, and when we saw it change
        self.limit: Limit | None = None  # of the last task that had one
        self.order: Order | None = None
        self.disputed: dict[bytes, str] = {}  # by token, why: not ours, and it may begin just now
        self.revoked: tuple[int, float] | None = None  # from which number on, since when; see 4.
        self.reader = Reader()
        self.watch = watch
        self.page_fd = -1                # the child's, of the page
        self._eof = False
        self._peak = 0
        self._inherited = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT
        self._arguments = arguments
        self._start(asks)
        _workers.add(self)
        self.tasks.send(first)

    # 1. -- start -------------------------------------------------------------

    def _start(self, asks: bool) -> None:
        streams.fill()
        with ExitStack() as ours, ExitStack() as theirs:  # what is closed if it fails; anyway
            def pipe(outwards: bool) -> tuple[int, int]:
                ends = os.pipe()   # to be read, to be written
                theirs.callback(os.close, ends[0 if outwards else 1])
                ours.callback(os.close, ends[1 if outwards else 0])
                return ends

            tasks_in, tasks = pipe(True)
            self.tasks = Outlet(tasks)
            answers_in, answers = pipe(True) if asks else (-1, None)
            self.answers = None if answers is None else Outlet(answers)
            outcomes, outcomes_out = pipe(False)
            self.outcomes: int | None = outcomes
            os.set_blocking(outcomes, False)
            page = self.PAGE.make()
            theirs.callback(os.close, page)
            self.page = self.PAGE(page)
            ours.callback(self.page.close)
            self.page_fd = page
            self.process = start_child(
                [*self._arguments,
                 *map(str, (answers_in, tasks_in, outcomes_out, page, os.getpid()))],
                self.MODULE, stdin=subprocess.DEVNULL,
                pass_fds=[fd for fd in (answers_in, tasks_in, outcomes_out, page) if fd >= 0])
            ours.pop_all()
        self.outlets = [self.tasks] if self.answers is None else [self.tasks, self.answers]
        self.pid = self.process.pid
        # The end of the pipe is no proof of a death: a task may have forked. A pidfd is, but
        # not every kernel, nor every sandbox, has them.
        try:
            self.pidfd: int | None = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            self.pidfd = None
            self.ended = True

    def __repr__(self) -> str:
        return f'<Worker {self.pid}, {len(self.sent)} tasks>'

    # 2. -- send --------------------------------------------------------------

    def send(self, deliveries: Iterable[Delivery]) -> None:
        """Give it tasks, behind those that it has."""
        if not self.sent:
            self.active = time.monotonic()
            self.seen = self.page.started, self.active
        for group in split(deliveries):
            frame = pack(pack_tasks(group))
            first, self.number = self.number + 1, self.number + len(group)
            self.sent.extend(enumerate(group, first))
            self.tasks.send(frame)

    def answer(self, number: bytes, parts: list[bytes]) -> None:
        """Send the answer to what it has asked."""
        if self.answers is not None:
            try:
                frame = pack([ANSWER, number, *parts])
            except FrameError as error:
                frame = pack([ANSWER, number, b'queue', f'"the answer is {error}"'.encode()])
            self.answers.send(frame)

    # 3. -- receive -----------------------------------------------------------

    def receive(self) -> list[Outcome]:
        """The outcomes that have arrived.

        If what it wrote makes no sense, `fault` says so: it is to be killed, and what it still
        writes is only counted.
        """
        outcomes: list[Outcome] = []
        while not self._eof:
            assert self.outcomes is not None   # closed together with all the rest
            try:
                data = os.read(self.outcomes, CHUNK)
            except BlockingIOError:
                break
            if not data:
                self._eof = True
                break
            try:
                for parts in self.reader.feed(data) if not self.fault else ():
                    self._understand(parts, outcomes)
            except FrameError as error:  # what came before it holds
                self.fault = str(error)
                self.reader = Reader()   # what it keeps may be long
            if self.fault:
                self.garbage += len(data)
            if len(data) < CHUNK:
                break
        return outcomes

    def _understand(self, parts: list[bytes], outcomes: list[Outcome]) -> None:
        kind = parts[0] if parts else b''
        if kind == READY:
            self.ready = True
            self.names, self.timings = unpack_ready(parts)
        elif kind == BROKEN and len(parts) == 3:
            self.why, self.broken = (
                part[-LONGEST:].decode('utf-8', 'replace') for part in parts[1:])
            self.why = shortened(self.why)
        elif kind == OUTCOMES:
            self.blocked, delivery = False, None
            for outcome in unpack_outcomes(parts):
                found = self._ended(outcome)
                if found is None:
                    continue
                number, delivery, wanted = found
                if wanted and outcome.word == 'unknown':
                    self.strange.append((delivery, outcome))
                elif wanted:
                    outcomes.append(outcome)  # of a cancelled one nobody wants to know it
                if self.done is not None:
                    self.done.append(Done(number, delivery, outcome if wanted else None,
                                          (outcome.ended - outcome.begun) / 1e6))
            if delivery is not None:
                self.last = delivery.header, delivery.id
        elif kind == LIMIT:
            seconds, will = unpack_limit(parts)
            for number, delivery in self.sent:
                if delivery[:2] == will[:2]:
                    self._has_limit(Limit(number, time.monotonic() + seconds, will))
                    break
            else:
                raise FrameError('the limit of a task that it does not have')
        elif kind == ASK and len(parts) > 2 and self.answers is not None:
            if len(self.answers.pending) > UNREAD:
                raise FrameError('questions, and it does not read the answers')
            self.asked.append(parts[1:])
        elif kind == WAITS and len(parts) == 3 and len(parts[2]) <= ID_BYTES:
            self._has_wait(parts[1], parts[2].decode('utf-8', 'replace'))
        elif kind == PROGRESS and len(parts) == 3 and len(parts[2]) <= const.PROGRESS:
            self.progress[parts[1]] = parts[2]
        else:
            raise FrameError('a frame of an unknown kind')

    def _ended(self, outcome: Outcome) -> tuple[int, Delivery, bool] | None:
        """The delivery that it is of, and whether anybody wants to know it; None: not even we."""
        if not self.sent or self.sent[0][1][:2] != outcome[:2]:   # id and token
            raise FrameError('the outcome of a task that it was not running')
        number, delivery = self.sent.popleft()
        return number, delivery, self.order is None or self.order[:2] != (number, 'cancelled')

    def _has_limit(self, limit: Limit) -> None:
        self.limit = limit

    def _has_wait(self, token: bytes, id: str) -> None:
        self.waits = token, id

    @property
    def hung_up(self) -> bool:
        """Whether it has closed its end of the pipe."""
        return self._eof

    # 4. -- take back ---------------------------------------------------------

    @property
    def backed_up(self) -> bool:
        """Whether something waits in it behind what it runs."""
        return len(self.sent) > 1

    @property
    def unsaid(self) -> bool:
        """Whether the log does not have yet that it has begun something."""
        return bool(self.sent) and self.said < self.sent[0][0]

    @property
    def has_unbegun(self) -> bool:
        """Whether it has something that it has not begun."""
        return len(self.sent) > 1 or bool(self.sent) and self.running() is None

    def stuck_for(self, now: float) -> float:
        """Seconds for which it has begun no other task, while more than one is there."""
        begun = self.page.started
        if begun != self.seen[0]:
            self.seen = begun, now
        return now - self.seen[1] if len(self.sent) > 1 else 0.0

    def revoke(self, now: float) -> None:
        """Forbid it to begin what it has not begun; `recover` them a little later."""
        if self.revoked is None and self.sent:
            low = max(self.page.started + 1, self.sent[0][0])
            self.page.revoke(low, self.number + 1)
            self.revoked = low, now

    def recover(self, now: float) -> list[Delivery]:
        """The revoked tasks that it has not begun and will not; empty until that is certain.

        A millisecond is ages for two processors to agree on what is in memory.
        """
        if self.revoked is None or now - self.revoked[1] < 0.001 or self.page.undecided():
            return []
        low = max(self.revoked[0], self.page.started + 1)
        self.revoked = None
        recovered = [delivery for number, delivery in self.sent if number >= low]
        self.returned += len(recovered)
        self.sent = deque(entry for entry in self.sent if entry[0] < low)
        # What it gets now would only be taken back again, until it has passed these.
        self.blocked = not self.has_passed()
        return recovered

    def has_passed(self) -> bool:
        """Whether it has begun or skipped all that it was ever sent."""
        return self.page.intent >= self.number

    def behind(self) -> int:
        """About how many bytes it has to read before it can begin what it was sent last."""
        return sum(weight(delivery) for _, delivery in self.sent)

    # 5. -- interrupt ---------------------------------------------------------

    def doing(self, now: float) -> pools.Worker:
        """What it does, for people; from any thread."""
        sent = list(self.sent)
        if not sent:
            return pools.Worker(self.pid, pools.IDLE if self.ready else pools.STARTING)
        first = sent[0][1]
        waits_for = self.waits[1] if self.waits[0] == first.token else ''
        return pools.Worker(
            self.pid, pools.WAITING if waits_for else pools.RUNNING, first.id,
            first.header.partition(b'\n')[0].decode('utf-8', 'replace'), now - self.active,
            waits_for, tuple(one.id for _, one in sent[1:pools.BEHIND + 1]))

    def all_doing(self, now: float) -> list[pools.Worker]:
        """All that it does."""
        return [self.doing(now)]

    def runs(self, token: bytes) -> Delivery | None:
        """The delivery, if it is one that it runs."""
        running = self.running()
        return running if running is not None and running.token == token else None

    def running(self) -> Delivery | None:
        """The task that it runs, or ran when it died."""
        return self._running()[1]

    def _running(self) -> tuple[int, Delivery | None]:
        begun = self.page.started
        for number, delivery in self.sent:
            if number == begun:
                return number, delivery
        return 0, None

    def blamed(self) -> Delivery | None:
        """The task that it ran when it ended, or was just about to begin."""
        running = self.running()
        if running is None and self.page.undecided():
            return next((one for number, one in self.sent if number == self.page.intent), None)
        return running

    def interrupt(self, word: str, token: bytes, now: float) -> None:
        """Have it raise an exception in this task, if it runs; `watch_over` kills it if need be.

        If it begins another one just now, that one is not meant.
        """
        number, delivery = self._running()
        if delivery is not None and delivery.token == token \
                and (self.order is None or self.order.number != number):
            self.order = Order(number, word, now + AGAIN, now + GRACE)
            self._order(self.order)

    def disown(self, token: bytes, word: str, now: float) -> bool:
        """A task that it runs is not ours any more: have it end. Whether it may do so by itself."""
        if word != 'cancelled':
            self.disowned = True
            self.kill()
            return False
        self.interrupt(word, token, now)
        return True

    def _order(self, order: Order) -> None:
        self.page.order(order.number, order.word)
        self.send_signal(signal.SIGUSR1)

    @property
    def watched(self) -> bool:
        """Whether there is something to `watch_over`."""
        return self.limit is not None or self.order is not None

    def watch_over(self, now: float) -> float | None:
        """Keep the time limit of the task that it runs, and what it was ordered.

        :returns: when to look again, monotonic; None: there is neither.
        """
        if self.limit is None and self.order is None:
            return None
        oldest = self.sent[0][0] if self.sent else self.number + 1
        if self.limit is not None and self.limit.number < oldest:
            self.limit = None
        if self.order is not None and self.order.number < oldest:
            self.order = None
        begun = self.page.started
        if self.limit is not None and self.limit.number == begun and now >= self.limit.until:
            self.interrupt('timeout', self.limit.will.token, now)
        order = self.order
        if order is None or order.number != begun:
            return None if self.limit is None else max(self.limit.until, now + 0.001)
        if now >= order.until:
            self.disowned = True
            self.kill()
        elif now >= order.again:
            # It may have been on its way into a call that waits, and not yet there.
            self._order(order)
            self.order = order._replace(again=now + AGAIN)
        return now + AGAIN

    def will(self) -> Outcome | None:
        """What the task comes to that it ran when it died, if it had overrun its limit."""
        number, _ = self._running()
        if self.limit is None or self.order is None or self.limit.number != number \
                or self.order[:2] != (number, 'timeout'):
            return None
        return self.limit.will

    # 6. -- end ---------------------------------------------------------------

    def retire(self) -> None:
        """Let it finish what it has and end: it meets the end of the pipe."""
        if not self.retiring:
            self.retiring = True
            self.tasks.close()

    def kill(self) -> None:
        """End it now."""
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        """Send the process a signal, if it has not ended."""
        if self.process.returncode is not None:
            return
        try:
            # Popen.send_signal would reap it, and lose its peak.
            if self.pidfd is not None:
                signal.pidfd_send_signal(self.pidfd, number)
            else:
                os.kill(self.pid, number)
        except ProcessLookupError:
            pass  # it is dead, and somebody else has reaped it

    def reap(self, wait: bool = False) -> str | None:
        """How it ended, in words; None while it has not."""
        if self.process.returncode is None:
            try:
                pid, status, usage = os.wait4(self.pid, 0 if wait else os.WNOHANG)
            except ChildProcessError:  # somebody else has reaped it
                self.process.returncode = 0
                return f'worker process {self.pid} ended, and its status is not known'
            if not pid:
                return None
            self.process.returncode = os.waitstatus_to_exitcode(status)
            self._peak = usage.ru_maxrss * UNIT
        code = self.process.returncode
        if code < 0:
            try:
                how = f'was killed by {signal.Signals(-code).name}'
            except ValueError:
                how = f'was killed by signal {-code}'
        else:
            how = f'ended with exit status {code}'
        if self.fault:
            how += f', since it wrote {self.garbage} bytes of nonsense, {self.fault}'
        # A child's peak begins with that of the process that it was forked from.
        bound = ' at most' if self._peak <= self._inherited else ''
        return f'worker process {self.pid} {how} (peak memory{bound} {self._peak >> 20} MiB)'

    def close(self) -> None:
        """Let go of what is left of it, after it has ended."""
        self.retire()
        self.close_pipes()
        self.page.close()

    def close_pipes(self) -> None:
        self.tasks.close()
        if self.answers is not None:
            self.answers.close()
        for name in ('outcomes', 'pidfd'):
            # Unset first: a fork in between must not close what has the number by then.
            fd: int | None = getattr(self, name)
            setattr(self, name, None)
            if fd is not None:
                os.close(fd)


# A fork of this process must not keep the pipes open: children end when they meet the end.
_workers: WeakSet[Worker] = WeakSet()


def _forked() -> None:
    for worker in list(_workers):
        with suppress(OSError):
            worker.close_pipes()


os.register_at_fork(after_in_child=_forked)
