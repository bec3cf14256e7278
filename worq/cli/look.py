"""Commands that look: info, queues, pools, explain."""
from __future__ import annotations

from typing import Any, Iterable

import worq
from worq import pools as reading
from worq.cli.session import Session
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command, Parser, Usage
from worq.const import UNKNOWN
from worq.core import Broker
from worq.explain import span
from worq.pools import Pool
from worq.printable import shortened

__all__ = ['INFO', 'QUEUES', 'POOLS', 'EXPLAIN']


# -- info --

def info(session: Session) -> int:
    """How queues stand."""
    for name in session.queues:
        broker = session.broker(name)
        sizes = broker.backend.stats()
        oldest = max((ms for ms in broker.backend.oldest() if ms is not None), default=None)
        pools = broker.pools()
        workers = [worker for pool in pools for worker in pool.workers]
        busy = sum(bool(worker.id) for worker in workers)
        session.out.object({
            'queue': name, 'url': session.safe_url, **sizes,
            'oldest': None if oldest is None else oldest / 1000,
            'pools': len(pools), 'workers': sum(pool.size for pool in pools), 'busy': busy})
        say = session.out.text
        say(f'{name}  {session.safe_url}', 'bold')
        say(f'  pools       {len(pools):>8,}   {busy:,} of {sum(pool.size for pool in pools):,} '
            'workers busy')
        waited = f'   the oldest for {span(oldest)}' if oldest is not None else ''
        say(f'  enqueued    {sizes["enqueued"]:>8,}{waited}')
        for state in ('processing', 'pending', 'scheduled'):
            say(f'  {state:<11} {sizes[state]:>8,}')
        say('  ended       ' + ', '.join(f'{sizes[word]:,} {word}' for word in
                                         ('succeeded', 'failed', 'expired', 'cancelled')))
        for trouble in troubles(pools, sizes):
            say(f'  ! {trouble}', 'red')
    return OK


def troubles(pools: list[Pool], sizes: dict[str, int]) -> Iterable[str]:
    """What hinders the work."""
    if not pools and any(sizes[state] for state in ('enqueued', 'pending', 'scheduled')):
        yield 'no pool works on this queue: start one, as worq worker MODULE:SPACE'
    for pool in pools:
        if pool.broken:
            yield f'pool {pool.id}: none of its workers can begin: {shortened(pool.broken)}'
        elif pool.stuck:
            yield f'pool {pool.id}: all of its workers wait for other tasks'


INFO = Command(info, 'How a queue stands: sizes by state, ages, pools.', examples='''\
  worq info
  worq info -q mail,images --json''', queues='several')


# -- queues --

def queues(session: Session) -> int:
    """The queues at an address."""
    session.broker().backend.ping()   # for what cannot be asked may be told as empty
    found = []
    for name in sorted(worq.queues(session.url, **session.options)):
        broker = session.broker(name)
        found.append({'queue': name, **broker.backend.stats(), 'pools': len(broker.pools())})
    if not found:
        session.out.note(f'no pool has worked on a queue at {session.safe_url} yet')
        return NOTHING
    session.out.rows(found, [
        Column('QUEUE', lambda item: item['queue']),
        *map(counted, ('enqueued', 'processing', 'pending', 'scheduled', 'pools'))])
    return OK


def counted(word: str) -> Column:
    """A column of numbers."""
    return Column(word.upper(), lambda item: f'{item[word]:,}', right=True)


QUEUES = Command(queues, 'The queues at an address that pools have worked on.')


# -- pools --

def pools(session: Session) -> int:
    """The pools of a queue, and what runs there."""
    broker = session.broker()
    found = every_pool(broker)
    if not found:
        session.out.note(f'no pool works on {broker.name} at {session.safe_url}: start one, as '
                         f'worq worker MODULE:SPACE -q {broker.name}')
        return NOTHING
    session.out.rows(found, [
        Column('POOL', lambda pool: pool.id),
        Column('KIND', lambda pool: pool.kind),
        Column('HOST', lambda pool: pool.host, cut=True),
        Column('PID', lambda pool: pool.pid or '', right=True),
        Column('SEEN', lambda pool: f'{span(int(pool.seen * 1000))} ago', right=True),
        Column('BUSY', lambda pool: f'{sum(bool(one.id) for one in pool.workers)}/{pool.size}',
               right=True),
        Column('STATE', state_of, style=lambda pool: '' if pool.alive and not pool.broken else
               'red')])
    if session.out.as_json:
        return OK
    running = [(pool, worker) for pool in found for worker in pool.workers if worker.id]
    if running:
        session.out.text()
        session.out.rows(running, [
            Column('TASK', lambda item: item[1].name, cut=True),
            Column('ID', lambda item: item[1].id),
            Column('FOR', lambda item: span(int(item[1].seconds * 1000)), right=True),
            Column('WORKER', lambda item: item[1].number, right=True),
            Column('POOL', lambda item: item[0].id, cut=True),
            Column('BEHIND IT', lambda item: len(item[1].behind) or '', right=True),
            Column('WAITS FOR', lambda item: item[1].waits_for)])
    for pool in found:
        if pool.broken:
            session.out.text(f'{pool.id}: none of its workers can begin: '
                             f'{shortened(pool.broken)}', 'red')
    return OK


def every_pool(broker: Broker) -> list[Pool]:
    """Those that are alive, and those that are silent and have not left."""
    found = [reading.read(id, told, broker.url) for id, told in broker.backend.pools().items()]
    return sorted(found, key=lambda pool: (not pool.alive, pool.id))


def state_of(pool: Pool) -> str:
    """How a pool stands, in a word."""
    if not pool.alive:
        return 'silent'
    if pool.broken:
        return 'broken'
    if pool.starting:
        return 'starting'
    if pool.stuck:
        return 'stuck'
    return 'runs' if any(worker.id for worker in pool.workers) else 'idle'


POOLS = Command(pools, 'The pools of a queue, and what their workers run.')


# -- explain --

def explain(session: Session) -> int:
    """Why tasks are not done yet."""
    broker = session.broker()
    status = OK
    for id in session.args.ids:
        deferred = deferred_of(broker, id)
        deferred.name = ''   # the queue knows it, or nobody
        told = deferred.explain()
        word = broker.status(id)
        session.out.object({'id': id, 'status': word, 'explanation': told})
        session.out.text(told)
        if word == UNKNOWN:
            status = NOTHING
    return status


def deferred_of(broker: Broker, id: str) -> Any:
    """The Deferred of an id that was typed."""
    try:
        return broker.deferred(id)
    except ValueError as mistake:
        raise Usage(str(mistake)) from mistake


def ids(parser: Parser) -> None:
    """Arguments: some ids."""
    parser.add_argument('ids', nargs='+', metavar='ID', help='of a task')


EXPLAIN = Command(explain, 'Why a task is not done yet, or how it ended, in plain words.', ids,
                  '  worq explain fit-42')

