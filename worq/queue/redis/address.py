"""URLs of Redis, read: what a connection is made of, and how the server is found."""
from __future__ import annotations

from functools import partial
import re
from typing import Any, Callable, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote

from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.crc import key_slot

from worq import const
from worq.queue.redis import packing
from worq.queue.redis.discovery import Cluster, Finder, Host, Sentinels
from worq.trust import HIDDEN, split, without_password

__all__ = ['Address', 'parse', 'BLOCK']

BLOCK = 1.0         # seconds that a command may block in Redis
TIMEOUT = 5.0       # seconds without an answer after which a connection is given up

OPTIONS: dict[str, Callable[[str], object]] = {
    'db': int, 'timeout': float, 'durable': int,
    'sentinel_username': str, 'sentinel_password': str,
    'ssl_ca_certs': str, 'ssl_ca_path': str, 'ssl_certfile': str, 'ssl_keyfile': str,
    'ssl_password': str,
    'ssl_cert_reqs': lambda text: {'none': 'none', 'optional': 'optional',
                                   'required': 'required'}[text.lower()],
    'ssl_check_hostname': lambda text: {'true': True, 'false': False}[text.lower()],
}
HINTS = {'ssl_check_hostname': 'write true or false',
         'ssl_cert_reqs': 'write none, optional or required'}
NAME = re.compile(r'[\w.-]+|[\da-fA-F]*:[\da-fA-F:.]*(?:%[\w.-]+)?')   # of a host
PORTS = {'': 6379, 'cluster': 6379, 'sentinel': 26379}


class Address(NamedTuple):
    """Where Redis is: what a connection is made of, and how it may be shown."""

    kind: type[AbstractConnection]
    options: dict[str, Any]
    label: str                      #: the URL without its password
    timeout: float                  #: seconds without an answer
    durable: int                    #: replicas that must have what is put
    finder: Finder | None = None    #: tells host and port, where `options` do not

    def __repr__(self) -> str:
        return f'<Address {self.label}>'


class Mistake(ValueError):
    """A mistake in a URL.

    It is never raised while another error is handled: that one would be kept as its context, and
    have quoted the URL.

    :param text: the part that is wrong, which is shown unless some of a password may be in it.
    """

    def __init__(self, label: str, what: str, hint: str, text: str = '') -> None:
        if text and not label.endswith(HIDDEN):
            what = f'{what} {text!r}'
        if label.endswith(HIDDEN):
            hint += '. If the password has special characters, write them as %2F, %40 and so on'
        super().__init__(f'{what} in {label!r}: {hint}')


def attempt(read: Callable[[], Any]) -> Any:
    """What it returns; None if it raises what such a text can raise."""
    try:
        return read()
    except (ValueError, KeyError):
        return None


def parse(url: str, key: str = '') -> Address:
    """Read the URL of a Redis.

    * ``redis://user:password@host:6379/0``, and ``rediss://`` for TLS;
    * ``unix:///run/redis.sock?db=0``;
    * ``redis+sentinel://user:password@host:26379,host:26379/service/0``;
    * ``redis+cluster://user:password@host:6379,host:6379/``; these two with ``rediss+`` for TLS.

    Parts that are left out have their defaults.

    :param key: one of the keys that are to be there: it tells the node of a cluster.
    :raises ValueError: for any mistake, saying what to write.
    """
    parts, label = split(url), without_password(url)
    if parts is None:
        raise Mistake(label, 'bad host',
                      'write redis://host:6379/0, and an IPv6 address in brackets')
    plain, _, mode = parts.scheme.partition('+')
    if plain not in ('redis', 'rediss', 'unix') or mode not in PORTS or mode and plain == 'unix':
        raise Mistake(label, 'unknown scheme', 'write redis://, rediss://, unix://, '
                      'redis+sentinel:// or redis+cluster://', parts.scheme)
    if parts.fragment:
        raise Mistake(label, 'a #', 'write %23')
    options = read_query(parts, label, plain, mode)
    timeout = options.pop('timeout', TIMEOUT)
    durable = options.pop('durable', 0)
    if not BLOCK < timeout <= const.SPAN:
        raise Mistake(label, 'bad timeout',
                      f'write seconds, more than {BLOCK:g} and no more than ten years')
    if not 0 <= durable <= const.COUNT:
        raise Mistake(label, 'bad durable', 'write how many replicas must have what is put')
    login = {name: unquote(text) for name, text in
             [('username', parts.username), ('password', parts.password)] if text}
    sentinel_login = {name: options.pop(f'sentinel_{name}') for name in ('username', 'password')
                      if f'sentinel_{name}' in options}
    kinds = {'redis': Connection, 'rediss': SSLConnection, 'unix': UnixDomainSocketConnection}
    kind: type[AbstractConnection] = kinds[plain]
    common = {name: options[name] for name in options if name.startswith('ssl_')}
    common['protocol'] = 2
    common |= packing.options
    if plain != 'unix':
        common['socket_keepalive'] = True
    finder: Finder | None = None
    if plain == 'unix':
        if not parts.path or parts.path == '/':
            raise Mistake(label, 'no path', 'write unix:///run/redis.sock, with three slashes')
        options['path'] = unquote(parts.path)
    else:
        hosts = read_hosts(parts, label, mode)
        service, database = read_path(parts, label, mode)
        if database is not None:
            options['db'] = database
        if mode == 'sentinel':
            finder = Sentinels(hosts, kind, {**common, **sentinel_login}, service)
        elif mode == 'cluster':
            if options.get('db', 0):
                raise Mistake(label, 'a database', 'a cluster has none but 0')
            finder = Cluster(hosts, kind, {**common, **login}, key_slot(key.encode()))
        else:
            options['host'], options['port'] = hosts[0]
    if not 0 <= options.get('db', 0) <= const.COUNT:
        raise Mistake(label, 'bad database', 'write a number from 0')
    return Address(kind, {**options, **login, **common}, label, timeout, durable, finder)


def read_query(parts: SplitResult, label: str, plain: str, mode: str) -> dict[str, Any]:
    """The options behind the question mark."""
    options: dict[str, Any] = {}
    quotable = 'password' not in parts.query   # which might have an & or = in it
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name not in OPTIONS:
            raise Mistake(label, 'unknown option', f'it may be one of {", ".join(OPTIONS)}',
                          name if quotable else '')
        if name.startswith('ssl_') and plain != 'rediss':
            scheme = f'rediss+{mode}' if mode else 'rediss'
            raise Mistake(label, f'option {name!r}', f'it needs {scheme}://')
        if name.startswith('sentinel_') and mode != 'sentinel':
            raise Mistake(label, f'option {name!r}', 'it needs redis+sentinel://')
        options[name] = attempt(partial(OPTIONS[name], text))
        if options[name] is None:
            raise Mistake(label, f'bad {name}', HINTS.get(name, 'write a number'),
                          text if quotable else '')
    return options


def read_hosts(parts: SplitResult, label: str, mode: str) -> list[Host]:
    """The hosts of a URL, with their ports; one, unless they are Sentinels or of a cluster."""
    hosts = []
    texts = parts.netloc.rpartition('@')[2].split(',')
    example = f'redis+{mode}://host:{PORTS[mode]},host:{PORTS[mode]}' if mode \
        else 'redis://host:6379'
    if len(texts) > 1 and not mode:
        raise Mistake(label, 'several hosts', 'write redis+sentinel:// or redis+cluster://')
    for text in texts:
        one = split(f'//{text}')
        if one is None:
            raise Mistake(label, 'bad host', f'write {example}')
        port = attempt(partial(read_port, one, PORTS[mode]))
        if port is None:
            raise Mistake(label, 'bad port', f'write a number up to 65535, as in {example}')
        host = unquote(one.hostname or '')
        if not host:
            if mode:
                raise Mistake(label, 'no host', f'write {example}')
            host = 'localhost'
        if not NAME.fullmatch(host):   # of an address with a password that is not escaped, say
            raise Mistake(label, 'bad host', f'write {example}')
        if attempt(partial(host.encode, 'idna')) is None:   # as to connect would, much later
            raise Mistake(label, 'bad host',
                          'between two dots of a name there are 1 to 63 characters', host)
        hosts.append((host, port))
    return hosts


def read_port(parts: SplitResult, usual: int) -> int:
    return usual if parts.port is None else parts.port


def read_path(parts: SplitResult, label: str, mode: str) -> tuple[str, int | None]:
    """The service of Sentinels, and the database."""
    path, service = parts.path.strip('/'), ''
    if mode == 'sentinel':
        name, _, path = path.partition('/')
        service = unquote(name)
        if not service:
            raise Mistake(label, 'no service',
                          'write redis+sentinel://host:26379/service, as the Sentinels call it')
    if not path:
        return service, None
    if not path.isascii() or not path.isdigit():
        raise Mistake(label, 'bad database', 'write a number, as in redis://host/0', path)
    return service, int(path)
