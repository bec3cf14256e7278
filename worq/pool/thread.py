"""A pool of threads."""
from __future__ import annotations

from collections import deque
import logging
import os
import select
from threading import Event, Lock, Thread
import time
from typing import Any, Callable, Self
from weakref import WeakSet

from worq import const
from worq.core import Broker
from worq.errors import QueueError
from worq.plain import logger
from worq.pool.base import PATIENCE, Desk, Error, check_broker
from worq.pool.courier import settle_alone
from worq.pool.grip import GRACE
from worq.pool.pace import HORIZON, batch_size, smooth
from worq.pool.run import runner
from worq.pool.threadgrip import ThreadGrip
from worq.queue.base import Bell, Delivery, Held, Lost, Outcome
from worq.streams import pipe

__all__ = ['WorkerPool', 'Error']

log = logger(__name__)

LEASE = 60_000      # ms: a thread that beats may have to wait long for the GIL
FLUSH = 0.005       # seconds that an outcome waits for those of the tasks behind it
NO_BELL = 0.25      # seconds between two looks at a queue that has no bell for us
SILENCE = 2.75      # seconds; an armed bell rings within little more than two, or not at all
FAREWELL = 5.0      # seconds that a pool which ends waits for a queue that is out of reach
WATCH = 1.0         # seconds between two looks at workers that run one task each


class Worker:
    """A thread of the pool, with what it has before it and behind it."""

    def __init__(self, number: int, grip: ThreadGrip) -> None:
        self.number = number
        self.grip = grip
        self.buffer: deque[Delivery] = deque()   # taken, not begun
        self.done: deque[Outcome] = deque()      # run, not settled
        self.since: float | None = None          # monotonic: when the running task began

    def __repr__(self) -> str:
        return f'<Worker {self.number}, {len(self.buffer)} before it, {len(self.done)} behind>'


class WorkerPool:
    """Runs a broker's tasks in threads of this process.

    Good for tasks that wait (for a network, a disk, a program), and for tests. Its threads
    take and settle by themselves, several short tasks at once. What a thread pool cannot do:

    * run Python code on more than one core: a `worq.pool.process.WorkerPool` can;
    * stop each task that does not end. A `Cancelled` or `TaskTimeout` is raised in it, but only
      when it next runs Python code: not while it sleeps, waits for a lock or a socket, or
      computes in C. Its thread remains occupied as long. A coroutine is cancelled
      where it awaits;
    * beat while some C code keeps the GIL. So leases are 60 seconds long here, and a task that
      keeps the GIL for longer may be run again by another pool (its late outcome is
      dropped then);
    * survive a crash: a task that brings down the process brings down all of them.

    :param broker: whose tasks are run: those that it exposes.
    :param workers: number of threads.
    :param thread_factory: makes the threads; called as ``threading.Thread`` is.
    """

    def __init__(self, broker: Broker, workers: int = 1,
                 thread_factory: Callable[..., Any] = Thread) -> None:
        check_broker(broker)
        const.check_count('workers', workers, most=const.WORKERS)
        self.broker = broker
        self.workers = workers
        self.thread_factory = thread_factory
        self.threads: list[Any] = []
        self._open = False               # whether there is something to close
        self._stopping = Event()
        self._stopping.set()
        self._changing = Lock()
        _pools.add(self)

    def __repr__(self) -> str:
        state = 'stopped' if not self.threads else \
            'stopping' if self._stopping.is_set() else 'running'
        return f'<thread.WorkerPool [{self.broker.name}] {self.workers} workers, {state}>'

    # -- start and stop -------------------------------------------------------

    def start(self, timeout: float = 1) -> None:
        """Start the threads.

        :param timeout: seconds that ``broker.next_task`` is given to wait, where that
            method has been replaced; nothing else waits for it.
        :raises Error: if the pool is running.
        """
        const.check_timeout(timeout)
        with self._changing:
            if self.threads and not self._stopping.is_set():
                raise Error(f'{self!r} is running already')
            self._join()
            self.threads = []
            self._stopping.clear()
            self._open = True
            self._desk = Desk(self.broker.backend, LEASE, self._look_for_news)
            self._bell: Bell = self.broker.backend.bell(self._desk.pool)
            self._wake = pipe()
            self._door = Lock()              # one worker at a time takes, or waits to
            self._watch = Event()
            self._seconds: float | None = None
            self._by_hand: dict[bytes, str] = {}
            self._desk.tell_names(self.broker.tasks)
            self._keeper_wakes = 0.0
            self._team = [Worker(number, ThreadGrip(self._wake_keeper))
                          for number in range(self.workers)]
            self._keeper = Thread(target=self._keep, name='worq-keeper', daemon=True)
            try:
                for worker in self._team:
                    self._start(worker, timeout)
                self._keeper.start()
            except BaseException:  # no more threads to be had: those that run must end
                self._stop()
                self._join()
                raise
        log.info('%r', self)

    def _start(self, worker: Worker, timeout: float) -> None:
        # A program that has wrapped next_task wants to be asked for each task.
        gated = 'next_task' in vars(self.broker)
        work, args = (self._work_by_hand, (worker, timeout)) if gated else (self._work, (worker,))
        thread = self.thread_factory(target=work, args=args)
        thread.start()
        self.threads.append(thread)

    def stop(self, use_sentinel: bool = False, join: bool = True) -> None:
        """Take no more tasks, let those that run end, and give the others back.

        :param use_sentinel: accepted for programs written for WorQ 1.x; workers that wait
            for a task are always woken.
        :param join: wait for the threads.
        """
        with self._changing:
            if self.threads and not self._stopping.is_set():
                self._stop()
        if join:
            self.join()

    def _stop(self) -> None:
        self._stopping.set()
        os.write(self._wake[1], b'!')  # stays there: it wakes one after the other

    def join(self) -> None:
        """Wait for the threads to end; does not stop them."""
        threads = self.threads  # each start has a list of its own
        for thread in list(threads):
            thread.join()  # without the lock, which stop needs
        with self._changing:
            if self.threads is threads:  # nobody has started it again meanwhile
                self._join()

    def _join(self) -> None:
        if not self._open:
            return
        self._open = False
        for thread in self.threads:
            thread.join()
        self._watch.set()
        if self._keeper.is_alive():
            self._keeper.join()
        self.threads = []
        self._desk.leave(FAREWELL)
        self._bell.close()
        for fd in self._wake:
            os.close(fd)

    def _forked(self) -> None:
        """In a fork: it has no threads, and the tasks and the pipe are not its own.

        A byte in that pipe would tell the workers of the original to end, for ever.
        """
        self._changing = Lock()
        self._stopping = Event()
        self._stopping.set()
        self.threads = []
        if self._open:
            self._open = False
            for fd in self._wake:
                os.close(fd)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    # -- a worker -------------------------------------------------------------

    def _work(self, worker: Worker) -> None:
        run_one = runner(self.broker, worker.grip)
        while True:
            try:
                deliveries = self._next(worker)
                if not deliveries:
                    return
                worker.buffer.extend(deliveries)
                if len(deliveries) > 1:
                    self._watch.set()
                self._run(worker, run_one)
            except Exception:
                # Nothing of the user's gets here, so this is a fault of ours: the task it
                # hit will be lost with its lease, and the worker must not be.
                log.exception('worker %d failed, and goes on', worker.number)
                self._stopping.wait(FLUSH)

    def _next(self, worker: Worker) -> list[Delivery]:
        """Settle what is done and take more, waiting for it; nothing once we stop."""
        while True:
            if self._desk.late and not self._stopping.is_set():
                self._desk.settle(self._grab(worker))   # before this one waits for what is long
                deliveries = self._desk.fetched()
            else:
                deliveries = self._take(worker)
                if self._stopping.is_set() and not self._desk.late:
                    return deliveries
            if deliveries:
                return deliveries

    def _take(self, worker: Worker) -> list[Delivery]:
        outcomes = self._grab(worker)
        looked = False
        if self._stopping.is_set():
            self._desk.settle(outcomes + self._desk.unfetched())
            return []
        if self._door.acquire(blocking=False):
            looked = True
            # Nobody waits at the queue, so there may be something: one round trip for both.
            try:
                deliveries, lost = self._desk.turn(outcomes, self._room())
            finally:
                self._door.release()
            self._disown(lost)
            if deliveries or self._desk.late:
                return deliveries
        elif outcomes:
            self._desk.settle(outcomes)
        with self._door:
            # If it rings only for what comes after it is armed, look once more. Not armed before
            # the first look: a bell that nobody listens to takes others' rings.
            bell, armed, known = self._bell, looked and self._arm(), looked and self._bell.keeps
            while not self._stopping.is_set():
                if not (armed and known):
                    deliveries, lost = self._desk.turn([], self._room())
                    self._disown(lost)
                    if deliveries or self._desk.late:
                        return deliveries
                    known = bell.keeps
                if not armed:
                    armed = self._arm()
                    continue
                rang = self._listen()
                known = not rang and known and not bell.due()
                armed = not rang and self._arm()
        return []

    def _room(self) -> int:
        return min(batch_size(self._seconds), self._desk.backend.handful)

    def _arm(self) -> bool:
        try:
            self._bell.arm()
        except QueueError as error:
            log.debug('no bell: %s', error)
            self._stopping.wait(NO_BELL)
            return False
        return True

    def _listen(self) -> bool:
        """Wait for the bell; whether it rang for something."""
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        pause = self._desk.away
        if not pause:
            try:
                poll.register(self._bell.fileno(), select.POLLIN)
            except QueueError:
                pause = NO_BELL
        found = poll.poll(1000 * (pause or min(SILENCE, self._desk.beat_in + 0.001)))
        return any(fd != self._wake[0] for fd, _ in found) and self._bell.clear()

    def _run(self, worker: Worker, run_one: Callable[[Delivery], Outcome]) -> None:
        begin = flushed = time.monotonic()
        while True:
            try:
                delivery = worker.buffer.popleft()
            except IndexError:  # all is done, or the keeper has given the rest back
                break
            if self._stopping.is_set():
                worker.done.append(Outcome(delivery.id, delivery.token, 'release'))
                continue
            if delivery.token not in self._desk.held:
                continue  # cancelled, or another pool's, before it has begun
            worker.since = begin
            outcome = run_one(delivery)
            if worker.grip.cancelled != delivery.token:
                worker.done.append(outcome)
            now = time.monotonic()
            self._seconds = smooth(self._seconds, now - begin, 0.1)
            begin = now
            if now - flushed > FLUSH and worker.buffer:
                self._desk.settle(self._grab(worker))
                flushed = now
        worker.since = None

    @staticmethod
    def _grab(worker: Worker) -> list[Outcome]:
        """Take all of a worker's outcomes; the keeper may do so at the same time."""
        outcomes: list[Outcome] = []
        while worker.done:
            try:
                outcomes.append(worker.done.popleft())
            except IndexError:
                break
        return outcomes

    def _work_by_hand(self, worker: Worker, timeout: float) -> None:
        run_one = runner(self.broker, worker.grip)
        while not self._stopping.is_set():
            try:
                delivery = self.broker.next_task(timeout=timeout)
                if delivery is None:
                    continue
                self._by_hand[delivery.token] = delivery.id
                outcome = run_one(delivery)
                self._by_hand.pop(delivery.token, None)
                if worker.grip.cancelled != delivery.token:
                    settle_alone(self.broker.backend, self.broker.hand, outcome)
            except Exception:
                if not self._stopping.is_set():
                    log.exception('worker %d failed, and goes on', worker.number)
                    self._stopping.wait(PATIENCE)

    # -- the keeper: beats, keeps time limits, and gives back what waits too long ---

    def _keep(self) -> None:
        while any(thread.is_alive() for thread in self.threads):
            self._keeper_wakes = float('inf')   # a limit that begins just now wakes it
            patience = self._patience()
            self._keeper_wakes = time.monotonic() + patience
            self._watch.wait(patience)
            self._watch.clear()
            try:
                self._give_back()
                self._keep_limits()
                self._disown(self._desk.beat())
                self._tell()
                if self._by_hand:
                    held = [Held(id, token) for token, id in list(self._by_hand.items())]
                    lost = self.broker.backend.beat(self.broker.hand, held, LEASE)
                    for one in lost:   # or it would be told again with each beat
                        self._by_hand.pop(one.token, None)
                    self._disown(lost)
            except Exception:
                log.exception('the keeper failed, and goes on')

    def _tell(self) -> None:
        # Who has ended, or runs a long task, makes no turn; who has the door will make one.
        if self._desk.untold and self._door.acquire(blocking=False):
            try:
                _, lost = self._desk.turn([], 0)
            finally:
                self._door.release()
            self._disown(lost)

    def _patience(self) -> float:
        """Seconds until the keeper has to look again."""
        if any(worker.buffer for worker in self._team):
            return HORIZON
        waits = [WATCH, self._desk.beat_in + 0.001]
        now = time.monotonic()
        for worker in self._team:
            due = worker.grip.due
            if due is not None:
                waits.append(max(due - now if now < due else due + GRACE - now, 0.001))
        return min(waits)

    def _wake_keeper(self, due: float) -> None:
        """Have it look at a limit that ends at `due`, unless it is awake by then anyway."""
        if due < self._keeper_wakes:
            self._watch.set()

    def _keep_limits(self) -> None:
        for worker in self._team:
            grip = worker.grip
            if grip.due is None:
                continue
            grip.stop('timeout')
            will = grip.give_up()
            if will is None:
                continue
            log.warning('%s does not let go, beyond its limit; it occupies worker %d', will.id,
                        worker.number)
            if will.token in self._by_hand:
                self.broker.backend.settle(self.broker.hand, [will])
            else:
                self._desk.settle([will])

    def _look_for_news(self) -> None:
        """Before each beat, whichever thread it comes from."""
        self._desk.tell_names(self.broker.tasks)
        for worker in self._team:
            news = worker.grip.news()
            if news is not None and news[0] in self._desk.held:
                self._desk.progress.update([news])

    def _disown(self, lost: list[Lost]) -> None:
        """These are not ours any more: a cancelled one is to stop."""
        for one in lost:
            told = one.word == 'cancelled' and any(
                worker.grip.stop('cancelled', one.token) for worker in self._team)
            log.log(logging.INFO if told else logging.WARNING,
                    '%s was %s while it was here', one.id, one.word)

    def _give_back(self) -> None:
        now = time.monotonic()
        for worker in self._team:
            since = worker.since
            if since is None or now - since < PATIENCE:
                continue
            outcomes = self._grab(worker)
            while worker.buffer:
                try:
                    delivery = worker.buffer.popleft()
                except IndexError:
                    break
                outcomes.append(Outcome(delivery.id, delivery.token, 'release'))
            if outcomes:
                self._desk.settle(outcomes)


_pools: WeakSet[WorkerPool] = WeakSet()


def _forked() -> None:
    for pool in list(_pools):
        pool._forked()


os.register_at_fork(after_in_child=_forked)
