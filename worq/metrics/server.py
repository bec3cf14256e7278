"""A small web server for those who read metrics: Prometheus, KEDA, a probe."""
from __future__ import annotations

from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
import json
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.exposition import generate_latest

from worq.errors import QueueError
from worq.metrics.collector import Collector
from worq.metrics.scale import scale
from worq.printable import logger

__all__ = ['Server', 'serve', 'text']

log = logger(__name__)

SILENT = 30.0   # seconds without a request, after which a connection is closed


class Server:
    """Serves ``/metrics``, ``/scale.json`` and ``/healthz`` until it is closed.

    ``/scale.json?queue=NAME&target=60`` is what `scale` tells; ``/healthz`` whether all queues can
    be reached. It tells names of tasks, hosts and numbers, no arguments and no results; and whoever
    reaches the port may read that.

    :param brokers: of the queues; ``/scale.json`` is of the first one, unless it is asked for
        another.
    :param host: where it listens: only this machine, by default.
    :param port: 0: any that is free, see `port`.
    """

    def __init__(self, *brokers: Any, host: str = '127.0.0.1', port: int = 9100) -> None:
        self.brokers = {broker.name: broker for broker in reversed(brokers)}
        self.first = brokers[0]
        registry = CollectorRegistry()
        registry.register(Collector(*brokers))
        handler = type('Handler', (Handler,), {'server_of': self, 'registry': registry})
        self._server = ThreadingHTTPServer((host, port), handler)
        self._server.daemon_threads = True
        self.port: int = self._server.server_address[1]
        self._thread: Thread | None = None

    def __repr__(self) -> str:
        return f'<Server of {", ".join(self.brokers)} on port {self.port}>'

    def start(self) -> None:
        """Serve in a thread."""
        self._thread = Thread(target=self.run, name='worq-metrics', daemon=True)
        self._thread.start()

    def run(self) -> None:
        """Serve until it is closed, or interrupted."""
        self._server.serve_forever(poll_interval=0.1)

    def close(self) -> None:
        """Serve no more. May be called twice."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._server.shutdown()
            thread.join()
        self._server.server_close()

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def text(*brokers: Any) -> str:
    """The metrics of these queues as they are now, in the format of OpenMetrics."""
    registry = CollectorRegistry()
    registry.register(Collector(*brokers))
    return str(generate_latest(registry), 'utf-8')


def serve(*brokers: Any, host: str = '127.0.0.1', port: int = 9100) -> None:
    """Serve metrics until this is interrupted.

    :param brokers: of the queues.
    :param host: where it listens, see `Server`, as for `port`.
    :raises OSError: if it cannot listen there.
    """
    server = Server(*brokers, host=host, port=port)
    try:
        server.run()
    finally:
        server.close()


class Handler(BaseHTTPRequestHandler):
    """A request."""

    server_of: Server
    registry: CollectorRegistry
    timeout = SILENT
    server_version = 'WorQ'
    sys_version = ''

    def do_GET(self) -> None:
        """Answer it."""
        parts = urlsplit(self.path)
        try:
            if parts.path == '/metrics':
                encode, kind = choose_encoder(self.headers.get('Accept', ''))
                self._answer(HTTPStatus.OK, kind, encode(self.registry))
            elif parts.path == '/scale.json':
                self._scale({name: values[-1] for name, values in parse_qs(parts.query).items()})
            elif parts.path == '/healthz':
                for broker in self.server_of.brokers.values():
                    broker.backend.ping()
                self._text(HTTPStatus.OK, 'ok')
            else:
                self._text(HTTPStatus.NOT_FOUND, 'there are /metrics, /scale.json and /healthz')
        except QueueError as error:
            self._text(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
        except Exception:
            log.exception('%s could not be answered', parts.path)
            self._text(HTTPStatus.INTERNAL_SERVER_ERROR, 'see the log')

    do_HEAD = do_GET

    def _scale(self, asked: dict[str, str]) -> None:
        server = self.server_of
        broker = server.brokers.get(asked['queue']) if 'queue' in asked else server.first
        if broker is None:
            self._text(HTTPStatus.NOT_FOUND, f'there are the queues {", ".join(server.brokers)}')
            return
        try:
            found = scale(broker, float(asked.get('target', 60)))
        except ValueError as error:
            self._text(HTTPStatus.BAD_REQUEST, str(error))
            return
        self._answer(HTTPStatus.OK, 'application/json', json.dumps(found._asdict()).encode())

    def _text(self, status: HTTPStatus, text: str) -> None:
        self._answer(status, 'text/plain; charset=utf-8', f'{text}\n'.encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header('Content-Type', kind)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD':
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing of requests that went well; the program's own log has the rest."""
        log.debug(format, *args)
