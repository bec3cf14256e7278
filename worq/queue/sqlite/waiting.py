"""Who waits at a queue in a file, as the file tells: pools for work, clients for news."""
from __future__ import annotations

from worq import const
from worq.queue.sqlite.unit import Unit

__all__ = ['Waiting']

POOL = 0            # in the place of a client's number
MARGIN = 1_000      # ms that an entry outlives the time for which one waits
ENTRIES = 32        # of pools that one verb wakes at most
USED = const.INBOX_TTL * 250   # ms within which it is not noted anew that an inbox is in use
FORGET = 1_000      # news of an inbox that nobody comes for, forgotten in one step


class Waiting:
    """The inboxes of a queue, and whom its verb is to wake."""

    def __init__(self, store: Unit) -> None:
        self.store = store
        self._more = False   # there is more to forget of an inbox than one step could
        self.open()

    def open(self) -> None:
        """Begin a verb."""
        self._news: set[int] = set()    # clients that got some

    # -- inboxes ----------------------------------------------------------------

    def _number(self, client: str) -> int | None:
        inboxes = self.store.inboxes
        if client not in inboxes:
            found = self.store.db.execute('SELECT client FROM worq_inbox WHERE q=? AND name=?',
                                          (self.store.q, client)).fetchone()
            if found is None:
                return None
            inboxes[client] = found[0]
        return inboxes[client]

    def inbox(self, client: str) -> int:
        """The client's inbox, which is in use. One that no client comes for ends meanwhile."""
        return self._inbox(client)[0]

    def _inbox(self, client: str) -> tuple[int, int]:
        """The same, and whether somebody has rung at it."""
        db, q, now = self.store.db, self.store.q, self.store.now
        found = db.execute('SELECT client, used, rung FROM worq_inbox WHERE q=? AND name=?',
                           (q, client)).fetchone()
        if found is not None and 0 <= now - found[1] < USED and not self._more:
            self.store.inboxes[client] = found[0]
            return found[0], found[2]
        db.execute('INSERT INTO worq_inbox(q, name, used, rung) VALUES(?,?,?,0) '
                   'ON CONFLICT(q, name) DO UPDATE SET used=excluded.used', (q, client, now))
        number = self._number(client)
        assert number is not None
        oldest, used = db.execute('SELECT client, min(used) FROM worq_inbox WHERE q=?',
                                  (q,)).fetchone()
        self._more = False
        if used < now - const.INBOX_TTL * 1_000 - USED:
            # All the news that there may be of it goes in steps, and it comes last.
            gone = db.execute('DELETE FROM worq_news WHERE client=? AND seq IN (SELECT seq FROM '
                              'worq_news WHERE client=? LIMIT ?)', (oldest, oldest, FORGET))
            self._more = gone.rowcount == FORGET
            if not self._more:
                db.execute('DELETE FROM worq_inbox WHERE client=?', (oldest,))
        return number, found[2] if found else 0

    def tell(self, client: str, id: str, news: bytes | None) -> None:
        number = self._number(client)
        if number is not None:
            self.store.seq += 1
            self.store.db.execute('INSERT INTO worq_news VALUES(?,?,?,?)',
                                  (number, self.store.seq, id.encode(), news))
            self._news.add(number)

    def ring(self, client: str) -> None:
        number = self.inbox(client)
        self.store.db.execute('UPDATE worq_inbox SET rung=1 WHERE client=?', (number,))
        self._news.add(number)

    def collect(self, client: str, address: str) -> list[tuple[str, bytes | None]] | None:
        """Empty the client's inbox.

        :param address: of the doorbell of who waits for some, and for more after them; empty:
            nobody does.
        :returns: None if there is nothing.
        """
        db = self.store.db
        number, rung = self._inbox(client)
        news = [(id.decode(), record) for id, record in db.execute(
            'SELECT id, record FROM worq_news WHERE client=? ORDER BY seq', (number,))]
        if address:
            self._enter(address, number, const.INBOX_TTL * 1_000)
            if not news and not rung:
                return None
        if news:
            db.execute('DELETE FROM worq_news WHERE client=?', (number,))
        if rung:
            db.execute('UPDATE worq_inbox SET rung=0 WHERE client=?', (number,))
        return news

    # -- who waits ------------------------------------------------------------------

    def enter(self, address: str, pause: float) -> float:
        """Somebody waits for something to take, for so many seconds; how long that is known."""
        ms = int(pause * 1_000) + MARGIN
        self._enter(address, POOL, ms)
        return ms / 1_000

    def _enter(self, address: str, client: int, ms: int) -> None:
        self.store.db.execute(
            'INSERT OR REPLACE INTO worq_idle VALUES(?,?,?,?)',
            (address, self.store.q, client, self.store.now + ms))

    def leave(self, address: str) -> None:
        """... and does so no more."""
        self.store.db.execute('DELETE FROM worq_idle WHERE address=?', (address,))

    def awaken(self) -> list[str]:
        """The addresses to ring at after the commit; they are entered no more."""
        store = self.store
        if not store.woken and not self._news:
            return []
        pools, addresses, gone = min(store.woken, ENTRIES), [], []
        for address, q, client, until in store.db.execute(
                'SELECT address, q, client, until FROM worq_idle').fetchall():
            if until < store.now:
                gone.append((address,))
            elif client in self._news or q == store.q and client == POOL and pools > 0:
                pools -= client == POOL
                addresses.append(address)
        if addresses or gone:
            store.db.executemany('DELETE FROM worq_idle WHERE address=?',
                                 [*gone, *((address,) for address in addresses)])
        return addresses
