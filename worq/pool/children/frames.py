"""Frames: lists of byte strings on a pipe, between a manager and its children.

A frame is the number of bytes of its content and the number of its parts, then the length of
each part, all as 32 bits; then the parts. Nothing in it is ever evaluated, so the manager
can read what a broken or hostile child writes: the worst of it is a `FrameError`.
"""
from __future__ import annotations

from collections import deque
from io import BytesIO
import os
import struct
from typing import Iterator, Sequence

__all__ = ['FrameError', 'Outlet', 'Reader', 'pack']

MOST = 1 << 30    #: bytes of a frame
#: Bytes of a read: more than a pipe holds (64 KiB), and less than what malloc maps and unmaps anew
#: each time (128 KiB).
CHUNK = 96 << 10
HEAD = struct.Struct('<II')


class FrameError(Exception):
    """What was read is no frame."""


def pack(parts: Sequence[bytes]) -> bytes:
    """A frame of these parts.

    :raises FrameError: if it would be longer than any reader accepts.
    """
    lengths = list(map(len, parts))
    count = len(lengths)
    size = sum(lengths) + 4 * count
    if size > MOST:
        raise FrameError(f'a frame of {size} bytes')
    return b''.join((struct.pack(f'<{count + 2}I', size, count, *lengths), *parts))


class Reader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needs = HEAD.size
        self.frames = 0   #: that have been complete

    @property
    def waits(self) -> int:
        """How many bytes there are of a frame that is not complete."""
        return len(self._rest)

    def feed(self, data: bytes) -> Iterator[list[bytes]]:
        """Take the next bytes of the stream; the frames that are complete with them.

        :raises FrameError: if this cannot be a frame, however it goes on.
        """
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needs:
                return
            data, self._rest = bytes(self._rest), bytearray()
        at, has = 0, len(data)
        self._needs = HEAD.size
        while has - at >= HEAD.size:
            size, count = HEAD.unpack_from(data, at)
            if size > MOST or 4 * count > size:
                raise FrameError(f'a frame of {size} bytes in {count} parts')
            start = at + HEAD.size
            if has < start + size:
                self._needs = start + size - at
                break
            self.frames += 1
            yield cut(data, start, size, count)
            at = start + size
        if at < has:
            self._rest += data[at:]


def cut(data: bytes, start: int, size: int, count: int) -> list[bytes]:
    """The parts of a frame whose content begins there."""
    lengths = struct.unpack_from(f'<{count}I', data, start)
    if 4 * count + sum(lengths) != size:
        raise FrameError('its parts are not as long as the frame')
    content = BytesIO(data)   # which copies nothing, and slices without a loop of ours
    content.seek(start + 4 * count)
    return list(map(content.read, lengths))


class Outlet:
    """The end of a pipe to which frames are written without waiting, as far as they go."""

    def __init__(self, fd: int) -> None:
        self.fd: int | None = fd
        self.pending: deque[memoryview] = deque()   #: more than the pipe takes
        os.set_blocking(fd, False)

    def send(self, frame: bytes) -> None:
        """Write a frame behind those that wait."""
        self.pending.append(memoryview(frame))
        self.pump()

    def pump(self) -> None:
        """Write what the pipe takes."""
        while self.pending and self.fd is not None:
            try:
                written = os.write(self.fd, self.pending[0])
            except BlockingIOError:
                return
            except OSError:  # the reader is dead, or dying: somebody will see
                self.pending.clear()
                return
            if written == len(self.pending[0]):
                self.pending.popleft()
            else:
                self.pending[0] = self.pending[0][written:]

    def close(self) -> None:
        """The reader meets the end of the pipe; what waits is dropped."""
        self.pending.clear()
        # Unset first: a fork in between must not close what has the number by then.
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)
