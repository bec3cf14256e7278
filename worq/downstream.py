"""Run again what failed because of several tasks that are run again.

A queue does so for each of them in turn. But what failed because of one, and has an argument that
failed because of another, cannot run before that one's turn has come: a fan-in over a map, most of
which has failed. So what is left then is tried once more, as long as that helps.
"""
from __future__ import annotations

from collections.abc import Collection

from worq import const
from worq.pieces import pieces
from worq.queue.base import Revival, TaskQueue, unpack
from worq.rotation import pages

__all__ = ['follow']


def follow(queue: TaskQueue, ids: Collection[str]) -> None:
    """Run again what failed because of any of these, as far as none of its arguments prevents it.

    :param ids: of tasks that are run again.
    """
    words = ['revived']
    while 'revived' in words:
        left = [id for id, origin in failures(queue) if origin in ids]
        words = []
        for some in pieces(left, const.REVIVALS):
            words += queue.revive(list(map(Revival, some)))


def failures(queue: TaskQueue) -> list[tuple[str, str]]:
    """What failed or expired, and because of which other task; in the order in which it ended."""
    found = []
    for rows in (page for state in (const.FAILED, const.EXPIRED) for page in pages(queue, state)):
        ids = [row.id for row in rows]
        for id, raw in zip(ids, queue.results(ids, False)):
            try:
                origin = unpack(raw).origin if raw else None
            except ValueError:   # others have written it
                continue
            if origin is not None:
                found.append((id, origin[0]))
    return found
