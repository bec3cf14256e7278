"""One task as the machine sees it: an object for each life of an id."""
from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from worq import const
from worq.queue.records import Hop

if TYPE_CHECKING:
    from worq.queue.base import Message

__all__ = ['Life', 'Agenda', 'Expiry', 'needed_by', 'needs', 'reach']


class Life:
    """A task, from its put until its outcome is forgotten.

    Edges and pins are references to such objects, never ids: so nothing that is left over
    from one life can touch the next one.
    """

    made: bool   # there only once a tail call waits for it: it was made for that one alone
    __slots__ = (
        'id', 'nonce', 'state', 'header', 'body', 'arguments', 'flags',
        'priority', 'due', 'late', 'ttl', 'lease', 'max_deliveries',
        'epoch', 'token', 'deliveries', 'owner', 'deadline', 'taken', 'progress', 'memo',
        'open', 'pins', 'dependents', 'target', 'gate', 'watchers',
        'kind', 'data', 'hops', 'seals', 'expires', 'made', 'put', 'ready', 'over', 'age', 'tries',
    )

    def __init__(self, message: Message, arguments: tuple[Life, ...], now: int) -> None:
        (self.id, self.nonce, self.header, self.body, _, self.flags, self.priority, delay, self.ttl,
         self.lease, self.max_deliveries, expires) = message
        self.state = const.PENDING
        self.arguments = arguments          # pinned; let go when it completes
        self.due = now + delay if delay else 0   # ms
        self.late = expires and now + expires   # ms, when it is too late to begin; 0: it never is
        self.epoch = 0                      # deliveries ever
        self.token = b''                    # of the last one
        self.deliveries = 0                 # those that count
        self.owner: str | None = None       # whose settle may be repeated, or holds it now
        self.deadline = 0                   # of the lease, ms
        self.taken = 0                      # ms, when its owner took it
        self.progress = b''                 # of its last delivery
        self.memo = b''                     # of its last retry
        self.open = 0                       # arguments that have not completed
        self.pins = 0                       # argument lists that name this life
        # Whom to tell; stale ones are told in vain. Most have none, and no list either: each
        # is one thing more for the collector of garbage to look at.
        self.dependents: list[Life] | tuple[()] = ()
        self.target: Life | None = None     # what a tail call waits for
        self.gate: Life | None = None       # what holds it back, beside its arguments
        self.watchers: set[str] | None = None
        self.kind = b''
        self.data = b''
        self.hops: tuple[Hop, ...] = ()     # along which it came; none: it is its own
        self.seals: dict[Life, bytes] | None = None   # of what it waits for, where it is signed
        self.expires = 0                    # ms; 0: it does not
        self.put = now                      # ms, when it was put; for people, as the next four
        self.ready = 0                      # when it became enqueued last
        self.over = 0                       # when it was completed
        self.age = ''                       # what its outcome told, see `Outcome.age`
        self.tries = 0                      # attempts that were followed by a retry

    @property
    def name(self) -> bytes:
        """The name of its task."""
        return self.header.partition(b'\n')[0]

    def lend(self) -> None:
        """Be an argument of one more, which pins it."""
        self.pins += 1
        self.expires = 0
        if self.flags & const.NEEDED:
            self.flags |= const.LENT

    def tells(self, dependent: Life) -> None:
        """Enter one that waits for this one's end."""
        if isinstance(self.dependents, list):
            self.dependents.append(dependent)
        else:
            self.dependents = [dependent]

    def watch(self, client: str) -> None:
        """Tell this client of its end, too."""
        if self.watchers is None:
            self.watchers = {client}
        else:
            self.watchers.add(client)

    def deliver(self, now: int) -> None:
        """Begin its next delivery."""
        token = b'%b%d' % (self.nonce.encode(), self.epoch + 1)
        self.epoch += 1   # from here on nothing is called, so that nothing interrupts
        self.token = token
        self.deliveries += 1
        self.taken = now

    def seal(self, source: Life, seal: bytes) -> None:
        """Keep what signs the edge from another life, if anything does."""
        if seal:
            self.seals = self.seals or {}
            self.seals[source] = seal

    def sealed(self, source: Life) -> bytes:
        """What signs the edge from another life."""
        return self.seals.get(source, b'') if self.seals else b''

    def too_far(self, seal: bytes) -> bool:
        """Whether its value has come along so many tail calls that the next must sign it anew."""
        return seal != b'' and self.kind == b'v' and len(self.hops) >= const.LINKS

    def onward(self, seal: bytes) -> tuple[Hop, ...]:
        """The hops of its outcome for one that gets it along an edge with this seal."""
        hops, told = self.hops, seal != b'' and self.kind in b'vf'
        here = Hop(self.id, self.nonce, seal if told else b'')
        if not hops:
            return here,
        if not told or not hops[0].seal:
            return hops
        if len(hops) < const.LINKS:
            return here, *hops
        return here, *hops[:-2], hops[-1]._replace(seal=b'')

    def record(self) -> bytes | None:
        """The outcome on record. It is put together on demand, since ten thousand
        dependents of one failure then share its data."""
        if not self.kind:
            return None
        nonce = self.nonce.encode()
        if not self.hops:
            return b'%b%b%b' % (nonce, self.kind, self.data)
        many = b'%d:' % len(self.hops) if self.hops[0].seal else b''
        parts = [b'%b%b%b' % (nonce, self.kind.upper(), many)]
        for hop in self.hops:
            id = hop.id.encode()
            parts.append(b'%b%d:%b' % (hop.nonce.encode(), len(id), id))
            if many:
                parts.append(b'%d:%b' % (len(hop.seal), hop.seal))
        return b''.join([*parts, self.data])

    def news(self) -> bytes | None:
        """The outcome as ``watch`` and ``wait`` tell it."""
        raw = self.record()
        return b'' if raw is not None and len(raw) > const.SMALL else raw


def needs(life: Life) -> Iterable[Life]:
    """What it waits for; some of them may have ended."""
    return [life.target] if life.target else life.arguments


def needed_by(life: Life) -> Iterable[Life]:
    """What waits for it; some of them may have ended."""
    return life.dependents


def reach(start: Life, goal: Life, step: Callable[[Life], Iterable[Life]]) -> Iterator[bool]:
    """Follow `step` from life to life; for each edge whether it leads to the goal."""
    stack, seen = [start], {start}
    while stack:
        for life in step(stack.pop()):
            yield life is goal
            if life.state == const.PENDING and life not in seen:
                seen.add(life)
                stack.append(life)


class Agenda:
    """Lives by a moment, the earliest first.

    Removal is lazy: an entry counts only if `moment(life)` is still the entry's time when it
    comes up, and of those that do not count no more are kept than of those that do.
    """

    def __init__(self, moment: Callable[[Life], int]) -> None:
        self._moment = moment
        self._heap: list[tuple[int, str, int, Life]] = []
        self._serial = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, life: Life, live: int) -> None:
        """Enter the life at its moment; `live` is how many entries count, about."""
        self._serial += 1
        heapq.heappush(self._heap, (self._moment(life), life.id, self._serial, life))
        if len(self._heap) > 2 * live + 1_000:
            self._heap = [entry for entry in self._heap if self._moment(entry[3]) == entry[0]]
            heapq.heapify(self._heap)

    def next(self) -> int | None:
        """The moment of the first entry, in ms; it may be one that counts no more."""
        return self._heap[0][0] if self._heap else None

    def pop(self, now: int, limit: int) -> list[Life]:
        """Take off up to `limit` lives whose moment has come."""
        lives: list[Life] = []
        heap = self._heap
        while heap and heap[0][0] <= now and len(lives) < limit:
            at, _, _, life = heapq.heappop(heap)
            if self._moment(life) == at:
                lives.append(life)
        return lives

    def clear(self) -> None:
        """Forget all of them."""
        self._heap = []

    def copy(self) -> list[tuple[int, str, int, Life]]:
        """A heap of all entries, with those that do not count."""
        return self._heap.copy()

    def lives(self) -> set[Life]:
        """Those whose entry counts."""
        return {life for at, _, _, life in self._heap if self._moment(life) == at}


class Expiry:
    """Lives by the second in which they expire, after which they can be popped.

    Whoever meets one before that sees that it has expired. So they need no order within a second,
    and a list of them costs a fraction of an entry in a heap for each.

    Removal is lazy, as in an `Agenda`.
    """

    def __init__(self) -> None:
        self.clear()

    def __len__(self) -> int:
        return self._entries

    def clear(self) -> None:
        """Forget all of them."""
        self._lives: dict[int, list[Life]] = {}
        self._seconds: list[int] = []   # a heap of the keys
        self._entries = 0

    def add(self, life: Life, live: int) -> None:
        """Enter the life at its end; `live` is how many entries count, about."""
        self._enter(life)
        if self._entries > 2 * live + 1_000:
            counting = self.lives()
            self.clear()
            for life in counting:
                self._enter(life)

    def _enter(self, life: Life) -> None:
        second = life.expires // 1_000
        lives = self._lives.get(second)
        if lives is None:
            lives = self._lives[second] = []
            heapq.heappush(self._seconds, second)
        lives.append(life)
        self._entries += 1

    def next(self) -> int | None:
        """The moment at which there will be some to pop, in ms; they may count no more."""
        return self._seconds[0] * 1_000 + 1_000 if self._seconds else None

    def pop(self, now: int, limit: int) -> list[Life]:
        """Take off up to `limit` lives that have expired."""
        found: list[Life] = []
        while (at := self.next()) is not None and at <= now and len(found) < limit:
            second = self._seconds[0]
            lives = self._lives[second]
            while lives and len(found) < limit:
                life = lives.pop()
                self._entries -= 1
                if life.expires // 1_000 == second:
                    found.append(life)
            if not lives:
                del self._lives[heapq.heappop(self._seconds)]
        return found

    def lives(self) -> set[Life]:
        """Those whose entry counts."""
        return {life for second, lives in self._lives.items() for life in lives
                if life.expires // 1_000 == second}
