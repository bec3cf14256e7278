"""A browser for tests: Chromium of the system, driven by Playwright."""
from __future__ import annotations

import os
import shutil
import sys
import unittest

from test import leaks
from test.web.support import PageCase
from worq import web

__all__ = ['BrowserCase']

NAMES = 'chromium', 'chromium-browser', 'google-chrome', 'chrome'
_told = False


def browser() -> str:
    """The path of Chromium; SkipTest, said aloud, if it or Playwright is missing.

    RuntimeError in its place if ``WORQ_REQUIRE_BROWSER`` is set.
    """
    global _told
    path = os.environ.get('WORQ_TEST_BROWSER') or next(filter(None, map(shutil.which, NAMES)), '')
    try:
        import playwright.sync_api  # noqa: F401
        reason = '' if path else 'install chromium'
    except ImportError:
        reason = 'pip install playwright' + ('' if path else ', and install chromium')
    if not reason:
        return path
    reason = f'NO BROWSER, so nothing of the page is tested in one: {reason}'
    if os.environ.get('WORQ_REQUIRE_BROWSER'):
        raise RuntimeError(reason)
    if not _told:
        print(f'\n*** {reason}\n', file=sys.stderr)
        _told = True
    raise unittest.SkipTest(reason)


class BrowserCase(PageCase):
    """The page of a queue, served, and a browser that shows it.

    What the browser's console complains of fails the test, but for what is in `expected`.
    """

    __test__ = False
    look = {}   # of the browser: its size, colours and the like

    @classmethod
    def setUpClass(cls):
        path = browser()
        from playwright.sync_api import sync_playwright
        cls._playwright = sync_playwright().start()
        try:
            cls.chromium = cls._playwright.chromium.launch(
                executable_path=path, args=['--no-sandbox'])   # CI is root
        except BaseException:
            cls._playwright.stop()
            raise

    @classmethod
    def tearDownClass(cls):   # clean-ups of classes are not run by all runners
        cls.chromium.close()
        cls._playwright.stop()

    def setUp(self):
        leaks.watch(self)
        super().setUp()
        self.expected = ()
        self.complaints = []
        self.server = self.enterContext(web.Server(self.app))
        self.page = self.tab()
        self.addCleanup(self.check_complaints)

    def tab(self, context=None, **look):
        """A tab of a window of its own, or of one that is there."""
        if context is None:
            context = self.chromium.new_context(**{**self.look, **look})
            self.addCleanup(context.close)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on('console', lambda message: message.type == 'error'
                and self.complaints.append(message.text))
        page.on('pageerror', lambda error: self.complaints.append(str(error)))
        return page

    def check_complaints(self):
        self.assertEqual([text for text in self.complaints
                          if not any(word in text for word in self.expected)], [])

    def open(self, path='', page=None):
        """Show an address; the tab."""
        page = page or self.page
        page.goto(self.server.url + path)
        page.wait_for_selector('.standing.live')
        return page

    def text(self, selector='main', page=None):
        return (page or self.page).inner_text(selector)

    def sees(self, text, selector='main', page=None):
        """Wait until a text is there."""
        (page or self.page).wait_for_function(
            '([selector, text]) => [...document.querySelectorAll(selector)]'
            '.some((one) => one.innerText.includes(text))', arg=[selector, text])
