"""One thread looks for all tabs, only while there are any, and takes its time."""
from __future__ import annotations

import asyncio
import threading
import time
import unittest

from test import leaks
from test.support import eq_, eventually
from worq.web import feed
from worq.web.feed import Feed, Full, Look, Topic

ONE, TWO = Topic('q', 'overview', ()), Topic('q', 'pools', ())


class FeedTest(unittest.TestCase):

    def setUp(self):
        leaks.watch(self)
        self.looks = []
        self.threads = set()
        self.value = 0
        self.slow = 0.0
        self.every = 0.01
        self.well = True
        self.feed = Feed(self.look, lambda topic: self.every, 3)

    def look(self, topic):
        self.looks.append(topic)
        self.threads.add(threading.get_ident())
        time.sleep(self.slow)
        return Look(f'"value":{self.value}', 200 if self.well else 503)

    async def told(self, tab, most=1):
        """The next data that a tab gets."""
        found = []
        async for event in tab.events():
            if event.startswith('data'):
                found.append(event)
                if len(found) == most:
                    return found

    def run_tabs(self, function):
        asyncio.run(asyncio.wait_for(function(), 20))

    def test_shared(self):
        """Tabs that watch the same share one look, and each is told what is known at once."""
        async def tabs():
            first = self.feed.open({'a': ONE})
            [text] = await self.told(first)
            self.assertIn('"topic":"a"', text)
            self.assertIn('"value":0', text)
            self.every = 60.0
            await asyncio.sleep(0.05)
            looked = len(self.looks)
            second = self.feed.open({'b': ONE, 'c': ONE})
            found = await self.told(second, 2)
            eq_(sorted(text[15:18] for text in found), ['"b"', '"c"'])
            eq_(len(self.looks), looked)
            first.close()
            second.close()
        self.run_tabs(tabs)
        eq_(len(self.threads), 1)

    def test_only_while_watched(self):
        """Without a tab nobody looks, and there is no thread."""
        async def tabs():
            tab = self.feed.open({'a': ONE})
            await self.told(tab)
            tab.close()
            tab.close()
        self.run_tabs(tabs)
        eventually(lambda: [thread for thread in threading.enumerate()
                            if thread.name == 'worq-web'], [])
        looked = len(self.looks)
        time.sleep(0.05)
        eq_(len(self.looks), looked)

    def test_changes(self):
        """What has not changed is not told again; what has is, as it is now."""
        async def tabs():
            tab = self.feed.open({'a': ONE})
            await self.told(tab)
            await asyncio.sleep(0.1)
            eq_(tab.news, {})
            self.value = 7
            [text] = await self.told(tab)
            self.assertIn('"value":7', text)
            tab.close()
        self.run_tabs(tabs)

    def test_pace(self):
        """However many topics there are, looks take a twentieth of the time, at most."""
        self.slow, self.every = 0.01, 0.0
        async def tabs():
            tab = self.feed.open({'a': ONE, 'b': TWO})
            await asyncio.sleep(1)
            tab.close()
        self.run_tabs(tabs)
        self.assertLessEqual(len(self.looks), 8)   # 5, and the first ones

    def test_first_looks(self):
        """Ten tabs that are opened at a time with something else each are looked at one after the
        other, which takes a tenth of the time, and the first one that was opened comes first."""
        self.slow, self.every = 0.01, 60.0
        self.feed = Feed(self.look, lambda topic: self.every, 10)
        topics = [Topic('q', 'task', (('id', f'{n}'),)) for n in range(10)]

        async def tabs():
            open = [self.feed.open({'a': topic}) for topic in reversed(topics)]
            await asyncio.gather(*map(self.told, open))
            for tab in open:
                tab.close()
        began = time.monotonic()
        self.run_tabs(tabs)
        self.assertGreater(time.monotonic() - began, 9 * 0.01 / feed.BRISK)
        eq_(self.looks, topics[::-1])

    def test_asked(self):
        """What somebody has just asked for is known for its time, though it was asked for the first
        time long ago."""
        self.every = 30.0
        for passed in 59, 2:
            self.feed.ask(ONE)
            watched = self.feed._watched[ONE]
            watched.left -= passed
            watched.due -= passed
        self.feed.ask(TWO)
        self.feed.ask(ONE)
        eq_(self.looks, [ONE, ONE, TWO])

    def test_away(self):
        """What has failed is asked again soon, however long it took to fail."""
        self.slow, self.well = 0.2, False
        feed.AWAY, kept = 0.01, feed.AWAY
        self.addCleanup(setattr, feed, 'AWAY', kept)

        async def tabs():
            tab = self.feed.open({'a': ONE, 'b': TWO})
            while len(self.looks) < 5:
                await asyncio.sleep(0.01)
            tab.close()
        began = time.monotonic()
        self.run_tabs(tabs)
        self.assertLess(time.monotonic() - began, 5)   # else 4 s after each

    def test_comes_again(self):
        """A tab that comes again is told what is known, and brings no look before its time."""
        self.every = 60.0

        async def tabs():
            for n in range(3):
                tab = self.feed.open({'a': ONE})
                [text] = await self.told(tab)
                self.assertIn('"value":0', text)
                tab.close()
        self.run_tabs(tabs)
        eq_(len(self.looks), 1)
        feed.IDLE, kept = 0, feed.IDLE
        self.addCleanup(setattr, feed, 'IDLE', kept)
        self.run_tabs(tabs)
        eq_(len(self.looks), 4)

    def test_hurry(self):
        """After an act all of that queue is looked at again."""
        self.every = 60.0
        async def tabs():
            tab = self.feed.open({'a': ONE})
            await self.told(tab)
            self.value = 1
            self.feed.hurry('other')
            self.feed.hurry('q')
            [text] = await self.told(tab)
            self.assertIn('"value":1', text)
            tab.close()
        self.run_tabs(tabs)

    def test_full(self):
        """There are so many tabs at a time, and no more."""
        async def tabs():
            open = [self.feed.open({'a': ONE}) for n in range(3)]
            with self.assertRaises(Full):
                self.feed.open({'a': ONE})
            open.pop().close()
            open.append(self.feed.open({'a': ONE}))
            for tab in open:
                tab.close()
        self.run_tabs(tabs)

    def test_ends(self):
        """A tab ends after a while, or when the server stops; browsers come again."""
        async def tabs():
            tab = self.feed.open({'a': ONE})
            ending = asyncio.create_task(self.told(tab, 99))
            await asyncio.sleep(0.05)
            self.feed.stop()
            await ending
            tab.close()
            feed.LIFE, kept = 0.1, feed.LIFE
            try:
                tab = self.feed.open({'a': ONE})
                events = [event async for event in tab.events()]
                eq_(events[0], 'retry: 500\n\n')
                tab.close()
            finally:
                feed.LIFE = kept
        self.run_tabs(tabs)
