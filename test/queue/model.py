"""A model of a task queue's users, for `hypothesis`: it drives queues with random steps.

All queues of a `Side` get the same calls; their answers must be equal. What each step must
leave behind is checked from outside as far as it can be seen there, and by ``audit``.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from test.queue.contract import HEADER, message, nonce
from test.queue.sides import Sides, check_order
from worq import const
from worq.queue import base
from worq.queue.base import Argument, Delivery, Held, Message, Outcome, unpack

IDS = ['a', 'b:', 'c c', 'd\n', 'é', 'f', '{g}', '%h']
ENDED = set(const.ENDS.values())
OVER = {None, *ENDED}
POOLS = ['p1', 'p2', 'p3']
CLIENTS = ['c1', 'c2']
LINKS = 2         # hops that a record tells, in here
OVERTAKEN = 2     # tasks that a fresh one lets go first, in here
LONG = 10 * const.DAY * 1_000    # ms: no result expires while the model runs
WORDS = ['value', 'failure', 'retry', 'delegate', 'delegate', 'release', 'refuse', 'unknown',
         'lost', 'expire']
COMINGS = ['restart', 'abandon', 'join', 'join', 'tell', 'leave']
FINAL = ['value', 'failure', 'expire']
NAMES = ['', 'mod.func', 'mod.func\nother', 'other\nthird']   # that a pool has told
LIVES = ['', 'now'] * 8 + ['wrong']   # which life an argument names

ids = st.sampled_from(IDS)
some_ids = st.lists(st.integers(0, 9), min_size=1, max_size=3)   # mostly of known tasks
pools = st.sampled_from(POOLS)
clients = st.sampled_from(CLIENTS)
words = st.sampled_from([b'', b'1/2', bytes(100)])   # of progress
picks = st.integers(0, 5)      # which of the latest deliveries or messages
plans = st.fixed_dictionaries({
    'id': ids,
    'duplicate': st.sampled_from([False] * 7 + [True]),
    'arguments': st.lists(st.tuples(st.integers(0, 20), st.sampled_from(LIVES)), max_size=3),
    'flags': st.sampled_from([0] * 5 + [base.PASS] * 3 + [base.IGNORE_RESULT, 3]
                             + [base.NEEDED] * 4 + [base.NEEDED | base.PASS] * 2),
    'priority': st.sampled_from([1, 1, 0, 2]),
    'delay': st.sampled_from([0, 0, 0, 300, 1_500, 9_000]),
    'lease': st.sampled_from([0, 0, 4_000, 40_000]),
    'max_deliveries': st.sampled_from([3, 1, 2, 5]),
    'expires': st.sampled_from([0] * 5 + [1, 700, 2_500, 20_000]),
    'body': st.sampled_from([b'', b'short', bytes(100)]),
    'header': st.sampled_from([HEADER] * 3 + [b'other', b'third\nretries 3', b'nobody']),
})
endings = st.tuples(picks, st.sampled_from(WORDS), st.integers(0, 9),
                    st.sampled_from([0, 700, 5_000]))


class Users(RuleBasedStateMachine):
    """Producers, pools and waiting clients that crash, repeat themselves and lose replies."""

    #: Whether what follows from an outcome may come with later ticks.
    lagging = False

    def sides(self) -> Sides:
        return Sides()

    def __init__(self) -> None:
        super().__init__()
        self.few = mock.patch.multiple(const, LINKS=LINKS, OVERTAKEN=OVERTAKEN)
        self.few.start()
        self.q = self.sides()
        self.messages: list[Message] = []        # all that were stored
        self.lives: dict[str, Message] = {}      # the last one stored of each id
        self.edges: dict[str, list[str]] = {}    # by nonce: the nonces of its arguments
        self.taken: list[tuple[str, Delivery]] = []           # all that was ever delivered
        self.held: dict[str, dict[bytes, str]] = {pool: {} for pool in POOLS}
        self.accepted: set[str] = set()          # nonces whose final outcome was accepted
        self.delegated: dict[str, Outcome] = {}  # by nonce: the tail call
        self.anew: dict[str, list[str]] = {}     # by nonce: what it was that is to be signed
        self.records: dict[str, bytes] = {}      # by nonce
        self.memos: dict[str, bytes] = {}        # by nonce: of the last retry
        self.behind: dict[str, str] = {}         # by nonce: the gate it was put with
        self.told: dict[str, bytes] = {}         # by nonce: progress of its last delivery
        self.sent: list[tuple[str, list[Outcome]]] = []
        self.states: dict[str, str | None] = {}
        self.sizes: dict[str, int] = dict.fromkeys(const.STATUS_VALUES, 0)

    @initialize(plans=st.lists(plans, min_size=3, max_size=5))
    def begin_with(self, plans: list[dict[str, Any]]) -> None:
        self.put(plans, False)

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.q.close()
            self.few.stop()

    # -- producers ------------------------------------------------------------

    def put(self, plans: list[dict[str, Any]], twice: bool, gate: str = '',
            client: str = '') -> None:
        messages: list[Message] = []
        for plan in plans:
            messages.append(self.message({**self.lives, **{m.id: m for m in messages}}, **plan))
        if any(one.flags & base.IGNORE_RESULT for one in messages):
            twice = False   # it may end at once, and would then begin anew
        answers = [self.q('put', messages, gate, client) for _ in range(1 + twice)]
        # What was pinned for what is left over is not so for ever.
        assert answers[0] == answers[-1] or self.lagging and answers[0][0].word == 'pinned'
        if not answers[-1]:
            for one in messages:
                self.lives[one.id] = one
                self.edges[one.nonce] = [self.lives[a.id].nonce for a in one.arguments]
                if gate:
                    self.behind[one.nonce] = gate
            self.messages += messages

    some_put = {'plans': st.lists(plans, min_size=1, max_size=3), 'twice': st.booleans(),
                'client': st.sampled_from(['', '', *CLIENTS])}
    put_some = rule(**some_put)(put)
    put_more = rule(**some_put)(put)

    def message(self, lives: dict[str, Message], id: str, duplicate: bool,
                arguments: list[tuple[int, str]], **options: Any) -> Message:
        """A message whose id is mostly free, and whose arguments mostly exist."""
        states = dict(zip(IDS, self.q('status', IDS), strict=True))
        put = set(lives) - set(self.lives)
        if not duplicate:
            free = [name for name, state in states.items()
                    if state in OVER and name not in put]
            id = free[IDS.index(id) % len(free)] if free else id
        edges: dict[str, tuple[str, bytes]] = {}
        known = [name for name, one in lives.items() if name != id and (duplicate or (
            not one.flags & base.IGNORE_RESULT and (states[name] or name in put)))]
        for pick, life in arguments:
            if pick == 20:
                edges['none'] = '', b''
            elif known:
                name = known[-1 - pick % len(known)]
                life = {'now': lives[name].nonce, 'wrong': nonce()}.get(life, life)
                edges[name] = life, f'{name}\xff'.encode() if pick % 4 else b''
        named = [Argument(name, life, seal) for name, (life, seal) in edges.items()]
        return message(id, *named, ttl=LONG, **options)

    def known(self, picks: list[int]) -> list[str]:
        """Ids of tasks that have been put, and one that never is."""
        ids = [*self.lives, 'none']
        return [ids[pick % len(ids)] for pick in picks]

    @precondition(lambda self: self.messages)
    @rule(pick=picks, client=st.sampled_from(['', *CLIENTS]))
    def put_again(self, pick: int, client: str) -> None:
        """A resend that comes late: its life may be over, or another one may have begun."""
        for one in self.latest(self.messages, pick):
            if self.lives[one.id] is one and self.q('status', [one.id]) != [None]:
                assert self.q('put', [one], '', client) == []

    @rule(picks=some_ids, twice=st.booleans())
    def cancel(self, picks: list[int], twice: bool) -> None:
        ids = self.known(picks)
        self.q('cancel', ids)
        if twice:
            assert not {'cancelled'} & set(self.q('cancel', ids))

    @precondition(lambda self: self.sizes['pending'] + self.sizes['enqueued'] > 2)
    @rule()
    def purge(self) -> None:
        processing = self.q('stats')['processing']
        assert self.q('purge') >= 0
        assert self.q('purge') == 0
        assert self.q('size') == processing

    @rule(picks=some_ids, twice=st.booleans())
    def forget(self, picks: list[int], twice: bool) -> None:
        ids = self.known(picks)
        words = self.q('forget', ids)
        if twice:
            again = self.q('forget', ids)
            for one, other in zip(words, again, strict=True):
                assert other == ('unknown' if one == 'forgotten' else one) \
                    or self.lagging and one == 'pinned'

    # -- those who wait -------------------------------------------------------

    @rule(client=clients, picks=some_ids, twice=st.booleans())
    def watch(self, client: str, picks: list[int], twice: bool) -> None:
        ids = self.known(picks)
        ended = self.q('watch', client, ids)
        if twice:
            assert self.q('watch', client, ids) == ended
        states = dict(zip(ids, self.q('status', ids), strict=True))
        for id, _ in ended:
            assert states[id] in OVER

    @rule(client=clients)
    def wait(self, client: str) -> None:
        self.q('wait', client, 0)
        assert self.q('wait', client, 0) == []

    # -- pools ----------------------------------------------------------------

    @precondition(lambda self: self.sizes['enqueued'])
    @rule(pool=pools, limit=st.integers(1, 4), lost=st.booleans())
    def take(self, pool: str, limit: int, lost: bool) -> None:
        self.received(pool, self.q('take', pool, limit), lost and limit > 2)

    @precondition(lambda self: self.taken)
    @rule(pool=pools, endings=st.lists(endings, max_size=3), limit=st.integers(0, 3),
          lost=st.booleans(), progress=words)
    def turn(self, pool: str, endings: list[tuple[Any, ...]], limit: int, lost: bool,
             progress: bytes) -> None:
        outcomes = self.outcomes(endings)
        held = self.holding(pool, progress)
        turn = self.q('turn', pool, outcomes, held, limit)
        self.settled(pool, outcomes, turn.settled)
        if lost and not limit:   # one that takes nothing may be sent again
            again = self.q('turn', pool, outcomes, held, limit)
            self.same_words(turn.settled, again.settled)
            self.same_lost(turn.lost, again.lost)
        self.beaten(pool, held, turn.lost)
        # What is long, or has many arguments for steps as small, is fetched by itself.
        fetched = [late.fetch() for late in turn.late]
        self.received(pool, turn.deliveries, lost, [one for one in fetched if one])

    @precondition(lambda self: self.sizes['enqueued'])
    @rule(pool=pools, limit=st.integers(1, 4), word=st.sampled_from([*FINAL, 'release', 'lost']))
    def work(self, pool: str, limit: int, word: str) -> None:
        """A pool that does as it should."""
        deliveries = self.q('take', pool, limit)
        self.received(pool, deliveries, False)
        outcomes = [Outcome(d.id, d.token, word, b'done') for d in deliveries]
        self.settled(pool, outcomes, self.q('settle', pool, outcomes))

    @precondition(lambda self: self.sent)
    @rule(pick=picks)
    def settle_again(self, pick: int) -> None:
        """A resend that comes late."""
        for pool, outcomes in self.latest(self.sent, pick):
            assert 'ok' not in self.q('settle', pool, outcomes)

    @precondition(lambda self: self.sizes['enqueued'])
    @rule(pool=pools, word=st.sampled_from(WORDS), delay=st.sampled_from([0, 700]))
    def work_otherwise(self, pool: str, word: str, delay: int) -> None:
        """A pool that ends one delivery in any way."""
        self.end_one(pool, word, delay, Argument('none', ''))

    @precondition(lambda self: self.sizes['enqueued'] and 'pending' in self.states.values())
    @rule(pool=pools, to=picks)
    def tail_call(self, pool: str, to: int) -> None:
        """A task that returns the Deferred of one that waits, perhaps for itself."""
        waiting = [id for id in self.lives if self.states[id] == 'pending']
        self.end_one(pool, 'delegate', 0, Argument(waiting[to % len(waiting)], ''))

    def end_one(self, pool: str, word: str, delay: int, target: Argument) -> None:
        deliveries = self.q('take', pool, 1)
        self.received(pool, deliveries, False)
        outcomes = [Outcome(d.id, d.token, word, b'done', delay, target) for d in deliveries]
        self.settled(pool, outcomes, self.q('settle', pool, outcomes))

    def received(self, pool: str, deliveries: list[Delivery], lost: bool,
                 fetched: Sequence[Delivery] = ()) -> None:
        check_order(self.messages, deliveries)
        for delivery in [*deliveries, *fetched]:
            life = delivery.token[:const.NONCE].decode()
            one = next(one for one in self.messages if one.nonce == life)
            assert delivery[3:5] == (one.header, one.body) and delivery.id == one.id
            if life in self.delegated:
                self.is_anew(life)
            assert delivery.memo == self.memos.get(life, b'')
            assert life not in self.accepted and life not in self.delegated
            assert [id for id, _ in delivery.arguments] == \
                [a.id for a in one.arguments] + self.anew.get(life, [])
            got = [unpack(raw).nonce for _, raw in delivery.arguments]
            assert got == self.edges[life], 'taken before its arguments had completed'
            self.taken.append((pool, delivery))
            self.told[life] = b''
            if not lost:
                self.held[pool][delivery.token] = delivery.id
        if lost:
            self.q('reconcile', pool, list(self.held[pool]))

    def is_anew(self, life: str) -> None:
        """Its tail call has ended, and it is to be signed anew."""
        call = self.delegated.pop(life)
        assert call.target and call.data
        self.memos[life], nonce = call.data, self.lives[call.target.id].nonce
        if nonce not in self.edges[life][-1:]:   # it may return that once more
            self.anew.setdefault(life, []).append(call.target.id)
            self.edges[life] = [*self.edges[life], nonce]

    def settle(self, pool: str, endings: list[tuple[Any, ...]], twice: bool, other: bool) -> None:
        """Outcomes of deliveries that are in force, or were some time ago."""
        outcomes = self.outcomes(endings)
        if outcomes and not other:   # mostly it is the pool's own
            pool = next(p for p, d in self.taken if d.token == outcomes[0].token)
        words = self.q('settle', pool, outcomes)
        self.settled(pool, outcomes, words)
        if twice:
            self.same_words(words, self.q('settle', pool, outcomes))

    def same_words(self, words: list[str], later: list[str]) -> None:
        for first, again in zip(words, later, strict=True):
            # What ignores its result may have ended meanwhile by what the first call led to.
            assert again == first or (first, again) in [
                ('ok', 'again'), ('ok', 'gone'), ('stale', 'gone'), ('aside', 'again'),
                ('aside', 'gone')] or first == 'again', (first, again)

    settling = precondition(lambda self: self.taken)
    some_settled = {'pool': pools, 'endings': st.lists(endings, min_size=1, max_size=3),
                    'twice': st.booleans(), 'other': st.sampled_from([False] * 3 + [True])}
    settle_some = settling(rule(**some_settled)(settle))
    settle_more = settling(rule(**some_settled)(settle))

    def outcomes(self, endings: list[tuple[Any, ...]]) -> list[Outcome]:
        outcomes = []
        for pick, word, target, delay in endings:
            for _, d in self.latest(self.taken, pick):
                to, = self.known([target])
                life = self.lives[to].nonce if pick % 2 and to in self.lives else ''
                data = b'' if word == 'delegate' and pick == 3 else f'{word} {pick}'.encode()
                outcomes.append(Outcome(d.id, d.token, word, data, delay,
                                        Argument(to, life)))
        return outcomes

    def settled(self, pool: str, outcomes: list[Outcome], words: list[str]) -> None:
        assert len(words) == len(outcomes)
        self.sent.append((pool, outcomes))
        for outcome, word in zip(outcomes, words, strict=True):
            self.held[pool].pop(outcome.token, None)
            life = outcome.token[:const.NONCE].decode()
            if word != 'ok':
                continue
            assert life not in self.accepted, 'a second outcome was accepted'
            if outcome.word in FINAL:
                self.accepted.add(life)
            elif outcome.word == 'delegate':
                self.delegated[life] = outcome
            elif outcome.word == 'retry':
                self.memos[life] = outcome.data

    @precondition(lambda self: any(self.held.values()))
    @rule(pool=pools, twice=st.booleans(), progress=words)
    def beat(self, pool: str, twice: bool, progress: bytes) -> None:
        held = self.holding(pool, progress)
        lost = self.q('beat', pool, held)
        if twice:
            self.same_lost(lost, self.q('beat', pool, held))
        self.beaten(pool, held, lost)

    def same_lost(self, lost: list[base.Lost], later: list[base.Lost]) -> None:
        for first, again in zip(lost, later, strict=True):
            # What ignores its result may have ended meanwhile by what was left over.
            life = first.token[:const.NONCE].decode()
            ignored = any(one.nonce == life and one.flags & base.IGNORE_RESULT
                          for one in self.messages)
            assert again == first or self.lagging and ignored and \
                again == first._replace(word='cancelled'), (first, again)

    def holding(self, pool: str, progress: bytes) -> list[Held]:
        return [Held(id, token, progress) for token, id in self.held[pool].items()]

    def beaten(self, pool: str, held: list[Held], lost: list[base.Lost]) -> None:
        gone = [one.token for one in lost]
        for one in held:
            if one.token not in gone and one.progress:
                self.told[one.token[:const.NONCE].decode()] = one.progress
        for one in lost:
            self.held[pool].pop(one.token, None)

    @precondition(lambda self: self.taken)
    @rule(pool=pools, pick=picks, progress=words)
    def stale_beat(self, pool: str, pick: int, progress: bytes) -> None:
        for _, d in self.latest(self.taken, pick):
            held = [Held(d.id, d.token, progress)]
            self.beaten(pool, held, self.q('beat', pool, held))

    @rule(pool=pools, event=st.sampled_from(COMINGS), tasks=st.sampled_from(NAMES))
    def pool_comes_or_goes(self, pool: str, event: str, tasks: str) -> None:
        told = {'tasks': tasks} if tasks else {}
        if event == 'restart':   # a pool of this name that knows nothing of what it had
            self.q('reconcile', pool, [])
            assert self.q('reconcile', pool, []) == 0
        elif event == 'abandon':
            self.q('abandon', pool, 'killed')
            assert self.q('abandon', pool, 'killed') == 0
        elif event == 'join':
            for _ in range(2):
                self.q('join', pool, {'host': pool, **told})
            return
        elif event == 'tell':
            for _ in range(2):
                self.q('tell', pool, {'kind': 'x', 'host': '', 'tasks': tasks})
            return
        else:
            for _ in range(2):
                self.q('leave', pool)
        self.held[pool].clear()

    @rule(ms=st.sampled_from([1, 300, 1_000, 1_100, 1_100, 2_000, 3_900]))
    def time_passes(self, ms: int) -> None:
        self.q.advance(ms)

    @precondition(lambda self: self.sizes['processing'])
    @rule(seconds=st.integers(5, 20))
    def lease_runs_out(self, seconds: int) -> None:
        for _ in range(seconds):
            self.tick()

    @precondition(lambda self: self.sizes['processing'])
    @rule(ms=st.sampled_from([5_500, 16_000, 45_000, 95_000]), seconds=st.integers(1, 20))
    def gap(self, ms: int, seconds: int) -> None:
        """The backend was away, or no pool was there."""
        self.q.advance(ms)
        for _ in range(seconds):
            self.tick()

    @precondition(lambda self: self.q.now > 500_000)
    @rule(ms=st.sampled_from([700, 1_200, 30_000]))
    def clock_is_set_back(self, ms: int) -> None:
        self.q.advance(const.TICK)   # what is about to go does: Redis would keep it longer
        self.q('beat', 'ticker')
        self.q('status', IDS)   # so that what is over is seen to be
        self.q.advance(-ms)

    def tick(self) -> None:
        self.q.advance(const.TICK)
        self.q('beat', 'ticker')

    # -- what always holds ----------------------------------------------------

    @invariant()
    def agreed(self) -> None:
        """All queues are sound and show the same."""
        for queue in self.q.queues:
            wrong = queue.audit()
            assert wrong == [], f'{queue!r}: {wrong}'
        self.sizes = self.q('stats')
        self.q('size')
        self.q('oldest')
        self.q('pools')
        states = self.states = dict(zip(IDS, self.q('status', IDS), strict=True))
        for id, raw in zip(IDS, self.q('results', IDS), strict=True):
            assert (raw is not None) == (states[id] in ENDED), (id, raw)
            if raw is not None:
                life = unpack(raw).nonce
                assert life == self.lives[id].nonce
                assert states[id] == const.ENDS[unpack(raw).kind]
                assert self.records.setdefault(life, raw) == raw, 'an outcome has changed'
        self.check_edges(states)
        self.check_inspections()

    def check_edges(self, states: dict[str, str | None]) -> None:
        """What is ready has all its arguments; what is pending lacks some, or has called."""
        for id, state in states.items():
            if state in OVER:
                continue
            one = self.lives[id]
            lacks = [a.id for a in one.arguments if states[a.id] not in ENDED]
            if state == 'pending':
                assert lacks or one.nonce in self.delegated or self.untold(one) \
                    or one.nonce in self.behind, id
            else:
                assert not lacks, (id, lacks)

    def untold(self, one: Message) -> bool:
        """Whether it may not have heard of an argument that is completed.

        When a reader meets what is too late to begin, its dependents are told later.
        """
        records = self.q('results', [a.id for a in one.arguments])
        return self.lagging or any(raw and unpack(raw).kind == base.EXPIRED for raw in records)

    def check_inspections(self) -> None:
        """What is seen of a task is what was told of it."""
        for id, seen in zip(IDS, self.q('inspect', IDS), strict=True):
            state = self.states[id]
            assert (seen and seen.state) == state, (id, seen)
            if seen is None:
                continue
            one = self.lives[id]
            assert (seen.nonce, seen.lost) == (one.nonce, '')
            if state in ('enqueued', 'processing', 'scheduled') and one.nonce in self.delegated:
                self.is_anew(one.nonce)
            if state in ENDED:
                continue
            assert seen.header == one.header
            assert seen.memo == self.memos.get(one.nonce, b'')
            if state == 'processing':
                assert seen.progress == self.told[one.nonce]
                assert seen.pool in [*POOLS, 'drain']
            elif state == 'pending' and not seen.target and not self.untold(one):
                lacks = [a.id for a in one.arguments if self.states[a.id] not in ENDED]
                assert (seen.open, list(seen.arguments)) == (len(lacks), lacks)

    def drain(self) -> None:
        """Pools that do their work finish everything; nothing waits for ever, nothing leaks."""
        for _ in range(300):
            self.tick()
            while deliveries := self.q('take', 'drain', 10):
                self.q('settle', 'drain', [
                    Outcome(d.id, d.token, 'value') for d in deliveries])
            if not self.q('size'):
                break
        assert self.q('size') == 0, self.q('status', IDS)
        for _ in range(1 + 40 * self.lagging):
            self.tick()
        self.agreed()
        self.agreed_at_last()
        assert set(self.q('forget', IDS)) <= {'forgotten', 'unknown'}
        self.agreed()

    def agreed_at_last(self) -> None:
        """What holds when everything has ended some time ago."""

    def latest(self, things: Sequence[Any], pick: int) -> Sequence[Any]:
        """The one that is `pick`-th from the end, if there are so many."""
        return things[-1 - pick:][:1] if pick < len(things) else []
