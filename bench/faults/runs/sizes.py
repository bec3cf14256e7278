"""Runs with much in the queue: a full server, a million tasks, large graphs; and with nothing."""
from __future__ import annotations

from functools import partial
import statistics
import time
from operator import itemgetter
from typing import Any, Callable

import worq

from bench.faults import check, journal
from bench.faults.record import Record
from bench.faults.rig import EVERYSEC, Rig
from bench.peers.base import waited_for_processor
from test.support import Server
from worq import Broker, QueueError, Task, TaskFailure, get_broker
from worq.queue.base import Outcome
from worq.queue.redis import script

__all__ = ['server_full', 'deep_queue', 'large_graphs', 'idle_pool']

SLOW = 15_000      # us of a command that is too long
TRIES = 3          # of what had slow scripts: work is slow each time, a busy machine is not


def server_full(seed: int, seconds: float, quick: bool) -> Record:
    """Run 10: Redis reaches its maxmemory with thousands queued.

    The producer is told within 100 ms, with a QueueError, and nothing of what it was told of is
    stored; all that was acknowledged is run, in the order in which it was put, and its results
    are kept.
    """
    record = Record(10, 'maxmemory reached with thousands queued', seed)
    count = 1_000 if quick else 5_000
    refused = []
    with Rig(seed, [*EVERYSEC, '--maxmemory-policy', 'noeviction']) as rig:
        broker = get_broker(rig.url, rig.name)
        q = broker.queue()
        made = {}

        def put(key: str, ballast: bytes = b'') -> None:
            rig.journal.write(journal.TRY, key)
            begin = time.monotonic()
            try:
                made[key] = Task(q.work, id=key)(key, 0.001, ballast)
            except QueueError as error:
                refused.append((time.monotonic() - begin, str(error)))
                rig.journal.write(journal.UNSURE, key, error)
            else:
                rig.journal.write(journal.PUT, key)

        for n in range(count):
            put(f'n{n}')
        used = int(rig.server.cli('INFO', 'memory')['used_memory'])
        rig.server.cli('CONFIG', 'SET', 'maxmemory', used + (256 << 10))
        rig.fault('full')
        for n in range(100):
            put(f'more{n}', bytes(16 << 10))
        states = dict(zip(
            [f'more{n}' for n in range(100)],
            broker.backend.status([f'more{n}' for n in range(100)])))
        half_stored = [key for key, state in states.items() if state and key not in made]
        pool = rig.pool(workers=1)   # with more, the order in which they start is not defined
        limit = time.monotonic() + 300
        for key, deferred in made.items():
            try:
                value = deferred.result(max(0.0, limit - time.monotonic()))
                rig.journal.write(journal.RESULT, key, value['run'])
            except TaskFailure as failure:
                rig.journal.write(journal.FAILED, key, f'{type(failure).__name__}: {failure}')
            except TimeoutError:
                rig.journal.write(journal.NOTHING, key)
        figures = record.add({
            **rig.figures(), 'refused': len(refused), 'half stored': len(half_stored),
            'slowest refusal': round(max((took for took, _ in refused), default=0.0), 4)})
        broker.close()
        record.demand(pool.stop() == 0, 'the pool did not end well')
    record.safe(figures)
    record.demand(len(refused) > 0, 'nothing was refused')
    record.demand(not half_stored, f'refused and yet stored: {half_stored[:3]}')
    record.demand(figures['slowest refusal'] < 0.1,
                  f'a refusal took {figures["slowest refusal"]} s')
    record.demand(all('full' in text for _, text in refused),
                  f'not told why: {[text for _, text in refused][:1]}')
    record.demand(figures['displaced'] == 0,
                  f'tasks started up to {figures["displaced"]} places out of order')
    record.demand(figures['results'] == len(made), 'not all that were queued came to a result')
    return record


# -- what slow commands there were ----------------------------------------------------

class SlowLog:
    """The commands of a server that take too long, from now on.

    By the clock, as Redis does: one that waits for a processor meanwhile takes too long as well.
    So it is told, too, for how long the server has waited in all.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        server.cli('CONFIG', 'SET', 'slowlog-max-len', 1000)
        server.cli('CONFIG', 'SET', 'slowlog-log-slower-than', SLOW)
        server.cli('SLOWLOG', 'RESET')
        self.before = self._waited()

    def _waited(self) -> float:
        assert self.server.process is not None
        return waited_for_processor(self.server.process.pid)

    def found(self) -> dict[str, Any]:
        """How many there were, the milliseconds of the longest, and which script that is."""
        waited = self._waited() - self.before
        entries = self.server.cli('SLOWLOG', 'GET', 1000)
        longest = max(entries, key=itemgetter(2), default=None)
        return {'slow scripts': len(entries),
                'slowest script ms': longest[2] / 1000 if longest else 0.0,
                'slowest script': name(longest[3]) if longest else '',
                'server waited s': round(waited, 3)}


def name(command: list[bytes]) -> str:
    """What a command is: a script by its verb."""
    sha = command[1].decode('latin-1') if len(command) > 1 else ''
    return {verb.sha: verb.name for verb in script.load().values()}.get(sha, command[0].decode())


def not_slow(attempt: Callable[[], dict[str, Any]], quick: bool) -> dict[str, Any]:
    """Attempt something until no script of it is slow, a few times at most.

    :returns: what the last attempt found, with the numbers of slow scripts of those before.
    """
    before: list[int] = []
    while True:
        found = attempt()
        if quick or not found.get('slow scripts') or len(before) == TRIES - 1:
            return {**found, 'slow before': before} if before else found
        before.append(found['slow scripts'])


# -- run 11 ---------------------------------------------------------------------------

def deep_queue(seed: int, seconds: float, quick: bool) -> Record:
    """Run 11: from a thousand to a million queued.

    Taking and settling is as fast with a million queued as with a thousand, within 20 %, and no
    script takes longer than 15 ms; see `TRIES`.
    """
    record = Record(11, 'from a thousand to a million queued', seed)
    depths = [1_000, 10_000, 100_000] if quick else [1_000, 10_000, 100_000, 1_000_000]

    def attempt() -> dict[str, Any]:
        with Rig(seed) as rig, get_broker(rig.url, rig.name) as broker:
            log = SlowLog(rig.server)
            q = broker.queue()
            for depth in depths:
                while (more := depth - len(broker)) > 0:
                    worq.map(Task(q.same, result_timeout=1), range(min(more, 5_000)))
                rounds = [work_off(broker, 1_000) for _ in range(5)]
                used = rig.server.cli('INFO', 'memory')['used_memory']
                record.add({
                    'tasks a second': round(statistics.median(rate for rate, _ in rounds)),
                    'take p99 ms': statistics.median(
                        round(1000 * check.quantiles(takes)['p99'], 3) for _, takes in rounds),
                    'bytes a task': round(used / len(broker))}, str(depth))
            return log.found()

    found = record.add(not_slow(attempt, quick))
    first, last = record.figures[str(depths[0])], record.figures[str(depths[-1])]
    most = 3.0 if quick else 1.25   # a short run on a busy machine says little
    record.demand(last['tasks a second'] * most > first['tasks a second'],
                  f'{last["tasks a second"]} tasks a second of {first["tasks a second"]}')
    record.demand(last['take p99 ms'] < first['take p99 ms'] * most + 0.2,
                  f'take p99 {last["take p99 ms"]} ms, was {first["take p99 ms"]} ms')
    if not quick:
        record.demand(not found['slow scripts'], f'{found["slow scripts"]} scripts over 15 ms, the '
                      f'slowest {found["slowest script"]}, {found["slowest script ms"]} ms')
    return record


def work_off(broker: Broker, number: int) -> tuple[float, list[float]]:
    """Take and settle so many tasks: tasks a second in tens, then the seconds of each take of one.
    """
    queue = broker.backend
    begin = time.perf_counter()
    for _ in range(number // 10):
        found = queue.take('worker', 10)
        queue.settle('worker', [Outcome(d.id, d.token, 'value', b'done') for d in found])
    rate = number / (time.perf_counter() - begin)
    takes = []
    for _ in range(number // 2):
        begin = time.perf_counter()
        found = queue.take('worker', 1)
        takes.append(time.perf_counter() - begin)
        queue.settle('worker', [Outcome(d.id, d.token, 'value', b'done') for d in found])
    worq.map(Task(broker.queue().same, result_timeout=1), range(number + number // 2))
    return rate, takes


# -- run 12 ---------------------------------------------------------------------------

def large_graphs(seed: int, seconds: float, quick: bool) -> Record:
    """Run 12: a fan-in and a fan-out of 100,000, a chain of 10,000, a failure across 100,000.

    All come to what they should, and no script takes longer than 15 ms; see `TRIES`.
    """
    record = Record(12, 'large graphs', seed)
    size = 2_000 if quick else 100_000
    for leg, number, build in LEGS:
        number = number if not quick else min(size, number // 10)
        found = record.add(not_slow(partial(graph, record, leg, number, build), quick), leg)
        if not quick and 'error' not in found:
            record.demand(not found['slow scripts'], f'{leg}: {found["slow scripts"]} scripts over '
                          f'15 ms, the slowest {found["slowest script"]}, '
                          f'{found["slowest script ms"]} ms')
    return record


def graph(record: Record, leg: str, number: int,
          build: Callable[[Broker, int], Finish]) -> dict[str, Any]:
    """Build one graph and run it."""
    with Rig(record.seed) as rig, get_broker(rig.url, rig.name) as broker:
        log = SlowLog(rig.server)
        begin = time.monotonic()
        try:
            finish = build(broker, number)
        except Exception as error:
            text = f'{type(error).__name__}: {error}'[:200]
            record.demand(False, f'{leg} of {number}: {text}')
            return {'size': number, 'error': text}
        put = time.monotonic() - begin
        pool = rig.pool(workers=2)
        begin = time.monotonic()
        wrong = finish(600.0)
        took = time.monotonic() - begin
        found = log.found()
        audit = rig.audit(broker)
        record.demand(pool.stop() == 0, f'{leg}: the pool did not end well')
    record.demand(not wrong, f'{leg}: {wrong}')
    record.demand(not audit, f'{leg}: audit: {audit[:2]}')
    return {'size': number, 'put s': round(put, 2), 'run s': round(took, 2),
            'audit': len(audit), **found}


Finish = Callable[[float], str]    # waits for so many seconds; says what is wrong


def expect(deferred: Any, value: object) -> Finish:
    """A deferred that should come to this value."""
    def finish(timeout: float) -> str:
        found = deferred.result(timeout)
        return '' if found == value else f'{found!r}, not {value!r}'
    return finish


def fan_in(broker: Broker, number: int) -> Finish:
    q = broker.queue()
    return expect(q.count(worq.map(q.same, range(number))), number)


def fan_out(broker: Broker, number: int) -> Finish:
    q = broker.queue()
    root = q.same('root')
    made = worq.map(q.same, range(number), [root] * number)

    def finish(timeout: float) -> str:
        done, open = worq.wait(made, timeout)
        wrong = sum(deferred.value != n for n, deferred in enumerate(made) if deferred in done)
        return f'{len(open)} never ended, {wrong} wrong' if open or wrong else ''
    return finish


def chain(broker: Broker, number: int) -> Finish:
    q = broker.queue()
    link = q.same(0)
    for _ in range(number):
        link = q.add(link, 1)
    return expect(link, number)


def failure(broker: Broker, number: int) -> Finish:
    q = broker.queue()
    root = q.fail()
    made = worq.map(q.same, range(number), [root] * number)

    def finish(timeout: float) -> str:
        done, open = worq.wait(made, timeout)
        failures = [deferred.exception(0) for deferred in done]
        wrong = sum(not isinstance(one, TaskFailure) or one.task_id != root.id
                    for one in failures)
        return f'{len(open)} never ended, {wrong} wrong' if open or wrong else ''
    return finish


LEGS: list[tuple[str, int, Callable[[Broker, int], Finish]]] = [
    ('fan-in', 100_000, fan_in), ('fan-out', 100_000, fan_out), ('chain', 10_000, chain),
    ('failure', 100_000, failure)]


# -- run 15 ---------------------------------------------------------------------------

def idle_pool(seed: int, seconds: float, quick: bool) -> Record:
    """Run 15: an idle pool gets one task, again and again.

    Between the call and its begin there are less than 2 ms (p50).
    """
    record = Record(15, 'an idle pool gets one task', seed)
    for kind in ['process', 'thread']:
        with Rig(seed) as rig, get_broker(rig.url, rig.name) as broker:
            pool = rig.pool(workers=2, kind=kind)
            q = broker.queue()
            delays = []
            end = time.monotonic() + seconds / 2
            while time.monotonic() < end:
                time.sleep(rig.rand.uniform(0.02, 0.1))
                begin = time.monotonic()
                delays.append(1000 * (q.moment().result(30) - begin))
            figures = record.add({'wake-up ms': check.quantiles(delays)}, kind)
            record.demand(pool.stop() == 0, f'{kind}: the pool did not end well')
        found = figures['wake-up ms']['p50']
        record.demand(quick or found < 2, f'{kind}: wake-up p50 {found} ms')
    return record
