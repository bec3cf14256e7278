"""What calls and their results need of their broker, which stands above them."""
from __future__ import annotations

from typing import Any, Callable, Iterable, Protocol, Sequence

from worq.options import Options
from worq.progress import Progress
from worq.queue.base import TaskQueue

__all__ = ['Asks', 'CallBroker', 'Waits']


class Waits(Protocol):
    """Waits for outcomes: the ``Inbox``."""

    def wait(self, deferred: Any, timeout: float | None) -> bool: ...

    def subscribe(self, deferred: Any, announce: Callable[[], None],
                  failed: Callable[[Exception], None] | None = None) -> None: ...

    def unsubscribe(self, deferred: Any, announce: Callable[[], None]) -> None: ...


class Asks(Protocol):
    """Asks the queue for coroutines: the ``Background``."""

    def ask(self, act: Callable[[list[Any]], list[Any]], items: list[Any],
            tell: Callable[[list[Any]], object]) -> None: ...


class CallBroker(Protocol):
    """The ``Broker``, as a Queue, a Task and a Deferred see it; its docstrings say more."""

    name: str
    backend: TaskQueue

    @property
    def url(self) -> str: ...

    @property
    def inbox(self) -> Waits: ...

    @property
    def background(self) -> Asks: ...

    def enqueue(self, name: str, args: tuple[Any, ...], kw: dict[str, Any],
                options: Options) -> Any: ...

    def enqueue_all(self, name: str, calls: Iterable[tuple[Any, ...]], options: Options,
                    extra: bytes = b'') -> list[Any]: ...

    def using(self, connection: object) -> CallBroker: ...

    def outcome(self, deferred: Any, raw: bytes) -> Any: ...

    def status(self, task: Any) -> str: ...

    def progress(self, task_id: str) -> Progress | None: ...

    def progress_each(self, ids: Sequence[str]) -> list[Progress | None]: ...

    def info(self, deferred: Any) -> Any: ...

    def explain(self, deferred: Any) -> str: ...

    def view(self) -> Any: ...

    def cancel(self, task_id: str, upstream: bool = False) -> bool: ...

    def __len__(self) -> int: ...

    def discard_pending_tasks(self) -> int: ...
