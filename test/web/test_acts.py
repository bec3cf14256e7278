"""Acts in a browser, and what a page of another origin tries."""
from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from test.support import eq_, eventually
from test.web.browser import BrowserCase
from worq.pool.thread import WorkerPool

HOSTILE = '<img src=x onerror="document.title=1">'

ATTACK = '''<!doctype html><title>evil</title>
<form id=f method=post action="{url}api/act/purge" enctype=text/plain target=there>
<input name='{{"seen":1,"x":"' value='"}}'></form><iframe name=there></iframe>
<iframe src="{url}" id=framed></iframe>
<script>
(async () => {{
  const done = [];
  const tries = [
    ['{url}api/overview', {{}}],
    ['{url}api/act/purge', {{method: 'POST', mode: 'no-cors', credentials: 'include',
      body: '{{"seen":1}}'}}],
    ['{url}api/act/purge', {{method: 'POST', headers: {{'X-WorQ': '1'}}, body: '{{"seen":1}}'}}],
    ['{url}api/act/purge', {{method: 'PUT'}}],
  ];
  for (const [url, how] of tries) {{
    try {{ const answer = await fetch(url, how); done.push(answer.type + answer.status); }}
    catch (error) {{ done.push('refused'); }}
  }}
  const live = new EventSource('{url}api/live?watch=overview');
  await new Promise((resolve) => {{
    live.onerror = resolve;
    live.onmessage = () => {{ done.push('LIVE'); resolve(); }};
  }});
  live.close();
  document.getElementById('f').submit();
  document.title = done.join(' ');
}})();
</script>'''


class Acts(BrowserCase):

    __test__ = True

    def confirm(self, label, page=None):
        (page or self.page).click(f'dialog >> role=button[name="{label}"]')

    def test_cancel_one(self):
        """It asks first; who did it is in the log."""
        task = self.q.mail.send(1)
        page = self.open(f'task?id={task.id}')
        page.click('text=Cancel …')
        self.confirm('Leave it')
        eq_(task.status, 'enqueued')
        page.click('text=Cancel …')
        self.confirm('Cancel it')
        self.sees('It is cancelled', '#said')
        self.sees('was cancelled', '.explain')
        eq_(self.broker.acts()[0].who, 'ann')

    def test_cancel_ticked(self):
        """Those that are ticked, and no others."""
        tasks = [self.q.mail.send(n) for n in range(3)]
        page = self.open('tasks?state=enqueued')
        for task in tasks[:2]:
            page.check(f'[aria-label="Choose {task.id}"]')
        self.sees('2 tasks chosen', '.bar')
        page.click('text=Cancel them …')
        self.confirm('Cancel 2 tasks')
        self.sees('2 tasks cancelled', '#said')
        eq_([task.status for task in tasks], ['cancelled', 'cancelled', 'enqueued'])
        page.wait_for_function('() => document.querySelectorAll("tbody tr").length === 1')

    def test_cancel_filtered(self):
        """All that a filter shows."""
        for n in range(5):
            self.q.mail.send(n)
        self.q.other()
        page = self.open('tasks?state=enqueued&name=mail.*')
        page.click('text=Cancel all of these …')
        self.sees('named mail.*', 'dialog')
        self.confirm('Cancel 5 tasks')
        self.sees('5 tasks cancelled', '#said')
        eq_(len(self.broker), 1)

    def test_purge_changed(self):
        """When more has come while it asked, nothing is done, and it asks again."""
        self.expected = '409',
        self.q.mail()
        page = self.open('tasks?state=enqueued')
        page.click('text=Cancel all that has not begun …')
        page.wait_for_selector('dialog')
        for n in range(4):
            self.q.mail()
        self.confirm('Cancel 1 task')
        self.sees('Nothing was done', '#said')
        eq_(len(self.broker), 5)
        self.confirm('Cancel 5 tasks')
        self.sees('5 tasks cancelled', '#said')
        eq_(len(self.broker), 0)

    def test_schedules(self):
        """A schedule is run now, and paused."""
        self.broker.schedules.set('hourly', self.q.report.make, every=3600)
        page = self.open('schedules')
        self.sees('report.make', 'tbody tr')
        page.click('text=Run now …')
        self.confirm('Run now')
        self.sees('has a run', '#said')
        page.click('text=Pause …')
        self.confirm('Pause')
        self.sees('paused by ann', 'tbody tr')
        eq_(len(self.broker), 1)

    def test_run_again(self):
        """What failed by the same error is one group, and runs again together."""
        fails = True

        def send(number):
            if fails:
                raise ConnectionError(HOSTILE)

        self.broker.expose(send)
        tasks = [self.q.send(n) for n in range(3)]
        after = self.q.send(tasks[0])
        page = self.open('failed')
        self.sees('Nothing has failed')
        with WorkerPool(self.broker, workers=1):
            self.sees('×3', '.card.failed')
            self.sees(HOSTILE, '.card.failed')
            fails = False
            page.click('text=With 1 follower …')
            self.confirm('Run again')
            ids = [task.id for task in [*tasks, after]]   # who has read a failure keeps it
            eventually(lambda: {self.broker.deferred(id).status for id in ids}, {'success'})
        self.sees('Nothing has failed')
        eq_([act.what for act in self.broker.acts()], ['revive'])

    def test_pause(self):
        """The queue is paused and resumed; both tell everybody who looks."""
        page = self.open()
        page.click('text=Pause the queue …')
        self.confirm('Pause')
        self.sees('Paused: the whole queue', '.notice')
        self.sees('by ann', '.notice')
        page.click('text=Resume …')
        self.confirm('Resume')
        page.wait_for_selector('.notice', state='detached')
        eq_([act.what for act in self.broker.acts()], ['resume', 'pause'])

    def test_reader(self):
        """Who may only look is shown nothing to press, and could do nothing with it."""
        self.expected = '403', '404'   # there is no icon for what is no page
        self.rights = 'read'
        task = self.q.mail()
        page = self.open('tasks?state=enqueued')
        page.wait_for_selector('tbody tr')
        self.sees('(read only)', '.me')
        eq_(page.locator('.danger, [type=checkbox]').count(), 0)
        said = page.evaluate('''async (id) => (await fetch('api/act/cancel', {method: 'POST',
            headers: {'X-WorQ': '1'}, body: JSON.stringify({ids: [id], seen: 1})})).status''',
                             task.id)
        eq_(said, 403)
        eq_(task.status, 'enqueued')
        self.rights = 'none'
        page.goto(self.server.url)
        self.sees('may not see', 'body')

    def test_attacker(self):
        """A page of another origin reads nothing and does nothing, by forms, fetch, or frames."""
        task = self.q.mail()
        shown = ATTACK.format(url=self.server.url).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header('Content-Type', 'text/html')
                self.end_headers()
                self.wfile.write(shown)

            def log_message(self, *args):
                pass

        evil = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.addCleanup(evil.server_close)
        thread = Thread(target=evil.serve_forever, args=[0.05])
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(evil.shutdown)
        self.expected = '',   # the browser tells of all that it refuses
        for host in ('127.0.0.1', 'localhost'):   # another port, and another site
            page = self.tab()
            page.goto(f'http://{host}:{evil.server_address[1]}/')
            page.wait_for_function('() => document.title != "evil"')
            eq_(page.title(), 'refused refused refused refused')
            page.wait_for_load_state('networkidle')
            eq_(page.frame_locator('#framed').locator('.brand').count(), 0)
            eq_((task.status, self.broker.acts()), ('enqueued', []))
