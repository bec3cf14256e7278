"""The manager of a process pool: one thread that runs no code of the user's.

It waits for everything at once: the pipes of its children, their deaths, the queue's bell and its
owner. Each time round it hears what has arrived, mends what has broken, makes one turn at the queue
for all of it, and deals out what it got. What arrives during that round trip is the next batch.
"""
from __future__ import annotations

from collections import deque
import time
from typing import Callable, Iterable

from worq.codec import Codec
from worq.errors import QueueError
from worq.printable import logger
from worq.pool.base import PATIENCE, Desk
from worq.pool.prefetch import HORIZON, batch_size, smooth
from worq.pool.report import Report
from worq.pool.children.respawn import Respawn
from worq.pool.children.ears import Ears
from worq.pool.children.frames import MOST
from worq.pool.children.watchdog import Heads
from worq.pool.children.heartbeat import Heartbeat
from worq.pool.children.naming import Naming
from worq.pool.children.protocol import too_long, weight
from worq.pool.children.notes import Done
from worq.pool.children.worker import Worker
from worq.pool.worklog import WorkLog, named
from worq.queue.base import Delivery, Outcome, TaskQueue
from worq.queue.remote import answer

__all__ = ['Manager']

log = logger(__name__)

LEASE = 15_000            # ms
FAREWELL = 5.0            # seconds that a child has to end after its last task
YOUNG = 1.0               # seconds; a child that dies sooner without a task has not begun
SOON, LATER = 0.001, 0.05  # seconds in which a short task may be done, and another one
UNSAID = 0.005            # seconds between two looks for what has begun, to log it
SILENCE = 3.0             # seconds; an armed bell rings within two, or nobody listens to it


class Manager:
    """Duties: 1. the round; 2. hear; 3. mend; 4. renew; 5. turn and deal; 6. stop.

    :param backend: the queue.
    :param spawn: starts a child.
    :param workers: how many there are to be.
    :param max_tasks: after how many tasks a child is replaced; None: never.
    :param grace: seconds that running tasks have to end when the pool stops.
    :param label: names the pool in the log; `codec` is the broker's.
    :param schedules: whether the pool puts what is due of them.
    """

    KIND = 'process'   #: of the pool, as it tells others
    each = 1           #: how many tasks a child runs at a time

    def __init__(self, backend: TaskQueue, spawn: Callable[[], Worker], workers: int,
                 max_tasks: int | None, grace: float, label: str, codec: Codec,
                 schedules: bool = True) -> None:
        self.desk = Desk(backend, LEASE, self._look, self.wake, self.KIND,
                         workers * self.each)
        self.spawn = spawn
        self.target = workers
        self.max_tasks, self.grace = max_tasks, grace
        self.label = label
        self._log = WorkLog(codec, label)
        self._logs = False              # whether it is on, in this round
        self.turned = time.monotonic()  # when the last round began, for who watches us
        self.workers: list[Worker] = []
        self._bell = backend.bell(self.desk.pool)
        self._bell.prompt = True        # see `_turn`
        self._bell_fd = -1              # while it is armed
        self._armed_at = 0.0            # and since when
        self._more = True               # there may be something to take ...
        self._look_at: float = 0        # ... but it is not looked for before
        self._outcomes: list[Outcome] = []
        self._backlog: deque[tuple[Delivery, float]] = deque()  # came back; since when
        self._seconds: float | None = None   # that a task takes
        self._batch = batch_size(None)  # how many a child has before it, by that
        self._renewal: Callable[[], None] | None = None  # asked for, not yet begun
        self._generation = 0            # of the children that are to stay
        self._elders = 0                # how many were there when it began
        self._watch_at: float | None = None  # monotonic: when a limit or a grace time ends
        self._respawn = Respawn(label, self.turned)
        self._heads = Heads()
        self._naming = Naming(self.desk, codec, schedules)
        self._stop_at: float | None = None   # monotonic: when those that still run are killed
        self._ears = Ears()
        self._report = Report(self.desk.tell, label)

    def __repr__(self) -> str:
        return f'<Manager {self.label}: {self.workers}, {len(self._backlog)} come back>'

    # 1. -- the round ---------------------------------------------------------

    def run(self) -> None:
        """Manage until stopped."""
        log.info('%s started', self.label)
        heartbeat = Heartbeat(self.desk)
        try:
            while not (self._stop_at is not None and self._finished()):
                now = self.turned = time.monotonic()
                self._logs = self._log.on
                if self._renewal is not None or self._elders:
                    self._renew(now)
                self._mend(now)
                self._turn(now)
                self._hear(self._patience(time.monotonic()))
        except BaseException:
            log.critical('%s crashed', self.label, exc_info=True)
            raise
        finally:
            heartbeat.close()
            self._end()
            log.info('%s stopped', self.label)

    def _patience(self, now: float) -> float:
        """Seconds for which there will be nothing to do unless something is heard."""
        away = self.desk.away
        if self._outcomes and not away:
            return 0.0
        until = min(now + 2.0, now + away if away else self.desk.beat_at)
        if self._more and self._look_at < until and not away and self._stop_at is None \
                and self._room():
            until = self._look_at
        for worker in self.workers:
            if worker.revoked is not None:
                until = min(until, now + (0.001 if now - worker.revoked[1] < PATIENCE else HORIZON))
            elif worker.backed_up or worker.blocked and not worker.sent:
                until = min(until, now + HORIZON)
        if self._backlog:
            until = min(until, self._backlog[0][1] + PATIENCE)
        if self._logs and any(worker.unsaid for worker in self.workers):
            until = min(until, now + UNSAID)   # it begins just now
        if self._respawn.again_at > self.turned and self._missing():  # else they have been hired
            until = min(until, self._respawn.again_at)
        if self._watch_at is not None:
            until = min(until, self._watch_at)
        if self._stop_at is not None:
            until = min(until, now + 0.05, self._stop_at)
        return max(0.0, until - now)

    # 2. -- hear --------------------------------------------------------------

    def _hear(self, patience: float) -> None:
        self._ears.find_clogged(self.workers)
        for fd in self._ears.wait(patience):
            if fd in self._ears.heard:
                worker = self._ears.heard[fd]
                worker.ended |= fd == worker.pidfd
                self._listen(worker)
            elif fd == self._bell_fd:
                rang = self._bell.clear()
                self._disarm()
                if rang or self._bell.due():
                    self._more, self._look_at = True, 0
                if not rang:  # then one look is enough
                    self._arm()
            elif fd in self._ears.clogged:
                self._ears.pump(fd)

    def _listen(self, worker: Worker) -> None:
        was_ready, before = worker.ready, len(worker.sent)
        worker.done = [] if self._logs else None
        outcomes = worker.receive()
        if worker.done is not None:
            self._say(worker, worker.done)
            worker.done = None
        if worker.ready and not was_ready:
            self._respawn.well(time.monotonic())
            self.desk.tell('broken', '')
            log.debug('%s: worker %d is ready', self.label, worker.pid)
            self._naming.tell(self.workers)
        if outcomes:
            now = time.monotonic()
            each = (now - worker.active) / len(outcomes)
            worker.active = now
            # a lone task's time is mostly that of the way there and back
            self._seconds = smooth(self._seconds, each, min(1.0, 0.1 * before))
            self._batch = batch_size(self._seconds)
            self._outcomes += outcomes
        if worker.strange:
            self._outcomes += self._naming.pass_on(worker, self.workers, self._quota)
        for number, *question in worker.asked:
            worker.answer(number, answer(self.desk.backend, question))
        worker.asked.clear()
        if worker.progress:
            held = self.desk.held
            self.desk.progress.update(
                (token, text) for token, text in worker.progress.items() if token in held)
            worker.progress.clear()
        if worker.fault or worker.hung_up:
            worker.kill()  # it has nobody to talk to any more, whether it has ended or not

    def _say(self, worker: Worker, done: Iterable[Done] = ()) -> None:
        """Log what it has ended, and what it has begun since then."""
        for number, delivery, outcome, seconds in done:
            if number > worker.said:
                self._log.begun(delivery, worker.pid)
            worker.said = max(worker.said, number)
            self._log.ended(delivery, worker.pid, seconds, outcome)
        begun = worker.page.started
        for number, delivery in worker.sent:
            if worker.said < number <= begun:
                self._log.begun(delivery, worker.pid)
                worker.said = number
            elif number > begun:
                break

    def _look(self) -> None:
        """Before each beat, whichever thread it comes from."""
        now = time.monotonic()
        self._report.look([
            one for worker in list(self.workers) for one in worker.all_doing(now)])

    # 3. -- mend --------------------------------------------------------------

    def _mend(self, now: float) -> None:
        self._watch_at = None
        for worker in list(self.workers):
            if worker.ended:
                cause = worker.reap()
                if cause is not None:
                    self._bury(worker, cause, now)
                    continue
            if worker.leaving:
                self._hold_back(worker, now)
            if self._logs and worker.unsaid:
                self._say(worker)
            if worker.watched:
                look = worker.watch_over(now)
                if look is not None:
                    self._watch_at = min(look, self._watch_at or look)
            if now >= worker.watch.look_at:
                worker.watch.look(worker, now, self.label)
                if worker.watch.slow and not any(each.ready for each in self.workers):
                    self.desk.tell('broken', worker.watch.slow)
            worker.blocked = worker.blocked and not worker.has_passed()
            if worker.revoked is not None:
                self._take_back(worker.recover(now), now)
                while worker.disputed and worker.revoked is None:   # it has begun, or never will
                    token, word = worker.disputed.popitem()
                    if worker.runs(token) is not None:
                        self._disown(token, word)
            elif worker.sent and worker.stuck_for(now) > PATIENCE:
                worker.revoke(now)
            if worker.retiring:
                if not worker.sent and now - worker.active > FAREWELL:
                    worker.kill()
            elif not worker.sent and (
                    self._stop_at is not None or worker.leaving or self._quota(worker) == 0):
                worker.active = now
                self._ears.unclog(worker.tasks)
                worker.retire()
        if self._stop_at is None and now >= self._respawn.again_at:
            for _ in range(self._missing()):
                self._hire(now)

    def _missing(self) -> int:
        if self._stop_at is not None:
            return 0
        return self.target - sum(not worker.retiring and worker.generation == self._generation
                                 for worker in self.workers)

    def _hire(self, now: float) -> None:
        try:
            worker = self.spawn()
        except OSError as error:  # no memory, no processes: it may pass
            self._failed(now, f'it cannot be started: {error}')
            return
        worker.generation = self._generation
        self.workers.append(worker)
        self._ears.register(worker)

    def _failed(self, now: float, why: str, more: str = '', killed: bool = False) -> None:
        self._respawn.failed(now, why, more, killed)
        if not any(worker.ready for worker in self.workers):
            self.desk.tell('broken', why)   # to whoever asks why nothing is done

    def _bury(self, worker: Worker, cause: str, now: float) -> None:
        """A child has ended: tell what it was doing, and find others for the rest."""
        self._listen(worker)  # what it had still written
        self._ears.unregister(worker)
        self.workers.remove(worker)
        self._naming.tell(self.workers)
        late = self._stop_at is not None and now >= self._stop_at
        running = worker.blamed()
        if worker.sent and not (running or late or worker.disowned or worker.retiring):
            running = self._heads.blamed(worker)
            self._seconds, self._batch = HORIZON, 1   # so that the next one is alone
        rest = [delivery for _, delivery in worker.sent if delivery is not running]
        if worker.broken and not worker.retiring:
            self._failed(now, worker.why, worker.broken)
        elif not worker.retiring and not worker.disowned and (
                not worker.ready or running is None and now - worker.born < YOUNG):
            self._failed(now, f'{cause} before it had begun',
                         killed=(worker.process.returncode or 0) < 0)
        elif running is not None or not worker.retiring:
            log.error('%s: %s%s%s', self.label, cause,
                      f', running {named(running.header, running.id)}' if running else '',
                      ': it had to end, since the pool stops' if late else '')
        if running is not None and running.token in self.desk.held:
            # A child that we killed for one task may just have begun another.
            word = 'release' if worker.disowned or late else 'lost'
            self._outcomes.append(worker.will() or Outcome(
                running.id, running.token, word, cause.encode() if word == 'lost' else b''))
        # Sent but not begun, or done and not yet reported: not this death's fault.
        self._take_back(rest, now)
        worker.close()

    def _take_back(self, deliveries: list[Delivery], now: float) -> None:
        held = self.desk.held
        self._backlog.extend((one, now) for one in deliveries if one.token in held)

    # 4. -- renew -------------------------------------------------------------

    def renew(self, spawn: Callable[[], Worker], workers: int, max_tasks: int | None,
              grace: float) -> None:
        """Replace all children by those that `spawn` starts; from any thread. See ``__init__``.

        An old one goes on until a new one is ready, so if these cannot begin nothing is lost.
        """
        def begin() -> None:
            self.spawn, self.target, self.max_tasks, self.grace = spawn, workers, max_tasks, grace
        self._renewal = begin
        self.wake()

    def _renew(self, now: float) -> None:
        if self._renewal is not None:
            begin, self._renewal = self._renewal, None
            begin()
            self.desk.tell('size', str(self.target * self.each))
            self._generation += 1
            self._elders = sum(worker.ready for worker in self.workers)
            self._respawn.again_at = now
            for worker in self.workers:
                worker.leaving |= not worker.ready   # of those before, and not even begun
        if self._elders:
            self._replace()

    def _replace(self) -> None:
        """For each new child that is ready an old one leaves, and all once they are enough."""
        new = sum(worker.ready for worker in self.workers
                  if worker.generation == self._generation)
        old = [worker for worker in self.workers
               if worker.generation < self._generation and not worker.leaving]
        stay = self._elders - new if new < self.target else 0
        go = sorted(old, key=lambda worker: len(worker.sent))[:max(0, len(old) - stay)]
        for worker in go:
            worker.leaving = True
        if go:
            self._naming.tell(self.workers)
        if new >= self.target:
            self._elders = 0

    @staticmethod
    def _hold_back(worker: Worker, now: float) -> None:
        """It may finish what it runs; what it has not begun comes back."""
        if worker.has_unbegun:
            worker.revoke(now)

    # 5. -- turn and deal -----------------------------------------------------

    def _turn(self, now: float) -> None:
        desk = self.desk
        if self._stop_at is not None and desk.coming:
            self._outcomes += desk.unfetched()
        if self._backlog:
            self._deal_backlog(now)
        if self._bell_fd >= 0 and now - self._armed_at > SILENCE:
            self._disarm()  # its connection is dead, and only its connection may be
        # Without a bell (there was no connection for it) at every round; idle, along with a beat.
        look = self._more and (self._outcomes or now >= self._look_at) or self._bell_fd < 0 \
            or now >= desk.beat_at and not desk.held
        limit = min(self._room(), desk.backend.handful) if look and self._stop_at is None else 0
        if not (limit or self._outcomes or desk.untold or desk.brought or now >= desk.beat_at) \
                or desk.away > 0.002:
            return
        outcomes, self._outcomes = self._outcomes, []
        deliveries, lost = desk.turn(outcomes, limit)
        for one in lost:
            self._disown(one.token, one.word)
        if deliveries:
            self._deal(deliveries)
        if limit and not desk.away:
            self._more = len(deliveries) >= limit
            self._look_at = 0.0
            if not self._more and self._bell_fd < 0:
                # Look once more, for what came before or is due: perhaps along with an outcome.
                keeps = self._arm() and self._bell.keeps
                self._more = self._bell_fd >= 0 and not (keeps and not deliveries)
                self._look_at = time.monotonic() + (LATER if keeps else SOON) if deliveries else 0

    def _quota(self, worker: Worker) -> int | None:
        """How many more tasks the child may be sent in its life; None: any number."""
        if self.max_tasks is None:
            return None
        return self.max_tasks - worker.number + worker.returned

    def _wants(self, worker: Worker) -> int:
        """How many tasks a child has room for: it always has the next batch before it."""
        has, full = len(worker.sent), self._batch
        if has > full // 2 or not worker.ready or worker.retiring or worker.leaving \
                or worker.revoked is not None or worker.blocked or worker.tasks.pending:
            return 0
        quota = self._quota(worker)
        return full - has if quota is None else min(full - has, quota)

    def _room(self) -> int:
        before = len(self._backlog) + self.desk.coming
        return max(0, sum(map(self._wants, self.workers)) - before)

    def _deal(self, deliveries: list[Delivery]) -> list[Delivery]:
        """Give tasks to those who have room, evenly; returns what is left."""
        left = [delivery for delivery in deliveries if weight(delivery) < MOST]
        if len(left) < len(deliveries):   # unless the other side would take it for nonsense
            self._outcomes += [too_long(each) for each in deliveries if weight(each) >= MOST]
        hungry = [(worker, room) for worker in self.workers if (room := self._wants(worker))]
        hungry.sort(key=lambda entry: len(entry[0].sent))
        for index, (worker, room) in enumerate(hungry):
            if not left:
                break
            share = min(room, -(-len(left) // (len(hungry) - index)))
            worker.send(left[:share])
            left = left[share:]
        now = time.monotonic()
        self._backlog.extend((delivery, now) for delivery in left)
        return left

    def _deal_backlog(self, now: float) -> None:
        """What came back goes to another child, or soon to another pool."""
        if self._stop_at is None:
            held = self.desk.held
            entries = [entry for entry in self._backlog if entry[0].token in held]
            self._backlog.clear()
            left = len(self._deal([delivery for delivery, _ in entries]))
            if left:  # they have waited for longer than `_deal` knows
                self._backlog = deque(entries[len(entries) - left:])
        if self._stop_at is not None or self._backlog \
                and now - self._backlog[0][1] > PATIENCE:
            self._outcomes += [Outcome(delivery.id, delivery.token, 'release')
                               for delivery, _ in self._backlog]
            self._backlog.clear()

    def _disown(self, token: bytes, word: str) -> None:
        """A task is not ours any more: nobody here must go on with it."""
        now = time.monotonic()
        for worker in self.workers:
            running = worker.runs(token)
            if running is not None:
                told = worker.disown(token, word, now)
                log.info('%s: %s was %s, and worker %d is %s', self.label,
                         named(running.header, running.id), word, worker.pid,
                         'told' if told else 'killed')
                if told:
                    self._watch_at = now
            elif any(delivery.token == token for _, delivery in worker.sent):
                worker.disputed[token] = word
                worker.revoke(now)  # the others come back with it, and it is sorted out there

    def _arm(self) -> bool:
        try:
            self._bell.arm()
            self._bell_fd = self._bell.fileno()
        except QueueError as error:
            log.debug('no bell: %s', error)
            return False
        self._armed_at = time.monotonic()
        self._ears.add(self._bell_fd)
        return True

    def _disarm(self) -> None:
        if self._bell_fd >= 0:
            self._ears.remove(self._bell_fd)
            self._bell_fd = -1

    # 6. -- stop --------------------------------------------------------------

    def wake(self) -> None:
        """Have the manager look around; from any thread."""
        self._ears.wake()

    def stop(self, grace: float | None = None) -> None:
        """Take no more, let what runs end within the grace time, give the rest back."""
        ends = time.monotonic() + (self.grace if grace is None else grace)
        self._stop_at = ends if self._stop_at is None else min(ends, self._stop_at)
        self.wake()

    @property
    def stopping(self) -> bool:
        """Whether it has been told to stop."""
        return self._stop_at is not None

    def _finished(self) -> bool:
        now = time.monotonic()
        late = self._stop_at is not None and now >= self._stop_at
        for worker in self.workers:
            if late:
                worker.kill()
            else:
                self._hold_back(worker, now)
        busy = self.workers or self._outcomes or self._backlog or self.desk.coming and not late
        # An outage is not waited for longer than for tasks; then leases will run out.
        return not busy and (not self.desk.owes or late)

    def _end(self) -> None:
        for worker in self.workers:  # only after a crash: otherwise there are none
            worker.kill()
            worker.reap(wait=True)
            worker.close()
        self.workers = []
        if self._outcomes:
            self.desk.turn(self._outcomes, 0)
        self._naming.close()
        self.desk.leave()
        self._disarm()
        self._bell.close()
        self._ears.close()
