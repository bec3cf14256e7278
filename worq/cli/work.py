"""``worq worker``: pools that run the tasks of a module."""
from __future__ import annotations

from importlib import import_module
import os
import select
import signal
import threading
import time
from traceback import StackSummary, TracebackException
from typing import Any, Callable, Sequence

from worq import const
from worq.cli.reload import Changes
from worq.cli.session import Session
from worq.cli import target as targets
from worq.cli.target import Wrong, begin, configure, find, known
from worq.cli.usage import NOTHING, OK, Command, Parser, Usage, one_of, seconds
from worq.codec import FORMATS
from worq.core import Broker
from worq.errors import QueueError
from worq.pool.base import Error
from worq.pool.forks import Handlers
from worq.printable import line, logger
from worq.streams import pipe

__all__ = ['WORKER']

log = logger(__name__)

LEVELS = ['debug', 'info', 'warning', 'error']
THREADS = 8         # workers of a pool of threads, unless somebody says how many
GRACE = 30.0        # seconds that running tasks have when it stops
LOOK = 0.5          # seconds between two looks whether a queue is empty, or a file has changed
SHOWN = 10          # names of tasks at the start


def worker(session: Session) -> int:
    """Run the tasks of a module until it is stopped."""
    args = session.args
    if args.reload and args.kind == 'thread':
        raise Usage('--reload replaces worker processes: it is for --kind process or aio')
    if args.max_tasks is not None and args.kind == 'thread':
        raise Usage('--max-tasks replaces worker processes: it is for --kind process or aio')
    if args.concurrency is not None and args.kind != 'aio':
        raise Usage('--concurrency is of an event loop: it is for --kind aio')
    url = session.url
    configure(args.log)
    found = found_here(session)   # what is wrong with it is told here, and not by each child
    sure = bool(getattr(args, 'queue', ''))
    brokers = [session.broker(name, args.codec, new=True, patient=True) for name in session.queues]
    names = known(found)
    told = f', tasks {", ".join(names[:SHOWN])}{" ..." * (len(names) > SHOWN)}' if names else ''
    session.out.note(line(f'worq: {args.kind} pool on {session.safe_url}, queue '
                          f'{", ".join(session.queues)}{told}; Ctrl-C stops it'))
    calls = [(url, args.target, broker.name, sure, session.secret, args.codec, args.log)
             for broker in brokers]
    try:
        pools, run = KINDS[args.kind](session, brokers, calls)
    except (Wrong, ValueError) as mistake:
        raise Usage(str(mistake)) from mistake
    if args.burst:
        beside(lambda: empty(pools, brokers), signal.SIGTERM)
    if args.reload:
        changes = Changes(args.target)
        beside(changes.seen, signal.SIGHUP)
    try:
        run()
    except Error as error:
        session.out.note(f'worq: {error}')
        return NOTHING
    return OK


def found_here(session: Session) -> Any:
    """What is to be run. If its module cannot be imported the traceback is told, from there on."""
    target: str = session.args.target
    try:
        return find(target)
    except Usage:
        raise
    except (Exception, SystemExit) as error:
        told = TracebackException.from_exception(error)
        told.stack = StackSummary.from_list([
            frame for frame in told.stack if frame.filename not in (__file__, targets.__file__)
            and 'importlib' not in frame.filename])
        session.out.note(''.join(told.format()).rstrip())
        raise Usage(f'{target.partition(":")[0]} cannot be imported, see above') from error


Pools = tuple[list[Any], Callable[[], None]]   #: pools that are not started, and what runs them


def processes(session: Session, brokers: list[Broker], calls: list[tuple[Any, ...]]) -> Pools:
    """Pools of child processes."""
    args, module = session.args, import_module('worq.pool.process')
    pools = [module.WorkerPool(broker, begin, call[1:], workers=args.workers, grace=args.grace,
                               max_worker_tasks=args.max_tasks, name=broker.name,
                               schedules=args.cron)
             for broker, call in zip(brokers, calls)]
    return pools, lambda: module.start_pools(*pools)


def loops(session: Session, brokers: list[Broker], calls: list[tuple[Any, ...]]) -> Pools:
    """Pools of child processes, each of which runs many coroutines in an event loop."""
    args, module = session.args, import_module('worq.pool.aio')
    more = {} if args.concurrency is None else {'concurrency': args.concurrency}
    workers = 1 if args.workers is None else args.workers
    pools = [module.WorkerPool(broker, begin, call[1:], workers=workers, grace=args.grace,
                               max_worker_tasks=args.max_tasks, name=broker.name,
                               schedules=args.cron, **more)
             for broker, call in zip(brokers, calls)]
    return pools, lambda: module.start_pools(*pools)


def threads(session: Session, brokers: list[Broker], calls: list[tuple[Any, ...]]) -> Pools:
    """Pools of threads."""
    args, module = session.args, import_module('worq.pool.thread')
    pools = [module.WorkerPool(session.enter_context(begin(*call)),
                               THREADS if args.workers is None else args.workers,
                               schedules=args.cron)
             for call in calls]
    return pools, lambda: run_threads(pools, args.grace)


KINDS = {'process': processes, 'thread': threads, 'aio': loops}


def beside(happened: Callable[[], bool], number: int) -> None:
    """Look, in a thread, whether something has happened; then send this program a signal."""
    def look() -> None:
        while True:
            time.sleep(LOOK)
            if happened():
                os.kill(os.getpid(), number)
    threading.Thread(target=look, name='worq-look', daemon=True).start()


def empty(pools: Sequence[Any], brokers: Sequence[Broker]) -> bool:
    """Whether nothing is left to do in some queues, but for what is due later."""
    return all(pool_is_alive(pool) for pool in pools) and all(map(_is_done, brokers))


def pool_is_alive(pool: Any) -> bool:
    """Whether it has begun; a pool of threads has, if it has threads."""
    alive: bool = pool.alive if hasattr(pool, 'alive') else bool(pool.threads)
    return alive


def _is_done(broker: Broker) -> bool:
    try:
        sizes = broker.backend.stats()
    except QueueError:
        return False
    if sizes[const.ENQUEUED] or sizes[const.PROCESSING]:
        return False
    # what is pending is about to become ready, unless it waits for what is scheduled
    return not sizes[const.PENDING] or sizes[const.SCHEDULED] > 0


def run_threads(pools: Sequence[Any], grace: float) -> None:
    """Run pools of threads until SIGTERM or SIGINT. A second one, or the end of the grace time,
    gives back what still runs."""
    hear, tell = pipe()
    os.set_blocking(tell, False)
    handlers = Handlers()
    for each in (signal.SIGTERM, signal.SIGINT):
        handlers.set(each, lambda *told: os.write(tell, b'!'))
    poll = select.poll()
    poll.register(hear, select.POLLIN)
    try:
        for pool in pools:
            pool.start()
        while not poll.poll(1000):
            pass
        os.read(hear, 1)
        for pool in pools:
            pool.stop(join=False)
        limit = time.monotonic() + grace
        while any(thread.is_alive() for pool in pools for thread in pool.threads) \
                and time.monotonic() < limit and not poll.poll(20):
            pass
    finally:
        for pool in pools:
            pool.end(0)
        handlers.restore()
        os.close(hear)
        os.close(tell)


def arguments(parser: Parser) -> None:
    """Of ``worker``."""
    parser.add_argument('target', metavar='TARGET',
                        help='MODULE:SPACE, a TaskSpace; MODULE:FUNCTION, called with the address '
                        'of the queue, returns a broker that exposes tasks; MODULE: its init')
    parser.add_argument('--kind', type=one_of('kind', KINDS), default='process', metavar='KIND',
                        help='what the workers are: process (default), thread, or aio: processes '
                        'with an event loop each, for coroutines')
    parser.add_argument('--workers', type=int, metavar='N',
                        help='how many, for each queue; by default a process for each processor, '
                        f'{THREADS} threads, or one event loop')
    parser.add_argument('--concurrency', type=int, metavar='N',
                        help='of aio: tasks that run at a time in each event loop; 100 by default')
    parser.add_argument('--burst', action='store_true',
                        help='end when the queue is empty, but for what is due later')
    parser.add_argument('--reload', action='store_true',
                        help='for development: replace the worker processes when a file changes')
    parser.add_argument('--grace', type=seconds, default=GRACE, metavar='TIME',
                        help='what running tasks have when it stops; 30 s by default')
    parser.add_argument('--max-tasks', type=int, metavar='N',
                        help='replace a worker process after so many tasks')
    parser.add_argument('--no-cron', dest='cron', action='store_false',
                        help='run tasks only: leave schedules to other pools')
    parser.add_argument('--codec', type=one_of('codec', FORMATS), default='pickle', metavar='CODEC',
                        help=f'for a TaskSpace: {", ".join(FORMATS)}')
    parser.add_argument('--log', type=one_of('level', LEVELS), default='info', metavar='LEVEL',
                        help='debug, info (default), warning or error')


WORKER = Command(worker, 'Run tasks until Ctrl-C or SIGTERM. SIGHUP replaces the worker processes.',
                 arguments, '''\
  worq worker tasks:text                    the TaskSpace `text` in tasks.py
  worq worker app.jobs:init --workers 4 -q mail,images
  worq worker app.web:init --kind aio --concurrency 500
  worq worker tasks:text --reload           while you write it
  worq worker tasks:text --burst            do what there is, and end''', queues='several')
