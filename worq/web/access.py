"""Who may see the page and who may act, and whether a request comes from the page itself."""
from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
import inspect
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from worq.printable import line, logger

__all__ = ['ACT', 'NONE', 'READ', 'Access', 'Allow', 'Who', 'foreign', 'not_ours']

log = logger(__name__)

NONE, READ, ACT = RIGHTS = 'none', 'read', 'act'
HEADER = 'x-worq'   # that no form can send, and no page of another origin without being asked first
OWN = 'same-origin', 'none'   # none: somebody has typed the address
NAME = 200   # letters of who it is

Allow = Callable[[Request], str | Awaitable[str]]
Who = Callable[[Request], str | Awaitable[str]]


class Access:
    """What an application says of who asks.

    :param allow: says ``'none'``, ``'read'`` or ``'act'`` of a request; a function or a coroutine
        function. What it raises, and whatever else it says, counts as ``'none'`` and is logged.
    :param who: the name of who asks, for the log of acts. By default that of ``request.user``, if
        there is an authentication, or else the address of the client.
    """

    def __init__(self, allow: Allow, who: Who | None = None) -> None:
        self._allow = allow
        self._who = who or name_of

    async def rights(self, request: Request) -> str:
        """What who asks may do."""
        try:
            said = await called(self._allow, request)
        except Exception:
            log.exception('allow() of the page has failed, so nobody may see it')
            return NONE
        if said in RIGHTS:
            return str(said)
        log.error('allow() of the page has returned %r; it is one of %s', said, ', '.join(RIGHTS))
        return NONE

    async def who(self, request: Request) -> str:
        """The name of who asks; never empty, for what is done is noted with it."""
        return line(await called(self._who, request), NAME) or name_of(request)


async def called(function: Callable[[Request], Any], request: Request) -> Any:
    """The answer of a function, which may block, or of a coroutine function."""
    if inspect.iscoroutinefunction(function):
        return await function(request)
    answer = await run_in_threadpool(function, request)
    return await answer if inspect.isawaitable(answer) else answer


def name_of(request: Request) -> str:
    """The name of the user, as Starlette's authentication tells it; else the client's address."""
    user = request.scope.get('user')
    name = getattr(user, 'display_name', '') if getattr(user, 'is_authenticated', False) else ''
    place = f' at {request.client.host}' if request.client else ''
    return line(name, NAME) or f'somebody{place}'


def foreign(headers: Mapping[str, str]) -> bool:
    """Whether a browser says that a page of another origin has sent this request.

    The page's own requests have no ``Origin``, unless they change something.
    """
    site = headers.get('sec-fetch-site')
    return site not in OWN if site is not None else bool(headers.get('origin')) and not own(headers)


def not_ours(headers: Mapping[str, str]) -> str:
    """Why a request that is to change something does not come from the page; empty if it does.

    Browsers that know ``Sec-Fetch-Site`` leave it out where a site has no encryption. Then there
    is ``Origin``, which has to be the host that was asked.
    """
    if headers.get(HEADER) != '1':
        return 'the header X-WorQ: 1 is missing'
    site = headers.get('sec-fetch-site')
    if site is not None:
        return '' if site == 'same-origin' else f'it comes from another origin ({line(site, 40)})'
    origin = headers.get('origin', '')
    if not origin:
        return 'it does not tell where it comes from: Sec-Fetch-Site and Origin are missing'
    return '' if own(headers) else f'it comes from another origin ({line(origin, 200)})'


def own(headers: Mapping[str, str]) -> bool:
    """Whether the origin is the host that was asked."""
    host, origin = headers.get('host', '').lower(), headers.get('origin', '').lower()
    return bool(host) and origin in (f'http://{host}', f'https://{host}')
