"""What all pools share: who they are, how much they take, and their side of the queue.

No pool knows another kind of pool; all of them talk to the queue through a `Desk`.
"""
from __future__ import annotations

from collections import deque
import os
from threading import Lock
import time
from typing import Callable, Container, Iterable, Sequence

from worq.core import Broker
from worq.errors import QueueError, TooLarge, WorqError
from worq.ids import new_nonce
from worq.printable import logger
from worq.pool.courier import Courier, settle_alone
from worq.pool.prefetch import task_lease
from worq.pool.tally import Counts, tell_counts
from worq.pool.liveness import bury_dead, cause_of_death, describe, started
from worq.queue.base import Delivery, Held, Late, Lost, Outcome, TaskQueue, Turn

__all__ = ['Desk', 'Error', 'describe', 'cause_of_death', 'check_broker', 'check_schema',
           'started']

log = logger(__name__)

PATIENCE = 0.05     # seconds that a task waits behind a long one before it is given back
PAUSE = 0.05, 2.0   # seconds between tries to reach a lost queue: first and last
SAY_AGAIN = 30.0    # seconds between two log lines about a queue that stays away ...
SAY_LAST = 3600.0   # ... or has another schema, but then they grow up to this
BEAT = 1.0          # seconds between two beats while something is held: a cancel is noticed so soon
FULL = 64 << 20     # bytes of outcomes under way, after which a pool takes no more
TRIES = 3           # to fetch what is long, of a queue that can be reached
NAMES = 64 << 10    # bytes of the names of tasks that a pool tells; more are not told at all


class Error(WorqError):
    """A pool was asked for what it cannot do in the state it is in."""


def check_broker(broker: object) -> None:
    """Raise a TypeError for anything but a broker, as for a queue or a URL in its place."""
    if not isinstance(broker, Broker):
        raise TypeError(f'a pool is made of a broker, as get_broker(url), not of {broker!r}')


def check_schema(backend: TaskQueue) -> None:
    """Raise a QueueError if the data of the queue is for another version of WorQ.

    A queue that is away says nothing of that: the pool finds out when it is back.
    """
    try:
        with backend.within(0):
            backend.ping()
    except QueueError as error:
        if error.schemas:
            raise


# -- the queue, as a pool sees it ---------------------------------------------------

class Desk:
    """A pool's side of its queue: what it holds, and what it still has to tell.

    Duties: 1. settle, beat and take in one step; 2. stand an outage: keep outcomes until
    they can be told, reconcile, go on; 3. tell alone what is long, or has failed in company,
    and fetch what is long; 4. take over from pools of this host that are dead.

    A queue that is away raises nothing here. Only one thread at a time may take, for what is
    taken must be known before anybody reconciles; all may settle and beat.

    :param backend: the queue.
    :param lease: ms that a task is leased for, unless it says otherwise.
    :param look: called before each beat; it may enter what is new in `progress`.
    :param wake: called, in another thread, when something has come that the next turn brings;
        None: what is long is fetched by who asks for it, see ``fetched``.
    :param kind: of the pool, see `describe`; and so for `size`.
    """

    def __init__(self, backend: TaskQueue, lease: int,
                 look: Callable[[], None] = lambda: None,
                 wake: Callable[[], object] | None = None, kind: str = '', size: int = 0) -> None:
        self.backend = backend
        self.lease = lease
        self.look = look
        self.info = describe(kind, size)
        if backend.unknown_grace is not None:
            self.info['unknown_grace'] = str(backend.unknown_grace)
        self.pool = f'{self.info["host"]}:{os.getpid()}:{new_nonce()}'
        self.held: dict[bytes, Delivery | Late] = {}   # by token: leased, and not yet settled
        self.counts = Counts()                  # of what was settled; goes along with a beat
        self.short: dict[bytes, int] = {}       # token to ms, for shorter leases
        self.progress: dict[bytes, bytes] = {}  # by token; goes along with the next beat
        self._settling: set[bytes] = set()      # tokens of what is being told
        self.untold: list[Outcome] = []         # could not be settled yet
        self._suspect = False                   # ... and they had been tried before
        self._courier = Courier(self._tell, 'worq-courier')
        self._wake = wake
        self._porter = Courier(self._carry, 'worq-porter')
        self.late: deque[Late] = deque()        # taken, not yet fetched
        self.brought: deque[Delivery] = deque()  # fetched; they come with the next turn
        self._missed: deque[Lost] = deque()     # so do these
        self._lock = Lock()                     # around untold, never around the queue
        self._joined = False
        self._news: dict[str, str] = {}         # what is to be told of the pool
        self._away_since: float | None = None   # monotonic, as all times here
        self._retry_at = 0.0
        self._pause = PAUSE[0]
        self._say_at = self._say_alone_at = 0.0
        self._say_pause = SAY_AGAIN
        self.beat_at = 0.0                      # when the next beat is due
        self._bury_at = 0.0

    def __repr__(self) -> str:
        return f'<Desk {self.pool} of {self.backend!r}, {len(self.held)} held>'

    @property
    def away(self) -> float:
        """Seconds until the queue is tried again; 0 while it can be reached."""
        if self._away_since is None:
            return 0.0
        return max(self._retry_at - time.monotonic(), 0.001)

    @property
    def owes(self) -> bool:
        """Whether there are outcomes that the queue has not been told."""
        return bool(self.untold) or len(self._courier) > 0

    @property
    def beat_in(self) -> float:
        """Seconds until the next heartbeat is due."""
        return max(self.beat_at - time.monotonic(), 0.0)

    # 1. -- settle, beat, take ------------------------------------------------

    def turn(self, outcomes: list[Outcome], limit: int) -> tuple[list[Delivery], list[Lost]]:
        """Settle what is done, beat if it is time, take up to `limit`; in one round trip.

        :returns: what was taken, or fetched, and what is not ours any more.
        """
        deliveries, lost = self._turn(outcomes, limit)
        while self.brought:
            deliveries.append(self.brought.popleft())
        while self._missed:
            lost.append(self._missed.popleft())
        return deliveries, lost

    def _turn(self, outcomes: list[Outcome], limit: int) -> tuple[list[Delivery], list[Lost]]:
        if outcomes and self.backend.heavy:
            outcomes = self._light(outcomes)
        suspect = False
        if self.untold:
            with self._lock:
                outcomes, self.untold = self.untold + outcomes, []
                suspect, self._suspect = self._suspect, False
        if limit and self._courier and \
                sum(len(one.data) for one in self._courier.all()) > FULL:
            limit = 0
        now = time.monotonic()
        if self._away_since is not None and now < self._retry_at:
            self._keep(outcomes, suspect)
            return [], []
        beats = now >= self.beat_at
        settled: set[bytes] = set()
        if outcomes:
            settled = {outcome.token for outcome in outcomes}
            self._settling |= settled
        held = self._all_held(settled) if beats else None
        try:
            if not self._joined or self._away_since is not None:
                self._arrive()
            turn = self.backend.turn(self.pool, outcomes, held, limit, self.lease) \
                if outcomes or beats or limit else Turn([], [], [])
        except QueueError as error:
            self._failed(outcomes, error, suspect)
            return [], []
        except BaseException:
            self._give_up(outcomes)
            raise
        if outcomes:
            self._settled(outcomes, turn.settled)
        held_now = self.held
        for delivery in turn.deliveries:
            held_now[delivery.token] = delivery
            if b'\n' not in delivery.header:   # it has no options
                continue
            lease = task_lease(delivery.header)
            if lease is not None and lease < self.lease:
                self.short[delivery.token] = lease
                self.beat_at = min(self.beat_at, now + lease / 3000)
        if turn.late:
            for late in turn.late:
                self.held[late.token] = late
                lease = task_lease(late.header)
                if lease is not None and lease < self.lease:
                    self.short[late.token] = lease
            self.beat_at = min(self.beat_at, now + min([self.lease, *self.short.values()]) / 3000)
            if self._wake is None:
                self.late.extend(turn.late)
            else:
                self._porter.add(turn.late)
        try:
            lost = [] if held is None else self._beaten(now, held, turn.lost)
        except BaseException:
            self._give_up(turn.deliveries)
            raise
        if turn.deliveries or turn.late:
            self.beat_at = min(self.beat_at, now + BEAT)
        return turn.deliveries, lost

    def settle(self, outcomes: list[Outcome]) -> None:
        """Settle only; what cannot be settled now goes along with a later turn."""
        if self.backend.heavy:
            outcomes = self._light(outcomes)
        self._settling.update([outcome.token for outcome in outcomes])
        try:
            if self._away_since is None:
                self._settled(outcomes, self.backend.settle(self.pool, outcomes))
            else:
                self._keep(outcomes)
        except QueueError as error:
            self._failed(outcomes, error)
        except BaseException:
            self._give_up(outcomes)
            raise

    def beat(self) -> list[Lost]:
        """Beat only, if it is time; returns what is not ours any more."""
        now = time.monotonic()
        if now < self.beat_at or now < self._retry_at or not self._joined:
            return []
        # Also while the queue is thought to be away: workers that are busy make no turn.
        held = self._all_held()
        try:
            lost = self.backend.beat(self.pool, held, self.lease)
        except QueueError as error:
            self._gone(error)
            return []
        return self._beaten(now, held, lost)

    def _all_held(self, but: Container[bytes] = ()) -> list[Held]:
        self.look()
        progress = self.progress
        return [Held(one.id, token, progress.get(token, b'') if progress else b'')
                for token, one in list(self.held.items()) if token not in but]

    def _beaten(self, now: float, held: list[Held], lost: list[Lost]) -> list[Lost]:
        if self.counts:
            self.counts.tell(self.backend, self.pool, now)
        pause = min([self.lease, *list(self.short.values())]) / 3000
        # another thread may have taken something while this one told that there was nothing
        self.beat_at = now + (min(pause, BEAT) if held or self.held or self.counts else pause)
        if self.progress:
            for _, token, told in held:
                if told and self.progress.get(token) is told:
                    self.progress.pop(token, None)
        # What another thread has settled meanwhile is not ours, but that is no news.
        # A token leaves `_settling` after `held`, so they are asked in this order.
        lost = [one for one in lost
                if one.token not in self._settling and one.token in self.held]
        for one in lost:
            self._drop(one.token)
        if now >= self._bury_at:
            self._bury_at = now + self.lease / 3000
            self._bury()
        self.beat_at = min(self.beat_at, self._bury_at)
        if self._news:
            self._rejoin()
        return lost

    def _keep(self, outcomes: list[Outcome], suspect: bool = False) -> None:
        self._settling.difference_update([outcome.token for outcome in outcomes])
        with self._lock:
            self.untold = outcomes + self.untold
            self._suspect |= suspect

    def _give_up(self, these: Iterable[Outcome | Delivery]) -> None:
        """After a fault of our own: beat no more for what will never be told."""
        for one in these:
            self._drop(one.token)

    def forget(self, token: bytes) -> None:
        """Beat no more for a delivery: its task will be lost with its lease."""
        self._drop(token)

    def _settled(self, outcomes: Sequence[Outcome], words: Iterable[str]) -> None:
        counted = []
        if self.short or self.progress:
            for outcome in outcomes:
                self.short.pop(outcome.token, None)
                self.progress.pop(outcome.token, None)
        pop, done = self.held.pop, self._settling.discard
        for outcome, word in zip(outcomes, words):
            token = outcome.token
            delivery = pop(token, None)
            done(token)   # behind the other: see `_beaten`
            if (word == 'ok' or word == 'again') and delivery is not None:
                counted.append((delivery, outcome))
            if outcome.word == 'unknown' and word == 'ok':   # else another pool may have it
                log.error('%s: no such task, and no pool that lives has it', outcome.id)
            if word == 'stale':
                log.warning('the outcome of %s came too late: it had been cancelled, or given '
                            'to another pool', outcome.id)
        if counted:
            self.counts.add(counted)

    def _drop(self, token: bytes) -> Delivery | Late | None:
        delivery = self.held.pop(token, None)
        self._settling.discard(token)
        if self.short:
            self.short.pop(token, None)
        if self.progress:
            self.progress.pop(token, None)
        return delivery

    def tell_names(self, names: Iterable[str]) -> None:
        """Let the queue know, with the next beat, which tasks can be run here."""
        text = '\n'.join(sorted(names))
        # a part of them would mislead
        self.tell('tasks', text if len(text.encode('utf-8', 'replace')) <= NAMES else '')

    def tell(self, word: str, text: str, soon: bool = True) -> None:
        """Let the queue know something else of the pool, with the next beat; empty: no more.

        :param soon: have that beat at once.
        """
        if text != self.info.get(word, ''):
            self.info.pop(word, None)
            if text:
                self.info[word] = text
            self._news[word] = text
            if soon:
                self.beat_at = 0.0

    def _rejoin(self) -> None:
        news, self._news = self._news, {}
        try:
            if not self.backend.tell(self.pool, news):
                self.backend.join(self.pool, self.info)
        except QueueError as error:  # then the next beat, or whoever comes back, does it
            log.debug('could not tell what is new of the pool: %s', error)
            self._news = {**news, **self._news}

    # 2. -- an outage ---------------------------------------------------------

    def _arrive(self) -> None:
        """Before anything else, and after an outage: be known, and own what we know of."""
        if not self._joined:
            self.backend.join(self.pool, self.info)
            self._joined = True
            self._news = {}
            # Again soon: another may have looked just before our forerunner died.
            self._bury_at = time.monotonic() + BEAT
            self._bury()
        if self._away_since is None:
            return
        # Something that was taken may have been lost with its reply.
        self.backend.join(self.pool, self.info)
        released = self.backend.reconcile(self.pool, list(self.held))
        log.warning('the queue %s is back after %.1f seconds; %d tasks were released',
                    self.backend.safe_url, time.monotonic() - self._away_since, released)
        self._away_since = None
        self._pause = PAUSE[0]

    def _failed(self, outcomes: list[Outcome], error: QueueError, suspect: bool = False) -> None:
        """After a step that has failed: one of its outcomes may be to blame.

        :param suspect: whether some of them have failed before. Whatever was wrong with the queue,
            it had answered since.
        """
        blamed = isinstance(error, TooLarge)
        if blamed or suspect and self._away_since is None:
            self._settling.difference_update([outcome.token for outcome in outcomes])
            self._courier.add(outcomes)
        else:
            self._keep(outcomes, True)
        if not blamed:
            self._gone(error)

    def _gone(self, error: QueueError) -> None:
        now = time.monotonic()
        if self._away_since is None:
            self._away_since = now
            self._say_at = now
            self._say_pause = SAY_AGAIN
        if now >= self._say_at:
            self._say_at = now + self._say_pause
            if error.schemas:   # for as long as nobody upgrades
                self._say_pause = min(2 * self._say_pause, SAY_LAST)
                log.error('take nothing from the queue %s: %s', self.backend.safe_url, error)
            else:
                log.error('lost the queue %s, and will try again: %s', self.backend.safe_url, error)
        self.beat_at = 0.0  # beat first when it is back
        self._retry_at = now + self._pause
        # A short lease that is still ours must not run out while nobody tries.
        self._pause = min(2 * self._pause, PAUSE[1], *(
            lease / 6000 for lease in list(self.short.values())))

    def leave(self, patience: float = 0.0) -> None:
        """Be forgotten by the queue. What cannot be settled will be lost with its lease.

        :param patience: seconds that are spent on trying to settle it; it is tried once, anyhow.
        """
        limit = time.monotonic() + patience
        while self.untold:
            self._retry_at = 0.0
            self.turn([], 0)
            if time.monotonic() >= limit:
                break
            time.sleep(self.away)
        self._courier.wait(patience)
        untold = len(self.untold) + self._courier.close()
        if untold:
            log.error('%d outcomes could not be settled in the queue %s, their tasks will run '
                      'again', untold, self.backend.safe_url)
        try:
            tell_counts(self.backend, self.pool, self.counts)
            self.backend.leave(self.pool)
        except QueueError as error:
            log.warning('could not deregister the pool: %s', error)
        self._joined = False

    # 3. -- alone -------------------------------------------------------------

    def _light(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Those that go together; the long ones go alone, and nobody waits for them."""
        heavy = self.backend.heavy
        long = [outcome for outcome in outcomes if len(outcome.data) >= heavy]
        if not long:
            return outcomes
        self._courier.add(long)
        return [outcome for outcome in outcomes if len(outcome.data) < heavy]

    def _tell(self, outcome: Outcome) -> bool:
        """Settle one alone, in the courier's thread; whether it is done with."""
        token = outcome.token
        if token not in self.held:   # it was lost on the way
            return True
        self._settling.add(token)
        try:
            words = settle_alone(self.backend, self.pool, outcome)
        except QueueError as error:
            self._settling.discard(token)
            now = time.monotonic()
            if self._away_since is None and now >= self._say_alone_at:   # else that is said
                self._say_alone_at = now + SAY_AGAIN
                log.warning('could not settle %s, and will try again: %s', outcome.id, error)
            return False
        except BaseException:
            self._give_up([outcome])
            raise
        self._settled([outcome], words)
        return True

    @property
    def coming(self) -> int:
        """How many deliveries are being fetched, or come with the next turn."""
        return len(self._porter) + len(self.brought)

    def _carry(self, late: Late) -> bool:
        delivery = self._fetch(late)
        if delivery is not None and self._wake is not None:
            self.brought.append(delivery)
            self._wake()
        return True

    def miss(self, lost: list[Lost]) -> None:
        """Have the next turn tell of these."""
        self._missed.extend(lost)
        if lost and self._wake is not None:
            self._wake()

    def fetched(self) -> list[Delivery]:
        """Fetch one delivery that is long, waiting for it; nothing if there is none."""
        while self.late:
            try:
                delivery = self._fetch(self.late.popleft())
            except IndexError:   # another thread was quicker
                break
            if delivery is not None:
                return [delivery]
        return []

    def unfetched(self) -> list[Outcome]:
        """Have nothing more fetched; what gives back those that are not under way."""
        late = self._porter.take_back()
        while self.late:
            try:
                late.append(self.late.popleft())
            except IndexError:
                break
        return [Outcome(one.id, one.token, 'release') for one in late]

    def _fetch(self, late: Late) -> Delivery | None:
        """A whole delivery; None if it is not ours any more, or cannot be had and that is told."""
        tries, pause = 0, PAUSE[0]
        while late.token in self.held:
            try:
                delivery = late.fetch()
                if delivery is None:
                    self._drop(late.token)
                return delivery
            except Exception as error:
                tries += int(self._away_since is None)
                if tries >= TRIES:
                    text = f'its arguments cannot be read: {error or type(error).__name__}'
                    self.settle([Outcome(late.id, late.token, 'lost', text.encode())])
                    return None
            time.sleep(pause)
            pause = min(2 * pause, PAUSE[1])
        return None

    # 4. -- the dead ----------------------------------------------------------

    def _bury(self) -> None:
        try:
            bury_dead(self.backend, self.pool, self.info)
        except QueueError as error:
            log.debug('could not look for dead pools: %s', error)
