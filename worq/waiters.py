"""Who waits at an inbox, and how they leave it: at any moment, and without a word.

Whoever waits may be interrupted by a signal handler anywhere, or be given up and collected as
garbage. So they are known here by weak references to what wakes them. To leave is a few steps,
each of which is one of the interpreter's, and never waits for a lock, for finalizers do it.
"""
from __future__ import annotations

from collections import deque
from threading import get_ident
from typing import Any, Callable
from weakref import ref

from worq.lock import Lock

__all__ = ['Waiter', 'Waiters']


class Waiter(ref[Callable[..., object]]):
    """Somebody who waits, as long as what wakes it exists: who has gone without a word is no more.

    Two of them are equal if they wake the same one.

    :param wake: called to wake it; kept by whoever waits. It may be a `Latch`.
    :param what: is waited for.
    :param gone: called with this, when `wake` does not exist any more. The collector of garbage
        may do so at any moment, so it is something that takes no lock.
    """

    __slots__ = ('what', 'thread')

    what: Any
    thread: int   #: that made it

    def __new__(cls, wake: Callable[..., object], what: Any,
                gone: Callable[[Any], object] | None = None) -> Waiter:
        self = super().__new__(cls, wake, gone)
        self.what = what
        self.thread = get_ident()
        return self

    def __init__(self, *args: Any) -> None:
        pass   # `ref` would take two

    def wake(self) -> None:
        """Wake it, if it still waits."""
        wake = self()
        if wake is not None:
            wake()


class Waiters:
    """The table of them."""

    def _nobody(self) -> None:
        """Begin with none."""
        self._lock = Lock()
        self._waiting: dict[str, dict[Waiter, None]] = {}   # by the id of what is waited for
        self._threads: dict[Waiter, None] = {}     # of these: who can lead, the first come first
        self._subscribed: set[Waiter] = set()      # of these: who cannot, and is called
        self._idlers: list[Waiter] = []            # the background thread, asleep
        self._leader: Waiter | None = None
        self._gone: deque[Waiter] = deque()        # whose traces are to be tidied up

    def awaited(self) -> set[str]:
        """The ids of what somebody waits for now."""
        return set(self._waiting)   # in one step

    def _enter(self, waiter: Waiter) -> None:
        """Wake it from now on when what it waits for has come."""
        with self._lock:
            self._waiting.setdefault(waiter.what.id, {})[waiter] = None

    def _drop(self, waiter: Waiter) -> None:
        """Do not wake it any more. That takes no time however many there are.

        Who calls this may be a finalizer, in the midst of any other code: it waits for no lock.
        """
        waiters = self._waiting.get(waiter.what.id)
        if waiters is not None:
            waiters.pop(waiter, None)
            if not waiters:
                self._gone.append(waiter)
                self._tidy()

    def _tidy(self) -> None:
        """See to what those that are gone have left behind; if the lock is taken, later."""
        lock, gone = self._lock, self._gone
        if lock._is_owned():
            return
        try:
            if lock.acquire(False):
                while gone:
                    waiter = gone[0]
                    if waiter() is None:
                        self._threads.pop(waiter, None)
                        self._subscribed.discard(waiter)
                    if waiter.what is not None:
                        waiters = self._waiting.get(waiter.what.id)
                        if waiters is not None:
                            if waiters and waiter() is None:
                                waiters.pop(waiter, None)
                            if not waiters:
                                del self._waiting[waiter.what.id]
                    gone.popleft()   # the last: else the next one does it again
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """At the end of what has not begun with the lock: have it no more.

        A ``with`` sees to that, but where a debugger interrupts it.
        """
        while self._lock._is_owned():
            self._lock.release()

    def _led(self) -> bool:
        """Whether somebody leads; who was interrupted at its end may not have said so."""
        leader = self._leader
        return leader is not None and leader() is not None

    def _leave(self, waiter: Waiter) -> None:
        """Wait no more. May be called twice."""
        if self._leader is waiter:
            self._leader = None
        self._threads.pop(waiter, None)
        self._drop(waiter)
        self._promote()

    def _promote(self) -> None:
        """Wake somebody to lead, if nobody does.

        Whoever stops waiting does this, not only the leader: it may have been woken to
        lead just when its own time was up.
        """
        while self._threads and not self._led():
            try:
                heir = next(iter(self._threads))
            except (RuntimeError, StopIteration):   # somebody has come or gone just now
                continue
            if heir() is not None:
                heir.wake()
                return
            self._threads.pop(heir, None)
        if self._idlers and not self._led():
            for heir in self._idlers:
                heir.wake()
