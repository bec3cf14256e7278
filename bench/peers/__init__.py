"""One adapter for each library that is measured, WorQ among them; see ``base.Peer``.

``PEERS`` says what there is, ``load`` makes one, ``installed`` whether this Python has what
it needs. No library is imported before it is loaded.
"""
from __future__ import annotations

from importlib import import_module
import os
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

__all__ = ['PEERS', 'Entry', 'load', 'installed', 'versions']


class Entry(NamedTuple):
    """What is known of a peer without importing it."""

    kind: str             # 'redis', 'memory' or 'file'
    module: str           # in this package
    title: str            # for people
    packages: tuple[str, ...] = ()   # distributions whose versions are told
    options: dict[str, Any] = {}     # of its adapter


PEERS = {
    'worq': Entry('redis', 'worq', 'WorQ, process pool', ('redis', 'hiredis')),
    'worq-threads': Entry('redis', 'worq', 'WorQ, thread pool', ('redis', 'hiredis'),
                          {'threads': True}),
    'worq-aio': Entry('redis', 'worq_aio', 'WorQ, event loops', ('redis', 'hiredis')),
    'rq': Entry('redis', 'rq', 'RQ, SimpleWorker', ('rq', 'redis')),
    'rq-fork': Entry('redis', 'rq', 'RQ, forking', ('rq', 'redis'), {'fork': True}),
    'dramatiq': Entry('redis', 'dramatiq', 'Dramatiq', ('dramatiq', 'redis')),
    'huey': Entry('redis', 'huey', 'Huey, threads', ('huey', 'redis')),
    'arq': Entry('redis', 'arq', 'arq', ('arq', 'redis')),
    'saq': Entry('redis', 'saq', 'SAQ', ('saq', 'redis')),
    'taskiq': Entry('redis', 'taskiq', 'taskiq', ('taskiq', 'taskiq-redis', 'redis')),
    'celery': Entry('redis', 'celery', 'Celery, prefork', ('celery', 'kombu', 'redis')),
    'celery-threads': Entry('redis', 'celery', 'Celery, threads', ('celery', 'kombu', 'redis'),
                            {'threads': True}),
    'streaq': Entry('redis', 'streaq', 'streaQ', ('streaq', 'coredis')),
    'docket': Entry('redis', 'docket', 'docket', ('pydocket', 'redis')),

    'worq-memory': Entry('memory', 'worq', 'WorQ, process pool'),
    'worq-memory-threads': Entry('memory', 'worq', 'WorQ, thread pool', (), {'threads': True}),
    'worq-file': Entry('file', 'worq', 'WorQ in a file, process pool'),
    'worq-file-threads': Entry('file', 'worq', 'WorQ in a file, thread pool', (),
                               {'threads': True}),
    'worq-file-full': Entry('file', 'worq', 'WorQ in a file, sync=full, process pool', (),
                            {'query': '?sync=full'}),
    'huey-file': Entry('file', 'huey_file', 'SqliteHuey with fsync, threads', ('huey',)),

    'thread-executor': Entry('memory', 'stdlib', 'ThreadPoolExecutor', (),
                             {'executor': 'threads'}),
    'process-executor': Entry('memory', 'stdlib', 'ProcessPoolExecutor', (),
                              {'executor': 'processes'}),
    'multiprocessing': Entry('memory', 'stdlib', 'multiprocessing.Pool', (),
                             {'executor': 'pool'}),
    'joblib': Entry('memory', 'joblib', 'joblib', ('joblib',)),
    'dask': Entry('memory', 'dask', 'Dask, processes', ('distributed',)),
    'dask-threads': Entry('memory', 'dask', 'Dask, threads', ('distributed',),
                          {'threads': True}),
}


def load(name: str, url: str = 'memory://') -> Any:
    """Make the adapter of a peer.

    :param url: of the Redis server, ``redis://HOST:PORT/DB``; nothing else should be in that
        database. It also becomes ``BENCH_REDIS_URL`` of this process and of its children,
        from which the applications of some libraries are configured when they are imported:
        so one process can use them with one server only. What is in a file has no use for it:
        that file is in a folder of its own, where temporary files are, and goes with the
        adapter.
    :raises KeyError: for a name that is not in `PEERS`.
    :raises ImportError: if its library is not installed.
    """
    entry = PEERS[name]
    if entry.kind == 'redis':
        os.environ['BENCH_REDIS_URL'] = url
    elif entry.kind == 'file':
        return _load_file(name, entry)
    module = import_module(f'bench.peers.{entry.module}')
    return module.Adapter(name, url if entry.kind == 'redis' else 'memory://', **entry.options)


def _load_file(name: str, entry: Entry) -> Any:
    folder = TemporaryDirectory(prefix=f'bench-{name}-')
    path = os.environ['BENCH_FILE'] = os.path.join(folder.name, 'queue.db')
    options = dict(entry.options)
    url = f'sqlite:///{path}{options.pop("query", "")}'
    peer = import_module(f'bench.peers.{entry.module}').Adapter(name, url, **options)
    peer.folder = folder   # it goes with it
    return peer


def versions(name: str) -> dict[str, str]:
    """Versions of what a peer is made of; of those that are installed."""
    from importlib import metadata   # not for the workers, which import this package too
    found = {}
    for package in PEERS[name].packages:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            pass
    return found


def installed(name: str) -> bool:
    """Whether this Python has all that a peer needs."""
    return len(versions(name)) == len(PEERS[name].packages)
