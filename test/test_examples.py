"""The examples run as the README says, each in a process of its own."""
import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
import io
import os
from pathlib import Path
import re
import signal
import tempfile
import threading
import time
import unittest
from unittest import mock
from zoneinfo import ZoneInfo

from test.programs import ROOT, python, running, shown_redis
from test.support import eventually
from worq import get_broker, testing
from worq.queue.sqlite import queue as sqlite

DAY = 86_400
SECRET = 'x' * 32


class Site:
    """A small web site, in a thread: a page with links to others, and to one that is not there.

    :param pages: how many others.
    :param together: they are answered when so many have been asked for at a time.
    """

    def __init__(self, pages, together):
        self.pages = pages
        self.together = together
        self.open = 0
        self.met = threading.Event()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)

    def __enter__(self):
        self.thread.start()
        self.begun = asyncio.Event()
        self.server = self.call(asyncio.start_server(self.answer, '127.0.0.1', 0, backlog=500))
        self.url = 'http://127.0.0.1:%d' % self.server.sockets[0].getsockname()[1]
        return self

    def call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    def __exit__(self, *exc_info):
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    async def answer(self, reader, writer):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            request = (await reader.readuntil(b'\r\n\r\n')).split()[1].decode()
            status, body = '200 OK', 'nothing to see'
            if request == '/':
                links = [*range(self.pages), 'missing']
                body = ''.join(f'<a href="/{link}#top">{link}</a>' for link in links)
            elif request == '/missing':
                status = '404 Not Found'
            else:
                await self.meet()
            writer.write(f'HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/html\r\n'
                         f'Content-Length: {len(body)}\r\n\r\n{body}'.encode())
            await writer.drain()
        writer.close()

    async def meet(self):
        self.open += 1
        if self.open == self.together:
            self.met.set()
            self.begun.set()
        await asyncio.wait_for(self.begun.wait(), 60)


class Examples(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        # the key that signs messages is made anew, as on a newcomer's machine
        self.state = {'XDG_STATE_HOME': folder.name}
        self.folder = Path(folder.name)

    def test_quickstart(self):
        """The quickstart prints the receipt and both ways to deal with a failure, and its tasks
        have run in other processes than the one that called them."""
        out = python('examples/quickstart.py')
        self.assertRegex(out, r'total +10\.05\n')
        self.assertIn("] KeyError: 'dragon'\n", out)
        self.assertIn("Handled: no receipt: KeyError: 'dragon'\n", out)
        mine = re.search(r'This is process (\d+)', out)[1]
        workers = set(re.findall(r'by process (\d+)', out))
        self.assertTrue(workers)
        self.assertNotIn(mine, workers)

    def test_three_files(self):
        """pool.py, or `worq worker`, in one process answers main.py in another, and ends well at
        SIGTERM: in a file and on Redis."""
        for url in f'sqlite:///{self.folder}/words.db', shown_redis():
            environ = {**self.state, 'WORQ_URL': url}
            for pool in ['examples/pool.py'], ['-m', 'worq', 'worker', 'tasks:text']:
                with self.subTest(url, pool=pool), running(*pool, **environ):
                    self.assertEqual(python('examples/main.py', **environ), '13 words\n')

    def test_recursion(self):
        """Fibonacci numbers come out, with a single worker."""
        self.assertEqual(python('examples/recursion.py', '9'), 'fib(9) = 34\n')

    def test_mapreduce(self):
        """All tasks are put in one batch, and pi is about what it should be."""
        self.assertRegex(python('examples/mapreduce.py', '60'),
                         r'^119 tasks are put\npi is about 3\.1\d\n$')

    def test_cancel(self):
        """Whatever was put is cancelled, and what ran has cleaned up; the others never began."""
        out = python('examples/cancel.py').splitlines()
        self.assertCountEqual(out, [
            'searching the attic', 'searching the cellar',
            'leaving the attic as it was', 'leaving the cellar as it was',
            *['search: TaskCancelled'] * 4, 'report: TaskCancelled'])

    def test_retries(self):
        """What fails is tried again, and the last failure tells of all attempts."""
        self.assertEqual(python('examples/retries.py').splitlines(), [
            'text of home, got in attempt 3', 'order 7 is placed',
            'ValueError: 3 is too low in attempt 3 (attempt 3 of 3)',
            'attempt 1: ValueError: 3 is too low in attempt 1',
            'attempt 2: ValueError: 3 is too low in attempt 2'])

    def test_progress(self):
        """Progress is seen while the task runs, and each state is explained."""
        before, progress, running_, after = python('examples/progress.py').split('\n\n')
        self.assertRegex(before, r'^eat \[default:.*\] is pending: it waits for an argument:\n'
                                 r'  bake \[default:.*\] is enqueued, and waits for a worker: it '
                                 r'is the next to be taken\.\n    No pool works on this queue\.$')
        done = int(re.fullmatch(r'(\d+) of 50: loaf (\d+) is in the oven', progress)[1])
        self.assertLess(done, 50)
        self.assertIn('is processing: it runs, and was taken ', running_)
        self.assertRegex(running_, r'It is at \d+ of 50 \(\d+ %\): loaf \d+ is in the oven$')
        self.assertRegex(after, r'^ate 50 loaves\neat .* ended with success: it has its value\.$')

    def test_coroutines(self):
        """Deferreds are awaited, one by one, many together, and for a limited time."""
        self.assertEqual(python('examples/coroutines.py').splitlines(), [
            'hello world', str(sum(range(1000)) + 6 * 1000), 'that would take too long'])

    def test_durable(self):
        """A program that is killed half-way goes on when it is started again."""
        path = str(self.folder / 'work.db')
        with running('examples/durable.py', path, **self.state) as program:
            q = None
            while q is None or q.stats()['succeeded'] < 4:
                if q is None and (self.folder / 'work.db-wal').exists():
                    q = sqlite.TaskQueue(f'sqlite:///{path}')
                    self.addCleanup(q.close)
                time.sleep(0.01)
                self.assertIsNone(program.poll())
            program.kill()
            program.wait()
            program.returncode = -signal.SIGTERM   # as it is meant to be here
        left = q.size()
        self.assertTrue(1 < left < 38, left)
        first, *pages, last = python('examples/durable.py', path, **self.state).splitlines()
        self.assertEqual((first, last), (f'{left} tasks are left',
                                         f'{sum(n % 7 + 200 for n in range(40))} words'))
        self.assertLessEqual(len(pages), left)
        self.assertEqual(q.audit(), [])

    def test_nightly(self):
        """Each night has its report, also the two on which clocks change, and after an outage; a
        pool writes one when somebody asks for it."""
        from examples import nightly
        self.enterContext(contextlib.chdir(self.folder))
        berlin = ZoneInfo('Europe/Berlin')
        with testing.Bench(nightly.reports, start=datetime(2026, 3, 28, tzinfo=berlin)) as bench:
            bench.run()
            self.assertEqual(bench.advance(3 * DAY), 3)
            self.assertEqual(sorted(os.listdir()),
                             ['2026-03-27.txt', '2026-03-28.txt', '2026-03-29.txt'])
            bench.broker.schedules.pause('reports.nightly')
            bench.advance(3 * DAY)
            bench.broker.schedules.resume('reports.nightly')
            self.assertEqual(bench.advance(DAY), 1)
            self.assertEqual(Path('2026-04-02.txt').read_text(),
                             'sales of 2026-04-02\n3 nights before have no report\n')
        url = f'sqlite:///{self.folder}/reports.db'
        self.state['WORQ_SECRET'] = SECRET
        with running(str(ROOT / 'examples/nightly.py'), url, cwd=self.folder, **self.state), \
                get_broker(url, secret=SECRET) as broker:
            eventually(lambda: broker.schedules.get('reports.nightly') is not None, True, 60)
            written = broker.schedules.run('reports.nightly').result(60)
            self.assertTrue((self.folder / written).exists())

    def test_poll(self):
        """Each file is loaded once, with the next look."""
        from examples import poll
        self.enterContext(mock.patch.dict(os.environ, INBOX=str(self.folder)))
        with testing.Bench(poll.inbox) as bench, contextlib.redirect_stdout(io.StringIO()) as out:
            bench.run()
            (self.folder / 'a.txt').write_text('two words')
            self.assertEqual(bench.advance(10), 2)
            (self.folder / 'b.txt').write_text('one')
            self.assertEqual(bench.advance(9), 0)
            self.assertEqual(bench.advance(51), 7)
        self.assertEqual(out.getvalue(), 'a.txt: 2 words\nb.txt: 1 words\n')
        (self.folder / 'c.txt').write_text('and one more')
        url = f'sqlite:///{self.folder}/inbox.db'
        with running('examples/poll.py', str(self.folder), url, **self.state):
            eventually(lambda: (self.folder / 'c.txt.done').exists(), True, 60)

    def test_reminder(self):
        """It is set, listed and comes, a year later; and late, if no pool was there."""
        from examples import reminder
        with testing.Bench(reminder.reminders, start=datetime(2030, 5, 1, tzinfo=UTC)) as bench, \
                contextlib.redirect_stdout(io.StringIO()) as out:
            reminder.set_reminder(bench.broker, 'renew', '2031-05-01T09:00', 'Europe/Berlin')
            self.assertEqual(bench.advance(364 * DAY), 0)
            reminder.set_reminder(bench.broker, 'renew', '2031-05-02T09:00')
            self.assertEqual(bench.advance(3 * DAY), 1)
            self.assertEqual(bench.broker.schedules.list(), [])
        self.assertEqual(out.getvalue(), '2031-05-02 09:00: renew\n')
        self.state['WORQ_URL'] = url = f'sqlite:///{self.folder}/reminders.db'
        self.state['WORQ_SECRET'] = SECRET
        told = python('examples/reminder.py', 'wake up', '2099-05-01T09:00', **self.state)
        self.assertRegex(told, r'^<Schedule remind: wake up: reminders.remind once, at 2099-05-01')
        self.assertEqual(python('examples/reminder.py', **self.state), told)
        with get_broker(url, secret=SECRET) as broker:
            soon = datetime.now(UTC) + timedelta(seconds=1)
            reminder.set_reminder(broker, 'wake up', soon.replace(tzinfo=None).isoformat())
            with running('examples/reminder.py', '--pool', **self.state):
                eventually(lambda: broker.backend.stats()['succeeded'], 1, 60)
            self.assertEqual(broker.schedules.list(), [])

    def test_database(self):
        """Two hundred tasks at a time share four connections, which are closed at the end."""
        self.assertEqual(python('examples/database.py'),
                         '500500 by 4 connections\nthe connections are closed\n')

    def test_crawler(self):
        """All pages are fetched, two hundred of them at a time, and what fails is told."""
        with Site(pages=250, together=200) as site:
            out = python('examples/crawler.py', f'{site.url}/', **self.state)
        self.assertRegex(out, "HTTPStatusError: Client error '404 Not Found'")
        self.assertRegex(out, r'251 pages, \d+ bytes\n$')
        self.assertTrue(site.met.is_set())

    def count_words(self, *args, tasks=1):
        for number in range(30):
            (self.folder / f'{number}.txt').write_text('two words ' * number + f'word{number}')
        (self.folder / 'sub').mkdir()
        (self.folder / 'sub' / 'deep.py').write_text('# Two WORDS\n')
        (self.folder / 'image.png').write_bytes(b'two words')
        out = python('examples/wordcount.py', str(self.folder), *args, **self.state)
        self.assertIn('      436  two\n      436  words\n', out)
        self.assertIn(f'{2 * 436 + 30} words in 31 files', out)
        # 31 files, together less than a megabyte
        self.assertRegex(out, rf'\b{tasks} tasks on .*: [\d.]+ s\n'
                              r'this process alone: [\d.]+ s, [\d.]+ x as long\n$')

    def test_wordcount_in_memory(self):
        """Words of text and source files are counted, those of others are not."""
        self.count_words()

    def test_wordcount_by_file(self):
        """With a task for each file they are merged by eights: 4 and 1."""
        self.count_words('--grain', '1', tasks=36)

    def test_wordcount_on_redis(self):
        """The word count is the same on Redis."""
        self.count_words('--url', shown_redis())

    def test_wordcount_of_nothing(self):
        """A folder without text gives an error that says so, not a traceback."""
        empty = self.folder / 'empty'
        empty.mkdir()
        with self.assertRaisesRegex(AssertionError, 'error: there is no text or source file'):
            python('examples/wordcount.py', str(empty))


def test_all_are_tested():
    """Each example is named in this file, or in that of those which need others' packages."""
    text = ''.join(Path(__file__).with_name(name).read_text('utf-8')
                   for name in ['test_examples.py', 'test_guests.py'])
    for name in os.listdir(ROOT / 'examples'):
        assert not name.endswith('.py') or name == 'tasks.py' or f'examples/{name}' in text, name
