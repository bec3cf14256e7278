"""The address of a file with queues, read."""
from __future__ import annotations

import os
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from worq import const
from worq.trust import split, without_password

__all__ = ['SYNC', 'Address', 'parse']

#: When what was committed is written to the disk: at once, each second, or when the system likes.
SYNC = 'full', 'second', 'off'
RETRY_FOR = 5.0
FORM = 'write sqlite:///relative/path.db or sqlite:////absolute/path.db'


class Address(NamedTuple):
    """Where a file is, and how to use it."""

    url: str           #: with an absolute path: one file has one address
    path: str
    sync: str
    retry_for: float   #: seconds to wait for those who write


def parse(url: str, sync: str | None = None, retry_for: float | None = None) -> Address:
    """Read an address; ValueError if there is a mistake in it.

    :param sync: see `SYNC`; by default that of the address, else ``second``.
    :param retry_for: by default that of the address, else 5 seconds.
    """
    parts = split(url)
    path = unquote(parts.path) if parts else ''
    if parts is None or parts.netloc or parts.fragment \
            or not path.startswith('/') or path in ('/', '//'):
        raise ValueError(f'not the address of a file: {without_password(url)!r}; {FORM}')
    if any('\ud800' <= letter <= '\udfff' for letter in path):   # and nobody is told the rest of it
        raise ValueError(f'the name of the file cannot be written in UTF-8; {FORM}')
    if path == '/:memory:':
        raise ValueError('a queue in memory has the address memory://')
    if '\0' in path or path.endswith('/'):
        raise ValueError(f'not the name of a file: {path!r}')
    options: dict[str, Any] = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = options.keys() - {'sync', 'retry_for'}
    if unknown:
        raise ValueError(f'{without_password(url)}: unknown option {min(unknown)!r}; '
                         'there are sync and retry_for')
    if 'retry_for' in options:
        try:
            options['retry_for'] = float(options['retry_for'])
        except ValueError:
            raise ValueError(f'{without_password(url)}: retry_for is a number of seconds') from None
    sync = options.get('sync', 'second') if sync is None else sync
    if sync not in SYNC:
        raise ValueError(f'invalid sync: {sync!r}; it is one of {", ".join(SYNC)}')
    patience = const.check_span(
        'retry_for', options.get('retry_for', RETRY_FOR) if retry_for is None else retry_for)
    path = os.path.abspath(path[1:])
    query = f'?{parts.query}' if parts.query else ''
    return Address(f'sqlite:///{quote(path)}{query}', path, sync, patience)
