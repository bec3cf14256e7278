"""How much a worker takes, by how long tasks take; and for how long."""
from __future__ import annotations

__all__ = ['HORIZON', 'batch_size', 'smooth', 'task_lease']

HORIZON = 0.025     # seconds of work that a worker has before it; a guess that measures well
BATCH = 256         # tasks that a worker has before it, at most


def batch_size(seconds: float | None) -> int:
    """How many tasks are about `HORIZON` seconds of work.

    :param seconds: what a task has taken lately; None: nothing is known.
    """
    if seconds is None or seconds >= HORIZON:
        return 1
    return min(BATCH, int(HORIZON / max(seconds, 1e-6)))


def smooth(old: float | None, new: float, weight: float) -> float:
    """A running mean of task seconds. It rises at once and falls slowly.

    A long task is the warning that more may follow, and it is cheaper to take too few than
    to give back.
    """
    if old is None or new > old:
        return new if old is None else old + (new - old) * max(weight, 0.5)
    return old + (new - old) * weight


def task_lease(header: bytes) -> int | None:
    """ms of the lease that a task asks for itself, from its header; None: as the pool likes."""
    if b'\nlease ' not in header:
        return None
    for line in header.split(b'\n')[1:]:
        word, _, number = line.partition(b' ')
        if word == b'lease' and number.isdigit() and len(number) < 16:
            return int(number)
    return None
