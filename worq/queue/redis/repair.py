"""Repairs a queue on Redis in whose keys somebody else has written.

What can be told from the rest is set right: a task is put back where its state says that it
is. A task whose own record is damaged ends as `TaskExpired`, so that all who wait for
it, and what depends on it, come to an end too. What belongs to nothing is thrown away.
"""
from __future__ import annotations

from threading import Thread
from typing import Any, Callable

from worq.errors import QueueError, WorqError
from worq.latch import Flag
from worq.lock import Lock
from worq.printable import logger
from worq.queue.redis.audit import Commands, Fault, Store, raw

__all__ = ['Repairer', 'audit', 'is_newer', 'repaired']

AGAIN = 1.0    # seconds between two repairs in a process
TRIES = 3      # of a repair that fails
STEP = 100     # keys in one call of the script
SHARED = {'key', 'field', 'trash'}   # what no script can repair, for all of them use it
UNSURE = {'pins', 'dead'}   # what the script cannot see for itself: only what is found twice

log = logger(__name__)


def is_newer(ask: Callable[[], Any]) -> bool:
    """Whether programs of a newer revision use the queue.

    :param ask: runs the script, without any arguments.
    :raises QueueError: if its data has another schema.
    """
    try:
        return bool(ask())
    except QueueError as error:
        if not error.damaged:   # so that no script runs: that is to be repaired
            raise
        return False


def audit(commands: Commands, prefix: str, newer: bool = False) -> list[str]:
    """What is wrong in the queue whose keys have this prefix, a line each."""
    return [str(fault) for fault in Store(commands, prefix, newer).check()]


def repaired(run: Callable[..., Any], commands: Commands, prefix: str,
             newer: bool = False) -> list[str]:
    """Repair what is wrong; what that was, a line each.

    :param run: runs the script, with its arguments.
    :param commands: sends many commands at once and answers with their replies.
    :param newer: whether programs of a newer revision use the queue: what we do not know is theirs.
    """
    faults = repair_shared(commands, prefix, newer)
    sure: dict[tuple[str, str], Any] = {}
    store = Store(commands, prefix, newer)
    found = list(store.check())
    for fault in found:
        if fault.kind not in SHARED | UNSURE:
            sure[fault.kind, fault.name] = ''
    flush(run, sure)
    if any(fault.kind in UNSURE for fault in found):
        before = {fault for fault in found if fault.kind in UNSURE}
        again = Store(commands, prefix, newer)
        flush(run, {(fault.kind, fault.name): again.pins[fault.name]
                    for fault in again.check() if fault in before})
    texts = [str(fault) for fault in [*faults, *found]]
    for text in texts:
        log.warning('repaired in %s: %s', prefix[:-1], text)
    return texts


class Repairer:
    """Repairs a queue in a thread, when somebody has met damage: one at a time, one in a while.

    Each alarm is answered by a repair that begins after it: damage may be met only once, for a
    script that fails has done what came before. That repair may be another process's.

    :param repair: does it.
    :param claim: answers '' if it is ours to do, else whose repair is under way or was just now,
        a name for that one repair.
    """

    def __init__(self, repair: Callable[[], Any], claim: Callable[[], str]) -> None:
        self._repair = repair
        self._claim = claim
        self._lock = Lock()
        self._alarmed = False   # since the last repair began
        self._running = False   # the thread, until it has seen that nobody is alarmed
        self._closed = Flag()   # until the next alarm
        self._thread: Thread | None = None

    def alarm(self) -> None:
        """Somebody has met damage. Returns at once."""
        with self._lock:
            self._alarmed = True
            self._closed.clear()
            if self._running and self._thread is not None and self._thread.is_alive():
                return   # else it was never begun, for that was interrupted
            self._running = True
            self._thread = Thread(target=self._run, name='worq-repair', daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Begin nothing more."""
        with self._lock:
            self._alarmed = False
            self._closed.set()

    def _run(self) -> None:
        failed = 0
        while True:
            with self._lock:
                if not self._alarmed:
                    self._running = False
                    return
                self._alarmed = False
            try:
                self._ensure()
                failed = 0
            except Exception as error:
                log.warning('the queue is damaged, and could not be repaired: %s', error,
                            exc_info=not isinstance(error, WorqError))
                failed += 1
                with self._lock:
                    # After the last one it is up to whoever meets the damage again.
                    self._alarmed |= failed < TRIES and not self._closed.is_set()
            self._closed.wait(AGAIN)

    def _ensure(self) -> None:
        """Until there was a repair that began after this."""
        before = self._claim()
        other = before
        while other and other == before:   # it may have passed by what we were alarmed of
            if self._closed.wait(AGAIN):
                return
            other = self._claim()
        if not other:
            self._repair()


def flush(run: Callable[..., Any], sure: dict[tuple[str, str], Any]) -> None:
    argv = [part for (kind, name), number in sure.items() for part in (kind, raw(name), number)]
    for start in range(0, len(argv), 3 * STEP):
        run(*argv[start:start + 3 * STEP])


def repair_shared(commands: Commands, prefix: str, newer: bool) -> list[Fault]:
    """Repair what every script uses, and throw away what is none of ours."""
    faults = [fault for fault in Store(commands, prefix, newer).check() if fault.kind in SHARED]
    if faults:
        commands([shared(prefix, fault) for fault in faults])
    return faults


def shared(prefix: str, fault: Fault) -> list[Any]:
    """The command that repairs it."""
    if fault.kind == 'field':
        return ['HDEL', prefix + 'm', raw(fault.name)]
    if fault.kind == 'trash':
        return ['LREM', prefix + 'trash', 0, raw(fault.name)]
    return ['UNLINK', raw(prefix + fault.name)]
