"""The command for schedules: cron."""
from __future__ import annotations

from datetime import datetime
import json
import time
from typing import Any, NamedTuple

from worq.cli.output import STYLES
from worq.cli.session import Session, person
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command, Parser, Refused, Usage, one_of, seconds
from worq.cli.words import clock, figures
from worq.core import Broker
from worq.printable import line
from worq.schedules.table import Schedule

__all__ = ['CRON', 'moment']

ACTS = 'list', 'run', 'pause', 'resume', 'set', 'forget'
WIDE = 140   # characters of a line that has room for moments beside how far away they are
LATE = 5.0   # seconds by which a run may be behind before it is shown as late


class Row(NamedTuple):
    """A schedule, and what its last run came to."""

    one: Schedule
    state: str   #: '': nobody knows any more


def columns(wide: bool) -> list[Column]:
    """Of the list."""
    def last(row: Row) -> str:
        moment = row.one.last
        return '' if moment is None else f'{when(moment, wide)} {row.state}'.rstrip()
    task = Column('TASK', lambda row: '' if row.one.task == row.one.name else row.one.task, cut=1)
    return [
        Column('NAME', lambda row: row.one.name, cut=1), *[task] * wide,
        Column('WHEN', lambda row: row.one.when, cut=1),
        Column('NEXT', lambda row: state(row.one, wide),
               style=lambda row: 'red' if row.one.problem or row.one.late > LATE else ''),
        Column('LAST', last, style=lambda row: STYLES.get(row.state, '')),
        Column('RUNS', lambda row: f'{row.one.fired:,}', right=True),
        Column('MISSED', lambda row: many(row.one.missed), right=True),
        Column('SKIPPED', lambda row: many(row.one.skipped), right=True)]


def many(count: int) -> str:
    """A count, or nothing for zero: a column with nothing in it is left out."""
    return f'{count:,}' if count else ''


def cron(session: Session) -> int:
    """Look at schedules, or do something to one."""
    args = session.args
    broker = session.broker(new=args.act == 'set')
    if args.act == 'list':
        return listed(session, broker)
    if not args.name:
        raise Usage(f'which schedule? worq cron {args.act} NAME')
    if args.act != 'set' and (args.args or args.call or options(args)):
        raise Usage(f'{args.act} takes the name only; set has the arguments and options of a call')
    try:
        told = act(broker, args)
    except LookupError as error:
        raise Refused(str(error.args[0])) from error
    except (ValueError, TypeError, ImportError) as mistake:
        raise Usage(str(mistake)) from mistake
    session.out.object({'queue': broker.name, 'schedule': args.name, 'done': bool(told)})
    session.out.text(line(told) if told else f'there is no schedule {line(args.name)}')
    return OK if told else NOTHING


def act(broker: Broker, args: Any) -> str:
    """Do what was asked for; what was done, in words."""
    table = broker.schedules
    if args.act == 'run':
        return f'put {table.run(args.name, by=person()).id}'
    if args.act == 'pause':
        return f'{table.pause(args.name, by=person()).name} is paused'
    if args.act == 'resume':
        return f'{args.name} is resumed, next {state(table.resume(args.name, by=person()))}'
    if args.act == 'forget':
        return f'{args.name} is forgotten' if table.forget(args.name, by=person()) else ''
    if not args.call:
        raise Usage('which task? Add --call TASK')
    one = table.set(args.name, broker.queue(args.call), args=arguments_of(args.args),
                    by=person(), **options(args))
    return f'{one.name} calls {one.task} {one.when}, next {state(one)}'


def options(args: Any) -> dict[str, Any]:
    """When it is to run, as far as that was typed."""
    return {option: value for option in OPTIONS if (value := getattr(args, option)) is not None}


def arguments_of(texts: list[str]) -> list[Any]:
    """The arguments of a call, as they were typed."""
    try:
        return [json.loads(text) for text in texts]
    except ValueError as error:
        raise Usage(f'arguments are JSON, as 1, true or \'"text"\': {error}') from None


def listed(session: Session, broker: Broker) -> int:
    """All schedules, or one."""
    name, out = session.args.name, session.out
    found = [one for one in broker.schedules.list() if name in ('', one.name)]
    runs = [one.run for one in found if one.run]
    states = dict(zip(runs, broker.backend.status(runs), strict=True)) if runs else {}
    rows = [Row(one, states.get(one.run) or '') for one in found]
    if out.as_json:
        for row in rows:
            out.object({**row.one._asdict(), 'state': row.state})
    else:
        out.rows(rows, columns(not 0 < out.room < WIDE))
    if not found:
        out.text(f'{broker.name} has no schedule{" " + line(name) if name else ""}')
    for one in found:
        if one.problem:
            out.text(f'{line(one.name)}: {line(one.problem)}', 'red')
    return OK if found else NOTHING


def state(one: Schedule, wide: bool = True) -> str:
    """When it runs next, or why it does not."""
    if one.problem:
        return 'broken'
    if one.paused:
        return f'paused by {one.paused}'
    if one.next is None:
        return 'over'
    told = f'late by {figures(one.late)}' if one.late > LATE else when(one.next, wide)
    return f'{told}, orphaned' if one.orphaned else told


def when(at: datetime, wide: bool) -> str:
    """A moment, on this machine's clock; or, where there is little room, how far it is away."""
    if wide:
        return clock(at.timestamp())
    away = at.timestamp() - time.time()
    return f'in {figures(away)}' if away > 0 else f'{figures(-away)} ago'


def moment(text: str) -> datetime:
    """The type of an argument that is a moment: by this machine's clock, if no zone is said."""
    try:
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError):   # a zone may move it out of all years
        raise Usage(f'no moment: {text!r}; write it as 2030-01-31T09:00') from None


OPTIONS = 'cron', 'every', 'at', 'zone', 'missed', 'grace', 'overlap', 'spread'


def arguments(parser: Parser) -> None:
    """Of ``cron``."""
    parser.add_argument('act', nargs='?', default='list', type=one_of('act', ACTS),
                        metavar='ACT', help=', '.join(ACTS) + '; list, if none is given')
    parser.add_argument('name', nargs='?', default='', metavar='NAME', help='of a schedule')
    parser.add_argument('args', nargs='*', metavar='JSON', help='arguments of the call, to set')
    parser.add_argument('--call', metavar='TASK', help='the task that it calls')
    parser.add_argument('--cron', metavar='TEXT', help='when: as "0 3 * * 1-5"')
    parser.add_argument('--every', type=seconds, metavar='TIME', help='when: as 10, 5m, 2h')
    parser.add_argument('--at', type=moment, metavar='MOMENT', help='when: 2030-01-31T09:00')
    parser.add_argument('--zone', metavar='NAME', help='of --cron: as Europe/Berlin; else UTC')
    parser.add_argument('--missed', metavar='WORD', help='last, all or none have a run later')
    parser.add_argument('--grace', type=seconds, metavar='TIME', help='how late one is worth a run')
    parser.add_argument('--overlap', metavar='WORD', help='skip, queue, cancel: if one runs')
    parser.add_argument('--spread', type=seconds, metavar='TIME', help='up to so much later')


CRON = Command(cron, 'Schedules: tasks that are called at regular times. Runs are put by pools, '
                     'each once. Without an act they are listed.', arguments, """\
  worq cron
  worq cron run nightly
  worq cron pause nightly
  worq cron set nightly --call report.make --cron '0 3 * * *' --zone Asia/Tokyo
  worq cron set poll '"orders"' --call shop.poll --every 10""")
