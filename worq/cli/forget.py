"""Commands that take away what a queue keeps: forget, delete."""
from __future__ import annotations

import time

from worq.cli.lists import OVER, all_of, choice
from worq.cli.session import Session, person
from worq.cli.several import in_steps, named, several, told
from worq.cli.usage import NOTHING, OK, Command, Parser, Refused, Usage, one_of, seconds

__all__ = ['DELETE', 'FORGET']


# -- forget --

def forget(session: Session) -> int:
    """Drop what tasks came to."""
    args = session.args
    broker = session.broker()
    chosen = bool(args.name or args.state or args.older is not None)
    before = time.time() - (args.older or 0.0)
    ids = named(session, '--state, --name and --older', chosen, bool(args.state),
                'which results? Name ids, or --state STATE, as --state failed') or [
        row.id for row in all_of(broker.view(), args.state, args.name)
        if args.older is None or row.since is not None and row.since <= before]
    if not ids:
        session.out.note(f'no such task on {broker.name}')
        return NOTHING
    if len(ids) > 1:
        session.confirm(f'Forget what {len(ids):,} tasks of {broker.name} came to?')
    outcomes = in_steps(ids, lambda some: broker.forget_all(some, by=person()))
    return told(session, broker, outcomes, 'forgotten', 'forgotten', SAYS)


SAYS = {'live': 'is not over; worq cancel ends it', 'unknown': 'the queue does not know it',
        'pinned': 'is still needed, as an argument of another task'}


def forget_arguments(parser: Parser) -> None:
    """Of ``forget``."""
    several(parser, 'of a task that is over')
    choice(parser)
    parser.add_argument('--state', type=one_of('state', OVER), metavar='STATE',
                        help=f'all that are listed as {", ".join(OVER[:-1])} or {OVER[-1]}')
    parser.add_argument('--older', type=seconds, metavar='TIME', help='only what ended before that')


FORGET = Command(forget, 'Drop what tasks came to, before its time: results, and failures with all '
                         'that is kept of them. It asks before more than one.',
                 forget_arguments, """\
  worq forget report-9
  worq forget --state failed --name 'mail.*' --older 1d --yes""")


# -- delete --

def delete(session: Session) -> int:
    """Delete a queue."""
    args = session.args
    if not getattr(args, 'queue', ''):
        raise Usage('which queue? Name it, also if it is the usual one, as -q default')
    broker = session.broker()
    alive = [pool.id for pool in broker.pools()]
    if alive and not args.force:
        raise Refused(f'{len(alive):,} pools work on {broker.name}, as {alive[0]}: stop them first '
                      '(--force deletes it all the same)')
    session.confirm(f'Delete the queue {broker.name} at {session.safe_url}, with {len(broker):,} '
                    'tasks that are not over, and all results?')
    broker.delete(force=args.force)
    session.out.object({'queue': broker.name, 'deleted': True})
    session.out.text(f'{broker.name}: deleted')
    return OK


def delete_arguments(parser: Parser) -> None:
    """Of ``delete``."""
    parser.add_argument('--force', action='store_true', help='also while pools work on it')
    parser.add_argument('-y', '--yes', action='store_true', help='do not ask')


DELETE = Command(delete, 'Delete a queue, which must be named: tasks, results, schedules, pauses, '
                         'the log, all. Nothing is left, and nothing can be undone.',
                 delete_arguments, """\
  worq delete -q images""")
