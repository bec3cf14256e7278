"""The descriptors that a manager waits for, all at once: its children's, and what wakes it."""
from __future__ import annotations

import os
import select
from typing import Iterable

from worq.lock import Lock
from worq.pool.children.frames import Outlet
from worq.pool.children.worker import Worker
from worq.streams import pipe

__all__ = ['Ears']


class Ears:
    """Knows whose each descriptor is.

    :ivar heard: children by their pipes and pidfds.
    :ivar clogged: pipes to children that are full.
    """

    def __init__(self) -> None:
        self.heard: dict[int, Worker] = {}
        self.clogged: dict[int, Outlet] = {}
        self._waking = Lock()
        self._wake_out, self._wake_in = pipe()
        os.set_blocking(self._wake_in, False)
        os.set_blocking(self._wake_out, False)
        self._poll = select.poll()
        self._poll.register(self._wake_out, select.POLLIN)

    def __repr__(self) -> str:
        return f'<Ears for {list(self.heard)}, {list(self.clogged)} full>'

    def wait(self, patience: float) -> list[int]:
        """The descriptors on which there is something to hear, within so many seconds."""
        # rounded up: to wake a little early would turn the round for nothing
        found = self._poll.poll(1000 * patience + (0.9 if patience else 0))
        for fd, _ in found:
            if fd == self._wake_out:
                os.read(fd, 4096)
        return [fd for fd, _ in found]

    def add(self, fd: int) -> None:
        """Wait for this one too."""
        self._poll.register(fd, select.POLLIN)

    def remove(self, fd: int) -> None:
        """No more."""
        self._poll.unregister(fd)

    def register(self, worker: Worker) -> None:
        """Listen to a child."""
        for fd in (worker.outcomes, worker.pidfd):
            if fd is not None:
                self.heard[fd] = worker
                self.add(fd)

    def unregister(self, worker: Worker) -> None:
        """A child has ended."""
        self.unclog(worker.tasks)
        self.unclog(worker.answers)
        for fd in (worker.outcomes, worker.pidfd):
            if fd is not None:
                self.remove(fd)
                del self.heard[fd]

    def find_clogged(self, workers: Iterable[Worker]) -> None:
        """Wait for pipes that have become full."""
        for worker in workers:
            for outlet in worker.outlets:
                if outlet.pending and outlet.fd is not None and outlet.fd not in self.clogged:
                    self.clogged[outlet.fd] = outlet
                    self._poll.register(outlet.fd, select.POLLOUT)

    def pump(self, fd: int) -> None:
        """Write on to a pipe that was full."""
        outlet = self.clogged[fd]
        outlet.pump()
        if not outlet.pending:
            self.unclog(outlet)

    def unclog(self, outlet: Outlet | None) -> None:
        """Wait for a pipe no more: it has room, or is done with."""
        fd = outlet.fd if outlet is not None else None
        if fd is not None and self.clogged.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def wake(self) -> None:
        """End the wait; from any thread."""
        with self._waking:
            if self._wake_in >= 0:
                try:
                    os.write(self._wake_in, b'!')
                except BlockingIOError:
                    pass  # it is awake more than enough

    def close(self) -> None:
        """Hear nothing any more."""
        with self._waking:  # or a byte of ours might end up in somebody's file
            os.close(self._wake_in)
            self._wake_in = -1
        os.close(self._wake_out)
