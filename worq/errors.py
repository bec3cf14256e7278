"""All that WorQ raises. ::

    BaseException
     +-- Cancelled                   in a task that runs: nobody wants it any more

    Exception
     +-- WorqError                   everything below
          +-- Retry                  a task raises it, to be run again
          +-- TaskFailure            a task ended without a value
          |    +-- TaskExpired       lost with its workers, or its result is gone
          |    +-- TaskCancelled     somebody did not want it any more
          |    +-- TaskTimeout       ran longer than it may
          |    +-- DuplicateTask     a live task has this id already
          +-- QueueError             the backend cannot do it, or cannot be reached
          |    +-- TooLarge          so many bytes at once do not get through
          |    +-- Unfinished        something long was still coming when the time was over
          +-- EncodeError            an object cannot be turned into a message
          +-- DecodeError            a message cannot be turned into an object
               +-- UntrustedMessage  it is not signed by anyone we trust
"""
from __future__ import annotations

import copyreg

from worq.const import check_span
from worq.printable import line, lines

__all__ = [
    'Cancelled', 'Retry', 'WorqError', 'TaskFailure', 'TaskExpired', 'TaskCancelled', 'TaskTimeout',
    'DuplicateTask', 'QueueError', 'TooLarge', 'Unfinished', 'EncodeError', 'DecodeError',
    'UntrustedMessage',
]


class WorqError(Exception):
    """The root of WorQ's exceptions. Each can be pickled and copied, with equal fields.

    Their texts can be printed, whatever was in ids, names and messages of others.
    """

    def __str__(self) -> str:
        return lines(super().__str__())

    def __reduce__(self) -> tuple[object, ...]:
        # Made anew without __init__, which may want other arguments in a subclass of a program;
        # fields and notes are attributes.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__   # type: ignore[attr-defined]


class TaskFailure(WorqError):
    """A task that ended without a value: who, where and why.

    It is raised by ``Deferred.value``, and is itself the value that a task with
    ``on_error=Task.PASS`` gets in place of an argument that failed. Two failures are
    equal if they are of one type and their four fields are.

    :param task_name: dotted name of the task.
    :param queue: name of its queue.
    :param task_id: its id.
    :param error: what happened, one line: ``'ValueError: too low'``.
    :param traceback: the remote traceback as text, empty if there was none. Not a part
        of the failure's value: equality and ``str`` ignore it. They ignore its notes too
        (``__notes__``): what may help, as the names that the pool does know.
    """

    def __init__(self, task_name: str, queue: str, task_id: str, error: str,
                 traceback: str = '') -> None:
        super().__init__(task_name, queue, task_id, error)
        self.task_name = task_name
        self.queue = queue
        self.task_id = task_id
        self.error = error
        self.traceback = traceback

    def __str__(self) -> str:
        return line(f'{self.task_name} [{self.queue}:{self.task_id}] {self.error}')

    def __repr__(self) -> str:
        return f'<{type(self).__name__} {self}>'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskFailure):
            return NotImplemented
        return type(self) is type(other) and self.args == other.args

    def __hash__(self) -> int:
        return hash((type(self).__name__, self.args))


class TaskExpired(TaskFailure):
    """The task lost its workers too often, was not begun in time, or its outcome is not known any
    more."""


class TaskCancelled(TaskFailure):
    """The task was cancelled, or purged from its queue."""


class TaskTimeout(TaskFailure):
    """The task ran longer than its time limit."""


class DuplicateTask(TaskFailure):
    """A task was put whose id belongs to a task that is not done with yet."""


class Cancelled(BaseException):
    """Raised in a task that runs, when it has been cancelled.

    Clean up and let it pass. It is not derived from `Exception`, so that ``except Exception`` in a
    task does not catch it (as with ``asyncio.CancelledError``).
    """


class Retry(WorqError):
    """Raised by a task that wants to be run again.

    It counts as an attempt. If the task has ``retries`` and they are used up, it fails with
    this; with none given it may go on for ever.

    :param delay: seconds until then, ten years at most; by default the task's ``backoff``.
    :param reason: for people, if it was the last attempt.
    :raises ValueError: for a delay that makes no sense.
    """

    def __init__(self, delay: float | None = None, reason: str = '') -> None:
        if delay is not None:
            delay = check_span('delay', delay)
        super().__init__(reason or 'it asked to be run again')
        self.delay = delay


class QueueError(WorqError):
    """The queue refused an operation or could not be reached.

    The task of a call that raises it may have been put before the connection broke.

    :ivar denied: whether the server does not know the user, or has given it too few rights, so
        that to try again is of no use until somebody grants them.
    :ivar damaged: whether others have written into the keys of the queue; it is being repaired.
    :ivar schemas: the number of the queue's data, and the one that this program works with, where
        they differ. Nothing has been done, and to try again is of no use until one of them changes.
    """

    denied = False
    damaged = False
    schemas: tuple[int, int] | None = None


class TooLarge(QueueError):
    """The queue can be reached, but a message is too large for it, or for something on the way.

    Nothing has been done.

    :param text: what is too large for whom.
    :param size: bytes that there were.
    :param limit: bytes that there may be; 0 if nobody knows.
    """

    def __init__(self, text: str, size: int = 0, limit: int = 0) -> None:
        super().__init__(text, size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class Unfinished(QueueError):
    """A large result was still arriving when the time for it was over.

    What has arrived is kept, and the next one who asks gets the rest.
    """


class EncodeError(WorqError):
    """An argument, a result or an exception cannot be made into a message."""


class DecodeError(WorqError):
    """A message is damaged, or names something that does not exist here."""


class UntrustedMessage(DecodeError):
    """A message whose signature is missing, wrong, or of a key unknown here.

    It has not been unpickled, nor has any of it been run.

    :ivar unknown_key: whether it is signed with a key that is not known here; a process
        with other secrets may be able to read it.
    """

    unknown_key = False
