"""A collector for the registry of prometheus-client. Each scrape costs a queue four reads."""
from __future__ import annotations

from collections import Counter
import math
from threading import Lock
import time
from typing import Any, Iterable, Iterator

from worq import const, pools
from worq.errors import QueueError
from worq.metrics.schedules import Glance, add_schedules
from worq.pausing import pauses
from worq.printable import line, logger
from worq.tally import BOUNDS, OTHER, Tally
from worq.view.counts import Counts, counts
from worq.view.pace import Sample, noted, pace

try:
    from prometheus_client.core import (
        CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric,
    )
except ImportError as error:
    raise ImportError("worq.metrics needs prometheus-client: pip install 'WorQ[prometheus]'",
                      name=error.name) from error

__all__ = ['Collector']

log = logger(__name__)

HOSTS = 100      # of pools that have labels of their own; more are one
BEHIND = 300.0   # seconds that the mean of run times looks back, if there were enough scrapes
SAY_AGAIN = 60.0   # seconds between two lines in the log about a queue that is away
LES = [*(repr(bound / 1000) for bound in BOUNDS), '+Inf']

#: The families: their type, name, labels after `queue`, and what they are.
FAMILIES = {
    'up': (GaugeMetricFamily, (), 'Whether the queue can be read'),
    'round_trip_seconds': (GaugeMetricFamily, (), 'How long the last read of the queue took'),
    'tasks': (GaugeMetricFamily, ('state',), 'Tasks by state, but for those that are over'),
    'oldest_seconds': (GaugeMetricFamily, ('priority',),
                       'For how long the oldest task that is ready has been so; 0 if none is'),
    'drain_seconds': (GaugeMetricFamily, (), 'In how many seconds all that is ready will have been '
                                             'taken, as it went lately; NaN while it grows'),
    'work_seconds': (GaugeMetricFamily, (), 'What is ready or runs, times the mean time of a run'),
    'queue_ended': (CounterMetricFamily, ('outcome',), 'All tasks that have ended'),
    'redelivered': (CounterMetricFamily, (), 'Leases that were lost with their workers'),
    'stale': (CounterMetricFamily, (), 'Outcomes that came too late: they count for nothing'),
    'ended': (CounterMetricFamily, ('task', 'outcome'), 'Tasks that have ended, by their names'),
    'retried': (CounterMetricFamily, ('task',), 'Attempts that were followed by another one'),
    'run_seconds': (HistogramMetricFamily, ('task',), 'How long attempts took'),
    'wait_seconds': (HistogramMetricFamily, ('task',),
                     'How long they had been ready before a pool took them'),
    'pools': (GaugeMetricFamily, ('state',), 'Pools: alive, and of these broken or stuck; silent'),
    'pool_silent_seconds': (GaugeMetricFamily, ('host', 'kind'),
                            'Since when the longest silent pool there has not been heard of'),
    'paused': (GaugeMetricFamily, ('names',), '1 for what is paused: names of tasks, or * for all'),
    'schedules': (GaugeMetricFamily, ('state',),
                  'Schedules: active; or paused, orphaned or broken'),
    'schedule_lag_seconds': (GaugeMetricFamily, ('schedule',),
                             'Since when a slot of it is due that has no run yet; 0 if none is'),
    'schedule_fired': (CounterMetricFamily, ('schedule',), 'Runs that were put'),
    'schedule_missed': (CounterMetricFamily, ('schedule',),
                        'Slots without a run: no pool was there in time, or it was paused'),
    'schedule_skipped': (CounterMetricFamily, ('schedule',),
                         'Slots without a run: the run before was not done yet'),
    'workers': (GaugeMetricFamily, ('host', 'kind', 'state'), 'Workers of pools that are alive'),
}


class Collector:
    """The metrics of one queue, or of several.

    Names of tasks and of schedules are the only labels that a program makes: a few hundred have
    numbers of their own. Ids, pools and processes are no labels. A queue that cannot be read is
    told as ``worq_up`` 0, and nothing else of it.

    :param brokers: of the queues. A registry takes one collector, for all of them.
    """

    def __init__(self, *brokers: Any) -> None:
        if not brokers:
            raise ValueError('a Collector needs a broker')
        self.brokers = brokers
        self._samples: dict[int, tuple[Sample, ...]] = dict.fromkeys(range(len(brokers)), ())
        self._means: dict[int, list[tuple[float, int, float]]] = {
            n: [] for n in range(len(brokers))}
        self._glances = [Glance(broker) for broker in brokers]
        self._lock = Lock()   # one scrape at a time
        self._say_at = 0.0

    def __repr__(self) -> str:
        return f'<Collector of {", ".join(broker.name for broker in self.brokers)}>'

    def describe(self) -> Iterable[Metric]:
        """The families without values: to register it reads nothing."""
        return families().values()

    def collect(self) -> Iterator[Metric]:
        """The families, as the queues are now."""
        found = families()
        with self._lock:
            for n, broker in enumerate(self.brokers):
                self._read(n, broker, found)
        return iter(found.values())

    def _read(self, n: int, broker: Any, found: dict[str, Any]) -> None:
        queue = broker.name
        begin = time.monotonic()
        try:
            read = counts(broker)
            took = time.monotonic() - begin
            living = pools.known(broker.backend.pools())
            paused = pauses(broker.backend)
            schedules = self._glances[n].look(read.now)
        except QueueError as error:
            if begin >= self._say_at:
                self._say_at = begin + SAY_AGAIN
                log.warning('no metrics of the queue %s: %s', queue, error)
            found['up'].add_metric([queue], 0)
            return
        found['up'].add_metric([queue], 1)
        found['round_trip_seconds'].add_metric([queue], took)
        for one in paused:
            found['paused'].add_metric([queue, line(one.pattern)], 1)
        self._sizes(n, begin, queue, read, found)
        add_ends(queue, read, found)
        add_pools(queue, living, found)
        add_schedules(queue, schedules, found)

    def _sizes(self, n: int, now: float, queue: str, read: Counts, found: dict[str, Any]) -> None:
        for state, size in read.sizes.items():
            found['tasks'].add_metric([queue, state], size)
        for priority, seconds in read.oldest.items():
            found['oldest_seconds'].add_metric([queue, priority], seconds or 0)
        sample = Sample(now, read.sizes[const.ENQUEUED])
        drain = pace(self._samples[n], sample).drain
        self._samples[n] = noted(self._samples[n], sample)
        found['drain_seconds'].add_metric([queue], math.nan if drain is None else drain)
        mean = self._mean(n, now, read)
        work = (read.sizes[const.ENQUEUED] + read.sizes[const.PROCESSING]) * mean
        found['work_seconds'].add_metric([queue], work)

    def _mean(self, n: int, now: float, read: Counts) -> float:
        """Seconds of an attempt lately, or else ever."""
        attempts = sum(tally.attempts for tally in read.tallies.values())
        seconds = sum(tally.run_seconds for tally in read.tallies.values())
        before = self._means[n]
        before.append((now, attempts, seconds))
        while len(before) > 2 and before[1][0] <= now - BEHIND:
            del before[0]
        _, some, took = before[0]
        if attempts > some:
            return max(seconds - took, 0.0) / (attempts - some)
        return seconds / attempts if attempts else 0.0


def families() -> dict[str, Any]:
    """The families without values, by name."""
    return {name: kind(f'worq_{name}', f'{text}.', labels=('queue', *labels))
            for name, (kind, labels, text) in FAMILIES.items()}


def add_ends(queue: str, read: Counts, found: dict[str, Any]) -> None:
    """What has ended, and how long it took."""
    for outcome, count in read.ended.items():
        found['queue_ended'].add_metric([queue, outcome], count)
    found['redelivered'].add_metric([queue], read.redelivered)
    found['stale'].add_metric([queue], read.stale)
    for task, tally in sorted(read.tallies.items()):
        for outcome, count in tally.ended.items():
            found['ended'].add_metric([queue, task, outcome], count)
        found['retried'].add_metric([queue, task], tally.retried)
        if tally.attempts:
            found['run_seconds'].add_metric([queue, task], runs(tally), tally.run_seconds)
            found['wait_seconds'].add_metric(
                [queue, task], buckets(tally.waits), tally.wait_seconds)


def buckets(counts: Iterable[int]) -> list[Any]:
    """Counts as those up to each bound."""
    below, answer = 0, []
    for le, count in zip(LES, counts):
        below += count
        answer.append([le, below])
    return answer


def runs(tally: Tally) -> list[Any]:
    """The same, each with a task for an example."""
    answer = buckets(tally.runs)
    for n, (id, seconds) in tally.exemplars.items():
        answer[n].append(Exemplar({'task_id': id}, seconds))
    return answer


def add_pools(queue: str, living: list[pools.Pool], found: dict[str, Any]) -> None:
    """Pools and their workers; of so many hosts the first by name."""
    states = dict.fromkeys(('alive', 'broken', 'stuck', 'silent'), 0)
    hosts = {host: host for host in sorted({pool.host for pool in living})[:HOSTS]}
    workers: Counter[tuple[str, str, str]] = Counter()
    silent: dict[tuple[str, str], float] = {}
    for pool in living:
        place = hosts.get(pool.host, OTHER), pool.kind
        silent[place] = max(silent.get(place, 0.0), pool.seen)
        if not pool.alive:
            states['silent'] += 1
            continue
        states['alive'] += 1
        states['broken'] += bool(pool.broken)
        states['stuck'] += pool.stuck
        busy = sum(bool(worker.id) for worker in pool.workers)
        starting = sum(worker.state == pools.STARTING for worker in pool.workers)
        workers[(*place, 'busy')] += busy
        workers[(*place, 'starting')] += starting
        workers[(*place, 'idle')] += max(pool.size - busy - starting, 0)
    for state, count in states.items():
        found['pools'].add_metric([queue, state], count)
    for place, seconds in silent.items():
        found['pool_silent_seconds'].add_metric([queue, *place], seconds)
    for key, count in workers.items():
        found['workers'].add_metric([queue, *key], count)
