"""Event loops: coroutines that wait, two hundred at a time, and one that blocks its loop."""
from __future__ import annotations

from collections import Counter
from pathlib import Path
import tempfile
import time

from bench.figures import Run

SLOTS = 200
NAP = 0.1        # seconds
TINY = 0.001     # ... of those that show that all is awake
BESIDE = 100     # tasks beside the one that blocks
LONG = 60.0      # seconds for which it does
LATE = 100.0     # seconds within which what runs again has begun


def naps(run: Run) -> dict[str, float]:
    """Two thousand that sleep for a tenth of a second, two hundred at a time in one process.

    By the clocks of the tasks: from the first begin to the last end, as a share of what it would
    take if a place was never free.
    """
    run.peer.start(1, SLOTS)
    run.peer.get_all(run.peer.put_bulk('work', [(TINY,)] * SLOTS))
    calls = [(NAP,)] * run.count(2000, SLOTS)
    times = run.peer.get_all(run.peer.put_bulk('work', calls))
    elapsed = max(end for _, end in times) - min(begin for begin, _ in times)
    return {'share': len(calls) / SLOTS * NAP / elapsed}


def blocked(run: Run) -> dict[str, float]:
    """A coroutine blocks its loop for a minute, and a hundred others run beside it.

    How many of all of them have run more than once, and after how many seconds all were over.
    """
    with tempfile.TemporaryDirectory() as folder:
        run.peer.start(1, SLOTS)
        begin = time.monotonic()
        others = [run.peer.put('journal', folder, f'beside{n}', 1.0) for n in range(BESIDE)]
        seconds = 2.0 if run.quick else LONG
        blocker = run.peer.put('block', folder, 'blocks', seconds)
        failed = 0
        for handle in [*others, blocker]:
            try:
                run.peer.get(handle, seconds + LATE)
            except Exception:   # each library has its own
                failed += 1
        elapsed = time.monotonic() - begin
        words = Counter(tuple(line.split()[:2]) for path in Path(folder).iterdir()
                        for line in path.read_text().splitlines())
        again = sum(count > 1 for (word, _), count in words.items() if word == 'begin')
        return {'again': again, 'failed': failed, 'seconds': elapsed - seconds}
