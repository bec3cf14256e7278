"""Commands that tell of single tasks: show, explain, graph."""
from __future__ import annotations

from argparse import ArgumentTypeError
from typing import Any

from worq.cli.lists import meant
from worq.cli.redact import redact, redacting
from worq.cli.session import Session
from worq.cli.usage import NOTHING, OK, Command, Parser, Usage
from worq.cli.words import bar, clock, spell
from worq.const import UNKNOWN
from worq.queue.validation import ID_BYTES
from worq.view import View
from worq.view.records import Details

__all__ = ['SHOW', 'EXPLAIN', 'GRAPH', 'check_id', 'hint', 'ids', 'told']

LEVELS = 3     # of a graph, unless somebody says how many


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
    view = broker.view(redact(session))
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
        *(('lost', f'{clock(each.moment)}  {each.text}  ({each.pool})' + (
            f'  at {bar(**each.progress)}' if each.progress else '')) for each in found.deaths),
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
    redacting(parser)


SHOW = Command(show, 'All there is to see of a task: its life, its attempts, its arguments and its '
                     'result. Nothing is loaded for that, so no code of yours runs.', arguments,
               '  worq show fit-42')


# -- graph --

def graph(session: Session) -> int:
    """What a task waits for, and what waits for it."""
    args = session.args
    check_id(args.id)
    view = session.view()
    found = view.graph(args.id, args.up, args.down, args.open)
    if found is None:
        session.out.object({'id': args.id, 'state': UNKNOWN})
        session.out.note(view.explain(args.id))
        hint(session, view, args.id)
        return NOTHING
    session.out.object(found)
    session.out.drawing(getattr(found, args.form)())
    return OK


def levels(text: str) -> int:
    """The type of an argument that is a number of levels."""
    if not text.isdecimal() or len(text) > 6:
        raise ArgumentTypeError(f'no number of levels: {text!r}; write 0, 1, 2 ...')
    return int(text)


def graph_arguments(parser: Parser) -> None:
    """Of ``graph``."""
    parser.add_argument('id', metavar='ID', help='of a task')
    parser.add_argument('--up', type=levels, default=LEVELS, metavar='N',
                        help=f'levels of what it waits for; {LEVELS} by default')
    parser.add_argument('--down', type=levels, default=LEVELS, metavar='N',
                        help=f'levels of what waits for it; {LEVELS} by default')
    parser.add_argument('--open', action='append', default=[], metavar='STACK',
                        help='show a hundred tasks of a stack one by one; as often as you like')
    form = parser.add_mutually_exclusive_group()
    form.add_argument('--dot', dest='form', action='store_const', const='dot', default='text',
                      help='in the language of Graphviz')
    form.add_argument('--mermaid', dest='form', action='store_const', const='mermaid',
                      help='in that of Mermaid')


GRAPH = Command(graph, 'What a task waits for, and what waits for it, as a tree. Many tasks of one '
                       'name that the same tasks wait for are one line, with counts.',
                graph_arguments, '''\
  worq graph report-9
  worq graph report-9 --up 10 --down 0
  worq graph report-9 --dot | dot -Tsvg > report.svg''')
