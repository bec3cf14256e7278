"""What is the same for Huey wherever its queue is: its consumers, of four threads each."""
from __future__ import annotations

from typing import Any

from bench.peers.base import LIMIT, Peer, script

__all__ = ['Consumed']


class Consumed(Peer):
    """A Huey. A subclass says where its consumers find it, and which functions are its tasks."""

    application = ''   #: as ``module.name``
    functions: dict[str, Any] = {}   #: by the name of the task

    def commands(self, processes: int, slots: int | None, mixed: bool) -> list[list[str]]:
        command = [script('huey_consumer'), self.application, '--quiet', '--no-periodic',
                   '--workers', str(slots or 4), '--worker-type', 'thread',
                   '--graceful-signal', 'TERM']
        return [command] * processes

    def put(self, task: str, *args: Any) -> Any:
        return self.functions[task](*args)

    def get(self, handle: Any, timeout: float = LIMIT) -> Any:
        return handle.get(blocking=True, timeout=timeout)
