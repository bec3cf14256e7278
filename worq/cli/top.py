"""``worq top``: a queue live, with keys to look at its tasks and to cancel them."""
from __future__ import annotations

from contextlib import suppress
import os
import sys
import time
from typing import Any

from worq.cli.keyboard import Keyboard
from worq.cli.look import paced
from worq.cli.panel import Panel
from worq.cli.redact import redact, redacting
from worq.cli.session import Session
from worq.cli.usage import OK, Command, Parser, count, seconds
from worq.errors import QueueError

__all__ = ['TOP']

INTERVAL = 1.0


def top(session: Session) -> int:
    """Show a queue until somebody has seen enough."""
    args, out = session.args, session.out
    broker = session.broker()
    panel = Panel(broker, redact(session))
    if out.as_json or not out.terminal or not sys.stdin.isatty():
        times = args.times if args.times is not None else None if out.as_json else 1
        return stream(session, panel, times)
    with Keyboard(sys.stdin.fileno(), out) as keyboard:
        due = 0.0
        while True:
            if time.monotonic() >= due and not panel.paused:
                panel.look()
                due = time.monotonic() + args.interval
            columns, lines = size()
            out.frame(panel.lines(columns, lines))
            for key in keyboard.read(max(due - time.monotonic(), 0.05)):
                if not panel.press(key):
                    return OK


def stream(session: Session, panel: Panel, times: int | None) -> int:
    """What programs, and people without a terminal, get: the same, again and again."""
    done = 0
    while times is None or done < times:
        if done:
            time.sleep(session.args.interval)
        done += 1
        if session.out.as_json:
            session.out.object(paced(panel.view))
            continue
        panel.look()
        if panel.away:
            raise QueueError(panel.away)
        for text, _ in panel.lines(0, 0):
            session.out.text(text)
    return OK


def size() -> tuple[int, int]:
    """Columns and lines of the terminal, as it is now."""
    with suppress(OSError, ValueError):
        found: Any = os.get_terminal_size(sys.stdout.fileno())
        if found.columns and found.lines:
            return found.columns, found.lines
    return 80, 24


def arguments(parser: Parser) -> None:
    """Of ``top``."""
    parser.add_argument('--interval', type=seconds, default=INTERVAL, metavar='TIME',
                        help='between two looks; 1 s by default')
    redacting(parser)
    parser.add_argument('-n', '--times', type=count, metavar='N',
                        help='without a terminal, or with --json: how many looks; by default one, '
                        'or with --json without end')


TOP = Command(top, 'A queue, live: numbers, what runs, what waits, what failed. Keys: arrows '
                   'choose a task, tab another list, e explains, s shows, c cancels, / filters, '
                   'space stands still, q ends.', arguments, '''\
  worq top -q images
  worq top --json --interval 10 | tee numbers''')
