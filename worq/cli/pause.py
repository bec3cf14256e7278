"""Commands that pause and resume: pause, resume."""
from __future__ import annotations

from worq.cli.look import said
from worq.cli.session import Session, person
from worq.cli.usage import NOTHING, OK, Command, Parser, Refused, Usage
from worq.core import Broker
from worq.moving import Conflict
from worq.printable import line
from worq.queue.pauses import ALL, Pause, Patterns, written
from worq.view.records import Paused

__all__ = ['PAUSE', 'RESUME']


# -- pause --

def pause(session: Session) -> int:
    """Have no pool take tasks."""
    broker = session.broker()
    names = session.args.names or [ALL]
    try:
        done = broker.pause(names, by=person())
    except ValueError as mistake:
        raise Usage(str(mistake)) from mistake
    sizes = broker.backend.stats()
    for name in names:
        session.out.object({'queue': broker.name, 'names': name, 'done': name in done})
        how = 'is paused' if name in done else 'was paused before'
        session.out.text(f'{what(broker, name)} {how}')
    for name in strangers(broker, names):
        session.out.note(f'no pool has told of a task {line(name)}; if it was to be a pattern, '
                         "put it in quotation marks, as 'mail.*'")
    session.out.text(f'{sizes["enqueued"]:,} tasks of {broker.name} are ready, paused or not; '
                     f'{sizes["processing"]:,} are being processed, and go on')
    return OK if done else NOTHING


def strangers(broker: Broker, names: list[str]) -> list[str]:
    """Names that no pool's tasks have, of a queue whose pools have all told theirs. A shell may
    have made names of files of a pattern."""
    told = [pool.tasks for pool in broker.pools()]
    if not told or None in told:
        return []
    return [name for name in names if not any(
        Patterns(written([Pause(name, '', 0)])).held(task.encode('utf-8', 'replace'))
        for tasks in told for task in tasks or ())]


def what(broker: Broker, name: str) -> str:
    """What somebody asked for."""
    return f'{broker.name}, the whole queue,' if name == ALL else line(name)


def names_of(parser: Parser) -> None:
    """Of ``pause`` and ``resume``."""
    parser.add_argument('names', nargs='*', metavar='NAME',
                        help="of tasks, as mail.send or 'mail.*'; none: the whole queue")


PAUSE = Command(pause, 'Have no pool take any task of a queue, or of some names, until that is '
                       'resumed. What runs goes on, and what waits may expire.', names_of, """\
  worq pause                       the whole queue
  worq pause 'mail.*' report.make -q slow""")


# -- resume --

def resume(session: Session) -> int:
    """Have tasks taken again."""
    args = session.args
    broker = session.broker()
    if args.all and args.names:
        raise Usage('either names, or --all')
    names = [one.pattern for one in broker.pauses()] if args.all else args.names or [ALL]
    try:
        done = broker.resume(names, by=person(), force=args.force)
    except ValueError as mistake:
        raise Usage(str(mistake)) from mistake
    except Conflict as conflict:
        raise Refused(str(conflict)) from conflict
    for name in names:
        session.out.object({'queue': broker.name, 'names': name, 'done': name in done})
        how = 'is resumed' if name in done else 'is not paused'
        session.out.text(f'{what(broker, name)} {how}')
    left: tuple[Paused, ...] = broker.view().paused()
    for one in left:
        session.out.note(f'still paused: {said(one)}')
    if not names and not left:
        session.out.note(f'nothing of {broker.name} is paused')
    return OK if done else NOTHING


def resume_arguments(parser: Parser) -> None:
    """Of ``resume``."""
    names_of(parser)
    parser.add_argument('--all', action='store_true', help='all that is paused of the queue')
    parser.add_argument('--force', action='store_true', help='also while it is being moved, and '
                        'will not be: what was put into the other queue may run in both')


RESUME = Command(resume, 'End pauses, by the very names that were paused; the whole queue is one '
                         'of them.', resume_arguments, """\
  worq resume
  worq resume 'mail.*'
  worq resume --all""")
