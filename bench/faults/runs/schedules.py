"""Run 18: pools that put the runs of schedules are killed, stopped and cut off."""
from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
import os
import signal
import time
from typing import Any

from bench.faults import journal
from bench.faults.proxy import Proxy
from bench.faults.record import Record
from bench.faults.rig import Pool, Rig
from bench.faults.timed import CHANGED, STEADY
from test.support import eventually
from worq import Broker, const, get_broker
from worq.schedules.call import run_id
from worq.schedules.table import Schedule

__all__ = ['schedules_put']

SKEWS = -300, -120, 0, 120, 300   # seconds by which the clock of a pool's machine is wrong
STOPPED = 2.0, 4.0                # seconds, at least and at most
BETWEEN = 0.2, 1.0                # seconds between two faults
LONG = 1_800                      # seconds that a run takes at most
PATIENCE = 120.0                  # seconds for what is left, when nothing is broken any more
KINDS = {   # how often, of so many faults
    'kill': 5, 'stop': 2, 'reset': 1, 'reply lost': 2, 'black hole': 1, 'cut in replies': 1}


def schedules_put(seed: int, seconds: float, quick: bool) -> Record:
    """Run 18: pools that put what schedules mean are killed, stopped, cut off; clocks are askew.

    Two deploys with other code for the same schedule run side by side. No slot has two runs,
    and none is left out: each had one, or counts as missed, or as skipped.
    """
    record = Record(18, 'pools that put runs of schedules killed, stopped, cut off', seed)
    with Rig(seed) as rig, nullcontext() if rig.file else Proxy(rig.server.port, seed) as proxy:
        pools = [rig.pool(proxy.url if proxy else '', workers=2, deploy='old'),
                 rig.pool(workers=2, deploy='new'),
                 rig.pool(proxy.url if proxy else '', workers=4, kind='thread', deploy='old')]
        with get_broker(rig.url, rig.name) as broker:
            eventually(lambda: len(broker.schedules.list()), len(STEADY) + 1, timeout=60)
            before = {name: broker.schedules.get(name) for name in STEADY}
            done, late = hurt(rig, pools, proxy, broker, seconds)
            heal(rig, pools, broker)
            figures = record.add({**count(rig, broker, before), 'behind at most s': round(late, 1),
                                  'faults': sum(done.values()), **done})
        ends = [pool.stop() for pool in pools]
    for name in 'twice', 'never', 'audit', 'leaks':
        record.demand(not figures[name], f'{name}: {figures[name]}')
    record.demand(set(ends) == {0}, f'pools ended with {ends}')
    record.demand(figures['slots'] >= seconds, f'only {figures["slots"]} slots came by')
    record.demand(done['kill'] > 0, 'nothing was killed')
    return record


def hurt(rig: Rig, pools: list[Pool], proxy: Proxy | None, broker: Broker, seconds: float,
         ) -> tuple[Counter[str], float]:
    """Do all that to them; what was done how often, and how late a slot was at most."""
    kinds = [kind for kind, often in KINDS.items() for _ in range(often)
             if proxy or kind in ('kill', 'stop')]
    done: Counter[str] = Counter()
    asleep: dict[int, float] = {}   # pools by number: until when
    late = 0.0
    end = time.monotonic() + seconds
    while (now := time.monotonic()) < end:
        for number in [number for number, until in asleep.items() if until <= now]:
            wake(pools[number])
            del asleep[number]
        late = max([late, *(one.late for one in broker.schedules.list())])
        kind, number = rig.rand.choice(kinds), rig.rand.randrange(len(pools))
        if kind in ('kill', 'stop') and not pools[number].ready:
            time.sleep(0.1)   # a busy machine takes longer to start it than we to kill it
            continue
        done[kind] += 1
        if kind == 'kill':
            asleep.pop(number, None)
            kill(rig, pools[number])
        elif kind == 'stop':
            asleep[number] = now + rig.rand.uniform(*STOPPED)
            send(pools[number], signal.SIGSTOP)
        else:
            assert proxy is not None
            cut_off(rig, proxy, kind)
        time.sleep(rig.rand.uniform(*BETWEEN))
    for number in asleep:
        wake(pools[number])
    if proxy:
        proxy.pass_on()
    return done, late


def kill(rig: Rig, pool: Pool) -> None:
    """Kill a manager with its children; another takes its place, of either deploy, and with a
    clock that is wrong. (The clock of a file is that of the machine, and all have the same.)"""
    found = pool.children
    pool.kill()
    for pid in found:
        rig.kill(pid, 'child')
    pool.options['deploy'] = rig.rand.choice(sorted(CHANGED))
    pool.options['skew'] = 0 if rig.file else rig.rand.choice(SKEWS)
    pool.start()


def send(pool: Pool, number: int) -> None:
    """Send a signal to a manager and its children."""
    for pid in [pool.pid, *pool.children]:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def wake(pool: Pool) -> None:
    send(pool, signal.SIGCONT)


def cut_off(rig: Rig, proxy: Proxy, kind: str) -> None:
    """Break the links of some pools."""
    if kind == 'reset':
        proxy.reset()
        rig.fault(kind, proxy.pass_on, 0.1)
    elif kind == 'black hole':
        proxy.blackhole()
        rig.fault(kind, proxy.pass_on, 1.0)
    elif kind == 'cut in replies':
        proxy.cut(10, 3_000)
        rig.fault(kind)
    else:
        proxy.lose()
        rig.fault(kind)


def heal(rig: Rig, pools: list[Pool], broker: Broker) -> None:
    """Have all that is due put, and run; and then nothing more."""
    for pool in pools:
        if pool.program.poll() is not None:
            pool.start()
        pool.await_ready()
    eventually(lambda: max(one.late for one in broker.schedules.list()) < 1, timeout=PATIENCE)
    for one in broker.schedules.list():
        broker.schedules.pause(one.name)
    eventually(lambda: (time.sleep(0.1), len(broker.queue()))[1], 0, timeout=PATIENCE)


def count(rig: Rig, broker: Broker, before: dict[str, Any]) -> dict[str, Any]:
    """Which slots had more than one run, or none; by what the runs themselves have written."""
    lives: dict[str, set[str]] = {}
    for entry in rig.entries():
        if entry.event == journal.BEGIN:
            lives.setdefault(entry.key, set()).add(entry.detail)
    found = {one.name: one for one in broker.schedules.list()}
    never, slots = [], 0
    for name, first in before.items():
        last = found[name]
        passed = round((last.next - first.next).total_seconds())
        told = sum(getattr(last, word) - getattr(first, word)
                   for word in ('fired', 'missed', 'skipped'))
        if passed != told:
            never.append(f'{name}: of {passed} slots {told}')
        slots += passed
    for name, one in found.items():
        begun = {key for key in lives if key.startswith(f'{name}@')}
        runs = len(begun | lost(broker, one))
        if runs != one.fired:
            never.append(f'{name}: of {one.fired} runs {runs}')
    return {'slots': slots, 'runs': len(lives), 'expired': broker.backend.stats()['expired'],
            'missed': sum(one.missed for one in found.values()),
            'skipped': sum(one.skipped for one in found.values()),
            'twice': sorted(key for key, some in lives.items() if len(some) > 1), 'never': never,
            'audit': len(Rig.audit(broker)), 'leaks': len(rig.leaks())}


def lost(broker: Broker, one: Schedule) -> set[str]:
    """Runs of a schedule that expired, since whoever had taken them was killed each time: they may
    not even have begun."""
    assert one.next is not None
    last = int(one.next.timestamp())
    slots = range(last - LONG, last)
    states = broker.backend.status([run_id(one.name, slot * 1000) for slot in slots])
    return {f'{one.name}@{slot:.3f}' for slot, state in zip(slots, states, strict=True)
            if state == const.EXPIRED}
