"""Who stands aside: tasks that are paused, or that wait for a pool that knows their name."""
from __future__ import annotations

from collections.abc import Callable, Mapping

from worq import const
from worq.queue.machine.lanes import Lanes
from worq.queue.machine.life import Life
from worq.queue.pauses import Patterns

__all__ = ['Sides']

NOTHING: frozenset[bytes] = frozenset()
SETS = 1_000   # of names that are kept at a time


class Sides:
    """The side lines.

    :param pools: the pools that joined: info, and when they were last seen.
    :param call: has all pools look that wait.
    :param most: how many may be put aside in one step; 0: any number.
    :param over: ends a life that is too late to begin, and answers whether it was.
    """

    def __init__(self, lanes: Lanes, pools: Mapping[str, tuple[Mapping[str, str], int]],
                 over: Callable[[Life], bool], call: Callable[[], None], most: int = 0) -> None:
        self.lanes = lanes
        self.pools = pools
        self._over = over
        self._call = call
        self._most = most
        self._moved = 0
        self.more = False     # the last step ended since it had put aside as many as it may
        self._sets: dict[str, frozenset[bytes]] = {}
        self._going: dict[str, frozenset[bytes]] = {}   # of these, what is not paused
        self.paused = Patterns(b'')
        self.grace = const.UNKNOWN_GRACE
        self.unknown: dict[bytes, int] = {}   # names that no live pool knows: when their grace ends
        self.looks = False    # names are looked at when something is taken
        self.differ = False   # ... if the pools live that make the difference

    def join(self, info: Mapping[str, str], now: int) -> None:
        """A pool has joined, which is among `pools` now."""
        told = info.get('unknown_grace', '')
        if told.isascii() and told.isdecimal() and len(told) < 16 \
                and int(told) <= const.SPAN * 1_000:
            self.grace = int(told)
        self.mix(now)

    def mix(self, now: int) -> None:
        """Whether names have to be looked at: most often all pools know the same."""
        told = [(info['tasks'], seen) for info, seen in self.pools.values() if info.get('tasks')]
        self.differ = len({text for text, _ in told}) > 1
        self.looks = bool(self.paused) or bool(self.lanes.aside) or \
            len({text for text, seen in told if seen >= now - const.LEASE}) > 1

    def pause(self, register: bytes) -> None:
        """Have this be what is paused."""
        if register != self.paused.register:
            self.paused = Patterns(register)
            self._going.clear()

    def told_any(self) -> bool:
        """Whether a pool has told its names."""
        return any(info.get('tasks') for info, _ in self.pools.values())

    def known(self, name: bytes, now: int) -> bool:
        """Whether a live pool has told that it knows a name."""
        told = {info.get('tasks', '') for info, seen in self.pools.values()
                if seen >= now - const.LEASE}
        return any(name in self._names(text) for text in told)

    def _names(self, text: str) -> frozenset[bytes]:
        """What a pool has told, as a set; there are few of these."""
        found = self._sets.get(text)
        if found is None:
            if len(self._sets) > SETS:
                self._sets.clear()
            found = self._sets[text] = frozenset(text.encode().split(b'\n')) - {b''}
        return found

    def _of(self, pool: str) -> frozenset[bytes]:
        return self._names(self.pools[pool][0].get('tasks', '')) if pool in self.pools else NOTHING

    def knows(self, pool: str, name: bytes) -> bool:
        return name in self._of(pool)

    def _lines(self, pool: str, now: int) -> frozenset[bytes]:
        """The names of the lines from which a pool may take: of what it knows; if it has told none,
        of what no other knows and whose grace does not run."""
        mine = self._of(pool)
        if not mine:
            return frozenset(name for name in self.lanes.names() if name not in self.unknown
                             and not self.paused.held(name) and not self.known(name, now))
        if not self.paused:
            return mine
        text = self.pools[pool][0].get('tasks', '')
        going = self._going.get(text)
        if going is None:
            if len(self._going) > SETS:
                self._going.clear()
            going = self._going[text] = frozenset(
                name for name in mine if not self.paused.held(name))
        return going

    def _may(self, pool: str, life: Life, now: int) -> bool:
        name, mine = life.name, self._of(pool)
        if self.paused.held(name):
            return False
        return life in self.lanes.freed or name in mine or not self.known(name, now) \
            and (not mine or not self.grace)

    def put_aside(self, life: Life, now: int) -> None:
        """Have it wait for a pool that knows its name, or until it is paused no more."""
        name = life.name
        self.lanes.bind(life)
        self.lanes.put_aside(life, now)
        self.looks = True
        self._moved += 1
        if self.paused.held(name):
            return
        self._call()
        if not self.known(name, now):
            self.unknown.setdefault(name, now + self.grace)

    def since(self, life: Life, now: int) -> tuple[int | None, int | None]:
        """For how many ms it has stood aside, and for how many more if no live pool knows it."""
        since = self.lanes.since(life)
        if since is None:
            return None, None
        ends = None if self.paused.held(life.name) else self.unknown.get(life.name)
        left = None if ends is None else max(ends, since // 1_000 + self.grace, now) - now
        return max(now - since // 1_000, 0), left

    def begin(self) -> None:
        """A step begins, in which as many may be put aside as in any."""
        self._moved, self.more = 0, False

    def next(self, pool: str, now: int) -> Life | None:
        """The one that this pool is to take now; what it may not take is put aside. While the whole
        queue is paused, all stays where it is."""
        if self.paused.all:
            return None
        for priority in range(len(self.lanes.pairs)):
            deep = self._first(2 * priority, pool, now)
            fresh = self._first(2 * priority + 1, pool, now)
            if deep and fresh:
                return deep if self.lanes.overtakes(priority, fresh) else fresh
            if deep or fresh:
                return deep or fresh
        return None

    def _first(self, lane: int, pool: str, now: int) -> Life | None:
        ready = self.lanes.lane(lane)
        mine = self._lines(pool, now) if self.lanes.aside else NOTHING
        while True:
            mine_aside = self.lanes.oldest(lane, mine) if mine else None
            life = mine_aside or next(iter(ready), None)
            if life is None:
                return None
            if life.late and self._over(life):
                continue
            if mine_aside or self._may(pool, life, now):
                return life
            if self._most and self._moved >= self._most:
                self.more = True
                return None
            self.put_aside(life, now)

    def judge(self, now: int, back: Callable[[Life], None]) -> bool:
        """What is due with a tick: names that have become known, or are so no more.

        :param back: is given what has waited in vain, to be handed to anybody.
        :returns: whether there may be more.
        """
        self.mix(now)
        told = self.told_any()
        self.unknown = {name: self.unknown.get(name, now + self.grace)
                        for name in self.lanes.names()
                        if (told or name in self.unknown) and not self.paused.held(name)
                        and not self.known(name, now)}
        left = const.TICK_LIMIT
        due = sorted((at, name) for name, at in self.unknown.items() if at <= now)
        for _, name in due[:const.TICK_LIMIT]:
            ends = []
            for lane in range(2 * len(const.PRIORITIES)):
                for life, since in self.lanes.line(lane, name, left + 1):
                    end = since // 1_000 + self.grace
                    if end > now or not left:
                        ends.append(end)
                        break
                    left -= 1
                    if not (life.late and self._over(life)):
                        self.lanes.free(life)
                        back(life)
            del self.unknown[name]
            if ends:
                self.unknown[name] = min(ends)
        return not left
