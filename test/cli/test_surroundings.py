"""Commands as they are used at night: in pipes, on narrow terminals, without colours, with broken
texts, interrupted."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest
import urllib.error
import urllib.request

from test import broker_case, support
from test.cli.support import CommandCase, worq
from test.programs import ROOT, environment
from test.queue.contract import message, outcome
from test.support import eq_
from worq import Task, get_broker
from worq.cli import index

HOSTILE = 'grün\u202e\x1b[31m\U0001f600<b>'
LOOKS = [['info'], ['queues'], ['pools'], ['tasks'], ['tasks', 'failed'], ['failed'],
         ['tasks', 'enqueued', '--name', 'mail.*', '--oldest'], ['show', 'ready'], ['show', 'bad'],
         ['show', HOSTILE], ['explain', 'ready'], ['explain', 'waits'], ['graph', 'waits'],
         ['graph', 'waits', '--dot'], ['graph', 'waits', '--mermaid'], ['watch', 'good'],
         ['watch', 'bad'], ['log'], ['cron'], ['check', '--no-audit'], ['check'], ['audit'],
         ['secrets'], ['metrics'], ['top', '-n', '1']]
ACTS = [['cancel', 'ready'], ['pause', 'mail.*'], ['resume', 'mail.*'], ['revive', 'bad'],
        ['forget', 'good'], ['call', 'mail.send', '1'], ['cron', 'pause', 'nightly'],
        ['purge', '--yes'], ['delete', '--yes', '--force']]
BROKEN = '\udcff\udcfe'   # bytes of a command line that are no text


def answers(url):
    """Whether a server answers there, be it with an error."""
    try:
        urllib.request.urlopen(url, timeout=10).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True


class Filled(broker_case.MemoryMixin, CommandCase):

    __test__ = False

    def setUp(self):
        super().setUp()
        broker = self.shop()
        backend = broker.backend
        self.pool(broker, ['mail.send', HOSTILE])
        backend.join('old:2:def', {'host': 'old', 'kind': 'process', 'broken': f'{HOSTILE} ' * 9})
        backend.put([message(id, header=b'mail.send') for id in ('good', 'bad', 'runs')])
        good, bad, _ = backend.take('somewhere:1:abc', 3)
        backend.settle('somewhere:1:abc', [outcome(good), outcome(bad, 'failure', b'no')])
        backend.put([message('ready', header=b'mail.send\nretries 3'),
                     message('waits', 'runs', header=HOSTILE.encode()),
                     message('due', delay=10 ** 8)])
        Task(broker.queue().mail.odd, id=HOSTILE)(HOSTILE, key=[HOSTILE] * 9)
        backend.tally('somewhere:1:abc', 1, {HOSTILE: 'v:1 a3:1 t:5', 'mail.send': 'f:1'})
        broker.schedules.set('nightly', broker.queue().report.make, every=3600, by=HOSTILE)
        broker.cancel('due', by=HOSTILE)
        broker.pause('image.*', by=HOSTILE)
        self.addCleanup(broker.resume, 'image.*')

    def everywhere(self, commands, **more):
        """What each of these says; none of them raises anything."""
        for words in commands:
            name, *rest = words
            done = self.worq(name, *rest, **more)
            self.assertIn(done.status, (0, 1, 4), (words, done))
            for text in done.out, done.err:
                self.assertNotIn('Traceback (', text, words)
                for letter in '\u202e', '\x1b[31m\U0001f600':   # red alone is a colour of ours
                    self.assertNotIn(letter, text, words)
            yield words, done


class Terminals(Filled):

    __test__ = True

    def test_all_are_here(self):
        """No command is forgotten."""
        left = {'worker', 'web', 'move', 'completion', 'help'}   # they have tests of their own
        eq_({words[0] for words in LOOKS + ACTS} | left, set(index.NAMES))

    def test_narrow(self):
        """On terminals of any width, with and without colours."""
        for columns in (1, 20, 80, 200):
            for environ in {}, {'NO_COLOR': '1'}, {'TERM': 'dumb'}:
                for words, done in self.everywhere(LOOKS, columns=columns, **environ):
                    if environ:
                        self.assertNotIn('\x1b[1m', done.out, words)
                    wide = [line for line in done.out.splitlines()
                            if columns == 80 and environ and words[0] not in ('graph', 'metrics')
                            and len(line) > columns]
                    eq_(wide, [], str(words))

    def test_statuses(self):
        """They are the same wherever it is printed."""
        told = [[done.status for _, done in self.everywhere(LOOKS, columns=columns)]
                for columns in (0, 20, 200)]
        told.append([done.status for _, done in self.everywhere(
            [[*words, '--json'] for words in LOOKS])])
        eq_(told, told[:1] * 4)
        eq_(told[0][LOOKS.index(['watch', 'bad'])], 1)
        eq_(told[0][LOOKS.index(['check'])], 4)

    def test_json(self):
        """All that --json prints is JSON, an object a line."""
        for words, done in self.everywhere([[*words, '--json'] for words in LOOKS + ACTS]):
            for line in done.out.splitlines():
                self.assertIsInstance(json.loads(line, parse_constant=self.fail), dict, words)
            if done.status == 0 and words[0] != 'audit':   # where there is nothing to tell
                self.assertNotEqual(done.out, '', words)

    def test_acts(self):
        """What is done is said, wherever it is printed."""
        for words, done in self.everywhere(ACTS, columns=20):
            self.assertTrue(done.out + done.err, words)

    def test_broken_texts(self):
        """Bytes that are no text are a mistake in the command, or an id that nobody knows."""
        for words in [['show', BROKEN], ['explain', BROKEN], ['graph', BROKEN], ['cancel', BROKEN],
                      ['forget', BROKEN], ['revive', BROKEN], ['watch', BROKEN],
                      ['tasks', '--name', BROKEN], ['failed', '--name', BROKEN],
                      ['call', BROKEN, '--force'], ['call', 'x', BROKEN], ['pause', BROKEN],
                      ['call', 'x', '--id', BROKEN, '--force'], ['cron', 'run', BROKEN],
                      ['resume', BROKEN], ['help', BROKEN], ['tasks', BROKEN], [BROKEN]]:
            for form in [], ['--json']:
                done = worq(*words, *form, '--url', self.url(), '-q', self.name)
                self.assertIn(done.status, (1, 2), (words, done))
                self.assertIsNone(next((c for c in done.err if '\ud800' <= c <= '\udfff'), None))
        for options in [['-q', BROKEN, '--url', self.url()], ['--url', f'sqlite:///{BROKEN}'],
                        ['--url', f'redis://{BROKEN}'], ['--url', BROKEN]]:
            done = worq('info', *options)
            self.assertIn(done.status, (1, 2, 3), (options, done))


class Programs(unittest.TestCase):
    """Started by a shell."""

    def setUp(self):
        self.url = f'sqlite:///{support.folder(self)}/work.db'
        with get_broker(self.url) as broker:
            for n in range(300):
                Task(broker.queue().mail.send, id=f'grün{n}')(n)

    def begin(self, *words, **environ):
        process = subprocess.Popen(
            [sys.executable, '-m', 'worq', *words], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding='utf-8',
            env=environment(WORQ_URL=self.url, **environ))
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def test_head(self):
        """``worq ... | head -1`` ends at once, without a complaint."""
        for words in 'tasks -n 1000', 'tasks -n 1000 --json', 'top --json --interval 0.01':
            script = f'{sys.executable} -m worq {words} | head -n 1; echo ${{PIPESTATUS[0]}}'
            done = subprocess.run(['bash', '-c', script], cwd=ROOT, text=True, timeout=60,
                                  capture_output=True, env=environment(WORQ_URL=self.url))
            *_, status = done.stdout.split()
            self.assertIn(status, ('141', '0'), words)   # 0: all of it fitted the pipe
            eq_(done.stderr.replace('... and more: -n 10000\n', ''), '', words)

    def test_plain_surroundings(self):
        """Neither encodings nor zones of time, nor a home that is not there, are in its way."""
        for environ in [{'LC_ALL': 'C', 'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'},
                        {'PYTHONIOENCODING': 'ascii'}, {'PYTHONIOENCODING': 'utf-16'},
                        {'TZ': 'Nowhere/There'}, {'HOME': '/nonexistent'}, {'COLUMNS': '-3'}]:
            process = self.begin('tasks', '-n', '1', '--json', **environ)
            out, err = process.communicate(timeout=60) if 'utf-16' not in environ.values() else \
                (process.stdout.buffer.read().decode('utf-16'), process.stderr.buffer.read())
            eq_((process.wait(), json.loads(out.splitlines()[0])['id']), (0, 'grün299'),
                str(environ))
            self.assertNotIn('Traceback', str(err))

    def test_interrupted(self):
        """Ctrl-C ends what goes on, with its status and without a traceback."""
        for words, sign in [(['watch', 'grün1'], 'err'), (['web', '--listen', '0'], 'err'),
                            (['top', '--json', '--interval', '0.05'], 'out'),
                            (['call', 'x', '--force', '--wait'], 'err'),
                            (['metrics', '--serve', '0'], 'err')]:
            process = self.begin(*words)
            line = (process.stdout if sign == 'out' else process.stderr).readline()
            self.assertTrue(line, words)
            if words[0] in ('web', 'metrics'):   # it has told where it listens, and begins to
                url = re.search(r'http://\S+', line)[0]
                support.eventually(lambda: answers(url), True)   # noqa: B023
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
            self.assertNotIn('Traceback', err, words)
            eq_(process.returncode, 130 if words[0] not in ('web', 'metrics') else
                process.returncode, str(words))

    def test_nowhere_to_write(self):
        """A full disk, or a closed output, is a line, and no traceback."""
        with open('/dev/full', 'w') as full:
            done = subprocess.run([sys.executable, '-m', 'worq', 'info'], cwd=ROOT, stdout=full,
                                  stderr=subprocess.PIPE, text=True, timeout=60,
                                  env=environment(WORQ_URL=self.url))
        self.assertNotEqual(done.returncode, 0)
        self.assertNotIn('Traceback', done.stderr)
        self.assertIn('No space left', done.stderr)
        done = subprocess.run(['bash', '-c', f'{sys.executable} -m worq info >&-'], cwd=ROOT,
                              stderr=subprocess.PIPE, text=True, timeout=60,
                              env=environment(WORQ_URL=self.url))
        self.assertNotIn('Traceback', done.stderr)


class Servers(unittest.TestCase):

    def test_no_server(self):
        """Each command that needs a queue tells within seconds that it is out of reach, and how
        it was asked for, without the password; exit status 3."""
        url = f'redis://:hidden@127.0.0.1:{support.free_port()}/0'
        for words in [*LOOKS, *ACTS, ['revive', '--error', 'x'], ['cancel', '--name', 'x']]:
            began = time.monotonic()
            done = worq(*words, '--url', url, '-q', 'x')
            if words == ['metrics']:   # it is a number there
                self.assertIn('worq_up{queue="x"} 0.0', done.out)
            else:
                eq_(done.status, 3, f'{words} {done}')
                self.assertIn('127.0.0.1', done.err)
            self.assertNotIn('hidden', done.out + done.err)
            self.assertLess(time.monotonic() - began, 10)

    def test_wrong_password(self):
        """A server that wants another password, or is none, is out of reach, too."""
        with support.start_redis('--requirepass', 'right') as server:
            address = server.url.partition('://')[2].rpartition('@')[2]
            for url in f'redis://{address}', f'redis://:wrong@{address}':
                done = worq('info', '--url', url, WORQ_SECRET='x' * 32)
                eq_(done.status, 3, done)
                self.assertNotIn('wrong@', done.err)
                self.assertRegex(done.err, '(?i)password|auth')
        self.assertTrue(os.path.exists(ROOT))
