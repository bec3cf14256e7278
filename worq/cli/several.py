"""What cancel, forget and revive have in common: tasks are named, or chosen by options."""
from __future__ import annotations

from collections import Counter
from typing import Callable, Iterable, Iterator, Mapping, Sequence

from worq.cli.one import check_id, hint
from worq.cli.session import Session
from worq.cli.usage import NOTHING, OK, Parser, Usage
from worq.const import UNKNOWN
from worq.core import Broker
from worq.pieces import pieces

__all__ = ['in_steps', 'named', 'several', 'told']

STEP = 1000   # tasks of one step
MISSING = 'unknown', 'gone'   # words for a task that may have been misspelt


def named(session: Session, options: str, chosen: bool, enough: bool, which: str) -> list[str]:
    """The ids that were named, each once; none if tasks are chosen by options.

    :param options: that choose tasks.
    :param chosen: whether any of them is given, and `enough`: whether those that are needed are.
    :param which: asks for what is missing.
    :raises Usage: if it is both, or neither, or an id can be none.
    """
    ids: list[str] = session.args.ids
    for id in ids:
        check_id(id)
    if ids and chosen:
        raise Usage(f'either ids, or {options}')
    if not ids and not enough:
        raise Usage(which)
    return list(dict.fromkeys(ids))


def in_steps(ids: Sequence[str],
             act: Callable[[Sequence[str]], list[str]]) -> Iterator[tuple[str, str]]:
    """Act on some tasks at a time; each id, with the word for what came of it."""
    for some in pieces(ids, STEP):
        yield from zip(some, act(some))


def told(session: Session, broker: Broker, outcomes: Iterable[tuple[str, str]], good: str,
         done: str, says: Mapping[str, str]) -> int:
    """Tell what came of each task; and only of how many, if they were chosen by options.

    :param good: the word for what was asked for.
    :param done: what happened to such tasks, as 'cancelled'.
    :param says: what to say of each word.
    :returns: the exit status: it is fine if all tasks that were named came to this, or any of those
        that were chosen.
    """
    by_id, counts, examples = bool(session.args.ids), Counter[str](), dict[str, str]()
    for id, word in outcomes:
        counts[word] += 1
        examples.setdefault(word, id)
        session.out.object({'id': id, 'outcome': word})
        if by_id:
            session.out.text(f'{id}: {says.get(word, word)}')
            if word in MISSING and broker.status(id) == UNKNOWN:
                hint(session, broker.view(), id)
    if not by_id:
        session.out.text(f'{counts[good]:,} tasks {done}')
        for word, id in examples.items():
            if word != good:
                session.out.text(f'{counts[word]:,} not, as {id}: {says.get(word, word)}')
    return OK if counts[good] and (not by_id or len(counts) == 1) else NOTHING


def several(parser: Parser, help: str = 'of a task') -> None:
    """Arguments: ids, if any, and that nobody is to be asked."""
    parser.add_argument('ids', nargs='*', metavar='ID', help=help)
    parser.add_argument('-y', '--yes', action='store_true', help='do not ask')
