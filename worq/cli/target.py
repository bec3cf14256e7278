"""What ``worq worker`` runs: a TaskSpace or a function of a module, found by name."""
from __future__ import annotations

import logging
from importlib import import_module
from operator import attrgetter
import os
import sys
from types import ModuleType
from typing import Any, Callable, cast

import worq
from worq.cli.usage import Usage, nearest
from worq.core import Broker
from worq.printable import line
from worq.space import TaskSpace

__all__ = ['Wrong', 'begin', 'configure', 'find', 'function', 'known']

INIT = 'init'
FORMAT = '%(asctime)s %(levelname)s %(name)s: %(message)s'


class Wrong(Exception):
    """A worker process cannot begin, for what it was told to run cannot be meant."""


def find(target: str) -> Any:
    """The TaskSpace or the function that is meant by ``module:name``, or ``module``.

    :raises Usage: if there is none; what the module itself raises passes.
    """
    path, _, name = target.partition(':')
    if not path or path.endswith('.py') or '/' in path:
        meant = os.path.splitext(os.path.normpath(path))[0].strip('./').replace(os.sep, '.')
        raise Usage(f'{target!r} names no module; write MODULE:NAME, as '
                    f'{meant or "tasks"}:{name or "space"}')
    module = loaded(path)
    if not name and not callable(getattr(module, INIT, None)):
        raise Usage(f'the module {path} has no function {INIT}(url); {instead(module)}')
    try:
        found: Any = attrgetter(name or INIT)(module)
    except AttributeError:
        raise Usage(f'the module {path} has no {name}; {instead(module)}') from None
    if isinstance(found, TaskSpace):
        if not found.tasks:
            raise Usage(f'the TaskSpace {target} has no task')
        return found
    if isinstance(found, Broker):
        raise Usage(f'{target} is a Broker, which each worker process makes for itself: write a '
                    f'function {INIT}(url) that returns one, or name a TaskSpace')
    if not callable(found) or isinstance(found, type):
        raise Usage(f'{target} is neither a TaskSpace nor a function; {instead(module)}')
    return found


def function(target: str) -> Callable[..., Any]:
    """The function that is meant by ``module:function``.

    :raises Usage: if there is none; what the module itself raises passes.
    """
    path, _, name = target.partition(':')
    if not path or not name or '/' in path:
        raise Usage(f'{target!r} names no function; write MODULE:FUNCTION')
    try:
        found = attrgetter(name)(loaded(path))
    except AttributeError:
        raise Usage(f'the module {path} has no {name}') from None
    if not callable(found):
        raise Usage(f'{target} is no function, but {line(repr(found), 80)}')
    return cast('Callable[..., Any]', found)


def loaded(path: str) -> ModuleType:
    """A module, imported.

    :raises Usage: if there is none of this name. What it imports itself, and is not there, is told
        as it is.
    """
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if not error.name or path != error.name and not path.startswith(f'{error.name}.'):
            raise
        missing = error.name
    except (ValueError, TypeError):   # as of '..x'
        missing = path
    places = ', '.join(entry or os.getcwd() for entry in sys.path[:4])
    more = f' and {len(sys.path) - 4} more' if len(sys.path) > 4 else ''
    close = nearest(missing, modules_here())
    raise Usage(f'there is no module {missing!r}{f"; {close}" if "mean" in close else "."} It was'
                f' looked for in {places}{more} (PYTHONPATH adds to these)') from None


def modules_here() -> list[str]:
    """The modules in the current folder."""
    found = []
    for entry in os.scandir():
        if entry.name.endswith('.py'):
            found.append(entry.name[:-3])
        elif os.path.exists(os.path.join(entry.path, '__init__.py')):
            found.append(entry.name)
    return found


def instead(module: ModuleType) -> str:
    """What there is in a module that could have been meant."""
    spaces = [name for name, value in vars(module).items() if isinstance(value, TaskSpace)]
    if spaces:
        return 'it has ' + ', '.join(f'the TaskSpace {module.__name__}:{name}' for name in spaces)
    if callable(getattr(module, INIT, None)):
        return f'it has a function {module.__name__}:{INIT}'
    return f'it has no TaskSpace either. Write one, or a function {INIT}(url) that returns a broker'


def known(found: Any) -> list[str]:
    """The names of the tasks of a target, as far as they are known before it is called."""
    return sorted(found.tasks) if isinstance(found, TaskSpace) else []


def begin(url: str, target: str, queue: str, sure: bool, secret: Any, codec: str,
          level: str) -> Broker:
    """Make the broker of a worker process, or of a pool of threads.

    :param target: see `find`.
    :param queue: which is worked on.
    :param sure: whether somebody has named it. Otherwise a broker of another one is a mistake.
    :param secret: and `codec`: of the broker of a TaskSpace. A function makes its own.
    :param level: of what is logged, unless the program says otherwise.
    """
    try:
        found = find(target)
    except Usage as mistake:
        raise Wrong(str(mistake)) from mistake
    if isinstance(found, TaskSpace):
        configure(level)
        broker = worq.get_broker(url, queue, secret=secret, codec=codec)
        broker.expose(found)
        return broker
    make: Callable[[str], Any] = found
    broker = make(url)
    configure(level)   # unless it has done so itself
    if not isinstance(broker, Broker):
        raise Wrong(f'{target} was called with the address of the queue and is to return a broker, '
                    f'not {broker!r}')
    if broker.name != queue:
        if not sure:
            raise Wrong(f'{target} makes a broker of the queue {broker.name!r}, and no queue was '
                        f'named: add -q {broker.name}')
        broker.move(queue)
    return broker


def configure(level: str) -> None:
    """Have the log written on the standard error."""
    logging.basicConfig(level=level.upper(), format=FORMAT)
