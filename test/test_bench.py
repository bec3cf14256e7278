"""A quick run of the benchmark is sound; what it measures is not judged here.

It measures WorQ, the standard library, and whichever other peers are installed: they are not
in requires.txt, so that the tests stay quick, see bench/requires.txt.
"""
import json
import os
from pathlib import Path
import subprocess
import sys
import tempfile
import unittest

import redis

from bench import report
from bench.figures import FIGURES, FILES, applies, percentile
from bench.guard import marked
from bench.peers import PEERS, installed, load
from bench.peers.base import Peer, children
from bench.proxy import CountingProxy
from test import support
from test.programs import ROOT

LIMIT = 900  # seconds, on a machine that is very busy


def bench(file, *args, **environment):
    """A quick run that writes its results to a file."""
    return subprocess.run(
        [sys.executable, 'bench/run.py', '--quick', '--json', file, *args], cwd=ROOT,
        timeout=LIMIT, text=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env={**os.environ, **environment})


# what there may be none of
NOUGHT = {('idle', 'sent'), ('idle', 'executed'), ('blocked', 'again'), ('blocked', 'failed'),
          ('width', 'slowest script'), ('width', 'scripts over 15 ms'),
          ('width', 'seconds Redis waited')}


class QuickRun(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        """One quick run of everything."""
        support.find_binary()
        cls.mark = support.unique('bench')
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'results.json')
            done = bench(file, BENCH_MARK=cls.mark)
            cls.output = done.stdout
            if done.returncode != 0:
                raise AssertionError(f'it ended with {done.returncode}:\n{done.stdout}')
            cls.results = json.loads(file.read_text())
        cls.peers = [name for name in PEERS if installed(name)]

    def test_complete(self):
        """Each figure has a positive number for each peer that it applies to, and for no other."""
        for figure in FIGURES.keys() - FILES:
            found = self.results['figures'][figure]
            expected = {name for name in [*self.peers, 'limits']
                        if applies(figure, name, PEERS[name].kind if name in PEERS else '')}
            self.assertEqual(set(found), expected, figure)
            for name in expected:
                if 'skip' in found[name]:
                    self.assertNotIn(name, report.OURS)
                    continue
                self.assertTrue(found[name]['values'], (figure, name))
                for key, values in found[name]['values'].items():
                    self.assertEqual(len(values), 1)
                    if (figure, key) not in NOUGHT:
                        self.assertGreater(values[0], 0, (figure, name, key))

    def test_possible(self):
        """Four workers do not work for longer than they are there, a task on Redis takes a
        command, and pools take no fewer commands than round trips."""
        figures = self.results['figures']
        for name, entry in figures['even'].items():
            self.assertLessEqual(entry['values']['share'][0], 1, name)
        for name, entry in figures['traffic'].items():
            self.assertGreaterEqual(entry['values']['commands'][0], 1, name)
        ours = figures['traffic']['worq']['values']
        self.assertLess(ours['round trips'][0], ours['commands'][0])

    def test_report(self):
        """The tables name all peers that were measured, and say that it was a quick run."""
        tables = report.tables(self.results)
        self.assertIn('figures mean nothing', tables)
        for name in self.peers:
            if PEERS[name].kind == 'file':
                continue
            self.assertIn(PEERS[name].title, tables)
        for verdict in report.verdicts(self.results):
            self.assertEqual(verdict.reached is None, not verdict.found)

    def test_nothing_left(self):
        """No process that the run has started outlives it."""
        self.assertEqual(marked(self.mark), [])


class Files(unittest.TestCase):

    def test_files(self):
        """What is measured of queues in files are numbers, and each target finds its own."""
        support.find_binary()
        only = ['worq-file', 'worq-file-full', 'file-append', 'file-bytes', 'file-writers',
                'file-steps']
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'results.json')
            done = bench(file, '--files', '--only', *only)
            self.assertEqual(done.returncode, 0, done.stdout)
            results = json.loads(file.read_text())
        self.assertEqual(set(results['figures']), set(only[2:]))
        for figure, peers in results['figures'].items():
            for name, entry in peers.items():
                self.assertTrue(entry['values'], (figure, name))
                self.assertTrue(all(value >= 0 for values in entry['values'].values()
                                    for value in values), (figure, name))
        found = [verdict for verdict in report.verdicts(results) if verdict.reached is not None]
        self.assertEqual(len(found), 8)   # two are ratios to what was not measured here
        self.assertIn('WorQ in a file', report.tables(results))


class Resume(unittest.TestCase):

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.file = Path(folder.name, 'results.json')

    def test_resume(self):
        """A run that was stopped is continued with what it has not measured yet; one of other
        figures is refused."""
        support.find_binary()
        only = ['--only', 'thread-executor', 'throughput', 'round-trip']
        self.assertEqual(bench(self.file, *only).returncode, 0)
        whole = json.loads(self.file.read_text())
        self.assertEqual(whole['steps'], 2)
        first, second = whole['figures']
        self.file.write_text(json.dumps(
            {**whole, 'steps': 1, 'figures': {first: whole['figures'][first], second: {}}}))
        self.assertEqual(bench(self.file, *only, '--resume').returncode, 0)
        again = json.loads(self.file.read_text())
        self.assertEqual(again['figures'][first], whole['figures'][first])
        self.assertEqual([len(values) for values in
                          again['figures'][second]['thread-executor']['values'].values()], [1, 1])
        refused = bench(self.file, *only[:-1], '--resume')
        self.assertEqual(refused.returncode, 2)
        self.assertIn('other figures', refused.stdout)


class Parts(unittest.TestCase):

    def test_proxy_counts(self):
        """A pipeline is one round trip, two commands are two."""
        server = support.redis_url()
        with CountingProxy(server) as proxy:
            with redis.Redis.from_url(proxy.url, protocol=2) as client:
                client.ping()
                before = proxy.trips
                client.ping()
                client.ping()
                self.assertEqual(proxy.trips - before, 2)
                pipe = client.pipeline(transaction=False)
                for _ in range(100):
                    pipe.ping()
                self.assertEqual(pipe.execute(), [True] * 100)
                self.assertEqual(proxy.trips - before, 3)

    def test_percentile(self):
        """The median of a hundred and one numbers is the middle one; p99 is near the end."""
        numbers = [float(number) for number in range(101)]
        self.assertEqual(percentile(numbers, 0.5), 50)
        self.assertEqual(percentile(numbers, 0.99), 99)
        self.assertEqual(percentile([3.0], 0.99), 3)

    def test_stop(self):
        """To stop a peer ends all processes that it has started, and it can start again."""
        with load('worq', support.redis_url()) as peer:
            for _ in range(2):
                peer.start(2)
                family = children(peer.processes[0].pid)
                self.assertEqual(len(family), 3)
                self.assertEqual(peer.get_all(peer.put_bulk('echo', [(1,), (2,)])), [1, 2])
                peer.stop()
                for pid, began in family.items():
                    self.assertNotEqual(children(pid).get(pid), began)

    def test_published(self):
        """The tables of the documentation are those of the results beside them, of a full run;
        and if there are none, they say so."""
        tables = (ROOT / 'bench/results.rst').read_text('utf-8')
        file = ROOT / 'bench/results.json'
        if file.exists():
            results = json.loads(file.read_text('utf-8'))
            self.assertEqual(tables, report.tables(results, report.CHART) + '\n')
            self.assertIs(results['about']['quick'], False)
            self.assertTrue((ROOT / 'doc' / report.CHART).exists())
        else:
            self.assertIn('No full run', tables)

    def test_orphans(self):
        """To stop a peer ends what its workers have started, even if those were killed before."""
        class Shell(Peer):
            def commands(self, processes, slots, mixed):
                return [['sh', '-c', 'sleep 1000 & sleep 1000 & wait']]

        peer = Shell('shell', '')
        peer.start(wait=False)
        support.eventually(lambda: len(children(peer.processes[0].pid)), 3)
        family = children(peer.processes[0].pid)
        peer.processes[0].kill()
        peer.processes[0].wait()
        self.assertEqual(sum(pid in children(pid) for pid in family), 2)
        peer.stop()
        self.assertEqual(sum(pid in children(pid) for pid in family), 0)

    def test_verdicts(self):
        """A target is reached or not by the ratio of medians to the best of the others."""
        def verdict(ours, theirs):
            results = {'figures': {'drain': {
                'worq': {'values': {'rate': ours}},
                'huey': {'values': {'rate': theirs}},
                'rq': {'values': {'rate': [1.0]}}}}}
            return report.verdicts(results)[0]
        self.assertTrue(verdict([12.0, 100.0, 13.0], [1.0]).reached is True)
        self.assertIs(verdict([130.0], [10.0, 11.0, 12.0]).reached, False)
        self.assertIn('Huey', verdict([130.0], [10.0]).beside)
        self.assertIs(report.verdicts({'figures': {}})[0].reached, None)
