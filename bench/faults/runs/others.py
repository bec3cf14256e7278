"""Runs that are made of others: the model of the tests, and other servers."""
from __future__ import annotations

import contextlib
import os
from pathlib import Path
import shutil
import subprocess
import sys
import tempfile
from typing import Iterator

from redis.crc import key_slot

from bench.faults.record import Record
from bench.faults.rig import ALWAYS, QUEUE, ROOT, Rig
from bench.faults.runs.workers import kill_children
from test.queue.redis import topology
from test.support import find_binary

__all__ = ['model', 'servers', 'SERVERS']

SERVERS = 'WORQ_FAULTS_SERVERS'   # environment: paths of more redis-servers, separated by colons
EXAMPLES = 5_000
STEPS = 60                        # of each example, as in test/queue/test_model.py


def model(seed: int, seconds: float, quick: bool) -> Record:
    """Run 14: random users of a queue in memory, of one in a file and of one on Redis.

    All answer alike, to the word; so they do when calls are sent twice, when a reply is
    lost, and when what is left over is done in the smallest steps. It is test/queue/test_model.py.
    """
    record = Record(14, 'a model of users, on memory, in a file and on Redis', seed)
    examples = 30 if quick else EXAMPLES
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', f'--hypothesis-seed={seed}',
         'test/queue/test_model.py'],
        cwd=ROOT, env={**os.environ, 'WORQ_MODEL_EXAMPLES': str(examples)},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    closing = done.stdout.strip().rpartition('\n')[2]
    record.add({'examples of each': examples, 'steps of each, at most': STEPS,
                'closing line': closing})
    record.demand(done.returncode == 0, done.stdout[-3000:])
    record.demand('passed' in closing and 'skipped' not in closing, closing)
    return record


def servers(seed: int, seconds: float, quick: bool) -> Record:
    """Run 16: run 1, shortened, on each server that there is, on a cluster and with Sentinels.

    ``WORQ_FAULTS_SERVERS`` names more servers: paths, separated by colons.
    """
    record = Record(16, 'on other servers', seed)
    for binary in [find_binary(), *filter(None, os.environ.get(SERVERS, '').split(':'))]:
        with on_path(binary), Rig(seed, ALWAYS) as rig:
            kill_children(record, rig, seconds, True, version(binary))
    with Rig(seed, None) as rig, topology.Cluster(key_slot(QUEUE.encode())) as cluster:
        rig.url, rig.plain = cluster.url, cluster.owner.url
        kill_children(record, rig, seconds, True, 'cluster of three')
    with Rig(seed, None) as rig, topology.Watched() as watched:
        rig.url, rig.plain = watched.url, watched.master.url
        kill_children(record, rig, seconds, True, 'with Sentinels')
    return record


def version(binary: str) -> str:
    """The name and the version of a server."""
    printed = subprocess.run([binary, '--version'], capture_output=True, text=True).stdout
    name = 'Valkey' if 'valkey' in printed.lower() else 'Redis'
    number = next((word[2:] for word in printed.split() if word.startswith('v=')), '?')
    return f'{name} {number}'


@contextlib.contextmanager
def on_path(binary: str) -> Iterator[None]:
    """Have this server found as ``redis-server``."""
    before = os.environ['PATH']
    folder = tempfile.mkdtemp(prefix='worq-faults-')
    Path(folder, 'redis-server').symlink_to(Path(binary).resolve())
    os.environ['PATH'] = os.pathsep.join([folder, before])
    try:
        yield
    finally:
        os.environ['PATH'] = before
        shutil.rmtree(folder)
