"""Commands that tell of single tasks: show, explain."""
from __future__ import annotations

from typing import Any

from worq.cli.lists import meant
from worq.cli.session import Session
from worq.cli.usage import NOTHING, OK, Command, Parser, Usage
from worq.cli.words import bar, clock, spell
from worq.const import UNKNOWN
from worq.queue.validation import ID_BYTES
from worq.view import View
from worq.view.records import Details

__all__ = ['SHOW', 'EXPLAIN', 'check_id', 'hint', 'ids', 'told']


# -- explain --

def explain(session: Session) -> int:
    """Why tasks are not done yet."""
    broker = session.broker()
    view = broker.view()
    status = OK
    for id in session.args.ids:
        check_id(id)
        told, word = view.explain(id), broker.status(id)
        session.out.object({'id': id, 'state': word, 'explain': told})
        session.out.text(told)
        if word == UNKNOWN:
            hint(session, view, id)
            status = NOTHING
    return status


def hint(session: Session, view: View, id: str) -> None:
    """Tell of an id that is like one which is not known."""
    if text := meant(view, id):
        session.out.note(text)


def check_id(id: str) -> None:
    """Refuse what cannot be an id."""
    if not 0 < len(id.encode('utf-8', 'surrogateescape')) <= ID_BYTES:
        raise Usage(f'no id: {id!r}; it is a text of 1 to {ID_BYTES} bytes')


def ids(parser: Parser) -> None:
    """Arguments: some ids."""
    parser.add_argument('ids', nargs='+', metavar='ID', help='of a task')


EXPLAIN = Command(explain, 'Why a task is not done yet, or how it ended, in plain words.', ids,
                  '  worq explain fit-42')


# -- show --

def show(session: Session) -> int:
    """All there is to see of tasks."""
    broker = session.broker()
    view = broker.view()
    status = OK
    for number, id in enumerate(session.args.ids):
        check_id(id)
        found = view.task(id, arguments=not session.args.hide)
        if found is None:
            session.out.object({'id': id, 'state': UNKNOWN})
            session.out.note(view.explain(id))
            hint(session, view, id)
            status = NOTHING
            continue
        session.out.object(found)
        session.out.text('\n' * bool(number) + f'{found.name} [{broker.name}:{found.id}]  '
                         f'{found.state}', 'bold')
        for text in told(found):
            session.out.text(text)
    return status


def told(found: Details) -> list[str]:
    """A task, a line for each thing that is known of it."""
    rows: list[tuple[str, Any]] = [
        ('put', clock(found.put)), ('ready', clock(found.ready)), ('begun', clock(found.begun)),
        ('ended', clock(found.ended)),
        ('due', found.due and f'in {spell(found.due)}'),
        ('expires', found.expires and f'in {spell(found.expires)}'),
        ('attempt', found.attempt), ('deliveries', found.deliveries), ('pool', found.pool),
        ('worker', found.worker),
        ('runs for', '' if found.running is None else spell(found.running)),
        ('progress', '' if found.progress is None else bar(**found.progress)),
        ('waits for', found.open and f'{found.open:,}: {", ".join(found.waits_for)}'),
        ('has returned', found.target), ('held back by', found.gate),
        ('memory', found.peak and f'{found.peak / (1 << 20):,.0f} MB at most'),
        ('left out', found.skipped and f'{found.skipped:,} failed arguments'),
        ('options', ', '.join(found.options)),
        *(('attempt failed', text) for text in found.errors),
        *(('lost', f'{clock(each.moment)}  {each.text}  ({each.pool})') for each in found.deaths),
        *_arguments(found),
        ('result', found.result), ('error', found.error),
        ('comes from', found.origin), ('note', found.note)]
    lines = [f'  {word:<14} {text}' for word, text in rows if text]
    lines += [f'    {text}' for text in found.traceback.splitlines()]
    return [*lines, '', found.explain]


def _arguments(found: Details) -> list[tuple[str, str]]:
    given = found.arguments
    if given is None:
        return []
    return [*((f'argument {n}', text) for n, text in enumerate(given.args, 1)),
            *((f'{name} =', text) for name, text in given.kw.items()), ('arguments', given.note)]


def arguments(parser: Parser) -> None:
    """Of ``show``."""
    ids(parser)
    parser.add_argument('--hide', action='store_true', help='do not show arguments and results')


SHOW = Command(show, 'All there is to see of a task: its life, its attempts, its arguments and its '
                     'result. Nothing is loaded for that, so no code of yours runs.', arguments,
               '  worq show fit-42')
