"""The same model, and what is counted of it by names."""
from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import rule

from test.queue.model import pools
from test.queue.model_registers import Keepers
from worq.queue.base import Recent
from worq.tally import Tally

__all__ = ['Counters']

CELLS = ['', 'a3:1 t:900 e3=900,a', 'r:2 a20:2 b5:7 u:12', 'e3=7,b a3:2', 'x z9:1 9:9 r:-1 r:1']


class Counters(Keepers):
    """Users whose pools tell what they have counted, some of it twice."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, int] = {}   # that a pool has told
        self.attempts = 0

    @rule(pool=pools, twice=st.booleans(), recent=st.integers(0, 2), cells=st.dictionaries(
        st.sampled_from(['mod.func', 'other', 'é']), st.sampled_from(CELLS), max_size=2))
    def tally(self, pool: str, twice: bool, recent: int, cells: dict[str, str]) -> None:
        number = self.numbers[pool] = self.numbers.get(pool, 0) + 1
        told = [Recent(f'{n}', 'n' * 12, 'mod.func', n) for n in range(recent)]
        for _ in range(1 + twice):
            self.q('tally', pool, number, cells, told)
        self.attempts += sum(Tally.read(cell).attempts for cell in cells.values())
        self.q('minutes', 2)
        self.counted()

    def agreed_at_last(self) -> None:
        super().agreed_at_last()
        self.counted()

    def counted(self) -> None:
        """What was told is there once; what the queue has counted has ended."""
        found = self.q('totals')
        tallies = [Tally.read(' '.join(f'{key}:{value}' for key, value in cell.items()))
                   for cell in found.cells.values()]
        assert sum(tally.attempts for tally in tallies) == self.attempts
        for word, name in zip(('succeeded', 'failed', 'expired', 'cancelled'),
                              ('success', 'failed', 'expired', 'cancelled'), strict=True):
            counted = sum(tally.ended[name] for tally in tallies)
            most = found.stats[word]
            assert counted <= most if name in ('success', 'failed') else counted == most, word
