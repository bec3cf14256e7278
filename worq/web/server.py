"""The page served by uvicorn: to this machine alone, or to whoever has the token."""
from __future__ import annotations

import base64
from binascii import Error as NoBase64
from hmac import compare_digest
from ipaddress import ip_address
import re
import socket
from threading import Thread
from types import FrameType

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

try:
    import uvicorn
except ImportError as error:
    raise ImportError("worq.web needs starlette and uvicorn: pip install 'WorQ[web]'",
                      name=error.name) from error

__all__ = ['LEAST', 'Guard', 'Server', 'guarded_name', 'is_loopback']

LEAST = 20     # letters of a token
NAME = 'worq.who'   # of a scope: the name with which somebody has given the token
ENDS = 3       # seconds that requests have to end when it is stopped
CLIENTS = 500  # connections at a time; a browser has some six
HOST = re.compile(r'(\[[0-9a-f:.]+\]|[^:\[\]]*)(?::\d*)?')   # and perhaps a port


class Guard:
    """Lets only those through who are meant.

    Without a token it must be this machine, by a name that only it has: a page elsewhere whose name
    was made to lead here (DNS rebinding) has another one. With a token it is who has it: as
    the password of any user, or as ``Authorization: Bearer TOKEN``.

    :param host: where it listens.
    :param token: empty: there is none.
    """

    def __init__(self, app: Starlette, host: str, token: str = '') -> None:
        self.app = app
        self.token = token.encode()
        self.hosts = {'localhost', '127.0.0.1', '::1', host} if is_loopback(host) else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':   # there are no others
            return
        headers = Headers(scope=scope)
        refusal = None
        if self.hosts is not None and host_of(headers.get('host', '')) not in self.hosts:
            refusal = PlainTextResponse('This page is for this machine: ask for it as localhost.\n',
                                        421)
        elif self.token:
            name = named(headers.get('authorization', ''), self.token)
            scope[NAME] = name
            if name is None:
                refusal = PlainTextResponse('The token is wanted, as password; any name will do.\n',
                                            401, {'www-authenticate': 'Basic realm="WorQ"'})
        await (refusal or self.app)(scope, receive, send)


class Server:
    """Serves an application until it is closed; the port is taken at once.

    :param app: what ``worq.web.app`` has made.
    :param host: where it listens.
    :param port: 0: any that is free, see `port`.
    :param token: what others have to know; it is needed unless `host` is this machine's alone.
    :raises ValueError: if it is missing, or too short.
    :raises OSError: if it cannot listen there.
    """

    def __init__(self, app: Starlette, host: str = '127.0.0.1', port: int = 0,
                 token: str = '') -> None:
        if token and len(token) < LEAST:
            raise ValueError(f'the token is short: {len(token)} letters of at least {LEAST}')
        if not token and not is_loopback(host):
            raise ValueError(f'whoever reaches {host} could read the queue, and cancel tasks: '
                             'there has to be a token')
        family = socket.AF_INET6 if ':' in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=100)
        self.port: int = self._socket.getsockname()[1]
        self.url = f'http://{f"[{host}]" if ":" in host else host}:{self.port}/'
        self._server = Stopping(uvicorn.Config(
            Guard(app, host, token), log_config=None, log_level='error', access_log=False,
            lifespan='off', ws='none', proxy_headers=False, server_header=False,
            timeout_graceful_shutdown=ENDS, limit_concurrency=CLIENTS), app)
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        return f'<Server at {self.url}>'

    def start(self) -> None:
        """Serve in a thread."""
        self._thread = Thread(target=self.run, name='worq-web-server', daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Serve until it is closed, or interrupted."""
        self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Serve no more. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.stop()
            thread.join()
        self._socket.close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Stopping(uvicorn.Server):
    """One that does not wait for tabs when it is to stop."""

    def __init__(self, config: uvicorn.Config, app: Starlette) -> None:
        super().__init__(config)
        self._app = app

    def stop(self) -> None:
        """End soon."""
        self.should_exit = True
        self._app.state.feed.stop()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self._app.state.feed.stop()


def guarded_name(request: Request) -> str:
    """The name with which somebody has given the token; empty if there is none."""
    return str(request.scope.get(NAME) or '')


def named(authorization: str, token: bytes) -> str | None:
    """The name of whoever has given the token, empty if they gave none; None: it was not given."""
    kind, _, given = authorization.partition(' ')
    name, secret = '', b''
    if kind.lower() == 'bearer':
        secret = given.strip().encode('latin-1')   # as it was read; the bytes are what counts
    elif kind.lower() == 'basic':
        try:
            user, _, secret = base64.b64decode(given, validate=True).partition(b':')
            name = user.decode('utf-8', 'replace')
        except (NoBase64, ValueError):
            pass
    return name if compare_digest(secret, token) else None


def host_of(text: str) -> str:
    """The host of ``HOST:PORT``, without the brackets of an address; empty if it is none."""
    found = HOST.fullmatch(text.lower())
    return found[1].strip('[]') if found else ''


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return host == 'localhost' or ip_address(host).is_loopback
    except ValueError:
        return False
