"""``worq help``."""
from __future__ import annotations

from worq.cli.index import command, overview
from worq.cli.session import Session
from worq.cli.usage import OK, Command, Parser

__all__ = ['HELP', 'general']

HEAD = """\
usage: worq COMMAND [options]

WorQ on the command line. Each command works on a queue: --url says where it is
(or WORQ_URL does, once and for all), and -q its name, if that is not "default".
"""
TAIL = """\
examples:
  export WORQ_URL=redis://localhost:6379/0
  worq worker tasks:space        run the tasks of a TaskSpace in tasks.py
  worq call text.count '"two words"' --wait
  worq info                      how does it stand?
  worq explain ID                why is this one not done?

worq help COMMAND tells more. With --json commands print JSON, an object a line.
exit status: 0 fine, 1 nothing found, refused or failed, 2 a mistake in the
command, 3 the queue is out of reach, 4 something is wrong with it"""


def general() -> str:
    """What ``worq --help`` says."""
    return f'{HEAD}\n{overview()}\n\n{TAIL}'


def show(session: Session) -> int:
    """Tell of a command, or of all."""
    name = session.args.about
    session.out.text(command(name).parser(name).format_help().rstrip() if name else general())
    return OK


def arguments(parser: Parser) -> None:
    """Of ``help``."""
    parser.add_argument('about', nargs='?', metavar='COMMAND', default='')


HELP = Command(show, 'Tell of a command.', arguments, queues='none')
