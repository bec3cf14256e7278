"""Runs in which workers, and whole pools, are killed, stopped and poisoned."""
from __future__ import annotations

import os
import signal
import time
from typing import Any, Callable

from bench.faults import journal
from bench.faults.record import Record
from bench.faults.rig import EVERYSEC, Pool, Rig, alive
from test.support import eventually

__all__ = [
    'children_killed', 'kill_children', 'managers_killed', 'terminated', 'pool_stopped', 'poison',
]

SHORT_LEASE = {'heartrate': 1}    # a lease of three seconds
Wait = Callable[[float], bool]


def clock(seconds: float) -> Wait:
    """A function that sleeps, and tells whether so many seconds have not yet passed."""
    end = time.monotonic() + seconds

    def wait(pause: float) -> bool:
        time.sleep(max(0.0, min(pause, end - time.monotonic())))
        return time.monotonic() < end
    return wait


def children_killed(seed: int, seconds: float, quick: bool) -> Record:
    """Run 1: every 200 ms a random worker process is killed, whatever it does.

    Nothing is lost, no task has two results; a task runs a second time at most for each kill,
    and does so within a second (p99).
    """
    record = Record(1, 'a random worker killed every 200 ms', seed)
    with Rig(seed) as rig:
        kill_children(record, rig, seconds, quick)
    return record


def kill_children(record: Record, rig: Rig, seconds: float, quick: bool, leg: str = '') -> None:
    """Run 1 on some Redis."""
    begin = time.monotonic()
    pool = rig.pool(workers=4)
    # On a machine that takes longer to start a process than we to kill it, nothing can run.
    start = time.monotonic() - begin if quick else 0.0
    count = int(seconds * (60 if quick else 10_000 / 120))
    producer = rig.producer(count, seconds, longest=0.06)
    wait = clock(seconds)
    while wait(max(0.2, start / 6)):
        if found := pool.children:
            rig.kill(rig.rand.choice(found), 'child')
    rig.finish(producer)
    figures = record.add(rig.figures(), leg)
    where = f'{leg}: ' if leg else ''
    record.demand(pool.stop() == 0, f'{where}the pool did not end well')
    record.safe(figures, leg)
    record.demand(figures['duplicates'] <= figures['faults'],
                  f'{where}{figures["duplicates"]} duplicate runs by {figures["faults"]} kills')
    record.quick(figures, 'recovery', max(1.0, 5 * start), leg)
    # a pause of one second, up to another until a tick sees that it is over, and as above
    record.quick(figures, 'again', 2.0 + max(1.0, 5 * start), leg)


def managers_killed(seed: int, seconds: float, quick: bool) -> Record:
    """Run 2: every 5 s a whole pool is killed, its manager first, and started again.

    Nothing is lost, no task has two results; what ran runs again within 3 s (p99) if another
    pool of the machine can see that it is dead, within 18 s if none can. Children do not outlive
    their manager.

    The quick run, a test, allows for a machine on which a pool starts slowly. Then both are away
    at times, and when one is there again, the queue cannot tell that from its having been away
    itself: no lease runs out for ``GRACE``, which with a tick and a poll is 18 s, whatever the
    lease. Before that a pool has to start, and after it one whose worker is ready has to be there.
    """
    record = Record(2, 'a manager killed every 5 s', seed)
    for leg, most, options in [
            ('same host', 17.0 if quick else 3.0, {}),   # a busy machine is slow
            ('elsewhere', 18.0, SHORT_LEASE if quick else {})]:
        with Rig(seed) as rig:
            hosts = ['', ''] if leg == 'same host' else ['here', 'there']
            pools = [rig.pool(workers=2, host=host) for host in hosts]
            # a run that is cut three times by the death of its manager has expired, rightly
            producer = rig.producer(int(seconds * 40), seconds, longest=0.1,
                                    options={**options, 'max_deliveries': 10})
            wait = clock(seconds)
            orphans = 0
            kills = 0
            while wait(2.0 if quick else 5.0):
                pool = pools[kills % 2]
                eventually(lambda pool=pool: bool(running(rig, pool)), timeout=30)
                kills += 1
                patience = max(2.0, rig.slowest_start()) if quick else 2.0
                orphans += len(survivors(pool.kill(), patience))
                if leg == 'elsewhere':   # and so is not seen by one that starts beside it
                    pool.options['host'] = f'host{kills}'
                pool.start()
            rig.finish(producer)
            slowest = rig.slowest_start()
            figures = record.add({**rig.figures(max_deliveries=10), 'orphans': orphans}, leg)
        record.safe(figures, leg)
        bound = kills * 2 * 32   # workers, and what each has before it
        record.demand(figures['duplicates'] <= bound, f'{leg}: {figures["duplicates"]} '
                      f'duplicate runs, bound {bound}')
        record.demand(not orphans, f'{leg}: {orphans} children outlived their manager')
        record.demand(figures['recovery']['n'] > 0, f'{leg}: nothing ran when it was killed')
        record.quick(figures, 'recovery', most + (round(2 * slowest, 1) if quick else 0.0), leg)
    return record


def survivors(pids: list[int], patience: float) -> list[int]:
    """The processes that still run after so many seconds."""
    limit = time.monotonic() + patience
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < limit:
        time.sleep(0.02)
    return left


def terminated(seed: int, seconds: float, quick: bool) -> Record:
    """Run 3: SIGTERM at random moments, with a time of grace that most tasks need less of.

    Each is finished or given back; only one that outlasts the grace runs again. The pool ends
    with status 0, in time, and within 2 s after it no child is left.
    """
    record = Record(3, 'SIGTERM at random', seed)
    grace = 2.0 if quick else 10.0
    number = int(seconds * 20)
    long = {'count': max(2, int(seconds / grace / 3)), 'prefix': 'long', 'graphs': 0,
            'shortest': grace * 0.5, 'longest': grace * 1.5, 'options': {'max_deliveries': 20}}
    terminate(record, 'long tasks', seed, seconds, grace, grace, [
        {'count': number, 'longest': 0.2}, long])
    # so many at once that a child always has some that it has not begun
    terminate(record, 'short tasks', seed, seconds / 3, grace, 1.0, [
        {'count': 10 * number, 'longest': 0.004, 'over': 0.1, 'graphs': 0}])
    return record


def terminate(record: Record, leg: str, seed: int, seconds: float, grace: float, pause: float,
              producers: list[dict[str, Any]]) -> None:
    """One leg of run 3.

    :param pause: seconds between two signals, at most.
    :param producers: their options.
    """
    ends = []
    orphans = late = 0
    with Rig(seed) as rig:
        pools = [rig.pool(workers=2, grace=grace) for _ in range(2)]
        programs = [rig.producer(**{'over': seconds, **options}) for options in producers]
        eventually(lambda: rig.count(journal.BEGIN) > 0, timeout=30)
        wait = clock(seconds)
        while wait(rig.rand.uniform(0.2, pause)):
            pool = rig.rand.choice(pools)
            found = pool.children
            rig.kill(pool.pid, 'pool', found, signal.SIGTERM)
            begin = time.monotonic()
            status = pool.program.wait(grace + 30)
            # before it has begun, no handler of ours can be there
            ends.append(0 if status == -signal.SIGTERM and not found else status)
            late += time.monotonic() - begin > grace + 5
            orphans += len(survivors(found, 2.0))
            pool.start()
        rig.finish(*programs)
        figures = record.add(
            {**rig.figures(max_deliveries=20), 'orphans': orphans, 'late': late}, leg)
        again = begun_twice(rig)
    record.safe(figures, leg)
    record.demand(set(ends) <= {0}, f'{leg}: exit statuses {sorted(set(ends))}')
    record.demand(not orphans, f'{leg}: {orphans} children outlived their manager by 2 s')
    record.demand(figures['redelivered'] == 0,
                  f'{leg}: {figures["redelivered"]} tasks were not given back, but lost')
    record.demand(not late, f'{leg}: {late} pools ended more than 5 s after their grace')
    unfair = sorted(key for key in again if not key.startswith('long'))
    record.demand(not unfair, f'{leg}: had time to end, and ran again: {unfair[:5]}')


def begun_twice(rig: Rig) -> set[str]:
    """Tasks that have been begun more than once."""
    seen: set[str] = set()
    again: set[str] = set()
    for entry in rig.entries():
        if entry.event == journal.BEGIN:
            (again if entry.key in seen else seen).add(entry.key)
    return again


def pool_stopped(seed: int, seconds: float, quick: bool) -> Record:
    """Run 9: a whole pool is stopped (SIGSTOP) for three leases, while another goes on.

    Its tasks run again there. When it is continued, its children end what they were doing,
    and every such late outcome is refused, also while the other pool still runs the same task:
    the results are those of the other pool.
    """
    record = Record(9, 'a pool stopped for three leases, then continued', seed)
    lease = 3.0 if quick else 15.0
    options = SHORT_LEASE if quick else {}
    with Rig(seed) as rig:
        frozen, other = rig.pool(workers=2), rig.pool(workers=2)
        # so long that the second run of one is not over when the first comes back
        long = rig.producer(4, 0.1, prefix='long', shortest=2.5 * lease, longest=2.5 * lease,
                            graphs=0, options=options, patience=20 * lease)
        eventually(lambda: len(running(rig, frozen)), 2, timeout=30)
        producer = rig.producer(int(4 * lease * 20), 4 * lease, shortest=0.02, longest=0.1,
                                options=options)
        pids = [frozen.pid, *frozen.children]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        held = running(rig, frozen)
        rig.fault('stop', lambda: resume(pids), 3 * lease)
        rig.finish(long, producer)
        late = [e for e in rig.entries() if e.event == journal.END and e.detail in held.values()]
        taken = [e for e in rig.entries() if e.event in (journal.RESULT, journal.SEEN)
                 and e.detail in held.values()]
        figures = record.add({**rig.figures(), 'held': len(held), 'late ends': len(late),
                              'late outcomes accepted': len(taken)})
        record.demand(frozen.stop() == other.stop() == 0, 'a pool did not end well')
    record.safe(figures)
    record.demand(len(held) > 0, 'nothing ran when the pool was stopped')
    record.demand(not taken, f'{len(taken)} late outcomes were accepted')
    bound = 2 * 32
    record.demand(figures['duplicates'] <= bound,
                  f'{figures["duplicates"]} duplicate runs, bound {bound}')
    return record


def running(rig: Rig, pool: Pool) -> dict[str, str]:
    """What a pool's children run now: key to run."""
    entries = rig.entries()
    ended = {e.detail for e in entries if e.event == journal.END}
    pids = set(pool.children)
    return {e.key: e.detail for e in entries
            if e.event == journal.BEGIN and e.pid in pids and e.detail not in ended}


def resume(pids: list[int]) -> None:
    """Continue a pool, the children first, so that they have something to tell."""
    for pid in pids[1:]:
        os.kill(pid, signal.SIGCONT)
    time.sleep(0.5)
    os.kill(pids[0], signal.SIGCONT)


POISONS = [   # task, what its failure says, whether it kills its worker
    ('segfault', 'SIGSEGV', True), ('leave', 'exit status 3', True),
    ('abort', 'SIGABRT', True), ('killed', 'SIGKILL', True),
    ('hungry', 'MemoryError', False)]


def poison(seed: int, seconds: float, quick: bool) -> Record:
    """Run 13: ten poisonous tasks among many: segfault, abort, exit, out of memory, endless.

    Exactly these ten fail, each naming what it did to its worker, three deliveries at most;
    all others come to their result, dependents of poison excepted.
    """
    record = Record(13, 'ten poisonous tasks among many', seed)
    from worq import Task, TaskFailure, get_broker
    with Rig(seed, EVERYSEC) as rig:
        pool = rig.pool(workers=4)
        producer = rig.producer(600 if quick else 10_000, seconds, longest=0.005)
        broker = get_broker(rig.url, rig.name)
        q = broker.queue()
        poisons = [(f'{name}{n}', name, text, kills) for n in range(2)
                   for name, text, kills in POISONS[:4]] + [
            ('hungry0', *POISONS[4]), ('endless0', 'endless', 'TaskTimeout', False)]
        rig.rand.shuffle(poisons)
        made = {}
        for key, name, text, kills in poisons:
            time.sleep(seconds / 20)
            rig.journal.write(journal.TRY, key)
            limit = {'timeout': 1} if name == 'endless' else {}
            made[key] = Task(getattr(q, name), id=key, **limit)(key)
        wrong = {}
        for key, name, text, kills in poisons:
            failure = made[key].exception(120)
            begun = sum(e.key == key and e.event == journal.BEGIN for e in rig.entries())
            if not isinstance(failure, TaskFailure) or text not in repr(failure) \
                    or f'{name} [{rig.name}:{key}]' not in repr(failure) \
                    or begun != (3 if kills else 1):
                wrong[key] = f'begun {begun} times: {failure}'
        rig.finish(producer)
        figures = record.add({**rig.figures(), 'poison': len(poisons), 'wrong': wrong})
        broker.close()
        record.demand(pool.stop() == 0, 'the pool did not end well')
    record.demand(not wrong, f'poison: {wrong}')
    record.safe(figures)
    record.demand(figures['expired'] == 0, f'{figures["expired"]} others expired')
    return record
