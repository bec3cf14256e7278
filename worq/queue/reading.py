"""The verbs of a task queue by which people see what is in it, see `worq.queue.base`.

All of them are bounded, whatever the queue holds; and what others have written into a backend
makes none of them fail: it is left out, or told as it is.
"""
from __future__ import annotations

from typing import Callable, Sequence

from worq.queue.records import Content, Inspection, Node, Row

__all__ = ['Reading', 'wanted']


class Reading:
    """What a task queue answers to those who look."""

    def status(self, ids: Sequence[str]) -> list[str | None]:
        """How each task stands, a word of ``const.STATES``; None if unknown.

        Of a completed one it is how it ended, by the kind of its outcome on record
        (``const.ENDS``; of one that is damaged, 'failed').
        """
        raise NotImplementedError

    def inspect(self, ids: Sequence[str], start: int = -1) -> list[Inspection | None]:
        """All there is to know of each task, for people; None if it is unknown.

        It costs more than ``status``, and is bounded all the same: open arguments are looked
        for among the first `const.PUT_LIMIT` arguments, or else the last, and a place among
        the first `const.AHEAD` of a ready list. Of the deliveries that were lost the last
        `const.DEATHS` are told, also when the task has ended: when a lease has run out, a pool was
        abandoned, or an outcome was 'lost'.

        :param start: from 0: of arguments all that are open are told, of the `const.PUT_LIMIT` that
            begin with this one.
        """
        raise NotImplementedError

    def message(self, ids: Sequence[str], start: int = 0, argument: int = 0,
                ) -> list[Content | None]:
        """What tasks were put with, as long as they are not completed, or are kept failures; None
        for all others.

        The bodies are `const.CONTENT` bytes in all, at most. One that would be more is cut.

        :param ids: at most `const.CONTENTS`.
        :param start: from 0: of bodies tell what begins with this byte.
        :param argument: from 0: of arguments tell those from this one on.
        """
        raise NotImplementedError

    def scan(self, state: str, names: Sequence[str] = (), newest: bool = False, cursor: str = '',
             count: int = 100) -> tuple[list[Row], str]:
        """Tasks that are in a state, a page of them.

        A page is no snapshot. What moves while pages are read (it changes its state, its place, or
        its lease is renewed) may be missed or come twice. What stands still comes once.

        ============ ==========================================================================
        state        in the order of
        ============ ==========================================================================
        'pending'    when it was put, or became pending by a tail call
        'scheduled'  when it is due
        'enqueued'   its lane, from the highest priority to the lowest; then what stands aside
        'processing' when its lease ends; gates are not told
        'failed',    when it ended. Of each of these three a queue remembers the last `const.ENDED`,
        'expired',   as long as their outcomes are kept. What a purge has cancelled is not among
        'cancelled'  them, nor is what has ignored its result.
        'success'    when it ended; only what pools have told of lately
        ============ ==========================================================================

        What is too late to begin, or purged, and has not been met since, is not told.

        :param names: of tasks: ``'mail.send'``, or ``'mail.*'`` for all that begin with ``mail.``;
            at most `const.PATTERNS` of them. Empty: any name.
        :param newest: in the opposite order.
        :param cursor: empty for the first page, else what came with the page before. One that this
            queue has not made, or has forgotten, begins anew.
        :param count: rows at most; 1 to `const.ROWS`.
        :returns: the rows, and the cursor of the next page, empty at the end. One step looks at
            some `const.SCANNED` tasks, so a page may have few rows, or none, and not be the last.
        """
        raise NotImplementedError

    def family(self, id: str, up: int = 3, down: int = 3, limit: int = 100,
               also: Sequence[str] = ()) -> list[Node]:
        """The graph around a task, breadth first; empty if it is unknown.

        From the task upwards: its arguments and what its tail call waits for, what those wait
        for, and so on. From the task downwards: what waits for it, and so on. A completed task has
        let go of its edges, and tells those that were kept: of its arguments, and of those that
        waited for it when it ended, the first `const.KIN` of each.

        An edge is told by an id: of a task that this list may have or not, for it may be beyond
        these bounds, or forgotten. An edge to an earlier life of an id is not told. It is no
        snapshot: a queue may look at some tasks after the others.

        :param up: how many levels upwards, from 0.
        :param down: how many levels downwards, from 0.
        :param also: other tasks to begin with, at most `const.NODES`; their level is 0, too.
        :param limit: nodes at most, 1 to `const.NODES`. They tell some `const.FAMILY_EDGES` edges
            in all, the first ones more than the last.
        """
        raise NotImplementedError

    def oldest(self) -> list[int | None]:
        """For each priority, from the highest: how many ms ago the task became enqueued that has
        been so for longest; None if there is none.

        It is looked for among the first `const.LOOK` of each lane. What came back from a delivery
        stands there before others that have waited for longer.
        """
        raise NotImplementedError

    def verify(self, ids: Sequence[str]) -> None:
        """Look whether live tasks, and what they wait for, are where their states say.

        For those who have waited long: somebody may have deleted keys of the backend. What is found
        begins a repair, in the background. Of many ids some are looked at. By default: nothing.
        """


def wanted(names: Sequence[str]) -> Callable[[bytes], bool]:
    """Whether a task's name is one of these, or begins as one of these patterns, see ``scan``."""
    if not names:
        return lambda name: True
    exact = {name.encode() for name in names}
    begun = tuple(name[:-1] for name in exact if name.endswith(b'.*'))
    return lambda name: name in exact or name.startswith(begun)
