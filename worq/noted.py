"""Which Deferreds are open in a process, and of which of them the queue will send news."""
from __future__ import annotations

from typing import TYPE_CHECKING, Iterable
from weakref import ref

from worq.habit import Habit
from worq.waiters import Waiters

if TYPE_CHECKING:  # they are only referred to
    from worq.deferred import Deferred

__all__ = ['Noted']


class Noted(Waiters):
    """The tables of them, by the id of their task. Who drops a Deferred need not say so."""

    client: str   #: by which the queue knows this process

    def _nothing(self) -> None:
        """Begin with none."""
        self._fresh: dict[str, ref[Deferred]] = {}    # never asked for yet
        self._steps: dict[str, ref[Deferred]] = {}    # ... and passed over, see `next_ones`
        self._asked: dict[str, ref[Deferred]] = {}    # watched, along with others or by their put
        self._putting: set[str] = set()               # of these: whose put has not returned
        self._crowd = 1024                            # sweep when there are more
        self._habit = Habit()

    def foresee(self, deferred: Deferred) -> str:
        """Before a new Deferred's task is put: the client that should watch it; '' if none should.

        From now on it counts as asked for, for its news may come before the put has returned. If
        that fails nobody will have it, so nobody will rely on this. Nobody must look for it
        before `is_put` has said so: the queue may not know it yet.
        """
        if not self._habit.guess(deferred.id):
            return ''
        self._putting.add(deferred.id)
        self._asked[deferred.id] = ref(deferred)
        return self.client

    def is_put(self, id: str) -> None:
        """The put has returned, or failed, of a Deferred that was foreseen."""
        self._putting.discard(id)

    def note(self, deferreds: Iterable[Deferred]) -> None:
        """Remember new Deferreds, so that a look for another one can ask for them too."""
        for deferred in deferreds:
            id = deferred.id
            self._fresh[id] = ref(deferred)
            self._asked.pop(id, None)  # that was an earlier life of the id
            self._steps.pop(id, None)
        if len(self._fresh) + len(self._asked) + len(self._steps) > self._crowd \
                and not self._lock._is_owned():
            try:
                self._sweep()
            finally:
                self._let_go()

    def _sweep(self) -> None:
        with self._lock:
            self._fresh = {id: r for id, r in list(self._fresh.items()) if r() is not None}
            self._asked = {id: r for id, r in list(self._asked.items()) if r() is not None}
            self._steps = {id: r for id, r in list(self._steps.items()) if r() is not None}
            self._crowd = 2 * (len(self._fresh) + len(self._asked) + len(self._steps)) + 1024

    def _next_ones(self, count: int, steps: bool) -> list[str]:
        """Up to so many more to ask for, which from now on count as asked for.

        :param steps: whether those may be among them that are only needed by other calls. To be
            asked for would keep them, so who asks for another one does not ask for them.
        """
        ids: list[str] = []
        while self._fresh and len(ids) < count:
            id, other = self._fresh.popitem()  # at once: `note` takes no lock
            deferred = other()
            if deferred is None:   # nobody is left who could want it
                continue
            if steps or not deferred.is_step:
                ids.append(id)
                self._asked[id] = other
            else:
                self._steps[id] = other
            del deferred   # it may be the last one who has it
        while steps and self._steps and len(ids) < count:
            id, other = self._steps.popitem()
            ids.append(id)
            self._asked[id] = other
        return ids

    def _doubt(self) -> None:
        """There was news that had not come, so no other that is to come can be relied on.

        Else ten thousand whose news is lost would be found one by one, each after `REWATCH`.
        """
        with self._lock:
            doubtful = {id: r for id, r in list(self._asked.items()) if id not in self._waiting
                        and id not in self._putting}
            for id in doubtful:
                self._asked.pop(id, None)
        for id, deferred in doubtful.items():
            self._fresh.setdefault(id, deferred)
