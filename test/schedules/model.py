"""A model of pools that put the runs of schedules, for `hypothesis`: they die between any two
steps, lose replies, stand by while others go on, have clocks of their own and code of two deploys.
People set, pause, resume, run and forget schedules meanwhile.

Each queue of a `Sides` gets the same calls, and must give the same answers. What must hold:

1. No slot has two runs.
2. None is left out: each had a run, or counts as missed or as skipped.
3. None has its run before its moment, by the queue's clock.
"""
from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any, Callable
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import worq
from test.queue.sides import Sides
from worq import QueueError, const
from worq.queue.base import Message, Note, Outcome, Refusal
from worq.schedules import call, firing
from worq.schedules.firing import Firing
from worq.schedules.record import PREFIX, Record, decode
from worq.schedules.store import read, read_all
from worq.timing import checked

__all__ = ['Schedulers']

MINUTE = 60_000
#: Schedules that people set: each has a slot every minute, whatever becomes of it.
BY_HAND: dict[str, dict[str, Any]] = {
    'last': {'every': 60, 'overlap': 'queue'},
    'all': {'cron': '* * * * *', 'missed': 'all'},
    'skip': {'every': 60, 'missed': 'none', 'spread': 20},
    'cancel': {'cron': '* * * * *', 'overlap': 'cancel', 'zone': 'Asia/Kolkata'},
}
#: What two deploys say of the task `report`, and one that has it no more.
DEPLOYS: list[dict[str, Any]] = [{'every': 60, 'overlap': 'queue'},
                                 {'cron': '*/2 * * * *', 'missed': 'all'}, {}]
POOLS = 4
ASKEW = 0, 0, 0, 120_000, -120_000, -3_000   # ms that a pool's notion of the queue's clock is wrong
EVENTS = 'nothing', 'nothing', 'kill', 'lose', 'other', 'other'
KNOWN = 1_000    # slots, of more of which it is not exactly known how many were missed

names = st.sampled_from(sorted(BY_HAND))
keys = st.integers(0, POOLS - 1)


class Killed(BaseException):
    """The pool has died here."""


class Through:
    """The queues as a pool sees them: with one of its next calls something happens.

    :param verbs: calls a verb of them all.
    :param put: is told what was put.
    """

    def __init__(self, verbs: Callable[..., Any], put: Callable[[Message], None]) -> None:
        self._verbs = verbs
        self._put = put
        self._calls = 0
        self.name = 'model'
        self.when, self.at = '', 0   # before or after the how many next call ...
        self.event: Callable[[], object] = lambda: None   # ... this happens

    def put(self, messages: list[Message], note: Note) -> list[Refusal]:
        def put() -> list[Refusal]:
            refusals: list[Refusal] = self._verbs('put', messages, '', '', note)
            if not refusals:
                self._put(messages[0])
            return refusals
        return self._happen(put)

    def notes(self, prefix: str = '', after: str = '', limit: int = 100,
              ) -> list[tuple[str, bytes]]:
        page: list[tuple[str, bytes]] = self._happen(
            lambda: self._verbs('notes', prefix, after, limit))
        return page

    def __getattr__(self, verb: str) -> Callable[..., Any]:
        return lambda *args: self._happen(lambda: self._verbs(verb, *args))

    def _happen(self, do: Callable[[], Any]) -> Any:
        self.at -= 1
        due, event = self.at == 0, self.event
        if due and self.when == 'before':
            event()
        answer = do()
        if due and self.when == 'after':
            event()
        return answer


class Pool:
    """A pool's part in schedules, with clocks of its own."""

    def __init__(self, model: Schedulers, deploy: int, askew: int) -> None:
        self.model = model
        self.queue = Through(model.q, model.was_put)
        self.begun = model.q.now
        self.slept = 0   # ms for which its machine was suspended
        wrong = (lambda: model.q.now + askew) if askew else None
        self.firing = Firing(self.queue, model.codec, wrong)   # type: ignore[arg-type]
        if DEPLOYS[deploy]:
            self.firing.declare({'report': checked(**DEPLOYS[deploy])})

    def look(self) -> None:
        """As its thread does; its clocks have nothing to do with those of others."""
        seconds = (self.model.q.now - self.begun - self.slept) / 1000
        with mock.patch.object(firing, 'time', SimpleNamespace(monotonic=lambda: 7.0 + seconds)):
            self.firing.look()


class Schedulers(RuleBasedStateMachine):
    """Pools that put runs, and people who steer them."""

    def sides(self) -> Sides:
        return Sides()

    def __init__(self) -> None:
        super().__init__()
        self.q = self.sides()
        self.broker = worq.get_broker('memory://', self.q.name)
        self.codec = self.broker.codec
        self.people = Through(self.q, lambda message: None)
        self.broker.backend = self.people   # type: ignore[assignment]
        self.pools: dict[int, Pool] = {}
        self.lives: Counter[str] = Counter()       # of each schedule: how often it was forgotten
        self.put: set[tuple[str, int, int]] = set()   # name, life, slot: for which there was a run
        self.by_hand: Counter[str] = Counter()     # runs that people wanted, of the present life
        self.first: dict[str, int] = {}            # the first slot of the present life
        self.faults: list[str] = []                # told later, not in the midst of a pool's look
        self.wrong = False                         # whether a clock was wrong, ever
        self.held: list[Any] = []                  # deliveries of what runs

    def teardown(self) -> None:
        try:
            self.settle_down()
        finally:
            self.q.close()
            self.broker.close()

    # -- pools --------------------------------------------------------------------------

    @rule(key=keys, deploy=st.integers(0, 2), askew=st.sampled_from(ASKEW))
    def deploy(self, key: int, deploy: int, askew: int) -> None:
        """A pool dies, and one of the same code or another takes its place."""
        self.pools[key] = Pool(self, deploy, askew)
        self.wrong = self.wrong or askew > 0
        self.look(key, 'before', 0, 'nothing', key)

    @rule(key=keys, when=st.sampled_from(['before', 'after']), at=st.integers(1, 8),
          what=st.sampled_from(EVENTS), other=keys)
    def look(self, key: int, when: str, at: int, what: str, other: int) -> None:
        """A pool looks; with its `at`-th call it dies, loses the reply, or another one looks."""
        pool = self.pools.get(key)
        if pool is None:
            return
        events: dict[str, Callable[[], object]] = {
            'kill': self.kill, 'lose': self.lose, 'nothing': lambda: None,
            'other': lambda: self.look(other, '', 0, 'nothing', key)}
        if what == 'other' and other == key:
            return
        pool.queue.when, pool.queue.at, pool.queue.event = when, at, events[what]
        try:
            pool.look()
        except Killed:
            del self.pools[key]
        except QueueError:
            pass
        pool.queue.at = 0
        self.declared()

    @staticmethod
    def kill() -> None:
        raise Killed

    @staticmethod
    def lose() -> None:
        raise QueueError('the reply is lost')

    def was_put(self, message: Message) -> None:
        found = call.told(message.header)
        assert found is not None
        slot, _, _, name = found
        key = name, self.lives[name], slot
        if key in self.put:
            self.faults.append(f'two runs for {key}')
        if not self.wrong and slot > self.q.now:
            self.faults.append(f'{key} before its moment')
        self.put.add(key)

    # -- time, workers ------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 999, 20_000, 60_000, 60_000, 200_000, 900_000, 18_000_000]))
    def advance(self, ms: int) -> None:
        self.q.advance(ms)

    @rule(key=keys, ms=st.sampled_from([5_000, 300_000]))
    def suspend(self, key: int, ms: int) -> None:
        """The machine of a pool was asleep, and so was the clock that nobody sets."""
        self.q.advance(ms)
        if key in self.pools:
            self.pools[key].slept += ms

    @rule(count=st.integers(1, 30), done=st.booleans())
    def work(self, count: int, done: bool) -> None:
        """Take some runs; end all that were taken, or leave them."""
        self.held += self.q('take', 'workers', count)
        if not done:
            self.q('beat', 'workers', [])
            return
        self.q('settle', 'workers', [
            Outcome(one.id, one.token, 'value') for one in self.held])
        self.held = []

    # -- people -------------------------------------------------------------------------

    def declare(self, name: str) -> None:
        self.broker.schedules.set(name, self.broker.queue().task, **BY_HAND[name])
        self.first.setdefault(name, self.record(name).next or 0)

    set_one = rule(name=names)(declare)
    set_more = rule(name=names)(declare)

    @rule(name=names, act=st.sampled_from(['pause', 'resume', 'resume']))
    def steer(self, name: str, act: str) -> None:
        if name in self.first:
            getattr(self.broker.schedules, act)(name)

    @rule(name=names)
    def run_now(self, name: str) -> None:
        if name in self.first:
            self.broker.schedules.run(name)
            self.by_hand[name] += 1

    @rule(name=st.sampled_from([*sorted(BY_HAND), 'report']))
    def forget(self, name: str) -> None:
        there = name in self.registers()
        assert self.broker.schedules.forget(name) == there
        self.lives[name] += 1
        self.first.pop(name, None)
        self.by_hand.pop(name, None)

    # -- what must hold -----------------------------------------------------------------

    def registers(self) -> dict[str, bytes]:
        return read_all(self.people)   # type: ignore[arg-type]

    def record(self, name: str) -> Record:
        return decode(read(self.people, name))   # type: ignore[arg-type]

    def declared(self) -> None:
        if 'report' in self.registers():
            self.first.setdefault('report', self.record('report').next or 0)

    @invariant()
    def none_is_left_out(self) -> None:
        """Each slot before the next had a run, was missed or was skipped."""
        assert not self.faults, self.faults
        for name, first in self.first.items():
            record = self.record(name)
            runs = sum(key[:2] == (name, self.lives[name]) for key in self.put)
            assert record.fired == runs + self.by_hand[name], (name, record)
            if name == 'report':   # its slots are others with each deploy
                continue
            slots = ((record.next or 0) - first) // MINUTE
            told = runs + record.missed + record.skipped
            assert told == slots or told < slots > KNOWN, (name, told, slots, record)

    def settle_down(self) -> None:
        """Nothing hurts any more: one pool looks, workers work, and all that is due is done."""
        for name in list(self.first):
            self.broker.schedules.resume(name)
        pool = Pool(self, 0, 0)
        for _ in range(40):
            pool.look()
            self.work(1_000, True)
            if all((self.record(name).next or 0) > self.q.now - MINUTE for name in self.first):
                break
        for name in self.first:
            record = self.record(name)
            assert record.next is not None and record.next > self.q.now - MINUTE, (name, record)
        self.none_is_left_out()
        assert len(self.registers()) == len({PREFIX + name for name in self.first} | {
            PREFIX + 'report'})
        self.q('settle', 'workers', [Outcome(one.id, one.token, 'value') for one in self.held])
        while taken := self.q('take', 'workers', const.PUT_LIMIT):
            self.q('settle', 'workers', [Outcome(one.id, one.token, 'value') for one in taken])
        assert self.q('size') == 0
        assert not any(self.q('audit'))
