"""What a command is, how its arguments are read, and how mistakes in them are told."""
from __future__ import annotations

import argparse
from difflib import get_close_matches
from textwrap import fill
from typing import Callable, Iterable, NamedTuple, NoReturn

from worq.printable import line

__all__ = ['OK', 'NOTHING', 'USAGE', 'AWAY', 'UNHEALTHY', 'PIPE', 'INTERRUPTED', 'Command',
           'HOST', 'Parser', 'Usage', 'Refused', 'common', 'count', 'nearest', 'one_of', 'place',
           'seconds', 'names']

OK = 0
NOTHING = 1         # nothing was found, or what was asked for is refused, or a task did not succeed
USAGE = 2           # a mistake in the command
AWAY = 3            # the queue is out of reach
UNHEALTHY = 4       # `check` and `audit`: something is wrong
PIPE = 141          # nobody reads on; as the shell has it of a program that SIGPIPE ends
INTERRUPTED = 130   # Ctrl-C

LISTED = 8     # names that a message lists
HOST = '127.0.0.1'   # where a command listens, if nobody says


class Usage(Exception):
    """A mistake in what was typed; the text says what to type."""


class Refused(Exception):
    """Nothing is wrong with the command, but it is not done, and the text says why."""


class Parser(argparse.ArgumentParser):
    """Tells of mistakes by `Usage`, and shows examples."""

    def __init__(self, name: str = '', about: str = '', examples: str = '') -> None:
        told = f'examples:\n{examples.rstrip()}' if examples else None
        super().__init__(f'worq {name}'.strip(), description=fill(about, 78), epilog=told,
                         formatter_class=argparse.RawDescriptionHelpFormatter,
                         allow_abbrev=False, add_help=bool(name))

    def error(self, message: str) -> NoReturn:
        raise Usage(message)


class Command(NamedTuple):
    """One command: a function of what it works with (see `worq.cli.session`), its arguments, and
    examples for its help."""

    run: Callable[..., int]
    about: str
    arguments: Callable[[Parser], object] = lambda parser: None
    examples: str = ''
    queues: str = 'one'     #: how many queues it works on: 'one', 'several', or 'none'

    def parser(self, name: str) -> Parser:
        """What reads its arguments."""
        parser = Parser(name, self.about, self.examples)
        self.arguments(parser)
        if self.queues != 'none':
            common(parser, self.queues == 'several')
        return parser


def common(parser: Parser, several: bool = False) -> None:
    """Add the options that most commands have; they may also stand before the command."""
    group = parser.add_argument_group('which queue')
    quiet = argparse.SUPPRESS   # an option that is not given does not hide one given before
    group.add_argument('--url', default=quiet, help='where it is, as redis://HOST:PORT/DB or '
                       'sqlite:///FILE; by default what WORQ_URL says')
    group.add_argument('-q', '--queue', default=quiet, metavar='NAMES' if several else 'NAME',
                       help='its name, "default" if none is given'
                       + ('; several with commas' if several else ''))
    group.add_argument('--unsigned', action='store_true', default=quiet,
                       help='its messages are not signed (else by WORQ_SECRET, or your key file)')
    group.add_argument('--json', action='store_true', default=quiet,
                       help='print JSON, an object a line')


def nearest(word: str, known: Iterable[str]) -> str:
    """What to add to a message on a word that is not known."""
    known = list(dict.fromkeys(known))
    close = get_close_matches(word, known, 1, 0.6)
    if close:
        return f'did you mean {line(close[0])}?'
    if not known:
        return ''
    more = f' and {len(known) - LISTED:,} more' if len(known) > LISTED else ''
    return f'there are {line(", ".join(sorted(known)[:LISTED]))}{more}'


def one_of(kind: str, known: Iterable[str]) -> Callable[[str], str]:
    """The type of an argument that is one of some words."""
    known = list(known)

    def check(word: str) -> str:
        if word not in known:
            raise argparse.ArgumentTypeError(f'no such {kind}: {word!r}; {nearest(word, known)}')
        return word
    return check


UNITS = {'ms': 0.001, 's': 1, 'm': 60, 'min': 60, 'h': 3600, 'd': 86400}


def seconds(text: str) -> float:
    """The type of an argument that is a number of seconds: 90, 1.5m, 2h."""
    plain = text.rstrip('abcdefghijklmnopqrstuvwxyz')
    unit = text[len(plain):] or 's'
    try:
        found = float(plain) * UNITS[unit]
        if 0 <= found < 1e12:
            return found
    except (ValueError, KeyError):
        pass
    raise argparse.ArgumentTypeError(f'no time: {text!r}; write seconds as 90 or 1.5, or 10m, 2h, '
                                     '1d')


def count(text: str) -> int:
    """The type of an argument that says how many are shown, or how often."""
    if not text.isdecimal() or len(text) > 9 or not int(text):
        raise argparse.ArgumentTypeError(f'no number: {text!r}; write 1, 2, 3 ...')
    return int(text)


def names(text: str) -> list[str]:
    """Several names with commas between them."""
    found = list(dict.fromkeys(name for name in text.split(',') if name))
    if not found:
        raise Usage(f'no name of a queue: {text!r}; write -q NAME, or -q ONE,OTHER')
    return found


def place(text: str) -> tuple[str, int]:
    """The host and the port of ``HOST:PORT``, ``:PORT`` (any host), ``PORT``, or nothing."""
    host, colon, port = text.rpartition(':')
    if not port.isdecimal() or int(port) > 65535:
        raise Usage(f'not a port: {text!r}; as in 9100, or 0.0.0.0:9100')
    return host.strip('[]') or ('0.0.0.0' if colon else HOST), int(port)
