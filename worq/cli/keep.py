"""Commands for whoever keeps a queue: audit."""
from __future__ import annotations

import time

from worq.cli.session import Session
from worq.cli.usage import OK, UNHEALTHY, Command, Parser
from worq.core import Broker

__all__ = ['AUDIT', 'findings']

PAUSE = 1.2   # seconds between two looks: what changed during the first one is seen no more


def audit(session: Session) -> int:
    """Look for damage."""
    broker = session.broker()
    found = broker.backend.audit(True) if session.args.repair else findings(broker)
    for text in found:
        session.out.object({'queue': broker.name, 'finding': text,
                            'repaired': session.args.repair})
        session.out.text(text)
    if not found:
        session.out.text(f'{broker.name}: all is as it should be')
        return OK
    if not session.args.repair:
        session.out.note('worq audit --repair sets it right')
        return UNHEALTHY
    left = findings(broker)
    session.out.text(f'{broker.name}: repaired' if not left else 'not repaired:')
    for text in left:
        session.out.text(text)
    return UNHEALTHY if left else OK


def findings(broker: Broker) -> list[str]:
    """What is wrong: twice in a row, for what changes meanwhile may be reported once."""
    first = broker.backend.audit()
    if not first:
        return []
    time.sleep(PAUSE)
    again = set(broker.backend.audit())
    return [text for text in first if text in again]


def arguments(parser: Parser) -> None:
    """Of ``audit``."""
    parser.add_argument('--repair', action='store_true', help='set right what is wrong')


AUDIT = Command(audit, 'Look whether all that a queue keeps is as it should be. The exit status is '
                       '4 if something is wrong.', arguments, '''\
  worq audit
  worq audit --repair''')
