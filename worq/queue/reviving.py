"""The verb of a task queue by which a person has failures run again, see `worq.queue.base`."""
from __future__ import annotations

from typing import Sequence

from worq.queue.records import Revival

__all__ = ['Reviving']


class Reviving:
    """What a task queue keeps of tasks that failed.

    **Kept failures.** What has failed or expired keeps what it was put with for its `ttl`, so
    that a person may look at it and have it run again. That pins nothing: its id may be used
    again, and its arguments may go. But those that it lets go of are kept for their `ttl`,
    `NEEDED` or not. A queue keeps the last `const.FAILURES` of them, of `const.FAILURES_BYTES`
    bytes in headers and bodies; the register `const.KEEP_FAILED` may hold other bounds, two
    decimal numbers with a blank between, and ``0 0`` for none. What failed because of another
    task is kept only as long as that one is, and never in its place. Not kept are gates, what a
    gate holds back, what ignores its result or has more than `const.PUT_LIMIT` arguments, what
    was cancelled, and what has returned a Deferred that waits for itself.
    """

    def revive(self, failures: Sequence[Revival], downstream: bool = False) -> list[str]:
        """Run kept failures again, because a person wants it.

        Each becomes live in the same life, as if it were put now with what it was put with before
        (but for its delay), and its outcome on record is gone. It waits for those of its arguments
        that are live again. Whatever it had returned it returns anew, unless that is live again:
        then it waits for that. Its next delivery has the next token, and an outcome of one before
        is stale. Who has heard of its failure is told nothing.

        :param failures: at most `const.REVIVALS`.
        :param downstream: with each, all that failed because of it and is kept, in the order in
            which it failed. As much as is possible: what is pinned stays as it is, and so does what
            has another argument that has failed, or is gone. It goes by a budget, with the next
            ticks.
        :returns: for each a word, and only the first has changed anything:

            * 'revived';
            * 'live' (also when it is sent twice);
            * 'gone': nothing of it is kept, or it is of another life, or has ended since;
            * 'pinned': its failure is an argument of something, its dependents have not all been
              told, or it has yet to let go of an argument;
            * 'arguments': one of its arguments is gone;
            * 'failed': one of its arguments has failed, and that is an outcome to it as well.
        """
        raise NotImplementedError
