"""What a command works with: its arguments, its queues, and where it prints."""
from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack
from importlib import import_module
from getpass import getuser
import os
from pathlib import Path
import platform
import sys
from typing import Any, Callable, Protocol, TypeVar

import worq
from worq.cli.output import Output
from worq.cli.usage import OK, Refused, Usage, names, nearest
from worq.const import DEFAULT
from worq.core import Broker
from worq.printable import is_terminal
from worq.trust import UNSIGNED, without_password
from worq.view import View

__all__ = ['Session', 'ENVIRONMENT', 'person']

ENVIRONMENT = 'WORQ_URL'
RETRY_FOR = 2.0   # seconds for which a command tries a queue that is out of reach
EXAMPLES = '--url redis://localhost:6379/0, or --url sqlite:///work.db'


class Server(Protocol):
    """What serves a page or numbers by HTTP."""

    def run(self) -> object: ...
    def close(self) -> object: ...


S = TypeVar('S', bound=Server)


def person() -> str:
    """Who uses the command line, for the log of what was done to a queue."""
    try:
        name = getuser()
    except (OSError, KeyError):   # a container without such a user
        name = f'user {os.getuid()}' if hasattr(os, 'getuid') else 'somebody'
    return f'{name}@{platform.node()}'


class Session(ExitStack):
    """One command that runs. Brokers that it has opened are closed when it ends.

    :param args: as they were read.
    :param out: where it prints.
    :param alone: whether this process does nothing else. Then a queue in its memory is of no use.
    """

    def __init__(self, args: Namespace, out: Output, alone: bool = False) -> None:
        super().__init__()
        self.args = args
        self.out = out
        self.alone = alone

    @property
    def url(self) -> str:
        """The address that was given.

        :raises Usage: if there is none.
        """
        url: str = getattr(self.args, 'url', '') or os.environ.get(ENVIRONMENT, '')
        if not url:
            raise Usage(f'where is the queue? Add {EXAMPLES}; or set {ENVIRONMENT}')
        if self.alone and url.startswith('memory:'):
            raise Usage('a queue in memory is in the process that made it, and nowhere else. '
                        'One that others see is in a file (sqlite:///work.db) or on Redis')
        return url

    @property
    def safe_url(self) -> str:
        """The address without its password."""
        return without_password(self.url)

    @property
    def secret(self) -> Any:
        """What programs give as ``secret=``."""
        return UNSIGNED if getattr(self.args, 'unsigned', False) else None

    @property
    def queue(self) -> str:
        """The name of the one queue that is meant.

        :raises Usage: if it is empty, as a variable of a script that has no value: the usual queue
            was not meant.
        """
        name: str = getattr(self.args, 'queue', DEFAULT)
        if not name:
            raise Usage('the name of the queue is empty: write -q NAME')
        return name

    @property
    def queues(self) -> list[str]:
        """The names of the queues that are meant."""
        return names(self.queue)

    def broker(self, name: str = '', codec: str = 'pickle', new: bool = False,
               patient: bool = False, url: str = '', secret: Any = None) -> Broker:
        """A broker of a queue, by default of the one that is meant.

        :param new: whether it may make the file that it is in.
        :param patient: whether it tries as long as programs do to reach a queue; of a command
            somebody sees the end.
        :param url: the address, if it is not the usual one; and so for `secret`.
        """
        url = url or self.url
        options: dict[str, Any] = {} if patient or url.startswith('memory:') \
            else {'retry_for': RETRY_FOR}
        try:
            if not new:
                self._look_for_file(url)
            return self.enter_context(worq.get_broker(
                url, name or self.queue, secret=secret or self.secret, codec=codec, **options))
        except (ValueError, TypeError, ImportError) as mistake:
            raise Usage(str(mistake)) from mistake

    def view(self, name: str = '') -> View:
        """A queue as people see it."""
        return self.broker(name).view()

    @staticmethod
    def _look_for_file(url: str) -> None:
        """Nobody who only looks wants an empty file to be made of a misspelt name."""
        if not url.startswith('sqlite:'):
            return
        address = import_module('worq.queue.sqlite.address')   # needs sqlite3, which not all have
        path = Path(address.parse(url).path)
        if not path.exists():
            try:
                beside = [each.name for each in path.parent.iterdir() if each.suffix == path.suffix]
            except OSError:
                raise Refused(f'there is no folder {path.parent}') from None
            close = nearest(path.name, beside)
            raise Refused(f'there is no file {path}' + (f'; {close}' if close else ''))

    def serve(self, make: Callable[[], S], place: str, told: Callable[[S], str]) -> int:
        """Serve until it is interrupted; an exit status.

        :param make: makes the server.
        :param place: where it listens, for people.
        :param told: what to say of it.
        :raises Refused: if it cannot listen there.
        """
        try:
            server = make()
        except OSError as error:
            raise Refused(f'cannot listen on {place}: {error.strerror or error}') from error
        self.out.note(told(server))
        try:
            server.run()
        finally:
            server.close()
        return OK

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be undone.

        :raises Refused: if it is not to be done, or nobody is there to be asked.
        """
        if getattr(self.args, 'yes', False):
            return
        if not is_terminal(sys.stdin):
            raise Refused(f'{question} Nobody is there to be asked: add --yes')
        print(f'{question} [y/N] ', end='', file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ('y', 'yes'):
            raise Refused('nothing was done')
