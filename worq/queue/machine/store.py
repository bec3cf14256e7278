"""What callers and pools ask of the graph of tasks: one method for each verb."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import or_

from worq import const
from worq.const import COMPLETED, ENQUEUED, PENDING, PROCESSING
from worq.queue.base import (
    CANCELLED, EXPIRED, FAILURE, GATE, IGNORE_RESULT, PASS, VALUE, Argument, Delivery,
    Held, Lost, Message, Note, Outcome, Refusal,
)
from worq.queue.machine.graph import BY_PURGE, PURGED
from worq.queue.machine.life import Life, needed_by, needs, reach
from worq.queue.machine.moving import Moving
from worq.queue.machine.revival import NONE
from worq.queue.records import now
from worq.queue.registers import too_many

__all__ = ['Store']

LATER = 1_000   # ms until a refused task is offered again
NO_LIVES: dict[str, Life] = {}


class Store(Moving):
    """The tasks of one queue, its pools and its clock.

    :param tell: see `Graph`, and so for `budget`.
    :param make: makes the life of a message: of its arguments' lives, at a moment. In memory that
        is a `Life`. An engine over rows gives one that is a row; it is stored when it is
        entered in `lives`.
    """

    def __init__(self, tell: Callable[[str, str, bytes | None], None],
                 make: Callable[[Message, tuple[Life, ...], int], Life] = Life,
                 budget: int = 0) -> None:
        super().__init__(tell, budget)
        self._make = make
        self._looked: dict[tuple[str, str], int] = {}   # when the pools of a place were looked at
        # What a verb has decided, until it is done, see `redo`.
        self.fresh: dict[str, Life] = {}     # to be stored ...
        self.vain: dict[Life, list[Life]] = {}   # ... arguments of those that end at once ...
        self.holder: Life | None = None      # ... behind this gate ...
        self.noting: Note | None = None      # ... with this register changed
        self.doomed: list[Life] = []         # to be cancelled

    # -- what callers ask for -------------------------------------------------

    def put(self, messages: Sequence[Message], gate: str, client: str = '',
            note: Note | None = None) -> list[Refusal]:
        if note is not None and (refusal := self._differs(note, messages)) is not None:
            return [refusal]
        holder = self.find(gate) if gate else None
        if gate and not self._holds(holder):
            return [Refusal(message.id, 'unknown', gate) for message in messages[:1]]
        self.vain = {}
        fresh: dict[str, Life] = {}
        pinned: set[Life] = set()
        for message in messages:
            refusal = self._admit(message, fresh, pinned)
            if refusal is not None:
                return [refusal]
        for message in messages if client else ():
            life = fresh.get(message.id) or self.lives[message.id]
            if life.state != COMPLETED:   # what ends in here has not done so yet
                life.watch(client)
        self.holder, self.noting, self.fresh = holder, note, fresh
        for life in fresh.values():
            self._add(life, holder)
        if note is not None:
            self.register(note.name, note.value)
        self.fresh, self.noting, self.holder = NO_LIVES, None, None
        return []

    def _differs(self, note: Note, messages: Sequence[Message]) -> Refusal | None:
        """Why a register cannot be changed with a put; None: it can, or this put has done so."""
        held = self.registers.get(note.name)
        if held == note.if_was:
            self._check_room(held, note.value)
            return None
        lives = (self.find(message.id) for message in messages)
        if held == note.value and all(
                life is not None and life.nonce == message.nonce
                for life, message in zip(lives, messages)):
            return None
        return Refusal(note.name, 'changed', held=held)

    def note(self, name: str, value: bytes, if_was: bytes | None = None) -> bytes:
        held = self.registers.get(name)
        if held == value or if_was not in (None, held):
            return held
        self._check_room(held, value)
        self.register(name, value)
        return value

    def register(self, name: str, value: bytes) -> None:
        """Have a register hold a value; what is paused by it is so from now on. To be done twice
        does no harm."""
        self.registers.set(name, value)
        if name == const.PAUSES:
            self.sides.pause(value)
            self.sides.mix(self.now)
            self._call()

    def _check_room(self, held: bytes, value: bytes) -> None:
        if value and not held and len(self.registers) >= const.NOTES:
            raise too_many()

    def _admit(self, message: Message, fresh: dict[str, Life],
               pinned: set[Life]) -> Refusal | None:
        """Judge a message as if `fresh` were stored, and add its life. Changes nothing else."""
        id = message.id
        old = fresh.get(id)
        if old is None and id in self.lives:
            old = self.find(id)
        if old is not None:
            if old.nonce == message.nonce:
                return None
            if id in fresh or old.state != COMPLETED:
                return Refusal(id, 'duplicate')
            if old.pins or old.dependents or old in pinned:
                return Refusal(id, 'pinned')
        if not message.arguments:
            fresh[id] = self._make(message, (), self.now)
            return None
        arguments = self._judge(id, message.arguments, fresh)
        if isinstance(arguments, Refusal):
            return arguments
        life = fresh[id] = self._make(message, tuple(arguments), self.now)
        self._seal(life, arguments, message.arguments)
        cause = self._cause(life.flags, arguments)
        if cause is None:
            pinned.update(arguments)
        else:
            # The kind alone tells the next ones that it has failed, until `_add` completes it.
            life.kind, life.data = cause.kind, cause.data
            life.hops = cause.onward(life.sealed(cause))
            life.arguments = ()
            self.vain[life] = arguments
        return None

    def _seal(self, life: Life, found: Iterable[Life], arguments: Iterable[Argument]) -> None:
        for argument, (_, _, seal) in zip(found, arguments):
            life.seal(argument, seal)

    def _judge(self, id: str, arguments: Iterable[Argument],
               fresh: Mapping[str, Life]) -> list[Life] | Refusal:
        """The lives of arguments; or why one cannot be an argument."""
        found = []
        for name, nonce, _ in arguments:
            life = fresh.get(name) or self.find(name)
            if life is None or nonce not in ('', life.nonce) or life.flags & NONE:
                return Refusal(id, 'unknown', name)
            found.append(life)
        return found

    def _cause(self, flags: int, arguments: Iterable[Life]) -> Life | None:
        """The first failed argument, if that matters."""
        if flags & PASS:
            return None
        return next((life for life in arguments if life.kind and life.kind != VALUE), None)

    def _add(self, life: Life, gate: Life | None) -> None:
        if life.id in self.lives:
            self._drop(self.lives[life.id])
        self.lives[life.id] = life
        if life.kind:
            life.gate = gate
            self.finish(life, life.kind, life.data, life.hops)
            arguments = self.vain.get(life, [])
            self.remember(life, arguments, len(arguments))
            self.let_off(life, arguments)
            life.seals = None
            return
        if life.flags & GATE:
            self.hold(life)
            return
        if life.arguments:
            self._bind(life, life.arguments)
        if gate is not None:
            life.gate = gate
            gate.tells(life)
            life.open += 1
        if life.late:
            self._late.add(life, len(self.lives))
        if not life.open:
            self._make_ready(life)

    def hold(self, gate: Life) -> None:
        """A gate has been taken from the start, by a pool of its own name, and only once."""
        gate.owner = gate.id
        gate.max_deliveries = 1
        gate.epoch = gate.deliveries = 0   # if this was begun before
        gate.deliver(self.now)
        self._lease(gate, const.LEASE)
        self._move(gate, PROCESSING)

    def edges(self, gate: str, id: str, nonce: str, start: int,
              arguments: Sequence[Argument]) -> list[Refusal]:
        holder, life = self.find(gate), self.find(id)
        if not self._holds(holder):
            return [Refusal(id, 'unknown', gate)]
        if life is None or life.nonce != nonce or life.state == COMPLETED \
                or self.width(life) > start:
            return []
        if life.gate is not holder or self.width(life) < start or life.target:
            return [Refusal(id, 'unknown', id)]
        if life.pins or life.dependents:
            return [Refusal(id, 'pinned')]
        found = self._judge(id, arguments, {})
        if isinstance(found, Refusal):
            return [found]
        self._seal(life, found, arguments)
        cause = self._cause(life.flags, found)
        if cause is not None:
            self.inherit(life, cause, None)
        else:
            self._bind(life, found)
            self.argue(life, found)
        return []

    def cancel(self, id: str, client: str | None = None) -> str:
        life = self.find(id)
        if life is None:
            return 'unknown'
        if life.state == COMPLETED:
            return 'completed'
        if client is not None and ((life.watchers or set()) - {client} or self.awaited(life)):
            return 'needed'
        self.verdict(life, CANCELLED, 'cancelled')
        self._follow_all()
        return 'cancelled'

    def purge(self) -> int:
        doomed = [life for life in self.lives.values()
                  if life.state not in (PROCESSING, COMPLETED) and life.late != PURGED]
        # All end before one of them is followed, so that each is cancelled in its own name.
        self.doomed = doomed
        if self.budget:
            self._set_aside()
        else:
            self.cancel_doomed()
        return len(doomed)

    def _set_aside(self) -> None:
        """Take what was purged out of all lists and counts, to be ended in bounded steps, or when
        it is met before. Over rows this writes none of them: `late` of one that has not begun
        is `PURGED` if it is of a generation before the last purge.
        """
        for life in self.doomed:
            life.late, life.owner, life.target = PURGED, None, None
            self._move(life, PENDING)
        self.purged += len(self.doomed)
        self._ended.extend(self.doomed)
        self.doomed = []

    def cancel_doomed(self) -> None:
        for life in self.doomed:
            if life.state != COMPLETED:
                life.late, life.target = PURGED, None
                self.verdict(life, CANCELLED, BY_PURGE)
        self.doomed = []

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
        looks, lanes, over = self.sides.looks, self.lanes, self._end_late
        if looks:
            self.sides.begin()
        while len(taken) < limit and (life := self.sides.next(pool, self.now) if looks
                                      else lanes.next(over)) is not None:
            life.deliver(self.now)
            life.owner = pool
            life.progress = b''
            self._lease(life, lease)
            self._move(life, PROCESSING)
            taken.append(Delivery(
                life.id, life.token, life.deliveries, life.header, life.body,
                self.records(life) if life.arguments else (), life.memo,
                max(self.now - life.ready, 0)))
        return taken

    def records(self, life: Life) -> tuple[tuple[str, bytes], ...]:
        """What its arguments came to, as a delivery brings it. Of many rows that is read later."""
        return tuple((one.id, one.record() or b'') for one in life.arguments)

    def beat(self, pool: str, held: Iterable[Held], lease: int) -> list[Lost]:
        lost = []
        for id, token, progress in held:
            life = self.known(id)
            if life is None or not token.startswith(life.nonce.encode()):
                lost.append(Lost(id, token, 'cancelled'))   # its life is over, and left nothing
                continue
            same = life.token == token
            if same and life.state == PROCESSING and life.owner == pool:
                self._lease(life, lease)
                life.progress = progress or life.progress
            else:
                cancelled = life.kind == CANCELLED or life.late == PURGED
                lost.append(Lost(id, token, 'cancelled' if same and cancelled
                                 and life.owner is None and not life.hops else 'lost'))
        self.see(pool)
        return lost

    def see(self, pool: str) -> None:
        """A pool has shown itself. Rows need not be read for it."""
        if pool in self.pools:
            self.pools[pool] = self.pools[pool][0], self.now

    def settle(self, pool: str, outcomes: Sequence[Outcome]) -> list[str]:
        moment = now()
        return [self._settle(pool, outcome, moment) for outcome in outcomes]

    def _settle(self, pool: str, outcome: Outcome, moment: int) -> str:
        life = self.known(outcome.id)
        if life is None:
            return 'gone'
        word = outcome.word
        if not life.epoch and outcome.token == b'%b0' % life.nonce.encode():
            return self.settle_held(life, pool, word, outcome)
        if life.token != outcome.token or life.owner != pool:
            self.counters['stale'] += 1
            return 'stale'
        if life.state != PROCESSING:
            return 'again'
        if life.flags & GATE and word not in ('value', 'failure'):
            word = 'lost'
        if not life.flags & IGNORE_RESULT:
            life.age = outcome.age(moment)
        if word == 'value' or word == 'failure':
            self.finish(life, VALUE if word == 'value' else FAILURE, outcome.data, (), pool, True)
        elif word == 'retry':
            self.retry(life, outcome.data, outcome.delay)
        elif word == 'delegate':
            assert outcome.target is not None
            self._delegate(life, outcome.target, outcome.data)
        elif word == 'release':
            life.deliveries -= 1
            self._enqueue_first(life)
        elif word == 'refuse':
            if life.deliveries >= life.max_deliveries or not self._others_alive(pool):
                self.finish(life, FAILURE, outcome.data, (), pool)
            else:
                self._postpone(life, self.now + LATER)
        elif word == 'unknown':
            if self._set_back(life, pool, outcome.data):
                return 'aside'
        elif word == 'expire':
            self.verdict(life, EXPIRED, outcome.data.decode(errors='replace'), pool)
        else:
            self._lose(life, outcome.data.decode(errors='replace'), pool)
        if self._ended:
            self._follow_all()
        return 'ok'

    def _set_back(self, life: Life, pool: str, data: bytes) -> bool:
        """A pool has no task of this name: it counts as not delivered, if others may have it."""
        name = life.name
        known = self.sides.known(name, self.now)
        if not known and (life in self.lanes.freed or not self.sides.grace):
            self.finish(life, FAILURE, data, (), pool)
            return False
        life.deliveries -= 1
        if known and self.sides.knows(pool, name):   # a worker of it does, but not this one
            self._postpone(life, self.now + LATER)
            return True
        self._move(life, ENQUEUED)
        life.ready = self.now
        self.sides.put_aside(life, self.now)
        self._expect(life)
        return True

    def _others_alive(self, pool: str) -> bool:
        return any(seen >= self.now - const.LEASE
                   for name, (_, seen) in self.pools.items() if name != pool)

    def _delegate(self, life: Life, to: Argument, seal: bytes) -> None:
        """Let it wait for another. No pin: the edge is enough, for the outcome is copied."""
        owner = life.owner
        target = self.find(to.id)
        if target is None or to.nonce not in ('', target.nonce) \
                or target.flags & NONE:
            self.verdict(life, EXPIRED, 'the Deferred it returned is unknown', owner)
            return
        # Its id is its nonce, so others cannot know it; and who names the life has called it.
        made = to.nonce == to.id and not target.dependents and not target.pins \
            and not target.watchers
        if made:
            self._keep_as(life, target)
        if target.state == COMPLETED:
            life.target = target
            life.seal(target, seal)
            self.inherit(life, target, owner)
        elif self._waits_for(target, life):
            life.target = target
            life.gate = life   # not to be kept: it would come to the same again
            self.verdict(life, EXPIRED, 'it returned a Deferred that waits for itself', owner)
        else:
            target.made = made
            life.target = target
            life.seal(target, seal)
            self._move(life, PENDING)
            target.tells(life)

    def _keep_as(self, life: Life, target: Life | None) -> None:
        """What a task has made to return it, and nobody else has asked for, is kept no longer than
        what it comes to; and so is what that has returned in turn."""
        ttl = const.TICK if life.flags & IGNORE_RESULT else life.ttl
        steps = const.BUDGET
        while target is not None and ttl < target.ttl == const.RESULT_TIMEOUT * 1_000 and steps:
            target.ttl = ttl
            self._let_expire(target)
            steps -= 1
            target = target.target
            if target is None or not target.made or len(target.dependents) > 1 or target.pins \
                    or target.watchers:
                return

    def _waits_for(self, one: Life, other: Life) -> bool:
        """Would `one` wait for `other`? Two searches take turns, from the one along what that waits
        for and from the other along what waits for it. If one is at its end there is no circle;
        so the shorter one decides, and nearly all tail calls are long one way only."""
        if one.state != PENDING or not other.dependents:
            return one is other
        return any(map(or_, reach(one, other, needs), reach(other, one, needed_by)))

    def _leases(self, pool: str) -> list[Life]:
        """What a pool has, in the order in which it would lose it."""
        return sorted((life for life in self.leased if life.owner == pool),
                      key=lambda life: (life.deadline, life.id))

    def reconcile(self, pool: str, known: set[bytes]) -> int:
        unknown = [life for life in self._leases(pool) if life.token not in known]
        for life in unknown:
            self.give_back(life)
        return len(unknown)

    def give_back(self, life: Life) -> None:
        """Its pool knows nothing of it: it is offered again, uncounted."""
        if life.flags & GATE:
            self._lose(life, '')
            return
        life.owner = None   # it was not settled: to do so now comes too late
        life.deliveries -= 1
        self._enqueue_first(life)

    def abandon(self, pool: str, cause: str) -> int:
        dead = self._leases(pool)
        for life in dead:
            self._lose(life, cause)
            self._follow_all()
        self.leave(pool)
        return len(dead)

    def join(self, pool: str, info: dict[str, str]) -> None:
        self.pools[pool] = info, self.now
        self.sides.join(info, self.now)

    def tell(self, pool: str, info: Mapping[str, str]) -> bool:
        if pool not in self.pools:
            return False
        known, seen = self.pools[pool]
        self.pools[pool] = {name: text for name, text in {**known, **info}.items() if text}, seen
        self.sides.join(info, self.now)
        return True

    def leave(self, pool: str) -> None:
        self.pools.pop(pool, None)
        self.sides.mix(self.now)

    def beside(self, pool: str, now: int) -> dict[str, dict[str, str]]:
        """What tells of the others of its place whether they live, if it is time for that."""
        place = self._place(pool)
        if place is None or 0 <= now - self._looked.get(place, -const.TICK) < const.TICK:
            return {}
        self._looked[place] = now
        return {other: {name: info.get(name, '') for name in ('pid', 'started')}
                for other, (info, _) in self.pools.items()
                if other != pool and self._place(other) == place}

    def _place(self, pool: str) -> tuple[str, str] | None:
        info, _ = self.pools.get(pool, ({}, 0))
        host, boot = info.get('host', ''), info.get('boot', '')
        return (host, boot) if host and boot else None
