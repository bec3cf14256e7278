"""Commands that look at a queue: info, queues, pools."""
from __future__ import annotations

import time
from typing import Iterable, Mapping

from worq import const
from worq.cli.session import Session
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command
from worq.cli.words import ago, figures, spell
from worq.printable import shortened
from worq.view import View
from worq.view.records import Overview, Paused, PoolRow

__all__ = ['INFO', 'QUEUES', 'POOLS', 'summary', 'troubles', 'state_of']

AGAIN = 0.6     # seconds between two looks that tell whether a queue drains or grows


# -- info --

def info(session: Session) -> int:
    """How queues stand."""
    for name in session.queues:
        view = session.view(name)
        overview = paced(view)
        pools = view.pools()
        session.out.object(overview)
        head, *rest = summary(overview)
        session.out.text(head, 'bold')
        for text in rest:
            session.out.text(text)
        for text in troubles(overview, pools):
            session.out.text(f'  ! {text}', 'red')
    return OK


def paced(view: View) -> Overview:
    """The numbers of a queue, with the pace at which it drains or grows, if it can be told."""
    overview = view.overview()
    if overview.sizes['enqueued'] and overview.drain is None and overview.grows is None:
        time.sleep(AGAIN)
        overview = view.overview()
    return overview


def summary(overview: Overview) -> list[str]:
    """The numbers of a queue, a line each."""
    sizes, oldest = overview.sizes, overview.waited
    pace = ''
    if overview.grows is not None:
        pace = f'grows by {overview.grows:,.0f} a minute'
    elif overview.drain and sizes['enqueued']:
        pace = f'drained in {spell(overview.drain)}'
    longest = overview.longest
    notes = {
        'enqueued': ', '.join(part for part in [
            '' if oldest is None else f'the oldest for {spell(oldest)}', pace] if part),
        'processing': '' if longest is None else
        f'the longest for {spell(longest.seconds)}: {longest.name} {longest.id}',
        'pending': 'wait for other tasks' if sizes['pending'] else '',
        'scheduled': '' if overview.due is None else f'the next in {spell(overview.due)}'}
    width = max(5, *(len(f'{count:,}') for count in [overview.pools, *sizes.values()]))

    def row(word: str, count: int, note: str) -> str:
        return f'  {word:<11} {count:>{width},}   {note}'.rstrip()
    lines = [f'{overview.queue}  {overview.url}',
             row('pools', overview.pools,
                 f'{overview.busy:,} of {overview.workers:,} workers busy')]
    lines += [f'  paused      {said(one)}, {ago(time.time() - one.moment)}'
              for one in overview.paused]
    lines += [row(state, sizes[state], notes.get(state, '')) for state in
              ['enqueued', 'processing', 'pending', 'scheduled',
               *(state for state in sizes if state not in notes)]]
    if overview.ended is not None:
        lines.append(f'  last hour   {ended(overview.ended)}')
    lines.append(f'  ever        {ended(overview.totals)}')
    return lines


def said(one: Paused) -> str:
    """What is paused, and by whom."""
    what = 'all' if one.names == '*' else one.names
    return f'{what} by {one.who}' if one.who else what


def ended(counts: Mapping[str, int]) -> str:
    """How tasks have ended."""
    words = [f'{counts[word]:,} {word}'
             for word in ('success', 'failed', 'expired', 'cancelled', 'redelivered')
             if counts.get(word)]
    return ', '.join(words) or 'nothing has ended'


def troubles(overview: Overview, pools: Iterable[PoolRow]) -> Iterable[str]:
    """What hinders the work."""
    waiting = sum(overview.sizes[state] for state in ('enqueued', 'pending', 'scheduled'))
    if waiting and not overview.pools:
        yield ('no pool works on this queue: start one, as worq worker MODULE:SPACE'
               + (f' -q {overview.queue}' if overview.queue != 'default' else ''))
    for pool in pools:
        if not pool.alive:
            yield (f'pool {pool.id} was last heard of {ago(pool.seen)}: it has died, or its host '
                   'is cut off')
        elif is_late(pool):
            yield (f'pool {pool.id} was last heard of {ago(pool.seen)}: if it has died, what it '
                   'runs goes to others soon')
        elif pool.broken:
            yield f'pool {pool.id}: none of its workers can begin: {shortened(pool.broken)}'
        elif pool.stuck:
            yield f'pool {pool.id}: all of its workers run tasks that wait for others'
        elif pool.blocked:
            yield f'pool {pool.id}: {pool.blocked}'


INFO = Command(info, 'How a queue stands: sizes by state, ages, pace, pools, and what is wrong.',
               examples='''\
  worq info
  worq info -q mail,images --json''', queues='several')


# -- queues --

def queues(session: Session) -> int:
    """The queues at an address."""
    broker = session.broker()
    broker.backend.ping()   # for what cannot be asked may be told as empty
    overviews = [session.view(name).overview() for name in broker.view().queues()]
    found = [each for each in overviews
             if each.pools or any(each.sizes.values()) or any(each.totals.values())]
    if not found:
        session.out.note(f'no pool has worked on a queue at {session.safe_url} yet')
        return NOTHING
    paused = [Column('PAUSED', lambda each: ' '.join(one.names for one in each.paused), cut=2)] \
        if any(each.paused for each in found) else []
    session.out.rows(found, [
        Column('QUEUE', lambda each: each.queue, cut=1),
        *map(sized, ('enqueued', 'processing', 'pending', 'scheduled')),
        *paused,
        Column('OLDEST', lambda each: figures(each.waited), right=True),
        Column('POOLS', lambda each: f'{each.pools:,}', right=True),
        Column('BUSY', lambda each: f'{each.busy:,}/{each.workers:,}', right=True)])
    return OK


def sized(state: str) -> Column:
    """A column of how many are in a state."""
    return Column(state.upper(), lambda each: f'{each.sizes[state]:,}', right=True)


QUEUES = Command(queues, 'The queues at an address that pools have worked on.')


# -- pools --

def pools(session: Session) -> int:
    """The pools of a queue, and what runs there."""
    found = session.view().pools()
    if not found:
        session.out.note(f'no pool works on {session.queue} at {session.safe_url}: start one, as '
                         f'worq worker MODULE:SPACE -q {session.queue}')
        return NOTHING
    session.out.rows(found, POOL)
    if session.out.as_json:
        return OK
    running = [(pool, worker) for pool in found for worker in pool.workers if worker.id]
    if running:
        session.out.text()
        session.out.rows(sorted(running, key=lambda item: -item[1].seconds), WORK)
    for pool in found:
        if pool.broken:
            session.out.text(f'{pool.id}: none of its workers can begin: '
                             f'{shortened(pool.broken)}', 'red')
        elif pool.blocked:
            session.out.text(f'{pool.id}: {pool.blocked}', 'red')
    return OK


POOL = [
    Column('POOL', lambda pool: pool.id),
    Column('KIND', lambda pool: pool.kind),
    Column('SEEN', lambda pool: f'{figures(pool.seen)} ago', right=True),
    Column('BUSY', lambda pool: f'{pool.busy}/{pool.size}', right=True),
    Column('STATE', lambda pool: state_of(pool),
           style=lambda pool: '' if state_of(pool) in ('idle', 'runs', 'starting') else 'red'),
    Column('TASKS', lambda pool: '?' if pool.tasks is None else len(pool.tasks), right=True),
    Column('VERSION', lambda pool: pool.version)]

WORK = [
    Column('TASK', lambda item: item[1].name, cut=1),
    Column('ID', lambda item: item[1].id),
    Column('FOR', lambda item: figures(item[1].seconds), right=True),
    Column('POOL', lambda item: item[0].id, cut=2),
    Column('WORKER', lambda item: item[1].number, right=True),
    Column('BEHIND IT', lambda item: len(item[1].behind) or '', right=True),
    Column('WAITS FOR', lambda item: item[1].waits_for)]


def state_of(pool: PoolRow) -> str:
    """How a pool stands, in a word."""
    if not pool.alive:
        return 'silent'
    if is_late(pool):
        return 'late'
    if pool.broken:
        return 'broken'
    if pool.workers and all(worker.state == 'starting' for worker in pool.workers):
        return 'starting'
    if pool.blocked:
        return 'blocked'
    return 'stuck' if pool.stuck else 'runs' if pool.busy else 'idle'


def is_late(pool: PoolRow) -> bool:
    """Whether a pool should have been heard of since. While it runs something it beats each
    second, but for one of threads, which some C code may keep from that."""
    return bool(pool.alive and pool.busy and pool.kind != 'thread'
                and pool.seen * 1000 > const.LEASE)


POOLS = Command(pools, 'The pools of a queue, and what their workers run.')
