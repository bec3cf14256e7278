"""Failures that are run again: the same life, its next delivery."""
from __future__ import annotations

from collections.abc import Iterable

from worq import const
from worq.const import COMPLETED, PENDING
from worq.queue.base import GATE, IGNORE_RESULT, PASS, VALUE, Revival
from worq.queue.machine.inspection import times
from worq.queue.machine.keeping import Keeping
from worq.queue.machine.life import Life
from worq.queue.machine.traces import NOTHING, Kept, Trace

__all__ = ['Reviving', 'NONE']

NONE = IGNORE_RESULT | GATE   # what has one of these flags is nobody's argument


class Reviving(Keeping):
    """The graph, and what failed in it."""

    def revive(self, what: Revival, downstream: bool) -> str:
        life = self.find(what.id)
        if life is None or what.nonce not in ('', life.nonce):
            return 'gone'
        if life.state != COMPLETED:
            return 'live'
        kept = self.kept(life)
        if kept is None or what.ended not in (0, life.over, times(life).ended):
            return 'gone'
        word, _ = self._try_again(life, kept, what)
        if word == 'revived' and downstream:
            self.failed.begin(kept.number)
        return word

    def _try_again(self, life: Life, kept: Kept,
                   what: Revival | None = None) -> tuple[str, list[Life]]:
        """Run it again, if that is possible; its arguments that have failed, if they prevent it."""
        if life.pins or life.dependents or life.arguments:
            return 'pinned', []
        arguments, failures = [], []
        for id, nonce, seal in kept.arguments:
            self.left -= 1
            argument = self.find(id)
            if argument is None or argument.nonce != nonce or argument.flags & NONE:
                return 'arguments', []
            if argument.kind not in (b'', VALUE) and not life.flags & PASS:
                failures.append(argument)
            life.seal(argument, seal)
            arguments.append(argument)
        if failures:
            life.seals = None
            return 'failed', failures
        target = self.find(kept.target.id) if kept.target else None
        if target is not None and kept.target is not None and (
                target.nonce != kept.target.nonce or target.state == COMPLETED
                or target.flags & NONE):
            target = None
        self._restore(life, kept, arguments, target, what)
        return 'revived', []

    def _restore(self, life: Life, kept: Kept, arguments: list[Life], target: Life | None,
                 what: Revival | None) -> None:
        """It is as if it were put now, and keeps but the number of its deliveries."""
        self.delist(life)
        ended = life.over
        self.renew(life, what)
        self.argue(life, arguments)
        # In one step, from which on it is live: see `redo`. Live with a kind it would end so again.
        life.state, life.kind, life.data, life.hops, life.owner = PENDING, b'', b'', (), None
        self.completed -= 1
        self.begin_anew(life, kept)
        self._move(life, PENDING)   # rows note of which purge it is not
        if life.late:
            self._late.add(life, len(self.lives))
        if target is not None and kept.target is not None:
            for argument in arguments:
                argument.lend()
            life.target = target
            life.seal(target, kept.target.seal)
            target.tells(life)
            return
        self._bind(life, arguments, ended)
        if not life.open:
            self._make_ready(life)

    def begin_anew(self, life: Life, kept: Kept) -> None:
        """It has nothing of its earlier deliveries, and is kept as a failure no more."""
        life.expires = life.due = life.deliveries = life.tries = 0
        life.over = life.ready = life.taken = 0
        life.age = ''
        life.late = kept.expires and self.now + kept.expires
        self.traces[life] = Trace(self.traces.get(life, NOTHING).deaths)   # the last, see `redo`

    def _bind(self, life: Life, arguments: Iterable[Life], ended: int | None = None) -> None:
        """Pin arguments, and wait for those that are open.

        :param ended: when it had failed, if it is run again: what was live then already still has
            the edge from that time.
        """
        for argument in arguments:
            argument.lend()
            if argument.state != COMPLETED:
                life.open += 1
                if ended is None or argument.put > ended + const.TICK \
                        or all(one is not life for one in argument.dependents):
                    argument.tells(life)

    def _revive_some(self) -> None:
        """Run again what failed because of what is run again, as far as the budget reaches.

        What has ended is followed before: then nothing of it has yet to be let go.
        """
        failed = self.failed
        while failed.waiting and not self._ended and (not self.budget or self.left > 0):
            self.left -= 1
            number, life = failed.next()
            # One that has been run again, and failed once more, did so on its own.
            if life is not None and self._number(life) == number:
                self._revive_with_arguments(life)
        if failed.waiting:
            self.woken += 1   # somebody should go on

    def _revive_with_arguments(self, life: Life) -> None:
        """Run it again, and before it those of its arguments that failed because of the same."""
        stack, tried = [life], set[Life]()
        while stack:
            life = stack[-1]
            kept = self.kept(life) if life.state == COMPLETED else None
            if kept is None:
                stack.pop()
                continue
            _, failures = self._try_again(life, kept)
            first = [one for one in failures if one not in tried
                     and (cause := self.traces.get(one, NOTHING).kept) is not None
                     and cause.origin == kept.origin]
            if life not in tried and first:
                tried.add(life)
                stack += first[::-1]
            else:
                tried.add(life)
                stack.pop()
