"""Commands about what failed: failed, revive."""
from __future__ import annotations

import time

from worq import const
from worq.cli.lists import choice
from worq.cli.session import Session, person
from worq.cli.several import named, several, told
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command, Parser, Usage, count, one_of, seconds
from worq.cli.words import figures
from worq.view.records import Failed

__all__ = ['FAILED', 'REVIVE']

WIDE = 120     # columns of a terminal


def ago(moment: float | None) -> str:
    return figures(None if moment is None else max(time.time() - moment, 0.0))


COLUMNS = [
    Column('TASKS', lambda group: f'{group.tasks:,}', right=True),
    Column('FOLLOWERS', lambda group: f'{group.followers:,}' if group.followers else '',
           right=True),
    Column('TASK', lambda group: group.name, cut=1),
    Column('STATE', lambda group: group.state),
    Column('FIRST', lambda group: ago(group.first), right=True),
    Column('LAST', lambda group: ago(group.last), right=True),
    Column('ID', lambda group: group.ids[0]),
    Column('ERROR', lambda group: f'{group.error} (from {group.origin})' if group.origin
           else group.error, cut=1)]


# -- failed --

def failed(session: Session) -> int:
    """What failed, in groups."""
    groups = session.view().failed(session.args.name, session.args.number)
    if not groups:
        session.out.note(f'nothing has failed lately on {session.queue}')
        return NOTHING
    hidden = ['STATE'] * all(group.state == const.FAILED for group in groups) \
        + ['FIRST'] * (0 < session.out.room < WIDE)   # there is little room for the error
    session.out.rows(groups, [column for column in COLUMNS if column.head not in hidden])
    return OK


def failed_arguments(parser: Parser) -> None:
    """Of ``failed``."""
    choice(parser)
    parser.add_argument('-n', '--number', type=count, default=const.ENDED, metavar='N',
                        help=f'of the last N failures; {const.ENDED:,} by default')


FAILED = Command(failed, 'What failed or expired, by name and error, the largest group first. '
                         'FOLLOWERS failed because of one of them.', failed_arguments, '''\
  worq failed
  worq failed --name mail.* --json''')


# -- revive --

SAYS = {'revived': 'runs again', 'live': 'has not ended', 'gone': 'nothing of it is kept to run '
        'it again', 'pinned': 'something that is live has its failure as an argument',
        'arguments': 'one of its arguments is gone', 'failed': 'one of its arguments has failed: '
        'revive that one --downstream'}


def revive(session: Session) -> int:
    """Run failed tasks again."""
    args = session.args
    broker = session.broker()
    chosen = bool(args.name or args.error)
    ids = named(session, '--name and --error', chosen, chosen,
                'which tasks? Name ids, or --name NAME, or --error TEXT; worq failed has both')
    groups: list[Failed] = [] if ids else [
        group for group in broker.view().failed(args.name, error=args.error) if not group.origin]
    ids = ids or [id for group in groups for id in group.ids]
    if not ids:
        session.out.note(f'no such failure on {broker.name}')
        return NOTHING
    if len(ids) > 1:
        more = sum(group.followers for group in groups) if args.downstream else 0
        also = f', and {more:,} that failed because of them' if more else ''
        session.confirm(f'Run {len(ids):,} failed tasks of {broker.name} again{also}?')
    try:
        words = broker.revive_all(ids, args.downstream, args.timeout, person(),
                                  retries=args.retries, priority=args.priority)
    except ValueError as mistake:
        raise Usage(str(mistake)) from mistake
    return told(session, broker, zip(ids, words), 'revived', 'run again', SAYS)


def revive_arguments(parser: Parser) -> None:
    """Of ``revive``."""
    several(parser)
    choice(parser)
    parser.add_argument('--error', default='', metavar='TEXT',
                        help='those whose error has this in it')
    parser.add_argument('--downstream', action='store_true',
                        help='also what failed because of it')
    parser.add_argument('--timeout', type=seconds, metavar='TIME', help='how long each may run now')
    parser.add_argument('--retries', type=int, metavar='N',
                        help='how often each is tried again now, if it fails')
    parser.add_argument('--priority', type=one_of('priority', const.PRIORITIES), metavar='WORD',
                        help='high, normal or low; many that run again should not be in the way')


REVIVE = Command(revive, 'Run failed tasks again: the same tasks, with the arguments that they '
                         'had. It asks if there is more than one.', revive_arguments, '''\
  worq revive fit-42 --downstream
  worq revive --name mail.* --error Timeout --yes
  worq revive fit-42 --timeout 2h''')
