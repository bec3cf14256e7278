"""Run 8: the connections between pools, producers and Redis break in all ways they know."""
from __future__ import annotations

import itertools
import time

from bench.faults.proxy import Proxy
from bench.faults.record import Record
from bench.faults.rig import Rig
from test.support import eventually

__all__ = ['links_broken']

SHORT_LEASE = {'heartrate': 1}    # a lease of three seconds
KINDS = ['reset', 'half-open', 'cut in replies', 'replies lost']
LONGEST = 25.0                    # seconds that nobody may wait in vain


def links_broken(seed: int, seconds: float, quick: bool) -> Record:
    """Run 8: a manager cut off for longer than its lease; connections that break in many ways.

    First one of two pools is cut off: what it sends is dropped, or held back and then delivered
    late. Then pools and producers alike suffer resets, half-open connections, connections
    that break in the middle of a reply, and lost replies to 1 % of all requests. Nothing is
    lost, no task has two results, and nobody waits in vain for more than 25 s: with the links
    that break again and again that is counted from their last break.
    """
    record = Record(8, 'links cut, held, reset, half-open; 1 % of replies lost', seed)
    for leg in ['black hole'] if quick else ['black hole', 'held back']:
        cut_off(record, leg, seed, quick)
    for leg in ['all kinds'] if quick else [*KINDS, 'all kinds']:
        flapping(record, leg, seed, seconds)
    return record


def cut_off(record: Record, leg: str, seed: int, quick: bool) -> None:
    """One of two pools cannot reach Redis for two leases."""
    lease = 3.0 if quick else 15.0
    options = SHORT_LEASE if quick else {}
    with Rig(seed) as rig, Proxy(rig.server.port, seed) as proxy:
        lonely = rig.pool(proxy.url, workers=2)
        other = rig.pool(workers=2)
        producer = rig.producer(int(3 * lease * 20), 3 * lease, longest=0.2, options=options)
        time.sleep(lease / 2)
        if leg == 'black hole':
            proxy.blackhole()
        else:
            proxy.hold()
        rig.fault(leg, proxy.pass_on, 2 * lease)
        rig.finish(producer)
        figures = record.add(rig.figures(), leg)
        if 'lost the queue' in rig.log:   # and if not, it has healed with the first retry
            eventually(lambda: 'is back' in rig.log, timeout=LONGEST)
        record.demand(lonely.stop() == other.stop() == 0, f'{leg}: a pool did not end well')
    record.safe(figures, leg)
    record.demand(figures['waited'] < LONGEST, f'{leg}: waited for {figures["waited"]} s')


def flapping(record: Record, leg: str, seed: int, seconds: float) -> None:
    """The links of all break again and again."""
    with Rig(seed) as rig, Proxy(rig.server.port, seed) as proxy:
        pools = [rig.pool(proxy.url, workers=2) for _ in range(2)]
        producer = rig.producer(int(seconds * 50), seconds, proxy.url, longest=0.05)
        end = time.monotonic() + seconds
        kinds = itertools.cycle(rig.rand.sample(KINDS, len(KINDS)) if leg == 'all kinds' else [leg])
        while time.monotonic() < end:
            time.sleep(rig.rand.uniform(0.1, 0.5))
            break_once(proxy, next(kinds), rig, 0.2 if leg == 'all kinds' else 0.01)
        proxy.pass_on()
        rig.finish(producer)
        figures = record.add({**rig.figures(), 'replies lost': proxy.swallowed}, leg)
        record.demand([pool.stop() for pool in pools] == [0, 0], f'{leg}: a pool did not end well')
    record.safe(figures, leg)
    # While the links break more work is offered than gets through, for each connection that
    # died unnoticed costs two seconds of silence until it is known to be dead: so a queue grows,
    # and who stands at its end waits for as long as the faults go on. Nobody is to wait longer
    # than LONGEST after that, nor ever for the outcome of what has been done.
    for name in ('after', 'told'):
        record.demand(figures[name] < LONGEST, f'{leg}: {name} {figures[name]} s')
    # What was taken and lost with its reply is given back when the pool reconciles.
    record.demand(figures['redelivered'] == 0,
                  f'{leg}: {figures["redelivered"]} leases ran out, though all pools lived')
    if leg == 'replies lost':
        record.demand(figures['replies lost'] > 0, f'{leg}: no reply was lost')


def break_once(proxy: Proxy, kind: str, rig: Rig, share: float) -> None:
    if kind == 'reset':
        proxy.reset()
        rig.fault(kind, proxy.pass_on, rig.rand.uniform(0, 0.3))
    elif kind == 'half-open':
        proxy.half_open()
        rig.fault(kind, proxy.pass_on, 0.1)
        time.sleep(1.0)
    elif kind == 'cut in replies':
        proxy.cut(10, 3000)
        rig.fault(kind)
    else:
        proxy.swallow(share)
        rig.fault(kind)
