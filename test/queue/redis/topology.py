"""Several Redis servers that belong together, a master with Sentinels, a cluster; a slow link."""
from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path
from typing import Any, Callable

from test import support
from test.support import Server, eventually, find_binary

__all__ = ['Watched', 'Cluster', 'Slow']

SLOTS = 16384
PATIENCE = 30   # seconds for servers to find each other


class Sentinel(Server):
    """A Sentinel, which keeps a file of its own."""

    def __init__(self, service: str, master: Server) -> None:
        self.service = service
        self.master = master
        super().__init__(find_binary())

    def command(self) -> list[str]:
        path = Path(self.folder, 'sentinel.conf')
        if not path.exists():
            path.write_text('\n'.join([
                f'port {self.port}', 'bind 127.0.0.1', f'dir {self.folder}',
                f'sentinel monitor {self.service} 127.0.0.1 {self.master.port} 2',
                f'sentinel down-after-milliseconds {self.service} 500',
                f'sentinel failover-timeout {self.service} 5000', '']))
        return [self.binary, str(path), '--sentinel']

    def state(self) -> dict[str, str]:
        """What it knows of the service, field by field."""
        flat = [text.decode() for text in self.cli('SENTINEL', 'MASTER', self.service)]
        return dict(zip(flat[::2], flat[1::2]))


class Watched:
    """A master, a replica and three Sentinels; use it as a ``with``."""

    def __init__(self) -> None:
        self.service = 'tasks'
        quick = '--repl-diskless-sync', 'yes', '--repl-diskless-sync-delay', '0'
        self.stack = contextlib.ExitStack()
        with self.stack:
            self.master = self.stack.enter_context(support.start_redis(*quick))
            self.replica = self.stack.enter_context(support.start_redis(
                *quick, '--replicaof', '127.0.0.1', str(self.master.port)))
            self.sentinels = [
                self.stack.enter_context(Sentinel(self.service, self.master))
                for _ in range(3)]
            for one in self.sentinels:
                eventually(lambda one=one: (   # type: ignore[misc]
                    one.state()['num-other-sentinels'], one.state()['num-slaves']),
                    ('2', '1'), PATIENCE)
            eventually(lambda: self.replica.replication().get('master_link_status'),
                       'up', PATIENCE)
            self.stack = self.stack.pop_all()

    @property
    def url(self) -> str:
        hosts = ','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)
        return f'redis+sentinel://{hosts}/{self.service}/0'

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stack.close()


class Node(Server):
    """A node of a cluster: it needs a second port, 10000 above the first."""

    def __init__(self) -> None:
        super().__init__(find_binary(), '--cluster-enabled', 'yes',
                         '--cluster-node-timeout', '1000', '--repl-diskless-sync', 'yes',
                         '--repl-diskless-sync-delay', '0', '--appendonly', 'yes')

    def command(self) -> list[str]:
        while not Path(self.folder, 'nodes.conf').exists():
            with contextlib.suppress(OSError, OverflowError), socket.socket() as probe:
                probe.bind(('127.0.0.1', self.port + 10000))
                break
            self.port = support.free_port()
            self.url = f'redis://127.0.0.1:{self.port}/0'
        return super().command()

    @property
    def id(self) -> str:
        return str(self.cli('CLUSTER', 'MYID').decode())


class Cluster:
    """Three masters, and a replica of the one that has a slot; use it as a ``with``."""

    def __init__(self, slot: int) -> None:
        self.slot = slot
        self.stack = contextlib.ExitStack()
        with self.stack:
            *self.masters, self.replica = self.nodes = [
                self.stack.enter_context(Node()) for _ in range(4)]
            step = SLOTS // 3 + 1
            for index, node in enumerate(self.masters):
                span = range(index * step, min(SLOTS, (index + 1) * step))
                node.cli('CLUSTER', 'ADDSLOTS', *span)
                if slot in span:
                    self.owner = node
                node.cli('CLUSTER', 'SET-CONFIG-EPOCH', index + 1)
            for node in self.nodes[1:]:
                node.cli('CLUSTER', 'MEET', '127.0.0.1', self.nodes[0].port)
            for node in self.nodes:
                eventually(lambda node=node: self.info(node), ('ok', '4'), PATIENCE)
            self.replica.cli('CLUSTER', 'REPLICATE', self.owner.id)
            eventually(lambda: self.replica.replication().get('master_link_status'),
                       'up', PATIENCE)
            for node in self.nodes:   # all know that there is somebody to take over
                eventually(lambda node=node: self.slaves(node), 1, PATIENCE)
            self.stack = self.stack.pop_all()

    def info(self, node: Server) -> tuple[str, str]:
        text = node.cli('CLUSTER', 'INFO').decode()
        found = dict(line.split(':', 1) for line in text.split('\r\n') if line)
        return found['cluster_state'], found['cluster_known_nodes']

    def slaves(self, node: Server) -> int:
        return len(node.cli('CLUSTER', 'REPLICAS', self.owner.id))

    @property
    def url(self) -> str:
        return f'redis+cluster://127.0.0.1:{self.nodes[0].port},127.0.0.1:{self.nodes[1].port}/'

    def migrate(self, target: Server) -> None:
        """Move what keys there are now of a slot that is being moved."""
        while keys := self.owner.cli('CLUSTER', 'GETKEYSINSLOT', self.slot, 100):
            self.owner.cli('MIGRATE', '127.0.0.1', target.port, '', 0, 5000, 'KEYS', *keys)

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stack.close()


class Slow:
    """A link to a server on loopback that passes so many bytes a second; use it as a ``with``.

    Each connection has two threads, one for each direction.
    """

    CHUNK = 16 << 10

    def __init__(self, port: int, rate: float = 1e9) -> None:
        self.target = port
        self.rate = rate                      #: bytes a second of a connection, each way
        self.most: int | None = None          #: bytes of requests after which one is cut ...
        self.cuts = 0                         #: ... and how often that has been
        self.longest = 0                      #: bytes of requests of one connection, the most
        self.replied = 0                      #: bytes of all replies
        self.flows = threading.Event()        #: clear it, and nothing goes through
        self.flows.set()
        self.sockets: list[socket.socket] = []
        self.threads: list[threading.Thread] = []
        self.door = socket.create_server(('127.0.0.1', 0))
        self.port = self.door.getsockname()[1]
        self._start(self._accept)

    def url(self, query: str = '') -> str:
        """What to use in place of the server's URL."""
        return f'redis://127.0.0.1:{self.port}/0{query}'

    def _start(self, run: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=run, args=args, name='slow', daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.door.accept()
                server = socket.create_connection(('127.0.0.1', self.target))
                for one in client, server:
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    self.sockets.append(one)
                self._start(self._pass_on, client, server, True)
                self._start(self._pass_on, server, client, False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, asks: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(self.CHUNK):
                time.sleep(len(data) / self.rate)
                self.flows.wait()
                passed += len(data)
                if asks:
                    self.longest = max(self.longest, passed)
                else:
                    self.replied += len(data)
                if asks and self.most is not None and passed > self.most:
                    self.cuts += 1
                    break
                sink.sendall(data)
        for one in source, sink:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Slow:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.rate = 1e9
        self.flows.set()
        for one in [self.door, *self.sockets]:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in list(self.threads):
            thread.join()
        for one in [self.door, *self.sockets]:
            one.close()
