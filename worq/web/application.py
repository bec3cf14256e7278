"""The page as an ASGI application: its files, what it asks, its live news, and its acts."""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from worq.errors import QueueError
from worq.printable import line, logger
from worq.view import View
from worq.web.acts import ACTS, Changed, act
from worq.web.feed import BEAT, LIFE, Feed, Full, Look, Tab, Topic
from worq.web.reads import READS, as_json

try:
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.datastructures import MutableHeaders
    from starlette.middleware import Middleware
    from starlette.requests import Request
    from starlette.responses import FileResponse, RedirectResponse, Response, StreamingResponse
    from starlette.routing import Mount, Route
    from starlette.staticfiles import StaticFiles
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from worq.web.access import ACT, NONE, Access, Allow, Who, foreign, not_ours
except ImportError as error:
    raise ImportError("worq.web needs starlette and uvicorn: pip install 'WorQ[web]'",
                      name=error.name) from error

__all__ = ['HEADERS', 'VIEWS', 'Request', 'app']

log = logger(__name__)

STATIC = Path(__file__).parent / 'static'
#: Addresses of the page; what each shows is told by ``static/main.js``.
VIEWS = ['', 'tasks', 'task', 'graph', 'failed', 'pools', 'schedules', 'log']
STREAMS = 64        # tabs that are open at a time
WATCHED = 8         # topics of a tab
ASKED = 16_000      # characters of one of them: an id may be long, and takes three for each byte
BODY = 1 << 20      # bytes of what an act is told
PATIENCE = 2.0      # seconds for which a queue that is out of reach is tried

HEADERS = {
    # What a queue holds may be hostile. So nothing runs or loads that is not a file of this page,
    # no other page can show it in a frame, and no text can become code.
    'content-security-policy': (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types worq"),
    'x-content-type-options': 'nosniff',
    'x-frame-options': 'DENY',
    'referrer-policy': 'no-referrer',   # ids are part of the address
    'cross-origin-opener-policy': 'same-origin',
    'cross-origin-resource-policy': 'same-origin',
}


def app(*brokers: Any, allow: Allow, who: Who | None = None,
        redact: Callable[[str, str, str], str] | None = None, streams: int = STREAMS) -> Starlette:
    """The page of some queues, as an ASGI application that can be mounted anywhere.

    :param brokers: of the queues; the first one is shown first.
    :param allow: says ``'none'``, ``'read'`` or ``'act'`` of a request: what who asks may do. A
        function, which may block, or a coroutine function. Nobody may do anything without it.
    :param who: the name of who asks, for the log of acts; see `worq.web.access.Access`.
    :param redact: what is shown of arguments and values, see `worq.view.View`.
    :param streams: tabs that are told news at a time. More have to ask for them.
    """
    return Page([broker.view(redact=redact) for broker in brokers], Access(allow, who),
                streams).application()


class Page:
    """The routes of an application.

    :param views: of the queues, the first one is meant where none is named.
    """

    def __init__(self, views: list[View], access: Access, streams: int) -> None:
        if not views:
            raise TypeError('the page is of no queue: app(broker, allow=...)')
        self.views = {view.broker.name: view for view in views}
        self.first = views[0].broker.name
        self.access = access
        self.feed = Feed(self.look, lambda topic: READS[topic.kind].every, streams)

    def __repr__(self) -> str:
        return f'<Page of {line(", ".join(self.views))}>'

    def application(self) -> Starlette:
        """With these routes."""
        made = Starlette(
            routes=[
                *(Route(f'/{name}', self.page) for name in VIEWS),
                Route('/api/me', self.me),
                Route('/api/live', self.live),
                Route('/api/act/{what}', self.act, methods=['POST']),
                Route('/api/{kind}', self.read),
                Mount('/static', StaticFiles(directory=STATIC))],
            middleware=[Middleware(Safe)])
        made.state.feed = self.feed
        return made

    # 1. -- files --

    async def page(self, request: Request) -> Response:
        """The one document there is; its program finds out what to show."""
        if await self.access.rights(request) == NONE:
            return problem(403, 'You may not see this page: the application says so.', plain=True)
        return FileResponse(STATIC / 'index.html', headers={'cache-control': 'no-cache'})

    # 2. -- what there is to see --

    async def me(self, request: Request) -> Response:
        """Who asks, what they may do, and which queues there are."""
        rights = await self.access.rights(request)
        if (refused := self.refused(request, rights)) is not None:
            return refused
        return answer(as_json({'rights': rights, 'who': await self.access.who(request),
                               'queues': [line(name) for name in self.views],
                               'acts': sorted(ACTS) if rights == ACT else []}))

    async def read(self, request: Request) -> Response:
        """One question, one answer."""
        if (refused := self.refused(request, await self.access.rights(request))) is not None:
            return refused
        topic = self.topic(request.path_params['kind'] + '?' + request.url.query)
        if topic is None:
            return problem(404, 'there is no such queue, or no such question')
        try:
            look = await run_in_threadpool(self.feed.ask, topic)
        except Full:
            return problem(503, 'too many ask at a time; try again')
        return answer(look.body, look.status)

    async def live(self, request: Request) -> Response:
        """News of what a tab shows, as server-sent events; ``watch`` names the questions."""
        if (refused := self.refused(request, await self.access.rights(request))) is not None:
            return refused
        topics: dict[str, Topic] = {}
        for text in request.query_params.getlist('watch')[:WATCHED]:
            topic = self.topic(text)
            if topic is None:
                return problem(404, 'there is no such queue, or no such question')
            topics[text] = topic
        try:
            tab = self.feed.open(topics)
        except Full:
            return problem(503, 'there are too many tabs; this one has to ask')
        return Stream(tab)

    def topic(self, text: str) -> Topic | None:
        """What ``tasks?state=failed&queue=mail`` asks; None if there is no such thing, or it is
        longer than anything that there is."""
        if len(text) > ASKED:
            return None
        kind, _, query = text.partition('?')
        asked = dict(parse_qsl(query, keep_blank_values=True))
        queue = asked.pop('queue', '') or self.first
        if kind not in READS or queue not in self.views:
            return None
        return Topic(queue, kind, tuple(sorted(asked.items())))

    def look(self, topic: Topic) -> Look:
        """What there is to say of it. It never raises."""
        view = self.views[topic.queue]
        try:
            with view.broker.backend.within(PATIENCE):
                value = READS[topic.kind].answer(view, dict(topic.asked))
            return Look(f'"value":{as_json(value)}')
        except ValueError as mistake:
            error, status = str(mistake), 400
        except QueueError as away:
            error, status = str(away), 503
        except Exception:
            log.exception('the page could not be told of %s', topic.kind)
            error, status = 'it went wrong; the log of the program has more', 500
        return Look(failed(status, error), status)

    # 3. -- what is done --

    async def act(self, request: Request) -> Response:
        """Do something, if whoever asks may, and this page asks."""
        rights = await self.access.rights(request)
        if rights == NONE:
            return self.refused(request, rights) or problem(403, '')
        if rights != ACT:
            return problem(403, 'You may look, and do nothing.')
        if reason := not_ours(request.headers):
            log.warning('an act was refused: %s', reason)
            return problem(403, f'This did not come from the page: {reason}.')
        what = request.path_params['what']
        if what not in ACTS:
            return problem(404, f'there is no act {line(what, 40)}')
        try:
            asked = json.loads(await body(request))
            view = self.views[asked.get('queue') or self.first]
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            return problem(400, 'an act is an object of JSON, of a queue that is shown here')
        by = await self.access.who(request)
        return await run_in_threadpool(self.done, view, what, asked, by)

    def done(self, view: View, what: str, asked: dict[str, Any], by: str) -> Response:
        """Do it, and answer."""
        try:
            with view.broker.backend.within(PATIENCE):
                found = act(view, what, asked, by)
        except Changed as changed:
            return answer(as_json({'error': str(changed), 'count': changed.count}), 409)
        except ValueError as mistake:
            return problem(400, str(mistake))
        except QueueError as error:
            return problem(503, str(error))
        except Exception:
            log.exception('%s could not be done', what)
            return problem(500, 'it went wrong; the log of the program has more')
        self.feed.hurry(view.broker.name)
        return answer(as_json(found))

    def refused(self, request: Request, rights: str) -> Response | None:
        """The answer for whoever may not look, or comes from elsewhere; None for all others."""
        if rights == NONE:
            return problem(403, 'You may not see this: the application says so.')
        if foreign(request.headers):
            return problem(403, 'This is for the page, and not for others.')
        return None


class Stream(StreamingResponse):
    """News for a tab, until either side ends."""

    def __init__(self, tab: Tab) -> None:
        super().__init__(self._events(tab), media_type='text/event-stream', headers={
            'cache-control': 'no-store', 'x-accel-buffering': 'no'})
        self._tab = tab

    @staticmethod
    async def _events(tab: Tab) -> AsyncIterator[str]:
        async for event in tab.events():
            yield event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            async with asyncio.timeout(LIFE + BEAT):   # for a client that reads nothing more
                await super().__call__(scope, receive, send)
        except TimeoutError:
            log.info('a tab has not read its news for long; it is closed')
        finally:
            self._tab.close()


class Safe:
    """Middleware: each answer has the headers that keep the page safe, and no failure tells of the
    program's inside."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope['type'] != 'http':
            await self.app(scope, receive, send)
            return
        root = scope.get('root_path', '')
        if root and scope['path'] == root:   # where it is mounted; what is relative needs the slash
            await RedirectResponse(f'{root}/', 307)(scope, receive, send)
            return

        async def safely(message: Message) -> None:
            if message['type'] == 'http.response.start':
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                headers.setdefault('cache-control', 'no-cache')
            await send(message)
        await self.app(scope, receive, safely)


async def body(request: Request) -> bytes:
    """What was sent, if it is not too much.

    :raises ValueError: if it is.
    """
    found = b''
    async for part in request.stream():
        found += part
        if len(found) > BODY:
            raise ValueError('too long')
    return found


def failed(status: int, error: str) -> str:
    """The inner part of a JSON object that tells what went wrong."""
    return f'"error":{as_json(line(error))},"status":{status}'


def answer(text: str, status: int = 200) -> Response:
    """JSON, which nobody keeps."""
    return Response(text, status, {'cache-control': 'no-store'}, 'application/json')


def problem(status: int, text: str, plain: bool = False) -> Response:
    """What went wrong, for a program, or for people."""
    if plain:
        return Response(f'{text}\n', status, {'cache-control': 'no-store'}, 'text/plain')
    return answer(f'{{{failed(status, text)}}}', status)
