"""Commands for whoever keeps a queue: check, audit."""
from __future__ import annotations

import os
import time
from typing import Any, Iterable

from worq.cli.look import troubles
from worq.cli.session import Session
from worq.cli.usage import OK, UNHEALTHY, Command, Parser, seconds
from worq.cli.words import spell
from worq.core import Broker
from worq.printable import line
from worq.view.records import Overview, PoolRow

__all__ = ['AUDIT', 'CHECK', 'findings']

PAUSE = 1.2       # seconds between two looks: what changed during the first one is seen no more
SILENT = 600.0    # seconds after which a pool that was not heard of is an old story


# -- check --

def check(session: Session) -> int:
    """Whether all is well."""
    status = OK
    for name in session.queues:
        broker = session.broker(name)
        view = broker.view()
        overview, pools = view.overview(), view.pools()
        problems = list(problems_of(overview, pools, session.args))
        if session.args.audit:
            problems += [f'audit: {text}' for text in findings(broker)]
        if session.args.late is not None:
            problems += late_ones(broker, session.args.late)
        oldest = overview.waited
        session.out.object({'queue': name, 'healthy': not problems, 'problems': problems,
                            'oldest': oldest, 'pools': overview.pools, 'sizes': overview.sizes})
        good = [f'oldest ready task {spell(oldest)}' if oldest is not None else 'nothing is ready',
                beat(overview.pools), *['audit clean'] * session.args.audit]
        session.out.text(f'{name}: {"; ".join(problems) if problems else ", ".join(good)}',
                         'red' if problems else '')
        status = UNHEALTHY if problems else status
    return status


def beat(pools: int) -> str:
    """How many pools beat."""
    return f'{pools:,} pools beat' if pools != 1 else '1 pool beats'


def problems_of(overview: Overview, pools: list[PoolRow], args: Any) -> Iterable[str]:
    """What is wrong, by the bounds that were given."""
    oldest = overview.waited
    if args.oldest is not None and oldest is not None and oldest > args.oldest:
        yield (f'the oldest ready task has waited for {spell(oldest)}, more than '
               f'{spell(args.oldest)}')
    if overview.pools < args.pools:
        yield f'{beat(overview.pools)}, fewer than {args.pools:,}'
    if args.here:
        here = os.uname().nodename
        mine = [pool for pool in pools if pool.alive and pool.host == here]
        if not mine:
            yield f'no pool of this host, {here}, beats'
        # A probe must not have this pool restarted for what another one has, nor for tasks that
        # wait for each other, which would wait again.
        yield from troubles(overview, [pool for pool in mine if pool.broken])
    else:
        yield from troubles(overview, [pool for pool in pools if pool.seen <= SILENT])


def late_ones(broker: Broker, most: float) -> Iterable[str]:
    """Schedules that are late by more than so many seconds, or cannot be put from here at all."""
    for one in broker.schedules.list():
        if one.problem:
            yield f'the schedule {line(one.name)} is broken: {line(one.problem)}'
        elif one.late > most:
            yield (f'a run of the schedule {line(one.name)} is due for {spell(one.late)}, and no '
                   'pool has put it')


def check_arguments(parser: Parser) -> None:
    """Of ``check``."""
    parser.add_argument('--oldest', type=seconds, metavar='TIME',
                        help='no ready task has waited for longer')
    parser.add_argument('--pools', type=int, default=0, metavar='N', help='so many pools beat')
    parser.add_argument('--here', action='store_true', help='a pool of this host beats')
    parser.add_argument('--late', type=seconds, metavar='TIME',
                        help='no schedule is late by more, or broken')
    parser.add_argument('--no-audit', dest='audit', action='store_false',
                        help='do not look for damage, which reads the whole queue')


CHECK = Command(check, 'Whether all is well with queues: no pool is silent, broken or stuck, and '
                       'what else is asked for. The exit status is 4 if not.',
                check_arguments, '''\
  worq check --oldest 60 --pools 2          for a monitor
  worq check --here --no-audit              for a liveness probe beside a pool''',
                queues='several')


# -- audit --

def audit(session: Session) -> int:
    """Look for damage."""
    broker = session.broker()
    found = broker.backend.audit(True) if session.args.repair else findings(broker)
    for text in found:
        session.out.object({'queue': broker.name, 'finding': text,
                            'repaired': session.args.repair})
        session.out.text(text)
    if not found:
        session.out.text(f'{broker.name}: all is as it should be')
        return OK
    if not session.args.repair:
        session.out.note('worq audit --repair sets it right')
        return UNHEALTHY
    left = findings(broker)
    session.out.text(f'{broker.name}: repaired' if not left else 'not repaired:')
    for text in left:
        session.out.text(text)
    return UNHEALTHY if left else OK


def findings(broker: Broker) -> list[str]:
    """What is wrong: twice in a row, for what changes meanwhile may be reported once."""
    first = broker.backend.audit()
    if not first:
        return []
    time.sleep(PAUSE)
    again = set(broker.backend.audit())
    return [text for text in first if text in again]


def arguments(parser: Parser) -> None:
    """Of ``audit``."""
    parser.add_argument('--repair', action='store_true', help='set right what is wrong')


AUDIT = Command(audit, 'Look whether all that a queue keeps is as it should be. The exit status is '
                       '4 if something is wrong.', arguments, '''\
  worq audit
  worq audit --repair''')
