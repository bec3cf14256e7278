"""How a child begins: as a process in which its parent's functions can be found."""
from __future__ import annotations

import os
import pickle
import runpy
import sys
import types
from typing import Any, Sequence

from worq import SCHEMES, codec
from worq.core import Broker
from worq.pool.children.protocol import INIT
from worq.printable import logger
from worq.queue import lazy

__all__ = ['checked', 'main_script', 'made', 'preparation', 'prepare', 'unpickle']

log = logger(__name__)

CALLED = ('init_func is called with the address of the queue, as '
          'init_func(url, *init_args, **init_kwargs)')


def preparation() -> dict[str, Any]:
    """What a child must know of this process to find the same functions.

    (In the manner of ``multiprocessing.spawn``.)
    """
    name, path = main_script()
    return {
        'path': [entry or os.getcwd() for entry in sys.path],
        'argv': list(sys.argv),
        'main_name': name,
        'main_path': path,
    }


def main_script() -> tuple[str | None, str | None]:
    """The main script of this process, for `load_main`: the name of its module, or else a path.

    None and None if no other process can load it: it came from a terminal, a notebook, ``-c`` or
    a pipe.
    """
    main = sys.modules['__main__']
    spec = getattr(main, '__spec__', None)
    if spec is not None and spec.name != '__main__':
        return spec.name, None   # python -m module, or -m package: then it is package.__main__
    archive = getattr(spec and spec.loader, 'archive', None)   # of a zip file that was started
    path = archive or getattr(main, '__file__', None)
    if not path or not os.path.isfile(path) or path.startswith(('/dev/', '/proc/')):
        return None, None
    return None, os.path.abspath(path)


def prepare(data: dict[str, Any]) -> None:
    """Make this process like the one that `data` describes."""
    sys.path[:] = data['path']
    sys.argv[:] = data['argv']
    codec.main_loader = lambda: load_main(data['main_name'], data['main_path'])


#: Set while a child imports the main script of its parent, which must not start pools then.
loading_main = False


def load_main(name: str | None, path: str | None) -> None:
    """Make the parent's ``__main__`` this process's, without what its guard holds back."""
    global loading_main
    this = sys.modules['__main__']
    module = types.ModuleType('__mp_main__')
    loading_main = True
    try:
        if name is not None:
            content = runpy.run_module(name, run_name='__mp_main__', alter_sys=True)
        elif path is not None:
            content = runpy.run_path(path, run_name='__mp_main__')
        else:
            return  # there is nothing to load
    finally:
        loading_main = False
    module.__dict__.update(content)
    for value in content.values():
        call_it_main(value)
    sys.modules['__main__'] = sys.modules['__mp_main__'] = module
    module.__worq_child__ = this  # type: ignore[attr-defined]  # so that it is not collected


def call_it_main(value: Any) -> None:
    """Have pickles name a class or function by ``__main__``, which their readers can find."""
    if isinstance(value, (type, types.FunctionType)) and value.__module__ == '__mp_main__':
        value.__module__ = '__main__'
        for inner in list(vars(value).values()):
            call_it_main(inner)


def unpickle(data: bytes) -> Any:
    """Load what the parent sent, with what it names of its main script."""
    for again in True, False:
        try:
            return pickle.loads(data)
        except AttributeError as error:
            if not again or codec.main_loader is None:
                error.add_note('a worker process imports init_func, and what its arguments are '
                               'made of: have them at the top level of a module, or of the '
                               "script, outside of its `if __name__ == '__main__':`")
                raise
        # outside of the clause above, so that what the script raises has no other cause
        codec.load_main()


def made(first: Sequence[bytes], asks: bool) -> Any:
    """What ``init_func`` returns.

    :param first: the first frame.
    :param asks: whether the queue is in the parent's memory.
    """
    kind, data, _ = first
    if kind != INIT:
        raise ValueError('the first frame is not how to begin')
    call = unpickle(data)
    prepare(call['preparation'])
    if not asks:
        lazy.postpone(SCHEMES, call['url'], call['place'])
    init, args, kw = unpickle(call['init'])
    try:
        return init(call['url'], *args, **kw)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next is None:   # of the call itself
            error.add_note(CALLED)
        raise


def checked(broker: Any, first: Sequence[bytes]) -> Broker:
    """What is to be the child's broker, if it is one."""
    queue = first[2].decode()
    if not isinstance(broker, Broker):
        raise TypeError(f'init_func must return a broker, and returned {broker!r}')
    if broker.name != queue:
        log.warning('init_func made a broker of the queue %r, and the pool is one of %r: '
                    'give both the same name', broker.name, queue)
        broker.move(queue)
    return broker
