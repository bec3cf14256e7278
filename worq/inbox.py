"""The inbox: one listener for all the threads and event loops that wait in a process.

A thread that waits does not get a connection or a helper thread of its own. Among the threads
that wait, one leads: it blocks on the client's inbox, and hands out what arrives to all.
When it has what it wanted, it wakes another one to lead. So a single waiting thread blocks on
the queue itself, with no hand-over between threads, and ten thousand Deferreds cost one
blocking call at a time. (The pattern is Leader/Followers: Schmidt et al., *Pattern-Oriented
Software Architecture*, volume 2, 2000.) Only when coroutines wait, and no thread leads, a
background thread does. A second one asks the queue for what they wait for, all of it at once:
an event loop must not stand still while a queue is out of reach.

Whoever waits may be interrupted anywhere, and may be given up and collected as garbage. So
what wakes it is known here by weak references only, what it leaves behind is tidied up by others,
and to leave takes no lock that anybody is waited for.
"""
from __future__ import annotations

from contextlib import suppress
from functools import partial
import os
from threading import Thread, get_ident
import time
from typing import TYPE_CHECKING, Callable, Iterable, Sequence
from weakref import WeakSet, ref

from worq.errors import QueueError, Unfinished
from worq.fetching import Fetching
from worq.ids import new_nonce
from worq.latch import Latch
from worq.lock import beneath, look_within
from worq.printable import logger
from worq.queue.base import TaskQueue
from worq.shield import unbroken
from worq.waiters import Waiter

if TYPE_CHECKING:  # an inbox works on Deferreds, but makes none
    from worq.task import Deferred

__all__ = ['Inbox']

log = logger(__name__)

LINGER = 1.0        # seconds that a thread which asks for coroutines waits for more of them
REWATCH = 10.0      # seconds after which all that is awaited is watched again
LOOK_AHEAD = 1000   # Deferreds that one look asks for, at most
PAUSE = 0.05, 2.0   # seconds between tries to reach a lost queue: first and last
SAY_AGAIN = 30.0    # seconds between two log lines about a queue that stays away

_inboxes: WeakSet[Inbox] = WeakSet()


class Inbox(Fetching):
    """Duties: 1. look; 2. wait, lead and follow; 3. await. What is open is `Noted`.

    :param backend: the queue whose tasks are waited for.
    """

    def __init__(self, backend: TaskQueue) -> None:
        self.backend = backend
        self._begin()
        _inboxes.add(self)

    def __repr__(self) -> str:
        return f'<Inbox {self.client} of {self.backend!r}, {len(self._waiting)} waited for>'

    def _begin(self) -> None:
        # Also in a forked child, where the parent's threads are not, and the parent's
        # client name would take away its news.
        self.client = new_nonce()
        self._nobody()
        self._nothing()
        self._ahead = 1
        self._rewatch_at = 0.0
        self._sure = True                             # no news has been taken and not handed out
        self._listener: Thread | None = None
        self._closing = False                         # it is to end, whoever is subscribed
        self._asker: Thread | None = None
        self._unasked: list[Waiter] = []
        self._more = Latch()                          # there is something unasked
        self._say_at = 0.0                            # when to complain of a lost queue

    # 1. -- look --------------------------------------------------------------

    def look(self, deferred: Deferred) -> bool:
        """Ask the queue for a Deferred, and for more that may be wanted next.

        Each Deferred is asked for along with another at most once; how many go along
        doubles from look to look. So waiting for ten thousand, one after the other, costs
        some twenty round trips, and who waits for one does not pay for thousands.

        :returns: whether its outcome is there.
        :raises QueueError: if the queue cannot be reached.
        """
        self._look([deferred])
        return deferred.has_value()

    def _look(self, wanted: Sequence[Deferred], fetch: bool = True) -> None:
        ids = list(dict.fromkeys(deferred.id for deferred in wanted))
        try:
            with self._lock:
                fresh = steps = False
                for deferred in wanted:
                    self._asked[deferred.id] = ref(deferred)
                    fresh |= self._fresh.pop(deferred.id, None) is not None
                    steps |= deferred.is_step
                    fresh |= steps and self._steps.pop(deferred.id, None) is not None
                if fresh:
                    self._ahead = min(2 * self._ahead, LOOK_AHEAD)
                    ids += self._next_ones(self._ahead - len(ids), steps)
            news = self.backend.watch(self.client, ids)
            if news:
                self._hand_out(news, wanted, fetch)
        except BaseException:
            self._let_go()
            for id in ids:  # nobody has been told to tell us of them, or what was told is lost
                self._asked.pop(id, None)
            self._rewatch_at = 0.0  # others may rely on it already
            raise

    def _take_hints(self, hints: Iterable[tuple[str, bytes | None]]) -> None:
        """Hand out what came by itself. It may be of an earlier life of an id, or too late.

        Only the queue, when it is asked, says that an outcome is gone.
        """
        long: list[str] = []
        doubtful: list[str] = []
        for id, raw in hints:
            if raw == b'':
                long.append(id)
            elif self._deliver(id, raw, hint=True) is None:
                doubtful.append(id)
        if long:
            self._fetch(long, {})
        doubtful = [id for id in doubtful if id in self._waiting]
        if doubtful:
            self._hand_out(self.backend.watch(self.client, doubtful))

    def _hand_out(self, news: Iterable[tuple[str, bytes | None]],
                  wanted: Sequence[Deferred] = (), fetch: bool = True) -> None:
        """Hand out what the queue has answered: to a look, if anything was `wanted`.

        :param fetch: whether to fetch what is long of that, here and now.
        """
        long: list[str] = []
        lookers = {deferred.id: deferred for deferred in wanted}
        for id, raw in news:
            if raw == b'':
                long.append(id)
            else:
                self._answer(id, raw, lookers)
        if long:
            self._fetch(long, lookers, fetch)

    def _answer(self, id: str, raw: bytes | None, lookers: dict[str, Deferred]) -> None:
        looker = lookers.get(id)
        if looker is not None:
            looker.arrive(raw)
        waiters = self._deliver(id, raw)
        if lookers and waiters and any(waiter is self._leader for waiter in waiters):
            # A look has answered for the one that leads, who listens to the queue and not
            # to us. (A leader looks only before it leads, or when it listens to nothing.)
            with suppress(QueueError):
                self.backend.ring(self.client)

    def _deliver(self, id: str, raw: bytes | None, hint: bool = False) -> Sequence[Waiter] | None:
        """Give an outcome to all who wait for it, or want to know.

        :returns: those who waited; None if it was a hint, and not of the life that is meant.
        """
        # First this, for who enters from now on, and does not find it there, will look.
        asked = self._asked.pop(id, None)
        waiters = list(self._waiting.get(id, ()))
        deferreds = [waiter.what for waiter in waiters]
        other = asked() if asked is not None else None
        if other is not None and other not in deferreds:
            deferreds.append(other)
        told = not hint or raw and all(deferred.accepts(raw) for deferred in deferreds)
        if told:
            for deferred in deferreds:
                deferred.arrive(raw)
            for waiter in waiters:   # whom an interruption leaves here is told by the next leader
                waiter.wake()
                self._drop(waiter)
        return waiters if told else None

    # 2. -- wait, lead and follow ---------------------------------------------

    def wait(self, deferred: Deferred, timeout: float | None) -> bool:
        """Wait until the outcome of a Deferred has arrived there.

        A queue that goes away while we wait is waited for as well.

        :param timeout: seconds; None: as long as it takes; 0: look once.
        :returns: whether it has.
        :raises QueueError: if at the end of the timeout the queue cannot be reached.
        """
        latch = Latch()

        def end() -> None:
            latch.set()
            self.backend.ring(self.client)   # if it is the one that leads

        # Who is interrupted here must not be missed for ever, as the leader of others.
        with unbroken(end) as whole:
            # outside of tasks it is not, and this is asked time and again
            done = (lambda: deferred.has_value() or whole.interrupted) if whole.shielded \
                else deferred.has_value
            try:
                return self._wait(deferred, timeout, latch, done)
            except Unfinished:   # the time is up, and what has come is kept for the next look
                return False

    def _wait(self, deferred: Deferred, timeout: float | None, latch: Latch,
              done: Callable[[], bool]) -> bool:
        if self._lock._is_owned():
            self._not_within()
        if timeout == 0:
            with self.backend.within(0):
                return self.look(deferred)
        self._habit.waited(deferred.id, deferred.id in self._fresh)
        if self._leader is not None:
            self._not_led_beneath()
        deadline = None if timeout is None else time.monotonic() + timeout
        waiter = Waiter(latch, deferred, self._gone.append)
        try:
            try:
                self._threads[waiter] = None
                self._enter(waiter)
                # After we are registered here: what comes between this look and the
                # first wait is handed to us by whoever leads. If it has been asked for along
                # with another one, its news is on the way, and needs no look.
                if deferred.id not in self._asked:
                    self._insist(lambda: self.look(deferred), done, deadline)
                self._follow(waiter, latch, done, deadline)
            finally:
                self._leave(waiter)
                if self._long:
                    self._pass_on(waiter)
        except BaseException:
            self._let_go()
            self._leave(waiter)   # once more, for that may have been interrupted
            raise
        if done():
            return deferred.has_value()
        with self.backend.within(0):   # all that came is a hint, and so is that nothing came
            return self.look(deferred)

    def _not_within(self) -> None:
        """A signal handler has to do without us while it has interrupted us in a bad moment."""
        look_within(self._lock, __file__, self)

    def _not_led_beneath(self) -> None:
        """Nor can it wait for news if it has interrupted the one that would hand them out."""
        leader = self._leader
        if leader is not None and leader.thread == get_ident():
            if beneath(__file__):
                raise RuntimeError(
                    f'this thread waits at {self!r} already, and was interrupted: a signal handler '
                    'can look for an outcome now, with a timeout of 0, but not wait for it')
            self._leader = None   # it has not got to say so itself

    def _follow(self, waiter: Waiter, latch: Latch, done: Callable[[], bool],
                deadline: float | None) -> None:
        while not done():
            left = REWATCH if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            latch.clear()
            if self._long and self._is_its(waiter):
                self._fetch_its(waiter, done, deadline)
                continue
            try:
                with self._lock:
                    leader = self._leader
                    if leader is None or leader() is None:   # see `_led`
                        self._leader = waiter
                if self._leader is waiter:
                    self._lead(waiter, done, deadline)
                elif not done():  # our news may have come before it was cleared
                    latch.wait(min(left, REWATCH))
            finally:
                if self._leader is waiter:
                    self._leader = None

    def _lead(self, waiter: Waiter, done: Callable[[], bool], deadline: float | None) -> None:
        while not done() and not (self._long and self._is_its(waiter)):
            left = REWATCH if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return
            self._insist(partial(self._listen_once, min(left, REWATCH)), done, deadline)

    def _listen_once(self, timeout: float) -> None:
        now = time.monotonic()
        if self._gone:
            self._tidy()
        if not self._sure:   # somebody was interrupted who had taken news
            self._doubt()
            self._rewatch_at = 0.0
        self._sure = False
        if now >= self._rewatch_at:
            # The inbox is only a hint: it may have been lost with the server's memory.
            first, self._rewatch_at = not self._rewatch_at, now + REWATCH
            ids = list(self._waiting)
            if not first:
                # With no pool alive nobody else sees what has expired, and who fails by it.
                self.backend.beat(self.client)
                self.backend.verify(ids)
            news = self.backend.watch(self.client, ids)
            if news:
                self._doubt()
            self._hand_out(news)
            if not all(id in self._waiting for id in ids):
                self._sure = True
                return  # somebody, maybe we, got news
        self._take_hints(self.backend.wait(self.client, timeout))
        self._sure = True

    def _insist(self, step: Callable[[], object], done: Callable[[], bool],
                deadline: float | None) -> None:
        """Do a step, again and again while the queue cannot be reached, to the deadline.

        Unless nobody wants it any more: a queue may be away for ever.
        """
        pause, last = PAUSE
        while not done():
            try:
                if deadline is None:
                    step()
                else:
                    with self.backend.within(deadline - time.monotonic()):
                        step()
                return
            except QueueError as error:
                self._rewatch_at = 0.0   # what was to be told us may be gone
                now = time.monotonic()
                if error.denied or error.schemas or deadline is not None and now + pause > deadline:
                    raise
                if now >= self._say_at:
                    self._say_at = now + SAY_AGAIN
                    log.warning('cannot reach %r, and will try again: %s', self.backend, error)
            time.sleep(pause)
            pause = min(2 * pause, last)

    # 3. -- await -------------------------------------------------------------

    def subscribe(self, deferred: Deferred, announce: Callable[[], None],
                  failed: Callable[[Exception], None] | None = None) -> None:
        """Call `announce`, in some thread, once the outcome of a Deferred has arrived.

        It may be called more than once. Unless the Deferred has been asked for before, the
        queue is asked at once.

        :param failed: called, in some thread, with the error if the queue cannot be asked, and
            then this does not wait for anything. Without it the queue is asked here, which
            is a round trip in the calling thread.
        :raises QueueError: if the queue cannot be asked here.
        """
        if self._lock._is_owned():
            self._not_within()
        try:
            with unbroken():
                self._subscribe(deferred, announce, failed)
        except BaseException:
            self._let_go()
            raise

    def _subscribe(self, deferred: Deferred, announce: Callable[[], None],
                   failed: Callable[[Exception], None] | None) -> None:
        self._habit.waited(deferred.id, deferred.id in self._fresh)
        if self._leader is not None:
            self._not_led_beneath()
        waiter = Waiter(announce, deferred, self._gone.append)
        with self._lock:
            self._enter(waiter)
            self._subscribed.add(waiter)
            self._have_listened()
        if deferred.has_value():
            announce()
        elif deferred.id in self._asked:
            pass
        elif failed is not None:
            self._ask_for(deferred, failed)
        else:
            self._look([deferred], False)
            if deferred.has_value():
                announce()

    def _have_listened(self) -> None:
        """There are such as cannot lead: a thread does. Under the lock."""
        self._closing = False
        # One that is not alive was never begun, for that was interrupted.
        if self._listener is None or not self._listener.is_alive():
            self._listener = Thread(target=self._listen, name='worq-inbox', daemon=True)
            self._listener.start()

    def _ask_for(self, deferred: Deferred, failed: Callable[[Exception], None]) -> None:
        with self._lock:
            self._unasked.append(Waiter(failed, deferred))
            self._more.set()
            if self._asker is None or not self._asker.is_alive():
                self._asker = Thread(target=self._ask, name='worq-inbox-ask', daemon=True)
                self._asker.start()

    def _ask(self) -> None:
        """In a thread: ask for what coroutines wait for, all at once that has gathered."""
        self._more.wait(LINGER)
        while self._ask_gathered():
            self._more.wait(LINGER)   # and keep nothing of it meanwhile

    def _ask_gathered(self) -> bool:
        """Ask for what has gathered; False at the end, for there was nothing."""
        with self._lock:
            batch, self._unasked = self._unasked, []
            if not batch:
                self._asker = None
                return False
        wanted = [waiter.what for waiter in batch
                  if not waiter.what.has_value() and waiter.what.id not in self._asked]
        try:
            if wanted:
                self._look(wanted, False)
        except Exception as error:
            for waiter in batch:
                if waiter.what in wanted and (failed := waiter()) is not None:
                    failed(error)
        return True

    def unsubscribe(self, deferred: Deferred, announce: Callable[[], None]) -> None:
        """The counterpart of every `subscribe`, whether it was called back or not.

        Also of one that an interruption has prevented: others must not be missed for that. It
        may be forgotten, if `announce` is: then it is done by itself. Finalizers may call it.
        """
        waiter = Waiter(announce, deferred)
        self._subscribed.discard(waiter)
        self._drop(waiter)
        if self._gone:
            self._tidy()

    def _listen(self) -> None:
        latch = Latch()
        me = Waiter(latch, None)
        with self._lock:
            self._idlers.append(me)
        while True:
            try:
                self._follow(me, latch, lambda: not self._subscribed or self._closing, None)
                self._tidy()
            except Exception:
                log.exception('the inbox of %r failed, and goes on', self.backend)
                self._promote()   # if others wait they need not wait for us
                time.sleep(PAUSE[0])
            with self._lock:
                ended = not self._subscribed or self._closing
                if ended:
                    self._idlers.remove(me)
                    self._listener = None
            if ended:
                self._promote()
                return

    def close(self) -> None:
        """End the background threads, if there are any. What they were for goes on with `go_on`."""
        if self._lock._is_owned():
            self._not_within()
        with self._lock:
            listener, asker = self._listener, self._asker
            self._closing = True
            for waiter in self._idlers:
                waiter.wake()
            self._more.set()
        if listener is not None:
            try:
                with self.backend.within(0):
                    self.backend.ring(self.client)
            except QueueError:
                return   # they will end, but while they try to reach it they do not hear us
            listener.join(REWATCH)
        if asker is not None:
            asker.join(REWATCH)

    def go_on(self) -> None:
        """After a close: coroutines that wait cannot ask by themselves, as threads do. So there is
        a thread again while there are any."""
        self._tidy()
        with self._lock:
            if self._subscribed:
                self._have_listened()


def _after_fork() -> None:
    for inbox in list(_inboxes):
        inbox._begin()


os.register_at_fork(after_in_child=_after_fork)
