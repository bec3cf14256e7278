"""What the memory queue holds, and how it changes: lives, lanes, leases and edges.

Nothing here locks or waits: ``worq.queue.memory`` does, around each verb. A verb is framed
by ``begin`` and ``end``; in between everything happens at one moment, `now`.
"""
from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterable

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING, SCHEDULED
from worq.queue.base import (
    CANCELLED, EXPIRED, FAILURE, IGNORE_RESULT, PASS, VALUE, Argument, Delivery, Held,
    Lost, Message, Outcome, Refusal,
)
from worq.queue.life import Agenda, Life

__all__ = ['Store']

COUNTERS = {VALUE: 'succeeded', FAILURE: 'failed', EXPIRED: 'expired', CANCELLED: 'cancelled'}
LATER = 1_000   # ms until a refused task is offered again


class Store:
    """The tasks of one queue.

    :param tell: is called with a client, an id and its news for each watched task that
        completes.
    """

    def __init__(self, tell: Callable[[str, str, bytes | None], None]) -> None:
        self._tell = tell
        self.lives: dict[str, Life] = {}
        self.pools: dict[str, tuple[dict[str, str], int]] = {}   # info, last seen
        self.counts = dict.fromkeys(const.STATUS_VALUES, 0)
        self.counters = dict.fromkeys([*COUNTERS.values(), 'redelivered', 'stale'], 0)
        self.now = 0
        self.woken = 0         # became enqueued or scheduled since `begin`

        self.lanes: list[OrderedDict[Life, None]] = [OrderedDict() for _ in const.PRIORITIES]
        self.schedule = Agenda(lambda life: life.due if life.state == SCHEDULED else -1)
        self._expiry = Agenda(lambda life: life.expires)
        self._late = Agenda(lambda life: -1 if life.state == COMPLETED else life.late)
        self.leased: dict[Life, None] = {}
        self._soonest = 0      # no lease ends before; at worst this is too early

        self._ended: deque[Life] = deque()   # whose dependents are to be followed
        self._first: list[Life] = []         # to be lined up at the front, in this order

        self._ticked: int | None = None
        self._calm = -const.COOLDOWN         # nothing is reaped before

    def begin(self, now: int) -> None:
        self.now = now
        self.woken = 0
        at = self._expiry.next()
        if at is not None and at <= now:
            # A few at a time: what is over and still here is not found, see `find`.
            for life in self._expiry.pop(now, 10):
                self._drop(life)

    def end(self) -> None:
        self._follow_all()
        self._line_up()

    def defer(self) -> None:
        """The end of a verb that only looks at tasks. What follows from those that were over
        when it met them is left to others, lest its second answer differ from the first."""
        self._line_up()
        if self._ended:
            self.woken += 1

    def find(self, id: str) -> Life | None:
        """A task as it is when it is met: one that is too late to begin ends now."""
        life = self._known(id)
        if life is not None and self._end_late(life):
            return self.lives.get(id)
        return life

    def _known(self, id: str) -> Life | None:
        life = self.lives.get(id)
        if life is not None and life.expires and life.expires <= self.now:
            self._drop(life)
            return None
        return life

    def next_tick(self) -> int | None:
        """When a tick will find something due, in ms; None if nothing is waited for."""
        moments = [self.schedule.next(), self._late.next(),
                   self._soonest if self.leased else None]
        soonest = min((at for at in moments if at is not None), default=None)
        if soonest is None or self._ticked is None:
            return soonest
        return max(soonest, self._ticked + const.TICK)

    # -- the life of a task ---------------------------------------------------

    def put(self, messages: Iterable[Message]) -> list[Refusal]:
        fresh: dict[str, Life] = {}
        pinned: set[Life] = set()
        for message in messages:
            refusal = self._admit(message, fresh, pinned)
            if refusal is not None:
                return [refusal]
        for life in fresh.values():
            self._add(life)
        return []

    def _admit(self, message: Message, fresh: dict[str, Life],
               pinned: set[Life]) -> Refusal | None:
        """Judge a message as if `fresh` were stored, and add its life. Changes nothing else."""
        id = message.id
        old = fresh.get(id) or self.find(id)
        if old is not None:
            if old.nonce == message.nonce:
                return None
            if id in fresh or old.state != COMPLETED:
                return Refusal(id, 'duplicate')
            if old.pins or old.dependents or old in pinned:
                return Refusal(id, 'pinned')
        arguments = []
        cause = None
        for name, nonce in message.arguments:
            life = fresh.get(name) or self.find(name)
            if life is None or nonce not in ('', life.nonce) or life.flags & IGNORE_RESULT:
                return Refusal(id, 'unknown', name)
            arguments.append(life)
            if life.kind and life.kind != VALUE and not message.flags & PASS:
                cause = cause or life
        life = fresh[id] = Life(message, tuple(arguments), self.now)
        if cause is None:
            pinned.update(arguments)
        else:
            # The kind alone tells the next ones that it has failed, until `_add` completes it.
            life.kind, life.data, life.origin = cause.kind, cause.data, cause.source
            life.arguments = ()
        return None

    def _add(self, life: Life) -> None:
        old = self.lives.get(life.id)
        if old is not None:
            self._drop(old)
        self.lives[life.id] = life
        self.counts[PENDING] += 1
        if life.kind:
            self.finish(life, life.kind, life.data, life.origin)
            return
        for argument in life.arguments:
            argument.pins += 1
            argument.expires = 0
            if argument.state != COMPLETED:
                argument.dependents.append(life)
                life.open += 1
        if life.late:
            self._late.add(life, len(self.lives))
        if not life.open:
            self._make_ready(life)

    def _move(self, life: Life, state: str) -> None:
        """The one place where a state changes, and with it all that goes by states."""
        old = life.state
        self.counts[old] -= 1
        self.counts[state] += 1
        life.state = state
        if old == PROCESSING:
            del self.leased[life]
        elif old == ENQUEUED and life in self.lanes[life.priority]:
            del self.lanes[life.priority][life]

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
        self.lanes[life.priority][life] = None
        self._expect(life)
        self.woken += 1

    def _enqueue_first(self, life: Life) -> None:
        """At the front, but behind those that this verb has put there already."""
        self._move(life, ENQUEUED)
        self._first.append(life)
        self._expect(life)
        self.woken += 1

    def _line_up(self) -> None:
        for life in reversed(self._first):
            lane = self.lanes[life.priority]
            lane[life] = None
            lane.move_to_end(life, last=False)
        self._first.clear()

    def _postpone(self, life: Life, due: int) -> None:
        life.due = due
        self._move(life, SCHEDULED)
        self.schedule.add(life, self.counts[SCHEDULED])
        self._expect(life)
        self.woken += 1

    def finish(self, life: Life, kind: bytes, data: bytes,
               origin: tuple[str, str] | None = None, owner: str | None = None) -> None:
        """The one end for every cause. Dependents are told by `_follow_all`.

        :param owner: who settled it, and may do so again.
        """
        self._move(life, COMPLETED)
        self.counters[COUNTERS[kind]] += 1
        life.body = life.progress = life.memo = b''
        life.open = 0
        life.target = None
        life.owner = owner
        if life.flags & IGNORE_RESULT:
            life.kind = b''
            del self.lives[life.id]
            self.counts[COMPLETED] -= 1
        else:
            life.kind, life.data, life.origin = kind, data, origin
            self._let_expire(life)
        if life.watchers is not None:
            news = life.news()
            for client in life.watchers:
                self._tell(client, life.id, news)
            life.watchers = None
        for argument in life.arguments:
            argument.pins -= 1
            self._let_expire(argument)
        life.arguments = ()
        self._ended.append(life)

    def _end_late(self, life: Life) -> bool:
        """End it if it is too late to begin; after a tail call it has begun.

        Who gave it back may do so again, so it keeps its owner.
        """
        if not life.late or life.late > self.now or life.target is not None \
                or life.state in (PROCESSING, COMPLETED):
            return False
        again = ' again' if life.epoch else ''
        self.verdict(life, EXPIRED, f'expired before it was begun{again}', life.owner)
        return True

    def verdict(self, life: Life, kind: bytes, text: str, owner: str | None = None) -> None:
        """Finish it with an outcome that the queue makes itself."""
        name = life.header.partition(b'\n')[0]
        self.finish(life, kind, name + b'\n' + text.encode(), owner=owner)

    def _follow_all(self) -> None:
        """Tell of what ended: dependents, and their dependents in turn.

        A queue of them rather than recursion: chains are as long as programs make them.
        """
        while self._ended:
            life = self._ended.popleft()
            for dependent in life.dependents:
                self._follow(dependent, life)
            life.dependents = []
            self._let_expire(life)

    def _follow(self, dependent: Life, argument: Life) -> None:
        # It may have ended before its argument did.
        if dependent.state != PENDING or self._end_late(dependent):
            return
        failed = argument.kind != VALUE and not dependent.flags & PASS
        if dependent.target is argument or failed:
            owner = dependent.owner if dependent.target else None
            self.finish(dependent, argument.kind, argument.data, argument.source, owner)
            return
        dependent.open -= 1
        if not dependent.open:
            self._make_ready(dependent)

    def _let_expire(self, life: Life) -> None:
        if life.state == COMPLETED and not life.pins and not life.dependents:
            life.expires = self.now + life.ttl
            self._expiry.add(life, self.counts[COMPLETED])

    def _drop(self, life: Life) -> None:
        """Forget a completed life."""
        if self.lives.get(life.id) is life:
            del self.lives[life.id]
            self.counts[COMPLETED] -= 1
        life.expires = 0
        life.data = b''

    # -- what callers ask for -------------------------------------------------

    def cancel(self, id: str) -> str:
        life = self.find(id)
        if life is None:
            return 'unknown'
        if life.state == COMPLETED:
            return 'completed'
        self.verdict(life, CANCELLED, 'cancelled')
        self._follow_all()
        return 'cancelled'

    def purge(self) -> int:
        doomed = [life for life in self.lives.values()
                  if life.state not in (PROCESSING, COMPLETED)]
        # All end before one of them is followed, so that each is cancelled in its own name.
        for life in doomed:
            self.verdict(life, CANCELLED, 'cancelled: the queue was purged')
        return len(doomed)

    def forget(self, id: str) -> str:
        life = self.find(id)
        if life is None:
            return 'unknown'
        if life.state != COMPLETED:
            return 'live'
        if life.pins or life.dependents:
            return 'pinned'
        self._drop(life)
        return 'forgotten'

    # -- deliveries -----------------------------------------------------------

    def take(self, pool: str, limit: int, lease: int) -> list[Delivery]:
        self.end()
        taken: list[Delivery] = []
        for lane in self.lanes:
            while lane and len(taken) < limit:
                life = next(iter(lane))
                if self._end_late(life):
                    continue
                self._move(life, PROCESSING)
                life.owner = pool
                life.epoch += 1
                life.deliveries += 1
                life.taken = self.now
                life.progress = b''
                self._lease(life, lease)
                arguments = tuple((a.id, a.record() or b'') for a in life.arguments)
                taken.append(Delivery(
                    life.id, life.token, life.deliveries, life.header, life.body, arguments,
                    life.memo))
        return taken

    def _lease(self, life: Life, lease: int) -> None:
        life.deadline = self.now + (life.lease or lease)
        if not self.leased or life.deadline < self._soonest:
            self._soonest = life.deadline
        self.leased[life] = None

    def beat(self, pool: str, held: Iterable[Held], lease: int) -> list[Lost]:
        lost = []
        for id, token, progress in held:
            life = self._known(id)
            same = life is not None and life.token == token
            if life is not None and same and life.state == PROCESSING and life.owner == pool:
                self._lease(life, lease)
                life.progress = progress or life.progress
            else:
                lost.append(Lost(id, token, 'cancelled' if life is not None and same
                                 and life.kind == CANCELLED and life.owner is None
                                 and life.origin is None else 'lost'))
        if pool in self.pools:
            self.pools[pool] = self.pools[pool][0], self.now
        return lost

    def settle(self, pool: str, outcome: Outcome) -> str:
        life = self._known(outcome.id)
        if life is None:
            return 'gone'
        if life.token != outcome.token or life.owner != pool:
            self.counters['stale'] += 1
            return 'stale'
        if life.state != PROCESSING:
            return 'again'
        word = outcome.word
        if word == 'value' or word == 'failure':
            self.finish(life, VALUE if word == 'value' else FAILURE, outcome.data, None, pool)
        elif word == 'retry':
            life.deliveries = 0
            life.memo = outcome.data
            if outcome.delay:
                self._postpone(life, self.now + outcome.delay)
            else:
                self._enqueue(life)
        elif word == 'delegate':
            assert outcome.target is not None
            self._delegate(life, outcome.target)
        elif word == 'release':
            life.deliveries -= 1
            self._enqueue_first(life)
        elif word == 'refuse':
            if life.deliveries >= life.max_deliveries or not self._others_alive(pool):
                self.finish(life, FAILURE, outcome.data, None, pool)
            else:
                self._postpone(life, self.now + LATER)
        else:
            self._lose(life, outcome.data.decode(errors='replace'), pool)
        self._follow_all()
        return 'ok'

    def _others_alive(self, pool: str) -> bool:
        return any(seen >= self.now - const.LEASE
                   for name, (_, seen) in self.pools.items() if name != pool)

    def _delegate(self, life: Life, to: Argument) -> None:
        """Let it wait for another. No pin: the edge is enough, for the outcome is copied."""
        owner = life.owner
        target = self.find(to.id)
        if target is None or to.nonce not in ('', target.nonce) \
                or target.flags & IGNORE_RESULT:
            self.verdict(life, EXPIRED, 'the Deferred it returned is unknown', owner)
        elif target.state == COMPLETED:
            self.finish(life, target.kind, target.data, target.source, owner)
        elif self._waits_for(target, life):
            self.verdict(life, EXPIRED, 'it returned a Deferred that waits for itself', owner)
        else:
            self._move(life, PENDING)
            life.target = target
            target.dependents.append(life)

    def _waits_for(self, one: Life, other: Life) -> bool:
        """Would `one` wait for `other`? The search is bounded: a longer cycle goes unseen."""
        stack: list[Life] = [one]
        seen: set[Life] = set()
        while stack and len(seen) < const.BUDGET:
            life = stack.pop()
            if life is other:
                return True
            if life.state == PENDING and life not in seen:
                stack.extend([life.target] if life.target else life.arguments)
            seen.add(life)
        return False

    def _lose(self, life: Life, cause: str, owner: str | None = None) -> None:
        """Its delivery came to nothing: once more at once, then later, at last never.

        :param owner: the pool, if it says so itself and may repeat it; else it is fenced off.
        """
        number, most = life.deliveries, life.max_deliveries
        if number >= most:
            self.verdict(life, EXPIRED, f'{cause} (delivery {number} of {most})', owner)
            return
        life.owner = owner
        self.counters['redelivered'] += 1
        if number < 2:
            self._enqueue_first(life)
        else:
            self._postpone(life, self.now + 4 ** (number - 2) * 1_000)

    def _leases(self, pool: str) -> list[Life]:
        """What a pool has, in the order in which it would lose it."""
        return sorted((life for life in self.leased if life.owner == pool),
                      key=lambda life: (life.deadline, life.id))

    def reconcile(self, pool: str, known: set[bytes]) -> int:
        unknown = [life for life in self._leases(pool) if life.token not in known]
        for life in unknown:
            life.owner = None   # it was not settled: to do so now comes too late
            life.deliveries -= 1
            self._enqueue_first(life)
        return len(unknown)

    def abandon(self, pool: str, cause: str) -> int:
        dead = self._leases(pool)
        for life in dead:
            self._lose(life, cause)
            self._follow_all()
        self.pools.pop(pool, None)
        return len(dead)

    # -- keeping --------------------------------------------------------------

    def tick(self) -> None:
        """See ``worq.queue.base``: what is due, what is lost, and the pause after a gap."""
        now = self.now
        if self._ticked is not None:
            if now - self._ticked < const.TICK:
                return
            if now - self._ticked > const.GAP and now >= self._calm + const.COOLDOWN:
                self._calm = now + const.GRACE
        self._ticked = now
        self._line_up()
        over = self._late.pop(now, const.TICK_LIMIT)
        for life in over:
            self._end_late(life)
        due = self.schedule.pop(now, const.TICK_LIMIT)
        for life in due:
            if not self._end_late(life):
                self._enqueue(life)
        if const.TICK_LIMIT in (len(over), len(due)):
            self._ticked = now - const.TICK  # there may be more: the next verb goes on
        if now >= self._calm and self.leased and now >= self._soonest:
            self._reap()
        self.end()

    def _reap(self) -> None:
        now = self.now
        late = sorted((life.deadline, life.id, life) for life in self.leased
                      if life.deadline <= now)[:const.TICK_LIMIT]
        for _, _, life in late:
            self._lose(life, f'pool {life.owner} stopped renewing its lease')
        if len(late) == const.TICK_LIMIT:
            self._ticked = now - const.TICK
        self._soonest = min((life.deadline for life in self.leased), default=0)
