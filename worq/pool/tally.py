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

    def enter(self, kind: int, many: int, bucket: int, micros: int, waited: int) -> None:
        """Count so many of a kind, of one bucket: what they took in all, how long each waited."""
        self.ends[kind] += many
        self.runs[bucket] += many
        self.sums[0] += micros
        self.waits[bisect_left(BOUNDS, waited)] += many
        self.sums[1] += many * waited

    def enter_one(self, kind: int, micros: int | None, waited: int, id: str) -> None:
        """Count one; None if it is not known how long it took."""
        if micros is None:
            self.ends[kind] += 1
            return
        bucket = bisect_left(MICROS, micros)
        if not self.runs[bucket]:
            self.examples[bucket] = id, micros
        self.enter(kind, 1, bucket, micros, waited)

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
            count, header, waited = None, b'', 0
            more = micros = 0   # short ones that followed and are like it: how many, and their µs
            for delivery, outcome in settled:
                took = outcome.ended - outcome.begun
                if count and delivery.header == header and delivery.waited == waited \
                        and took <= SHORT and outcome.word == 'value' and outcome.ended:
                    more += 1
                    micros += took
                    continue
                if count and more:
                    count.enter(0, more, 0, micros, waited)
                    more = micros = 0
                header, waited, kind = delivery.header, delivery.waited, WORDS.get(outcome.word)
                count = self._count(header) if kind is not None else None
                if count and kind is not None:
                    count.enter_one(kind, took if outcome.ended else None, waited, outcome.id)
                    if took > SHORT or not outcome.ended:
                        count = None
            if count and more:
                count.enter(0, more, 0, micros, waited)
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
