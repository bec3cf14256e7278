"""A child that does nothing though it has something to do: told from a busy one, and ended.

A child that runs a task is not frozen, however long it takes, also while it keeps Python's lock
(the GIL) in C: for that there are time limits. What is frozen is one that does not begin what it
was sent, or does not tell what a task came to that has ended, for some seconds: a thread that a
task has left behind keeps the GIL, or the process was stopped (SIGSTOP). A stopped one runs
nothing, so it is frozen also if its task has begun.

None of that needs the child's help: the shared page says what it has begun, the kernel says that
it is stopped, and its stack is written by a C signal handler, which needs no GIL.
"""
from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from worq import const
from worq.printable import logger
from worq.pool.worklog import named
from worq.queue.records import Delivery

if TYPE_CHECKING:
    from worq.pool.children.worker import Worker

__all__ = ['Heads', 'Watchdog', 'show', 'stack', 'written']

log = logger(__name__)

EVERY = 1.0        # seconds between two looks at a child
FROZEN = 5.0       # seconds after which a child is frozen; a guess: no busy machine is so slow
AWAY = 3.5         # seconds; whoever looks so seldom was itself stopped: its round takes two
SLOW = 10.0        # seconds after which a child that has not begun is told of
RATE = 10 << 20    # bytes a second that a child reads at least, on a slow machine
WRITES = 0.1       # seconds that it has to write its stack
LONGEST = 8000     # bytes of that in the log
MANY = 1000        # tasks whose deaths are counted

#: Has a child write its stack behind the page. None where there are no such signals.
SIGNAL: int | None = getattr(signal, 'SIGRTMIN', None)


class Watchdog:
    """Looks at one child, once a second.

    :ivar look_at: monotonic, when the next look is due.
    """

    def __init__(self) -> None:
        self.looked = self.since = time.monotonic()
        self.look_at = self.looked + EVERY
        self._signs: object = None  # of life; `since` when they are the same, or we were away
        self._stopped: float | None = None   # since when it has been stopped, by a signal
        self._half = -1, self.looked   # a frame that is not complete: its number, since when
        self.slow = ''              # it takes long to begin: what has been told
        self._asked = False         # ... and it has been asked where it is
        self._trouble = ''          # what is wrong: it has been asked for its stack

    def look(self, worker: Worker, now: float, label: str) -> None:
        """Tell of the child and kill it, if it is frozen.

        :param label: names the pool in the log.
        """
        if self._trouble:
            text = stack(worker).lstrip('\n')   # on lines of its own
            log.error('%s: %s: it is killed, and what it has not begun goes back'
                      + ('\n%s' if text else '%s'), label, self._trouble, text)
            self.look_at = float('inf')
            return worker.kill()
        self._observe(worker, now)
        self.looked, self.look_at = now, now + EVERY
        if not worker.ready and not self.slow and now - worker.born > SLOW:
            self._tell_slow(worker, now, label)
        trouble = self._diagnosis(worker, now)
        if trouble:
            self._suspect(worker, trouble, now)

    def _tell_slow(self, worker: Worker, now: float, label: str) -> None:
        """A child takes long to begin: say so, and where it is, also if it lets nothing else run.

        It is not killed: who fetches much at the beginning is slow too.
        """
        if not self._asked and SIGNAL is not None and catches(worker.pid, SIGNAL):
            self._asked = True
            worker.send_signal(SIGNAL)
            self.look_at = now + WRITES
            return
        self.slow = (f'worker {worker.pid} has not begun after {now - worker.born:.0f} seconds; '
                     'is init_func waiting for something?')
        text = stack(worker).lstrip('\n')
        log.warning('%s: %s' + ('\n%s' if text else '%s'), label, self.slow, text)

    def _observe(self, worker: Worker, now: float) -> None:
        reader = worker.reader
        signs = (worker.page.signs, worker.active, reader.waits,
                 sum(map(len, worker.tasks.pending)))
        busy = worker.sent or not worker.ready or not worker.has_passed()
        away = now - self.looked > AWAY
        if away or signs != self._signs or not busy:
            self._signs, self.since, self._stopped = signs, now, None
        elif not is_stopped(worker.pid):
            self._stopped = None
        elif self._stopped is None:
            self._stopped = now
        if away or not reader.waits or self._half[0] != reader.frames:
            self._half = reader.frames, now

    def _diagnosis(self, worker: Worker, now: float) -> str:
        """What it should have done by now; empty if nothing is wrong."""
        half = worker.reader.waits
        if half and now - self._half[1] > FROZEN + half / RATE:
            return f'has written {half} bytes of something that does not end'
        if not worker.page.sealed:
            return 'has overwritten the page that it shares with its manager'
        # what it has may have been sent just after the last look
        silent = now - max(self.since, worker.active)
        if silent < FROZEN:
            return ''
        if self._stopped is not None and now - self._stopped >= FROZEN - EVERY:
            return f'has been stopped by a signal for {silent:.0f} seconds'
        return self._idle(worker, now, silent)

    def _idle(self, worker: Worker, now: float, silent: float) -> str:
        """What it should have begun or told, if it has given no sign of life for so long."""
        page = worker.page
        head = worker.sent[0][0] if worker.sent else worker.number + 1
        if head <= page.started and not page.undecided():
            if page.ended < page.started:
                return ''   # it runs a task
            return f'has not told for {silent:.0f} seconds what its last task came to'
        if not worker.ready or silent < FROZEN + worker.behind() / RATE:
            return ''
        return f'has begun nothing for {silent:.0f} seconds, though it has tasks and runs none'

    def _suspect(self, worker: Worker, trouble: str, now: float) -> None:
        """Take back what it has not begun, lest it begin that now; and ask for its stack."""
        running = worker.running()
        if worker.page.sealed:   # else nobody knows what it has begun
            worker.revoke(now)
        worker.blocked = True
        # If it thaws before it is killed, what it begins then must not pay for it.
        worker.disowned = worker.blamed() is None and worker.page.sealed
        what = f'running {named(running.header, running.id)}' if running is not None else \
            f'which ran {named(*worker.last)} last' if worker.last else 'which has run no task yet'
        self._trouble = f'worker process {worker.pid}, {what}, {trouble}'
        self.look_at = now
        if SIGNAL is not None and self._stopped is None and worker.ready:
            worker.send_signal(SIGNAL)
            self.look_at = now + WRITES


class Heads:
    """Which task is to blame for a death if the shared page names none.

    A task can reset that page before it dies, so it would never count, and run for ever. But it is
    the next to be begun each time. Who is so by chance is not so again.
    """

    def __init__(self) -> None:
        self._deaths: dict[tuple[str, bytes], int] = {}

    def blamed(self, worker: Worker) -> Delivery | None:
        """The task that is to pay for this death, if any."""
        _, head = worker.sent[0]
        life = head.id, head.token[:const.NONCE]
        if len(self._deaths) >= MANY:
            self._deaths.clear()
        deaths = self._deaths[life] = self._deaths.get(life, 0) + 1
        alone = len(worker.sent) == 1   # else another of them may have done it
        return head if alone and (deaths > 1 or not worker.page.sealed) or deaths > 2 else None


def is_stopped(pid: int) -> bool:
    """Whether a signal has stopped a child process. One that a debugger holds is not meant."""
    try:
        return os.waitid(os.P_PID, pid, os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None
    except (AttributeError, ChildProcessError):   # not here; or somebody else has reaped it
        return False


def catches(pid: int, number: int) -> bool:
    """Whether a process has a handler of a signal; without one it might end by it."""
    try:
        with open(f'/proc/{pid}/status', encoding='ascii', errors='replace') as file:
            masks = [line for line in file if line.startswith('SigCgt:')]
        return bool(int(masks[0].split()[1], 16) >> number - 1 & 1)
    except (OSError, ValueError, IndexError):
        return False


def written(worker: Worker) -> int:
    """How many bytes it has written behind its page."""
    try:
        return os.stat(f'/proc/{worker.pid}/fd/{worker.page_fd}').st_size - worker.page.SIZE
    except OSError:
        return 0


def stack(worker: Worker, at: int = 0) -> str:
    """What it has written behind its page; empty if nothing can be had.

    :param at: how much had been written before.
    """
    try:
        with open(f'/proc/{worker.pid}/fd/{worker.page_fd}', 'rb') as file:
            file.seek(worker.page.SIZE + at)
            return file.read(LONGEST).decode('utf-8', 'replace').rstrip()
    except OSError:
        return ''


def show(page_fd: int) -> None:
    """In the child: have its stack written behind the page when `SIGNAL` comes."""
    if SIGNAL is None:
        return
    import faulthandler   # only here
    os.set_inheritable(page_fd, False)
    os.lseek(page_fd, 0, os.SEEK_END)
    faulthandler.register(SIGNAL, file=page_fd, all_threads=True, chain=False)
