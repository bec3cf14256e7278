"""Which server it is: the master that Sentinels name, or the node of a cluster that has a slot.

A finder is asked again whenever a connection broke or a server said that it is not the one.
It goes round those that it may ask and remembers who has answered, so that a dead one costs its
time-out once, and one that knows only old news is not asked twice in a row.
"""
from __future__ import annotations

import time
from typing import Any, Iterable, Sequence

from redis import exceptions as errors
from redis.connection import AbstractConnection

__all__ = ['Host', 'Finder', 'Sentinels', 'Cluster']

Host = tuple[str, int]

PATIENCE = 0.5   # seconds for one of several to answer; they are near, and do little


class Finder:
    """Asks one after the other, until one of them knows.

    :param hosts: whom to ask.
    :param kind: class of the connections.
    :param options: of a connection: how to log in, TLS.
    """

    what = ''

    def __init__(self, hosts: Iterable[Host], kind: type[AbstractConnection],
                 options: dict[str, Any]) -> None:
        self.hosts = list(hosts)
        self.kind = kind
        self.options = options

    def find(self, seconds: float) -> Host:
        """Where the server is.

        :param seconds: for all of it, though each one has a moment to answer.
        :raises redis.ConnectionError: if nobody knows; it says what each has answered.
        """
        limit = time.monotonic() + seconds
        reasons = []
        for host in list(self.hosts):
            left = limit - time.monotonic()
            if left <= 0:
                reasons.append('no time to ask the others')
                break
            try:
                found = self.ask(host, min(left, PATIENCE))
            except (errors.RedisError, LookupError, ValueError) as error:
                reasons.append(f'{host[0]}:{host[1]}: {error}')
                self._move(host, len(self.hosts))
                continue
            # next time another one is asked first, and this one before those that are dead
            self._move(host, 1)
            return found
        raise errors.ConnectionError(f'nobody knows {self.what} ({"; ".join(reasons)})')

    def ask(self, host: Host, seconds: float) -> Host:
        """Where it is, as one of them knows; ValueError or LookupError if it does not."""
        raise NotImplementedError

    def send(self, host: Host, seconds: float, *command: Any) -> Any:
        """The answer of one of them to a command."""
        options: dict[str, Any] = {**self.options, 'host': host[0], 'port': host[1]}
        connection = self.kind(**options, socket_timeout=seconds, socket_connect_timeout=seconds)
        try:
            connection.connect()
            connection.send_command(*command, check_health=False)
            return connection.read_response()
        finally:
            connection.disconnect()

    def _move(self, host: Host, place: int) -> None:
        hosts = [one for one in self.hosts if one != host]
        if len(hosts) < len(self.hosts):   # it may have gone
            hosts.insert(place, host)
            self.hosts = hosts   # in one step, without a lock: that another's is lost does no harm


class Sentinels(Finder):
    """Finds the master of a service that Sentinels watch."""

    def __init__(self, hosts: Iterable[Host], kind: type[AbstractConnection],
                 options: dict[str, Any], service: str) -> None:
        super().__init__(hosts, kind, options)
        self.service = service
        self.what = f'the master of {service!r}'

    def ask(self, host: Host, seconds: float) -> Host:
        found = self.send(host, seconds, 'SENTINEL', 'GET-MASTER-ADDR-BY-NAME', self.service)
        if not found:
            raise LookupError('it watches no such service')
        return found[0].decode(), int(found[1])


class Cluster(Finder):
    """Finds the node of a cluster that has a slot."""

    def __init__(self, hosts: Iterable[Host], kind: type[AbstractConnection],
                 options: dict[str, Any], slot: int) -> None:
        super().__init__(hosts, kind, options)
        self.slot = slot
        self.what = f'which node has slot {slot}'

    def ask(self, host: Host, seconds: float) -> Host:
        found: list[Host] = []
        for first, last, *nodes in self.send(host, seconds, 'CLUSTER', 'SLOTS'):
            # a node that does not know its own name leaves it out
            named = [(node[0].decode() if node[0] else host[0], int(node[1])) for node in nodes]
            self._know(named)
            if first <= self.slot <= last:
                found = named
        if not found:
            raise LookupError('no node has it')
        return found[0]

    def _know(self, nodes: Sequence[Host]) -> None:
        """Whoever was named in the URL may be gone one day, and others be there."""
        self.hosts = self.hosts + [node for node in nodes if node not in self.hosts]
