"""What a pool counts between beats, and tells its queue at most once a second."""
from __future__ import annotations

from bisect import bisect_left
from collections import deque
import re
from threading import Lock
from typing import NamedTuple

from worq import const
from worq.errors import QueueError
from worq.printable import logger
from worq.queue.base import Delivery, Late, Outcome, Recent, TaskQueue
from worq.queue.records import now
from worq.tally import BOUNDS, OTHER

__all__ = ['Counts', 'Told', 'tell_counts']

log = logger(__name__)

BUCKETS = len(BOUNDS) + 1
MICROS = [1_000 * bound for bound in BOUNDS]
SHORT = MICROS[0]
WORDS = {'value': 0, 'failure': 1, 'retry': 2, 'delegate': 3}
KEYS = 'v', 'f', 'r', 'd'
PAUSE = 1.0     # seconds between two that are told
LATELY = 20     # tasks that have succeeded, told with the counts
HEADERS = 1_000   # that are counted each by itself until they are told
LENGTH = 200    # characters of a name that is counted by itself
PLAIN = re.compile(r'[!-~]{1,100}')   # an id that may be told as an example


class Told(NamedTuple):
    """What is told at once, and again until the queue has it."""

    number: int
    cells: dict[str, str]
    recent: list[Recent]


class Count:
    """Of the tasks of one header."""

    __slots__ = ('ends', 'runs', 'waits', 'sums', 'examples')

    def __init__(self) -> None:
        self.ends = [0] * len(KEYS)
        self.runs = [0] * BUCKETS
        self.waits = [0] * BUCKETS
        self.sums = [0, 0]   # µs of the runs, ms of the waits
        self.examples: dict[int, tuple[str, int]] = {}   # by bucket: an id, and its time

    def add(self, other: Count) -> None:
        """Add those of another header of the same name."""
        for mine, more in ((self.ends, other.ends), (self.runs, other.runs),
                           (self.waits, other.waits), (self.sums, other.sums)):
            mine[:] = [one + two for one, two in zip(mine, more)]
        self.examples.update(other.examples)

    def cell(self) -> str:
        """As text, see `worq.tally`."""
        numbers = [*zip(KEYS, self.ends), *zip('tu', self.sums),
                   *((f'a{n}', count) for n, count in enumerate(self.runs)),
                   *((f'b{n}', count) for n, count in enumerate(self.waits))]
        return ' '.join([*(f'{key}:{number}' for key, number in numbers if number),
                         *(f'e{n}={micros},{id}' for n, (id, micros) in self.examples.items()
                           if PLAIN.fullmatch(id))])


class Counts:
    """What was settled, by the headers of the tasks; from any thread.

    The work for each task is an addition or two: all else is done when it is told.
    """

    def __init__(self) -> None:
        self._counts: dict[bytes, Count] = {}
        self._lately: deque[tuple[str, bytes, bytes, int]] = deque(maxlen=LATELY)
        self._lock = Lock()
        self.telling = Lock()   # held by who tells
        self._told: deque[Told] = deque()   # not known to have arrived
        self._number = 0
        self._tell_at = 0.0     # monotonic: not before

    def __bool__(self) -> bool:
        return bool(self._counts or self._told)

    def add(self, settled: list[tuple[Delivery | Late, Outcome]]) -> None:
        """Count what the queue has accepted, of deliveries that were ours."""
        with self._lock:
            last: bytes | None = None
            span = where = 0   # most tasks of a batch have waited for as long
            for delivery, outcome in settled:
                _, _, word, _, _, _, begun, ended, _, _ = outcome
                kind = 0 if word == 'value' else WORDS.get(word, -1)
                if kind < 0:
                    continue
                header = delivery.header
                if header != last:
                    last, count = header, self._count(header)
                    ends, runs, waits, sums = count.ends, count.runs, count.waits, count.sums
                ends[kind] += 1
                if ended:
                    micros = ended - begun
                    bucket = 0 if micros <= SHORT else bisect_left(MICROS, micros)
                    if not runs[bucket]:
                        count.examples[bucket] = outcome.id, micros
                    runs[bucket] += 1
                    waited = delivery.waited
                    if waited != span:
                        span, where = waited, bisect_left(BOUNDS, waited)
                    waits[where] += 1
                    sums[0] += micros
                    sums[1] += waited
            for delivery, outcome in settled[-LATELY:]:
                if outcome.word == 'value':
                    self._lately.append((outcome.id, outcome.token, delivery.header, outcome.ended))

    def _count(self, header: bytes) -> Count:
        count = self._counts.get(header)
        if count is None:
            if len(self._counts) >= HEADERS:   # each call has one of its own, and nobody listens
                header = OTHER.encode()
            count = self._counts.setdefault(header, Count())
        return count

    def tell(self, backend: TaskQueue, pool: str, now: float) -> None:
        """Tell a queue what there is to tell, at most once a second."""
        if now < self._tell_at:
            return
        self._tell_at = now + PAUSE
        try:
            tell_counts(backend, pool, self)
        except QueueError as error:   # the next beat tells the same
            log.debug('could not tell what was counted: %s', error)

    def next(self) -> Told | None:
        """What is to be told now; the same again until it `arrived`."""
        if not self._told and self._counts:
            with self._lock:
                counts, self._counts = self._counts, {}
                lately = list(self._lately)
                self._lately.clear()
            self._pack(counts, lately)
        return self._told[0] if self._told else None

    def arrived(self) -> None:
        """The queue has been told that."""
        self._told.popleft()

    def _pack(self, counts: dict[bytes, Count],
              lately: list[tuple[str, bytes, bytes, int]]) -> None:
        names: dict[str, Count] = {}
        for header, count in counts.items():
            name = name_of(header)
            if name in names:
                names[name].add(count)
            else:
                names[name] = count
        moment = now()
        recent = [Recent(id, token[:const.NONCE].decode('ascii', 'replace'), name_of(header),
                         max(moment - ended, 0) // 1000 if ended else 0)
                  for id, token, header, ended in lately]
        cells = [(name, count.cell()) for name, count in names.items()]
        for start in range(0, len(cells), const.TELLS):
            self._number += 1
            self._told.append(Told(self._number, dict(cells[start:start + const.TELLS]),
                                   recent))
            recent = []


def tell_counts(backend: TaskQueue, pool: str, counts: Counts) -> None:
    """Tell a queue what there is to tell.

    :raises QueueError: if it cannot be told now. Nothing of it is lost, or counted twice.
    """
    if not counts.telling.acquire(blocking=False):
        return   # another thread does it
    try:
        while told := counts.next():
            backend.tally(pool, told.number, told.cells, told.recent)
            counts.arrived()
    finally:
        counts.telling.release()


def name_of(header: bytes) -> str:
    """The name that tasks of this header are counted by."""
    name = header.partition(b'\n')[0].decode('utf-8', 'replace')
    return name if len(name) <= LENGTH else OTHER
