"""Whether cost grows with the work and nothing else: long queues, many clients, wide graphs."""
from __future__ import annotations

import os
import threading
import time
from typing import Any

from worq.pool.run import run as run_task

from bench.figures import Run, percentile
from bench.figures.cost import connect
from bench.peers.base import waited_for_processor

STEP = 5           # tasks that are taken at a time
TURNS = 1_000      # of taking, at each length
FILL = 50_000      # calls that are made before their Deferreds are dropped


def growth(run: Run) -> dict[str, float]:
    """Take a few tasks and settle those before, again and again, from queues of a thousand to
    a million: tasks a second, and the ms that the slowest of a hundred turns take."""
    broker = run.peer.broker
    backend = broker.backend
    turns = run.count(TURNS, 20)
    values: dict[str, float] = {}
    pool = 'bench'
    backend.join(pool, {})
    for size in [100, 1000] if run.quick else [1000, 10_000, 100_000, 1_000_000]:
        missing = size + turns * STEP - len(broker)
        while missing > 0:
            run.peer.put_bulk('now', [(n,) for n in range(min(missing, FILL))])
            missing -= FILL
        os.sync()   # a disk that is still busy with what filled the queue is not what is measured
        times: list[float] = []
        outcomes: list[Any] = []
        for _ in range(turns):
            begin = time.perf_counter()
            turn = backend.turn(pool, outcomes, [], STEP)
            times.append(time.perf_counter() - begin)
            if len(turn.deliveries) != STEP:
                raise RuntimeError(f'{len(turn.deliveries)} of {STEP} tasks came')
            outcomes = [run_task(broker, delivery) for delivery in turn.deliveries]
        backend.settle(pool, outcomes)
        values[f'rate at {size}'] = turns * STEP / sum(times)
        values[f'p99 at {size}'] = 1e3 * percentile(times, 0.99)
    return values


def clients(run: Run) -> dict[str, float]:
    """So many clients, each with a broker of its own, call and wait without a pause; two
    workers. Calls a second of all together."""
    from bench.peers.worq import make_broker
    run.peer.start(2)
    seconds = 0.5 if run.quick else 3.0
    values: dict[str, float] = {}
    for number in [1, 10] if run.quick else [1, 10, 100]:
        brokers = [make_broker(run.peer.url) for _ in range(number)]
        counts = [0] * number
        stop = threading.Event()

        def call(index: int, queue: Any, counts: list[int] = counts,
                 stop: threading.Event = stop) -> None:
            while not stop.is_set():
                queue.now(0).result(60)
                counts[index] += 1

        threads = [threading.Thread(target=call, args=(index, broker.queue()))
                   for index, broker in enumerate(brokers)]
        for thread in threads:
            thread.start()
        time.sleep(seconds / 3)  # they do not all begin at once
        before, begin = sum(counts), time.perf_counter()
        time.sleep(seconds)
        values[f'rate of {number}'] = (sum(counts) - before) / (time.perf_counter() - begin)
        stop.set()
        for thread in threads:
            thread.join()
        for broker in brokers:
            broker.close()
    return values


def width(run: Run) -> dict[str, float]:
    """One task that gets the results of many, and many that get the result of one: tasks a
    second; and the ms of the slowest script that Redis executed meanwhile, by the clock, how many
    took more than 15, and the seconds that Redis waited for a processor, which are among them."""
    values: dict[str, float] = {}
    sizes = [10, 100] if run.quick else [10, 1000, 100_000]
    with connect(run.url) as client:
        client.config_set('slowlog-log-slower-than', 1000)  # us
        client.config_set('slowlog-max-len', 10_000)
        client.slowlog_reset()
        pid = client.info('server')['process_id']
        before = waited_for_processor(pid)
        run.peer.start(2)
        for size in sizes:
            begin = time.perf_counter()
            if run.peer.fan_in(size, 300) != sum(range(size)):
                raise RuntimeError(f'a fan-in of {size} came out wrong')
            values[f'fan-in of {size}'] = size / (time.perf_counter() - begin)
        run.peer.stop()
        for size in sizes:
            source = run.peer.put('echo', size)
            handles = run.peer.put_bulk('echo', [(source,)] * size)
            run.peer.start(2, wait=False)
            run.peer.get(source)
            begin = time.perf_counter()
            if run.peer.get_all(handles, 300) != [size] * size:
                raise RuntimeError(f'a fan-out of {size} came out wrong')
            values[f'fan-out of {size}'] = size / (time.perf_counter() - begin)
            run.peer.stop()
        slow = [entry['duration'] for entry in client.slowlog_get(10_000)
                if b'EVALSHA' in entry['command'].upper()]
        client.slowlog_reset()
        values['seconds Redis waited'] = waited_for_processor(pid) - before
    values['slowest script'] = max(slow, default=0) / 1000
    values['scripts over 15 ms'] = sum(duration > 15_000 for duration in slow)
    return values
