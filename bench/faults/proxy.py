"""A TCP proxy that can be told to behave badly.

One thread runs it. Connections are pairs of streams; what the proxy does with a chunk of
bytes depends on the mode at that moment. Modes:

============ ======================================================================
``pass_on``  as if it were not there; heals the others, but no connection that is dead
``delay``    every chunk comes later
``hold``     nothing goes through; when it is healed, everything does: a network that
             was cut and is whole again
``blackhole`` what comes is dropped. Connections that live through it stay dead: a
             firewall that has forgotten them
``reset``    every connection is reset, new ones at once
``half_open`` the server's side is closed, the client is not told
``cut``      each connection is reset after so many more bytes of replies
``swallow``  a share of the requests is forwarded, and their replies are lost with
             the connection
``lose``     the same for the next request, and from then on ``pass_on``
============ ======================================================================
"""
from __future__ import annotations

import asyncio
import random
import socket
import struct
import threading
from typing import Any, Callable

__all__ = ['Proxy']

CHUNK = 1 << 16


class Link:
    """A connection through the proxy: the client's stream and the server's."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.dead = False            # nothing comes through it any more
        self.swallow = False         # the next reply is lost
        self.left: int | None = None  # bytes of replies until it is cut

    def reset(self) -> None:
        """End both sides without the usual courtesy."""
        for writer in (self.client, self.server):
            if writer is not None:
                sock = writer.get_extra_info('socket')
                if sock is not None and sock.fileno() >= 0:
                    linger = struct.pack('ii', 1, 0)
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                writer.transport.abort()


class Proxy:
    """Stands before a server on loopback. Use it as a ``with``; any thread may change its mode.

    :param port: of the server.
    :param seed: of what is left to chance.
    """

    def __init__(self, port: int, seed: int = 0) -> None:
        self.target = port
        self._rand = random.Random(seed)
        self._links: set[Link] = set()
        self._mode = 'pass_on'
        self._amount: Any = None
        self.swallowed = 0           #: replies that were lost so far
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name='proxy', daemon=True)
        self._started = threading.Event()
        self._thread.start()
        self._started.wait()

    def __repr__(self) -> str:
        return f'<Proxy {self.port} -> {self.target}, {self._mode}>'

    @property
    def url(self) -> str:
        """What to use in place of the server's URL."""
        return f'redis://127.0.0.1:{self.port}/0'

    # -- modes ----------------------------------------------------------------

    def pass_on(self) -> None:
        self._change('pass_on')

    def delay(self, seconds: float) -> None:
        self._change('delay', seconds)

    def hold(self) -> None:
        self._change('hold')

    def blackhole(self) -> None:
        self._change('blackhole', each=lambda link: setattr(link, 'dead', True))

    def reset(self) -> None:
        self._change('reset', each=Link.reset)

    def half_open(self) -> None:
        def abandon(link: Link) -> None:
            link.dead = True
            if link.server is not None:
                link.server.transport.abort()
        self._change('half_open', each=abandon)

    def cut(self, least: int, most: int) -> None:
        """Each connection is good for a number of bytes between these."""
        def count(link: Link) -> None:
            link.left = self._rand.randint(least, most)
        self._change('cut', (least, most), count)

    def swallow(self, share: float) -> None:
        self._change('swallow', share)

    def lose(self) -> None:
        self._change('lose')

    def kill_silently(self, ports: set[int]) -> int:
        """Nothing more comes through connections that the server sees as from these ports.

        :returns: how many there were.
        """
        found: list[Link] = []
        done = threading.Event()

        def kill() -> None:
            for link in self._links:
                sock = link.server and link.server.get_extra_info('socket')
                if sock and sock.fileno() >= 0 and sock.getsockname()[1] in ports:
                    link.dead = True
                    found.append(link)
            done.set()
        self._loop.call_soon_threadsafe(kill)
        done.wait()
        return len(found)

    def _change(self, mode: str, amount: Any = None,
                each: Callable[[Link], object] = lambda link: None) -> None:
        done = threading.Event()

        def change() -> None:
            self._mode, self._amount = mode, amount
            if mode != 'hold':
                self._flows.set()
            else:
                self._flows.clear()
            if mode != 'cut':
                for link in self._links:
                    link.left = None
            for link in list(self._links):
                each(link)
            done.set()
        self._loop.call_soon_threadsafe(change)
        done.wait()

    # -- the thread -----------------------------------------------------------

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows = asyncio.Event()
        self._flows.set()
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, '127.0.0.1', 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for link in list(self._links):
            link.reset()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0.01))
        self._loop.close()

    def close(self) -> None:
        """End it, and all connections. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        link = Link(writer)
        self._links.add(link)
        try:
            if self._mode == 'reset':
                link.reset()
                return
            link.dead = self._mode in ('blackhole', 'half_open')
            replies = None
            if not link.dead:
                if self._mode == 'cut':
                    link.left = self._rand.randint(*self._amount)
                replies, link.server = await asyncio.open_connection('127.0.0.1', self.target)
            back = replies and asyncio.ensure_future(self._replies(link, replies))
            try:
                await self._requests(link, reader)
            finally:
                if back:
                    back.cancel()
        except (OSError, asyncio.CancelledError):
            pass   # the server is away, or one side has gone
        finally:
            link.reset()
            self._links.discard(link)

    async def _requests(self, link: Link, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(CHUNK):
            await self._pause()
            if link.dead or link.server is None:
                continue
            if self._mode == 'swallow' and self._rand.random() < self._amount:
                link.swallow = True
            elif self._mode == 'lose':
                link.swallow, self._mode = True, 'pass_on'
            link.server.write(data)
            await link.server.drain()

    async def _replies(self, link: Link, reader: asyncio.StreamReader) -> None:
        try:
            while data := await reader.read(CHUNK):
                await self._pause()
                if link.dead:
                    continue
                if link.swallow:
                    self.swallowed += 1
                    break
                if link.left is not None:
                    data, link.left = data[:link.left], link.left - len(data)
                link.client.write(data)
                await link.client.drain()
                if link.left is not None and link.left <= 0:
                    break
        except OSError:
            pass
        if not link.dead:
            link.reset()

    async def _pause(self) -> None:
        if self._mode == 'delay':
            await asyncio.sleep(self._amount)
        await self._flows.wait()
