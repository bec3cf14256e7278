"""What bounds any queue of this kind on this machine, measured in the same run."""
from __future__ import annotations

import hashlib
import hmac
import os
import pickle
import queue
import threading
import time
from typing import Any, Callable

from bench.figures import Run
from bench.figures.cost import connect

MESSAGE = ((7,), {})     # the arguments of a no-op
BATCH = 100              # strings in a frame


def limits(run: Run) -> dict[str, float]:
    """Of each the number a second."""
    with connect(run.url) as client:
        body = pickle.dumps(MESSAGE)
        script = client.script_load('return redis.call("LPUSH", KEYS[1], ARGV[1])')
        found = {
            'SET round trips': rate(run, lambda: client.set('bench', body)),
            'EVALSHA round trips': rate(
                run, lambda: client.evalsha(script, 1, 'bench:list', body)),
            'pipelined SETs': 500 * rate(run, lambda: pipeline(client, body)),
        }
    with Echo() as echo:
        found['pipe round trips'] = rate(run, lambda: echo(b'x' * 60))
        frame = b'x' * 60 * BATCH
        found['strings over pipes'] = BATCH * rate(run, lambda: echo(frame))
    with Hand() as hand:
        found['thread round trips'] = rate(run, hand)
    found['messages pickled and unpickled'] = rate(
        run, lambda: pickle.loads(pickle.dumps(MESSAGE)), 100)
    found['messages signed'] = rate(
        run, lambda: hmac.digest(b'k' * 32, body, hashlib.sha256), 100)
    return found


def rate(run: Run, function: Callable[[], Any], at_once: int = 1) -> float:
    """How often a second it can be called."""
    seconds = 0.1 if run.quick else 1.0
    calls = 0
    for _ in range(20):
        function()
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        for _ in range(at_once):
            function()
        calls += at_once
    return calls / elapsed


def pipeline(client: Any, body: bytes) -> None:
    pipe = client.pipeline(transaction=False)
    for n in range(500):
        pipe.set(n, body)
    pipe.execute()


class Echo:
    """Another process that sends back what it gets over a pipe."""

    def __enter__(self) -> Echo:
        there, self.there = os.pipe()
        self.back, back = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            os.close(self.there)
            while data := os.read(there, 1 << 16):
                os.write(back, data)
            os._exit(0)
        os.close(there)
        os.close(back)
        return self

    def __call__(self, data: bytes) -> None:
        os.write(self.there, data)
        missing = len(data)
        while missing:
            missing -= len(os.read(self.back, 1 << 16))

    def __exit__(self, *exc_info: object) -> None:
        os.close(self.there)
        os.close(self.back)
        os.waitpid(self.pid, 0)


class Hand:
    """Another thread that sends back what it gets over a queue."""

    def __enter__(self) -> Hand:
        self.there: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.back: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def _run(self) -> None:
        while self.there.get():
            self.back.put(True)

    def __call__(self) -> None:
        self.there.put(True)
        self.back.get()

    def __exit__(self, *exc_info: object) -> None:
        self.there.put(False)
        self.thread.join()
