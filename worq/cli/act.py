"""Commands that change something: call, cancel, purge."""
from __future__ import annotations

import json
import re
from typing import Any

from worq import Task
from worq.cli.lists import LIVE, all_of, choice, states_of
from worq.cli.session import Session, person
from worq.cli.several import in_steps, named, several, told
from worq.cli.usage import (
    NOTHING, OK, Command, Parser, Refused, Usage, nearest, one_of, seconds,
)
from worq.cli.watch import await_all
from worq.codec import FORMATS
from worq.const import PRIORITIES
from worq.core import Broker
from worq.errors import EncodeError

__all__ = ['CALL', 'CANCEL', 'PURGE']

WORD = re.compile(r'([^\W\d]\w*)=(.*)', re.DOTALL)
FOREVER = -1.0


# -- call --

def call(session: Session) -> int:
    """Put a task."""
    args = session.args
    positional, keywords = arguments_of(args.arguments)
    broker = session.broker(codec=args.codec, new=True)
    warning = '' if args.force else check_known(broker, args.name)
    options = {name: value for name in ('id', 'delay', 'priority', 'retries', 'timeout', 'expires')
               if (value := getattr(args, name)) is not None}
    try:
        task = Task(broker.queue(args.name), **options)
        deferred = task(*positional, **keywords)
    except (ValueError, TypeError, EncodeError) as mistake:
        raise Usage(str(mistake)) from mistake
    if warning:
        session.out.note(warning)
    if args.wait is None:
        session.out.object({'id': deferred.id, 'name': deferred.name, 'queue': broker.name})
        session.out.text(deferred.id)
        return OK
    return await_all(session, [deferred], None if args.wait == FOREVER else args.wait, True)


def arguments_of(texts: list[str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, of what was typed: JSON, or word=JSON."""
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for text in texts:
        found = WORD.fullmatch(text)
        if found:
            keywords[found[1]] = value_of(found[2])
        elif keywords:
            raise Usage(f'{text!r} stands after {next(iter(keywords))}=...: arguments without a '
                        'name come first')
        else:
            positional.append(value_of(text))
    return positional, keywords


def value_of(text: str) -> Any:
    """A value that was typed as JSON."""
    try:
        return json.loads(text)
    except ValueError:
        quoted = json.dumps(text, ensure_ascii=False).replace("'", "'\\''")
        raise Usage(f'no JSON: {text}\na text is written with quotes in quotes: '
                    f"'{quoted}'") from None


def check_known(broker: Broker, name: str) -> str:
    """Refuse a name that no pool knows; returns what is to be said of it otherwise."""
    pools = broker.pools()
    if not pools:
        return (f'no pool works on the queue {broker.name} now; the task waits for one, as '
                f'worq worker MODULE:SPACE -q {broker.name}')
    known = [task for pool in pools for task in pool.tasks or ()]
    if name in known or any(pool.tasks is None for pool in pools):
        return ''
    raise Refused(f'no pool on {broker.name} knows a task {name!r}; {nearest(name, known)} '
                  '(--force puts it all the same)')


def call_arguments(parser: Parser) -> None:
    """Of ``call``."""
    parser.add_argument('name', metavar='NAME', help='of the task')
    parser.add_argument('arguments', nargs='*', metavar='JSON',
                        help='arguments, each as JSON or word=JSON')
    parser.add_argument('--wait', nargs='?', type=seconds, const=FOREVER, metavar='TIME',
                        help='wait for it, so long at most, and print its result')
    parser.add_argument('--id', help='its id; by default a new one')
    parser.add_argument('--delay', type=seconds, metavar='TIME', help='run it no sooner')
    parser.add_argument('--expires', type=seconds, metavar='TIME', help='begin it no later')
    parser.add_argument('--priority', type=one_of('priority', PRIORITIES), metavar='WORD',
                        help='high, normal or low')
    parser.add_argument('--retries', type=int, metavar='N', help='how often it is run again if it '
                        'fails')
    parser.add_argument('--timeout', type=seconds, metavar='TIME', help='how long it may run')
    parser.add_argument('--codec', type=one_of('codec', FORMATS), default='pickle', metavar='CODEC',
                        help=f'how the call is written: {", ".join(FORMATS)}')
    parser.add_argument('--force', action='store_true', help='also if no pool knows the name')


CALL = Command(call, 'Put a task, and print its id. With --wait its result is printed, and the '
                     'exit status is 0 if it succeeds, 1 if not.', call_arguments, """\
  worq call text.count '"two words"' --wait
  worq call mail.send '["ann@example.org"]' subject='"Hello"' --delay 10m
  worq call report.make --id report-9 --priority low""")


# -- cancel --

def cancel(session: Session) -> int:
    """Cancel tasks."""
    args = session.args
    broker = session.broker()
    chosen = bool(args.name or args.state)
    ids = named(session, '--name and --state', chosen, chosen,
                'which tasks? Name ids, or --name NAME, or --state STATE; '
                'worq purge cancels all that have not begun') or [
        row.id for state in states_of(args.state)
        for row in all_of(broker.view(), state, args.name)]
    if not ids:
        session.out.note(f'no such task on {broker.name}')
        return NOTHING
    if len(ids) > 1:
        session.confirm(f'Cancel {len(ids):,} tasks of {broker.name}, and all that depend on them?')
    outcomes = in_steps(ids, lambda some: broker.cancel_shown(some, args.upstream, person()))
    return told(session, broker, outcomes, 'cancelled', 'cancelled', SAYS)


SAYS = {'completed': 'had ended already', 'unknown': 'the queue does not know it',
        'needed': 'something else needs it'}


def cancel_arguments(parser: Parser) -> None:
    """Of ``cancel``."""
    several(parser)
    choice(parser)
    parser.add_argument('--state', type=one_of('state', LIVE), metavar='STATE',
                        help=f'all that are {", ".join(LIVE[:-1])} or {LIVE[-1]}')
    parser.add_argument('--upstream', action='store_true',
                        help='also what it waits for, as far as nothing else needs that')


CANCEL = Command(cancel, 'Cancel tasks, with all that depends on them. It asks before it cancels '
                         'more than one.', cancel_arguments, '''\
  worq cancel fit-42 --upstream
  worq cancel --name mail.* --state enqueued --yes''')


# -- purge --

def purge(session: Session) -> int:
    """Cancel all that has not begun."""
    broker = session.broker()
    sizes = broker.backend.stats()
    count = sum(sizes[state] for state in ('enqueued', 'scheduled', 'pending'))
    if not count:
        session.out.object({'queue': broker.name, 'cancelled': 0})
        session.out.text(f'{broker.name}: nothing waits there')
        return NOTHING
    session.confirm(f'Cancel all {count:,} tasks of {broker.name} at {session.safe_url} that have '
                    'not begun?')
    done = broker.discard_pending_tasks(by=person())
    session.out.object({'queue': broker.name, 'cancelled': done})
    session.out.text(f'{broker.name}: {done:,} tasks cancelled')
    return OK


def purge_arguments(parser: Parser) -> None:
    """Of ``purge``."""
    parser.add_argument('-y', '--yes', action='store_true', help='do not ask')


PURGE = Command(purge, 'Cancel all tasks of a queue that have not begun. What runs goes on.',
                purge_arguments, '  worq purge -q images --yes')
