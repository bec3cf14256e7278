"""How fast a queue drains, or grows, by how many tasks have been ready lately."""
from __future__ import annotations

from typing import NamedTuple, Sequence

__all__ = ['Sample', 'Pace', 'pace', 'noted']

LATELY = 300.0    # seconds that are looked back
APART = 5.0       # ... with a sample for each of these ...
SOON = 0.5        # ... and the oldest at least so old: of less nothing can be said


class Sample(NamedTuple):
    """How many tasks were ready at a moment, in seconds by any clock."""

    at: float
    ready: int


class Pace(NamedTuple):
    """Either, or neither if the number stays as it is, or nothing is known."""

    drain: float | None = None    #: in how many seconds none will be ready
    grows: float | None = None    #: by how many tasks a minute there are more


def pace(samples: Sequence[Sample], now: Sample) -> Pace:
    """What the change since the oldest sample of the last minutes comes to, if it goes on so."""
    first = next((sample for sample in samples if sample.at >= now.at - LATELY), now)
    seconds = now.at - first.at
    if not now.ready:
        return Pace(0.0)
    if seconds < SOON or now.ready == first.ready:
        return Pace()
    rate = (now.ready - first.ready) / seconds
    return Pace(grows=rate * 60) if rate > 0 else Pace(drain=now.ready / -rate)


def noted(samples: tuple[Sample, ...], now: Sample) -> tuple[Sample, ...]:
    """These samples with another one, if there is none of just now, and without those too old."""
    if samples and now.at - samples[-1].at < APART:
        return samples
    return (*(sample for sample in samples if sample.at >= now.at - LATELY), now)
