"""Tabs: news without a reload, one who looks for all, and what happens when something restarts."""
from __future__ import annotations

import threading
import time

from test.support import eq_, eventually, start_redis
from test.web.browser import BrowserCase
from worq import get_broker, web

HIDE = '''(hidden) => {
  Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
  document.dispatchEvent(new Event('visibilitychange'));
}'''


def lookers():
    """The threads that look for tabs."""
    return {thread for thread in threading.enumerate() if thread.name == 'worq-web'}


class Tabs(BrowserCase):

    __test__ = True

    def setUp(self):
        self.others = lookers()   # a tab by WSGI is missed only when its time is over
        super().setUp()

    def lookers(self):
        return len(lookers() - self.others)

    def test_two_tabs(self):
        """What is done in one is seen in the other; one thread looks for both."""
        task = self.q.mail()
        one, two = self.page, self.tab()
        self.open('tasks?state=enqueued', one)
        self.open('tasks?state=enqueued', two)
        two.wait_for_selector(f'a[title="{task.id}"]')
        eq_(self.lookers(), 1)
        one.click('text=Cancel all that has not begun …')
        one.click('dialog >> text=Cancel 1 task')
        two.wait_for_selector(f'a[title="{task.id}"]', state='detached')
        self.sees('is ready now', 'main', two)

    def test_hidden(self):
        """Nobody looks for a tab that is hidden; when it is seen again it is up to date."""
        page = self.open()
        eq_(self.lookers(), 1)
        page.evaluate(HIDE, True)
        eventually(self.lookers, 0)
        self.q.mail()
        page.evaluate(HIDE, False)
        self.sees('Ready\n1', '.tile')

    def test_shared_looks(self):
        """Three tabs cost what one does."""
        backend = self.broker.backend
        looks = []
        totals = backend.totals
        backend.totals = lambda: looks.append(1) or totals()
        self.addCleanup(delattr, backend, 'totals')
        for n in range(3):
            self.open('pools', self.tab())
        looks.clear()
        began = time.monotonic()
        eventually(lambda: len(looks) >= 3)
        self.assertGreater(time.monotonic() - began, 1.5)   # once a second, not three times

    def test_server_restarts(self):
        """It is told, and the page goes on by itself where it was."""
        self.expected = 'ERR_', '404'
        page = self.open('tasks?state=enqueued')
        self.server.close()
        self.sees('cannot be reached', '#said')
        page.wait_for_selector('.standing.lost')
        task = self.q.mail()
        self.enterContext(web.Server(self.app, port=self.server.port))
        page.wait_for_selector(f'a[title="{task.id}"]', timeout=30_000)
        page.wait_for_selector('.standing.live')

    def test_without_events(self):
        """Where there can be no more live news, a tab asks now and then."""
        self.expected = '503',
        app = web.app(self.broker, allow=self.allow, streams=0)
        with web.Server(app) as server:
            self.page.goto(server.url)
            self.page.wait_for_selector('.standing.asking')
            self.q.mail()
            self.sees('Ready\n1', '.tile')
            self.page.goto('about:blank')

    def test_rights_are_lost(self):
        """Who may see it no more is told nothing more, in a while."""
        self.expected = '403',
        from worq.web import feed
        life, feed.LIFE = feed.LIFE, 0.5
        self.addCleanup(setattr, feed, 'LIFE', life)
        page = self.open()
        self.rights = 'none'
        page.wait_for_selector('.trouble')
        self.q.mail()
        page.wait_for_timeout(2_500)
        self.assertNotIn('Ready\n1', self.text())


class QueueRestarts(BrowserCase):
    """The same, when it is Redis that restarts."""

    __test__ = True

    def test_queue_restarts(self):
        """The page tells that the queue is away, and goes on when it is back."""
        self.expected = '503',
        with start_redis('--appendonly', 'yes') as redis, \
                get_broker(redis.url, self.name, retry_for=1) as broker, \
                web.Server(web.app(broker, allow=self.allow)) as server:
            broker.queue().mail()
            self.page.goto(server.url)
            self.sees('Ready\n1', '.tile')
            redis.kill()
            self.page.wait_for_selector('.trouble')
            self.sees('Ready\n1', '.tile')
            redis.start()
            broker.queue().mail()
            self.sees('Ready\n2', '.tile')
            self.page.wait_for_selector('.trouble', state='detached')
            self.page.goto('about:blank')
