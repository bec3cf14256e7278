"""What a task queue does for those who move tasks to another one, see `worq.queue.base`."""
from __future__ import annotations

from typing import Sequence

__all__ = ['Moving']


class Moving:
    """A task goes from queue to queue by two steps, with a gate between them (see ``put``).

    It is put into the other queue behind a gate that is held there, in the same life: nothing of
    that runs. Then it is withdrawn here. At last the gate is opened.

    **What was begun before it came.** Whoever holds a gate may settle what that holds back and has
    no arguments, by the gate's id and the token that is the nonce and ``0``, with one of four
    words: 'value', 'failure' and 'expire' complete it, as an argument that had completed where it
    came from; 'delegate' has it wait for what it returned there, and it is pending when the gate
    has ended. None of it counts as a delivery. Sent again it is 'again'; all else is 'stale'.
    """

    def withdraw(self, ids: Sequence[str], reason: str) -> list[str]:
        """Complete tasks as cancelled, for they are somewhere else now.

        Only what no pool has, and nothing live depends on: else what depends on it would be
        cancelled with it. So a graph is withdrawn from its end.

        :param reason: what those are told who wait: where it is. 1 to `const.PROGRESS` bytes.
        :returns: for each id 'withdrawn', 'needed', 'completed' (also when it is sent twice, unless
            it has left nothing), or 'unknown'. What has many edges to what is over may count as
            needed, until that is looked for often enough.
        """
        raise NotImplementedError
