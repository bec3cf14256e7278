"""Each view in a browser: what it shows, and that it is live."""
from __future__ import annotations

import threading
from unittest import mock

from test.support import eq_
from test.web.browser import BrowserCase
from worq import QueueError, Task, TaskSpace, current_task
from worq.pool.thread import WorkerPool

HOSTILE = '<img src=x onerror="document.title=1">'


class Views(BrowserCase):

    __test__ = True

    def test_overview(self):
        """Sizes change as the queue does, without anybody loading anything again."""
        page = self.open()
        eq_(page.title(), f'Overview – {self.name} – WorQ')
        self.sees('no pool works', '.tile')
        self.q.mail(1)
        self.sees('Ready\n1', '.tile')
        tally = {'mail.send': 'v:30 f:2 a5:32 t:90000 b3:32 u:100', HOSTILE: 'v:1'}
        self.broker.backend.tally('p', 1, tally)
        self.sees('mail.send', 'tbody th')
        self.sees(HOSTILE, 'tbody th')
        page.wait_for_selector('.chart canvas')
        page.click('text=mail.send')
        self.sees('Lately: mail.send', 'h2')
        self.assertIn('name=mail.send', page.url)

    def test_tasks(self):
        """Filters are part of the address; pages follow each other; rows lead to tasks."""
        ids = [self.q.mail.send(n).id for n in range(60)]
        self.q.other()
        page = self.open('tasks?state=enqueued')
        page.wait_for_selector(f'a[title="{ids[-1]}"]')
        page.fill('[name=name]', 'mail.*')
        page.keyboard.press('Enter')
        page.wait_for_url('**name=mail.**')
        page.click('text=next page')
        page.wait_for_selector(f'a[title="{ids[0]}"]')
        eq_(page.locator('tbody tr').count(), 10)
        page.go_back()
        page.wait_for_selector(f'a[title="{ids[-1]}"]')
        page.click('text=newest first')
        page.wait_for_selector(f'a[title="{ids[0]}"]')
        page.click(f'a[title="{ids[0]}"]')
        self.sees('is enqueued', '.explain')

    def test_task(self):
        """Why it waits, with links; its arguments only when somebody asks."""
        first = Task(self.broker.queue('image.load'), id='load-1')('a-secret')
        Task(self.broker.queue('text.fit'), id='fit-42')(first)
        page = self.open('task?id=fit-42')
        self.sees('it waits for an argument', '.explain')
        page.click('.explain >> text=load-1')
        page.wait_for_url('**id=load-1')
        self.sees('No pool works on this queue', '.explain')
        self.assertNotIn('a-secret', page.content())
        page.click('text=Show the arguments')
        self.sees("'a-secret'", '.arguments')
        self.open('task?id=none')
        self.sees('does not know this task')

    def test_runs_and_ends(self):
        """Progress, pools and workers while it runs; the value, and the error of another."""
        space = TaskSpace('text')
        go = threading.Event()

        @space.task
        def fit():
            current_task().progress(3, 4, 'nearly')
            go.wait(30)
            return {'value': 1}

        @space.task
        def fail():
            raise ValueError(HOSTILE)

        self.broker.expose(space)
        bad, good = self.q.text.fail(), self.q.text.fit()
        page = self.open(f'task?id={good.id}')
        with WorkerPool(self.broker, workers=1):
            self.sees('75 %: nearly', '.progress')
            self.open('pools')
            self.sees('1 of 1 worker busy', '.pool')
            page.click('.pool tbody a')
            go.set()
            self.sees('ended with success', '.explain')
            page.click('text=Show the value')
            self.sees("{'value': 1}", '.value')
            self.open(f'task?id={bad.id}')
            self.sees(f'ValueError: {HOSTILE}', '.card.failed')
            self.sees('Traceback', '.traceback')

    def test_log(self):
        """Who did what."""
        self.q.mail()
        self.broker.discard_pending_tasks(by=HOSTILE)
        self.open('log')
        self.sees(HOSTILE, 'tbody tr')
        self.sees('purge', 'tbody tr')

    def test_away(self):
        """A queue out of reach is told, what was seen stays, and all is well when it is back."""
        self.expected = '503',
        self.q.mail()
        self.open()
        self.sees('Ready\n1', '.tile')
        with mock.patch.object(self.broker.backend, 'totals', side_effect=QueueError('it is away')):
            self.sees('it is away', '.trouble')
            self.sees('Ready\n1', '.tile')
        self.page.wait_for_selector('.trouble', state='detached')

    def test_keys(self):
        """Views by numbers, the filter by a slash, tasks by j and k."""
        id = self.q.mail().id
        page = self.open()
        page.keyboard.press('4')
        page.wait_for_url('**/pools')
        page.keyboard.press('2')
        page.wait_for_url('**/tasks')
        page.keyboard.press('/')
        page.keyboard.type('mail')
        eq_(page.input_value('[name=name]'), 'mail')
        page.keyboard.press('Escape')
        page.click('.tabs >> text=ready')
        page.wait_for_selector(f'a[title="{id}"]')
        page.keyboard.press('j')
        page.keyboard.press('Enter')
        page.wait_for_url('**/task?id=**')

    def test_hostile(self):
        """Names, ids and arguments are texts, whatever is in them."""
        Task(self.broker.queue(HOSTILE), id=HOSTILE)(HOSTILE)
        page = self.open('tasks?state=enqueued')
        self.sees(HOSTILE, 'tbody th')
        page.click('tbody th a')
        self.sees('is enqueued', '.explain')
        page.click('text=Show the arguments')
        self.sees('onerror', '.arguments')
        self.assertNotEqual(page.title(), '1')
        eq_(page.locator('img[src=x]').count(), 0)
