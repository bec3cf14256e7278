"""A pool of threads."""
from __future__ import annotations

import atexit
from contextlib import suppress
import logging
import os
import select
import threading
import time
from typing import Any, Callable, Self
from weakref import WeakSet

from worq import const
from worq.core import Broker
from worq.errors import QueueError
from worq.latch import Flag, JoinableThread, Latch
from worq.lock import Lock
from worq.printable import logger
from worq.pool.base import PATIENCE, Desk, Error, check_broker, check_schema
from worq.pool.courier import settle_alone
from worq.pool.prefetch import HORIZON, batch_size, smooth
from worq.pool.report import Report
from worq.pool.run import runner
from worq.pool.schedules import Scheduler
from worq.pool.thread.workers import GivenUp, Worker, wait_for, why
from worq.pool.worklog import WorkLog
from worq.queue.base import Bell, Delivery, Held, Lost, Outcome
from worq.streams import pipe

__all__ = ['WorkerPool', 'Error']

log = logger(__name__)

LEASE = 60_000      # ms: a thread that beats may have to wait long for the GIL
FLUSH = 0.005       # seconds that an outcome waits for those of the tasks behind it
NO_BELL = 0.25      # seconds between two looks at a queue that has no bell for us
SILENCE = 2.75      # seconds; an armed bell rings within little more than two, or not at all
FAREWELL = 5.0      # seconds that a pool which ends waits for a queue that is out of reach
EXIT = 30.0         # seconds that running tasks have when the program ends
WATCH = 1.0         # seconds between two looks at workers that run one task each


class WorkerPool:
    """Runs a broker's tasks in threads of this process.

    Good for tasks that wait (for a network, a disk, a program), and for tests. Its threads
    take and settle by themselves, several short tasks at once. What a thread pool cannot do:

    * run Python code on more than one core: a `worq.pool.process.WorkerPool` can;
    * stop each task that does not end. A `Cancelled` or `TaskTimeout` is raised in it, but only
      when it next runs Python code: not while it sleeps, waits for a lock or a socket, or computes
      in C. If it does not let go in two seconds, its thread is given up: another takes its place,
      and it ends when its task does, if ever. A coroutine is cancelled where it awaits;
    * beat while some C code keeps the GIL. So leases are 60 seconds long here, and a task that
      keeps it for longer may be run again by another pool (its late outcome is dropped then);
    * survive a crash: a task that brings down the process brings down all of them.

    :param broker: whose tasks are run: those that it exposes.
    :param workers: number of threads.
    :param thread_factory: makes the threads; called as ``threading.Thread`` is.
    :param schedules: whether it puts what is due of schedules, and declares those of its code. If
        not, it runs tasks only.
    """

    def __init__(self, broker: Broker, workers: int = 1,
                 thread_factory: Callable[..., Any] = JoinableThread, *,
                 schedules: bool = True) -> None:
        check_broker(broker)
        self.broker = broker
        self.workers = const.check_count('workers', workers, most=const.WORKERS)
        self.thread_factory = thread_factory
        self.schedules = schedules
        self.threads: list[Any] = []
        self._open = False               # whether there is something to close
        self._stopping = Flag(True)
        self._changing = Lock()   # a signal handler may stop what is stopped just now
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
        :raises Error: if the pool is running. QueueError: if another version has the queue.
        """
        const.check_timeout(timeout)
        with self._changing:
            if self.threads and not self._stopping.is_set():
                raise Error(f'{self!r} is running already')
            check_schema(self.broker.backend)
            self._join()
            self.threads, self._timeout = [], timeout
            self._stopping.clear()
            self._lost = GivenUp()
            self._vacant: list[Worker] = []  # given up, and no other has replaced them yet
            backend = self.broker.backend
            self._desk = Desk(backend, LEASE, self._look_for_news, kind='thread', size=self.workers)
            self._report = Report(self._desk.tell, repr(self))
            self._scheduler = Scheduler(backend, self.broker.codec, self.schedules)
            self._bell: Bell = backend.bell(self._desk.pool)
            self._wake = pipe()
            self._door = threading.Lock()    # one worker at a time takes, or waits to
            self._watch = Latch()
            self._seconds: float | None = None
            self._by_hand: dict[bytes, str] = {}
            self._desk.tell_names(self.broker.tasks)
            self._log = WorkLog(self.broker.codec, f'ThreadPool-{os.getpid()}-{self.broker.name}')
            self._keeper_wakes = 0.0
            self._team = [Worker(n, self._wake_keeper) for n in range(self.workers)]
            # All are daemons, so that a program which forgets its pool can end: see `end`.
            self._keeper = JoinableThread(target=self._keep, name='worq-keeper', daemon=True)
            self._open = True   # not before: an interruption leaves nothing to close
            try:
                for worker in self._team:
                    self._start(worker)
                self._keeper.start()
                self._scheduler.declare(self.broker.timings)
            except BaseException:  # no more threads to be had: those that run must end
                self._stop()
                self._join()
                raise
            atexit.register(self.end)
        log.info('%r', self)

    @property
    def _custom(self) -> bool:
        """Whether the program makes the threads, and has its own mind about them."""
        return self.thread_factory is not JoinableThread

    def _start(self, worker: Worker) -> None:
        # A program that has wrapped next_task wants to be asked for each task.
        work = self._work_by_hand if 'next_task' in vars(self.broker) else self._work
        worker.thread = self.thread_factory(target=worker.live, args=(work,))
        if not self._custom:
            worker.thread.daemon = True
        self.threads.append(worker.thread)   # first: it runs, if this is interrupted now
        try:
            worker.thread.start()
        except Exception:
            self.threads.remove(worker.thread)
            raise

    def stop(self, use_sentinel: bool = False, join: bool = True) -> None:
        """Take no more tasks, let those that run end, and give the others back.

        :param use_sentinel: accepted for programs written for WorQ 1.x.
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
        wait_for(threads)  # without the lock, which stop needs
        with self._changing:
            if self.threads is threads:  # nobody has started it again meanwhile
                self._join()

    def _join(self) -> None:
        if not self._open:
            return
        self._open = False
        wait_for(self.threads)
        self._watch.set()
        if self._keeper.is_alive():
            self._keeper.join()
        wait_for(self.threads)  # it may just have begun another
        self.threads = []
        self._scheduler.stop()
        self._desk.leave(FAREWELL)
        self._bell.close()
        for fd in self._wake:
            os.close(fd)
        atexit.unregister(self.end)

    def end(self, seconds: float = EXIT) -> None:
        """Stop, as the program is to end: what still runs after `seconds` is given back.

        Python would wait for ever for threads that are no daemons, before it comes here. Not by
        what ``threading`` calls before that: the program's own may call tasks until they end.
        """
        try:
            self.stop(join=False)
            wait_for(self.threads, seconds)
        finally:   # also after a Ctrl-C, by somebody who does not want to wait
            if any(thread.is_alive() for thread in self.threads):
                self._abandon()
                atexit.unregister(self.end)
            else:
                self.join()

    def _abandon(self) -> None:
        """Give back what still runs: its thread ends with the program."""
        self._give_back()
        for given in [one for worker in self._team for one in worker.abandon()]:
            if given.token not in self._by_hand:
                self._desk.settle([given])
            else:
                with suppress(QueueError):   # then its lease will run out
                    self.broker.backend.settle(self.broker.hand, [given])
        self._desk.leave(FAREWELL)

    def _forked(self) -> None:
        """In a fork: it has no threads, and the tasks and the pipe are not its own.

        A byte in that pipe would have the workers of the original look for ever."""
        self._changing = Lock()
        self._stopping = Flag(True)
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

    def _runner(self, worker: Worker) -> Callable[[Delivery], Outcome]:
        return self._log.around(runner(self.broker, worker.interrupter), worker.number,
                                lambda delivery: worker.interrupter.cancelled == delivery.token)

    def _work(self, worker: Worker) -> None:
        run_one = self._runner(worker)
        while not worker.interrupter.given_up:
            try:
                deliveries = self._next(worker)
                if not deliveries:
                    return
                worker.buffer.extend(deliveries)
                if len(deliveries) > 1:
                    self._watch.set()
                self._run(worker, run_one)
            except BaseException:
                # Nothing of the user's gets here, so this is a fault of ours: the task it
                # hit will be lost with its lease, and the worker must not be.
                log.exception('worker %d failed, and goes on', worker.number)
                worker.since = None
                worker.done.extend(worker.back())
                self._stopping.wait(FLUSH)

    def _next(self, worker: Worker) -> list[Delivery]:
        """Settle what is done and take more, waiting for it; nothing once we stop."""
        while True:
            if self._desk.late and not self._stopping.is_set():
                self._desk.settle(worker.grab())   # before this one waits for what is long
                deliveries = self._desk.fetched()
            else:
                deliveries = self._take(worker)
                if self._stopping.is_set() and not self._desk.late:
                    return deliveries
            if deliveries:
                return deliveries

    def _take(self, worker: Worker) -> list[Delivery]:
        outcomes = worker.grab()
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
        token = b''
        try:
            while True:
                try:
                    delivery = worker.buffer.popleft()
                except IndexError:  # all is done, or the keeper has given the rest back
                    break
                token = delivery.token
                if self._stopping.is_set():
                    worker.done.append(Outcome(delivery.id, token, 'release'))
                    continue
                if token not in self._desk.held:
                    continue  # cancelled, or another pool's, before it has begun
                worker.since = begin
                outcome = run_one(delivery)
                now = time.monotonic()
                if worker.interrupter.cancelled != token:
                    worker.done.append(outcome.at(int(begin * 1e6), int(now * 1e6)))
                self._seconds = smooth(self._seconds, now - begin, 0.1)
                begin = now
                if now - flushed > FLUSH and worker.buffer:
                    self._desk.settle(worker.grab())
                    flushed = now
        except BaseException:
            self._desk.forget(token)   # beaten for, it would be ours for ever
            raise
        worker.since = None

    def _work_by_hand(self, worker: Worker) -> None:
        run_one = self._runner(worker)
        while not self._stopping.is_set() and not worker.interrupter.given_up:
            try:
                delivery = self.broker.next_task(timeout=self._timeout)
                if delivery is None:
                    continue
                self._by_hand[delivery.token] = delivery.id
                try:
                    outcome = run_one(delivery)
                finally:
                    self._by_hand.pop(delivery.token, None)
                if worker.interrupter.cancelled != delivery.token:
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
                self._give_up()
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
        now = time.monotonic()
        waits = [wait for worker in self._team for wait in worker.waits(now)]
        return min(WATCH, self._desk.beat_in + 0.001, *waits)

    def _wake_keeper(self, due: float) -> None:
        """Have it look at a limit that ends at `due`, unless it is awake by then anyway."""
        if due < self._keeper_wakes:
            self._watch.set()

    def _keep_limits(self) -> None:
        for worker in self._team:
            interrupter = worker.interrupter
            if interrupter.due is None:
                continue
            interrupter.stop('timeout')
            will = interrupter.give_up()
            if will is None:
                continue
            if will.token in self._by_hand:
                self.broker.backend.settle(self.broker.hand, [will])
            else:
                self._desk.settle([will])

    def _give_up(self) -> None:
        """Put others in the place of threads whose tasks do not let go, and may never."""
        for worker in list(self._team):
            if worker.interrupter.patience is None or self._lost.crowded:
                continue
            found = worker.interrupter.give_up_thread()
            if found is None:
                continue
            task, word = found
            self._desk.settle(worker.back())   # nothing: it was given back long ago
            self._team.remove(worker)
            self._lost.threads.append(worker.thread)
            self._vacant.append(worker)
            log.error('%s [%s] %s, and does not let go: its thread is given up, and another takes '
                      'its place; %d such threads still run', task.name, task.id,
                      why(word), len(self._lost.threads))
        while self._vacant:
            old = self._vacant[0]
            if not self._stopping.is_set():
                worker = Worker(old.number, self._wake_keeper)
                self._start(worker)   # if there are no more to be had, it is tried again
                self._team.append(worker)
            self.threads.remove(old.thread)   # not before: while there are none, nobody waits
            self._vacant.pop(0)

    def _look_for_news(self) -> None:
        """Before each beat, whichever thread it comes from."""
        self._desk.tell_names(self.broker.tasks)
        now = time.monotonic()
        self._report.look([worker.doing(now) for worker in self._team])
        for worker in self._team:
            news = worker.interrupter.news()
            if news is not None and news[0] in self._desk.held:
                self._desk.progress.update([news])

    def _disown(self, lost: list[Lost]) -> None:
        """These are not ours any more: a cancelled one is to stop."""
        for one in lost:
            told = False
            try:
                told = one.word == 'cancelled' and any(
                    worker.interrupter.stop('cancelled', one.token) for worker in self._team)
                if not told:
                    any(worker.interrupter.disown(one.token, one.word) for worker in self._team)
            except Exception:   # who has just taken tasks must not lose them for that
                log.exception('%s could not be interrupted', one.id)
            log.log(logging.INFO if told else logging.WARNING,
                    '%s was %s while it was here', one.id, one.word)

    def _give_back(self) -> None:
        now = time.monotonic()
        for worker in self._team:
            since = worker.since
            if since is None or now - since < PATIENCE:
                continue
            outcomes = worker.grab() + worker.back()
            if outcomes:
                self._desk.settle(outcomes)


_pools: WeakSet[WorkerPool] = WeakSet()


def _forked() -> None:
    for pool in list(_pools):
        pool._forked()


os.register_at_fork(after_in_child=_forked)
