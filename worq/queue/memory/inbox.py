"""What became of the tasks that clients watch, until they come for the news."""
from __future__ import annotations

from collections import OrderedDict

from worq import const
from worq.latch import Latch

__all__ = ['Inbox', 'Inboxes']


class Inbox:
    """What became of the tasks that a client watches, until it waits for the news."""

    def __init__(self) -> None:
        self.changed = Latch()   # set while somebody waits, under the queue's lock
        self.news: list[tuple[str, bytes | None]] = []
        self.rung = False
        self.waiting = False
        self.used = 0    # ms, when the client was last here


class Inboxes:
    """Those of a queue, used under its lock."""

    def __init__(self) -> None:
        self._inboxes: OrderedDict[str, Inbox] = OrderedDict()   # the longest unused first

    def of(self, client: str, now: int) -> Inbox:
        """The client's inbox, which is in use. One that no client comes for ends meanwhile."""
        inboxes = self._inboxes
        inbox = inboxes.get(client)
        if inbox is None:
            inbox = inboxes[client] = Inbox()
        inbox.used = now
        if len(inboxes) > 1:
            inboxes.move_to_end(client)
            oldest = next(iter(inboxes))
            other = inboxes[oldest]
            if other.used < now - const.INBOX_TTL * 1_000:
                if other.waiting:   # if it still does, and was not interrupted, it is here at once
                    other.used, other.waiting = now, False
                    inboxes.move_to_end(oldest)
                    other.changed.set()
                else:
                    del inboxes[oldest]
        return inbox

    def tell(self, client: str, id: str, news: bytes | None) -> None:
        """Something has ended that the client watches."""
        inbox = self._inboxes.get(client)
        if inbox is not None:
            inbox.news.append((id, news))
            if inbox.waiting:
                inbox.changed.set()

    def look(self) -> None:
        """Have all look for whom there may be news."""
        for inbox in self._inboxes.values():
            if inbox.news:
                inbox.changed.set()
