"""The child of a pool of event loops, a program of its own: one loop for its life.

Threads: the main one has the loop. A *reader* waits for the pipe, and posts what comes to the
loop. The *watcher* has the duties that it has in each child, and a few more: it has the loop say
that it goes round, and sends the signal that hits who blocks it. What the loop writes goes out
at once as far as the pipe takes it, and the rest by the watcher: a loop waits for nobody.
"""
from __future__ import annotations

import asyncio
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
import functools
import inspect
import os
import select
import signal
import threading
import time
from time import monotonic_ns
from typing import Any, Coroutine, Iterable, NoReturn

from worq.core import Broker
from worq.pool.aio.hold import Hold, of_this_code
from worq.pool.aio.page import LoopPage
from worq.pool.aio.protocol import ABANDON, ORDER, unpack_order
from worq.pool.aio.run import Runner, is_coroutine
from worq.pool.aio.steps import Main, Step, task_factory
from worq.pool.children import child
from worq.pool.children.begin import checked, made
from worq.pool.children.child import Child, peak_memory
from worq.pool.children.frames import Outlet
from worq.pool.children.respawn import one_line
from worq.pool.children.protocol import OUTCOMES, Page, pack_outcome, unpack_tasks
from worq.pool.interrupt import rouse
from worq.pool.run import contexts
from worq.printable import logger
from worq.queue.base import Delivery

__all__ = ['LoopChild', 'start']

log = logger(__name__)

TICK = 0.2            # seconds between two ticks of the loop, while something runs
NEWS = 0.5            # seconds between two looks at the progress of what runs
PEAK_NS = 100_000_000  # ns between two looks at the peak of memory
BYE = 5.0             # seconds that abandoned coroutines have at the end


class LoopChild(Child):
    """Duties: 1. begin, in the loop; 2. run what comes; 3. tell; 4. the watcher's.

    :param concurrency: how many deliveries there are at a time; the manager sends no more.
    :param threads: in how many threads functions run that are no coroutines; 0: nowhere.
    """

    page: LoopPage

    def __init__(self, tasks_in: int, outcomes_out: int, page: Page, answers_in: int,
                 concurrency: int = 1, threads: int = 0) -> None:
        super().__init__(tasks_in, outcomes_out, page, answers_in)
        self.loop: asyncio.AbstractEventLoop
        self.concurrency = concurrency
        self.threads = threads
        self.running: dict[bytes, Hold] = {}    # by token
        self._waiting: deque[Delivery] = deque()   # sent ahead
        self._number = 0                        # of the last delivery that began, or was skipped
        self._outlet = Outlet(outcomes_out)
        self._more = True                       # there may come more deliveries
        self._abandoned = False                 # some may not let go
        self._over: asyncio.Future[None]
        self._flushing = False
        self._looked = self._peak = 0
        self._ident = threading.get_ident()

    def _forked(self) -> None:
        super()._forked()
        self._outlet.fd = None
        self._outlet.pending.clear()

    # 1. -- begin ---------------------------------------------------------------

    def live(self, first: list[bytes], asks: bool) -> int:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                return self._go_round(runner.get_loop(), self._live(first, asks))
        finally:
            self._drain()   # also if what init_func has opened cannot be closed

    @staticmethod
    def _go_round(loop: asyncio.AbstractEventLoop, main: Coroutine[Any, Any, int]) -> int:
        """Run the loop until this is done, whatever a task does to stop it.

        An event loop ends with the first ``sys.exit()`` in a callback, or in an asyncio task that
        one of ours has started; and it has a method for that. It is as it was between two callbacks
        then, and can go on: for the others, and whoever awaits that task has the exception.
        """
        task = loop.create_task(main)
        while True:
            try:
                return loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt, RuntimeError) as error:
                if task.done() or loop.is_closed():
                    raise
                log.error('something in the event loop has tried to end it, and it goes on: %s',
                          one_line(error), exc_info=error)

    async def _live(self, first: list[bytes], asks: bool) -> int:
        self.loop = asyncio.get_running_loop()
        self._over = self.loop.create_future()
        calls = Calls(self.page)
        self.loop.set_default_executor(calls.counted(ThreadPoolExecutor(
            thread_name_prefix='asyncio')))
        functions = calls.counted(ThreadPoolExecutor(
            self.threads, thread_name_prefix='worq-function')) if self.threads else None
        self.loop.set_task_factory(task_factory(self.page.numbers))
        async with AsyncExitStack() as stack:
            error: BaseException | None = None
            try:
                found = made(first, asks)
                if hasattr(found, '__aenter__'):
                    found = await stack.enter_async_context(found)
                elif inspect.isawaitable(found):
                    found = await found
                broker = checked(found, first)
            except BaseException as err:
                error = err
            if self.told_broken(error):
                return 1
            self._refuse_functions(broker)
            self.tell_ready(broker)
            self._fresh = contexts()
            self._runner = Runner(broker, functions, calls.counted(ThreadPoolExecutor(
                thread_name_prefix='worq-codec')))
            threading.Thread(target=self._read, name='worq-child-reader', daemon=True).start()
            while not self._over.done():
                with suppress(asyncio.CancelledError):   # by a task that cancels all there are
                    await asyncio.wait([self._over])
            if self.running:   # what does not let go; nobody waits for it
                await asyncio.wait([hold.main for hold in self.running.values() if hold.main],
                                   timeout=BYE)
        broker.close()
        return 0

    def _refuse_functions(self, broker: Broker) -> None:
        """Functions that are no coroutines: say what becomes of them."""
        names = [name for name, function in broker.tasks.items() if not is_coroutine(function)]
        if names and not self.threads:
            for name in names:   # a pool that has them runs them; this one does not tell of them
                del broker.tasks[name]
            log.info('no coroutines, and left to other pools: %s', ', '.join(sorted(names)))
        elif names:
            log.info('no coroutines, so they run in %d threads, where nothing can stop them: %s',
                     self.threads, ', '.join(sorted(names)))

    # 2. -- run what comes --------------------------------------------------------

    def _read(self) -> None:
        """In the reader."""
        try:
            while True:
                frame = self.read()
                if frame[0] in (ORDER, ABANDON):
                    token, word = unpack_order(frame)
                    hold = self.running.get(token)
                    if hold is not None and frame[0] == ORDER:
                        hold.order(word)
                    elif hold is not None:
                        hold.abandoned = self._abandoned = True
                        self.loop.call_soon_threadsafe(self._look_whether_over)
                else:
                    self.loop.call_soon_threadsafe(self._begin, list(unpack_tasks(frame)))
        except EOFError:
            self.loop.call_soon_threadsafe(self._no_more)
        except Exception:
            if os.getpid() == self.pid:
                log.critical('the reader failed', exc_info=True)
                os._exit(1)

    def _no_more(self) -> None:
        self._more = False
        self._look_whether_over()

    def _look_whether_over(self) -> None:
        if self._waiting:
            self._fill()   # one that was abandoned leaves room
        if not self._more and not self._over.done() and not self._waiting \
                and all(hold.abandoned for hold in self.running.values()):
            self._over.set_result(None)

    def _begin(self, deliveries: Iterable[Delivery]) -> None:
        """As many as there is room for; the others when there is."""
        if not self.running:
            self.tick()
        self._waiting.extend(deliveries)
        self._fill()
        self._working = bool(self.running)
        if self._asleep:
            self.nudge()

    def _fill(self) -> None:
        """Begin what waits, in order of their numbers, as the page has it."""
        waiting, numbers = self._waiting, self.page.numbers
        room = self.concurrency - len(self.running)
        if self._abandoned:
            room += sum(hold.abandoned for hold in self.running.values())
        while waiting and room > 0:
            delivery = waiting.popleft()
            number = self._number = self._number + 1
            if not self.page.begin(number):
                continue
            room -= 1
            hold = self.running[delivery.token] = Hold(self, number)
            hold.main = Main(Step(self._run(delivery, hold), numbers, number),
                             loop=self.loop, context=self._fresh())

    async def _run(self, delivery: Delivery, hold: Hold) -> None:
        begun = monotonic_ns()
        try:
            outcome = await self._runner.run(delivery, hold)
        finally:
            del self.running[delivery.token]
        ended = monotonic_ns()
        if ended - self._looked > PEAK_NS:
            self._looked, self._peak = ended, peak_memory()
        self._done.extend(pack_outcome(outcome, begun // 1000, ended // 1000, self._peak))
        if not self._flushing:
            self._flushing = True
            self.loop.call_soon(self._end_turn)

    # 3. -- tell ------------------------------------------------------------------

    def _end_turn(self) -> None:
        """What has ended in this turn of the loop goes together."""
        self._flushing = False
        if self._waiting:
            self._fill()   # first, for they may have to wait
        self.flush()
        if not self.running:
            self._working = False
        if not self._more:
            self._look_whether_over()

    def write(self, frame: bytes) -> None:
        self._outlet.send(frame)
        if self._outlet.pending:
            self.nudge()

    def flush(self) -> None:
        done, self._done = self._done, []
        if done:
            self.say([OUTCOMES, *done])

    def _drain(self) -> None:
        """At the end: write what is left, as fast as the manager reads it."""
        poll = select.poll()
        poll.register(self.outcomes_out, select.POLLOUT)
        while self._outlet.pending:
            poll.poll(1000)
            with self._lock:
                self._outlet.pump()

    # 4. -- the watcher's ----------------------------------------------------------

    def tick(self) -> None:
        """The loop goes round."""
        self.page.numbers[LoopPage.TICK] = monotonic_ns()

    def obey(self, number: int, frame: Any) -> None:
        """The signal's handler: hit the code that runs, if it is that of one who is meant."""
        hold = of_this_code(frame)
        if hold is not None:
            hold.obey()

    def watch(self) -> None:
        """As in each child; and have an eye on the loop."""
        poll = self._poll()
        tick_at = news_at = 0.0
        while True:
            self._asleep = True           # said first, looked second, as `_begin` does
            wait = TICK if self._working else None
            self._asleep = wait is None
            if self._outlet.pending:
                poll.register(self.outcomes_out, select.POLLOUT)
            found = dict(poll.poll(None if wait is None else 1000 * wait))
            if self.outcomes_out in found:
                with self._lock:
                    self._outlet.pump()
            with suppress(KeyError):
                poll.unregister(self.outcomes_out)
            self._see_to(poll, found)
            now = time.monotonic()
            if self._working and now >= tick_at:
                tick_at = now + TICK
                with suppress(RuntimeError):   # the loop is closed
                    self.loop.call_soon_threadsafe(self.tick)
                self._see_to_orders()
            if self._working and now >= news_at:
                news_at = now + NEWS
                self._report()

    def _see_to_orders(self) -> None:
        """Those that should have been interrupted, and are not: they block the loop, or another
        one does."""
        holds = list(self.running.values())
        if any(hold.due for hold in holds):
            signal.pthread_kill(self._ident, signal.SIGUSR1)
        for hold in holds:
            rouse(hold.wake())

    def _report(self) -> None:
        for hold in list(self.running.values()):
            task = hold.task
            if task is None:
                continue
            waits_for, news = task.waits_for, task.reported
            if waits_for != hold.waits_for:
                hold.waits_for = waits_for
                self.say_waits(task, waits_for)
            if news is not None and news is not hold.told:
                hold.told = news
                self.say_progress(task, news)


class Calls:
    """Counts on the page what runs in threads."""

    def __init__(self, page: LoopPage) -> None:
        self._numbers = page.numbers
        self._lock = threading.Lock()

    def counted(self, executor: ThreadPoolExecutor) -> ThreadPoolExecutor:
        """Have the calls of this one counted."""
        submit = executor.submit

        def noted(function: Any, *args: Any, **kw: Any) -> Future[Any]:
            return submit(functools.partial(self._run, function), *args, **kw)
        executor.submit = noted   # type: ignore[method-assign,assignment]
        return executor

    def _run(self, function: Any, *args: Any, **kw: Any) -> Any:
        self._add(1)
        try:
            return function(*args, **kw)
        finally:
            self._add(-1)

    def _add(self, more: int) -> None:
        with self._lock:
            self._numbers[LoopPage.THREADS] += more


def loop_factory() -> Any:
    """uvloop's, where it is installed; None: asyncio's."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def start(argv: list[str]) -> NoReturn:
    """Be a child, and end. See ``worq.pool.children.child.start``."""
    concurrency, threads = map(int, argv[:2])
    child.start(argv[2:], functools.partial(
        LoopChild, concurrency=concurrency, threads=threads), LoopPage)
