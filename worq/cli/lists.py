"""Tasks in pages, and what was meant by an id or a name that is not known."""
from __future__ import annotations

from difflib import get_close_matches
import time
from typing import Any, Iterator

from worq import const
from worq.cli.session import Session
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command, Parser, count, one_of, seconds
from worq.cli.words import figures
from worq.printable import line
from worq.view import View
from worq.view.records import Row

__all__ = ['TASKS', 'LISTED', 'LIVE', 'OVER', 'age_and_due', 'all_of', 'choice', 'meant',
           'states_of']

LIVE = [const.PROCESSING, const.ENQUEUED, const.PENDING, const.SCHEDULED]
OVER = [const.FAILED, const.EXPIRED, const.CANCELLED, const.SUCCESS]
LISTED = [*LIVE, *OVER]
WHY = [const.FAILED, const.EXPIRED]     # of these it is told why, in place of where
PAGE = 200      # rows that are asked for at a time
MANY = 50       # rows that are shown, unless somebody says how many
LOOK = 400      # ids of each state among which one is looked for that was meant


def tasks(session: Session) -> int:
    """Tasks by state."""
    args = session.args
    view = session.view()
    found: list[dict[str, Any]] = []
    more = False
    for state in states_of(args.state):
        for row in all_of(view, state, args.name, not args.oldest):
            age, due = age_and_due(row)
            if args.older is not None and (age is None or age < args.older):
                continue
            if len(found) == args.number:
                more = True
                break
            error = cause(view, row.id) if state in WHY else ''
            found.append({**row._asdict(), 'age': age, 'due': due, 'error': error})
    if not found:
        session.out.note(f'no such task on {session.queue}' if args.state or args.name else
                         f'no task of {session.queue} waits or runs; worq tasks success, or '
                         'failed, shows those that have ended')
        return NOTHING
    hidden = ['STATE'] * bool(args.state) + ['POOL'] * (args.state in WHY)
    session.out.rows(found, [column for column in COLUMNS if column.head not in hidden])
    if more:
        session.out.note(f'... and more: -n {10 * args.number}')
    return OK


def age_and_due(row: Row) -> tuple[float | None, float | None]:
    """For how long it has been as it is, and in how long it is due, in seconds."""
    now = time.time()
    return (None if row.since is None else max(now - row.since, 0.0),
            None if row.due is None else max(row.due - now, 0.0))


def states_of(state: str | None) -> list[str]:
    """The states that are meant: one of them, or those that are no end."""
    return [state] if state else LIVE


def all_of(view: View, state: str, name: str = '', newest: bool = True) -> Iterator[Row]:
    """All tasks in a state, page after page. One that moves may come twice, but is told once."""
    cursor, told = '', set[str]()
    while True:
        page = view.tasks(state, name=name, newest=newest, cursor=cursor, count=PAGE)
        for row in page.rows:
            if row.id not in told:
                told.add(row.id)
                yield row
        cursor = page.cursor
        if not cursor:
            return


def cause(view: View, id: str) -> str:
    """Why a task has failed."""
    found = view.task(id, arguments=False)
    return found.error if found is not None else ''


COLUMNS = [
    Column('ID', lambda row: row['id']),
    Column('TASK', lambda row: row['name'], cut=1),
    Column('STATE', lambda row: row['state']),
    Column('SINCE', lambda row: figures(row['age']), right=True),
    Column('DUE IN', lambda row: figures(row['due']), right=True),
    Column('ATTEMPT', lambda row: row['attempt'] if row['attempt'] > 1 else '', right=True),
    Column('POOL', lambda row: row['pool'], cut=2),
    Column('ERROR', lambda row: row['error'], cut=1)]


def meant(view: View, id: str) -> str:
    """What to say of an id that is not known: one that is like it."""
    known: list[str] = []
    for state in LISTED:
        known += [row.id for row, _ in zip(all_of(view, state), range(LOOK))]
    close = [one for one in known if one.startswith(id)][:1] or get_close_matches(id, known, 1, 0.7)
    return f'did you mean {line(close[0])}?' if close else ''


def choice(parser: Parser) -> None:
    """Arguments that choose tasks by name."""
    parser.add_argument('--name', default='', metavar='NAME',
                        help='of the tasks, as mail.send or mail.*; several with commas')


def arguments(parser: Parser) -> None:
    """Of ``tasks``."""
    parser.add_argument('state', nargs='?', type=one_of('state', LISTED),
                        metavar='STATE', help=f'{", ".join(LISTED)}; by default the first four')
    choice(parser)
    parser.add_argument('--older', type=seconds, metavar='TIME',
                        help='those that have been in their state for longer')
    parser.add_argument('--oldest', action='store_true', help='the oldest first, not the newest')
    parser.add_argument('-n', '--number', type=count, default=MANY, metavar='N',
                        help=f'how many at most; {MANY} by default')


TASKS = Command(tasks, 'The tasks of a queue, by state and name.', arguments, '''\
  worq tasks
  worq tasks failed --name mail.*
  worq tasks enqueued --older 10m --oldest -n 200 --json''')
