"""``worq watch``: the progress of tasks until they end."""
from __future__ import annotations

import json
import sys
import time
from typing import Any, Sequence

from worq import const
from worq.cli.one import check_id
from worq.cli.output import width
from worq.cli.session import Session
from worq.cli.table import cut
from worq.cli.usage import NOTHING, OK, Command, Parser, seconds
from worq.cli.words import bar, spell
from worq.errors import TaskFailure
from worq.printable import is_terminal, line

__all__ = ['WATCH', 'await_all']

PAUSE = 0.5    # seconds between two looks at the progress


def watch(session: Session) -> int:
    """Show how far tasks have come, until they have ended."""
    broker = session.broker()
    for id in session.args.ids:
        check_id(id)
    deferreds = [broker.deferred(id) for id in session.args.ids]
    return await_all(session, deferreds, session.args.timeout)


def await_all(session: Session, deferreds: Sequence[Any], timeout: float | None,
              results: bool = False) -> int:
    """Wait for Deferreds, drawing their progress where somebody looks.

    :param results: whether to print what they come to.
    :returns: the exit status: whether all of them have succeeded, in time.
    """
    limit = None if timeout is None else time.monotonic() + timeout
    board = Board(session, deferreds)
    status = OK
    for deferred in deferreds:
        while True:
            left = PAUSE if limit is None else min(PAUSE, max(limit - time.monotonic(), 0))
            if deferred.wait(left):
                break
            board.draw()
            if limit is not None and time.monotonic() >= limit:
                board.clear()
                session.out.object({'id': deferred.id, 'status': deferred.status})
                session.out.note(deferred.explain())
                return NOTHING
        board.clear()
        if not tell(session, deferred, results):
            status = NOTHING
    return status


def tell(session: Session, deferred: Any, results: bool) -> bool:
    """Say how one has ended; whether that was well."""
    word = deferred.status
    found = {'id': deferred.id, 'status': word}
    label = f'{deferred.name} [{deferred.broker.name}:{deferred.id}]' if deferred.name != '?' \
        else deferred.id
    if word != const.SUCCESS:
        failure: TaskFailure = deferred.exception(0)
        found['error'] = str(failure)
        own = failure.task_id == deferred.id
        session.out.text(f'{label}: {word}: {failure.error if own else failure}', 'red')
        if failure.traceback:
            session.out.note(failure.traceback.rstrip())
    elif results:
        found['result'], text = result_of(deferred)
        session.out.text(text)
    else:
        session.out.text(f'{label}: {word}', 'green')
    session.out.object(found)
    return bool(word == const.SUCCESS)


def result_of(deferred: Any) -> tuple[Any, str]:
    """What a task has come to, and that as text: also if its classes are not to be found here."""
    try:
        return deferred.value, shown(deferred.value)
    except TaskFailure as failure:
        found = deferred.broker.view().task(deferred.id)
        text = found.result if found is not None and found.result else str(failure)
        return text, text


def shown(value: Any) -> str:
    """A value as JSON, or as Python shows it."""
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        return repr(value)


class Board:
    """The lines that tell of what is not done: drawn again and again on a terminal, else said when
    something has changed."""

    def __init__(self, session: Session, deferreds: Sequence[Any]) -> None:
        self.out = session.out
        self.deferreds = deferreds
        self.file = sys.stderr
        self.terminal = is_terminal(self.file)
        self._drawn = 0
        self._said: list[str] = []

    def draw(self) -> None:
        """Tell how all stand that are not done."""
        open = [deferred for deferred in self.deferreds if not deferred.has_value()]
        texts = [told(deferred) for deferred in open[:10]]
        if len(open) > 10:
            texts.append(f'... and {len(open) - 10:,} more')
        if not self.terminal:
            for text in texts:
                if text not in self._said and not self.out.as_json:
                    print(text, file=self.file, flush=True)
            self._said = texts
            return
        self.clear()
        room = width() - 1
        for text in texts:
            print(cut(text, room), file=self.file)
        self.file.flush()
        self._drawn = len(texts)

    def clear(self) -> None:
        """Take away what was drawn."""
        if self._drawn:
            print(f'\x1b[{self._drawn}F\x1b[J', end='', file=self.file, flush=True)
            self._drawn = 0


def told(deferred: Any) -> str:
    """One line: how a task stands."""
    found = deferred.broker.info(deferred)
    label = line(f'{found.name} {deferred.id}')
    if found.status != const.PROCESSING:
        return f'{label}  {found.status}'
    progress = deferred.progress
    since = f'  {spell(time.time() - found.begun)}' if found.begun else ''
    return f'{label}  {bar(*progress) if progress else "runs"}{since}'


def arguments(parser: Parser) -> None:
    """Of ``watch``."""
    parser.add_argument('ids', nargs='+', metavar='ID', help='of a task')
    parser.add_argument('--timeout', type=seconds, metavar='TIME',
                        help='wait no longer than this; else until they end')


WATCH = Command(watch, 'Draw the progress of tasks until they end. The exit status is 0 if all '
                       'succeed, and 1 if not.', arguments, '''\
  worq watch fit-42
  worq watch fit-42 --timeout 10m && echo done''')
