"""The command that tells with which secrets what is in a queue is signed: secrets."""
from __future__ import annotations

from worq.cli.session import Session
from worq.cli.table import Column
from worq.cli.usage import NOTHING, OK, Command
from worq.rotation import FIRST, uses

__all__ = ['SECRETS']

COLUMNS = [Column('KEY', lambda use: use.key or '-'), Column('SECRET', lambda use: use.secret),
           Column('TASKS', lambda use: f'{use.tasks:,}', right=True),
           Column('RESULTS', lambda use: f'{use.results:,}', right=True)]


def secrets(session: Session) -> int:
    """What is signed with which secret."""
    broker = session.broker()
    found = uses(broker.backend, broker.codec)
    if not found:
        session.out.note(f'{broker.name}: nothing is there that would be signed')
        return OK
    session.out.rows(found, COLUMNS)
    old = [use for use in found if use.secret != FIRST]
    tasks, results = sum(use.tasks for use in old), sum(use.results for use in old)
    if not old:
        session.out.note('all of it is signed with the first secret; others may be taken away')
        return OK
    session.out.note(f'{tasks:,} tasks and {results:,} results are not signed with the first '
                     'secret: keep the others until they are over')
    return NOTHING


SECRETS = Command(secrets, 'How much of what is in a queue is signed with which secret: the first '
                           'of WORQ_SECRET signs, the others verify. The exit status is 1 as long '
                           'as something is signed with another one than the first.', examples="""\
  worq secrets
  worq secrets -q mail        with WORQ_SECRET=NEW,OLD""")
