"""The command that tells who did what to a queue: log."""
from __future__ import annotations

from worq.acts import KEPT
from worq.cli.session import Session
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command, Parser, count
from worq.cli.words import clock

__all__ = ['LOG']

COLUMNS = [Column('WHEN', lambda act: clock(act.moment)), Column('WHO', lambda act: act.who),
           Column('WHAT', lambda act: act.what),
           Column('TASKS', lambda act: f'{act.tasks:,}', right=True),
           Column('WHICH', lambda act: act.about, cut=1)]


def log(session: Session) -> int:
    """Who did what, the newest first."""
    broker = session.broker()
    acts = broker.acts(session.args.count)
    session.out.rows(acts, COLUMNS)
    if not acts:
        session.out.text(f'{broker.name}: nobody has done anything to it')
        return NOTHING
    return OK


def arguments(parser: Parser) -> None:
    """Of ``log``."""
    parser.add_argument('-n', '--count', type=count, default=50, metavar='N',
                        help='the last N (50)')


LOG = Command(log, 'Who did what to a queue: people on the command line or the page, or programs '
                   f'with by=. A queue keeps the last {KEPT:,} acts.', arguments,
              """\
  worq log
  worq log -n 1000 --json""")
