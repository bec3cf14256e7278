"""``worq.pool.skip``: failed arguments are left out of lists, and nowhere else."""
from __future__ import annotations

from typing import Any
import unittest

from worq.errors import TaskExpired, TaskFailure
from worq.pool.skip import leave_out, one_of_two

BAD = TaskFailure('f', 'q', '1', 'bad')
WORSE = TaskExpired('f', 'q', '2', 'worse')


class LeaveOut(unittest.TestCase):
    """Which failures go, and what a failure that cannot go means."""

    def check(self, call: Any, expect: Any, count: int, fatal: TaskFailure | None = None,
              given: tuple[Any, ...] = (BAD, WORSE)) -> None:
        skipped = leave_out(call, given)
        self.assertEqual((call, skipped.number, skipped.fatal), (expect, count, fatal))

    def test_lists(self) -> None:
        """Out of lists, at any depth, also in tuples and dicts; one that is left empty stays."""
        self.check([[1, BAD, 2, WORSE], {}], [[1, 2], {}], 2)
        self.check([[[BAD], [1, [WORSE]]], {}], [[[], [1, []]], {}], 2)
        self.check([([BAD, 1],), {'a': [2, WORSE], 'b': {'c': [BAD]}}],
                   [([1],), {'a': [2], 'b': {'c': []}}], 3)
        self.assertIs(leave_out([[1, WORSE, BAD]], [BAD, WORSE]).first, WORSE)

    def test_twice(self) -> None:
        """A list that stands in two places is looked at once, and one in itself ends."""
        both: list[Any] = [1, BAD]
        self.check([both, both], [[1], [1]], 1, given=(BAD,))
        circle: list[Any] = [BAD]
        circle.append(circle)
        skipped = leave_out([circle], [BAD])
        self.assertEqual((skipped.number, len(circle), circle[0] is circle), (1, 1, True))

    def test_deep(self) -> None:
        """A depth that would end a recursion is no matter."""
        deep: list[Any] = [BAD]
        for _ in range(100_000):
            deep = [deep]
        self.assertEqual(leave_out([deep], [BAD])[::2], (1, None))

    def test_elsewhere(self) -> None:
        """As an argument, in a tuple, as a value of a dict, in a set or an object it is fatal."""
        class Box:
            content = BAD
        for call in [BAD, {}], [(1, BAD), {}], [1, {'a': BAD}], [{BAD}], [Box()]:
            with self.subTest(call):
                self.check(call, list(call), 0, BAD, given=(BAD,))
        self.check([[BAD], WORSE], [[], WORSE], 1, WORSE)

    def test_values(self) -> None:
        """What an argument came to is handed over as it is, also if a failure is in it."""
        value = [BAD, [WORSE]]
        self.check([value, [value, BAD]], [[BAD, [WORSE]], [[BAD, [WORSE]]]], 1,
                   given=(value, BAD))

    def test_nothing(self) -> None:
        """Without failures nothing changes."""
        self.check([[1, 2], {'a': [3]}], [[1, 2], {'a': [3]}], 0, given=(1, 3))

    def test_pair(self) -> None:
        """Of two one is handed on; none or both are not."""
        self.assertEqual(one_of_two((BAD, 5)), ((1, BAD, None), 5))
        self.assertEqual(one_of_two((None, BAD)), ((1, BAD, None), None))
        self.assertEqual(one_of_two((1, 2)), ((0, None, None), None))
        self.assertIs(one_of_two((BAD, WORSE))[0].fatal, BAD)
