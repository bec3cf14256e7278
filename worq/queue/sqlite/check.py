"""What may be wrong with the rows of a queue, beside what may be wrong with its tasks."""
from __future__ import annotations

from worq.queue.sqlite.schema import SPAN
from worq.queue.sqlite.unit import Unit

__all__ = ['check']

WAITING = "('pending', 'scheduled', 'enqueued')"
REFS = ' UNION ALL '.join(
    f"SELECT {name} AS k FROM worq_task WHERE q=:q AND typeof({name})='integer'"
    for name in ('body', 'memo', 'data'))
#: Statements that find what should not be, and the words for it.
WRONG = [
    ('SELECT dep FROM worq_arg a WHERE dep BETWEEN :low AND :high AND NOT EXISTS '
     '(SELECT 1 FROM worq_task WHERE n=a.dep)', 'arguments of a life that is gone'),
    ('SELECT arg FROM worq_arg a WHERE arg BETWEEN :low AND :high AND NOT EXISTS '
     '(SELECT 1 FROM worq_task WHERE n=a.arg)', 'an argument that is gone'),
    ('SELECT arg FROM worq_dep d WHERE arg BETWEEN :low AND :high AND NOT EXISTS '
     '(SELECT 1 FROM worq_task WHERE n=d.arg)', 'dependents of a life that is gone'),
    ('SELECT n FROM worq_watch w WHERE n BETWEEN :low AND :high AND NOT EXISTS '
     "(SELECT 1 FROM worq_task WHERE n=w.n AND state<>'completed')", 'watched, but over'),
    ('SELECT n FROM worq_task t WHERE q=:q AND nargs<>'
     '(SELECT count(*) FROM worq_arg WHERE dep=t.n)',
     'a wrong count of arguments'),
    ('SELECT n FROM worq_task t WHERE q=:q AND ndeps<>'
     '(SELECT count(*) FROM worq_dep WHERE arg=t.n)',
     'a wrong count of dependents'),
    ('SELECT n FROM worq_task WHERE q=:q AND id IS NULL AND nargs=0 AND ndeps=0',
     'nothing left over of what was forgotten'),
    (f'SELECT k FROM worq_long l WHERE k BETWEEN :low AND :high AND refs<>'
     f'(SELECT count(*) FROM ({REFS}) r WHERE r.k=l.k)', 'a wrong count of who has a long value'),
    (f'SELECT k FROM ({REFS}) r WHERE k NOT IN (SELECT k FROM worq_long)',
     'a long value that is gone'),
]


def check(store: Unit) -> list[str]:
    """A line for each kind of thing that is wrong."""
    db, low = store.db, store.q * SPAN
    found = {'q': store.q, 'low': low, 'high': low + SPAN - 1}
    wrong = [f'{words}: {", ".join(str(n) for n, in rows[:5])}'
             for statement, words in WRONG if (rows := db.execute(statement, found).fetchall())]
    for what, told, statement in [
        ('left over', store.left_over_n, 'ended>0'),
        ('purged', store.purged, f'gen<>{store.generation} AND state IN {WAITING}'),
        ('tasks', store.total, 'id IS NOT NULL'),
        ('leased', store.leases, "state='processing'"),
    ]:
        n, = db.execute(f'SELECT count(*) FROM worq_task WHERE q=:q AND {statement}',
                        {'q': store.q}).fetchone()
        if n != told:
            wrong.append(f'{told} are {what}, but should be {n}')
    n, size = db.execute('SELECT count(*), total(size) FROM worq_kept WHERE q=?',
                         (store.q,)).fetchone()
    if (n, size) != (store.failed_n, store.failed_bytes):
        wrong.append(f'{store.failed_n} failures of {store.failed_bytes} bytes are kept, but it '
                     f'should be {n} of {size:.0f}')
    sound = [line for line, in db.execute('PRAGMA quick_check(5)')]
    return wrong + [f'the file is damaged: {line}' for line in sound if line != 'ok']
