"""``worq``: reads what was typed, does it, and says with which exit status.

A command is a function of a `Session` (its arguments, its queues, where it prints) which returns
the exit status; what goes wrong is an exception, and becomes a line on the standard error here.
"""
from __future__ import annotations

from argparse import REMAINDER
import errno
from io import TextIOWrapper
import logging
import os
import sys
from typing import Sequence

import worq
from worq.cli.help import general
from worq.cli.index import command
from worq.cli.output import Output, tell
from worq.cli.session import Session
from worq.cli.usage import (
    AWAY, INTERRUPTED, NOTHING, OK, PIPE, USAGE, Parser, Refused, Usage, common,
)
from worq.errors import QueueError, WorqError
from worq.printable import logger

__all__ = ['main']

LOADS = {'worker', 'call'}  # commands that import modules of the program
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}   # what is printed has no room
LOUD = {'worker', 'info'}   # commands that pass on what an engine warns of


def main(argv: Sequence[str] | None = None) -> int:
    """Do one command.

    :param argv: what follows after ``worq``; None: what this program was started with.
    :returns: the exit status.
    """
    alone = argv is None
    words = list(sys.argv[1:] if argv is None else argv)
    if alone:
        _tolerant()
    try:
        status = _run(words, alone)
        if sys.stdout is not None:   # a shell may have closed it
            sys.stdout.flush()   # here, where a reader that is gone is no error
        return status
    except BrokenPipeError:
        _give_up(alone)
        return PIPE
    except OSError as error:
        if error.errno not in FULL:
            raise
        _give_up(alone)
        return _tell(f'cannot write: {error.strerror}', NOTHING)
    except KeyboardInterrupt:
        return INTERRUPTED


def _give_up(alone: bool) -> None:
    """Have what is left to be written go nowhere, or Python would try it, and complain."""
    if alone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str], alone: bool) -> int:
    name = ''
    try:
        args = _first().parse_args(_texts(words))
        if args.version:
            print(f'WorQ {worq.__version__}')
            return OK
        if args.help or not args.command:
            print(general())
            return OK
        chosen = command(args.command)
        name = args.command
        if alone and name not in LOUD:
            logger('worq').setLevel(logging.ERROR)
        if alone and name in LOADS and os.getcwd() not in sys.path:
            sys.path.insert(0, os.getcwd())   # as `python -m worq` has it; not what was installed
        args = chosen.parser(name).parse_args(args.rest, args)
        with Session(args, Output(getattr(args, 'json', False)), alone) as session:
            return chosen.run(session)
    except SystemExit as exit:   # --help
        return int(exit.code or 0)
    except Usage as mistake:
        return _tell(f'{mistake}\n(more: worq help{" " * bool(name)}{name})', USAGE)
    except QueueError as error:
        return _tell(str(error), AWAY)
    except (Refused, WorqError) as error:
        return _tell(str(error), NOTHING)


def _texts(words: list[str]) -> list[str]:
    """What was typed, where the locale did not say that it is UTF-8.

    :raises Usage: if it is not. It is not told which word: that may have a password.
    """
    try:
        return [word if word.isprintable() else os.fsencode(word).decode() for word in words]
    except UnicodeError:
        raise Usage('there is a word that is no text in UTF-8') from None


def _first() -> Parser:
    """What reads the options before a command, and its name."""
    parser = Parser()
    common(parser)
    parser.add_argument('-h', '--help', action='store_true')
    parser.add_argument('--version', action='store_true')
    parser.add_argument('command', nargs='?')
    parser.add_argument('rest', nargs=REMAINDER)
    return parser


def _tell(text: str, status: int) -> int:
    tell(f'worq: {text}')
    return status


def _tolerant() -> None:
    """What the terminal's encoding does not have is escaped; it is no error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors='backslashreplace')
