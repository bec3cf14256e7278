"""How a task in another thread is interrupted, with nothing to be hit but the task."""
from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Callable

from worq.current import CurrentTask
from worq.lock import Lock
from worq.printable import logger
from worq.pool.interrupt import GRACE, Interrupter, rouse
from worq.progress import Progress
from worq.queue.base import Outcome

if TYPE_CHECKING:
    import asyncio

__all__ = ['ThreadInterrupter']

log = logger(__name__)


class ThreadInterrupter(Interrupter):
    """Interrupts a task in another thread, by ``PyThreadState_SetAsyncExc``.

    The interpreter raises such an exception some time later, when the thread runs Python code.
    So under the lock either the task has ended and nothing is raised, or ``end``, which waits for
    the lock, finds out what may still be raised, and takes it back.

    :param wake: called with the moment (monotonic) at which a time limit will end.
    :ivar cancelled: the token of the delivery that was cancelled last.
    :ivar given_up: its thread has another in its place, and is to end when the task does.
    """

    def __init__(self, wake: Callable[[float], None]) -> None:
        super().__init__()
        self.cancelled = b''
        self.given_up = False
        self._asked: tuple[str, str, float] | None = None   # token, why and since when to let go
        self.due: float | None = None        # when the limit ends
        self.told: Progress | None = None    # the last progress that was sent
        self._wake = wake
        self._will: Outcome | None = None
        self._lock = Lock()   # a finalizer of the task's may call the queue, in the midst of us
        self._raised = False   # and has not arrived

    # -- in the task's thread ---------------------------------------------------

    def _limited(self, due: float, will: Outcome | None) -> None:
        self._will, self.due = will, due
        self._wake(due)

    def _clean_up(self) -> None:
        with self._lock:   # or the keeper might take the one for the other task
            super()._clean_up()
            self.due = None

    def end(self) -> None:
        with self._lock:
            self.task = self.due = None
            if self._raised:
                self._take_back()

    def _take_back(self) -> bool:
        """Have nothing raised any more; whether something would have been."""
        if not self._raised:
            return False
        self._raised = False
        set_async_exception(self.ident, None)
        return True

    def _arrived(self) -> None:
        self._raised = False

    def raise_it(self, wake: Callable[[], object] | None) -> None:
        with self._lock:
            if self._take_back() and self._error is not None:
                raise self._error
            super().raise_it(wake)

    def lower_it(self) -> None:
        with self._lock:
            super().lower_it()

    def _seal(self) -> None:
        with self._lock:
            # it must not arrive among the code of the event loop
            if self._take_back() and self._error is not None:
                raise self._error
            super()._seal()

    def _enter(self, main: asyncio.Task[Any] | None) -> None:
        with self._lock:
            super()._enter(main)

    def _leave(self) -> None:
        with self._lock:
            super()._leave()

    def _unseal(self) -> None:
        with self._lock:
            super()._unseal()

    # -- for the keeper ---------------------------------------------------------

    def stop(self, word: str, token: bytes | None = None) -> bool:
        """Interrupt the task.

        :param token: of the delivery that is meant; None: whatever runs beyond its limit.
        :returns: whether it runs, and had not been interrupted before.
        """
        with self._lock:
            task = self.task
            if task is None or self._error is not None:
                return False
            if token is None and (self.due is None or time.monotonic() < self.due):
                return False
            if token is not None:
                if task.token != token.decode('ascii'):
                    return False
                self.cancelled = token
            self._ask(task, word)
            error = self._error = self._stop(task, word)
            if self._put_off():
                rouse(self.wake())
            elif self._main is not None:
                # A loop that waits does not look for exceptions; and code that runs in it is
                # cancelled where it waits next.
                self._main.get_loop().call_soon_threadsafe(self._main.cancel)
            else:
                self._raised = True
                set_async_exception(self.ident, error, self._arrived)
        return True

    def _ask(self, task: CurrentTask, word: str) -> None:
        self._asked = task.token, word, time.monotonic()

    def disown(self, token: bytes, word: str) -> bool:
        """The task is not this pool's any more, if it is this one; its outcome is of no use."""
        with self._lock:
            task = self.task
            if task is None or task.token != token.decode('ascii'):
                return False
            if self._error is None:
                self._ask(task, word)
            return True

    @property
    def patience(self) -> float | None:
        """Until when (monotonic) the task has to let go; None: it has not been asked to."""
        asked, task = self._asked, self.task
        return asked[2] + GRACE if asked and task and task.token == asked[0] else None

    def give_up_thread(self) -> tuple[CurrentTask, str] | None:
        """The task that has not let go in time, and what it was asked for. From now on its thread
        is none of the pool's."""
        with self._lock:
            until = self.patience
            if until is None or self._asked is None or self.task is None \
                    or time.monotonic() < until:
                return None
            self.given_up = True
            return self.task, self._asked[1]

    def give_up(self) -> Outcome | None:
        """What a task comes to that has had its time to let go; once."""
        with self._lock:
            if self.due is None or time.monotonic() < self.due + GRACE:
                return None
            self.due = None
            return self._will

    def news(self) -> tuple[bytes, bytes] | None:
        """The token of the delivery and its progress, if that is new."""
        task = self.task
        news = task.reported if task is not None else None
        if task is None or news is None or news is self.told:
            return None
        self.told = news
        try:
            return task.token.encode('ascii'), news.encode()
        except Exception as error:  # of whatever it was called with
            log.warning('the progress of %r cannot be told: %s', task, error)
            return None


def set_async_exception(ident: int, error: BaseException | None,
                        arrived: Callable[[], None] | None = None) -> None:
    """Have a thread raise an exception; with None: no more.

    :param arrived: called when it does.
    """
    import ctypes   # a few ms, and only here

    if error is None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), None)
        return

    class Raise(BaseException):
        """The interpreter takes no exception, only a class to make one of."""

        def __new__(cls, *args: object) -> Any:
            if arrived is not None:
                arrived()
            return error

    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(Raise))
