"""What tasks came to, as memory keeps it: no more of it than there may be."""
from __future__ import annotations

import unittest

from test.support import eq_
from worq import const
from worq.queue.machine.book import EVER, MINUTE, Book, enter
from worq.queue.records import Recent


class BookTest(unittest.TestCase):

    def tally(self, book: Book, now: int, pool: str, number: int = 1) -> None:
        enter(book, now, (0, 0, 0, 0), {}, pool, number, {'mail': 'v:1'},
              [Recent(pool, 'n' * 12, 'mail', 0)])

    def test_ends(self) -> None:
        """Pages, numbers of pools and what succeeded lately end; what is for ever does not."""
        book, hours = Book(), const.MINUTES + 20
        for n in range(hours):
            self.tally(book, n * MINUTE, f'p{n}')
        eq_((len(book.pages), len(book.sizes)), (const.MINUTES + 1, const.MINUTES))
        eq_(len(book._numbers), const.POOL_TTL * 1000 // MINUTE)
        eq_(book.pages[EVER], {'mail': f'v:{hours}'})
        for n in range(const.RECENT):
            self.tally(book, hours * MINUTE, 'p', n + 1)
        eq_(len(book.recent(hours * MINUTE)), const.RECENT)
        eq_(book.recent((hours + const.MINUTES) * MINUTE), [])
