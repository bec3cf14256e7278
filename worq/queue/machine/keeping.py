"""What time brings to the graph of tasks: leases, what is due, what has waited in vain."""
from __future__ import annotations

from collections.abc import Callable

from worq import const
from worq.queue.base import EXPIRED, GATE
from worq.queue.machine.graph import Graph
from worq.queue.machine.life import Life
from worq.queue.machine.sides import Sides
from worq.queue.machine.traces import NOTHING

__all__ = ['Keeping']

CALLED = 32   # pools that are to look when something was put aside for some of them


class Keeping(Graph):
    """The graph, its pools and its clock.

    :param tell: see `Graph`, and so for `budget`.
    """

    def __init__(self, tell: Callable[[str, str, bytes | None], None], budget: int = 0) -> None:
        super().__init__(tell, budget)
        self.pools: dict[str, tuple[dict[str, str], int]] = {}   # info, last seen
        self.sides = Sides(self.lanes, self.pools, self._end_late, self._call)
        self._soonest = 0      # no lease ends before; at worst this is too early
        self._ticked: int | None = None
        self._clock_at = -1 << 62   # at the last tick; the clock never goes back behind it
        self._skew = 0         # by how much it is ahead of the one that we are told, since then
        self._calm = -const.COOLDOWN         # nothing is reaped before
        self.lags = False      # there is more to forget than the last tick could

    def begin(self, clock: int, puts: int = 0) -> None:
        """Begin a verb.

        :param clock: what time it is; where that has been set back, it goes on from the last tick,
            so that nothing which is stored has to be moved.
        :param puts: tasks that it puts. Twice as many that have expired are forgotten, so that they
            go as fast as they come.
        """
        self.unsure = True
        behind = self._clock_at - clock - self._skew
        if behind > const.TICK and behind <= const.SPAN * 1_000:
            self._skew += behind
        now = self.now = clock + self._skew
        self.woken = 0
        if self.budget:
            self.left = self.budget
        at = self._expiry.next()
        if at is not None and at <= now:
            self.drop_expired(10 + 2 * puts)

    def date(self, clock: int) -> int:
        """What time it is here."""
        return clock + self._skew

    def _lease(self, life: Life, lease: int) -> None:
        life.deadline = self.now + (life.lease or lease)
        if not self.leased or life.deadline < self._soonest:
            self._soonest = life.deadline
        self.leased[life] = None

    def _lose(self, life: Life, cause: str, owner: str | None = None) -> None:
        """Its delivery came to nothing: once more at once, then later, at last never.

        :param owner: the pool, if it says so itself and may repeat it; else it is fenced off.
        """
        number, most = life.deliveries, life.max_deliveries
        if life.flags & GATE:
            self.verdict(life, EXPIRED, 'whoever was putting it has gone', owner)
            return
        self.traces[life] = self.traces.get(life, NOTHING).died(
            self.now, life.owner or '', cause, life.progress)
        if number >= most:
            self.verdict(life, EXPIRED, f'{cause} (delivery {number} of {most})', owner)
            return
        life.owner = owner
        self.counters['redelivered'] += 1
        if number < 2:
            self._enqueue_first(life)
        else:
            self._postpone(life, self.now + 4 ** (number - 2) * 1_000)

    def next_tick(self) -> int | None:
        """When a tick will find something due, in ms; None if nothing is waited for."""
        moments = [at for at in (self.schedule.next(), self._late.next(),
                                 self._soonest if self.leased else None,
                                 min(self.sides.unknown.values(), default=None))
                   if at is not None]
        if not moments:
            return None
        soonest = min(moments)
        if self._ticked is None:
            return soonest
        return max(soonest, self._ticked + const.TICK)

    def tick(self) -> None:
        """See ``worq.queue.base``: what is due, what is lost, and the pause after a gap."""
        now = self.now
        if self._ticked is not None:
            if now - self._ticked < const.TICK:
                return
            if now - self._ticked > const.GAP:
                self._give_time(now - self._ticked - const.TICK)
                if now >= self._calm + const.COOLDOWN:
                    self._calm = now + const.GRACE
        self._ticked = self._clock_at = now
        self.lags = self.drop_expired(const.PUT_LIMIT) == const.PUT_LIMIT
        self._line_up()
        over = self._late.pop(now, const.TICK_LIMIT)
        for life in over:
            self._end_late(life)
        due = self.schedule.pop(now, const.TICK_LIMIT)
        for life in due:
            if self._end_late(life):
                continue
            if life.deliveries:   # it came back, and was before all that wait now
                self._enqueue_first(life)
            else:
                self._enqueue(life)
        if self.lags or const.TICK_LIMIT in (len(over), len(due)):
            self._ticked = now - const.TICK  # there may be more: the next verb goes on
        if now >= self._calm and self.leased and now >= self._soonest:
            self._reap()
        if (self.sides.looks or self.sides.differ) and self.sides.judge(now, self._back):
            self._ticked = now - const.TICK
        self.end()

    @property
    def offers(self) -> bool:
        """Whether there may be something to take, for whoever asks now."""
        return bool(self.lanes) and not self.sides.paused.all and not self.sides.more

    def _call(self) -> None:
        self.woken += CALLED

    def _back(self, life: Life) -> None:
        self._first.append(life)
        self.woken += 1

    def _give_time(self, ms: int) -> None:
        limit = self.now + const.GRACE
        for life in self.leased:
            life.deadline = max(life.deadline, min(life.deadline + ms, limit))
        self._soonest = min((life.deadline for life in self.leased), default=0)

    def _reap(self) -> None:
        now = self.now
        late = sorted((life.deadline, life.id, life) for life in self.leased
                      if life.deadline <= now)[:const.TICK_LIMIT]
        for _, _, life in late:
            self._lose(life, f'pool {life.owner} stopped renewing its lease')
        if len(late) == const.TICK_LIMIT:
            self._ticked = now - const.TICK
        self._soonest = min((life.deadline for life in self.leased), default=0)
