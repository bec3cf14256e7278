"""An event loop that does not go round: who blocks it is named, and after a while its child ends.

A loop is blocked by code that does not come to an ``await``: it computes, or waits as functions
do. All others in its child wait meanwhile; their leases do not, for the manager has them. None of
this needs the child's help: the page says whose step it is, and the stack is written by a C
signal handler, which needs no GIL.
"""
from __future__ import annotations

import os
import re


from worq.printable import logger
from worq.pool.aio.worker import LoopWorker, Sentence
from worq.pool.children.watchdog import AWAY, SIGNAL, WRITES, Watchdog, stack, written
from worq.pool.children.worker import Worker
from worq.pool.worklog import named
from worq.queue.base import Delivery, Outcome

__all__ = ['LoopWatchdog', 'culprits_line']

log = logger(__name__)

EVERY = 0.25      # seconds between two looks at a child that runs something
BLOCKED = 1.0     # seconds without a tick after which its loop is blocked; it ticks five times
LIBRARY = os.path.dirname(os.__file__)
OURS = os.path.join('worq', 'pool', '')
NOBODY = 'something that no task there has begun, or one that has ended has left behind'


class LoopWatchdog(Watchdog):
    """Looks at one child, as `Watchdog`, and at its loop.

    :param limit: seconds that the loop may be blocked; None: for ever.
    """

    def __init__(self, limit: float | None) -> None:
        super().__init__()
        self.limit = limit
        self._since: float | None = None     # when the loop has stood still: the last tick
        self._key = 0                        # of the step that blocks it
        self._line = ''                      # where it is
        self._shown = False                  # the stack has been asked for
        self._at = 0                         # how much it had written before that
        self._say_at = 0.0                   # seconds after which it is said again

    def look(self, worker: Worker, now: float, label: str) -> None:
        away = now - self.looked > AWAY
        super().look(worker, now, label)
        if not isinstance(worker, LoopWorker) or self.look_at == float('inf'):
            return
        if away:
            worker.active = now   # we may have been stopped, and its ticks are old by now
        elif worker.ready:
            self._look_at_loop(worker, now, label)
        if worker.sent or not worker.has_passed():
            self.look_at = min(self.look_at, now + EVERY)

    def _idle(self, worker: Worker, now: float, silent: float) -> str:
        return ''   # that is seen of its loop

    def _look_at_loop(self, worker: LoopWorker, now: float, label: str) -> None:
        page = worker.page
        # what it has may have been sent just now, when nothing was there that had the loop tick
        since = max(page.ticked, worker.active)
        if worker.has_passed() and not worker.sent or now - since < BLOCKED:
            if self._since is not None:
                log.info('%s: the event loop of worker process %d goes on, after %.1f seconds',
                         label, worker.pid, now - self._since)
                self._since, worker.blocked_by = None, ''
            return
        if self._since is None or page.key != self._key:
            self._key = page.key
            self._line, self._shown, self._say_at = '', False, 0.0
        self._since = since
        if not self._shown and SIGNAL is not None:
            self._shown, self._at = True, written(worker)
            worker.send_signal(SIGNAL)
            self.look_at = now + WRITES   # it has as long
            return
        self._line = self._line or culprits_line(stack(worker, self._at))
        self._tell(worker, now, label)

    def _tell(self, worker: LoopWorker, now: float, label: str) -> None:
        culprit = worker.stepping()
        seconds = now - (self._since or now)
        who = named(culprit.header, culprit.id) if culprit is not None else NOBODY
        where = f', at {self._line}' if self._line else ''
        worker.blocked_by = f'the event loop of worker {worker.pid} is blocked for ' \
                            f'{seconds:.1f} s by {who}{where}'
        if seconds >= self._say_at:
            self._say_at = 2 * seconds
            log.warning('%s: %s; %d others wait for it', label, worker.blocked_by,
                        len(worker.sent) - (culprit is not None))
        if self.limit is not None and seconds >= self.limit and worker.sentence is None:
            self._end(worker, culprit, f'blocked the event loop for {seconds:.0f} s{where}')

    def _end(self, worker: LoopWorker, culprit: Delivery | None, cause: str) -> None:
        log.error('worker process %d: %s: it is killed, and all others in it go back',
                  worker.pid, worker.blocked_by)
        if culprit is not None:
            worker.sentence = Sentence(culprit, Outcome(
                culprit.id, culprit.token, 'lost', f'it {cause}'.encode()))
        worker.kill()


def culprits_line(text: str) -> str:
    """Where the loop's thread is, in the stack that a child has written: the innermost line that
    is the program's own, or else of a library."""
    for part in re.split(r'\n(?=(?:Current thread|Thread) )', '\n' + text):
        frames = re.findall(r'^  File "(.*)", line (\d+) in (.*)$', part, re.M)
        if not any(OURS in path and name == 'live' for path, _, name in frames):
            continue
        own = [one for one in frames if not one[0].startswith(LIBRARY) or 'site-packages' in one[0]]
        own = [one for one in own if OURS not in one[0]]
        path, line, name = own[0] if own else frames[0]
        return f'{os.path.basename(path)}:{line} in {name}'
    return ''
