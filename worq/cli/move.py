"""The command that moves a queue into another one: move."""
from __future__ import annotations

import os

from worq.cli.session import Session, person
from worq.cli.usage import NOTHING, OK, Command, Parser, Refused, Usage, seconds
from worq.cli.words import spell
from worq.const import DEFAULT
from worq.core import Broker
from worq.moving import Conflict, moving_to, place
from worq.trust import UNSIGNED, Unsigned

__all__ = ['MOVE']


def move(session: Session) -> int:
    """Move what has not begun."""
    args = session.args
    if getattr(args, 'queue', ''):
        raise Usage('name the queues as FROM and TO, and not by -q')
    source = queue_at(session, args.source)
    target = queue_at(session, args.target, True, target_secret(args.to_secret, args.to_unsigned))
    sizes = source.backend.stats()
    count = sizes['enqueued'] + sizes['scheduled'] + sizes['pending']
    running = f'; {sizes["processing"]:,} run, and are waited for, up to {spell(args.timeout)}' \
        if sizes['processing'] else ''
    if moving_to(source.backend):
        session.out.note(f'{source.name} is being moved already; this goes on with it')
    elif not count and not sizes['processing']:
        session.out.note(f'{source.name}: there is nothing to be moved')
        return NOTHING
    else:
        session.confirm(f'Move {count:,} tasks from {place(source.backend)} to '
                        f'{place(target.backend)}{running}?')
    try:
        done = source.move_tasks(target, args.timeout, by=person())
    except ValueError as mistake:
        raise Usage(str(mistake)) from mistake
    except Conflict as conflict:
        raise Refused(str(conflict)) from conflict
    session.out.object({'from': place(source.backend), 'to': place(target.backend),
                        **done._asdict()})
    session.out.text(f'{done.tasks:,} tasks moved, and {done.results:,} results that they need')
    if done.distrusted:
        session.out.note(f'{done.distrusted:,} signatures did not fit before, and do not now: was '
                         'the right secret given?')
    return OK


def queue_at(session: Session, where: str, new: bool = False, secret: object = None) -> Broker:
    """The queue of an argument: its name, or an address with the name behind a ``#``."""
    if not where:
        raise Usage('the name of a queue is empty')
    if '://' not in where:
        return session.broker(where, new=new, secret=secret)
    url, _, name = where.partition('#')
    return session.broker(name or DEFAULT, new=new, url=url, secret=secret)


def target_secret(variable: str, unsigned: bool) -> str | Unsigned | None:
    """What signs where it is moved to, if that is told apart."""
    if unsigned:
        return UNSIGNED
    if variable and not os.environ.get(variable):
        raise Usage(f'{variable} is not set, and was to have the secret of TO')
    return os.environ[variable] if variable else None


def arguments(parser: Parser) -> None:
    """Of ``move``."""
    parser.add_argument('source', metavar='FROM', help='the name of a queue, or its address, as '
                        'redis://HOST:PORT/DB#NAME')
    parser.add_argument('target', metavar='TO', help='likewise')
    parser.add_argument('--timeout', type=seconds, default=60.0, metavar='TIME',
                        help='wait so long for what runs (60)')
    parser.add_argument('--to-secret', default='', metavar='VARIABLE',
                        help='the environment variable with the secret of TO, if it has another')
    parser.add_argument('--to-unsigned', action='store_true', help='what is in TO is not signed')
    parser.add_argument('-y', '--yes', action='store_true', help='do not ask')


MOVE = Command(move, 'Move all that has not begun from one queue to another, of whatever engine: '
                     'queued, scheduled and pending tasks with their edges, and the results that '
                     'they need. FROM is paused meanwhile. If it is interrupted, do it again, and '
                     'it goes on.', arguments, """\
  worq move mail mail2 --url redis://localhost:6379/0
  worq move sqlite:///work.db#default redis://localhost:6379/0""")
