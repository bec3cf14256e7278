"""Which part of an object cannot be encoded: asked only when encoding has failed.

An encoder's error says what it could not do, and never where. ``find`` tries the parts of
the object one by one and descends into the first that fails alone.
"""
from __future__ import annotations

import pickle
import time
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ['find', 'failure_of', 'parts', 'plain_parts', 'describe']

Attempt = Callable[[object], object]
Parts = Iterator[tuple[str, object]]

# Guesses. Each step encodes what it tries, so a large object could take very long; then
# the path ends early.
DEPTH = 50
SECONDS = 2.0


def find(obj: object, error: Exception, attempt: Attempt,
         parts: Callable[[object], Parts]) -> tuple[str, Exception]:
    """Where in `obj` the trouble is, and what it is.

    :param error: what encoding `obj` raised.
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
            return path, error
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
        return None if dead_end else (path, error)

    return search(obj, error, [obj], '') or ('', error)


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
