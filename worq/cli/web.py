"""``worq web``: the page, served to this machine or to whoever has a token."""
from __future__ import annotations

import os

from worq.cli.redact import redact, redacting
from worq.cli.session import Session, person
from worq.cli.usage import HOST, Command, Parser, Refused, place

__all__ = ['WEB']

PORT = 8765
TOKEN = 'WORQ_WEB_TOKEN'


def web(session: Session) -> int:
    """Serve the page until it is interrupted."""
    try:
        from worq import web as page
    except ImportError as error:
        raise Refused(str(error)) from error
    args = session.args
    host, port = place(args.listen)
    rights = 'read' if args.read_only else 'act'
    token = os.environ.get(TOKEN, '')
    me = person()

    def who(request: page.Request) -> str:
        if not token:
            return me
        host = request.client.host if request.client else ''
        return f'{page.guarded_name(request) or "somebody"} at {host}'

    app = page.app(*(session.broker(name) for name in session.queues),
                   allow=lambda request: rights, who=who, redact=redact(session))

    def make() -> page.Server:
        try:
            return page.Server(app, host, port, token)
        except ValueError as missing:
            raise Refused(f'{missing}. Set {TOKEN} to a text of your own, as python -c "import '
                          'secrets; print(secrets.token_urlsafe())" prints it') from None
    more = f' (any user name; the password is what {TOKEN} says)' if token else ''
    return session.serve(make, f'{host}:{port}', lambda server: server.url + more)


def arguments(parser: Parser) -> None:
    """Of ``web``."""
    parser.add_argument('--listen', default=f'{HOST}:{PORT}', metavar='[HOST:]PORT',
                        help=f'where; by default {HOST}:{PORT}, which only this machine reaches. '
                        f'Elsewhere {TOKEN} must be set: the password')
    parser.add_argument('--read-only', action='store_true', help='nobody can act')
    redacting(parser)


WEB = Command(web, 'A page in a browser: a queue live, its tasks and why they wait, its pools, and '
                   'acts as to cancel. It needs WorQ[web].', arguments, '''\
  worq web                           then open http://127.0.0.1:8765/
  worq web -q default,mail --read-only
  worq web --listen 0.0.0.0:8765     with a password in WORQ_WEB_TOKEN''',
              queues='several')
