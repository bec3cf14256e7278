"""What passes between a manager and a child: tasks and outcomes in frames, and one shared page.

The first string of a frame is its kind. There is no pickle in any of them but the first, which
only goes to the child: the manager cuts what a child writes into pieces, and that is all.
"""
from __future__ import annotations

import json
import mmap
import os
import struct
import sys
from typing import Iterable, Iterator, Mapping, Sequence

from worq import const
from worq.pool.children.frames import MOST, FrameError
from worq.queue.base import Argument, Delivery, Outcome
from worq.timing import Timing

__all__ = [
    'INIT', 'TASKS', 'READY', 'BROKEN', 'OUTCOMES', 'LIMIT', 'PROGRESS', 'WAITS',
    'ASK', 'ANSWER', 'Page', 'pack_ready', 'unpack_ready',
    'split', 'too_long', 'weight', 'pack_tasks', 'unpack_tasks', 'pack_outcome',
    'unpack_outcomes', 'unpack_limit',
]

INIT, TASKS = b'i', b't'                       # to a child
READY, BROKEN, OUTCOMES = b'r', b'b', b'o'     # to the manager
LIMIT, PROGRESS, WAITS = b'l', b'p', b'w'
ASK, ANSWER = b'q', b'a'                       # the one to the manager, the other back

FRAME = 64 << 20   # bytes of a frame of tasks, unless a single one is longer

#: What a child may say that a task came to; the other words are the manager's.
WORDS = {word.encode(): word for word in ('value', 'failure', 'refuse', 'unknown', 'retry',
                                          'delegate')}

#: What goes with each outcome as numbers, none of which is parsed: begun, ended, peak, skipped and
#: delay, see `Outcome`. Behind them is the target, if there is one.
EXTRA = struct.Struct('<QQIIQ')
MOST_DELAY = const.SPAN * 1000   # ms


def pack_tasks(deliveries: Iterable[Delivery]) -> list[bytes]:
    """Deliveries as the strings of a TASKS frame."""
    parts = [TASKS]
    for id, token, number, header, body, arguments, memo, _ in deliveries:
        parts += (id.encode(), token, b'%d %d' % (number, len(arguments)), header, body, memo)
        for name, raw in arguments:
            parts += (name.encode(), raw)
    return parts


def unpack_tasks(parts: Sequence[bytes]) -> Iterator[Delivery]:
    """The deliveries of a TASKS frame."""
    at = 1
    while at < len(parts):
        id, token, numbers, header, body, memo = parts[at:at + 6]
        number, count = map(int, numbers.split())
        at += 6
        arguments: tuple[tuple[str, bytes], ...] = ()
        if count:
            flat = parts[at:at + 2 * count]
            at += 2 * count
            arguments = tuple((name.decode(), raw) for name, raw in zip(flat[::2], flat[1::2]))
        yield Delivery(id.decode(), token, number, header, body, arguments, memo)


def split(deliveries: Iterable[Delivery]) -> Iterator[list[Delivery]]:
    """Groups of deliveries that fit into a frame, in order."""
    group: list[Delivery] = []
    total = 0
    for delivery in deliveries:
        size = weight(delivery)
        if group and total + size > FRAME:
            yield group
            group, total = [], 0
        group.append(delivery)
        total += size
    if group:
        yield group


def weight(delivery: Delivery) -> int:
    """About how many bytes of a frame it takes."""
    arguments = delivery.arguments
    return 1000 + len(delivery.body) + (
        sum(len(raw) + 600 for _, raw in arguments) if arguments else 0)


def too_long(delivery: Delivery) -> Outcome:
    """What comes of one that is longer than a frame may be."""
    text = f'its arguments are together too long to be sent to a worker process: ' \
           f'{weight(delivery):,} bytes, and a frame has at most {MOST:,}'
    return Outcome(delivery.id, delivery.token, 'lost', text.encode())


def pack_ready(names: Iterable[str], timings: Mapping[str, Timing]) -> list[bytes]:
    """A child is ready: the tasks that it can run, and when they are called by themselves."""
    return [READY, *(name.encode() for name in names), b'', json.dumps(timings).encode()]


def unpack_ready(parts: Sequence[bytes]) -> tuple[frozenset[str], dict[str, Timing]]:
    """The names and the timings that a child has told; FrameError if they make no sense."""
    told = list(parts[1:])
    names = told[:told.index(b'')] if b'' in told else told
    try:
        timings = {str(name): Timing(*timing) for name, timing in
                   json.loads(b''.join(told[len(names) + 1:]) or b'{}').items()}
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise FrameError('what a child declares makes no sense') from None
    return frozenset(name.decode('utf-8', 'replace') for name in names), timings


def pack_outcome(outcome: Outcome, begun: int = 0, ended: int = 0, peak: int = 0,
                 ) -> tuple[bytes, ...]:
    """An outcome as five of the strings of an OUTCOMES frame.

    :param begun: as in the outcome, which it takes the place of; and so for `ended` and `peak`.
    """
    id, token, word, data, delay, target, _, _, _, skipped = outcome
    extra = EXTRA.pack(begun, ended, peak, skipped, delay)
    if target is not None:
        extra += f'{target.nonce} {target.id}'.encode()
    return id.encode(), token, word.encode(), data, extra


def unpack_outcomes(parts: Sequence[bytes]) -> Iterator[Outcome]:
    """The outcomes of an OUTCOMES frame.

    :raises FrameError: if it is none.
    """
    if len(parts) % 5 != 1:
        raise FrameError('a frame of outcomes that is none')
    try:
        strings = iter(parts)
        next(strings)
        for id, token, word, data, extra in zip(*[strings] * 5):
            begun, ended, peak, skipped, delay = EXTRA.unpack_from(extra)
            if begun > ended or ended >> 62 or skipped > const.COUNT or delay > MOST_DELAY:
                raise ValueError('not what a task has to tell')
            target = None
            if word == b'delegate':
                nonce, _, name = extra[EXTRA.size:].decode().partition(' ')
                target = Argument(name, nonce)
                if not name or nonce and len(nonce) != const.NONCE or len(data) > const.SEAL:
                    raise ValueError('not a target')
            elif word == b'retry' and len(data) > const.MEMO:
                raise ValueError('not a retry')
            yield Outcome(id.decode(), token, WORDS[word], data, delay, target, begun, ended, peak,
                          skipped)
    except (ValueError, KeyError, struct.error) as error:
        raise FrameError('a frame of outcomes that is none') from error


def unpack_limit(parts: Sequence[bytes]) -> tuple[float, Outcome]:
    """A LIMIT frame: seconds that the task may take from now on, and what it comes to then.

    :raises FrameError: if it is none.
    """
    if len(parts) != 7 or not parts[1].isdigit() or len(parts[1]) > 12:
        raise FrameError('a limit that is none')
    will, = unpack_outcomes(parts[1:])
    return int(parts[1]) / 1000, will

SEAL = b'worqpage'   # on each page; nobody has to write there


class Page:
    """Numbers that a manager and one child share. Each has one writer.

    It costs no system call, so a child can say which task it begins: when it dies, the manager
    knows what it was doing. Tasks are numbered in the order in which they are sent, from 1.

    It is also how a task is taken back that the child may just be about to begin. The child
    says what it intends, looks whether it may, and says what it did. The manager says what
    is revoked, waits until that must be visible, and looks at what the child intends. Either that
    is before the revoked ones, then the child will find them revoked; or the child will say in
    a moment whether it began it or skipped it. (The idea is Dekker's: each says first, looks
    second.)

    The order to interrupt a task goes the same way, in one number, and a signal has the child look
    at it: what it runs by then may be another task, which is not meant.
    """

    _INTENT, _STARTED, _SKIPPED, _ENDED, _LOW, _HIGH, _ORDER, _SEAL = range(8)
    _WORDS = '', 'cancelled', 'timeout'
    SIZE = mmap.PAGESIZE

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, self.SIZE)
        self._numbers = memoryview(self._map).cast('Q')

    @staticmethod
    def make() -> int:
        """A descriptor of a new page; the caller closes it."""
        if hasattr(os, 'memfd_create'):
            fd = os.memfd_create('worq-page')
        else:
            import tempfile
            fd, path = tempfile.mkstemp(prefix='worq-page-')
            os.unlink(path)
        os.ftruncate(fd, Page.SIZE)
        os.pwrite(fd, SEAL, 8 * Page._SEAL)
        return fd

    def begin(self, number: int) -> bool:
        """The child begins a task; False if it must not, and it is skipped."""
        numbers = self._numbers
        numbers[self._INTENT] = number
        if numbers[self._LOW] <= number < numbers[self._HIGH]:
            numbers[self._SKIPPED] = number
            return False
        numbers[self._STARTED] = number
        return True

    def end(self, number: int) -> None:
        """The child has ended a task, and tells next what it came to."""
        self._numbers[self._ENDED] = number

    @property
    def started(self) -> int:
        """The number of the last task that the child began."""
        return self._numbers[self._STARTED]

    @property
    def intent(self) -> int:
        """The number of the last task that the child began, skipped or is about to."""
        return self._numbers[self._INTENT]

    @property
    def ended(self) -> int:
        """The number of the last task whose end the child has noted. It notes few of them."""
        return self._numbers[self._ENDED]

    @property
    def sealed(self) -> bool:
        """False if the child has overwritten what it should not: then nothing in here is true."""
        return self._numbers[self._SEAL] == int.from_bytes(SEAL, sys.byteorder)

    @property
    def signs(self) -> tuple[int, ...]:
        """All that the child has written: if it is as before, the child has done nothing."""
        return tuple(self._numbers[:self._LOW])

    def revoke(self, low: int, high: int) -> None:
        """The child must not begin the tasks from `low` to below `high`: all that were sent.

        If it has not passed those that were revoked before, these are added to them.
        """
        numbers = self._numbers
        passed = max(numbers[self._STARTED], numbers[self._SKIPPED])
        if passed + 1 >= numbers[self._HIGH]:
            numbers[self._HIGH] = 0  # no half-written range
            numbers[self._LOW] = low
        numbers[self._HIGH] = high

    def undecided(self) -> bool:
        """Whether the child has not yet said what it did with the task it intended."""
        numbers = self._numbers
        return numbers[self._INTENT] not in (numbers[self._STARTED], numbers[self._SKIPPED])

    def order(self, number: int, word: str) -> None:
        """The child is to interrupt this task, 'cancelled' or 'timeout', if it runs it."""
        self._numbers[self._ORDER] = number << 2 | self._WORDS.index(word)

    @property
    def ordered(self) -> str:
        """The order for the task that the child began last; empty if there is none."""
        order = self._numbers[self._ORDER]
        return self._WORDS[order & 3] if order >> 2 == self._numbers[self._STARTED] else ''

    def close(self) -> None:
        """Let go of the memory."""
        self._numbers.release()
        self._map.close()
