"""A proxy that counts the round trips of those who talk to a Redis server through it."""
from __future__ import annotations

import select
import socket
import threading
from urllib.parse import urlsplit, urlunsplit

__all__ = ['CountingProxy']


class CountingProxy:
    """Passes everything on. A round trip is a request that follows a reply (or is the first)
    on its connection: so a pipeline, however long, is one, and so is a command that blocks.

    :param url: of the server, ``redis://HOST:PORT/DB``; ``self.url`` is what to use in place
        of it.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.target = (parts.hostname or '127.0.0.1', parts.port or 6379)
        self.listener = socket.create_server(('127.0.0.1', 0))
        port = self.listener.getsockname()[1]
        self.url = urlunsplit(parts._replace(netloc=f'127.0.0.1:{port}'))
        self.trips = 0
        self._stop_in, self._stop_out = socket.socketpair()
        self._thread = threading.Thread(target=self._run, name='proxy')
        self._thread.start()

    def __enter__(self) -> CountingProxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop_in.close()
        self._thread.join()

    def _run(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        clients: set[socket.socket] = set()
        asked: set[socket.socket] = set()  # clients whose last word was a request
        poll = select.epoll()
        by_fd: dict[int, socket.socket] = {}

        def listen(end: socket.socket) -> None:
            by_fd[end.fileno()] = end
            poll.register(end.fileno(), select.EPOLLIN)

        def close(*ends: socket.socket) -> None:
            for end in ends:
                poll.unregister(end.fileno())
                del by_fd[end.fileno()]
                other.pop(end, None)
                clients.discard(end)
                asked.discard(end)
                end.close()

        listen(self.listener)
        listen(self._stop_out)
        while True:
            for fd, _ in poll.poll():
                end = by_fd.get(fd)
                if end is self._stop_out:
                    close(*list(by_fd.values()))
                    poll.close()
                    return
                if end is self.listener:
                    client, _ = self.listener.accept()
                    server = socket.create_connection(self.target)
                    for one, its_other in [(client, server), (server, client)]:
                        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                        other[one] = its_other
                        listen(one)
                    clients.add(client)
                elif end is not None:
                    try:
                        data = end.recv(1 << 20)
                        other[end].sendall(data)
                    except OSError:
                        data = b''
                    if not data:
                        close(end, other[end])
                    elif end not in clients:
                        asked.discard(other[end])
                    elif end not in asked:
                        asked.add(end)
                        self.trips += 1
