"""What commands show of arguments and results, as a function of the program decides."""
from __future__ import annotations

import os
import sys

from worq.cli.session import Session
from worq.cli.target import function
from worq.cli.usage import Parser
from worq.view.shown import Redact

__all__ = ['ENVIRONMENT', 'redact', 'redacting']

ENVIRONMENT = 'WORQ_REDACT'


def redact(session: Session) -> Redact | None:
    """The function that decides it, see `worq.view.View`; None: all of it is shown.

    :raises Usage: if there is none of this name.
    """
    target = getattr(session.args, 'redact', '') or os.environ.get(ENVIRONMENT, '')
    if not target:
        return None
    if session.alone and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())   # as `python -m worq` has it; not what was installed
    return function(target)


def redacting(parser: Parser) -> None:
    """An argument: its name."""
    parser.add_argument('--redact', metavar='MODULE:FUNCTION',
                        help='says what is shown of arguments and results, of a (task, key, '
                        f'text); by default {ENVIRONMENT} names it')
