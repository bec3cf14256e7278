"""``worq metrics``: the numbers of queues for Prometheus, printed or served."""
from __future__ import annotations

from worq.cli.session import Session
from worq.cli.usage import HOST, OK, Command, Parser, Refused, place

__all__ = ['METRICS']

PORT = 9100


def metrics(session: Session) -> int:
    """Print the metrics, or serve them until it is interrupted."""
    try:
        from worq import metrics as found
    except ImportError as error:
        raise Refused(str(error)) from error
    brokers = [session.broker(name) for name in session.queues]
    if session.args.serve is None:
        if session.out.as_json:
            for broker in brokers:
                session.out.object(found.scale(broker))
        else:
            print(found.text(*brokers), end='', file=session.out.file)
        return OK
    host, port = place(session.args.serve)
    return session.serve(
        lambda: found.Server(*brokers, host=host, port=port), f'{host}:{port}',
        lambda server: f'http://{host}:{server.port}/metrics, /scale.json and /healthz')


def arguments(parser: Parser) -> None:
    """Of ``metrics``."""
    parser.add_argument('--serve', nargs='?', const=f'{HOST}:{PORT}', metavar='[HOST:]PORT',
                        help=f'serve them by HTTP, until it is interrupted; on {HOST}:{PORT} if '
                        'nothing is said. Whoever reaches the port reads names of tasks and hosts')


METRICS = Command(metrics, 'What queues count, for Prometheus: sizes, ages, what tasks came to and '
                           'how long they took. It needs WorQ[prometheus].', arguments, '''\
  worq metrics                       once, in the format of OpenMetrics
  worq metrics --serve 0.0.0.0:9100 -q default,mail
  worq metrics --json                how many workers are wanted, by queue''',
                  queues='several')
