"""The graph of tasks: lives, the lists that they stand in, and their edges.

Nothing here locks or waits: ``worq.queue.memory`` does, around each verb. A verb is framed
by ``begin`` and ``end``, or ``defer``; in between everything happens at one moment, `now`.

A signal handler may raise at any point in between. So what says what has been decided (a life's
state, its arguments, how it ends) changes in one step, before what follows from it: all of that
``worq.queue.machine.recovery`` makes anew.
"""
from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import (
    CANCELLED, EXPIRED, FAILURE, GATE, IGNORE_RESULT, LENT, NEEDED, PASS, VALUE,
)
from worq.queue.machine.book import Book, end_key
from worq.queue.machine.failed import Failing
from worq.queue.machine.lanes import Lanes
from worq.queue.machine.life import Agenda, Expiry, Life
from worq.queue.machine.traces import NOTHING, named
from worq.queue.records import Hop

__all__ = ['Graph']

PURGED = -1   # as the time when it is too late to begin: it was purged, and ends when it is met
BY_PURGE = 'cancelled: the queue was purged'
TO_FAIL = 2   # units of a budget
COUNTERS = {VALUE: 'succeeded', FAILURE: 'failed', EXPIRED: 'expired', CANCELLED: 'cancelled'}


class Graph(Failing):
    """The tasks of one queue, and what a change of one changes in others.

    :param tell: is called with a client, an id and its news for each watched task that
        completes.
    :param budget: how many units of what follows from an end one verb does, about: an argument
        let go, a dependent told, a purged task ended are one each; one told of a failure, by which
        it fails in turn, is `TO_FAIL`. The next verbs and ticks go on with the rest. 0: all of it
        at once, as in memory, where a step is cheap. Where each is a row, and others wait for the
        verb to end, it should be ``const.BUDGET``.
    """

    def __init__(self, tell: Callable[[str, str, bytes | None], None], budget: int = 0) -> None:
        super().__init__()
        self._tell = tell
        self.budget = budget
        self.left = 0          # of it, in this verb
        self.lives: dict[str, Life] = {}
        self.completed = 0
        self.scheduled = 0
        self.counters = dict.fromkeys([*COUNTERS.values(), 'redelivered', 'stale'], 0)
        self.book = Book()
        self.ends: dict[str, int] = {}   # what no pool counts, until it is entered: see `end_key`
        self.now = 0
        self.unsure = False    # a verb has begun and not ended; was it interrupted? see `redo`
        self.woken = 0         # became enqueued or scheduled since `begin`

        self.lanes = Lanes()
        self.schedule = Agenda(lambda life: life.due if life.state == SCHEDULED else -1)
        self._expiry = Expiry()
        self._late = Agenda(lambda life: -1 if life.state == COMPLETED else life.late)
        self.leased: dict[Life, None] = {}
        # What has ended otherwise than with a value, by its kind, in that order, for people.
        self.failures: dict[bytes, OrderedDict[Life, None]] = {
            kind: OrderedDict() for kind in COUNTERS if kind != VALUE}

        # What has ended and has yet to be followed: arguments that it pins, dependents to tell; and
        # what was purged, and has yet to end.
        self._ended: deque[Life] = deque()
        self.purged = 0                      # how many of these there are; they count no more
        self._first: list[Life] = []         # to be lined up at the front, in this order

    # -- what another storage does otherwise ----------------------------------

    def width(self, life: Life) -> int:
        """How many arguments it has. Rows keep a count, and need not be read for it."""
        return len(life.arguments)

    def argue(self, life: Life, more: Iterable[Life]) -> None:
        """Add arguments behind those that it has, in one step: see `redo`. Rows are inserted,
        and those before them are not read."""
        life.arguments += tuple(more)

    def shed(self, life: Life, most: int) -> Iterable[Life]:
        """Take off the first of its arguments, `most` of them, to be let go.

        It is asked for only where there is a budget. Rows are deleted as they are read; those of
        a life that is forgotten meanwhile stay until this has come for all of them.
        """
        some, life.arguments = life.arguments[:most], life.arguments[most:]
        return some

    def heirs(self, life: Life, most: int) -> Iterable[Life]:
        """Take off the first of those that wait for it, `most` of them, to be told; as in `shed`.

        They are told in the order in which they were entered.
        """
        some = life.dependents[:most]
        life.dependents = list(life.dependents[most:]) or ()
        return some

    def seals_of(self, life: Life, some: Sequence[Life], start: int) -> list[bytes]:
        """What signs its edges from some of its arguments, which begin with this one. Rows are
        asked for all of them at once."""
        return [life.sealed(one) for one in some]

    def seal_of(self, life: Life, target: Life) -> bytes:
        """What signs its tail call. It is in a row of its own."""
        return life.sealed(target)

    def awaited(self, life: Life) -> bool:
        """Whether anything waits for it, of all that has done so. Rows can be asked for one."""
        return any(other.state == PENDING and other.late != PURGED for other in life.dependents)

    # -- a verb, begun and ended ----------------------------------------------

    def end(self) -> None:
        if self._ended:
            self._follow_all()
        if self.failed.waiting:
            self._revive_some()
        if self._first:
            self._line_up()

    def defer(self) -> None:
        """The end of a verb that only looks at tasks. What follows from those that were over
        when it met them is left to others, lest its second answer differ from the first."""
        if self._first:
            self._line_up()
        if self._ended or self.failed.waiting:
            self.woken += 1

    @property
    def left_over(self) -> bool:
        """Whether there is work that the next verb will go on with."""
        return bool(self._ended or self.failed.waiting)

    def find(self, id: str) -> Life | None:
        """A task as it is when it is met: one that is too late to begin ends now."""
        life = self.known(id)
        if life is not None and life.late and self._end_late(life):
            return self.lives.get(id)
        return life

    def known(self, id: str) -> Life | None:
        life = self.lives.get(id)
        if life is not None and life.expires and life.expires <= self.now:
            self._drop(life)
            return None
        return life

    @property
    def counts(self) -> dict[str, int]:
        """How many tasks there are of each state."""
        counts = {SCHEDULED: self.scheduled, ENQUEUED: len(self.lanes),
                  PROCESSING: len(self.leased), COMPLETED: self.completed}
        return {PENDING: len(self.lives) - self.purged - sum(counts.values()), **counts}

    @property
    def sizes(self) -> tuple[int, int, int, int]:
        """How many are pending, scheduled, enqueued, processing."""
        counts = self.counts
        return counts[PENDING], counts[SCHEDULED], counts[ENQUEUED], counts[PROCESSING]

    def stats(self) -> dict[str, int]:
        """Sizes and counters."""
        return {**dict(zip((PENDING, SCHEDULED, ENQUEUED, PROCESSING), self.sizes)),
                **self.counters}

    def oldest(self) -> list[int | None]:
        """Since when the oldest has been ready, of each priority, in ms; None if none is."""
        # never below 0: the clock may be set back a little
        return [max((max(self.now - life.ready, 0) for lane in pair
                     for life in islice(lane, const.LOOK)), default=None)
                for pair in self.lanes.pairs]

    @property
    def size(self) -> int:
        """How many tasks have not completed."""
        return len(self.lives) - self.purged - self.completed

    # -- the life of a task ---------------------------------------------------

    def _move(self, life: Life, state: str) -> None:
        """The one place where a state changes, and with it all that goes by states."""
        old, life.state = life.state, state
        if self.lanes.freed and state != PROCESSING:
            self.lanes.bind(life)
        if old == PROCESSING:
            del self.leased[life]
        elif old == ENQUEUED:
            lanes = self.lanes
            if lanes.aside:
                lanes.discard(life)
            else:   # it may have to be lined up yet
                lanes.pairs[life.priority][not life.arguments].pop(life, None)
        elif old == SCHEDULED:
            self.scheduled -= 1

    def _make_ready(self, life: Life) -> None:
        """All arguments are there: it is ready, or due later."""
        if life.due > self.now:
            self._postpone(life, life.due)
        else:
            self._enqueue(life)

    def _expect(self, life: Life) -> None:
        """It may have been taken off the agenda while it was processed."""
        if life.late and life.late <= self.now:
            self._late.add(life, len(self.lives))

    def _enqueue(self, life: Life) -> None:
        self._move(life, ENQUEUED)
        life.ready = self.now
        self.lanes.pairs[life.priority][not life.arguments][life] = None
        if life.late:
            self._expect(life)
        self.woken += 1

    def _enqueue_first(self, life: Life) -> None:
        """At the front of its lane, but behind those that this verb has put there already."""
        self._move(life, ENQUEUED)
        life.ready = self.now
        self._first.append(life)
        self._expect(life)
        self.woken += 1

    def _line_up(self) -> None:
        while self._first:
            life = self._first.pop()
            if life.state == ENQUEUED:   # else this very verb has met it later, and ended it
                self.lanes.add_first(life)

    def _postpone(self, life: Life, due: int) -> None:
        life.due = due
        self._move(life, SCHEDULED)
        self.scheduled += 1
        self.schedule.add(life, self.scheduled)
        self._expect(life)
        self.woken += 1

    def retry(self, life: Life, memo: bytes, delay: int) -> None:
        """An attempt has ended, and another follows."""
        life.deliveries = 0
        life.tries += 1
        life.memo = memo
        if delay:
            self._postpone(life, self.now + delay)
        else:
            self._enqueue(life)

    def finish(self, life: Life, kind: bytes, data: bytes,
               hops: tuple[Hop, ...] = (), owner: str | None = None,
               counted: bool = False) -> None:
        """The one end for every cause. Dependents are told by `_follow_all`.

        :param owner: who settled it, and may do so again.
        :param counted: whether that pool counts it, see ``worq.queue.counting``.
        """
        keeps = kind != VALUE and life.late != PURGED \
            and self.keep(life, kind, hops, self.width(life))
        # One step, from which on it is over: see `redo`.
        life.data, life.hops, life.owner, life.kind = data, hops, owner, kind
        self._move(life, COMPLETED)
        self.completed += 1
        if not life.flags & GATE:
            self.counters[COUNTERS[kind]] += 1
            if not counted:
                key = end_key(self.book, self.ends, kind.decode(), life.name.decode(
                    'utf-8', 'replace'))
                self.ends[key] = self.ends.get(key, 0) + 1
        if not keeps:
            life.body = b''
            life.seals = None
        life.progress = life.memo = b''
        life.open = 0
        life.over = self.now
        if life.target is not None:
            self.remember(life)
        life.target = life.gate = None
        ignored = life.flags & IGNORE_RESULT
        if ignored:
            life.kind = life.data = b''
        else:
            self._let_expire(life)
            if kind != VALUE:
                self.enlist(life)
        if life.watchers is not None:
            self._tell_of(life)
        if life.arguments:
            if self.budget:
                self._let_go(life)
            else:
                if keeps:
                    self.let_off(life, life.arguments)
                    life.seals = None
                self.remember(life, life.arguments, self.width(life))
                for argument in life.arguments:
                    argument.pins -= 1
                    self._let_expire(argument)
                life.arguments = ()
        if ignored:
            del self.lives[life.id]
            self.completed -= 1
            if self.traces:
                self.traces.pop(life, None)
        if life.dependents or life.arguments:
            self._ended.append(life)

    def enlist(self, life: Life) -> None:
        """Enter one that ended without a value among those that people ask for. Not what was
        purged: that may be a million, and all others would go for it. Rows have an index."""
        if life.late == PURGED or life.flags & GATE:
            return
        ends = self.failures[life.kind]
        ends[life] = None
        if len(ends) > const.ENDED:
            ends.popitem(last=False)

    def remember(self, life: Life, arguments: Sequence[Life] = (), width: int = 0,
                 dependents: Sequence[Life] = (), fan: int = 0) -> None:
        """Keep some of the edges that it lets go of, for people, as long as its outcome."""
        if life.flags & IGNORE_RESULT or self.lives.get(life.id) is not life:
            return
        trace = self.traces.get(life, NOTHING)
        if width and not trace.width:
            trace = trace._replace(width=width, arguments=named(arguments))
        if fan and not trace.fan:
            trace = trace._replace(fan=fan, dependents=named(dependents))
        if life.target is not None:
            trace = trace._replace(target=(life.target.id, life.target.nonce))
        self.traces[life] = trace

    def _tell_of(self, life: Life) -> None:
        """Tell those who watch a life of its end."""
        news = life.news()
        for client in life.watchers or ():
            self._tell(client, life.id, news)
        self.want(life)
        life.watchers = None

    def want(self, life: Life) -> None:
        """Somebody asks for a completed life, so it is kept for its time, needed or not."""
        if life.flags & NEEDED and not life.flags & IGNORE_RESULT:
            life.flags &= ~NEEDED
            if life.flags & LENT:   # else it has its time already
                self._let_expire(life)

    def _end_late(self, life: Life) -> bool:
        """End it if it is too late to begin, or was purged; after a tail call it has begun.

        Who gave it back may do so again, so it keeps its owner.
        """
        if not life.late or life.late > self.now or life.target is not None \
                or life.state in (PROCESSING, COMPLETED):
            return False
        if life.late == PURGED:
            self.purged -= 1
            self.verdict(life, CANCELLED, BY_PURGE)
            return True
        again = ' again' if life.epoch else ''
        self.verdict(life, EXPIRED, f'expired before it was begun{again}', life.owner)
        return True

    def inherit(self, life: Life, source: Life, owner: str | None) -> None:
        """Finish it with what has come to it along an edge, or have that signed anew first."""
        seal = life.sealed(source)
        if source.too_far(seal) and not life.flags & IGNORE_RESULT:
            self._sign_anew(life, source, seal)
        else:
            self.finish(life, source.kind, source.data, source.onward(seal), owner)

    def _sign_anew(self, life: Life, source: Life, seal: bytes) -> None:
        """Its value has come along too many tail calls: whoever takes it signs it."""
        life.seals = None
        if source not in life.arguments[-1:]:
            self.argue(life, [source])
            source.pins += 1
            source.expires = 0
        life.memo = seal
        life.deliveries = life.open = 0
        life.gate = None   # of one that has been moved: it is signed, not begun
        self._enqueue_first(life)

    def verdict(self, life: Life, kind: bytes, text: str, owner: str | None = None) -> None:
        """Finish it with an outcome that the queue makes itself."""
        name = life.header.partition(b'\n')[0]
        self.finish(life, kind, name + b'\n' + text.encode(), owner=owner)

    def _follow_all(self) -> None:
        """Tell of what ended: dependents, and their dependents in turn.

        A queue of them rather than recursion: chains are as long as programs make them.
        """
        if self.budget:
            self._follow_some()
            return
        while self._ended:
            life = self._ended.popleft()
            if life.dependents:
                told = [one for one in life.dependents if self._follow(one, life)]
                self.remember(life, dependents=told, fan=len(told))
                life.dependents = ()
            self._let_expire(life)

    def _follow_some(self) -> None:
        """The same as far as the budget reaches, and what was left to be let go or to end.

        What others have left comes first, for it is older. A life may stand in the line twice, if
        it was purged and then met: the second time there is nothing left to do.
        """
        while self._ended and self.left > 0:
            life = self._ended.popleft()
            if life.state != COMPLETED:
                self.left -= 1
                self._end_late(life)   # and it enters the line again if something follows
                continue
            if life.arguments:
                self._unpin(life, self.left)
            if life.dependents and self.left > 0:
                told, each = [], 1 if life.kind == VALUE else TO_FAIL
                for dependent in self.heirs(life, max(self.left // each, 1)):
                    self.left -= each
                    if self._follow(dependent, life):
                        told.append(dependent)
                self.remember(life, dependents=told, fan=bool(told) * (
                    len(told) + len(life.dependents)))
                self._let_expire(life)
            if life.arguments or life.dependents:
                self._ended.appendleft(life)
        if self._ended:
            self.woken += 1   # somebody should go on

    def _let_go(self, life: Life) -> None:
        """Let go of the arguments of what has ended, unless that is too much for now."""
        width = self.width(life)
        if width <= max(self.left, 1):
            self._unpin(life, width)

    def _unpin(self, life: Life, most: int) -> None:
        width = self.width(life)
        some = [*self.shed(life, most)]
        self.remember(life, some, width)
        if life.kind != VALUE:
            self.let_off(life, some)
            if not life.arguments:
                life.seals = None
        for argument in some:
            self.left -= 1
            argument.pins -= 1
            self._let_expire(argument)

    def _follow(self, dependent: Life, argument: Life) -> bool:
        """Tell a dependent; whether it still waited."""
        # It may have ended before its argument did.
        if dependent.state != PENDING or dependent.late and self._end_late(dependent):
            return False
        self._bring(dependent, argument)
        return True

    def _bring(self, dependent: Life, argument: Life) -> None:
        held = dependent.gate is argument
        if not held and dependent.target not in (None, argument):
            return   # it has been moved, and needed no gate any more
        failed = argument.kind != VALUE and (held or not dependent.flags & PASS)
        if dependent.target is argument or failed:
            self.inherit(dependent, argument, dependent.owner if dependent.target else None)
            return
        if held:
            dependent.gate = None
        dependent.open -= 1
        if not dependent.open and dependent.target is None:   # else it has been moved, see `move`
            self._make_ready(dependent)

    def _let_expire(self, life: Life) -> None:
        if life.state == COMPLETED and not life.pins and not life.dependents:
            life.expires = self.now + (life.ttl if life.flags < LENT else self._rest(life))
            self._expiry.add(life, self.completed)

    @staticmethod
    def _rest(life: Life) -> int:
        """How long one is kept that has been an argument, and is none now. A failure is named by
        what has failed with it."""
        if life.flags & NEEDED and life.kind == VALUE:
            return min(const.TICK, life.ttl)
        return life.ttl

    def drop_expired(self, limit: int) -> int:
        """Forget up to `limit` of the completed lives whose time is over; how many there were.

        They may be late, for what is still here is not found: see `find`.
        """
        lives = self._expiry.pop(self.now, limit)
        for life in lives:
            self._drop(life)
        return len(lives)

    def _drop(self, life: Life) -> None:
        """Forget a completed life."""
        if self.lives.get(life.id) is life:
            del self.lives[life.id]
            self.completed -= 1
        if life.kind != VALUE:
            self.delist(life)
            life.body = b''   # if it was kept
        if self.traces:
            self.traces.pop(life, None)
        life.expires = 0
        life.data = b''

    def delist(self, life: Life) -> None:
        """It is forgotten, so nobody asks for it."""
        if life.kind in self.failures:
            self.failures[life.kind].pop(life, None)
