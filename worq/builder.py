"""Put graphs of tasks, of any size: all of it or nothing.

What one put can take is put in one step. More is built behind a gate, in bounded steps: the
queue holds everything back until the gate is opened, which is one step again. If that never
happens, since the builder failed or died, nothing has run and nothing will.
"""
from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from threading import Thread
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, NamedTuple, Protocol

from worq import const
from worq.errors import QueueError, TooLarge
from worq.ids import new_nonce
from worq.latch import Latch
from worq.pieces import pieces
from worq.options import Options
from worq.queue.base import Held, Message, Outcome, Refusal, TaskQueue

if TYPE_CHECKING:   # the arrow points up only for the type checker
    from worq.task import Deferred

__all__ = ['Entry', 'Request', 'Collector', 'collecting', 'collector_of', 'put_all', 'put_each']

TASKS = const.PUT_LIMIT // 2   # in one put: a server is not held up for long by as many
STEP = 500          # tasks in one step of a larger graph
WIDE = 250          # arguments of a task in one step; each costs more than a task
BEAT = 3.0          # seconds between two signs of life of a builder
LONG = 256 << 10    # bytes of a step, which may take longer than that on a slow link
LEASE = 30_000      # ms without one, after which it is given up
TTL = 60_000        # ms that the outcome of a gate is kept
NONE: frozenset[str] = frozenset()


class Entry:
    """A call on its way to the queue."""

    __slots__ = ('deferred', 'extra', 'by_value', 'message', 'used')

    def __init__(self, deferred: Deferred, extra: bytes) -> None:
        self.deferred = deferred            # which is handed out when it is put
        self.extra = extra                  # lines of the header, for whoever runs it
        self.by_value = NONE                # ids of arguments of which only this process knows
        self.message: Message
        self.used: tuple[Deferred, ...] = ()

    @property
    def weight(self) -> int:
        """How many tasks it counts as in a put of several."""
        return weight(self.message)

    @property
    def size(self) -> int:
        """About how many bytes it takes in a put."""
        return size(self.message)


def weight(message: Message) -> int:
    """How many tasks it counts as in a put of several."""
    return 1 + const.EDGE * len(message.arguments)


def size(message: Message) -> int:
    """About how many bytes it takes in a put."""
    return len(message.header) + len(message.body) + 200 + 600 * len(message.arguments)


class Request(NamedTuple):
    """A call that is to be put, and has nothing to do with others."""

    name: str
    args: tuple[Any, ...]
    kw: dict[str, Any]
    options: Options
    nested: bool   #: whether a task makes it


class Collector(Protocol):
    """What collects the calls of a block; see ``worq.batch``."""

    broker: Any

    def add(self, entry: Entry) -> Any:
        """Take a call; returns what a call returns."""

    def is_open(self) -> bool:
        """Whether it collects the calls of this thread now."""

    def holds(self, deferred: Deferred) -> bool:
        """Whether it will put this Deferred's task, before what is collected next."""


class Collecting(NamedTuple):
    """What collects here. By a weak reference, for it is at an end with the block that has it, also
    where an interruption has kept it from saying so."""

    collector: Callable[[], Collector | None]
    outer: Collecting | None   #: what was in force before


collecting: ContextVar[Collecting | None] = ContextVar('worq.collecting', default=None)


def collector_of(broker: Any) -> Collector | None:
    """What collects the calls of a broker here, if anything does."""
    here = collecting.get()
    while here is not None:
        found = here.collector()
        if found is not None and found.is_open() and (
                found.broker is broker or found.broker.transaction is not None
                and found.broker.transaction == broker.transaction):   # of one connection
            return found
        here = here.outer
    return None


def put_all(queue: TaskQueue, entries: list[Entry], mend: Callable[[Entry, Refusal], None],
            value: Callable[[str], bytes]) -> None:
    """Put all, or none.

    :param entries: in order: a task after those that are its arguments.
    :param mend: changes the message of an entry that was refused, to be tried again, or raises
        what the caller is to see.
    :param value: makes the value that opens a gate, of the gate's id and nonce (which are one).
    """
    while entries and fits(entries):   # what was mended may be larger than before
        refusals = queue.put([entry.message for entry in entries])
        if not refusals:
            return
        mend_all(entries, refusals[0], mend)
    if entries:
        Builder(queue, mend, value).build(entries)


def put_each(queue: TaskQueue, entries: list[Entry], alone: Callable[[Entry], None],
             client: str) -> dict[str, Exception]:
    """Put calls that have nothing to do with each other, in as few steps as the queue allows.

    :param alone: puts one that others must not go with, or raises why it cannot be put.
    :param client: that watches them, see ``TaskQueue.put``; or empty.
    :returns: why those were not put that were not, by their nonces.
    """
    errors: dict[str, Exception] = {}
    steps = cut(entries)[::-1]
    while steps:
        step = steps.pop()
        try:
            if fits(step) and not queue.put([entry.message for entry in step], '', client):
                pass
            elif len(step) == 1:
                alone(step[0])
            else:   # the others are not to blame
                half = len(step) // 2
                steps += [step[half:], step[:half]]
        except TooLarge as error:
            if len(step) > 1:
                steps += [[entry] for entry in reversed(step)]
            else:
                errors[step[0].message.nonce] = error
        except Exception as error:
            errors.update((entry.message.nonce, error) for entry in step)
            if isinstance(error, QueueError):   # the next ones would wait as long for nothing
                errors.update((entry.message.nonce, error) for step in steps for entry in step)
                break
    return errors


def cut(entries: list[Entry]) -> list[list[Entry]]:
    """Steps of what one put can take, in order; one that it cannot is alone."""
    steps: list[list[Entry]] = []
    weight = size = 0
    for entry in entries:
        weight += entry.weight
        size += entry.size
        if not steps or weight > TASKS or size > const.PUT_BYTES:
            steps.append([])
            weight, size = entry.weight, entry.size
        steps[-1].append(entry)
    return steps


def fits(entries: list[Entry]) -> bool:
    """Whether one put can take them."""
    if len(entries) == 1:
        return len(entries[0].message.arguments) <= WIDE
    return sum(entry.weight for entry in entries) <= TASKS \
        and sum(entry.size for entry in entries) <= const.PUT_BYTES


def mend_all(entries: list[Entry], refusal: Refusal,
             mend: Callable[[Entry, Refusal], None]) -> None:
    """Mend the one that was refused, and others that would be refused for the same argument."""
    at = next(n for n in reversed(range(len(entries))) if entries[n].message.id == refusal.id)
    wanted = next((each for each in entries[at].message.arguments
                   if each.id == refusal.argument), None)
    mend(entries[at], refusal)
    for entry in entries[at + 1:]:
        if wanted and any(each[:2] == wanted[:2] for each in entry.message.arguments):
            mend(entry, refusal._replace(id=entry.message.id))


def trimmed(message: Message) -> Message:
    """The message without the arguments that follow in steps of their own."""
    if len(message.arguments) <= WIDE:
        return message
    return message._replace(arguments=message.arguments[:WIDE])


class Builder:
    """Builds one graph behind a gate.

    :param queue: where to, and the others as in `put_all`.
    """

    def __init__(self, queue: TaskQueue, mend: Callable[[Entry, Refusal], None],
                 value: Callable[[str], bytes]) -> None:
        self.queue = queue
        self.mend = mend
        self.value = value
        self.gate = new_nonce()
        self.token = self.gate.encode() + b'1'
        self.beaten = time.monotonic()

    def build(self, entries: list[Entry]) -> None:
        """Put all of it, and let it go; on any error nothing of it will ever run."""
        self._look_ahead(entries)
        queue, gate = self.queue, self.gate
        queue.put([Message(gate, gate, b'worq.batch', b'', flags=const.GATE, ttl=TTL,
                           lease=LEASE)])
        try:
            at = 0
            while at < len(entries):
                end = step_end(entries, at)
                if self._put(entries[at:end]):
                    self._widen(entries[end - 1])
                    at = end
                self._beat()
            opened = queue.settle(gate, [Outcome(gate, self.token, 'value', self.value(gate))])
            if opened not in (['ok'], ['again']):
                raise QueueError(f'a batch cannot be opened, which is {opened[0]}: {queue!r} had '
                                 'not heard of its builder for too long; nothing has been put')
        except BaseException:
            # Tried once: if it is out of reach, who calls has waited for that already, and then
            # the gate ends by itself, when it is not heard of.
            with suppress(QueueError), queue.within(0):
                queue.cancel([gate])
            raise

    def _look_ahead(self, entries: list[Entry]) -> None:
        """Mend what is unknown among the arguments that follow later: then it is too late."""
        mine = {entry.message.id for entry in entries}
        for entry in entries:
            if len(entry.message.arguments) > WIDE:
                ids = [id for id, *_ in entry.message.arguments[WIDE:] if id not in mine]
                for part in pieces(ids, const.PUT_LIMIT):
                    for id, status in zip(part, self.queue.status(part)):
                        if status is None:
                            self.mend(entry, Refusal(entry.message.id, 'unknown', id))

    def _put(self, step: list[Entry]) -> bool:
        """One step; if it is not to be had like this, it is mended, and may be cut anew."""
        long = sum(entry.size for entry in step) > LONG
        while_put: AbstractContextManager[None] = self._beating() if long else nullcontext()
        with while_put:
            refusals = self.queue.put([trimmed(entry.message) for entry in step], self.gate)
        if refusals:
            self._check(refusals[0])
            mend_all(step, refusals[0], self.mend)
        return not refusals

    def _check(self, refusal: Refusal) -> None:
        if self.gate in (refusal.id, refusal.argument):
            raise QueueError(
                f'{self.queue!r} gave a batch up before it was complete: it had not heard of its '
                f'builder for {LEASE // 1000} seconds; nothing has been put')

    def _widen(self, entry: Entry) -> None:
        """Add what `trimmed` has left out."""
        message = entry.message
        if len(message.arguments) <= WIDE:
            return
        for start in range(WIDE, len(message.arguments), WIDE):
            refusals = self.queue.edges(self.gate, message.id, message.nonce, start,
                                        message.arguments[start:start + WIDE])
            if refusals:
                self._check(refusals[0])
                entry.by_value |= {refusals[0].argument}   # it cannot be mended any more
                self.mend(entry, refusals[0])
            self._beat()

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self.beaten > BEAT:
            self.beaten = now
            self.queue.beat(self.gate, [Held(self.gate, self.token)], LEASE)

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Have another thread give the signs of life."""
        over = Latch()

        def beat() -> None:
            while not over.wait(BEAT):
                with suppress(QueueError):   # who puts will see what is wrong
                    if self.queue.beat(self.gate, [Held(self.gate, self.token)], LEASE):
                        return   # it has ended, and who had to say so was interrupted
        Thread(target=beat, name='worq-beat', daemon=True).start()
        try:
            yield
        finally:
            over.set()


def step_end(entries: list[Entry], start: int) -> int:
    """Up to where one put can take them. A wide one is the last of its step."""
    weight = size = 0
    for at in range(start, min(start + STEP, len(entries))):
        entry = entries[at]
        weight += entry.weight
        size += entry.size
        if at > start and (weight > TASKS or size > const.PUT_BYTES):
            return at
        if len(entry.message.arguments) > WIDE:
            return at + 1
    return min(start + STEP, len(entries))
