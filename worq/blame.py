"""Which part of an object cannot be encoded, and what to do: asked only when encoding has failed.

An encoder's error says what it could not do, and never where. ``find`` tries the parts of
the object one by one and descends into the first that fails alone.
"""
from __future__ import annotations

import pickle
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, MappingView
from io import IOBase
from typing import Any, Never, Self

__all__ = ['Unsendable', 'find', 'failure_of', 'parts', 'plain_parts', 'plain_error', 'describe',
           'script']

Attempt = Callable[[object], object]
Parts = Iterator[tuple[str, object]]

# Guesses. Each step encodes what it tries, so a large object could take very long; then
# the path ends early.
DEPTH = 50
SECONDS = 2.0


class Unsendable:
    """Base of what stands for more than a message can hold: a queue, a broker.

    It says what to send in its place, to whoever pickles it.
    """

    __slots__ = ()
    __instead__ = ''

    def __reduce_ex__(self, protocol: object) -> Never:
        raise TypeError(f'{self!r} cannot be sent: {self.__instead__}')

    def __copy__(self) -> Self:
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin


def find(obj: object, error: Exception, attempt: Attempt, parts: Callable[[object], Parts],
         verb: str = 'pass') -> tuple[str, Exception]:
    """Where in `obj` the trouble is, and what it is.

    :param error: what encoding `obj` raised.
    :param verb: what somebody wants to do with it, who is told what to do in its place.
    :param attempt: encodes an object, or raises.
    :param parts: ``parts`` or ``plain_parts``, as the encoder goes into objects or does not.
    :returns: a path such as ``['key'][0].lock``, empty for `obj` itself; and the error
        that the part at its end raises.
    """
    until = time.monotonic() + SECONDS

    def search(obj: object, error: Exception, above: list[object],
               path: str) -> tuple[str, Exception] | None:
        # Each level of too deep a nesting fails: the path would say nothing.
        if too_deep(error) or isinstance(error, MemoryError) or len(above) == DEPTH:
            return path, helped(obj, error, verb)
        dead_end = False
        for step, part in parts(obj):
            if any(part is seen for seen in above):
                dead_end = True  # a cycle: what is the matter lies elsewhere
            elif time.monotonic() > until:
                break
            elif (cause := failure_of(part, attempt)) is not None:
                found = search(part, cause, [*above, part], path + step)
                if found is not None:
                    return found
                dead_end = True
        return None if dead_end else (path, helped(obj, error, verb))

    return search(obj, error, [obj], '') or ('', error)


def helped(obj: object, error: Exception, verb: str) -> Exception:
    """The error, with what to do if that is known."""
    if isinstance(obj, Unsendable | IOBase) or too_deep(error):
        advice = '' if not isinstance(obj, IOBase) else f'{verb} its path, or what is in it'
    elif isinstance(obj, Coroutine):
        advice = 'await it'
    elif isinstance(obj, AsyncIterator):
        advice = f'{verb} [each async for each in ...]'
    elif isinstance(obj, Iterator | MappingView):
        advice = f'{verb} list(...)'
    elif '<locals>' in (text := describe(error)) or '<lambda>' in text:
        advice = 'define it at the top level of a module'
    else:
        advice = ''
    return TypeError(f'{describe(error)}; {advice}') if advice else error


def failure_of(obj: object, attempt: Attempt) -> Exception | None:
    """What encoding `obj` raises, if anything."""
    try:
        attempt(obj)
    except Exception as err:
        return err
    return None


def parts(obj: object) -> Parts:
    """What pickle makes of `obj`, each part with the step that leads there."""
    if isinstance(obj, (dict, list, tuple)):
        yield from plain_parts(obj)
    elif isinstance(obj, (set, frozenset)):
        for value in list(obj):
            yield f'[{name(value)}]', value
    elif not isinstance(obj, (str, bytes, bytearray, int, float, type(None), type)):
        yield from reduced_parts(obj)


def plain_parts(obj: object) -> Parts:
    """What is in the containers that every format has."""
    if isinstance(obj, dict):
        for key, value in list(obj.items()):
            yield f'[key {name(key)}]', key
            yield f'[{name(key)}]', value
    elif isinstance(obj, (list, tuple)):
        for index, value in enumerate(list(obj)):
            yield f'[{index}]', value


def reduced_parts(obj: object) -> Parts:
    """What an object gives pickle: what it leaves out of its state is no part."""
    try:
        reduced: Any = obj.__reduce_ex__(5)
        if not isinstance(reduced, tuple):
            return
        _, arguments, state, items, pairs = (*reduced[:5], None, None, None)[:5]
        for attributes in state if isinstance(state, tuple) else (state,):
            if isinstance(attributes, dict):
                for key, value in attributes.items():
                    yield f'.{key}', value
        for index, value in enumerate(items or ()):
            yield f'[{index}]', value
        for key, value in pairs or ():
            yield f'[{name(key)}]', value
        for value in arguments:
            if value is not obj and not isinstance(value, type):
                yield '', value
    except Exception:  # an object that cannot be taken apart is blamed itself
        return


def too_deep(error: BaseException) -> bool:
    """Whether an object was nested deeper than its encoder goes."""
    if isinstance(error, RecursionError):
        return True
    return type(error) is ValueError and 'recursion limit' in str(error)  # msgpack's


def plain_error(obj: object, format: str) -> TypeError:
    """Why a format of plain data cannot hold `obj`."""
    if isinstance(obj, Unsendable) and isinstance(why := failure_of(obj, pickle.dumps), TypeError):
        return why
    return TypeError(f'{format} cannot hold an object of type {type(obj).__name__}')


def script(error: Exception, of: str) -> str:
    """What to add to an error of loading: a pickle that names what is in another's main script.

    :param of: whose.
    """
    if isinstance(error, (AttributeError, ImportError)) and (
            "'__main__'" in str(error) or "'__mp_main__'" in str(error)):
        return f'; it is defined in the script of whoever {of}: move it to a module'
    return ''


def name(key: object) -> str:
    """A key as it is written, if that is short and cannot fail."""
    if isinstance(key, (str, bytes, int, float, bool, type(None))):
        text = repr(key)
        return text if len(text) <= 60 else f'{text[:57]}...'
    return f'a {type(key).__name__}'


def describe(error: BaseException) -> str:
    """An exception as part of a sentence; also one whose ``str`` fails."""
    kind = type(error).__name__
    if too_deep(error):
        return 'nested too deeply'
    if isinstance(error, MemoryError):
        return 'not enough memory'
    try:
        text = str(error)
    except Exception:
        return kind
    if isinstance(error, (TypeError, pickle.PicklingError)) and text:
        return text  # says it all: "cannot pickle '_thread.lock' object"
    return f'{kind}: {text}' if text else kind
